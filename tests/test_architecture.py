"""The rooms and who may import whom; what is public; what must never appear."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import ttame
from ttame.version import __version__

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "ttame"

FLOORS: list[dict[str, set[str]]] = [
    {
        "cli": {"everything below"},
        "testing": {"classifiers", "text_classifiers", "networks", "images", "errors"},
        "text": {"reporting.texts", "explaining.texts", "training.texts", "evaluation.texts"}
        | {"datasets.texts", "text_classifiers", "results", "words"},
    },
    {
        "serving": {"reporting", "exporting", "explainers", "explainers.contract", "classifiers"}
        | {"drawing", "results", "images", "version", "errors"},
        "reporting.texts": {"reporting", "explaining", "explaining.texts", "explainers.contract"}
        | {"classifiers", "networks", "datasets.texts", "drawing", "results", "files"}
        | {"progress", "memory_limit", "processes", "errors"},
    },
    {
        "reporting": {"explaining", "explainers.trained", "explainers.contract", "classifiers"}
        | {"networks", "datasets", "drawing", "results", "images", "files", "outputs"}
        | {"progress", "memory_limit", "processes", "errors"},
        "compat": {"explainers", "explainers.methods", "explainers.contract", "classifiers"}
        | {"features", "networks", "results", "images", "outputs", "errors"},
        "exporting": {"explainers", "explainers.trained", "explainers.methods"}
        | {"explainers.contract", "metrics", "classifiers", "features", "networks", "results"}
        | {"images", "files", "outputs", "version", "errors"},
    },
    {
        "explaining.texts": {"explaining", "explainers.contract", "classifiers"}
        | {"text_classifiers", "datasets.texts", "results", "words", "processes", "errors"},
        "training.texts": {"training", "explainers.trained", "text_classifiers", "classifiers"}
        | {"datasets", "datasets.texts", "outputs", "errors"},
        "evaluation.texts": {"evaluation", "explainers.trained", "explainers.contract"}
        | {"metrics", "metrics.texts", "text_classifiers", "datasets.texts", "networks"}
        | {"results", "words", "files"}
        | {"outputs", "memory_limit", "processes", "errors"},
    },
    {
        "training": {"explainers.trained", "explainers.contract", "metrics", "classifiers"}
        | {"features", "networks", "datasets", "images", "files", "outputs", "memory_limit"}
        | {"progress", "processes", "errors"},
        "evaluation": {"explainers", "explainers.trained", "explainers.contract", "metrics"}
        | {"classifiers", "networks", "datasets", "results", "images", "files", "outputs"}
        | {"progress", "memory_limit", "processes", "errors"},
        "explaining": {"explainers.contract", "classifiers", "datasets", "results", "images"}
        | {"processes", "errors"},
    },
    {
        "explainers": {"explainers.trained", "explainers.methods", "explainers.contract"}
        | {"classifiers", "networks", "errors"},
    },
    {
        "explainers.trained": {"explainers.contract", "classifiers", "features", "networks"}
        | {"images", "files", "outputs", "memory_limit", "version", "errors"},
        "explainers.methods": {"explainers.relevance", "explainers.passes", "explainers.contract"}
        | {"classifiers", "features", "networks", "images", "outputs", "memory_limit"}
        | {"signal_handlers", "errors"},
    },
    {
        "explainers.relevance": {"explainers.passes", "explainers.contract", "classifiers"}
        | {"networks", "errors"},
    },
    {
        "explainers.passes": {"explainers.contract", "classifiers", "features", "networks"}
        | {"outputs", "memory_limit", "errors"},
    },
    {
        "explainers.contract": {"classifiers", "networks", "images", "outputs"}
        | {"progress", "notebook", "memory_limit", "errors"},
    },
    {"metrics": {"images", "errors"}, "metrics.texts": {"errors"}},
    {
        "text_classifiers": {"classifiers", "features", "networks", "results", "words"}
        | {"notebook", "outputs", "memory_limit", "signal_handlers", "errors"}
    },
    {
        "classifiers": {"features", "networks", "results", "images", "files", "outputs"}
        | {"memory_limit", "notebook", "signal_handlers", "errors"}
    },
    {"features": {"networks", "memory_limit", "errors"}},
    {"networks": {"files", "memory_limit", "signal_handlers", "errors"}},
    {"results": {"drawing", "notebook", "images", "words", "files", "outputs", "errors"}},
    {
        "datasets": {"images", "files", "memory_limit", "signal_handlers", "errors"},
        "datasets.texts": {"files", "errors"},
        "drawing": {"images", "words", "errors"},
        "progress": {"notebook", "processes", "errors"},
    },
    {"images": {"memory_limit", "signal_handlers", "errors"}, "words": {"errors"}},
    {
        "files": {"errors"},
        "notebook": set(),
        "outputs": {"errors"},
        "memory_limit": {"errors"},
        "signal_handlers": set(),
        "processes": {"errors"},
    },
    {"errors": set(), "version": set(), "memory_reuse": set()},
]
"""From the highest to the lowest; each room with those that it may import, all of lower floors."""

ROOMS = {room: may for floor in FLOORS for room, may in floor.items()}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "base", "core"}


@functools.cache
def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@functools.cache
def names_of_modules() -> frozenset[str]:
    return frozenset(map(module_of, modules()))


@functools.cache
def module_of(path: Path) -> str:
    """The dotted name, without ``ttame.`` in front."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(module: str) -> str:
    """The room of a module: the longest one that its name begins with."""
    parts = module.split(".")
    names = [".".join(parts[: length + 1]) for length in range(len(parts))]
    return next((name for name in reversed(names) if name in ROOMS), parts[0])


