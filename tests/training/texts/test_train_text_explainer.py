"""A trained explainer of texts finds the words that decide, and is one of the family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import TensorDataset
from transformers import PreTrainedTokenizerFast

from tests.conftest import assert_close
from tests.training.texts import trained_once
from tests.training.texts.trained_once import GOOD
from ttame.classifiers.feature_reading import FeatureReading
from ttame.classifiers.linear_end import class_weights
from ttame.datasets.held_out_split import split_held_out
from ttame.errors import OtherClassifierError, ResumeError, TrainingError
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.shared_head_inputs import find_inputs
from ttame.testing import tiny_classifier, tiny_text_classifier
from ttame.testing.tiny_texts import tiny_text_model, tiny_tokenizer
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.text_classifiers.token_signal import CARRIED, with_embedding
from ttame.training.texts.train_text_explainer import train
from ttame.training.train_explainer import train_explainer
from ttame.training.training_settings import training_settings

SHORT = training_settings("few-shot-text", epochs=2, batch_size=4, checkpoint_every=1)
TEXTS = ["a fine film and a good plot", "the dull plot", "it was lovely", "never a good scene"] * 3


def test_it_finds_the_words_that_decide() -> None:
    """A chance hit would be two of twenty."""
    texts, labels = trained_once.sentences(60, seed=2)
    good = [text for text, label in zip(texts, labels.tolist(), strict=True) if label == 1]
    explained = trained_once.explainer()(good)
    assert float((explained.classes == 1).float().mean()) > 0.9
    most = [
        tokenised.tokens[int(shown(scores, tokenised.special).argmax())]
        for tokenised, scores in zip(explained.texts, explained.maps[:, 0], strict=True)
    ]
    assert sum(word in GOOD for word in most) >= 15, most


def test_its_first_word_matters_more_than_another() -> None:
    """Masked in place of a word of lowest score, on texts of all classes."""
    explainer = trained_once.explainer()
    classifier = explainer.classifier
    texts, _ = trained_once.sentences(60, seed=3)
    explained = explainer(texts)
    images, classes = classifier.prepare(texts), explained.classes
    before = classifier.probabilities(images).gather(1, classes)
    drops = []
    for pick in (1, -1):
        hidden = torch.zeros(images.shape[0], images.shape[-1], dtype=torch.bool)
        for row, tokenised in enumerate(explained.texts):
            scores = pick * explained.maps[row, 0]
            hidden[row, int(shown(scores, tokenised.special).argmax())] = True
        masked = with_embedding(images, hidden, classifier.token_vector("mask")[:-CARRIED])
        drops.append(float((before - classifier.probabilities(masked).gather(1, classes)).mean()))
    assert drops[0] > 0.15 and drops[0] > 3 * drops[1], drops


def shown(scores: torch.Tensor, special: Sequence[bool]) -> torch.Tensor:
    """The scores, with none for special tokens."""
    return scores.masked_fill(torch.tensor(special), -torch.inf)


def test_a_padded_batch_equals_single_texts() -> None:
    explainer = trained_once.explainer()
    short, long = "a fine film", "it was a very boring story and the music was poor"
    alone = explainer(short, classes="all").maps
    together = explainer([short, long], classes="all").maps
    # The last token is [SEP], whose neighbour is padding or nothing; it is not shown.
    assert torch.allclose(together[:1, :, 1:4], alone[:, :, 1:4], atol=1e-6)


def test_a_padded_batch_equals_single_texts_of_a_tokenizer_without_special_tokens() -> None:
    """The last word has padding next to it, or nothing."""
    words = Tokenizer(models.WordLevel(tiny_tokenizer().get_vocab(), unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
    )
    classifier = TextClassifier(tiny_text_model(), tokenizer)
    head = training_settings("few-shot-text").head
    explainer = new_attention_explainer(classifier, head, method="few_shot")
    with torch.no_grad():
        for weight in explainer.head.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    alone = explainer("a fine film", classes="all").maps
    together = explainer(["a fine film", "it was a good film"], classes="all").maps
    assert torch.allclose(together[:1, :, :3], alone, atol=1e-5)


def test_the_mask_reaches_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Special tokens, padding and what is carried along stay, whatever the mask says."""
    classifier = tiny_text_classifier()
    seen: list[torch.Tensor] = []
    logits = type(classifier).logits

    def noting(self: object, images: torch.Tensor, **more: object) -> torch.Tensor:
        seen.append(images.detach().clone())
        return logits(self, images, **more)  # type: ignore[arg-type]

    from ttame.training.masked_pass import masked_logits
    from ttame.training.objective import MaskedTokens

    monkeypatch.setattr(type(classifier), "logits", noting)
    images = classifier.prepare(["a fine film", "dull"])
    masks = torch.zeros(2, 1, 1, 5)
    masked_logits(classifier, images, masks, MaskedTokens(), torch.Generator())
    ground = classifier.token_vector("mask")
    assert torch.equal(seen[0][0, :-3, 0, 1:4], ground[:-3, None].expand(-1, 3))
    assert torch.equal(seen[0][1, :-3, 0, 1], ground[:-3])
    for row, kept in ((0, [0, 4]), (1, [0, 2, 3, 4])):
        assert torch.equal(seen[0][row, :, 0, kept], images[row, :, 0, kept])
    assert torch.equal(seen[0][:, -3:], images[:, -3:])


