"""A frozen text classifier with everything that explaining it needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import AnyClassifier, Batch, FoundMaps
from ttame.classifiers.classifier_checks import checked_names
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.output_checks import check_outputs, said_outputs
from ttame.errors import TextError, UnknownNameError
from ttame.features.layer_layouts import describe_layer, token_blocks
from ttame.features.tap_choice import TapChoice
from ttame.memory_limit import SMALLER_NETWORK, naming_the_setting
from ttame.networks.frozen_network import frozen
from ttame.networks.given_module import refuse_other_than_module
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_trace import trace_network
from ttame.notebook import cards
from ttame.outputs import Outputs
from ttame.results.text_explanation import TextExplanation
from ttame.text_classifiers.embedding_checks import probes_of, refuse_another_way_in
from ttame.text_classifiers.given_texts import Texts, given_texts
from ttame.text_classifiers.model_facts import (
    configured_names,
    configured_outputs,
    model_name,
    most_tokens,
    refuse_other_tasks,
    single_number_notices,
    tokenizer_notices,
)
from ttame.text_classifiers.token_network import TokenNetwork
from ttame.text_classifiers.token_signal import (
    CARRIED,
    is_real,
    is_shown,
    token_signal,
    with_embedding,
    words_of,
)
from ttame.text_classifiers.tokenising import (
    TokenBatch,
    Tokenising,
    TooLong,
    refuse_other_tokenizer,
)

Ground = Literal["mask", "padding", "zero"]
"""What stands for a word that is not there: an embedding of the network's, or zeros."""

_TOKENS_OF_DRY_RUN = 48


