"""Mixed precision for some steps of training, and the user's own precision after them."""

from __future__ import annotations

import contextlib

import torch
from accelerate import Accelerator
from accelerate.utils import get_mixed_precision_context_manager

from ttame.networks.loans import Lent, Loan


def in_mixed_precision(accelerator: Accelerator) -> contextlib.AbstractContextManager[None]:
    """Run a block in the precision that an accelerator was made with.

    As ``accelerator.autocast()``, but an interruption anywhere leaves autocast as it was found.

    Example:
        >>> with in_mixed_precision(Accelerator(cpu=True, mixed_precision="bf16")):
        ...     torch.is_autocast_enabled("cpu")
        True
        >>> torch.is_autocast_enabled("cpu")
        False
    """
    if not accelerator.native_amp:
        return contextlib.nullcontext()
    return Lent(_Autocasting(accelerator))


class _Autocasting(Loan[None]):
    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__()
        self.device = accelerator.device.type
        self.context = get_mixed_precision_context_manager(True, accelerator.autocast_handler)
        self._found: tuple[bool, torch.dtype, bool, int] | None = None

    def begin(self) -> None:
        self._found = (
            torch.is_autocast_enabled(self.device),
            torch.get_autocast_dtype(self.device),
            torch.is_autocast_cache_enabled(),
            _nesting(),
        )
        self.context.__enter__()

    def undo(self) -> None:
        if not self.in_its_thread() or self._found is None:
            return
        # Not by the context's __exit__, which cannot be called again after an interruption.
        enabled, dtype, cached, nesting = self._found
        torch.set_autocast_enabled(self.device, enabled)
        torch.set_autocast_dtype(self.device, dtype)
        torch.set_autocast_cache_enabled(cached)
        while _nesting() > nesting:
            torch.autocast_decrement_nesting()
        if not nesting:
            torch.clear_autocast_cache()


def _nesting() -> int:
    torch.autocast_increment_nesting()
    # The one that torch returns is the one after.
    return torch.autocast_decrement_nesting()
