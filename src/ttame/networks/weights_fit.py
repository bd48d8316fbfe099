"""How the weights of a file fit a network: under which prefix, and with how many classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

PREFIXES = ("module.", "model.", "_orig_mod.", "network.", "backbone.", "net.")
"""What DataParallel, training loops and ``torch.compile`` put in front of every name."""

_MOST_PREFIXES = 8

COUNTER_OF_AVERAGES = "n_averaged"
"""What ``torch.optim.swa_utils.AveragedModel`` saves besides the network."""


def without_prefixes(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Take prefixes of training loops away, if all names then are those of the network.

    What stands outside of the prefix, such as the weights of a loss next to ``net.``, belongs to
    the training loop and is left out.

    Args:
        weights: name to tensor.
        network: that the names should fit.

    Returns:
        The same tensors; with the names as they came where no prefix helps.

    Example:
        >>> import torch
        >>> weights = {"module.model.weight": torch.ones(2, 3), "module.model.bias": torch.ones(2)}
        >>> sorted(without_prefixes(weights, nn.Linear(3, 2)))
        ['bias', 'weight']
    """
    own = set(network.state_dict())
    needed = {name for name in own if not name.endswith("num_batches_tracked")}
    found = {
        name: value for name, value in weights.items() if name in own or name != COUNTER_OF_AVERAGES
    }
    for _ in range(_MOST_PREFIXES):
        if needed <= set(found) <= own:
            return found
        # A prefix of all names; else the one under which the whole network stands.
        every = [prefix for prefix in PREFIXES if all(map(_begins(prefix), found))]
        some = [prefix for prefix in PREFIXES if needed <= _behind(prefix, found) <= own]
        prefix = next(iter([*every, *some]), None)
        if prefix is None or not found:
            break
        found = {
            name.removeprefix(prefix): value
            for name, value in found.items()
            if name.startswith(prefix)
        }
    return dict(weights)


def _begins(prefix: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(prefix)


def _behind(prefix: str, names: Iterable[str]) -> set[str]:
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def other_class_count(weights: Mapping[str, Tensor], network: nn.Module) -> tuple[int, int] | None:
    """How many classes a network has and weights are for, if they fit it but for that number.

    All tensors of another shape must differ in their first dimension alone, and all alike.

    Returns:
        Both numbers, or ``None`` if the weights fit, or differ in more than that.

    Example:
        >>> other_class_count(nn.Linear(8, 2).state_dict(), nn.Linear(8, 1000))
        (1000, 2)
    """
    own = {name: value for name, value in network.state_dict().items() if name in weights}
    other = [name for name, value in own.items() if value.shape != weights[name].shape]
    if any(own[name].ndim != weights[name].ndim or not own[name].ndim for name in other):
        return None
    if any(own[name].shape[1:] != weights[name].shape[1:] for name in other):
        return None
    counts = {(len(own[name]), len(weights[name])) for name in other}
    return counts.pop() if len(counts) == 1 else None