class Read(NamedTuple):
    """What the tests ask of a file, which is parsed once for all of them.

    Attributes:
        imports: the ttame modules that it imports, without ``ttame.`` in front; lazy ones too.
        owners: the objects, other than ``self`` and ``cls``, whose attributes it sets or deletes.
        called: the last names of the functions that it calls.
        loading: what is wrong with how it reads pickles; empty if nothing is.
        asks_the_kind: whether it asks if something is of images or of texts.
    """

    imports: set[str]
    owners: set[str]
    called: set[str]
    loading: list[str]
    asks_the_kind: bool


@functools.cache
def read(path: Path) -> Read:
    text = path.read_text(encoding="utf-8")
    nodes = [*ast.walk(ast.parse(text))]
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    return Read(
        imports_among(nodes),
        owners_of_attributes_set_from_outside(nodes),
        {last_name(function) for function in called},
        faults_of_loading(nodes, text, allowed=module_of(path) == "networks.torch_files"),
        any(asks_for_a_kind(node) for node in nodes),
    )


def asks_for_a_kind(node: ast.AST) -> bool:
    if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
        return False
    sides = [node.left, *node.comparators]
    return any(
        isinstance(side, ast.Constant) and side.value in ("images", "texts") for side in sides
    )


def imports_of(path: Path) -> set[str]:
    return read(path).imports


def imports_among(nodes: list[ast.AST]) -> set[str]:
    known = names_of_modules()
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = [name for name in inside if name.removeprefix("ttame.") in known]
            found |= set(submodules or [node.module])
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {
        name.removeprefix("ttame").removeprefix(".")
        for name in found
        if name == "ttame" or name.startswith("ttame.")
    }


def test_every_room_has_a_floor_and_rooms_import_lower_ones_only() -> None:
    height = {room: -number for number, floor in enumerate(FLOORS) for room in floor}
    for room, may in ROOMS.items():
        for other in may - {"everything below"}:
            assert height[other] < height[room], f"{other} is not below {room}"
    entries = {"__init__", "__main__"}
    assert {room_of(module_of(path)) for path in modules()} - entries == set(ROOMS)


def test_rooms_import_only_what_they_may() -> None:
    """And nothing inside imports the package root, whose name is empty here."""
    faults = {}
    for path in modules():
        room = room_of(module_of(path))
        if room not in ("__init__", "__main__", "cli"):
            may = ROOMS[room] | {room}
            faults[module_of(path)] = {room_of(name) for name in imports_of(path)} - may
    assert len(faults) > 400
    assert {module: rooms for module, rooms in faults.items() if rooms} == {}


SET_FROM_OUTSIDE = {
    "errors.py": {"made": "a text, which has no constructor of ours"},
    "classifiers/sources/connection.py": {"constants": "a switch of huggingface_hub, on loan"},
    "classifiers/sources/transformers_models.py": {"config": "transformers has no other way"},
    "cli/added_options.py": {"command": "the signature that typer reads of a function"},
    "cli/methods.py": {"column": "rich", "table": "rich", "table.columns[0]": "rich"},
    "explainers/relevance/recording.py": {
        "ctx": "torch hands it to an autograd function to keep things in",
        "node": "the same object, found again behind an output",
    },
    "exporting/graph_formats.py": {
        "options": "ONNX Runtime has no other way",
        "part": "of the graph that is being made",
        "value.type.tensor_type.shape.dim[0]": "of the graph that is being made",
    },
    "files/folder_exchange.py": {"rename": "how ctypes is told a C function's arguments"},
    "serving/app.py": {
        "app": "how FastAPI is told another description of itself",
        "app.state": "where FastAPI keeps what belongs to an application",
    },
    "serving/server.py": {"server": "how uvicorn is told to end"},
    "serving/request_log.py": {"logger": "how logging is told where lines go"},
    "testing/tiny_texts.py": {"tokenizer": "of the tokenizer that is being made"},
    "networks/batch_norm_folding.py": {
        "convolution": "of the copy that is being made",
        "module": "of the copy that is being made",
    },
    "networks/frozen_network.py": {
        "self.switched": "the user's module, back to how it was",
        "module": "the user's module, noted before",
    },
    "networks/giving_back.py": {
        "this_thread": "the running thread's own ledger",
        "_device": "torch's device mode, back to how it was",
    },
}
"""Objects of other libraries, and ledgers: file to the objects whose attributes it sets, and why.
None of them is an explainer, a classifier, a result, or anything else that is handed on."""


