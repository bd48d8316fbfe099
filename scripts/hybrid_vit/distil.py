"""Distil EfficientNet-Lite0 into the transformer of ``hybrid_vit_lite0``, from cached features.

    python -m scripts.hybrid_vit.distil --cache runs/hybrid_vit/cache --out runs/hybrid_vit/training

The stem is frozen and the teacher's own, so a step needs neither photos nor stem: it mirrors and
mixes cached features, asks the rest of the teacher what it makes of them, and lets the transformer
match its probabilities. Interrupt it whenever you like; with the same command it goes on from the
last checkpoint, bit for bit, and with other options it refuses.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ttame
from scripts.hybrid_vit.command_line import (
    OneLineParser,
    finite_number,
    problems_in_one_line,
    whole_number,
)
from scripts.hybrid_vit.noted_options import note_or_compare
from scripts.hybrid_vit.readable_files import opened_tensors, read_all_tensors
from ttame.classifiers.sources.hybrid_vit import STEM_STAGES, build_hybrid_vit
from ttame.files.atomic_writing import write_tensors

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer


class Views(NamedTuple):
    """Cached views: features (N, 112, 14, 14) float16 and teacher logits (N, 1000) float16."""

    features: Tensor
    logits: Tensor


HEADS, CLASSES = 4, 1000
"""Of the transformer; its width is a multiple of the former and at most the latter."""

LOG_EVERY = 50
"""Steps a line of the log stands for."""

FREE_ON_RESUME = ("cache", "out", "start_from", "checkpoint_every", "stop_after")
"""Options that change where files lie and when they are written, not what is trained."""


def main() -> None:
    """Read the options and train."""
    options = read_options()
    with problems_in_one_line():
        train(options)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line, or of this process."""
    parser = OneLineParser(prog="distil", description="distil the transformer from cached features")
    share, count = finite_number(0, 1), whole_number(1)
    parser.add_argument("--cache", type=Path, required=True, help="folders photos/ and tiny/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=count, default=5000)
    parser.add_argument("--batch-size", type=count, default=64)
    parser.add_argument("--learning-rate", type=finite_number(0), default=1e-3)
    parser.add_argument("--weight-decay", type=finite_number(0), default=0.05)
    parser.add_argument("--optimiser", choices=("adamw", "muon"), default="muon")
    parser.add_argument("--photo-share", type=share, default=0.375, help="of a batch; rest: tiny")
    parser.add_argument("--mixed-share", type=share, default=0.5, help="views with a pasted region")
    parser.add_argument("--shuffled-share", type=share, default=0.0, help="views in disorder")
    parser.add_argument("--softened-weight", type=share, default=0.0, help="of the loss, in [0, 1]")
    parser.add_argument(
        "--temperature", type=finite_number(0, above=True), default=3.0, help="of the softened part"
    )
    parser.add_argument("--kept-patches", type=whole_number(1, 196), default=98, help="of 196")
    parser.add_argument("--cool-down", type=share, default=0.3, help="share of the steps")
    parser.add_argument("--all-patches", type=share, default=0.15, help="last share of the steps")
    parser.add_argument("--width", type=_width, default=256)
    parser.add_argument("--depth", type=count, default=6)
    parser.add_argument("--seed", type=whole_number(0, 2**32), default=0)
    parser.add_argument("--start-from", type=Path, help="the weights of another run, not its state")
    parser.add_argument("--checkpoint-every", type=count, default=200)
    parser.add_argument("--stop-after", type=count, help="pause after this step")
    return parser.parse_args(arguments)


def _width(text: str) -> int:
    """Four heads share it, and so do sines and cosines of row and column."""
    width = whole_number(HEADS, CLASSES)(text)
    if width % HEADS:
        raise argparse.ArgumentTypeError(f"{width}; allowed: multiples of {HEADS}")
    return width


def train(options: argparse.Namespace) -> None:
    """Train until the last step, writing ``checkpoint.safetensors`` and ``log.jsonl``.

    Beside them goes ``options.json``, what :func:`described` says, so that the run explains itself.

    Raises:
        SystemExit: there are no views, the run to start from has another shape, or the folder
            holds another run.
    """
    before = _weights_to_start_from(options)
    options.out.mkdir(parents=True, exist_ok=True)
    note_or_compare(options.out / "options.json", described(options))
    sets = {name: read_views(options.cache / name) for name in ("photos", "tiny")}
    teacher = ttame.load_classifier("efficientnet_lite0").for_many_passes().network
    rest_of_teacher = nn.Sequential(
        *teacher.blocks[STEM_STAGES:],
        teacher.conv_head,
        teacher.bn2,
        teacher.global_pool,
        teacher.classifier,
    )
    torch.manual_seed(options.seed)
    network = build_hybrid_vit(embed_dim=options.width, depth=options.depth)
    network.patch_embed.backbone.requires_grad_(False)
    start_head(network.head, teacher.classifier, sets["photos"].logits)
    start_positions(network)
    if before is not None:
        network.load_state_dict(before)
    optimisers = _optimisers(network, options)
    step = _resume(options.out, network, optimisers)
    last = min(options.steps, options.stop_after or options.steps)
    log = _Log(options.out / "log.jsonl", step, last)
    while step < last:
        # Everything random in a step comes from its number, so that resuming repeats nothing.
        generator = torch.Generator().manual_seed(options.seed * 10_000_019 + step)
        rate = options.learning_rate * _schedule(step, options.steps, options.cool_down)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        features = draw_features(sets, options, generator)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            wanted = rest_of_teacher(features).float()
        patches = _kept_patches(features.shape[2] * features.shape[3], step, options, generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = classify_features(network, features, patches)
        loss = divergence(logits.float(), wanted)
        if options.softened_weight:
            softened = divergence(logits.float(), wanted, options.temperature)
            loss = torch.lerp(loss, softened, options.softened_weight)
        network.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        step += 1
        agreement = (logits.argmax(1) == wanted.argmax(1)).float().mean().item()
        log.note(step, float(loss.detach()), agreement)
        if step % options.checkpoint_every == 0 or step == last:
            _save(options.out, network, optimisers, step)


def _weights_to_start_from(options: argparse.Namespace) -> dict[str, Tensor] | None:
    if options.start_from is None:
        return None
    before = read_trained(options.start_from)[0]
    shape = before.embed_dim, len(before.blocks)
    if shape != (options.width, options.depth):
        raise SystemExit(
            f"--start-from {options.start_from} has width {shape[0]} and depth {shape[1]}; "
            f"allowed: --width {options.width} and --depth {options.depth}, as this run"
        )
    return before.state_dict()


def described(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What was trained, for ``options.json`` and the card: options, and cached views of each set.

    Raises:
        SystemExit: a set has no cached views.
    """
    trained = {name: value for name, value in vars(options).items() if name not in FREE_ON_RESUME}
    return {
        "options": trained,
        "views": {name: count_views(options.cache / name) for name in ("photos", "tiny")},
    }


def divergence(logits: Tensor, wanted: Tensor, temperature: float = 1.0) -> Tensor:
    """``T² KL(softmax(wanted / T) ‖ softmax(logits / T))``, the mean over the views.

    A temperature above one weighs all classes more alike (Hinton et al., 1503.02531), also those
    that no view shows: 800 of them are seen in some views of a single photo, the rest in none.
    """
    likely = (wanted / temperature).softmax(1)
    found = (logits / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(found, likely, reduction="batchmean")


def start_head(head: nn.Linear, classifier: nn.Linear, logits: Tensor) -> None:
    """Give the transformer's head the geometry of the teacher's classes.

    Columns are the main directions of the teacher's classifier weights in logit space, each scaled
    by how far the teacher's logits (N, C) spread along it, since the head's inputs are normalised
    to unit variance. Classes that the views rarely show are then in their place from the start.
    """
    weight, bias = classifier.weight.detach(), classifier.bias.detach()
    directions = torch.linalg.svd(weight - weight.mean(0), full_matrices=False).U
    directions = directions[:, : head.in_features]
    spread = ((logits.float() - bias) @ directions).std(0)
    with torch.no_grad():
        head.weight.copy_(directions * spread)
        head.bias.copy_(bias)


def start_positions(network: VisionTransformer) -> None:
    """Give every patch a place from the start: sines and cosines of its row and column.

    The usual start is noise of 0.02, which a short run never grows: the places would not matter.
    """
    rows, columns = network.patch_embed.grid_size
    waves = network.embed_dim // 4
    frequencies = math.pi / torch.logspace(0.0, math.log10(max(rows, columns)), waves)
    places = torch.cartesian_prod(torch.arange(float(rows)), torch.arange(float(columns)))
    angles = places[:, :, None] * frequencies
    with torch.no_grad():
        network.pos_embed[0, 1:] = torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)


def draw_features(
    sets: dict[str, Views], options: argparse.Namespace, generator: torch.Generator
) -> Tensor:
    """Features (B, 112, 14, 14): half of them mirrored, a share with a region of another view.

    A pasted region (CutMix, 1905.04899) makes the answer depend on where things are, and the
    teacher says what it makes of the mixture, so that there is no label to guess. The same holds
    for views whose places are shuffled: the teacher's convolutions are less sure of them, and who
    is to say so must know where every patch belongs.
    """
    photos = round(options.batch_size * options.photo_share)
    picked = []
    for name, count in (("photos", photos), ("tiny", options.batch_size - photos)):
        cached = sets[name].features
        picked.append(cached[torch.randint(len(cached), (count,), generator=generator)].float())
    features = torch.cat(picked)[torch.randperm(options.batch_size, generator=generator)]
    mirrored = torch.rand(len(features), generator=generator) < 0.5
    features[mirrored] = features[mirrored].flip(3)
    others = features.roll(1, 0)
    height, width = features.shape[2:]
    for index in range(round(options.mixed_share * len(features))):
        share = float(torch.rand((), generator=generator))
        h, w = max(1, round(height * share**0.5)), max(1, round(width * share**0.5))
        top = int(torch.randint(height - h + 1, (), generator=generator))
        left = int(torch.randint(width - w + 1, (), generator=generator))
        region = (index, slice(None), slice(top, top + h), slice(left, left + w))
        features[region] = others[region]
    for index in range(
        len(features) - round(options.shuffled_share * len(features)), len(features)
    ):
        order = torch.randperm(height * width, generator=generator)
        features[index] = features[index].flatten(1)[:, order].unflatten(1, (height, width))
    return features.contiguous(memory_format=torch.channels_last)


def classify_features(
    network: VisionTransformer, features: Tensor, patches: Tensor | None = None
) -> Tensor:
    """timm's own forward pass from the stem's features (B, 112, h, w) on, to logits (B, C).

    With ``patches`` only these are kept, after the position embedding: half of the patches halve
    the time of a step.
    """
    tokens = network.patch_embed.proj(features).flatten(2).transpose(1, 2)
    tokens = network._pos_embed(tokens)
    if patches is not None:
        tokens = torch.cat([tokens[:, :1], tokens[:, 1 + patches]], dim=1)
    tokens = network.norm(network.blocks(network.norm_pre(tokens)))
    logits: Tensor = network.forward_head(tokens)
    return logits


def _optimisers(
    network: VisionTransformer, options: argparse.Namespace
) -> list[torch.optim.Optimizer]:
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    matrices = [
        p
        for name, p in trained.items()
        if options.optimiser == "muon" and name.startswith("blocks.") and p.ndim == 2
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for p in trained.values() if id(p) not in chosen]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [
                {"params": [p for p in rest if p.ndim > 1], "weight_decay": options.weight_decay},
                {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
        )
    ]
    if matrices:
        optimisers.append(
            torch.optim.Muon(
                matrices, weight_decay=options.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return optimisers


def _schedule(step: int, steps: int, cool_down: float) -> float:
    """Warm up over 200 steps (a tenth of a short run), stay, fall to zero over the last share."""
    warm = min(200, max(1, steps // 10))
    return min((step + 1) / warm, 1.0, (steps - step) / max(1.0, cool_down * steps))


def _kept_patches(
    patches: int, step: int, options: argparse.Namespace, generator: torch.Generator
) -> Tensor | None:
    """Which of the patches a step looks at, the same ones in all its views; None for all."""
    if step >= (1 - options.all_patches) * options.steps:
        return None
    return torch.randperm(patches, generator=generator)[: options.kept_patches]


class _Log:
    """Means over the last steps, one JSON line each, in a file and on the terminal."""

    def __init__(self, path: Path, first: int, last: int) -> None:
        self.path, self.first, self.last = path, first, last
        self.started = time.monotonic()
        self.losses: list[float] = []
        self.agreements: list[float] = []

    def note(self, step: int, loss: float, agreement: float) -> None:
        self.losses.append(loss)
        self.agreements.append(agreement)
        if step % LOG_EVERY and step != self.last:
            return
        speed = (step - self.first) / (time.monotonic() - self.started)
        record = {
            "step": step,
            "divergence": round(sum(self.losses) / len(self.losses), 4),
            "agreement": round(sum(self.agreements) / len(self.agreements), 3),
            "steps_per_second": round(speed, 3),
            "minutes_left": round((self.last - step) / speed / 60, 1),
        }
        self.losses, self.agreements = [], []
        with self.path.open("a", encoding="utf-8") as log:
            print(json.dumps(record), file=log)
        print(json.dumps(record), flush=True)


def read_views(folder: Path) -> Views:
    """All views of a folder that ``cache_views`` wrote.

    Raises:
        SystemExit: there are none, or a file is broken.
    """
    parts = []
    for file in _files_of_views(folder):
        with opened_tensors(file) as opened:
            parts.append(Views(opened.get_tensor("features"), opened.get_tensor("logits")))
    return Views(torch.cat([p.features for p in parts]), torch.cat([p.logits for p in parts]))


def count_views(folder: Path) -> int:
    """How many views a folder holds, from the headers alone.

    Raises:
        SystemExit: there are none, or a file is broken.
    """
    count = 0
    for file in _files_of_views(folder):
        with opened_tensors(file) as opened:
            count += opened.get_slice("logits").get_shape()[0]
    return count


def read_trained(run: Path) -> tuple[VisionTransformer, int]:
    """The transformer of a run's checkpoint, in eval mode, and the steps it was trained for.

    Its stem has random weights: training never uses it.

    Raises:
        SystemExit: the run has no checkpoint yet, or a broken one.
    """
    path = run / "checkpoint.safetensors"
    if not path.exists():
        raise SystemExit(f"no checkpoint in {run}; it appears while scripts.hybrid_vit.distil runs")
    weights = _network_weights(read_all_tensors(path))
    if "cls_token" not in weights:
        raise SystemExit(f"{path} holds no transformer; scripts.hybrid_vit.distil writes one")
    depth = sum(name.endswith("attn.qkv.weight") for name in weights)
    network = build_hybrid_vit(embed_dim=weights["cls_token"].shape[-1], depth=depth)
    network.load_state_dict(weights)
    return network.eval(), _step_of(path)


def _files_of_views(folder: Path) -> list[Path]:
    files = sorted(folder.glob("views-*.safetensors"))
    if not files:
        raise SystemExit(f"no views in {folder}; run scripts.hybrid_vit.cache_views first")
    return files


def _save(
    out: Path, network: nn.Module, optimisers: list[torch.optim.Optimizer], step: int
) -> None:
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for number, optimiser in enumerate(optimisers):
        for index, state in optimiser.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimiser.{number}.{index}.{name}"] = torch.as_tensor(value)
    write_tensors(out / "checkpoint.safetensors", tensors, {"step": str(step)})


def _resume(out: Path, network: nn.Module, optimisers: list[torch.optim.Optimizer]) -> int:
    path = out / "checkpoint.safetensors"
    if not path.exists():
        return 0
    tensors = read_all_tensors(path)
    network.load_state_dict(_network_weights(tensors))
    states = [optimiser.state_dict() for optimiser in optimisers]
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, number, index, key = name.split(".", 3)
            states[int(number)]["state"].setdefault(int(index), {})[key] = tensor
    for optimiser, state in zip(optimisers, states, strict=True):
        optimiser.load_state_dict(state)
    return _step_of(path)


def _network_weights(checkpoint: dict[str, Tensor]) -> dict[str, Tensor]:
    of_network = "network."
    return {
        name.removeprefix(of_network): tensor
        for name, tensor in checkpoint.items()
        if name.startswith(of_network)
    }


def _step_of(checkpoint: Path) -> int:
    with opened_tensors(checkpoint) as opened:
        return int(opened.metadata()["step"])


if __name__ == "__main__":
    main()
