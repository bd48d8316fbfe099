"""Running a network so that its backward pass propagates relevance instead of gradients.

Every operation of the network is run as it is, but inside a ``torch.autograd.Function`` whose
backward pass is a relevance rule: what comes in from above is the relevance of the operation's
output, what goes out is the relevance of its inputs. ``torch.autograd.grad`` then walks through
the network's own graph: it stops where nobody asks, adds up the relevances of a tensor that is
used twice, and sends relevance through reshapes and slices to where the values came from.

An operation without a rule is refused by name; its gradient would be no relevance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.function_replacement import Operation, Replacement, replacing_functions
from ttame.classifiers.linear_end import scoring_in_the_last_layer
from ttame.errors import ExplainerError
from ttame.explainers.memory_budget import MARGIN, ActivationMeter
from ttame.explainers.relevance.function_arguments import first_by_place

Rule = Callable[..., Sequence[Tensor | None]]
"""From the relevance of an operation's output, and its inputs, to the relevances of the inputs."""

_ROUTING_NAMES = """
    __getitem__ adaptive_max_pool2d adaptive_max_pool2d_with_indices amax as_strided bfloat16
    broadcast_to cat chunk clone concat concatenate contiguous double dropout dropout1d dropout2d
    dropout3d expand expand_as flatten flip float fold gather half hsplit index_select masked_fill
    max_pool1d max_pool2d max_pool3d moveaxis movedim narrow pad permute pixel_shuffle
    pixel_unshuffle repeat repeat_interleave requires_grad_ reshape reshape_as roll rot90 select
    split split_with_sizes squeeze stack swapaxes swapdims t take_along_dim tensor_split tile to
    transpose tril triu type type_as unbind unflatten unfold unsqueeze view view_as vsplit
"""

ROUTING = frozenset(_ROUTING_NAMES.split())
"""Functions that move, copy or select values: autograd's own backward pass moves relevance along.
A maximum gives all to the winner, which is the usual rule for it."""

_CHANGES_WITHOUT_RULE = ("out", "rounding_mode")
"""Arguments that make another operation of one that has a rule."""

_ROUTING_PROPERTIES = tuple(vars(torch._C.TensorBase)[name].__get__ for name in ("T", "mT", "H"))


PASS_OVER_GRAPH = 1.25
"""Memory of the relevance pass at its widest, over that of the graph alone (ViT-B/16: 1.2)."""


class Redistribution(torch.autograd.Function):
    """An operation whose backward pass shares out relevance by a rule.

    ``Redistribution.apply(run, rule, *inputs)`` returns ``run(*inputs)``. In the backward pass
    ``rule(*inputs)`` is asked for the relevances of the inputs. A rule with ``channels``, the
    dimension of its output channels, is told by which sign each of them is multiplied next; see
    :func:`follow_by_signs`. Rules see float32 where the network computes in half precision.
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., Tensor], rule: Rule, *inputs: Tensor) -> Tensor:
        """Run the operation and keep its inputs."""
        ctx.rule, ctx.signs = rule, None
        ctx.save_for_backward(*inputs)
        return run(*inputs)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Any:
        """Ask the rule for the relevances of the inputs."""
        inputs = ctx.saved_tensors
        wide = [widened(tensor) for tensor in inputs]
        signs = {} if ctx.signs is None else {"signs": ctx.signs}
        shares = ctx.rule(widened(relevance), *wide, **signs)
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


def widened(tensor: Tensor) -> Tensor:
    """Half precision as float32; anything else as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def follow_by_signs(tensor: Tensor, factor: Tensor, dimension: int) -> None:
    """Tell the linear map that made a tensor by which factors its outputs are multiplied next.

    Batch norm and layer scale belong to the weights before them: where they multiply by a negative
    number, what raised the output lowers it. Only signs matter to the rules.

    Args:
        tensor: the output of an operation; nothing is done if it was no linear map, or if its
            outputs lie along another dimension.
        factor: (C,), one for each output channel.
        dimension: of the tensor, along which the factor lies.
    """
    node: Any = tensor.grad_fn
    channels = getattr(getattr(node, "rule", None), "channels", None)
    if channels is not None and channels % tensor.ndim == dimension % tensor.ndim:
        node.signs = torch.where(factor < 0, -1, 1)


