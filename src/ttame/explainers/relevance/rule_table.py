"""Which rule an operation follows: an ordered table, of which the first row that matches counts."""

from __future__ import annotations

from collections.abc import Iterator

from ttame.errors import ExplainerError
from ttame.explainers.relevance.matches import Match
from ttame.explainers.relevance.operation_calls import OperationCall
from ttame.explainers.relevance.rule import Carried, Rule

Row = tuple[Match, Rule]


class RuleTable:
    """An ordered table of (match, rule); zennit calls it a composite.

    Args:
        *rows: pairs; for each call of an operation the first row whose match says yes counts.

    Raises:
        ExplainerError: something other than pairs of a match and a rule, or rules that carry
            relevance next to rules that carry gradients.

    Example:
        >>> from ttame.explainers.relevance.matches import WEIGHTED, LayerName, Operation
        >>> from ttame.explainers.relevance.operation_rules import Pass
        >>> from ttame.explainers.relevance.weighted_rules import Epsilon, Gamma
        >>> table = RuleTable((WEIGHTED, Epsilon()), (Operation("activation"), Pass()))
        >>> print(table.with_first((LayerName("features.*"), Gamma(0.1))).in_words())
        LayerName('features.*'): Gamma(gamma=0.1)
        Operation('linear', 'convolution', 'matrix product with a constant'): Epsilon(epsilon=1e-06)
        Operation('activation'): Pass()
    """

    def __init__(self, *rows: Row) -> None:
        for row in rows:
            if not _is_row(row):
                raise ExplainerError(
                    f"{row!r} as a row of a table of relevance rules",
                    allowed="a pair of a match and a rule, e.g. (Operation('linear'), Epsilon())",
                )
        self._rows = rows
        kinds = {rule.carries for _, rule in rows} - {"either"}
        if len(kinds) > 1:
            raise ExplainerError(
                "a table with rules that carry relevance and rules that carry gradients",
                allowed="rules of one kind; the gradient is that of AttnLRP",
            )
        self._carries: Carried = kinds.pop() if kinds else "relevance"
        self._functions = frozenset[str]().union(*(match.functions for match, _ in rows))

    @property
    def carries(self) -> Carried:
        """What goes backwards: ``"relevance"``, or ``"gradient"``, to be multiplied by the input.

        Example:
            >>> RuleTable().carries
            'relevance'
        """
        return self._carries

    @property
    def is_linear(self) -> bool:
        """Whether all rules are linear in the relevance."""
        return all(rule.is_linear for _, rule in self._rows)

    @property
    def functions(self) -> frozenset[str]:
        """Names of torch functions that rows ask for although they are no known operation."""
        return self._functions

    @property
    def reads_layers(self) -> bool:
        """Whether a row asks for the running layer."""
        return any(match.reads_layers for match, _ in self._rows)

    def rule_for(self, call: OperationCall) -> Rule:
        """The rule of the first row that matches.

        Raises:
            ExplainerError: no row does; with the operation, its layer and what to add.
        """
        for match, rule in self._rows:
            if match.matches(call):
                return rule
        raise no_rule(call)

    def names_function_of(self, call: OperationCall) -> bool:
        """Whether a row that matches asks for the torch function itself, by its name."""
        return any(match.functions and match.matches(call) for match, _ in self._rows)

    def with_first(self, *rows: Row) -> RuleTable:
        """A table with rows in front of these, which so come first."""
        return RuleTable(*rows, *self._rows)

    def in_words(self) -> str:
        """One line for each row, as it is typed."""
        return "\n".join(f"{match.in_words()}: {rule!r}" for match, rule in self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<RuleTable of {len(self)} rows>"


def no_rule(call: OperationCall, detail: str = "") -> ExplainerError:
    """The error about an operation for which a table has no rule."""
    return ExplainerError(
        f"no relevance rule for {call.in_words()}{detail}",
        remedy=f"a first row (Operation({call.operation!r}), RULE) in the table of rules",
    )


def _is_row(row: object) -> bool:
    return (
        isinstance(row, tuple)
        and len(row) == 2
        and isinstance(row[0], Match)
        and isinstance(row[1], Rule)
    )
