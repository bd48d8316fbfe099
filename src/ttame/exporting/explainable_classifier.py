"""The prediction and its maps as one module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor, nn

from ttame.errors import ClassSelectionError, ExplainerError, ImageError, either
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.given_explainer import not_an_explainer
from ttame.exporting.map_sources import AllClassMaps, map_source, with_own_network
from ttame.exporting.photo_fitting import check_photo_fitting, fitted, laid_on
from ttame.exporting.recorded_pass import recorded_pass
from ttame.networks.giving_back import gives_everything_back

Takes = Literal["pixels", "images", "photos"]


class ExplainedPrediction(NamedTuple):
    """What an :class:`ExplainableClassifier` says of a batch.

    Attributes:
        logits: (B, C) float32, the scores of all classes.
        probabilities: (B, C) float32 in [0, 1].
        classes: (B, K) int64, the explained classes.
        maps: (B, K, h, w) float32, as the method computes them; higher means more evidence. Of
            photos (B, K, height, width), in the photo's frame, and 0 where the network did not
            look.
    """

    logits: Tensor
    probabilities: Tensor
    classes: Tensor
    maps: Tensor


class ExplainableClassifier(nn.Module):
    """A classifier that says why: one module from images to prediction and maps.

    Network and method become plain operations when it is made. At run time there are no hooks, so
    that it works wherever a module does: under ``torch.compile`` and ``torch.export``, in threads
    and in the workers of a ``DataLoader``. It is a copy: the explainer and its network stay as they
    are, and later changes of them do not reach it. It is always in eval mode, and its parameters
    are frozen.

    ``half()`` and ``to(torch.bfloat16)`` change the network; what is made of its features, and all
    results, stay float32. ``to()`` records the network again, which takes seconds.

    Args:
        explainer: a trained explainer, or one of ``cam``, ``class_evidence``, ``raw_attention`` and
            ``attention_rollout``; or, with a ``batch_size``, of ``class_embedding``,
            ``recipro_cam`` and ``vit_recipro_cam`` (the short way).
        top_k: how many of the most probable classes are explained; ``"all"`` for all, in order. If
            not given, three, or two of a network with two.
        takes: ``"images"``, (B, 3, H, W) float and normalised, as ``classifier.prepare`` makes
            them; ``"pixels"``, (B, H, W, 3) uint8, normalised inside, where H × W is the input
            size of the classifier's preprocessing; or ``"photos"``, (B, height, width, 3) uint8 of
            any size, upright, resized and cropped inside. Their maps lie on the photos.
        batch_size: images in each batch; any number if not given.

    Raises:
        ExplainerError: the method needs gradients or many passes, or ``top_k`` does not fit.
        ClassifierError: the network's code cannot be recorded.

    Example:
        >>> import ttame
        >>> from ttame.testing import tiny_classifier
        >>> cam = ttame.make_explainer("cam", tiny_classifier())
        >>> module = ttame.ExplainableClassifier(cam, top_k=2)
        >>> prediction = module(torch.zeros(3, 3, 16, 16))
        >>> prediction.classes.shape, prediction.maps.shape
        (torch.Size([3, 2]), torch.Size([3, 2, 4, 4]))
        >>> module(torch.zeros(3, 3, 16, 16), torch.tensor([[4], [0], [4]])).maps.shape
        torch.Size([3, 1, 4, 4])
        >>> of_photos = ttame.ExplainableClassifier(cam, top_k=2, takes="photos")
        >>> of_photos(torch.zeros(1, 30, 40, 3, dtype=torch.uint8)).maps.shape
        torch.Size([1, 2, 30, 40])
    """

    scale: Tensor
    offset: Tensor

    @gives_everything_back
    def __init__(
        self,
        explainer: Explainer,
        top_k: int | Literal["all"] | None = None,
        *,
        takes: Takes = "images",
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        _check(explainer, top_k, takes, batch_size)
        count = explainer.classifier.number_of_classes
        if takes == "photos":
            check_photo_fitting(explainer.classifier.preprocessing)
        own = with_own_network(explainer)
        self.classifier = own.classifier
        self.method = explainer.method
        self.provenance = explainer.provenance()
        self.top_k = min(3, count) if top_k is None else top_k
        self.takes = takes
        self.batch_size = batch_size
        self.maps = map_source(own)
        if batch_size is None and isinstance(self.maps, AllClassMaps):
            raise ExplainerError(
                f"{explainer.method} for any number of images in one graph",
                allowed="a fixed number of images",
                remedy=either("batch_size=1", "the same without --dynamic-batch"),
            )
        self.recorded = recorded_pass(own.classifier, self.maps, batch_size)
        preprocessing, device = own.classifier.preprocessing, own.classifier.device
        mean, std = (
            torch.tensor(values, dtype=torch.float64).reshape(3, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        # (pixels / 255 - mean) / std in two operations.
        for name, values in (("scale", 1 / (255 * std)), ("offset", mean / std)):
            self.register_buffer(name, values.float().to(device), persistent=False)
        self.eval()

    def forward(self, images: Tensor, classes: Tensor | None = None) -> ExplainedPrediction:
        """Classify and explain a batch.

        Args:
            images: as ``takes`` says.
            classes: (B, K) int64, classes to explain instead of the most probable ones. A negative
                number asks for a place: -1 for the most probable class, -2 for the next one.

        Raises:
            ImageError: images of another shape or dtype.
            ClassSelectionError: classes of another shape or dtype.
        """
        scores, *tensors = self.recorded(self._normalised(images))
        probabilities = self.classifier.outputs.probabilities(scores)
        if classes is not None:
            chosen = _with_places(scores, _checked(classes))
            maps = self.maps(tensors, chosen)
        elif self.top_k == "all":
            count = scores.shape[1]
            chosen = torch.arange(count, device=scores.device).expand(scores.shape[0], count)
            maps = self.maps(tensors, None)
        else:
            chosen = scores.topk(self.top_k, dim=1).indices
            maps = self.maps(tensors, chosen)
        if self.takes == "photos":
            maps = laid_on(maps, images, self.classifier.preprocessing.crop)
        return ExplainedPrediction(scores.float(), probabilities, chosen, maps)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: the recorded operations have no other."""
        del mode
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast; the network is recorded again, since operations name dtypes and devices."""
        before = (self.classifier.device, self.classifier.dtype)

        def moving(tensor: Tensor) -> Tensor:
            return tensor.to(fn(tensor).device)

        # Parameters are shared by both, buffers are not.
        for part, change in (
            (self.recorded, fn),
            (self.classifier.network, fn),
            (self.maps, moving),
        ):
            part._apply(change)  # type: ignore[no-untyped-call]
        self.scale, self.offset = moving(self.scale), moving(self.offset)
        if before != (self.classifier.device, self.classifier.dtype):
            self.recorded = recorded_pass(self.classifier, self.maps, self.batch_size)
        return self

    def _normalised(self, images: Tensor) -> Tensor:
        self._refuse_shapes(images)
        if self.batch_size not in (None, images.shape[0]):
            raise ImageError(
                f"{images.shape[0]} images",
                allowed=f"{self.batch_size} in each batch",
                remedy=either("batch_size=None", "--dynamic-batch"),
            )
        if self.takes != "images":
            if images.dtype != torch.uint8:
                raise ImageError(f"{images.dtype} {self.takes}", allowed="uint8, from 0 to 255")
            pixels = images.permute(0, 3, 1, 2).float()
            if self.takes == "photos":
                pixels = fitted(images, self.classifier.preprocessing)
            return pixels * self.scale - self.offset
        if not images.is_floating_point():
            raise ImageError(f"{images.dtype} images", allowed="float, normalised")
        return images.float()

    def _refuse_shapes(self, images: Tensor) -> None:
        height, width = self.classifier.preprocessing.input_size
        shapes = {"pixels": (height, width, 3), "images": (3, height, width)}
        if self.takes == "photos":
            fits, allowed = images.ndim == 4 and images.shape[3] == 3, "height, width, 3"
        else:
            shape = shapes[self.takes]
            fits = images.ndim == 4 and images.shape[1:] == shape
            allowed = ", ".join(map(str, shape))
        if not fits or 0 in images.shape[1:3]:
            raise ImageError(
                f"{self.takes} of shape {tuple(images.shape)}",
                allowed=f"(B, {allowed})",
                remedy="classifier.prepare(photos)" if self.takes == "images" else "",
            )


def _check(
    explainer: object, top_k: int | Literal["all"] | None, takes: str, batch_size: int | None
) -> None:
    if not isinstance(explainer, Explainer):
        raise not_an_explainer(explainer, "what ttame.load_explainer or ttame.make_explainer gives")
    if explainer.classifier.kind != "images":
        raise ExplainerError(
            f"{explainer.classifier.name}, a classifier of {explainer.classifier.kind}",
            allowed="classifiers of images, to be exported",
        )
    channels = explainer.classifier.trace.channels
    if channels != 3:
        raise ExplainerError(f"a network of {channels} channels", allowed="3, to be exported")
    count = explainer.classifier.number_of_classes
    if top_k not in ("all", None) and (type(top_k) is not int or not 1 <= top_k <= count):
        raise ExplainerError(f"top_k={top_k!r}", allowed=f'1 to {count}, or "all"')
    if takes not in get_args(Takes):
        raise ExplainerError(f"takes={takes!r}", allowed='"pixels", "images" or "photos"')
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        raise ExplainerError(f"batch_size={batch_size!r}", allowed="None, or at least 1")


def _checked(classes: Tensor) -> Tensor:
    if classes.ndim != 2 or classes.dtype != torch.int64:
        raise ClassSelectionError(
            f"{classes.dtype} classes of shape {tuple(classes.shape)}", allowed="(B, K) int64"
        )
    return classes


def _with_places(scores: Tensor, classes: Tensor) -> Tensor:
    """Classes, where -n stands for the n-th most probable one."""
    ranked = scores.argsort(dim=1, descending=True)
    places = (-1 - classes).clamp(0, scores.shape[1] - 1)
    return torch.where(classes < 0, ranked.gather(1, places), classes)