class TextClassifier(AnyClassifier[Texts, TextExplanation]):
    """A network that classifies texts, in eval mode, with its tokenizer and its class names.

    The model is borrowed, never changed: while a method of this class runs, it is in eval mode
    with its parameters frozen, and afterwards modes, flags and hooks are as they were.

    Args:
        model: a sequence classifier of transformers, such as ``BertForSequenceClassification``.
        tokenizer: the fast tokenizer that belongs to it.
        class_names: C names; those in the model's configuration if not given.
        outputs: what the model's outputs mean, as for :class:`ttame.Classifier`; what the
            configuration says (``problem_type``) if not given, else softmax, or for a single
            number ``"binary"``.
        too_long: what to do with a text that has more tokens than the model takes: ``"refuse"`` it,
            or ``"truncate"`` its end; an explanation says which texts were cut.
        name: how messages and results call it.
        recipe: how :func:`ttame.text.load` made it.

    Raises:
        ClassifierError: the model does not classify whole texts, its outputs cannot mean what
            ``outputs`` says, the names do not fit, or the tokenizer belongs to another model.
        UnknownNameError: no such kind of outputs, or of ``too_long``.

    Example:
        >>> from ttame.testing import tiny_text_classifier
        >>> classifier = tiny_text_classifier()
        >>> classifier
        <TextClassifier tiny BERT: 2 classes, up to 32 tokens>
        >>> classifier.class_names
        ('negative', 'positive')
        >>> classifier.probabilities(classifier.prepare(["a fine film", "dull"])).shape
        torch.Size([2, 2])
    """

    kind = "texts"
    is_plane = False
    is_embedded = True

    @gives_everything_back
    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        class_names: Sequence[str] | None = None,
        outputs: Outputs | str | None = None,
        too_long: TooLong = "refuse",
        name: str | None = None,
        recipe: ClassifierRecipe | None = None,
    ) -> None:
        refuse_other_than_module(model)
        model = uncompiled(model)
        self.name = name or model_name(model)
        self.recipe = recipe
        refuse_other_tasks(model, self.name)
        self.network = TokenNetwork(model)
        self.tokenising = Tokenising(tokenizer, most_tokens(model, tokenizer), too_long)
        refuse_other_tokenizer(tokenizer, self.name, self._token_network.vocabulary)
        with naming_the_setting(SMALLER_NETWORK):
            self._look_at(model, outputs, class_names)

    def _look_at(
        self, model: nn.Module, outputs: Outputs | str | None, names: Sequence[str] | None
    ) -> None:
        """Run the model once, and find out what its outputs mean and where its blocks are."""
        self._refuse_another_way_in()
        length = min(_TOKENS_OF_DRY_RUN, self.most_tokens)
        channels = self._token_network.width + CARRIED
        self.trace = trace_network(self.network, (1, length), channels)
        kind, why = configured_outputs(model, self.trace.number_of_outputs)
        self.outputs, reason = said_outputs(outputs or kind)
        self.outputs_reason = why if outputs is None and why else reason
        self.memory_format = torch.contiguous_format
        found = check_outputs(self.network, self.trace, self.outputs, self.name)
        if outputs is None:
            found += single_number_notices(model, self.trace.number_of_outputs)
        names = configured_names(model) if names is None else names
        self.class_names = checked_names(names, self.number_of_classes, self.outputs)
        blocks = token_blocks(self.trace)
        self.examined = tuple(block.name for block in blocks.blocks) if blocks else ()
        self.tap_choice = self._block_inputs()
        found += tokenizer_notices(model, self.tokenizer)
        self.notices = (*found, *self.tap_choice.notices)

    def __repr__(self) -> str:
        count = self.number_of_classes
        return f"<TextClassifier {self.name}: {count} classes, up to {self.most_tokens} tokens>"

    def _repr_html_(self) -> str:
        """Its classes, tokenizer and taps as a card of HTML."""
        taps = "; ".join(str(tap) for tap in self.taps)
        tokenizer = f"{type(self.tokenizer).__name__}, {len(self.tokenizer)} tokens"
        longest = f"{self.most_tokens} tokens; longer ones: {self.tokenising.too_long}"
        facts = [
            ("classes", ", ".join(self.class_names[:8])),
            ("outputs", self.outputs.in_words),
            ("tokenizer", tokenizer),
            ("longest text", longest),
            ("read at", taps),
            ("note", "; ".join(self.notices)),
        ]
        about = f"{self.family}, {self.number_of_classes} classes, on {self.device}"
        return cards.card(f"TextClassifier {self.name}", cards.line(about), cards.facts(facts))

    @property
    def most_tokens(self) -> int:
        """The longest text, in tokens, special ones included."""
        return self.tokenising.most

    def inputs_as_json(self) -> dict[str, Any]:
        """The longest text; the word embeddings belong to the weights."""
        return {"most_tokens": self.most_tokens}

    def truncating(self) -> Self:
        """The same classifier, which cuts the end of texts that are too long."""
        return self._with(tokenising=dataclasses.replace(self.tokenising, too_long="truncate"))

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.tokenising.tokenizer

    def tokenise(self, texts: Texts) -> TokenBatch:
        """Cut texts into tokens, and pad them to the longest.

        Args:
            texts: one, a pair as a tuple, or a list of texts or of pairs.

        Raises:
            TextError: something other than texts, an empty text, or one that is too long.
        """
        return self.tokenising.batch(given_texts(texts))

    def prepare(self, texts: Texts) -> Tensor:
        """Turn texts into a batch for the network.

        Returns:
            (B, C, 1, T) float32 on the classifier's device: word embeddings, and what methods carry
            along, see :mod:`ttame.text_classifiers.token_signal`.

        Raises:
            TextError: something other than texts, an empty text, or one that is too long.
        """
        return self.signal(self.tokenise(texts))

    @gives_everything_back
    def signal(self, tokens: TokenBatch) -> Tensor:
        """Tokens as (B, C, 1, T) float32, or float64 for a network of that dtype."""
        network = self._token_network
        with self.frozen():
            embedded = network.embedded(tokens.ids.to(self.device))
        wide = embedded if embedded.dtype == torch.float64 else embedded.float()
        return token_signal(wide, tokens.roles, tokens.types, tokens.words).to(self.device)

    def token_vector(self, name: Ground) -> Tensor:
        """(C,), the signal of a token that stands for nothing.

        Args:
            name: the ``"mask"`` token, ``"padding"``, which counts as padding, or ``"zero"``.

        Raises:
            TextError: the tokenizer has no such token.
        """
        embedding = self._embedding(name)
        carried = embedding.new_zeros(CARRIED)
        carried[0] = name == "padding"
        return torch.cat([embedding, carried])

    def taken(self, given: Texts) -> Batch:
        """Texts, as tokens and as a signal."""
        tokens = self.tokenise(given)
        return Batch(self.signal(tokens), (tokens,))

    def result(self, found: FoundMaps, batch: Batch) -> TextExplanation:
        """The scores of all tokens with the prediction and the texts."""
        (tokens,) = batch.remembered
        provenance = dict(found.provenance)
        if tokens.truncated:
            provenance["truncated"] = list(tokens.truncated)
        return TextExplanation(
            maps=found.maps[:, :, 0],
            classes=found.targets.classes,
            logits=found.scores.float(),
            texts=tokens.texts,
            class_names=self.class_names,
            method=found.method,
            provenance=provenance,
            probabilities=self.outputs.probabilities(found.scores),
            exclusive=self.outputs.exclusive,
            target_labels=found.targets.labels,
            signed=bool((found.maps < 0).any()),
        )

    def attributions(self, result: TextExplanation) -> Tensor:
        """Refused: Captum's call takes tensors, and nothing says which texts they are of.

        Raises:
            TextError: always.
        """
        raise TextError(
            "attribute() of texts", allowed="attribute() of images", remedy="explainer(texts).maps"
        )

    @property
    def grounds(self) -> tuple[Ground, ...]:
        """The embeddings of the mask token and of padding, if the tokenizer has them, and zero."""
        known: dict[Ground, Any] = {
            "mask": self.tokenizer.mask_token_id,
            "padding": self.tokenizer.pad_token_id,
            "zero": 0,
        }
        return tuple(name for name, token in known.items() if token is not None)

    def ground(self, images: Tensor, name: str) -> Tensor:
        """(B, C, 1, T): the same texts without their words; special tokens and padding stay."""
        if name not in self.grounds:
            raise UnknownNameError.of("ground of texts", name, self.grounds)
        return with_embedding(images, is_shown(images), self._embedding(name))

    def present(self, images: Tensor) -> Tensor | None:
        """(B, T) bool: all but padding."""
        return is_real(images)

    def groups(self, images: Tensor) -> Tensor | None:
        """(B, T) int64: words; those of a pair come behind those of the text."""
        return words_of(images) * is_shown(images)

    def refuse_others(self, images: object) -> None:
        """Raise unless they are a batch of signals.

        Raises:
            TextError: they are not.
        """
        allowed = f"(B, {self.trace.channels}, 1, T)"
        remedy = "classifier.prepare(texts), which gives such signals"
        if not isinstance(images, Tensor):
            raise TextError(f"a {type(images).__name__}", allowed=allowed, remedy=remedy)
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[1] != self.trace.channels or shape[2] != 1 or not shape[0]:
            raise TextError(f"a signal of shape {shape}", allowed=allowed, remedy=remedy)
        if not images.is_floating_point():
            raise TextError(f"a signal of {images.dtype}", allowed="float", remedy=remedy)

    @property
    def _token_network(self) -> TokenNetwork:
        network = uncompiled(self.network)
        assert isinstance(network, TokenNetwork)
        return network

    def _embedding(self, name: str) -> Tensor:
        """(D,) float32."""
        tokenizer = self.tokenizer
        number = {"mask": tokenizer.mask_token_id, "padding": tokenizer.pad_token_id}.get(name, 0)
        if number is None:
            raise TextError(
                f"{name} tokens of {self.name}, whose tokenizer has none",
                allowed=" or ".join(self.grounds),
            )
        with self.frozen():
            embedding = self._token_network.embedded(torch.tensor(number, device=self.device))
        return torch.zeros_like(embedding) if name == "zero" else embedding

    def _block_inputs(self) -> TapChoice:
        """What goes into each of the last blocks, for the patches' sake: see ``tap_choice``.

        Behind the last block only the class token may be read.
        """
        found = token_blocks(self.trace)
        blocks = found.blocks if found else ()
        described = [
            describe_layer(self._token_network, self.trace, block)
            for block in (blocks[-4:-1] or blocks)
        ]
        taps = tuple(tap for tap in described if tap is not None)
        reason = f"the outputs of {len(taps)} of {len(blocks)} blocks, before the last one"
        return TapChoice(taps, "text transformer", reason)

    def _refuse_another_way_in(self) -> None:
        """Refuse a model that needs token numbers, or that reads padding."""
        tokens = self.tokenising.batch(probes_of(self.tokenising))
        signal = self.signal(tokens).to(self.dtype)
        with frozen(self.network):
            refuse_another_way_in(self._token_network, self.name, tokens, signal)
