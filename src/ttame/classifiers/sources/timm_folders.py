"""Networks in the form of timm's ``save_for_hf``: a folder, or a repository on the hub."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttame.classifiers.sources.connection import hub_without_retries
from ttame.errors import ClassifierError, WeightsError
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import read_json
from ttame.networks.network_trace import first_line

ON_THE_HUB = "hf-hub:"
ON_DISK = "local-dir:"

CONFIG_FILE = "config.json"
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""The first one that is there is read."""

_LARGEST_CONFIG = 16 * 2**20


@dataclasses.dataclass(frozen=True)
class TimmFolder:
    """What such a folder holds.

    Attributes:
        folder: on this machine.
        described: its ``config.json``.
        weights: the file of weights, or ``None`` if there is none.
    """

    folder: Path
    described: Mapping[str, Any]
    weights: Path | None


def is_place(name: str) -> bool:
    """Whether a name says a folder or a repository rather than an architecture.

    Example:
        >>> is_place("hf-hub:timm/resnet18.a1_in1k"), is_place("resnet18")
        (True, False)
    """
    return name.startswith((ON_THE_HUB, ON_DISK))


def is_timm_folder(folder: Path) -> bool:
    """Whether ``config.json`` describes a network of timm, as ``save_for_hf`` writes it."""
    try:
        described = read_json(folder / CONFIG_FILE, largest=_LARGEST_CONFIG)
    except UnreadableFileError:
        return False
    return (
        isinstance(described, Mapping)
        and "architecture" in described
        and "model_type" not in described
    )


def open_place(name: str, *, with_weights: bool) -> TimmFolder:
    """Find the folder, or download the repository's description and weights.

    Args:
        name: ``hf-hub:REPOSITORY``, with ``@REVISION`` if need be, or ``local-dir:FOLDER``.
        with_weights: whether the weights are downloaded too.

    Raises:
        WeightsError: no such folder or repository, no connection, or no weights.
        ClassifierError: its description cannot be read.
    """
    if name.startswith(ON_DISK):
        folder = Path(name.removeprefix(ON_DISK)).expanduser()
    else:
        folder = _downloaded(name.removeprefix(ON_THE_HUB), with_weights=with_weights)
    try:
        described = read_json(folder / CONFIG_FILE, largest=_LARGEST_CONFIG)
    except UnreadableFileError as problem:
        raise WeightsError(
            f"folder {folder} holds no readable {CONFIG_FILE} ({problem})",
            allowed="what timm.models.save_for_hf(network, FOLDER) wrote",
        ) from problem
    if not isinstance(described, Mapping) or "architecture" not in described:
        raise ClassifierError(
            f"{folder / CONFIG_FILE} does not name an architecture of timm",
            allowed="what timm.models.save_for_hf(network, FOLDER) wrote",
        )
    held = (folder / file for file in WEIGHTS_FILES)
    weights = next((path for path in held if path.is_file()), None)
    if with_weights and weights is None:
        raise WeightsError(
            f"{folder} holds no weights", allowed=f"one of {', '.join(WEIGHTS_FILES)}"
        )
    return TimmFolder(folder, described, weights)


def _downloaded(repository: str, *, with_weights: bool) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    repository, _, revision = repository.partition("@")
    with hub_without_retries() as reachable:
        try:
            config = hf_hub_download(repository, CONFIG_FILE, revision=revision or None)
            for file in WEIGHTS_FILES if with_weights else ():
                try:
                    hf_hub_download(repository, file, revision=revision or None)
                    break
                except EntryNotFoundError:
                    continue
        except (HfHubHTTPError, HFValidationError, OSError, ValueError) as problem:
            why = first_line(problem) if reachable else "no connection to the hub"
            raise WeightsError(
                f"timm/hf-hub:{repository} cannot be loaded ({why})",
                allowed="a repository with a config.json of timm",
                remedy="a connection, or timm/local-dir:FOLDER for a downloaded copy",
            ) from problem
    return Path(config).parent
