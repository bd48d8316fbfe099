"""Writing the files of a saved explainer; what they say is passed on, whichever class holds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ttame.explainers.trained.explainer_card import explainer_card
from ttame.explainers.trained.explainer_config import (
    CARD_FILE,
    CONFIG_FILE,
    TEXTS_FILE,
    WEIGHTS_FILE,
    ExplainerConfig,
)
from ttame.explainers.trained.head import Head
from ttame.files.atomic_writing import whole_file, write_json, write_tensors


def write_explainer_files(
    config: ExplainerConfig, head: Head, folder: Path, texts: Mapping[str, Tensor] | None = None
) -> None:
    """Write the files into an existing folder; ``config.json`` comes last and completes it.

    Args:
        config: what is known of the explainer.
        head: trained.
        folder: exists.
        texts: the rows that the texts of a zero-shot classifier give.

    Raises:
        OutputError: the disk is full, or the place is not writable.
    """
    described = config.model_dump(mode="json")
    if config.features_from is None:
        del described["features_from"]  # Which versions of ttame before it do not know.
    write_tensors(folder / WEIGHTS_FILE, head.state_dict(), {"format": "pt"})
    if texts is not None:
        write_tensors(folder / TEXTS_FILE, dict(texts), {"format": "pt"})
    with whole_file(folder / CARD_FILE) as temporary:
        card = explainer_card(described, head.facts(config.seen.taps))
        temporary.write_text(card, encoding="utf-8", errors="backslashreplace")
    write_json(folder / CONFIG_FILE, described)
