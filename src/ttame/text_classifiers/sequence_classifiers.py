"""Text classifiers of Hugging Face transformers, from a folder or from the hub."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.sources.connection import hub_without_retries
from ttame.classifiers.sources.foreign_configuration import refuse_code
from ttame.classifiers.sources.quiet_loading import loading_quietly
from ttame.errors import ClassifierError, MissingExtraError, WeightsError
from ttame.memory_limit import ran_out_of_memory
from ttame.networks.network_trace import first_line
from ttame.outputs import Outputs
from ttame.signal_handlers import raised_by_signal_handler
from ttame.text_classifiers.minilm_reviews import NAME as BUNDLED
from ttame.text_classifiers.minilm_reviews import minilm_reviews
from ttame.text_classifiers.model_facts import refuse_other_tasks
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.text_classifiers.tokenising import TooLong

_FOLDER = "a folder with config.json, model.safetensors and the tokenizer's files"


def load(
    name: str,
    *,
    class_names: Sequence[str] | None = None,
    outputs: Outputs | str | None = None,
    too_long: TooLong = "refuse",
) -> TextClassifier:
    """Load a text classifier of transformers with its tokenizer.

    Weights come from safetensors only, and Python code that a repository brings never runs.

    Args:
        name: ``hf/FOLDER`` for one on disk, ``hf/REPO`` for one on the hub; or
            ``"minilm_reviews"``, a classifier of reviews that works offline with the packages of
            the extra ``text-demo``.
        class_names: see :class:`TextClassifier`.
        outputs: likewise.
        too_long: likewise.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: no such folder or repository, no connection, no safetensors, or weights
            without those of a classifier.
        ClassifierError: it does something other than classify texts, or brings code of its own.

    Example:
        >>> import tempfile
        >>> from ttame.testing import tiny_text_classifier
        >>> classifier, folder = tiny_text_classifier(), tempfile.mkdtemp()
        >>> classifier.network.model.save_pretrained(folder)
        >>> _ = classifier.tokenizer.save_pretrained(folder)
        >>> load(f"hf/{folder}").number_of_classes
        2
    """
    if name == BUNDLED:
        model, tokenizer = minilm_reviews()
        return _made(
            name, model, tokenizer, class_names=class_names, outputs=outputs, too_long=too_long
        )
    place = _place(name)
    try:
        import transformers  # noqa: F401
    except ImportError as problem:
        raise MissingExtraError.of("transformers", "transformers", "hf/ networks") from problem
    if os.path.isdir(place):
        model, tokenizer = _loaded(place, name, "")
    else:
        with hub_without_retries() as reachable:
            connection = "" if reachable else "no connection to the hub; "
            model, tokenizer = _loaded(place, name, connection)
    return _made(
        name, model, tokenizer, class_names=class_names, outputs=outputs, too_long=too_long
    )


def _made(name: str, model: nn.Module, tokenizer: Any, **options: Any) -> TextClassifier:
    names = options["class_names"]
    recipe = ClassifierRecipe(name, class_names=None if names is None else tuple(names))
    short = os.path.basename(name.rstrip("/"))
    return TextClassifier(model, tokenizer, name=short, recipe=recipe, **options)


def _place(name: str) -> str:
    """The folder, with ``~`` resolved, or the repository; a missing path is not a repository."""
    if not isinstance(name, str) or not name.removeprefix("hf/") or not name.startswith("hf/"):
        is_folder = isinstance(name, str | Path) and Path(name, "config.json").is_file()
        raise WeightsError(
            f"no text classifier {str(name)!r}",
            allowed=f"{BUNDLED}, hf/FOLDER or hf/REPO",
            remedy=f"hf/{name}" if is_folder else "",
        )
    place = name.removeprefix("hf/")
    folder = Path(place).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise WeightsError(f"folder {place} holds no config.json", allowed=_FOLDER)
        return str(folder)
    if place.startswith((".", "/", "~")) or place.count("/") > 1 or not place:
        raise WeightsError(f"folder {place} does not exist", allowed=_FOLDER)
    return place


def _loaded(place: str, name: str, connection: str) -> tuple[nn.Module, Any]:
    from transformers import AutoConfig, AutoTokenizer, PretrainedConfig

    with _in_our_words(name, connection), loading_quietly():
        described, _ = PretrainedConfig.get_config_dict(place)
        _refuse_code(described, name)
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        _refuse_other_architectures(config, name)
        # Before the weights, which may take long to come.
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        return _model(place, config, name), tokenizer


def _model(place: str, config: Any, name: str) -> nn.Module:
    from transformers import AutoModelForSequenceClassification

    model, found = AutoModelForSequenceClassification.from_pretrained(
        place,
        config=config,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    missing = sorted(found["missing_keys"])
    if missing:
        raise WeightsError(
            f"{name} has no weights for {', '.join(missing[:3])}"
            + (f" and {len(missing) - 3} more" if len(missing) > 3 else ""),
            allowed="a model that was trained to classify texts",
        )
    network: nn.Module = model
    return network


def _refuse_code(described: dict[str, Any], name: str) -> None:
    try:
        refuse_code(described, name)
    except ClassifierError as problem:
        # Its remedy, to trust that code, is not offered for texts.
        raise ClassifierError(problem.problem, allowed=problem.allowed) from None


def _refuse_other_architectures(config: Any, name: str) -> None:
    """Refuse what was trained for another task, before a new last layer is made for it."""
    for architecture in config.architectures or ():
        refuse_other_tasks(type(str(architecture), (nn.Module,), {})(), name)


@contextlib.contextmanager
def _in_our_words(name: str, connection: str) -> Iterator[None]:
    try:
        yield
    except ClassifierError:
        raise
    except Exception as problem:  # configurations of other tasks fail in many ways
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        if isinstance(problem, OSError):
            raise WeightsError(
                f"{name} cannot be loaded ({connection}{first_line(problem)})",
                allowed=f"{_FOLDER}, or a hub repository",
                remedy="a connection, or the path of a downloaded copy",
            ) from problem
        raise ClassifierError(
            f"{name} is not a text classifier ({first_line(problem)})",
            allowed="what AutoModelForSequenceClassification and AutoTokenizer accept",
        ) from problem
