"""Fine-tune MiniLM-L6 for the polarity of reviews by low-rank updates.

    python -m scripts.minilm_reviews.fine_tune --reviews FOLDER --out runs/minilm_reviews

The folder holds ``train.jsonl.gz``, ``no-rationales.jsonl.gz`` and ``validation.jsonl.gz``. First
the marked reasons with a little of their context are learned, then random windows of reviews.
Interrupt it whenever you like; with the same command it goes on from the last checkpoint, and with
other options it refuses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.hybrid_vit.command_line import (
    OneLineParser,
    finite_number,
    problems_in_one_line,
    whole_number,
)
from scripts.hybrid_vit.noted_options import note_or_compare
from scripts.hybrid_vit.readable_files import opened_tensors, read_all_tensors
from scripts.minilm_reviews import examples as made
from scripts.minilm_reviews.network import (
    give_low_rank_updates,
    halve_frozen,
    learned_weights,
    pretrained_network,
)
from ttame.files.atomic_writing import write_tensors
from ttame.text_classifiers.minilm_reviews import packaged_folder, tokenizer_of

FREE_ON_RESUME = ("reviews", "package", "out", "start_from", "checkpoint_every")


def main() -> None:
    """Read the options and train."""
    options = read_options()
    torch.set_num_threads(1)
    with problems_in_one_line():
        train(options)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line, or of this process."""
    parser = OneLineParser(prog="fine_tune", description="fine-tune MiniLM-L6 on reviews")
    parser.add_argument("--reviews", type=Path, required=True)
    parser.add_argument("--package", type=Path, help="folder of MiniLM-L6; default: the package's")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rank", type=whole_number(1, 64), default=16)
    parser.add_argument("--first-layer", type=whole_number(0, 5), default=1)
    parser.add_argument("--epochs-of-reasons", type=whole_number(0), default=1)
    parser.add_argument("--epochs-of-windows", type=whole_number(0), default=1)
    parser.add_argument(
        "--window-lengths", type=whole_number(16, 512), nargs="+", default=[128, 256, 512]
    )
    parser.add_argument("--context", type=whole_number(0), default=8, help="words beside a reason")
    parser.add_argument("--tokens", type=whole_number(64), default=1024, help="in a batch")
    parser.add_argument("--learning-rate", type=finite_number(0), default=1e-3)
    parser.add_argument("--weight-decay", type=finite_number(0), default=0.01)
    parser.add_argument("--seed", type=whole_number(0, 2**32), default=0)
    parser.add_argument("--start-from", type=Path, help="what another run learned, not its state")
    parser.add_argument("--checkpoint-every", type=whole_number(1), default=50)
    return parser.parse_args(arguments)


def train(options: argparse.Namespace) -> None:
    """Train until the last step, writing ``checkpoint.safetensors`` and ``log.jsonl``."""
    folder = options.package or packaged_folder()
    tokenizer = tokenizer_of(folder)
    options.out.mkdir(parents=True, exist_ok=True)
    plan = planned_batches(tokenizer, options)
    note_or_compare(options.out / "options.json", described(options, plan))
    torch.manual_seed(options.seed)
    network = pretrained_network(folder)
    give_low_rank_updates(network, options.rank, options.first_layer)
    if options.start_from is not None:
        load_learned(network, read_all_tensors(options.start_from / "checkpoint.safetensors"))
    halve_frozen(network)
    network.train()
    optimiser = _optimiser(network, options.weight_decay)
    step = _resume(options.out, network, optimiser)
    started, first, losses = time.monotonic(), step, []
    while step < len(plan):
        # Everything random in a step comes from its number, so that resuming repeats nothing.
        torch.manual_seed(options.seed * 10_000_019 + step)
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate * group["pace"] * schedule(step, len(plan))
        losses.append(train_step(network, optimiser, plan[step]))
        step += 1
        if step % options.checkpoint_every == 0 or step == len(plan):
            _save(options.out, network, optimiser, step)
            seconds = (time.monotonic() - started) / (step - first)
            _note(
                options.out / "log.jsonl",
                step=step,
                of=len(plan),
                loss=round(sum(losses) / len(losses), 4),
                minutes_left=round((len(plan) - step) * seconds / 60, 1),
            )
            losses = []


