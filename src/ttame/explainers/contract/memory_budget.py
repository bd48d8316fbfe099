"""How much of a long computation runs at once.

A method with many passes measures what one of its items needs, by running it under
:class:`ActivationMeter`, and then runs as many at a time as fit into the budget. The measure is of
tensors, so the same on every device. Kernels allocate some more inside, and allocators keep what is
free: ``MARGIN`` is for them.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import MemoryLimitError
from ttame.explainers.contract.differentiation import require_graph
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.loans import Lent
from ttame.networks.torch_mode_loans import InDispatchMode
from ttame.progress.pass_progress import Progress as Progress

DEFAULT_BUDGET = 2 * 1024**3
"""Bytes that a method may use for activations at a time, unless told otherwise."""

MOST_AT_ONCE = 64
"""More images at a time make no pass faster, also where the memory would allow them."""

MOST_AT_ONCE_ON_CPU = 8
"""On a CPU larger batches only leave its caches, and their memory is mapped anew in every pass."""

MARGIN = 1.5
"""What a pass takes from the machine, over what its tensors hold."""

_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 1e3, "MB": 1e6, "GB": 1e9}


def parse_memory(text: str | int) -> int:
    """Read an amount of memory in bytes.

    Args:
        text: bytes, or a number with KiB, MiB, GiB, KB, MB or GB.

    Raises:
        MemoryLimitError: it cannot be read, or it is not positive.

    Example:
        >>> parse_memory("1.5GiB")
        1610612736
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?i?B?)\s*", str(text), re.IGNORECASE)
    unit = _UNITS.get(found[2].upper()) if found else None
    size = int(float(found[1]) * unit) if found and unit else 0
    if size < 1:
        raise MemoryLimitError(f"memory budget {text!r}", allowed="512MiB, 2GiB, or bytes")
    return size


class ActivationMeter:
    """Measures the bytes of tensors that are alive together while the block runs in this thread.

    Tensors that existed before, such as weights, are not counted.

    Example:
        >>> with ActivationMeter() as meter:
        ...     total = (torch.zeros(10) + torch.ones(10)).sum()
        >>> meter.live, meter.peak
        (4, 120)
    """

    def __init__(self) -> None:
        self._counting = _Counting()
        self._lent = Lent(InDispatchMode(self._counting.__enter__))

    def __enter__(self) -> ActivationMeter:
        self._lent.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._lent.__exit__(*exception)

    @property
    def live(self) -> int:
        """Bytes of the tensors that were made in the block and still exist."""
        return self._counting.count_alive()

    @property
    def peak(self) -> int:
        """The largest ``live`` so far."""
        return self._counting.peak

    def restart(self) -> None:
        """Forget the peak so far; what is alive stays counted."""
        self._counting.restart()


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._counted: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}
        self._key_of: dict[int, int] = {}
        self._gone: list[weakref.ref[torch.UntypedStorage]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {_storage_of(leaf) for leaf in tree_leaves((args, kwargs)) if _is_plain(leaf)}
        for leaf in tree_leaves(result):
            # A view of a weight, or a weight returned as it came, takes no memory.
            if _is_plain(leaf) and _storage_of(leaf) not in given:
                self._count(leaf.untyped_storage())
        return result

    def restart(self) -> None:
        self.peak = self.count_alive()

    def count_alive(self) -> int:
        while self._gone:
            key = self._key_of.pop(id(self._gone.pop()))
            self._live -= self._counted.pop(key)[1]
        return self._live

    def _count(self, storage: torch.UntypedStorage) -> None:
        live, key, size = self.count_alive(), storage._cdata, storage.nbytes()
        if key in self._counted:
            return
        # Not a function of ours, which would swallow Ctrl-C: nothing that is called by a
        # destructor can raise.
        reference = weakref.ref(storage, self._gone.append)
        self._counted[key] = (reference, size)
        self._key_of[id(reference)] = key
        self._live = live + size
        self.peak = max(self.peak, self._live)


def _is_plain(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.layout == torch.strided


def _storage_of(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@gives_everything_back
def bytes_needed(run: Callable[[], object]) -> int:
    """The memory that a computation needs, with a margin: run it once on a single item.

    Example:
        >>> bytes_needed(lambda: torch.zeros(1000))
        6000
    """
    with ActivationMeter() as meter:
        run()
    return int(MARGIN * meter.peak)


def bytes_per_image(
    classifier: Explainable,
    images: Tensor,
    *,
    gradients: bool = False,
    scores: Callable[[Tensor], Tensor] | None = None,
) -> int:
    """The memory that one image needs in a pass of the classifier, with a margin.

    Args:
        classifier: runs once on the first image.
        images: (B, 3, H, W), of the size that is meant.
        gradients: whether a graph is kept for a backward pass.
        scores: from images to scores; ``classifier.logits`` if not given.
    """
    image = images[:1].detach()

    def run() -> object:
        with torch.set_grad_enabled(gradients):
            leaf = image.clone().requires_grad_(gradients)
            logits = (scores or classifier.logits)(leaf)
            if not gradients:
                return logits
            require_graph(logits)
            return torch.autograd.grad(logits.sum(), leaf)

    return bytes_needed(run)


def most_at_once(device: torch.device) -> int:
    """The number of images per pass beyond which nothing is gained."""
    return MOST_AT_ONCE_ON_CPU if device.type == "cpu" else MOST_AT_ONCE


def items_at_once(bytes_per_item: int, budget: int, most: int = MOST_AT_ONCE) -> int:
    """How many items of a size fit into a budget; at least one, because less cannot be done.

    Example:
        >>> items_at_once(300, 1000), items_at_once(300, 10), items_at_once(1, 1000)
        (3, 1, 64)
    """
    return max(1, min(most, budget // max(1, bytes_per_item)))


def in_chunks(total: int, size: int, progress: Progress | None = None) -> Iterator[slice]:
    """Slices that cover ``range(total)``, reporting after each.

    Example:
        >>> list(in_chunks(5, 2))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, total, size):
        stop = min(start + size, total)
        yield slice(start, stop)
        if progress is not None:
            progress(stop, total)


def part_of(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one part of a method's work, reported as progress of all of it.

    Args:
        progress: told about all of the work.
        before: steps that earlier parts did.
        total: steps of all parts.

    Example:
        >>> report = part_of(lambda done, total: print(f"{done} of {total}"), 5, 10)
        >>> report(2, 5)
        7 of 10
    """
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
