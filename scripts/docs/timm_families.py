"""Every family of networks that timm registers, each tried by its smallest configuration.

``python -m scripts.docs.timm_families`` writes ``docs/timm-families.md``. It takes about half an
hour on one core and is not part of the tests. Every network runs in a process of its own, with
random weights, a time and a memory limit; what is known stays in ``build/timm-families``, so that
the command goes on where it was stopped. ``--again WORD`` tries those once more whose row holds
the word. Results are stored in ``timm_families.json`` here, from which the page follows;
``--collect`` stores what is known, and tries nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import inspect
import io
import json
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.known_classifiers import load_classifier
from ttame.errors import ExplainerError, TtameError
from ttame.testing import tiny_classifier

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "timm-families.md"
STORED = Path(__file__).with_suffix(".json")
KNOWN = ROOT / "build" / "timm-families"
SECONDS = 180
"""Of computing, for one network."""

LONGEST = 1200
"""Seconds on the clock, for a machine that is busy with other things."""

GIBIBYTES = 8
CLASSES = {"num_classes": 10}
"""Asked for where a family's networks come without class scores."""

SIDES = (128, 126)
"""Pixels of an image, where the network takes any size; the second is whole patches of 14."""
TRIED = ("inspect", "grad_cam", "class_evidence", "untrained head")
WORKS = "works"
UNDEFINED = "refused: "
"""Before the words of a method that is not defined for a network."""

UNDEFINED_WORDS = "its logits are not one linear layer on averaged features"
"""Of class evidence, where it says why."""


@dataclasses.dataclass(frozen=True)
class Family:
    """One row of the page.

    Attributes:
        module: of timm, the family.
        network: its smallest configuration that gives class scores.
        parameters: of that, in millions.
        built: the size of its images in pixels, and what else made it small.
    outcomes: of each thing that is tried: "works", or in which words it ended.
    """

    module: str
    network: str
    parameters: float
    built: str
    outcomes: dict[str, str]

    @property
    def works(self) -> bool:
        """Whether everything does."""
        return all(self.outcomes.get(name) == WORKS for name in TRIED)

    @property
    def is_right(self) -> bool:
        """The same, where class evidence may also be refused because it is not defined."""
        evidence = self.outcomes.get("class_evidence", "")
        undefined = evidence.startswith(UNDEFINED) and UNDEFINED_WORDS in evidence
        others = [self.outcomes.get(name) for name in TRIED if name != "class_evidence"]
        return all(each == WORKS for each in others) and (evidence == WORKS or undefined)


def smallest(module: str) -> tuple[str, float]:
    """The configuration with the fewest parameters that gives class scores, and its millions.

    Of a family of towers without an end: one that takes ``num_classes``.
    """
    import timm

    # Those are for timm's own tests, and towers that never get an end.
    names = [
        name
        for name in timm.list_models(module=module)
        if not name.startswith("test_") and not name.endswith(("_enc", "_align", "_merge"))
    ]
    found = _millions(names, {}) or _millions(names, CLASSES)
    name = min(found, key=lambda each: found[each])
    return name, found[name]


def _millions(names: list[str], options: dict[str, int]) -> dict[str, float]:
    """Of parameters, for each network that gives class scores when it is built so."""
    import timm

    found: dict[str, float] = {}
    for name in names:
        with warnings.catch_warnings(), contextlib.suppress(Exception), torch.device("meta"):
            warnings.simplefilter("ignore")
            network = timm.create_model(name, **options)
            if network.num_classes > 0:
                found[name] = sum(each.numel() for each in network.parameters()) / 1e6
    return found