SETTERS = {"setattr", "delattr", "__setattr__", "__delattr__"}


def owners_of_attributes_set_from_outside(nodes: list[ast.AST]) -> set[str]:
    """The objects, other than ``self`` and ``cls``, whose attributes a file sets or deletes.

    A method may be handed another object of its class; a function may make an object and set its
    attributes afterwards. Neither is told apart: an object is complete when it is made.
    """
    owners = {
        ast.unparse(node.value)
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
    }
    for node in nodes:
        if isinstance(node, ast.Call) and last_name(node.func) in SETTERS:
            owners |= {ast.unparse(argument) for argument in node.args[:1]}
    return owners - {"self", "cls"}


def last_name(function: ast.expr) -> str:
    name: str = getattr(function, "attr", getattr(function, "id", ""))
    return name


def test_what_sets_attributes_from_outside_is_found() -> None:
    code = """
class Own:
    def __init__(self, other):
        self.a, other.b = 1, 2
        object.__setattr__(self, "c", 3)
        self.part.d += 1
other.made = first = 0
setattr(found, "name", 1)
del gone.name
loop.a: int = 1
read = other_read.a
"""
    found = owners_of_attributes_set_from_outside([*ast.walk(ast.parse(code))])
    assert found == {"other", "self.part", "found", "gone", "loop"}


def test_objects_are_complete_when_made() -> None:
    owners = {path.relative_to(SOURCE).as_posix(): read(path).owners for path in modules()}
    found = {file: objects for file, objects in owners.items() if objects}
    assert found == {file: set(objects) for file, objects in SET_FROM_OUTSIDE.items()}


