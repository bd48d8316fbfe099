"""The card of a saved explainer: what it is, how it was made, how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.recipe_rules import refused_in_a_file
from ttame.explainers.trained.settings_part import flat_settings

_MAPS = {
    "raw": "the head's output before the sigmoid",
    "sigmoid": "the sigmoid of the head's output, in [0, 1], which masked the images in training",
    "standard": "the sigmoid of the head's output in units of each map's standard deviation, from "
    "its mean on, in [0, 1]",
    "min-max": "the head's output, each map from 0 to 1, to a power that gives them their mean",
}


def explainer_card(config: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """Write the card as Markdown with the front matter that the Hugging Face hub reads.

    Args:
        config: the content of ``config.json``.
        facts: what the head says of itself, name to words.
    """
    of_texts = "most_tokens" in config["classifier"]["preprocessing"]
    use = _USE_OF_TEXTS if of_texts else _use(config)
    sections = [_front_matter("text" if of_texts else "image"), _head(config, facts), use]
    training = config["training"]
    if training.get("settings"):
        measured = _MEASURED_ON_TEXTS if of_texts else _MEASURED_ON_IMAGES
        held_out = "texts" if of_texts else "images"
        sections += [_training(training, held_out), _validation(training, held_out, measured)]
    sections.append(_limits())
    return "\n".join(section for section in sections if section)


def _front_matter(what: str) -> str:
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: ttame",
        f"pipeline_tag: {what}-classification",
        "tags: [explainability, saliency, t-tame]",
        "---",
    ]
    return "\n".join(lines)


def _head(config: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    classifier, head = config["classifier"], config["head"]
    other = config.get("features_from")
    settings = head["settings"]
    taps = ", ".join(f"`{tap}`" for tap in (other or classifier)["taps"])
    passes = "one forward pass of the classifier" + (" and one of another network" if other else "")
    rows = "".join(f"| {name} | {words} |\n" for name, words in facts.items())
    return f"""
# {config["method"]} explainer for {classifier["name"]}

A trained attention head (kind `{settings["kind"]}`, {head["number_of_classes"]} classes) that
gives a saliency map for every class in {passes}.

| | |
|---|---|
| classifier | `{classifier["name"]}` |
| fingerprint of its weights | `{classifier["fingerprint"]}` |
{_other_network(other)}| feature taps | {taps} |
| its outputs | {classifier.get("outputs", "softmax")} |
{rows}| maps | {_MAPS[settings["maps"]["kind"]]} |
| made by | ttame {config["ttame_version"]} |
| licence of the head | Apache-2.0; the classifier's weights and the images have their own |
"""


def _other_network(other: Mapping[str, Any] | None) -> str:
    """The rows of the network whose features are read, if it is not the classifier."""
    if other is None:
        return ""
    return (
        f"| features from another network | `{other['name']}` |\n"
        f"| fingerprint of that network's weights | `{other['fingerprint']}` |\n"
    )


def _use(config: Mapping[str, Any]) -> str:
    recipe = config["classifier"]["recipe"]
    extra = ", classifier=your_classifier" if _must_be_passed(recipe) else ""
    other = config.get("features_from")
    if other is not None and _must_be_passed(other["recipe"]):
        extra += ", features_from=the_other_network"
    shown = min(3, config["head"]["number_of_classes"])
    return f"""
```python
import ttame

explainer = ttame.load_explainer("FOLDER"{extra})
explanation = explainer("photo.jpg", classes="top{shown}")
explanation.heatmaps()
```
"""


def _must_be_passed(recipe: Mapping[str, Any] | None) -> bool:
    return recipe is None or bool(refused_in_a_file(_without_flag(recipe)))


def _without_flag(recipe: Mapping[str, Any]) -> ClassifierRecipe:
    """The recipe but for its preprocessing, which is data in any case."""
    entries = {name: value for name, value in recipe.items() if name != "own_preprocessing"}
    return ClassifierRecipe(**entries)


def _training(training: Mapping[str, Any], what: str) -> str:
    rows = "\n".join(
        f"| {name.replace('_', ' ')} | {value} |"
        for name, value in flat_settings(training["settings"]).items()
    )
    skipped = training.get("skipped_images", {})
    named = ", ".join(f"`{name}`" for name in list(skipped)[:10])
    notes = "".join(f"\n\nNote: {note}." for note in training.get("notes", ()))
    return f"""
## Training

Command: `{training.get("command", "ttame.train_explainer(...)")}`

Data: `{training["data"]}` ({training["training_images"]} {what} to train on,
{training["held_out_images"]} held out; fingerprint `{training["data_fingerprint"]}`;
{len(skipped)} unreadable and skipped{": " + named if named else ""}).
{training["steps"]} steps on {training["processes"]} process(es), {training["device"]},
finished {training["finished"]}.{notes}

| setting | value |
|---|---|
{rows}
"""


def _validation(training: Mapping[str, Any], held_out: str, measured_as: str) -> str:
    if not training["validation"]:
        return ""
    measured = ("average_drop", "increase_in_confidence", "mean_map_value")
    losses = [name for name in training["validation"][0] if name not in ("epoch", *measured)]
    names = " | ".join(name.replace("_", " ") for name in losses)
    rows = "\n".join(
        f"| {figures['epoch'] + 1} | "
        + " | ".join(f"{figures[name]:.3f}" for name in losses)
        + f" | {figures['average_drop']:.1f} | {figures['increase_in_confidence']:.1f} "
        f"| {figures['mean_map_value']:.2f} |"
        for figures in training["validation"]
    )
    return f"""
## Validation on held-out {held_out}

{measured_as}

| epoch | {names} | AD % | IC % | mean map value |
|---|{"---|" * len(losses)}---|---|---|
{rows}
"""


_MEASURED_ON_IMAGES = """\
Everything is measured on masked images. Average Drop (lower is better) and Increase in Confidence
(higher is better) follow the T-TAME test protocol at 100 %: min-maxed map, removed pixels black."""

_MEASURED_ON_TEXTS = """\
Everything is measured on masked texts. Average Drop (lower is better) and Increase in Confidence
(higher is better) are those of the min-maxed map, which mixes the embeddings of words with that of
the ground of the training."""

_USE_OF_TEXTS = """
```python
import ttame.text

explainer = ttame.text.load_explainer("FOLDER")  # or classifier=your_classifier
explainer("Not a good film, but never dull.", classes="all")
```
"""


def _limits() -> str:
    return """
## Limits

The head explains the classifier with the weights named above and no other. Its maps are learned:
check them against a method that is computed, such as Grad-CAM, before relying on them.
"""