def has_moved_only(tensor: Tensor) -> bool:
    """Whether a tensor holds values of the graph's leaves, moved but not computed with."""
    nodes = [tensor.grad_fn]
    while nodes:
        node = nodes.pop()
        if isinstance(node, BackwardCFunction):
            return False
        if node is not None:
            nodes += [following for following, _ in node.next_functions]
    return True


@contextlib.contextmanager
def propagating(
    replacements: Mapping[Operation, Replacement], method: str, classifier: str
) -> Iterator[None]:
    """Record relevance rules instead of gradients while the block runs in this thread.

    Args:
        replacements: the rules of a method, by operation. An operation none of whose tensors
            carries a graph runs as usual.
        method: for the error message.
        classifier: for the error message.

    Raises:
        ExplainerError: from inside the block, by an operation without a rule.
    """

    def where_recorded(replacement: Replacement) -> Replacement:
        def replaced(
            function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            if not torch.is_grad_enabled() or not _carries_graph((args, kwargs)):
                return function(*args, **kwargs)
            for name in _CHANGES_WITHOUT_RULE:
                if kwargs.get(name) is not None:
                    raise _no_rule(method, classifier, f"{_name(function)} with {name}")
            result = replacement(function, *first_by_place(args, kwargs))
            if result is NotImplemented:
                raise _no_rule(method, classifier, _name(function))
            return result

        return replaced

    def otherwise(
        function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        recorded = torch.is_grad_enabled() and _carries_graph((args, kwargs))
        result = function(*args, **kwargs)
        routed = _name(function) in ROUTING or function in _ROUTING_PROPERTIES
        if recorded and not routed and _carries_graph(result):
            raise _no_rule(method, classifier, _name(function))
        return result

    rules = {name: where_recorded(replacement) for name, replacement in replacements.items()}
    with replacing_functions(rules, otherwise):
        yield


def check_propagation(
    classifier: Classifier,
    replacements: Mapping[Operation, Replacement],
    method: str,
    remedy: str,
) -> int:
    """Run a network once under a method's rules on noise, to see whether it can be explained.

    Returns:
        The bytes that the graph of one image takes, with a margin for the pass through it.

    Raises:
        ExplainerError: an operation has no rule, or the network does not compute the same under
            the rules, which happens where an operation overwrites a tensor that is used elsewhere.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, *classifier.preprocessing.input_size, generator=generator)
    with torch.no_grad():
        expected = classifier.logits(images)
    try:
        with (
            torch.enable_grad(),
            ActivationMeter() as meter,
            propagating(replacements, method, classifier.name),
            scoring_in_the_last_layer(classifier),
        ):
            logits = classifier.logits(images.to(expected).requires_grad_())
    except ExplainerError as problem:
        raise ExplainerError(problem.problem, remedy=remedy) from problem
    tolerance = 1e-3 if widened(expected) is expected else 5e-2
    worst = float((logits.detach() - expected).abs().max())
    if not worst <= tolerance * max(float(expected.abs().max()), 1e-6):
        raise ExplainerError(
            f"{method} is not defined for {classifier.name}: the network computes other logits "
            "when its operations write to new tensors instead of overwriting theirs",
            remedy=remedy,
        )
    return int(PASS_OVER_GRAPH * MARGIN * meter.peak)


def _no_rule(method: str, classifier: str, operation: str) -> ExplainerError:
    return ExplainerError(
        f"{method} is not defined for {classifier}: it has no relevance rule for the operation "
        f"{operation}"
    )


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _carries_graph(values: Any) -> bool:
    if isinstance(values, Tensor):
        return values.requires_grad
    if isinstance(values, Mapping):
        values = values.values()
    elif not isinstance(values, tuple | list):
        return False
    return any(_carries_graph(value) for value in values)
