"""What the map costs in an exported file, and how near the file is to PyTorch.

python -m benchmarks.export                            # everything, into BENCHMARKS.md
python -m benchmarks.export --only torchvision/vit_b_16  # one network again; others as they were
python -m benchmarks.export --only parity --data PHOTOS  # 100 photos in each format
python -m benchmarks.export --only int8 --data PHOTOS    # what 8 bits cost
python -m benchmarks.export --only NAME --files FOLDER   # what the map costs alone, files kept
python -m benchmarks.export --quick                    # EfficientNet-Lite0, printed only

What was measured is kept in ``export_values/``, one file per network, each from one run.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ttame
from benchmarks.benchmark_page import (
    interleaved_seconds,
    median,
    median_ratio,
    table,
    write_section,
)
from ttame.classifiers.classifier import Classifier
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.trained.explainer_places import bundled_explainers
from ttame.exporting.explainable_classifier import ExplainableClassifier

VALUES = Path(__file__).parent / "export_values"
NETWORKS = ("efficientnet_lite0", "torchvision/resnet50", "torchvision/vit_b_16")
PARITY = ("efficientnet_lite0", "hybrid_vit_lite0", "timm/deit_tiny_patch16_224")
ROUNDS = {1: 15, 8: 5}
"""Size of a batch to the number of rounds."""

MOST_PHOTOS = 100
WITHOUT = ["logits", "probabilities", "classes"]
COMMAND = "python -m benchmarks.export --data PHOTOS"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of photos")
    parser.add_argument("--only", help="a network, parity or int8", default="")
    parser.add_argument(
        "--files",
        type=Path,
        help="keep exported files here, use those that are, and leave PyTorch out (minutes less)",
    )
    parser.add_argument("--quick", action="store_true")
    typed = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if typed.quick:
        print(json.dumps(speed(NETWORKS[0], quick=True), indent=1))
        return
    photos = spread(sorted(map(str, Path(typed.data).rglob("*.jp*g")))) if typed.data else []
    wanted = [typed.only] if typed.only else [*NETWORKS, "parity", "int8"]
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        **{
            name: lambda name=name: (  # type: ignore[misc]
                in_runtime(name, typed.files) if typed.files else speed(name)
            )
            for name in NETWORKS
        },
        "parity": lambda: parity(photos),
        "int8": lambda: int8(photos),
    }
    VALUES.mkdir(exist_ok=True)
    for name in wanted:
        found = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), **measures[name]()}
        place = VALUES / f"{name.replace('/', '-')}.json"
        place.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page()


def spread(photos: list[str]) -> list[str]:
    """At most so many, evenly spread."""
    return photos[:: max(1, len(photos) // MOST_PHOTOS)][:MOST_PHOTOS]


def speed(
    name: str, rounds_of: Mapping[int, int] = ROUNDS, *, quick: bool = False
) -> dict[str, Any]:
    """Ratios of processor time for each size of batch; nothing is compiled if it is quick."""
    explainer = few_shot_explainer(name)
    height, width = explainer.classifier.preprocessing.input_size
    module = ExplainableClassifier(explainer, takes="pixels")
    compiled = module if quick else torch.compile(module)  # takes minutes
    with_maps = exported_bytes(explainer)
    without_maps = cut(with_maps)
    run_with, run_without = session(with_maps), session(without_maps)
    rows = []
    for batch, rounds in rounds_of.items():
        pixels = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)
        tensor = torch.from_numpy(pixels)
        runs: dict[str, Callable[[], object]] = {
            "with": lambda given=pixels: run_with({"pixels": given}),  # type: ignore[misc]
            "without": lambda given=pixels: run_without({"pixels": given}),  # type: ignore[misc]
        }
        if batch == 1:
            runs["eager"] = lambda given=tensor: no_grad(module, given)  # type: ignore[misc]
        if batch == 1 and not quick:
            runs["compiled"] = lambda given=tensor: no_grad(compiled, given)  # type: ignore[misc]
        seconds = interleaved_seconds(runs, rounds, 1, clock=time.process_time)
        row = _row(batch, rounds, seconds)
        if batch == 1:
            row["eager / ONNX"] = median_ratio(seconds["eager"], seconds["with"])
        if "compiled" in seconds:
            row["eager / compiled"] = median_ratio(seconds["eager"], seconds["compiled"])
        rows.append(row)
    return {"rows": rows, "bytes": [len(with_maps), len(without_maps)]}


def in_runtime(name: str, folder: Path, rounds_of: Mapping[int, int] = ROUNDS) -> dict[str, Any]:
    """Ratios of processor time in ONNX Runtime alone, with a file that may be there already."""
    place = folder / f"{name.replace('/', '-')}.onnx"
    if not place.exists():
        place.write_bytes(exported_bytes(few_shot_explainer(name)))
    with_maps = place.read_bytes()
    without_maps = cut(with_maps)
    run_with, run_without = session(with_maps), session(without_maps)
    rows = []
    for batch, rounds in rounds_of.items():
        pixels = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), np.uint8)
        runs: dict[str, Callable[[], object]] = {
            "with": lambda given=pixels: run_with({"pixels": given}),  # type: ignore[misc]
            "without": lambda given=pixels: run_without({"pixels": given}),  # type: ignore[misc]
        }
        rows.append(
            _row(batch, rounds, interleaved_seconds(runs, rounds, 1, clock=time.process_time))
        )
    return {"rows": rows, "bytes": [len(with_maps), len(without_maps)]}


def _row(batch: int, rounds: int, seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    return {
        "batch": batch,
        "rounds": rounds,
        "with / without": median_ratio(seconds["with"], seconds["without"]),
        "seconds": median(seconds["with"]),
    }


def parity(photos: Sequence[str]) -> dict[str, Any]:
    """How far each format is from PyTorch, for several networks."""
    formats = ["onnx", "pt2"]
    if importlib.util.find_spec("openvino"):
        formats.append("openvino")
    found = {}
    for name in PARITY:
        explainer = few_shot_explainer(name)
        for kind in formats:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / ("why.xml" if kind == "openvino" else f"why.{kind}")
                facts = ttame.export_explainer(explainer, path, format=kind, photos=photos)  # type: ignore[arg-type]
            found[f"{name} {kind}"] = facts.parity
    return {"photos": len(photos), "differences": found}


def int8(photos: Sequence[str]) -> dict[str, Any]:
    """EfficientNet-Lite0 in 8 bits: half of the photos give the ranges, the others measure."""
    explainer = few_shot_explainer(NETWORKS[0])
    plain = exported_bytes(explainer)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "why.onnx"
        facts = ttame.export_explainer(explainer, path, int8=photos[::2], photos=photos[1::2])
        rounded = path.read_bytes()
    height, width = explainer.classifier.preprocessing.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    runs = {"float32": session(plain), "int8": session(rounded)}
    timed = {name: lambda run=run: run({"pixels": pixels}) for name, run in runs.items()}  # type: ignore[misc]
    seconds = interleaved_seconds(timed, 31, clock=time.process_time)
    return {
        "photos": [len(photos[::2]), len(photos[1::2])],
        "cost": facts.parity,
        "bytes": [len(rounded), len(plain)],
        "float32 / int8": median_ratio(seconds["float32"], seconds["int8"]),
        "instructions": sorted({"avx512_vnni", "avx_vnni", "amx_int8"} & processor_flags()),
    }


def processor_flags() -> set[str]:
    """What this machine's processor can do, where the system says it."""
    place = Path("/proc/cpuinfo")
    return set(place.read_text().split()) if place.exists() else set()


