"""A network with the weights of a file, and the number of classes that they are for."""

from __future__ import annotations

import dataclasses

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.sources.network_source import LoadedNetwork, NetworkSource
from ttame.errors import (
    WeightsError,
    either,
    setting,
)
from ttame.networks.torch_files import FoundWeights
from ttame.networks.weights_files import load_weights, read_network_weights
from ttame.networks.weights_fit import (
    COUNTER_OF_AVERAGES,
    other_class_count,
    without_prefixes,
)


def load_with_file(
    source: NetworkSource, recipe: ClassifierRecipe
) -> tuple[ClassifierRecipe, LoadedNetwork, tuple[str, ...]]:
    """Build the network of a recipe whose weights are a file, and load them.

    A last layer of another number of classes than the library's own is built as the file has it.

    Returns:
        The recipe, with the number of classes among its options if it was the file that told it;
        what was loaded; and one line for each thing that the user should know.

    Raises:
        WeightsError: the file cannot be read, or is of another architecture.
    """
    found = read_network_weights(recipe.weights)
    notices = _passed_over(recipe, found)
    loaded = source.load(recipe)
    weights = without_prefixes(found.tensors, loaded.network)
    notices += _left_out(recipe, found, len(found.tensors) - len(weights))
    counts = other_class_count(weights, loaded.network)
    if counts is not None:
        has, count = counts
        option = source.class_count_option
        if option is None or option in recipe.network_options:
            raise _other_count(source, recipe, has, count)
        options = {**recipe.network_options, option: count}
        recipe = dataclasses.replace(recipe, network_options=options)
        loaded = source.load(recipe)
        notices += (f"{recipe.weights} has {count} classes, so {option}={count}",)
    load_weights(loaded.network, weights, recipe.weights)
    return recipe, loaded, notices


def _passed_over(recipe: ClassifierRecipe, found: FoundWeights) -> tuple[str, ...]:
    if not found.passed_over:
        return ()
    others = " and ".join(repr(entry) for entry in found.passed_over)
    return (f"{recipe.weights} also holds {others}; the weights of {found.entry!r} are used",)


def _left_out(recipe: ClassifierRecipe, found: FoundWeights, count: int) -> tuple[str, ...]:
    """Of the tensors that stand outside of the network's prefix; a counter is not worth a word."""
    if count <= 0 or (count == 1 and COUNTER_OF_AVERAGES in found.tensors):
        return ()
    tensors = "1 tensor" if count == 1 else f"{count} tensors"
    return (f"{recipe.weights} also holds {tensors} of something else; they are left out",)


def _other_count(
    source: NetworkSource, recipe: ClassifierRecipe, has: int, count: int
) -> WeightsError:
    option = source.class_count_option
    if option is None:
        remedy = either(f"network_options={{NAME: {count}}}", f"--network-option NAME={count}")
        remedy += ", with the argument that sets the number of classes"
    else:
        remedy = f"{setting('network_options', {option: count})}, or none, since the file tells it"
    return WeightsError(
        f"{recipe.weights} has {count} {'class' if count == 1 else 'classes'}, and {recipe.name} "
        f"as it was asked for has {has}",
        remedy=remedy,
    )
