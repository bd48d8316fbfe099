"""What a page says of where its explanations come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ttame.reporting.written_values import in_words


def shared_facts(provenances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is the same for all methods, in the order of the first one."""
    if not provenances:
        return {}
    first, *others = provenances
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def own_facts(provenance: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """What is set for one method, on one line.

    Example:
        >>> facts = {"classifier": "mine", "start_block": 2}
        >>> own_facts(facts, shared_facts([facts, {"classifier": "mine", "start_block": 0}]))
        'start block 2'
    """
    own = {name: value for name, value in provenance.items() if name not in shared}
    return ", ".join(f"{name} {value}" for name, value in facts_in_words(own))


def classifier_name(provenance: Mapping[str, Any]) -> str:
    """The explained network's name, for the head of a page."""
    classifier = provenance.get("classifier", "")
    if isinstance(classifier, Mapping):
        classifier = classifier.get("name", "")
    return str(classifier) or "not named"


def facts_in_words(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each entry, as people read them."""
    return [(name.replace("_", " "), in_words(value)) for name, value in provenance.items()]
