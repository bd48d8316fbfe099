"""Networks that the user's Python code builds: ``package.module:name``, ``path/to/file.py:name``.

The code runs with the user's rights, so only a person may name it, never a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.sources.network_source import LoadedNetwork, with_image_size
from ttame.classifiers.sources.timm_models import configured_preprocessing
from ttame.errors import (
    ClassifierError,
    TtameError,
    UnknownNameError,
    either,
    kind_of,
)
from ttame.networks.network_trace import first_line

_PLACE = re.compile(r"(?P<where>.+\.py|[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<what>[^\W\d][\w.]*)")


def is_place(name: str) -> bool:
    """Whether a classifier's name names Python code.

    Example:
        >>> is_place("my_package.networks:build"), is_place("work/network.py:Net")
        (True, True)
        >>> is_place("timm/resnet18"), is_place("hf-hub:me/mine")
        (False, False)
    """
    return _PLACE.fullmatch(name) is not None


def with_absolute_path(name: str) -> str:
    """The same name, with the whole path of a file, so that it is found from everywhere."""
    where, what = _parts(name)
    if not where.endswith(".py"):
        return name
    return f"{Path(where).expanduser().absolute()}:{what}"


def load_network(recipe: ClassifierRecipe) -> LoadedNetwork:
    """Call what the name says, with the network options as its arguments.

    It returns an ``nn.Module``, or a :class:`ttame.Classifier`, whose preprocessing, class names,
    outputs and taps are kept; a network that stands ready under the name is taken as it is. A
    module or file is imported only if it was not imported before.

    Raises:
        ClassifierError: it cannot be imported, fails, or returns something else.
        UnknownNameError: there is nothing of this name; with near matches.
    """
    where, what = _parts(recipe.name)
    with _findable(where):
        found = _attribute(_imported(where, recipe.name), what, recipe.name)
        if not isinstance(found, nn.Module | Classifier):
            found = _called(found, recipe)
    if isinstance(found, Classifier):
        preprocessing = with_image_size(found.preprocessing, recipe.image_size)
        return LoadedNetwork(
            found.network,
            preprocessing,
            found.class_names or None,
            found.outputs,
            f"the classifier that {what} returned says so",
            found.taps,
        )
    if not isinstance(found, nn.Module):
        raise ClassifierError(
            f"{recipe.name} gave {kind_of(found)}",
            allowed="a torch.nn.Module or a ttame.Classifier",
        )
    said = configured_preprocessing(found)
    return LoadedNetwork(found, said and with_image_size(said, recipe.image_size))


def _parts(name: str) -> tuple[str, str]:
    found = _PLACE.fullmatch(name)
    assert found is not None
    return found["where"], found["what"]


@contextlib.contextmanager
def _findable(where: str) -> Iterator[None]:
    """Let the code import what lies next to it, as ``python FILE`` and ``python -m`` would."""
    folder = str(Path(where).parent if where.endswith(".py") else Path.cwd())
    if folder in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _imported(where: str, name: str) -> ModuleType:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        return _imported_file(Path(where))
    except TtameError:
        raise
    except Exception as problem:  # a user's code may raise anything
        raise ClassifierError(
            f"{where} cannot be imported for {name} ({in_words(problem)})",
            allowed="a Python file, or a module that can be imported from here",
        ) from problem


def _imported_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ClassifierError(f"file {path} does not exist", allowed="FILE.py:NAME")
    # A name of its own: that of the file may be the name of a package that somebody needs.
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"_ttame_network_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look themselves up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _attribute(module: ModuleType, what: str, name: str) -> Any:
    found: Any = module
    for part in what.split("."):
        if not hasattr(found, part):
            public = [known for known in vars(found) if not known.startswith("_")]
            raise UnknownNameError.of(f"name in {name.rpartition(':')[0]}", part, public)
        found = getattr(found, part)
    return found


def _called(found: Any, recipe: ClassifierRecipe) -> Any:
    options: Mapping[str, Any] = recipe.network_options
    if not callable(found):
        raise ClassifierError(
            f"{recipe.name} is {kind_of(found)}",
            allowed="a function or class that gives a torch.nn.Module or a ttame.Classifier",
        )
    try:
        return found(**options)
    except TtameError:
        raise
    except Exception as problem:  # a user's code may raise anything
        raise ClassifierError(
            f"{recipe.name} failed with {dict(options) or 'no arguments'} ({in_words(problem)})",
            remedy=either("network_options={NAME: VALUE}", "--network-option NAME=VALUE")
            + " for its arguments"
            if isinstance(problem, TypeError)
            else "",
        ) from problem


def in_words(problem: Exception) -> str:
    """What an exception of a user's code says, and where it was raised.

    Example:
        >>> in_words(ValueError("no weights"))
        'ValueError: no weights'
    """
    said = f"{type(problem).__name__}: {first_line(problem)}"
    frames = traceback.extract_tb(problem.__traceback__)
    last = next((frame for frame in reversed(frames) if _is_users(frame.filename)), None)
    return said if last is None else f"{said}, in {Path(last.filename).name} line {last.lineno}"


def _is_users(file: str) -> bool:
    """Whether a file is neither Python's, nor a library's, nor ours."""
    ours = str(Path(__file__).parents[2])
    return not file.startswith(("<", ours, sys.base_prefix, sys.prefix)) and "-packages" not in file