def test_a_saved_explainer_is_the_same_and_is_found_by_name(tmp_path: Path) -> None:
    explainer = trained_once.explainer()
    made = EXPLAINERS["few_shot"](explainer.classifier, folder=trained_once.folder())
    text = "it was a lovely story"
    assert torch.equal(made(text).maps, explainer(text).maps)
    card = (trained_once.folder() / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card and "ttame.text.train(" in card
    other = tiny_text_classifier()
    with pytest.raises(OtherClassifierError, match="with weights"):
        load_explainer(trained_once.folder(), other)
    with pytest.raises(OtherClassifierError, match="a classifier of texts"):
        load_explainer(trained_once.folder(), tiny_classifier())
    with pytest.raises(OtherClassifierError, match="a classifier of images"):
        load_explainer("efficientnet_lite0", other)


def test_photos_and_texts_are_not_mixed_up(tmp_path: Path) -> None:
    photos = TensorDataset(torch.zeros(4, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(TrainingError, match=r"images to train .*ttame\.text\.train"):
        train_explainer(tiny_text_classifier(), photos, tmp_path / "a", SHORT)
    with pytest.raises(TrainingError, match="texts to train .*a classifier of images"):
        train(tiny_classifier(), TEXTS, tmp_path / "b", SHORT)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="few-shot-text"):
        train(tiny_text_classifier(), TEXTS, tmp_path / "c", training_settings("t-tame"))
    with pytest.raises(TrainingError, match="masks tokens"):
        train_explainer(tiny_classifier(), photos, tmp_path / "d", SHORT)
    assert not [*tmp_path.iterdir()]


def test_training_counts_evidence_as_explaining_does(tmp_path: Path) -> None:
    """Batch norm's statistics are those of the evidence of words, of texts of any length.

    The same batch in each of n steps leaves ``0.9^n · start + (1 − 0.9^n) · statistic``.
    """
    classifier = tiny_text_classifier()
    texts = ["a fine film", "the dull plot was never a good one", "it was lovely", "so dull"] * 2
    training, held_out = split_held_out(len(texts), 0.1, seed=0)
    settings = training_settings("few-shot-text", epochs=3, batch_size=len(training), runner_up=0.0)
    assert held_out
    head = train(classifier, texts, tmp_path / "explainer", settings, progress=False).head
    sharp, broad = [], []
    for index in training:
        seen = head_reading(classifier, texts[index])
        rows = class_weights(classifier, "model.classifier")
        words = seen.feature_maps[-1][0, :, 0, 1:-1]
        evidence = rows[int(seen.logits.argmax())] @ words * words.shape[1]
        sharp.append(evidence)
        gauss = torch.exp(-(torch.arange(-99, 100).float() ** 2) / 2)
        spread = torch.stack([gauss[99 - t : 99 - t + len(evidence)] for t in range(len(evidence))])
        # Above and below the line there is nothing, which the blur counts in.
        broad.append(spread @ evidence / gauss.sum() / gauss[98:101].sum())
    values = torch.stack([torch.cat(sharp), torch.cat(broad)])
    kept = 0.9**3
    assert_close(head.prior_norm.running_mean, (1 - kept) * values.mean(dim=1), 1e-4)
    assert_close(head.prior_norm.running_var, kept + (1 - kept) * values.var(dim=1), 1e-4)


def head_reading(classifier: TextClassifier, text: str) -> FeatureReading:
    """With the prior's tap behind the others."""
    seen, _ = find_inputs(classifier, prior=True)
    return seen.read_features(classifier.prepare([text]))


def test_settings_that_texts_have_no_use_for_are_refused(tmp_path: Path) -> None:
    settings = training_settings("few-shot-text", maps="min-max")
    with pytest.raises(TrainingError, match="maps min-max of texts; .* try: maps='standard'"):
        train(tiny_text_classifier(), TEXTS, tmp_path / "explainer", settings, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_training_goes_on_to_the_same_head(tmp_path: Path) -> None:
    classifier = tiny_text_classifier()

    def stop(state: object) -> None:
        if getattr(state, "step", 0) == 3:
            raise KeyboardInterrupt

    whole = train(classifier, TEXTS, tmp_path / "whole", SHORT, words=3, progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(classifier, TEXTS, tmp_path / "again", SHORT, words=3, watch=stop)
    with pytest.raises(ResumeError, match="other images"):
        train(classifier, TEXTS, tmp_path / "again", SHORT, words=4, resume=True)
    again = train(
        classifier, TEXTS, tmp_path / "again", SHORT, words=3, resume=True, progress=False
    )
    state = whole.head.state_dict()
    assert all(torch.equal(state[name], value) for name, value in again.head.state_dict().items())