def test_the_page_of_the_architecture_names_every_room_and_only_what_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert {room for room in ROOMS if f"`{room}`" not in page} == set()
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*)(?:\.py)?`", page))
    assert len(named) > 40
    places = {name: SOURCE / name for name in named}
    places |= {name: ROOT / name for name in named if name.split("/")[0] in os.listdir(ROOT)}
    missing = [
        name
        for name, place in places.items()
        if not place.is_dir() and not place.with_suffix(".py").is_file()
    ]
    assert missing == []


def test_what_images_and_texts_share_knows_neither() -> None:
    """Methods ask the classifier; refining maps is for images alone."""
    of_kinds = {"images", "datasets", "drawing", "words", "text_classifiers", "text"}
    of_images = {"explainers.contract.map_refinement"}
    shared = {"explainers.contract", "explainers.passes", "explainers.relevance", "features"}
    found = {
        module_of(path): {room_of(name) for name in imports_of(path)} & of_kinds
        for path in modules()
        if room_of(module_of(path)) in shared or module_of(path) == "classifiers.any_classifier"
    }
    assert len(found) > 50
    assert {module for module, kinds in found.items() if kinds} == of_images


def test_methods_do_not_ask_whether_they_explain_images_or_texts() -> None:
    """The classifier says what its inputs are like; a table by kind has a line for each."""
    of_methods = {"methods", "contract", "passes", "relevance"}
    found = {
        module_of(path): read(path).asks_the_kind
        for path in modules()
        if room_of(module_of(path)) in {f"explainers.{room}" for room in of_methods} | {"training"}
    }
    assert len(found) > 100
    assert {module for module, asks in found.items() if asks} == set()
    (question,) = ast.parse("if classifier.kind == 'texts': pass").body
    assert any(asks_for_a_kind(node) for node in ast.walk(question))


def test_nobody_imports_the_command_line() -> None:
    for path in modules():
        if room_of(module_of(path)) not in ("__main__", "cli"):
            assert not any(name.split(".")[0] == "cli" for name in imports_of(path)), path


def test_only_examples_and_tests_use_the_tiny_classifiers() -> None:
    for path in modules():
        if room_of(module_of(path)) != "testing":
            assert not any(name.split(".")[0] == "testing" for name in imports_of(path)), path


def test_imports_are_acyclic_lazy_ones_too() -> None:
    graph = {module_of(path): imports_of(path) - {""} for path in modules()}
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail, name))
        if name not in finished:
            for imported in sorted(graph.get(name, ())):
                visit(imported, (*trail, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def test_no_room_is_a_drawer_for_everything() -> None:
    names = {part.removesuffix(".py") for path in modules() for part in path.parts}
    assert not names & FORBIDDEN_NAMES


@pytest.mark.parametrize("room", ["metrics", "evaluation"])
def test_probabilities_are_the_classifiers_affair(room: str) -> None:
    """Whoever measures is given them, because not every network's classes exclude each other."""
    for path in sorted((SOURCE / room).glob("*.py")):
        forbidden = {"softmax", "log_softmax", "sigmoid", "logsigmoid"}
        assert not read(path).called & forbidden, path


READERS_OF_PICKLES = {"pickle", "dill", "joblib", "cloudpickle"}


def faults_of_loading(nodes: list[ast.AST], text: str, *, allowed: bool) -> list[str]:
    """What is wrong with how a file reads pickles; ``allowed`` if it may load them restricted."""
    loads = [node for node in nodes if isinstance(node, ast.Attribute) and is_torch_load(node)]
    faults = [] if not loads or allowed else ["torch.load outside of the restricted reader"]
    if "from torch import load" in text:
        faults.append("torch.load under another name")
    for node in nodes:
        if isinstance(node, ast.Call) and node.func in loads:
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if given.get("weights_only") != "True":
                faults.append("torch.load without weights_only=True")
            loads.remove(node.func)
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            faults += [ast.unparse(node)] if READERS_OF_PICKLES & names else []
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").split(".")[0] in READERS_OF_PICKLES
            # The error that torch's restricted reader raises may be caught.
            and {alias.name for alias in node.names} != {"UnpicklingError"}
        ):
            faults.append(ast.unparse(node))
    return [*faults, *("torch.load is called, never passed on" for _ in loads)]


def is_torch_load(node: ast.Attribute) -> bool:
    return node.attr == "load" and isinstance(node.value, ast.Name) and node.value.id == "torch"


def test_no_pickle_is_loaded_but_by_the_restricted_reader() -> None:
    assert {path: read(path).loading for path in modules() if read(path).loading} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ntorch.load('a.pth', weights_only=True)",
        "from torch import load",
        "import pickle as jar",
        "from dill.session import load",
        "import joblib.numpy_pickle",
    ],
)
def test_what_loads_pickles_is_found(code: str) -> None:
    assert faults_of_loading([*ast.walk(ast.parse(code))], code, allowed=False)


def test_the_restricted_reader_restricts_and_hands_nothing_on() -> None:
    for code in ("torch.load('a.pth')", "torch.load('a.pth', weights_only=safe)", "f(torch.load)"):
        assert faults_of_loading([*ast.walk(ast.parse(code))], code, allowed=True)
    fine = "from pickle import UnpicklingError\ntorch.load('a.pth', weights_only=True)"
    assert not faults_of_loading([*ast.walk(ast.parse(fine))], fine, allowed=True)


def test_rooms_are_reached_through_the_root() -> None:
    """Called as Python does where no submodule was imported yet."""
    assert ttame.__getattr__("compat").GradCAM.__name__ == "GradCAM"
    assert ttame.__getattr__("explainers").__name__ == "ttame.explainers"


def test_public_names_are_sorted_complete_and_importable() -> None:
    assert ttame.__all__ == sorted(ttame.__all__)
    assert set(ttame.__all__) == set(ttame._HOMES) | {"__version__"}
    for name in ttame.__all__:
        assert getattr(ttame, name) is not None
    assert dir(ttame) == ttame.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ttame.nothing  # noqa: B018


def test_version_and_changelog_agree() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {__version__}" in changelog
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


HEAVY = "torch, timm, transformers, PIL, numpy, accelerate, jinja2, pydantic"
TO_EXPLAIN = """
import io, ttame.cli.explanation_display
from PIL import Image
from ttame.images.photos import read_photo
Image.new('RGB', (9, 9)).save(photo := io.BytesIO(), 'PNG')
read_photo(photo.getvalue(), name='photo')
"""


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import ttame", HEAVY),
        ("from ttame.cli.main import app", HEAVY),
        (TO_EXPLAIN.strip(), "IPython, PIL.ImageShow, PIL.XbmImagePlugin, matplotlib, accelerate"),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(statement: str, heavy: str) -> None:
    code = f"{statement}\nimport sys; print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "[]"


def test_no_tracked_file_names_a_registry_host() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    hosts = ["py" + "pi.org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian"]
    for name in filter(None, tracked):
        path = ROOT / name
        if path.suffix in (".safetensors", ".png", ".jpg") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        assert not [host for host in hosts if host in text], name
