"""A second device that computes on the processor, for machines that have no other.

:func:`install` makes ``torch.device("elsewhere")`` known to torch. Tensors go there with ``.to()``
and with ``device=``, follow the network, and come back with ``.cpu()``. As with a GPU, there is an
error where they meet tensors of the processor with dimensions, where a generator of the processor
is to draw there, and where their ``numpy()`` is asked for; and backward passes run in a thread of
their own. Cannot be taken away again: only for processes that end afterwards.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

NAME = "elsewhere"
_LIBRARIES: list[torch.library.Library] = []
_aten = torch.ops.aten
_INDEXING = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default}
_INDEXING |= {_aten._index_put_impl_.default}
"""Whose indices may lie on the processor, as a GPU takes them."""

_COPYING = {_aten._to_copy.default, _aten.copy_.default}


class _Elsewhere(Tensor):
    """Holds a tensor of the processor, and says that it lies elsewhere."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _Elsewhere:
        made: _Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"elsewhere {self.held}"

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu()")

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(function, *args, **(kwargs or {}))


def _held(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == NAME:
        return torch.device("cpu")
    return value.held if isinstance(value, _Elsewhere) else value


def _run(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation on what the tensors hold; its results lie where they would on a GPU."""
    values = pytree.tree_leaves((args, kwargs))
    there = any(isinstance(value, _Elsewhere) for value in values)
    asked = kwargs.get("device")
    goes_there = there if asked is None else torch.device(asked).type == NAME
    if there and function not in _COPYING:
        _refuse_mixing(function, args, kwargs)
    if goes_there and any(isinstance(value, torch.Generator) for value in values):
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
    owners = {id(value.held): value for value in values if isinstance(value, _Elsewhere)}
    result = function(*pytree.tree_map(_held, args), **pytree.tree_map(_held, kwargs))

    def placed(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        # What an in-place operation returns is the tensor that it was given.
        if id(value) in owners:
            return owners[id(value)]
        return _Elsewhere(value) if goes_there else value

    if function is _aten.copy_.default:
        return args[0]
    return pytree.tree_map(placed, result)


def _refuse_mixing(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if function in _INDEXING and isinstance(args[0], _Elsewhere):
        args = (args[0], *args[2:])
    for value in pytree.tree_leaves((args, kwargs)):
        if isinstance(value, Tensor) and not isinstance(value, _Elsewhere) and value.ndim:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{NAME}:0 and {value.device}! ({function})"
            )


class _Module:
    """What torch asks a device about."""

    is_available = is_initialized = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed_all = staticmethod(lambda seed: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])


def install() -> torch.device:
    """Make the device known, for the rest of this process. Accelerate takes it for its own."""
    from accelerate.state import PartialState
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    device = torch.device
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module)
    every, copies = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    every.fallback(_run, "PrivateUse1")
    copies.impl("_copy_from", _copy_from, "PrivateUse1")
    _LIBRARIES.extend([every, copies])
    PartialState.default_device = property(lambda _: device(NAME, 0))
    return device(NAME, 0)


def _copy_from(source: Tensor, destination: Tensor, non_blocking: bool = False) -> Tensor:
    _held(destination).copy_(_held(source))
    return destination
