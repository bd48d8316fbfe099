"""Training an explainer of a text classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.training.texts.training_texts import TEXT_PRESET, TrainingTexts
from ttame.training.train_explainer import Watch, train_explainer
from ttame.training.training_settings import TrainingSettings, training_settings


def train(
    classifier: TextClassifier,
    texts: str | Path | Sequence[str],
    folder: str | Path,
    settings: TrainingSettings = training_settings(TEXT_PRESET),  # noqa: B008 - frozen
    *,
    words: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    watch: Watch | None = None,
    progress: bool = True,
) -> AttentionExplainer[TextClassifier]:
    """Train an explainer for a text classifier, and save it; no labels are needed.

    This is what :func:`ttame.train_explainer` does for photos, with the same loop and the same
    head. A mask over the words mixes the embedding of each with that of a token without meaning; it
    keeps, or removes, a random share of the words, and what the classifier makes of the rest is the
    loss.

    Args:
        classifier: stays as it is.
        texts: a file of JSON lines with ``tokens``, plain or gzipped, or a list of texts.
        folder: gets the explainer; see :func:`ttame.train_explainer`.
        settings: ``ttame.training_settings("few-shot-text", ...)``.
        words: how many words of a text are seen at a time, beginning at a random one; 0 for as many
            as the network takes. Fewer are faster.
        resume: continue from the checkpoint in ``folder``, if there is one.
        overwrite: train from scratch even if ``folder`` is not empty.
        watch: called after every optimiser step.
        progress: whether to show a line that says how far it is.

    Raises:
        DatasetError: no such file, or no texts.
        TtameError: as :func:`ttame.train_explainer`.

    Example:
        >>> import tempfile
        >>> from ttame.testing import tiny_text_classifier
        >>> classifier = tiny_text_classifier()
        >>> texts = ["a fine film", "a dull plot", "the actors love it", "never a good scene"] * 3
        >>> settings = training_settings("few-shot-text", epochs=1, batch_size=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     explainer = train(classifier, texts, folder + "/explainer", settings)
        >>> explainer("not a bad film", classes="all").maps.shape
        torch.Size([1, 2, 6])
    """
    trained: Any = train_explainer(
        classifier,
        TrainingTexts(texts, words),
        folder,
        settings,
        resume=resume,
        overwrite=overwrite,
        watch=watch,
        progress=progress,
    )
    explainer: AttentionExplainer[TextClassifier] = trained
    return explainer
