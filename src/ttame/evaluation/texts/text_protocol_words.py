"""A protocol of texts in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ttame.metrics.texts.text_metric import TextMetric
from ttame.metrics.texts.text_protocol import TextProtocol

_TAKEN_AWAY = {
    "removed": "removed, so that those behind them move up",
    "mask": "replaced by the mask token",
    "padding": "replaced by padding, over which attention passes",
}

_MERGED = {
    "maximum": "the maximum of its pieces",
    "largest magnitude": "that of its piece of largest magnitude, with its sign",
}


def text_protocol_in_words(
    protocol: TextProtocol, metrics: Sequence[TextMetric]
) -> tuple[tuple[str, str], ...]:
    """What was done, as pairs of a heading and a sentence.

    Example:
        >>> from ttame.metrics.texts.known_text_protocols import known_text_protocol
        >>> text_protocol_in_words(known_text_protocol("eraser"), ())[0]
        ('Class', 'the class that the classifier predicts is explained and scored')
    """
    read = {setting for metric in metrics for setting in metric.reads}
    said = (
        ("Class", None, _class(protocol)),
        ("Words", "merging", _words(protocol)),
        ("Scores", "clamped", _scores(protocol)),
        ("Numbers of words", "counts", _counts(protocol)),
        ("Taking away", "taken_away", _taking_away(protocol)),
        ("Shares", "shares", _shares(protocol)),
        (
            "Deletion and insertion",
            "steps",
            f"the way from all words to none has {protocol.steps} steps",
        ),
        ("AUPRC", "area", f"the area under precision over recall is computed by {protocol.area}"),
        (
            "Equal scores",
            None,
            f"words of equal score are in one order for all methods, by seed {protocol.seed}",
        ),
    )
    return tuple((what, words) for what, setting, words in said if setting in (None, *read))


def _class(protocol: TextProtocol) -> str:
    named = protocol.explained_class == "label"
    who = "the data name" if named else "the classifier predicts"
    return f"the class that {who} is explained and scored"


def _words(protocol: TextProtocol) -> str:
    return (
        f"words are separated by white space; the score of a word is {_MERGED[protocol.merging]}; "
        "special tokens are never ranked, and words beyond the model's length have no score"
    )


def _scores(protocol: TextProtocol) -> str:
    clamped = "scores below 0 count as 0" if protocol.clamped else "scores count as they are"
    return f"{clamped} where they are compared with rationales"


def _counts(protocol: TextProtocol) -> str:
    counts = ", ".join(map(str, protocol.counts))
    return f"the first {counts} words are compared with those that people marked"


def _taking_away(protocol: TextProtocol) -> str:
    return f"{protocol.unit} are {_TAKEN_AWAY[protocol.taken_away]}; special tokens stay"


def _shares(protocol: TextProtocol) -> str:
    shares = ", ".join(f"{100 * share:g}" for share in protocol.shares)
    return f"the first {shares} % of the {protocol.unit}, rounded up, and the mean over these"