def _optimiser(network: nn.Module, weight_decay: float) -> torch.optim.Optimizer:
    """Adam; the pooler, a whole matrix that was trained before, moves at a fifth of the pace."""
    pooler = [p for n, p in network.named_parameters() if p.requires_grad and ".pooler." in n]
    others = [p for n, p in network.named_parameters() if p.requires_grad and ".pooler." not in n]
    groups = [{"params": others, "pace": 1.0}, {"params": pooler, "pace": 0.2}]
    return torch.optim.AdamW(groups, weight_decay=weight_decay, betas=(0.9, 0.98))


def described(
    options: argparse.Namespace, plan: Sequence[Sequence[made.Example]]
) -> dict[str, dict[str, Any]]:
    """What was trained, for ``options.json`` and the card."""
    trained = {name: value for name, value in vars(options).items() if name not in FREE_ON_RESUME}
    before = None
    if options.start_from is not None:
        file = options.start_from / "checkpoint.safetensors"
        if not file.exists():
            raise SystemExit(f"--start-from {options.start_from} holds no checkpoint")
        before = short_hash(file)
    return {"options": trained, "data": {"batches": fingerprint(plan), "start": before}}


def short_hash(file: Path) -> str:
    """Of a checkpoint; 16 hexadecimal digits."""
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def planned_batches(tokenizer: Any, options: argparse.Namespace) -> list[list[made.Example]]:
    """Every batch of the training, in order; the same for the same options and reviews."""
    random_numbers = random.Random(options.seed)
    marked = made.read_reviews(options.reviews, "train")
    every = marked + made.read_reviews(options.reviews, "no-rationales")
    plan = []
    for _ in range(options.epochs_of_reasons):
        drawn = made.reasons(tokenizer, marked, options.context, random_numbers)
        plan += made.batches(drawn, options.tokens, random_numbers)
    for _ in range(options.epochs_of_windows):
        lengths = options.window_lengths
        drawn = made.random_windows(tokenizer, every, lengths, random_numbers)
        plan += made.batches(drawn, options.tokens, random_numbers)
    return plan


def fingerprint(plan: Sequence[Sequence[made.Example]]) -> str:
    """A short hash of all that is trained on, in order."""
    digest = hashlib.blake2b(digest_size=8)
    for batch in plan:
        digest.update(json.dumps(batch).encode())
    return digest.hexdigest()


def schedule(step: int, steps: int) -> float:
    """Warm up over a twentieth of the steps, then fall to zero along a line."""
    warm = max(1, steps // 20)
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm))


def padded(batch: Sequence[made.Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Token numbers (B, T) padded with 0, attention mask (B, T), classes (B,)."""
    longest = max(len(example.ids) for example in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        mask[row, : len(example.ids)] = 1
    return ids, mask, torch.tensor([example.label for example in batch])


def train_step(
    network: nn.Module, optimiser: torch.optim.Optimizer, batch: Sequence[made.Example]
) -> float:
    """One step on a batch; the loss is cross-entropy."""
    ids, mask, labels = padded(batch)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(input_ids=ids, attention_mask=mask).logits
    loss = F.cross_entropy(logits.float(), labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for p in network.parameters() if p.requires_grad], 1.0)
    optimiser.step()
    return float(loss.detach())


def _note(path: Path, **record: float) -> None:
    with path.open("a", encoding="utf-8") as log:
        print(json.dumps(record), file=log)
    print(json.dumps(record), flush=True)


def _save(out: Path, network: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    tensors = {f"network.{name}": value for name, value in learned_weights(network).items()}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimiser.{index}.{name}"] = torch.as_tensor(value)
    write_tensors(out / "checkpoint.safetensors", tensors, {"step": str(step)})


def _resume(out: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    path = out / "checkpoint.safetensors"
    if not path.exists():
        return 0
    tensors = read_all_tensors(path)
    load_learned(network, tensors)
    state = optimiser.state_dict()
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".", 2)
            state["state"].setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict(state)
    return step_of(path)


def step_of(checkpoint: Path) -> int:
    """How many steps a checkpoint was trained for."""
    with opened_tensors(checkpoint) as opened:
        return int(opened.metadata()["step"])


def load_learned(network: nn.Module, checkpoint: dict[str, Tensor]) -> None:
    """Put what was learned back into a network with updates."""
    with torch.no_grad():
        for name, parameter in learned_weights(network).items():
            parameter.copy_(checkpoint[f"network.{name}"])


if __name__ == "__main__":
    main()
