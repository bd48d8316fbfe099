"""Running a network so that its backward pass propagates relevance instead of gradients.

Each operation of the network is looked up in a table of rules and run by its rule, which records
how relevance goes back; see :mod:`ttame.explainers.relevance.recording`. An operation without a
rule is refused by name; its gradient would not be relevance.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.linear_end import scoring_in_the_last_layer
from ttame.errors import ExplainerError, setting
from ttame.explainers.contract.memory_budget import MARGIN, ActivationMeter
from ttame.explainers.relevance.function_arguments import first_by_place
from ttame.explainers.relevance.operation_calls import (
    Layer,
    OperationCall,
    function_name,
    table_name,
)
from ttame.explainers.relevance.recording import mark_as_computed, widened
from ttame.explainers.relevance.rule_table import RuleTable, no_rule
from ttame.explainers.relevance.running_layers import running_layers
from ttame.networks.function_replacement import Operation, replacing_functions

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


@contextlib.contextmanager
def propagating(
    table: RuleTable,
    method: str,
    classifier: str,
    *,
    images: int = 1,
    network: nn.Module | None = None,
    naming_layers: bool = False,
) -> Iterator[None]:
    """Record relevance rules instead of gradients while the block runs in this thread.

    Args:
        table: the rules. An operation none of whose tensors carries a graph runs as usual.
        method: for the error message.
        classifier: for the error message.
        images: B, for rules whose sums run over one image.
        network: whose layers the table may ask for.
        naming_layers: whether errors name the layer too, at the price of hooks on all layers; it
            is named in any case where the table asks for layers.

    Raises:
        ExplainerError: from inside the block, by an operation without a rule.
        TypeError: the table asks for layers, and there is no network.
    """
    if table.reads_layers and network is None:
        raise TypeError("a table that asks for layers needs the network")
    with contextlib.ExitStack() as stack:
        running: Callable[[], Layer | None] = lambda: None  # noqa: E731
        if network is not None and (table.reads_layers or naming_layers):
            running = stack.enter_context(running_layers(network))
        propagation = _Propagation(table, method, classifier, images, running)
        known = {name: functools.partial(propagation.known, name) for name in get_args(Operation)}
        stack.enter_context(replacing_functions(known, propagation.other, propagation.whole))
        yield


@dataclasses.dataclass(frozen=True)
class _Propagation:
    """What runs instead of the network's operations; see :func:`propagating`."""

    table: RuleTable
    method: str
    classifier: str
    images: int
    running: Callable[[], Layer | None]

    def known(
        self,
        operation: Operation,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run an operation that has a name."""
        if not torch.is_grad_enabled() or not _carries_graph((args, kwargs)):
            return function(*args, **kwargs)
        for name in _CHANGES_WITHOUT_RULE:
            if kwargs.get(name) is not None:
                call = self._call(f"{function_name(function)} with {name}", function, args, kwargs)
                raise self._refused(ExplainerError(no_rule(call).problem))
        args, kwargs = first_by_place(args, kwargs)
        return self._by_rule(
            self._call(table_name(operation, args, kwargs), function, args, kwargs)
        )

    def other(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a function that is not a known operation: moves values, or needs a row of its own."""
        recorded = torch.is_grad_enabled() and _carries_graph((args, kwargs))
        name = function_name(function)
        if recorded and name in self.table.functions:
            return self._by_rule(self._call(name, function, *first_by_place(args, kwargs)))
        result = function(*args, **kwargs)
        routed = name in ROUTING or function in _ROUTING_PROPERTIES
        if recorded and not routed and _carries_graph(result):
            raise self._refused(no_rule(self._call(name, function, args, kwargs)))
        return result

    def whole(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a function that could be taken apart, but that a row is for as it stands."""
        name = function_name(function)
        if name not in self.table.functions:
            return NotImplemented
        if not torch.is_grad_enabled() or not _carries_graph((args, kwargs)):
            return NotImplemented
        call = self._call(name, function, *first_by_place(args, kwargs))
        return self._by_rule(call) if self.table.names_function_of(call) else NotImplemented

    def _by_rule(self, call: OperationCall) -> Any:
        try:
            rule = self.table.rule_for(call)
        except ExplainerError as problem:
            raise self._refused(problem) from None
        result = rule.apply(call)
        if result is NotImplemented:
            raise self._refused(no_rule(call, f", for which {rule!r} is not meant"))
        mark_as_computed(result)
        return result

    def _call(
        self, name: str, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> OperationCall:
        return OperationCall(name, function, args, kwargs, self.images, self.running())

    def _refused(self, problem: ExplainerError) -> ExplainerError:
        return ExplainerError(
            f"{self.method} is not defined for {self.classifier}: it has {problem.problem}",
            remedy=problem.remedy,
        )


def check_propagation(
    classifier: Explainable, table: RuleTable, method: str, remedy: str = ""
) -> int:
    """Run a network once under a method's rules on noise, to see whether it can be explained.

    Args:
        classifier: the network.
        table: the method's rules.
        method: for the error message.
        remedy: for the error message; what to add to the table, if not given.

    Returns:
        The bytes that the graph of one image takes, with a margin for the pass through it.

    Raises:
        ExplainerError: an operation has no rule, or the network does not compute the same under
            the rules, which happens where an operation overwrites a tensor that is used elsewhere;
            or no relevance reaches the image.
    """
    generator = torch.Generator().manual_seed(0)
    shape = classifier.blank_image().shape
    images = torch.randn(shape, generator=generator, dtype=torch.float32)
    with torch.no_grad():
        expected = classifier.logits(images)
    try:
        with (
            torch.enable_grad(),
            ActivationMeter() as meter,
            scoring_in_the_last_layer(classifier),
            propagating(
                table, method, classifier.name, network=classifier.network, naming_layers=True
            ),
        ):
            logits = classifier.logits(images.to(expected).requires_grad_())
    except ExplainerError as problem:
        remedy = _without_probabilities(classifier) or remedy or problem.remedy
        raise ExplainerError(problem.problem, remedy=remedy) from problem
    if not logits.requires_grad:
        raise ExplainerError(
            f"{method} is not defined for {classifier.name}: no relevance reaches the image",
            remedy=_without_probabilities(classifier)
            or remedy
            or "fewer rows with Constant() in the table of rules",
        )
    tolerance = 1e-3 if widened(expected) is expected else 5e-2
    worst = float((logits.detach() - expected).abs().max())
    if not worst <= tolerance * max(float(expected.abs().max()), 1e-6):
        raise ExplainerError(
            f"{method} is not defined for {classifier.name}: the network computes other logits "
            "when its operations write to new tensors instead of overwriting theirs",
            remedy=remedy or "grad_cam, occlusion or rise",
        )
    return int(PASS_OVER_GRAPH * MARGIN * meter.peak)


def _without_probabilities(classifier: Explainable) -> str:
    """What helps where relevance cannot go back through what makes probabilities of logits."""
    if classifier.outputs.kind == "softmax probabilities":
        return f"the network without its last softmax, and {setting('outputs', 'softmax')}"
    if classifier.outputs.kind == "sigmoid probabilities":
        return f"the network without its last sigmoid, and {setting('outputs', 'sigmoid')}"
    return ""


def _carries_graph(values: Any) -> bool:
    if isinstance(values, Tensor):
        return values.requires_grad
    if isinstance(values, Mapping):
        values = values.values()
    elif not isinstance(values, tuple | list):
        return False
    return any(_carries_graph(value) for value in values)