def write_page() -> None:
    """Write the section of BENCHMARKS.md from what was measured last."""
    values = {
        place.stem: json.loads(place.read_text(encoding="utf-8")) for place in VALUES.glob("*.json")
    }
    parts = [speed_table(values)]
    if "parity" in values:
        parts.append(parity_table(values["parity"]))
    if "int8" in values:
        parts.append(int8_words(values["int8"]))
    if "browser" in values:
        parts.append(browser_words(values["browser"]))
    title = "Exported: what the map costs in one file"
    write_section("export", title, COMMAND, "\n\n".join(parts))


def speed_table(values: dict[str, Any]) -> str:
    """Networks by batches."""
    header = [
        "network",
        "batch",
        "rounds",
        "with map / without, ONNX Runtime",
        "eager / ONNX Runtime",
        "eager / compiled",
        "ms",
        "MB with, without",
        "measured",
    ]
    rows = []
    for name in NETWORKS:
        found = values.get(name.replace("/", "-"))
        for row in found["rows"] if found else []:
            others = [row.get(key) for key in ("eager / ONNX", "eager / compiled")]
            rows.append(
                [
                    name,
                    str(row["batch"]),
                    str(row["rounds"]),
                    f"{row['with / without']:.3f}",
                    *("–" if value is None else f"{value:.2f}" for value in others),
                    f"{1000 * row['seconds']:.0f}",
                    ", ".join(f"{size / 1e6:.1f}" for size in found["bytes"]),
                    found["date"],
                ]
            )
    note = (
        "Medians over rounds in which all variants ran in turns, on one thread each; what is "
        "compared are seconds of the processor, so that other work on the machine counts little. "
        "Random weights and an untrained few-shot head, except for EfficientNet-Lite0. All "
        "variants take pixels and give the three most probable classes; without the map it is the "
        "same graph cut off there."
    )
    return f"{table(header, rows)}\n\n{note}"


