"""Where explainers are: with ttame, in a folder, or on the Hugging Face hub."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ttame.errors import (
    TRAINING,
    ExplainerFolderError,
    UnknownNameError,
)
from ttame.explainers.trained.explainer_config import (
    CARD_FILE,
    CONFIG_FILE,
    TEXTS_FILE,
    WEIGHTS_FILE,
    read_config,
)
from ttame.files.leftovers import put_back
from ttame.networks.network_trace import first_line


def bundled_explainers() -> dict[str, Path]:
    """Name to folder of the explainers that ship with ttame.

    The default explainer of a classifier has the classifier's name; others have a second part,
    such as ``"efficientnet_lite0--t-tame"``.
    """
    root = Path(str(files("ttame.explainers") / "bundled"))
    return {folder.name: folder for folder in sorted(root.glob("*")) if folder.is_dir()}


def bundled_methods(classifier: str) -> dict[str, str]:
    """Method to name of the bundled explainers of a classifier, the default one first.

    What counts is what the folders hold, not how they are called.

    Args:
        classifier: its name.

    Example:
        >>> "efficientnet_lite0" in bundled_methods("efficientnet_lite0").values()
        True
    """
    bundled = bundled_explainers()
    methods: dict[str, str] = {}
    for name in sorted(bundled, key=lambda name: (name != classifier, name)):
        config = read_config(bundled[name])
        if config.classifier.name == classifier:
            methods.setdefault(config.method, name)
    return methods


def find_explainer(place: Path | str) -> Path:
    """The folder of a bundled, local or downloaded explainer.

    Raises:
        UnknownNameError: there is none of that name.
        ExplainerFolderError: the hub repository cannot be downloaded.
    """
    bundled = bundled_explainers()
    if isinstance(place, str) and place in bundled:
        return bundled[place]
    folder = Path(place).expanduser()
    put_back(folder)
    if folder.is_dir():
        return folder
    name = str(place)
    if folder.is_file():
        raise ExplainerFolderError(
            f"{name} is a file",
            allowed=f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}",
            remedy=str(folder.parent),
        )
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _download(name)
    raise UnknownNameError.of(
        "explainer", name, bundled, remedy=f"the folder that {TRAINING} wrote"
    )


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(
            snapshot_download(
                repository, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, TEXTS_FILE]
            )
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError, RuntimeError) as problem:
        raise ExplainerFolderError(
            f"explainer {repository} is not a local folder and cannot be downloaded "
            f"({first_line(problem)})",
            allowed=f"{', '.join(bundled_explainers())}, a folder, or a hub repository",
        ) from problem
