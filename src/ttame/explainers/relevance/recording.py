"""Operations whose backward pass is a relevance rule instead of a gradient.

Every operation of the network is run as it is, but inside a ``torch.autograd.Function`` whose
backward pass is a relevance rule: what comes in from above is the relevance of the operation's
output, what goes out is the relevance of its inputs. ``torch.autograd.grad`` then walks through
the network's own graph: it stops where nobody asks, adds up the relevances of a tensor that is
used twice, and sends relevance through reshapes and slices to where the values came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

Backward = Callable[..., Sequence[Tensor | None]]
"""From the relevance of an operation's output, and its inputs, to the relevances of the inputs."""

_COMPUTED = "ttame: computed"


class Following(NamedTuple):
    """What is done to the output channels of a linear map right after it.

    A factor's size is the same for all contributions to a channel, so only its sign matters.

    Attributes:
        signs: (C,), 1 or -1, of the factors.
        shifts: (C,), what is added to a channel, in units of its factor's size; ``None`` for
            nothing.
    """

    signs: Tensor
    shifts: Tensor | None


class Redistribution(torch.autograd.Function):
    """An operation whose backward pass shares out relevance by a rule.

    ``Redistribution.apply(run, rule, *inputs)`` returns ``run(*inputs)``. In the backward pass
    ``rule(relevance, *inputs)`` is asked for the relevances of the inputs. A rule with
    ``channels``, the dimension of its output channels, is told what follows; see
    :func:`follow_by`. One that ``reads_output`` is given ``run(*inputs)`` too. Rules see float32
    where the network computes in half precision.
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., Tensor], rule: Backward, *inputs: Tensor) -> Tensor:
        """Run the operation and keep its inputs."""
        ctx.rule, ctx.following = rule, None
        output = run(*inputs)
        ctx.reads_output = getattr(rule, "reads_output", False)
        ctx.save_for_backward(*inputs, *([output] if ctx.reads_output else []))
        return output

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Any:
        """Ask the rule for the relevances of the inputs."""
        inputs = ctx.saved_tensors
        following: dict[str, Any] = {} if ctx.following is None else {"following": ctx.following}
        if ctx.reads_output:
            *inputs, following["output"] = inputs
        wide = [widened(tensor) for tensor in inputs]
        shares = ctx.rule(widened(relevance), *wide, **following)
        needed = ctx.needs_input_grad[2:]
        return (
            None,
            None,
            *(
                part.to(tensor.dtype) if part is not None and wanted else None
                for part, tensor, wanted in zip(shares, inputs, needed, strict=True)
            ),
        )


class PassedOn(torch.autograd.Function):
    """An operation on one tensor that passes relevance on unchanged, place by place."""

    @staticmethod
    def forward(_ctx: Any, run: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
        """Run the operation."""
        return run(tensor)

    @staticmethod
    def backward(_ctx: Any, relevance: Tensor) -> Any:
        """Pass the relevance on."""
        return None, relevance


def recorded(run: Callable[..., Tensor], rule: Backward, *inputs: Tensor) -> Tensor:
    """Run an operation and record its rule."""
    output: Tensor = Redistribution.apply(run, rule, *inputs)
    return output


def passed_on(run: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """Run an operation on one tensor and record that relevance passes it unchanged."""
    output: Tensor = PassedOn.apply(run, tensor)
    return output


def widened(tensor: Tensor) -> Tensor:
    """Half precision as float32; anything else as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def follow_by(tensor: Tensor, factor: Tensor, dimension: int, shift: Tensor | None = None) -> None:
    """Tell the linear map that made a tensor what its output is multiplied by and shifted by next.

    Batch norm and layer scale belong to the weights before them: where they multiply by a negative
    number, what raised the output lowers it, and what they add is part of the bias.

    Args:
        tensor: the output of an operation; nothing is done if it was not a linear map, or if its
            outputs lie along another dimension.
        factor: (C,), one for each output channel.
        dimension: the dimension of the tensor, along which the factor lies.
        shift: (C,), added after the multiplication.
    """
    node: Any = tensor.grad_fn
    channels = getattr(getattr(node, "rule", None), "channels", None)
    if channels is not None and channels % tensor.ndim == dimension % tensor.ndim:
        # Where the factor is 0 the channel is its shift alone: an endless bias, or none.
        shifts = None if shift is None else (widened(shift) / widened(factor).abs()).nan_to_num()
        node.following = Following(torch.where(factor < 0, -1, 1), shifts)


def mark_as_computed(output: Any) -> None:
    """Note that a tensor with autograd's own backward pass is no longer what the image holds."""
    if isinstance(output, Tensor) and output.grad_fn is not None:
        node: Any = output.grad_fn
        node.metadata[_COMPUTED] = True


def has_moved_only(tensor: Tensor) -> bool:
    """Whether a tensor holds values of the graph's leaves, moved but not computed with."""
    nodes: list[Any] = [tensor.grad_fn]
    while nodes:
        node = nodes.pop()
        if isinstance(node, BackwardCFunction):
            return False
        if node is not None:
            if _COMPUTED in node.metadata:
                return False
            nodes += [following for following, _ in node.next_functions]
    return True
