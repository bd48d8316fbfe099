"""How the maps of a method come out of one forward pass, in two steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ttame.classifiers.class_contrast import against_rivals
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.classifiers.linear_end import LinearEnd
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.request import Request
from ttame.explainers.known_explainers import methods_for
from ttame.explainers.methods.activation.cam import Cam
from ttame.explainers.methods.activation.class_evidence import ClassEvidence
from ttame.explainers.methods.activation.recipro_cam import ReciproCam
from ttame.explainers.methods.attention.attention_rollout import AttentionRollout
from ttame.explainers.methods.attention.class_embedding import ClassEmbedding
from ttame.explainers.methods.attention.raw_attention import RawAttention
from ttame.explainers.methods.perturbation.vit_recipro_cam import ViTReciproCam
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.attention_head import mix_channels
from ttame.explainers.trained.shared_head import SharedHead
from ttame.exporting.one_pass_maps import MapSource, Read
from ttame.exporting.shared_head_maps import SharedHeadMaps
from ttame.images.map_details import with_details
from ttame.networks.layer_outputs import hooks_at_rest, uncompiled


class HeadMaps(MapSource):
    """Those of a trained head, which is copied."""

    def __init__(self, explainer: AttentionExplainer) -> None:
        super().__init__(explainer.classifier)
        self.head = copy.deepcopy(explainer.head).eval().requires_grad_(False)
        self.others = tuple(self.head.shapes_of_others)

    def read(self, classifier: Classifier, images: Tensor) -> Read:
        """Read what the head does."""
        reading = classifier.read_features(images)
        features, others = self.head.inputs_of(classifier, reading)
        return Read(reading.logits, (*features, *(others[name] for name in self.others)))

    def forward(self, tensors: Sequence[Tensor], classes: Tensor | None) -> Tensor:
        """Run the head."""
        taps = len(self.head.channels)
        others = dict(zip(self.others, tensors[taps:], strict=True))
        return self.head.explained(self.head(list(tensors[:taps]), classes, **others))


class EvidenceMaps(MapSource):
    """The last linear layer on every place: CAM, and class evidence with fewer details."""

    def __init__(
        self, classifier: Classifier, end: LinearEnd, details: float, *, contrast: bool = False
    ) -> None:
        super().__init__(classifier)
        self.contrast = contrast
        self.end = end
        self.details = details
        self.size = classifier.preprocessing.input_size

    def read(self, classifier: Classifier, images: Tensor) -> Read:
        """Read the features, and the rows of the layer."""
        reading = classifier.read_features(images)
        rows = self.end.weights(classifier).float()
        # A copy: the scores are put out as well.
        logits = (reading.logits.float().clone(),) if self.contrast else ()
        return Read(reading.logits, (reading.feature_maps[0].float(), rows, *logits))

    def forward(self, tensors: Sequence[Tensor], classes: Tensor | None) -> Tensor:
        """Weigh the channels."""
        features, rows, *logits = tensors
        maps = mix_channels(features, rows if classes is None else rows[classes])
        if logits:
            maps = against_rivals(
                maps, lambda mixed: mix_channels(features, mixed), rows, logits[0], classes
            )
        once = with_details(maps, self.details, self.size)
        return with_details(once, self.details, self.size)


class SharedMaps(MapSource):
    """Those of a method whose map is the same for all classes, in its own words."""

    def __init__(self, explainer: Explainer) -> None:
        super().__init__(explainer.classifier)
        self.explain = explainer._raw_maps

    def read(self, classifier: Classifier, images: Tensor) -> Read:
        """Read the map of each image."""

        def most_probable(scores: Tensor) -> ExplainedClasses:
            return ExplainedClasses(scores.argmax(dim=1, keepdim=True))

        scores, _, maps = self.explain(images, Request(most_probable))
        return Read(scores, (maps.float(),))

    def forward(self, tensors: Sequence[Tensor], classes: Tensor | None) -> Tensor:
        """Repeat it for the classes."""
        count = self.classes if classes is None else classes.shape[1]
        return tensors[0].expand(-1, count, -1, -1)


class AllClassMaps(MapSource):
    """Those of a method that finds all classes in one pass and a short way behind it."""

    def __init__(self, explainer: Explainer) -> None:
        super().__init__(explainer.classifier)
        self.explain = explainer._raw_maps

    def read(self, classifier: Classifier, images: Tensor) -> Read:
        """Read the maps of all classes."""
        count = self.classes

        def every_class(scores: Tensor) -> ExplainedClasses:
            classes = torch.arange(count, device=scores.device)
            return ExplainedClasses(classes.expand(scores.shape[0], count))

        scores, _, maps = self.explain(images, Request(every_class, _NO_LIMIT))
        return Read(scores, (maps.float(),))

    def forward(self, tensors: Sequence[Tensor], classes: Tensor | None) -> Tensor:
        """Choose those of the classes."""
        (maps,) = tensors
        if classes is None:
            return maps
        return maps.gather(1, classes[:, :, None, None].expand(-1, -1, *maps.shape[2:]))


_NO_LIMIT = 2**60
"""Bytes; with a limit, a method may divide its work in a way that depends on the machine."""


def with_own_network(explainer: Explainer) -> Explainer:
    """The same explainer on a copy of its network, frozen for good."""
    with hooks_at_rest():
        network = copy.deepcopy(uncompiled(explainer.classifier.network))
    classifier = explainer.classifier._with(network=network.requires_grad_(False).eval())
    if isinstance(explainer, ReciproCam):
        return explainer.for_classifier(classifier)  # it keeps parts of the classifier
    own = copy.copy(explainer)
    vars(own).update(classifier=classifier)
    return own


WITHOUT_TRAINING = (
    "cam",
    "class_evidence",
    "raw_attention",
    "attention_rollout",
    "class_embedding",
    "recipro_cam",
    "vit_recipro_cam",
)
"""Methods besides trained heads that can be exported."""

FOLDED: dict[type[nn.Module], Callable[[AttentionExplainer], MapSource]] = {
    SharedHead: SharedHeadMaps
}
"""Heads that do less work in a file than in Python, for the same maps, and what does it."""


def map_source(explainer: Explainer) -> MapSource:
    """How the maps of an explainer come out of one pass.

    Raises:
        ExplainerError: they need gradients or many passes; it names those methods for this network
            that can be exported.
    """
    if isinstance(explainer, AttentionExplainer):
        if explainer.features_from is not None:
            raise ExplainerError(
                f"exporting a head that reads the features of {explainer.features_from.name}: a "
                "file holds one network",
                allowed="heads that read the explained network itself",
            )
        return FOLDED.get(type(explainer.head), HeadMaps)(explainer)
    if isinstance(explainer, Cam | ClassEvidence) and isinstance(explainer.end, LinearEnd):
        options = explainer.options
        details, contrast = options.get("details", 1), options.get("contrast", False)
        return EvidenceMaps(explainer.classifier, explainer.end, details, contrast=contrast)
    if isinstance(explainer, RawAttention | AttentionRollout):
        return SharedMaps(explainer)
    if isinstance(explainer, ClassEmbedding | ReciproCam):
        return AllClassMaps(explainer)
    if isinstance(explainer, ViTReciproCam) and explainer.short:
        return AllClassMaps(explainer)
    able = [name for name in exportable_methods(explainer.classifier) if name != explainer.method]
    taken = explainer.card.cost
    if isinstance(explainer, Cam | ClassEvidence):
        taken = f"gradients, since the logits of {explainer.classifier.name} are not linear"
    raise ExplainerError(
        f"{explainer.method} cannot be exported: its maps take {taken}",
        allowed=f"for {explainer.classifier.name}: {', '.join([*able, 'or a trained explainer'])}",
    )


def exportable_methods(classifier: Classifier) -> list[str]:
    """Those methods without training that are defined for a classifier and can be exported.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> exportable_methods(tiny_classifier())
        ['cam', 'class_evidence', 'recipro_cam']
    """
    found = methods_for(classifier, WITHOUT_TRAINING)[0]
    return [
        name
        for name, explainer in found.items()
        if not isinstance(explainer, Cam | ClassEvidence) or isinstance(explainer.end, LinearEnd)
    ]
