"""The randomisation check: an explanation must change when the network is destroyed."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError, NonFiniteMapError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET
from ttame.images.saliency_maps import has_evidence
from ttame.metrics.map_correlation import rank_correlation
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import hooks_at_rest, uncompiled
from ttame.results.evaluation import RandomisationScore

THRESHOLD = 0.5
"""A map of which so much survives shows the image or the method rather than the network: rank
correlation squared is then a quarter of the variance, well above what coarse maps have by chance
in a mean over images."""

STAGES = 6
_IMAGES_AT_ONCE = 8


@gives_everything_back
def randomisation_check(
    make_explainer: Callable[[Classifier], Explainer],
    classifier: Classifier,
    images: Tensor,
    classes: Tensor,
    *,
    threshold: float = THRESHOLD,
    seed: int = 0,
    memory_budget: str | int = DEFAULT_BUDGET,
) -> RandomisationScore:
    """Re-initialise the network from its output down and see whether the maps change.

    Cascading randomisation (Adebayo et al., arXiv 1810.03292): at every stage more layers are
    random, and the maps of the same classes are compared with the original ones by Spearman's
    rank correlation, averaged over images. An explainer that ignores its network keeps its maps
    and fails. A map that becomes constant, or not finite, has changed: similarity 0; one that was
    constant and stays so has not: 1.

    Args:
        make_explainer: the method for a classifier. For a trained head, one that keeps the head
            and gives it the other classifier: what is tested is whether its maps come from the
            network's features.
        classifier: its network is copied, never changed.
        images: (B, 3, H, W) float, normalised.
        classes: (B,) int64, the explained classes.
        threshold: the check is passed if the similarity after the last stage lies below it,
            whatever its sign.
        seed: the seed of the random weights.
        memory_budget: activations that a method with many passes may hold at a time.

    Returns:
        Similarities of all stages, and whether the check is passed.

    Example:
        >>> from ttame.explainers.methods.baseline.centre_gaussian import CentreGaussian
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> score = randomisation_check(
        ...     CentreGaussian, classifier, torch.rand(2, 3, 16, 16), torch.tensor([0, 1]))
        >>> score.passed, [layers for layers, _ in score.steps]
        (False, [1, 2, 3])
    """
    original = _maps(make_explainer(classifier), images, classes, memory_budget)
    steps = []
    for layers, randomised in randomised_copies(classifier, seed):
        changed = _maps(make_explainer(randomised), images, classes, memory_budget)
        steps.append((layers, float(map_similarity(original, changed).mean())))
    similarity = steps[-1][1]
    return RandomisationScore(similarity, tuple(steps), abs(similarity) < threshold)


def randomised_copies(classifier: Classifier, seed: int = 0) -> Iterator[tuple[int, Classifier]]:
    """Yield copies of a classifier with more and more random layers, from the output down.

    A layer is a module with parameters or running statistics of its own; layers count in the
    order in which the network declares them. The first copy has only the last layer random, the
    last one all of them; there are at most six. Each copy stands alone, and what is drawn for a
    layer depends on the seed and its name.

    Layers that know how are re-initialised by their ``reset_parameters``; the parameters of
    others become normal noise of their own mean and standard deviation. Running statistics start
    anew.

    Args:
        classifier: its network stays as it is.
        seed: the seed of the random weights.

    Yields:
        (number of random layers, classifier).

    Raises:
        ClassifierError: the network has no layers, or cannot be copied.

    Example:
        >>> from ttame.images.preprocessing import Preprocessing
        >>> network = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        ...     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
        >>> classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16))
        >>> for layers, randomised in randomised_copies(classifier):
        ...     print(layers, torch.equal(randomised.network[0].weight, network[0].weight))
        1 True
        2 True
        3 False
    """
    names = layers_of(uncompiled(classifier.network))
    if not names:
        raise ClassifierError(f"{classifier.name} has no layers to randomise")
    for count in stages_of(len(names)):
        yield count, _randomised(classifier, names[-count:], seed)


def layers_of(network: nn.Module) -> list[str]:
    """Names of the modules with parameters or running statistics of their own, in order."""
    return [
        name
        for name, module in network.named_modules()
        if any(True for _ in module.parameters(recurse=False)) or _statistics_of(module)
    ]


def stages_of(layers: int) -> tuple[int, ...]:
    """How many layers are random at each stage: one, all, and at most four numbers between.

    Example:
        >>> stages_of(16), stages_of(2)
        ((1, 4, 7, 10, 13, 16), (1, 2))
    """
    steps = STAGES - 1
    return tuple(sorted({1 + round(step * (layers - 1) / steps) for step in range(STAGES)}))


def map_similarity(original: Tensor, changed: Tensor) -> Tensor:
    """Spearman's rank correlation of maps, and what it is for constant ones.

    Args:
        original: (B, h, w).
        changed: (B, h, w), of which NaN counts as changed beyond recognition.

    Returns:
        (B,) float32 in [−1, 1]: 0 where one of the two is constant, 1 where both are.

    Example:
        >>> blank, ramp = torch.zeros(1, 2, 2), torch.arange(4.0).reshape(1, 2, 2)
        >>> map_similarity(ramp, blank), map_similarity(blank, blank)
        (tensor([0.]), tensor([1.]))
    """
    finite = changed.isfinite().flatten(1).all(dim=1)
    similarity = rank_correlation(original, changed.nan_to_num())
    both_constant = ~has_evidence(original) & ~has_evidence(changed.nan_to_num())
    return similarity.masked_fill(both_constant, 1).masked_fill(~finite, 0)


def _maps(
    explainer: Explainer, images: Tensor, classes: Tensor, memory_budget: str | int
) -> Tensor:
    """(B, h, w) raw maps, in small batches; NaN for batches whose maps are not finite."""
    parts = []
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        some = images[start : start + _IMAGES_AT_ONCE]
        try:
            wanted = classes[start : start + len(some)]
            parts.append(explainer(some, wanted, memory_budget=memory_budget).maps[:, 0])
        except NonFiniteMapError:
            parts.append(
                torch.full((len(some), 1, 1), torch.nan, device=images.device, dtype=torch.float32)
            )
    largest = max(parts, key=lambda part: part[0].numel())
    return torch.cat([part.expand(-1, *largest.shape[1:]) for part in parts])


def _randomised(classifier: Classifier, names: list[str], seed: int) -> Classifier:
    try:
        with hooks_at_rest():
            network = copy.deepcopy(uncompiled(classifier.network))
    except (RuntimeError, TypeError) as problem:
        raise ClassifierError(
            f"{classifier.name} cannot be copied to randomise it ({problem})",
            allowed="a network that copy.deepcopy takes",
        ) from problem
    modules = dict(network.cpu().named_modules())
    # On the CPU, so that the weights are the same for every device.
    random_state = torch.default_generator.get_state()
    try:
        with torch.no_grad():
            for name in names:
                digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
                torch.default_generator.manual_seed(int.from_bytes(digest[:7], "big"))
                _randomise(modules[name])
    finally:
        # Here, and not when a context manager that an interruption skipped is collected.
        torch.default_generator.set_state(random_state)
    return classifier.with_network(network.to(classifier.device))


def _randomise(module: nn.Module) -> None:
    for name, statistic in _statistics_of(module).items():
        statistic.fill_(1.0 if name == "running_var" else 0.0)
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for parameter in module.parameters(recurse=False):
        # One value has no spread of its own.
        spread = parameter.std() if parameter.numel() > 1 else parameter.abs().max()
        parameter.copy_(torch.randn_like(parameter) * spread + parameter.mean())


def _statistics_of(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: buffer
        for name, buffer in module.named_buffers(recurse=False)
        if name in ("running_mean", "running_var")
    }
