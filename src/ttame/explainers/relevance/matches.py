"""What a row of a table of rules asks of an operation: its kind, the layer's type or its name."""

from __future__ import annotations

import dataclasses
import fnmatch
from abc import ABC, abstractmethod

import torch
from torch import nn

from ttame.errors import ExplainerError, UnknownNameError
from ttame.explainers.relevance.operation_calls import (
    CONSTANT_PRODUCT,
    OPERATIONS,
    OperationCall,
    function_name,
)


class Match(ABC):
    """A question that a call of an operation answers with yes or no; ``a & b`` asks for both."""

    @abstractmethod
    def matches(self, call: OperationCall) -> bool:
        """Whether the row is for this call."""

    @property
    def reads_layers(self) -> bool:
        """Whether it has to be known which layer is running."""
        return False

    @property
    def functions(self) -> frozenset[str]:
        """Names of torch functions outside of ``OPERATIONS`` that it asks for."""
        return frozenset()

    @abstractmethod
    def in_words(self) -> str:
        """As it is typed."""

    def __and__(self, other: Match) -> Match:
        """Both."""
        return Both(self, other)


class Operation(Match):
    """The operation is one of these.

    Args:
        *names: ``"linear"``, ``"convolution"``, ``"matrix product"`` of two factors that depend on
            the image, ``"matrix product with a constant"``, ``"add"``, ``"subtract"``,
            ``"multiply"``, ``"divide"``, ``"average"`` (means, sums, average pooling),
            ``"softmax"``, ``"normalisation"``, ``"batch norm"``, ``"activation"``; or the name of a
            torch function that is none of them, e.g. ``"square"``.

    Raises:
        UnknownNameError: no such operation.

    Example:
        >>> Operation("linear", "convolution")
        Operation('linear', 'convolution')
    """

    def __init__(self, *names: str) -> None:
        if not names:
            raise ExplainerError("Operation() without a name", allowed=", ".join(OPERATIONS))
        for name in names:
            if name not in OPERATIONS and not _is_torch_function(name):
                raise UnknownNameError.of("operation", name, OPERATIONS)
        self.names = names

    def matches(self, call: OperationCall) -> bool:
        """Whether the operation, or its torch function, has one of the names."""
        return call.operation in self.names or function_name(call.function) in self.functions

    @property
    def functions(self) -> frozenset[str]:
        """The names that are not in ``OPERATIONS``."""
        return frozenset(self.names).difference(OPERATIONS)

    def in_words(self) -> str:
        """As it is typed."""
        return repr(self)

    def __repr__(self) -> str:
        return f"Operation({', '.join(map(repr, self.names))})"


class LayerType(Match):
    """The operation is run by a layer of one of these types itself, not by a layer inside it.

    Args:
        *types: classes of modules; their subclasses count too.

    Example:
        >>> LayerType(nn.Conv2d)
        LayerType(Conv2d)
    """

    def __init__(self, *types: type[nn.Module]) -> None:
        if not types or not all(isinstance(kind, type) for kind in types):
            raise ExplainerError(
                f"LayerType of {types!r}", allowed="classes of modules, e.g. torch.nn.Conv2d"
            )
        self.types = types

    @property
    def reads_layers(self) -> bool:
        """Yes."""
        return True

    def matches(self, call: OperationCall) -> bool:
        """Whether the running layer is of one of the types."""
        return call.layer is not None and isinstance(call.layer.module, self.types)

    def in_words(self) -> str:
        """As it is typed."""
        return repr(self)

    def __repr__(self) -> str:
        return f"LayerType({', '.join(kind.__name__ for kind in self.types)})"


class LayerName(Match):
    """The operation is run by a layer of such a name itself, not by a layer inside it.

    Args:
        *patterns: dotted names as ``network.named_modules()`` has them, with ``*``, ``?`` and
            ``[...]`` as in the names of files; ``*`` also stands for dots.

    Example:
        >>> LayerName("features.0", "blocks.*.mlp.fc?")
        LayerName('features.0', 'blocks.*.mlp.fc?')
    """

    def __init__(self, *patterns: str) -> None:
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise ExplainerError(
                f"LayerName of {patterns!r}", allowed="dotted names, e.g. 'blocks.*.mlp.fc1'"
            )
        self.patterns = patterns

    @property
    def reads_layers(self) -> bool:
        """Yes."""
        return True

    def matches(self, call: OperationCall) -> bool:
        """Whether one of the running layer's names fits one of the patterns."""
        return call.layer is not None and any(
            fnmatch.fnmatchcase(name, pattern)
            for name in call.layer.names
            for pattern in self.patterns
        )

    def in_words(self) -> str:
        """As it is typed."""
        return repr(self)

    def __repr__(self) -> str:
        return f"LayerName({', '.join(map(repr, self.patterns))})"


@dataclasses.dataclass(frozen=True)
class SeesImage(Match):
    """The input of the operation is the image itself: its values moved, but not computed with.

    ``WEIGHTED & SeesImage()`` is the first layer, a patch embedding or a convolution.

    Example:
        >>> (WEIGHTED & SeesImage()).in_words().endswith(" & SeesImage()")
        True
    """

    def matches(self, call: OperationCall) -> bool:
        """Whether its input is the image."""
        return call.sees_image

    def in_words(self) -> str:
        """As it is typed."""
        return "SeesImage()"


@dataclasses.dataclass(frozen=True)
class Both(Match):
    """What ``first & second`` makes; the second is asked only if the first says yes."""

    first: Match
    second: Match

    def matches(self, call: OperationCall) -> bool:
        """Whether both say yes."""
        return self.first.matches(call) and self.second.matches(call)

    @property
    def reads_layers(self) -> bool:
        """Whether one of them does."""
        return self.first.reads_layers or self.second.reads_layers

    @property
    def functions(self) -> frozenset[str]:
        """Those of both."""
        return self.first.functions | self.second.functions

    def in_words(self) -> str:
        """As it is typed."""
        return f"{self.first.in_words()} & {self.second.in_words()}"


WEIGHTED = Operation("linear", "convolution", CONSTANT_PRODUCT)
"""The operations with weights, for which most rules are made."""


def _is_torch_function(name: str) -> bool:
    return any(
        callable(getattr(home, name, None))
        for home in (torch, torch.Tensor, nn.functional, torch.special, torch.linalg)
    )
