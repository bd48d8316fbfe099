"""The protocols of papers for texts, and one of our own, as presets."""

from __future__ import annotations

from ttame.errors import UnknownNameError
from ttame.metrics.texts.text_protocol import TextProtocol

TEXT_PROTOCOLS: dict[str, TextProtocol] = {
    protocol.name: protocol
    for protocol in (
        TextProtocol(
            name="chefer-text",
            title="Token F1 against human rationales, of the labelled class",
            source="Chefer et al., arXiv 2012.09838, its text benchmark",
            metrics=("comprehensiveness", "sufficiency"),
            rationale_metrics=("token_f1", "best_token_f1", "auprc"),
        ),
        TextProtocol(
            name="eraser",
            title="Comprehensiveness and sufficiency of the predicted class, and AUPRC",
            source="DeYoung et al., arXiv 1911.03429",
            metrics=("comprehensiveness", "sufficiency"),
            rationale_metrics=("auprc",),
            explained_class="top-1",
            clamped=False,
            area="trapezoids",
        ),
        TextProtocol(
            name="masked-tokens",
            title="Deletion and insertion of single tokens, by the mask token",
            source="Petsiuk et al., arXiv 1806.07421, applied to tokens",
            metrics=("deletion", "insertion"),
            explained_class="top-1",
            merging="largest magnitude",
            clamped=False,
            unit="tokens",
            taken_away="mask",
        ),
        TextProtocol(
            name="removed-tokens",
            title="Deletion and insertion of single tokens, which are removed",
            source="Petsiuk et al., arXiv 1806.07421, applied to tokens",
            metrics=("deletion", "insertion"),
            explained_class="top-1",
            merging="largest magnitude",
            clamped=False,
            unit="tokens",
        ),
    )
}
"""Name to protocol."""

DEFAULT_TEXT_PROTOCOL = "chefer-text"


def known_text_protocol(name: str) -> TextProtocol:
    """A preset by its name.

    Raises:
        UnknownNameError: there is none; with near matches.

    Example:
        >>> known_text_protocol("chefer-text").counts[:3]
        (5, 10, 15)
    """
    if name not in TEXT_PROTOCOLS:
        raise UnknownNameError.of("protocol of texts", name, TEXT_PROTOCOLS)
    return TEXT_PROTOCOLS[name]
