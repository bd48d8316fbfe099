"""Texts to train on: a file of JSON lines, or a list."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from ttame.classifiers.any_classifier import Explainable
from ttame.datasets.held_out_split import split_held_out
from ttame.datasets.texts.annotated_texts import AnnotatedTexts
from ttame.errors import DatasetError, TextError
from ttame.text_classifiers.given_texts import given_texts
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.training.texts.prepared_texts import FEWEST_WORDS, PreparedTexts
from ttame.training.train_command import python_call, train_command
from ttame.training.training_material import OwnMaterial, TrainingMaterial
from ttame.training.training_settings import TrainingSettings

TEXT_PRESET = "few-shot-text"


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingTexts(OwnMaterial):
    """Texts of which an explainer learns; labels and rationales in the file are not read.

    Args:
        source: a file of JSON lines with ``tokens``, plain or gzipped, or texts.
        words: how many words of a text are seen at a time, from a random one on; 0 for as many as
            the network takes.

    Raises:
        DatasetError: no such file, or fewer than two texts of at least two words.

    Example:
        >>> TrainingTexts(["a fine film", "a dull plot"]).texts
        ('a fine film', 'a dull plot')
    """

    source: str | Path | Sequence[str]
    words: int = 0
    texts: tuple[str, ...] = dataclasses.field(init=False, repr=False)

    kind = "texts"

    def __post_init__(self) -> None:
        if self.words < 0 or self.words == 1:
            raise DatasetError(f"words {self.words}", allowed="0 for all, or at least 2")
        object.__setattr__(self, "texts", tuple(t for t in self._all() if _can_be_learned_from(t)))
        if len(self.texts) < 2:
            raise DatasetError(
                f"{len(self.texts)} text{'s' * (len(self.texts) != 1)} to train on",
                allowed=f"at least two of {FEWEST_WORDS} words or more",
            )

    def _all(self) -> Sequence[str]:
        if isinstance(self.source, str | Path):
            read = AnnotatedTexts(self.source)
            return [read[index].text for index in range(len(read))]
        texts = list(self.source) if isinstance(self.source, Iterable) else [self.source]
        if not all(isinstance(text, str) for text in texts):
            raise DatasetError(
                "texts to train on that are not text", allowed="a file, or a list of str"
            )
        return texts

    def material(
        self, classifier: Explainable, settings: TrainingSettings, folder: str
    ) -> TrainingMaterial:
        """Hold some of the texts out."""
        assert isinstance(classifier, TextClassifier)
        data, seed = settings.data, settings.run.seed
        share = min(data.held_out_share, data.held_out_at_most / len(self.texts))
        training, held_out = split_held_out(len(self.texts), share, seed)
        parts = [
            PreparedTexts(self.texts, classifier, indices, words=self.words, seed=seed)
            for indices in (training, held_out)
        ]
        return TrainingMaterial(
            training=parts[0],
            held_out=parts[1] if held_out else None,
            fingerprint=self.fingerprint(),
            skipped={},
            names=(self._name,),
            command=self._command(classifier, settings, folder),
        )

    def fingerprint(self) -> str:
        """A short hash of the texts and of how much of them is seen."""
        digest = hashlib.blake2b(str(self.words).encode(), digest_size=8)
        for text in self.texts:
            digest.update(text.encode(errors="surrogatepass") + b"\0")
        return digest.hexdigest()

    @property
    def _name(self) -> str:
        is_place = isinstance(self.source, str | Path)
        return str(self.source) if is_place else f"{len(self.texts)} texts"

    def _command(self, classifier: TextClassifier, settings: TrainingSettings, folder: str) -> str:
        recipe = classifier.recipe
        if recipe is None or not isinstance(self.source, str | Path):
            return python_call(settings).replace(
                "ttame.train_explainer(classifier, data,", "ttame.text.train(classifier, texts,"
            )
        typed = shlex.split(train_command(settings, ["--model", recipe.name], [], folder))
        words = ["--words", str(self.words)] if self.words else []
        return shlex.join([*typed, "--text-data", str(self.source), *words])


def _can_be_learned_from(text: str) -> bool:
    try:
        given_texts(text)
    except TextError:
        return False
    # Of zero-width characters and the like, a tokenizer makes no token.
    return sum(any(map(str.isalnum, word)) for word in text.split()) >= FEWEST_WORDS
