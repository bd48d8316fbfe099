"""Put the transformer of a training into the package, with its model card.

    python -m scripts.hybrid_vit.ship --run FOLDER [--run FOLDER ...]

Several runs are stages of one training, each started from the one before; the last one ships.
Writes ``transformer.safetensors``, half-precision and without the stem, and ``README.md``. The card
takes its figures from ``figures.json``, which ``python -m benchmarks.bundled_classifiers`` writes
about the shipped weights; ship again after that. The same run always gives the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from scripts.hybrid_vit.card import ShippedTransformer, Stage, card_of, read_log
from scripts.hybrid_vit.command_line import OneLineParser, problems_in_one_line
from scripts.hybrid_vit.distil import described, read_options, read_trained
from scripts.hybrid_vit.readable_files import read_json_object
from ttame.classifiers.sources.hybrid_vit import STEM
from ttame.files.atomic_writing import whole_file, write_tensors

PACKAGE = Path("src/ttame/classifiers/hybrid_vit_lite0")
MOST_BYTES = 12_000_000


def main() -> None:
    """Read the options and ship."""
    options = read_ship_options()
    with problems_in_one_line():
        ship(options.run, options.to, options.command)


def read_ship_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line, or of this process."""
    parser = OneLineParser(prog="ship", description="put a trained transformer into the package")
    parser.add_argument(
        "--run", type=Path, action="append", required=True, help="the --out of distil, in order"
    )
    parser.add_argument("--to", type=Path, default=PACKAGE)
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        help="of a run that has no options.json, in the order of these runs",
    )
    return parser.parse_args(arguments)


def ship(runs: Sequence[Path], to: Path, commands: Sequence[str] = ()) -> None:
    """Write the weights of the last run and their card to a folder.

    Args:
        runs: folders of ``scripts.hybrid_vit.distil``, each started from the one before.
        to: folder of the package; ``figures.json`` there is what the card reports.
        commands: how the runs without ``options.json`` were started, in their order.

    Raises:
        SystemExit: a run has no checkpoint or is not described, a file is broken, or weights do
            not fit into half precision or into 12 MB.
    """
    remaining = iter(commands)
    stages = [_stage(run, remaining) for run in runs]
    figures = None
    if (to / "figures.json").exists():
        figures = read_json_object(to / "figures.json", "weights_file", "measured_on", "sets")
    network, steps = read_trained(runs[-1])
    weights = shipped_weights(network.state_dict())
    # One entry, because safetensors writes several in any order, and the file has a fingerprint.
    header = {"made_by": f"scripts/hybrid_vit/ship.py: hybrid_vit_lite0 after {steps} steps"}
    file = to / "transformer.safetensors"
    write_tensors(file, weights, header)
    card = card_of(
        ShippedTransformer(
            stages=stages,
            parameters=sum(tensor.numel() for tensor in weights.values()),
            stem_parameters=sum(p.numel() for p in network.patch_embed.backbone.parameters()),
            weights_file=hashlib.sha256(file.read_bytes()).hexdigest(),
            weights_bytes=file.stat().st_size,
            figures=figures,
        )
    )
    with whole_file(to / "README.md") as temporary:
        temporary.write_text(card, encoding="utf-8")
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB after {steps} steps")


def shipped_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The transformer's tensors in half precision; the stem's come from a package.

    Raises:
        SystemExit: a weight is too large for half precision, or all are larger than 12 MB.
    """
    weights = {
        name: tensor.half() for name, tensor in state.items() if not name.startswith(f"{STEM}.")
    }
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise SystemExit(f"{name} does not fit into half precision")
    size = sum(tensor.nbytes for tensor in weights.values())
    if size > MOST_BYTES:
        raise SystemExit(f"{size} bytes of weights; allowed: {MOST_BYTES}; train a smaller one")
    return weights


def _stage(run: Path, commands: Iterator[str]) -> Stage:
    if not run.is_dir():
        raise SystemExit(f"no folder {run}; pass the --out of scripts.hybrid_vit.distil")
    path = run / "options.json"
    if path.exists():
        description = read_json_object(path, "options", "views")
    else:
        command = next(commands, None)
        if command is None:
            raise SystemExit(f"{path} is missing; pass --command with the run's command line")
        description = described(read_options(_options_in(command)))
    steps = read_trained(run)[1]
    # A run that was stopped between two checkpoints has noted steps that are in none of them.
    log = [record for record in read_log(run / "log.jsonl") if record["step"] <= steps]
    return Stage(run.name, description, log, steps)


def _options_in(command: str) -> Sequence[str]:
    """What follows the name of the script, or all words."""
    try:
        words = shlex.split(command)
    except ValueError as problem:
        raise SystemExit(f"--command {command!r}: {problem}") from problem
    return words[next((i + 1 for i, word in enumerate(words) if "distil" in word), 0) :]


if __name__ == "__main__":
    main()