def parity_table(found: dict[str, Any]) -> str:
    """Networks and formats by results."""
    rows = [
        [name, *(f"{differences[result]:.1e}" for result in ("logits", "maps"))]
        for name, differences in found["differences"].items()
    ]
    note = (
        f"Largest difference from PyTorch on noise and on {found['photos']} photos, as a share of "
        f"the largest value, {found['date']}; a file above 1e-4 is not written."
    )
    return f"{table(['file', 'logits', 'maps'], rows)}\n\n{note}"


def int8_words(found: dict[str, Any]) -> str:
    """What 8 bits cost and give."""
    cost, (rounded, plain) = found["cost"], found["bytes"]
    instructions = ", ".join(found["instructions"]) or "no instructions for it"
    return (
        f"EfficientNet-Lite0 in 8 bits ({instructions}; {found['date']}): "
        f"{found['float32 / int8']:.2f} times as fast as float32 on one thread, "
        f"{rounded / 1e6:.1f} instead of {plain / 1e6:.1f} MB. On {found['photos'][1]} photos that "
        f"were not among the {found['photos'][0]} for the ranges: same top-1 "
        f"{100 * cost['same top-1']:.0f} %, map correlation {cost['map correlation']:.3f}, Average "
        f"Drop {cost['average drop']:.1f} % {cost['change in average drop']:+.1f}."
    )


def browser_words(found: dict[str, Any]) -> str:
    """What ``python -m benchmarks.export_browser`` found."""
    kinds = ", ".join(
        f"{kind}: {found[kind]['bytes'] / 1e6:.1f} MB, {found[kind]['median']:.0f} ms per photo "
        f"(the first {found[kind]['first']:.0f} ms)"
        for kind in ("int8", "float32")
    )
    return (
        f"In headless Chromium (`python -m benchmarks.export_browser`, {found['date']}), one "
        f"thread of WebAssembly, EfficientNet-Lite0 with its explainer: {kinds}. onnxruntime-web "
        f"itself is {found['runtime bytes'] / 1e6:.1f} MB."
    )


def few_shot_explainer(name: str) -> Explainer:
    if name in bundled_explainers():
        return ttame.load_explainer(name)
    return few_shot(ttame.load_classifier(name, "none", weights_seed=0))


def few_shot(classifier: Classifier) -> Explainer:
    settings = ttame.head_settings("few-shot")
    return ttame.new_attention_explainer(classifier, settings, method="few_shot")


def exported_bytes(explainer: Explainer) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "why.onnx"
        ttame.export_explainer(explainer, path, dynamic_batch=True)
        return path.read_bytes()


def session(content: bytes) -> Callable[[dict[str, Any]], object]:
    """Run a file on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    made = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda given: made.run(None, given)


def cut(content: bytes) -> bytes:
    """The same graph, cut off before the map."""
    import onnx
    from onnx.utils import Extractor

    extractor = Extractor(onnx.load_from_string(content))
    rest: bytes = extractor.extract_model(["pixels"], WITHOUT).SerializeToString()
    return rest


@torch.no_grad()
def no_grad(module: Callable[[torch.Tensor], object], given: torch.Tensor) -> object:
    return module(given)


if __name__ == "__main__":
    main()
