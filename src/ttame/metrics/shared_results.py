"""What several metrics of the same images need, computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class SharedResults:
    """Answers of functions that were asked before, for as long as this object lives.

    A metric asks the network about the unchanged images, ranks pixels and masks images through
    :meth:`once`. Given one object, several metrics of the same images share these; without one,
    every call computes its own. Tensors are distinguished by identity, so that an object that has
    seen other images never answers with theirs.

    Example:
        >>> shared, asked = SharedResults(), []
        >>> def brightness(images):
        ...     asked.append(images)
        ...     return sum(images)
        >>> images = (1.0, 2.0)
        >>> shared.once(brightness, images), shared.once(brightness, images), len(asked)
        (3.0, 3.0, 1)
    """

    def __init__(self) -> None:
        self._known: dict[object, Any] = {}

    def once(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """``function(*args, **options)``, computed the first time only.

        Args:
            function: always gives the same answer to the same arguments.
            args: must not be changed in place afterwards.
            options: likewise; this object itself may be among them, for what is asked within.
        """
        # The key keeps the arguments alive, so that none of their identities is given to another
        # tensor; this object in its own key would keep itself alive, and with it every image.
        named = tuple((name, _hashable(options[name])) for name in sorted(options)
                      if options[name] is not self)  # fmt: skip
        key = (_hashable(function), *map(_hashable, args), named)
        if key not in self._known:
            self._known[key] = function(*args, **options)
        return cast("T", self._known[key])


class _Itself:
    """Stands for what has no hash: equal to nothing but the same object."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return value