def try_out(network: str) -> Iterator[tuple[str, str]]:
    """What was built, and what comes of each thing that is tried, one after the other."""
    from ttame.explainers.known_explainers import make_explainer
    from ttame.explainers.trained.attention_explainer import new_attention_explainer

    classifier, size, options = _small(f"timm/{network}")
    yield (
        "built",
        "x".join(map(str, classifier.preprocessing.input_size))
        + "".join(f", {name}={value}" for name, value in options.items()),
    )

    def inspected() -> None:
        _inspect(
            f"timm/{network}",
            image_size=None if size is None else f"{size}",
            network_option=[f"{name}={value}" for name, value in options.items()],
        )

    def explained(make: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            height, width = classifier.preprocessing.input_size
            images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
            maps = make()(images, classes=[1, 3]).maps
            assert torch.isfinite(maps).all(), "not finite"
            assert all(each.std() > 0 for each in maps.flatten(0, 1)), "the same everywhere"

        return run

    makers: dict[str, Callable[[], Any]] = {
        "grad_cam": lambda: make_explainer("grad_cam", classifier, rectified=False),
        "class_evidence": lambda: make_explainer("class_evidence", classifier),
        "untrained head": lambda: new_attention_explainer(classifier),
    }
    yield "inspect", _outcome(inspected)
    for name, make in makers.items():
        yield name, _outcome(explained(make))


def _inspect(network: str, **typed: Any) -> None:
    """``ttame inspect``, in this process and with random weights."""
    from ttame.cli.inspect import inspect as show
    from ttame.cli.network_options import NetworkOptions

    untyped = {field.name: field.default for field in dataclasses.fields(NetworkOptions)}
    with contextlib.redirect_stdout(io.StringIO()):
        show(network, **{**untyped, "weights": "none", "device": "cpu", **typed})


def _small(name: str) -> tuple[Classifier, int | None, dict[str, int]]:
    """The classifier, of four blocks and for small images where timm can build it so."""
    from timm.models import get_pretrained_cfg_value

    end = {} if get_pretrained_cfg_value(name.partition("/")[2], "num_classes") else CLASSES
    of_sides = [(side, depth) for side in SIDES for depth in ({"depth": 4}, {})]
    for size, depth in [*of_sides, (None, {"depth": 4})]:
        with contextlib.suppress(TtameError):
            options = {**end, **depth}
            return _load(name, size, options), size, options
    return _load(name, None, end), None, end


def _load(name: str, size: int | None, options: dict[str, int]) -> Classifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier = load_classifier(name, weights="none", image_size=size, network_options=options)
    for weight in classifier.network.parameters():
        if weight.ndim > 1 and not weight.any():
            # Scores that start at zero are explained by zeros.
            torch.nn.init.normal_(weight, std=0.02)
    return classifier


def _outcome(run: Callable[[], None]) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
    except Exception as problem:  # The whole point is to see which.
        return _in_words(problem)
    return WORKS


def _in_words(problem: Exception) -> str:
    if isinstance(problem, ExplainerError):
        return UNDEFINED + problem.problem
    if isinstance(problem, TtameError):
        return f"fails: {problem.problem}"
    return f"fails: {type(problem).__name__}: {' '.join(str(problem).split())[:200]}"


def _in_own_process(network: str, end: Connection) -> None:
    bound = GIBIBYTES * 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    torch.set_num_threads(1)
    try:
        for outcome in try_out(network):
            end.send(outcome)
    except Exception as problem:
        end.send(("last", _in_words(problem)))


def tried(module: str) -> Family:
    """The row of one family, from what is known or from a process of its own."""
    place = KNOWN / f"{module}.json"
    if place.exists():
        return Family(**json.loads(place.read_text(encoding="utf-8")))
    network, parameters = _smallest_known(module)
    here, there = multiprocessing.Pipe(duplex=False)
    # A fork, which has all libraries already.
    process = multiprocessing.get_context("fork").Process(
        target=_in_own_process, args=(network, there)
    )
    process.start()
    there.close()
    outcomes = dict(_received(here, time.monotonic() + LONGEST))
    process.kill()
    process.join()
    last = outcomes.pop("last", f"fails: its process ended, by memory or after {SECONDS} s")
    built = outcomes.pop("built", "")
    family = Family(
        module, network, parameters, built, {name: outcomes.get(name, last) for name in TRIED}
    )
    place.write_text(json.dumps(dataclasses.asdict(family), indent=1), encoding="utf-8")
    return family


def _received(end: Connection, until: float) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(EOFError):
        while end.poll(max(0.0, until - time.monotonic())):
            yield end.recv()
        yield "last", f"fails: more than {LONGEST} s"


def _smallest_known(module: str) -> tuple[str, float]:
    place = KNOWN / f"{module}.smallest"
    if not place.exists():
        name, parameters = smallest(module)
        place.write_text(f"{name} {parameters:.2f}", encoding="utf-8")
    name, written = place.read_text(encoding="utf-8").split()
    return name, float(written)


def _import_everything() -> None:
    """Once, for all the forks, by doing it for a tiny network."""
    import torchvision

    from ttame.explainers.known_explainers import methods_for

    assert torchvision
    torch.set_num_threads(1)
    for kind in ("cnn", "vit"):
        methods_for(tiny_classifier(kind, size=32))  # type: ignore[arg-type]
    _inspect("timm/test_resnet")


def main() -> None:
    """Try all families, or one network, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m scripts.docs.timm_families")
    parser.add_argument("--network", help="try this one and print what comes of it")
    parser.add_argument("--again", metavar="WORD", help="forget rows that hold this word")
    parser.add_argument("--start", default="", metavar="MODULE", help="begin with this family")
    parser.add_argument("--collect", action="store_true", help="try nothing, store what is known")
    given = parser.parse_args()
    if given.network:
        for name, outcome in try_out(given.network):
            print(f"{name}: {outcome}", flush=True)
        return
    import timm

    modules = sorted(timm.list_modules())
    KNOWN.mkdir(parents=True, exist_ok=True)
    for place in KNOWN.glob("*.json") if given.again else ():
        if given.again in place.read_text(encoding="utf-8"):
            place.unlink()
    if not given.collect:
        _import_everything()
        for module in sorted(modules, key=lambda name: (name < given.start, name)):
            print(tried(module), flush=True)
    store(modules, timm.__version__)
    PAGE.write_text(as_markdown(), encoding="utf-8")


def store(modules: list[str], version: str) -> None:
    """Store the rows of all families that are known, with how they were made."""
    places = [KNOWN / f"{module}.json" for module in modules]
    rows = [json.loads(place.read_text(encoding="utf-8")) for place in places if place.exists()]
    stored = {"timm": version, "how": how_tried(), "families": modules, "rows": rows}
    STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def how_tried() -> str:
    """A hash of the code that tries a network; rows of another one have to be made anew."""
    parts = (smallest, _millions, try_out, _inspect, _small, _load, _outcome, _in_words)
    said = "".join(inspect.getsource(part) for part in parts) + f"{SIDES} {SECONDS} {CLASSES}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _cell(outcome: str) -> str:
    if outcome.startswith(UNDEFINED):
        return "not defined" if UNDEFINED_WORDS in outcome else outcome
    return outcome.replace("|", "/")


def as_markdown() -> str:
    """The page ``docs/timm-families.md``, with both shares, from what is stored."""
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    rows = [Family(**row) for row in stored["rows"]]
    works, right = (sum(getattr(row, name) for row in rows) for name in ("works", "is_right"))
    left = [name for name in stored["families"] if name not in {row.module for row in rows}]
    lines = [
        f"| {row.module} | {row.network} | {row.parameters:.1f} | {row.built} | "
        + " | ".join(_cell(row.outcomes[name]) for name in TRIED)
        + " |"
        for row in rows
    ]
    return "\n".join(
        [
            "# Families of timm",
            "",
            "<!-- Written by python -m scripts.docs.timm_families; do not edit. -->",
            "",
            f"timm {stored['timm']} registers {len(stored['families'])} families (modules). Of "
            f"{len(rows)} of them the smallest network was tried without help:",
            "`ttame inspect`, Grad-CAM, class evidence, and an untrained T-TAME head. Weights are "
            "random, and a last layer that",
            "starts at zero is drawn too; maps must be finite and not the same everywhere. Images "
            f"have {SIDES[0]} pixels",
            f"({SIDES[1]} where {SIDES[0]} are not whole patches) and depth is 4 where timm builds "
            "the network so.",
            "",
            f"All four work for {works} of {len(rows)} ({works / len(rows):.1%}). Class evidence "
            "is exact where the logits are one linear",
            "layer on averaged features or on a class token, and to first order where a grid in "
            "the second half of the network, or what",
            "blocks give to a class token, decides them alone; elsewhere (*not defined*) it is "
            "refused with",
            f'"{UNDEFINED_WORDS}…".',
            f"Counting those as right, as everything else works there, it is {right} of "
            f"{len(rows)} ({right / len(rows):.1%}).",
            "",
            *([stored["caveat"], ""] if "caveat" in stored else []),
            *([f"Not tried yet: {', '.join(left)}.", ""] if left else []),
            "| family | network | million parameters | built | " + " | ".join(TRIED) + " |",
            "|---|---|---|---|" + "---|" * len(TRIED),
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
