"""Put what fine-tuning changed into the package, with a card.

    python -m scripts.minilm_reviews.ship --run FOLDER [--run FOLDER ...]

Several runs are stages of one training, each started from the one before; the last one ships.
Writes ``updates.safetensors`` in half precision and ``README.md``, whose figures come from
``figures.json``, which ``python -m benchmarks.text_classifier`` writes about the shipped file; ship
again after that. The same run always gives the same file.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from scripts.hybrid_vit.command_line import OneLineParser, problems_in_one_line
from scripts.hybrid_vit.readable_files import read_all_tensors, read_json_object
from scripts.minilm_reviews.card import Stage, card_of
from scripts.minilm_reviews.fine_tune import short_hash, step_of
from ttame.files.atomic_writing import whole_file, write_json, write_tensors

PACKAGE = Path("src/ttame/text_classifiers/minilm_reviews")
MOST_BYTES = 8_000_000


def main() -> None:
    """Read the options and ship."""
    options = read_options()
    with problems_in_one_line():
        ship(options.run, options.to)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line, or of this process."""
    parser = OneLineParser(prog="ship", description="put the updates into the package")
    parser.add_argument(
        "--run", type=Path, action="append", required=True, help="the --out of fine_tune, in order"
    )
    parser.add_argument("--to", type=Path, default=PACKAGE)
    return parser.parse_args(arguments)


def ship(runs: Sequence[Path], to: Path) -> None:
    """Write updates and card; figures of another file are thrown away.

    Raises:
        SystemExit: a run has no checkpoint, is not described or not started from the one before, or
            weights do not fit into half precision or 8 MB.
    """
    stages = _stages(runs)
    steps = sum(stage.steps for stage in stages)
    checkpoint = runs[-1] / "checkpoint.safetensors"
    to.mkdir(parents=True, exist_ok=True)
    file = to / "updates.safetensors"
    # One entry, because safetensors writes several in any order, and the file has a fingerprint.
    header = {"made_by": f"scripts/minilm_reviews/ship.py: minilm_reviews after {steps} steps"}
    write_tensors(file, shipped_updates(read_all_tensors(checkpoint)), header)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    figures_file = to / "figures.json"
    figures = read_json_object(figures_file, "weights_file") if figures_file.exists() else {}
    if figures.get("weights_file") != digest:
        figures = {"weights_file": digest}
        write_json(figures_file, figures)
    with whole_file(to / "README.md") as temporary:
        text = card_of(stages, file.stat().st_size, figures)
        temporary.write_text(text, encoding="utf-8")
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB after {steps} steps")


def _stages(runs: Sequence[Path]) -> list[Stage]:
    stages, before = [], None
    for run in runs:
        checkpoint = run / "checkpoint.safetensors"
        if not checkpoint.exists():
            raise SystemExit(f"no checkpoint in {run}; scripts.minilm_reviews.fine_tune writes one")
        described = read_json_object(run / "options.json", "options", "data")
        if described["data"]["start"] != before:
            raise SystemExit(f"{run} was started from another run than the --run before it")
        stages.append(Stage(described["options"], described["data"], step_of(checkpoint)))
        before = short_hash(checkpoint)
    return stages


def shipped_updates(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The updates by the names of the weights that they change, in half precision.

    Raises:
        SystemExit: one is too large for half precision, or all are larger than 8 MB.
    """
    updates = {}
    for name, tensor in checkpoint.items():
        if not name.startswith("network."):
            continue
        owner, _, last = name.removeprefix("network.").rpartition(".")
        shipped = f"{owner}.weight.{last}" if last in ("up", "down") else f"{owner}.{last}"
        updates[shipped] = tensor.half()
        if not torch.isfinite(updates[shipped]).all():
            raise SystemExit(f"{shipped} does not fit into half precision")
    size = sum(tensor.nbytes for tensor in updates.values())
    if size > MOST_BYTES:
        raise SystemExit(f"{size} bytes of updates; allowed: {MOST_BYTES}; take a lower --rank")
    return updates


if __name__ == "__main__":
    main()
