"""The card of a saved explainer: what it is, how it was made, how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ttame.classifiers.classifier import ClassifierRecipe
from ttame.classifiers.recipe_rules import refused_in_a_file
from ttame.explainers.trained.head_plan import evidence_in_words
from ttame.explainers.trained.idle_settings import idle_settings

_MAPS = {
    "raw": "the head's output before the sigmoid",
    "sigmoid": "the sigmoid of the head's output, in [0, 1], which masked the images in training",
    "min-max": "the head's output, each map from 0 to 1, to a power that gives them their mean",
}
_PARTS = {
    "prior": "the classifier's own evidence for the class at each place",
    "embedding": "what place and class have in common",
    "gate": "the same for all classes",
}


def explainer_card(config: Mapping[str, Any]) -> str:
    """Write the card as Markdown with the front matter that the Hugging Face hub reads.

    Args:
        config: the content of ``config.json``.
    """
    sections = [_front_matter(), _head(config), _use(config)]
    training = config["training"]
    if training.get("settings"):
        sections += [_training(training), _validation(training)]
    sections.append(_limits())
    return "\n".join(section for section in sections if section)


def _front_matter() -> str:
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: ttame",
        "pipeline_tag: image-classification",
        "tags: [explainability, saliency, t-tame]",
        "---",
    ]
    return "\n".join(lines)


def _head(config: Mapping[str, Any]) -> str:
    classifier, head = config["classifier"], config["head"]
    taps = ", ".join(f"`{tap}`" for tap in classifier["taps"])
    parts = _parts(head["few_shot"], classifier["taps"]) if head["few_shot"] else ""
    return f"""
# {config["method"]} explainer for {classifier["name"]}

A trained attention head (variant `{head["variant"]}`, {head["number_of_classes"]} classes) that
gives a saliency map for every class in one forward pass of the classifier.

| | |
|---|---|
| classifier | `{classifier["name"]}` |
| fingerprint of its weights | `{classifier["fingerprint"]}` |
| feature taps | {taps} |
{parts}| maps | {_MAPS[head["maps"]]} |
| made by | ttame {config["ttame_version"]} |
| licence of the head | Apache-2.0; the classifier's weights and the images have their own |
"""


def _parts(few_shot: Mapping[str, Any], taps: Sequence[str]) -> str:
    """The table's rows on the parts of a few-shot head."""
    has = [name for name in _PARTS if few_shot[name]]
    lacks = [name for name in _PARTS if not few_shot[name]]
    row = f"| parts of the head | {', '.join(f'{name} ({_PARTS[name]})' for name in has)}"
    row += f"; without {' and '.join(lacks)} |\n" if lacks else " |\n"
    if few_shot["pooled"] is not None:
        row += f"| the prior is made of | {evidence_in_words(taps[few_shot['pooled']])} |\n"
    if few_shot["details"] < 1:
        row += f"| details | maps keep {few_shot['details']:g} of their short-range differences |\n"
    return row


def _use(config: Mapping[str, Any]) -> str:
    recipe = config["classifier"]["recipe"]
    own = recipe is None or refused_in_a_file(_without_flag(recipe))
    extra = ", classifier=your_classifier" if own else ""
    return f"""
```python
import ttame

explainer = ttame.load_explainer("FOLDER"{extra})
explanation = explainer("photo.jpg", classes="top3")
explanation.heatmaps()
```
"""


def _without_flag(recipe: Mapping[str, Any]) -> ClassifierRecipe:
    """The recipe but for its preprocessing, which is data in any case."""
    entries = {name: value for name, value in recipe.items() if name != "own_preprocessing"}
    return ClassifierRecipe(**entries)


def _training(training: Mapping[str, Any]) -> str:
    settings = training["settings"]
    idle = idle_settings(settings)
    rows = "\n".join(
        f"| {name.replace('_', ' ')} | {value} |"
        for name, value in settings.items()
        if name not in idle
    )
    skipped = training.get("skipped_images", {})
    named = ", ".join(f"`{name}`" for name in list(skipped)[:10])
    notes = "".join(f"\n\nNote: {note}." for note in training.get("notes", ()))
    return f"""
## Training

Command: `{training.get("command", "ttame.train_explainer(...)")}`

Data: `{training["data"]}` ({training["training_images"]} images to train on,
{training["held_out_images"]} held out; fingerprint `{training["data_fingerprint"]}`;
{len(skipped)} unreadable and skipped{": " + named if named else ""}).
{training["steps"]} steps on {training["processes"]} process(es), {training["device"]},
finished {training["finished"]}.{notes}

| setting | value |
|---|---|
{rows}
"""


def _validation(training: Mapping[str, Any]) -> str:
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
## Validation on held-out images

Everything is measured on masked images. Average Drop (lower is better) and Increase in Confidence
(higher is better) follow the T-TAME test protocol at 100 %: min-maxed map, removed pixels black.

| epoch | {names} | AD % | IC % | mean map value |
|---|{"---|" * len(losses)}---|---|---|
{rows}
"""


def _limits() -> str:
    return """
## Limits

The head explains the classifier with the weights named above and no other. Its maps are learned:
check them against a method that is computed, such as Grad-CAM, before relying on them.
"""
