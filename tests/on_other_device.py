"""What must work on another device, case by case; :func:`run` tries them in a process."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests import other_device
from tests.explainers.test_every_explainer import METHODS
from tests.metrics.test_known_metrics import PROTOCOL, batch
from tests.training.training_material import noise_photos, quick, train, weights_of
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.targets import Target
from ttame.drawing.heatmap_overlay import overlay_heatmap
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.images.preprocessing import PhotoRegion
from ttame.metrics.known_metrics import METRICS
from ttame.results.explanation import Explanation
from ttame.testing import tiny_classifier, tiny_photos

KINDS = ("cnn", "vit")
TOLERANCE = 2e-4
"""Relative to the largest value; some methods ask for memory and so split passes differently."""


def there() -> torch.device:
    return torch.device(other_device.NAME, 0)


@functools.cache
def here(kind: Any) -> Classifier:
    return tiny_classifier(kind, size=32)


@functools.cache
def moved(kind: Any) -> Classifier:
    """The same, as users do it: the network first."""
    plain = tiny_classifier(kind, size=32)
    return Classifier(plain.network.to(there()), preprocessing=plain.preprocessing, name=plain.name)


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def agree(found: Tensor, expected: Tensor) -> None:
    assert found.device == there(), f"on {found.device}"
    difference = float((found.cpu() - expected).abs().max())
    assert difference <= TOLERANCE * float(expected.abs().max()), f"differs by {difference}"


def explains(kind: str, make: Callable[[Classifier], Explainer]) -> None:
    """The maps are those of the processor, and lie where the images do."""
    try:
        expected = make(here(kind))(images(), [1, 3])
    except ExplainerError as problem:
        assert "not defined for" in str(problem)
        return
    explainer = make(moved(kind))
    found = explainer(images().to(there()), [1, 3])
    agree(found.maps, expected.maps)
    agree(found.logits, expected.logits)
    agree(explainer(images(), [1, 3]).maps, expected.maps)


def explains_after_a_move(kind: Any) -> None:
    """What a method computed when it was made follows the network."""
    for name in ("t_tame", "few_shot", "class_evidence", "full_lrp", "rise"):
        classifier = tiny_classifier(kind, size=32)
        explainer = METHODS[name](classifier)
        expected = explainer(images(), [1, 3]).maps
        classifier.network.to(there())
        agree(explainer(images(), [1, 3]).maps, expected)


def measures(name: str) -> None:
    """The numbers are those of the processor."""
    plain = batch()
    tensors = {
        field.name: getattr(plain, field.name).to(there())
        for field in dataclasses.fields(plain)
        if isinstance(getattr(plain, field.name), Tensor)
    }
    expected = METRICS[name].measure(plain, PROTOCOL)
    found = METRICS[name].measure(dataclasses.replace(plain, **tensors), PROTOCOL)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.allclose(
            found[key].cpu().nan_to_num(), value.nan_to_num(), rtol=1e-4, atol=1e-4
        ), f"{key}: {found[key]}, not {value}"


def explains_targets(kind: str) -> None:
    weights = torch.tensor([1.0, 0.0, -1.0, 0.5, 0.0])
    for target in (
        Target.contrast(1, 3),
        Target.weights(weights),
        Target.function(lambda scores: scores[:, 1] - scores[:, 2], name="one against two"),
    ):
        maps = [
            make_explainer("grad_cam", made(kind), rectified=False)(images(), target=target).maps
            for made in (here, moved)
        ]
        agree(maps[1], maps[0])


def attributes_like_captum(kind: str) -> None:
    explainers = [make_explainer("occlusion", made(kind), window=16) for made in (here, moved)]
    agree(explainers[1].attribute(images(), 2), explainers[0].attribute(images(), 2))


def explains_like_others(kind: str) -> None:
    """The functions that other people's code calls give arrays."""
    from ttame.compat import GradCAM
    from ttame.compat.quantus_functions import quantus_explain_func

    arrays = images().numpy(), torch.tensor([1, 3]).numpy()
    explain = quantus_explain_func("grad_cam")
    expected, found = (explain(made(kind).network, *arrays) for made in (here, moved))
    assert abs(found - expected).max() <= TOLERANCE * abs(expected).max()
    if kind == "cnn":
        cams = [GradCAM(made.network, [made.network[3]]) for made in (here(kind), moved(kind))]
        expected, found = (cam(images()) for cam in cams)
        assert abs(found - expected).max() <= TOLERANCE


def draws_and_saves(kind: str) -> None:
    explanation = make_explainer("grad_cam", moved(kind))(tiny_photos(2), "top2")
    heatmaps = explanation.heatmaps()
    assert heatmaps.device == there()
    photo = tiny_photos(1)[0]
    region = PhotoRegion(0, 0, *photo.size)
    assert overlay_heatmap(photo, heatmaps[0, 0], region).size == photo.size
    assert explanation.to("cpu").maps.device.type == "cpu"
    with tempfile.TemporaryDirectory() as folder:
        explanation.save(Path(folder) / "explanation.safetensors")
        again = Explanation.load(Path(folder) / "explanation.safetensors")
    agree(explanation.maps, again.maps)


def reports(kind: str) -> None:
    """Pictures, maps and the page of many photos."""
    from ttame.reporting.explain import explain

    methods = {name: make_explainer(name, moved(kind)) for name in ("grad_cam", "class_evidence")}
    with tempfile.TemporaryDirectory() as folder:
        photos = [Path(folder) / f"{number}.png" for number in range(2)]
        for place, photo in zip(photos, tiny_photos(2), strict=True):
            photo.save(place)
        explain([*map(str, photos)], methods, Path(folder) / "out")
        assert list((Path(folder) / "out").rglob("*.html"))


def evaluates(kind: str) -> None:
    """Two metrics from photos to a table, and the check with randomised weights."""
    from ttame.evaluation.evaluate_methods import evaluate

    scores = []
    for made in (here, moved):
        classifier = made(kind)
        methods: dict[str, Explainer] = {"grad_cam": make_explainer("grad_cam", classifier)}
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "out"
            done = evaluate(
                classifier,
                tiny_photos(2),
                methods,
                place,
                metrics=["average_drop", "adcc"],
                sanity_images=1,
            )
        scores.append({name: score.value for name, score in done.methods[0].scores.items()})
    for name, value in scores[0].items():
        assert abs(value - scores[1][name]) <= 1e-3 * max(1.0, abs(value)), (name, scores)


class InterruptionError(Exception):
    """Stops a training."""


def trains_and_resumes(kind: str, preset: str) -> None:
    """A training that was stopped goes on; its head is the one of a training on the processor."""

    def stop(progress: Any) -> None:
        if progress.step == 2:
            raise InterruptionError

    settings = quick(preset, checkpoint_every=1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        classifier = tiny_classifier(kind, size=32)  # type: ignore[arg-type]
        try:
            train(classifier, noise_photos(10), out, settings, watch=stop)
            raise AssertionError("not interrupted")
        except InterruptionError:
            pass
        explainer = train(classifier, noise_photos(10), out, settings, resume=True)
        assert classifier.device == there()
        assert all(weight.device == there() for weight in explainer.head.parameters())
        assert all(torch.isfinite(weight).all() for weight in weights_of(out).values())
        maps = explainer(images(), "all").maps
        loaded = load_explainer(out, classifier=moved(kind))
        agree(loaded(images(), "all").maps, maps.cpu())
        fresh = tiny_classifier(kind, size=32)  # type: ignore[arg-type]
        loaded = load_explainer(out, classifier=fresh, device=there())
        agree(loaded(images(), "all").maps, maps.cpu())
        on_cpu = load_explainer(out, classifier=here(kind))(images(), "all").maps
        agree(maps, on_cpu)


def saves_untrained(kind: str) -> None:
    """What is written does not depend on the device."""
    assert here(kind).fingerprint() == moved(kind).fingerprint()
    explainer = new_attention_explainer(moved(kind), head_settings("few-shot"))
    with tempfile.TemporaryDirectory() as folder:
        explainer.save(Path(folder) / "out")
        assert all(each.device.type == "cpu" for each in weights_of(Path(folder) / "out").values())


@dataclasses.dataclass(frozen=True, eq=False)
class Careless(Explainer):
    """A method with one of the mistakes that only another device shows."""

    mistake: Callable[[Tensor], Tensor] = torch.clone
    card = MethodCard("careless", "Careless", "baseline", "any", "none", "none")

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        logits = self.classifier.logits(images)
        targets = request.targets(logits)
        maps = self.mistake(images.to(logits.device)).mean(1, keepdim=True)
        return RawMaps(logits, targets, maps.detach().expand(-1, targets.shape[1], -1, -1))


MISTAKES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a forgotten .to(device)": (lambda z: z * torch.linspace(0, 1, 32), "on the same device"),
    "an index of the processor on the way back": (
        lambda z: torch.zeros(2, 3, 32, 32).index_add(0, torch.arange(2), z),
        "on the same device",
    ),
    "a generator of the processor": (
        lambda z: z + torch.rand(z.shape, generator=torch.Generator(), device=z.device),
        "device type for generator",
    ),
    "numpy() without cpu()": (lambda z: torch.from_numpy(z.numpy()), "Use Tensor.cpu"),
    "an array of a tensor": (
        lambda z: torch.as_tensor(__import__("numpy").asarray(z)),
        "Use Tensor.cpu",
    ),
    "maps left on the processor": (lambda z: z.cpu(), "on cpu"),
}


def catches(name: str) -> None:
    mistake, words = MISTAKES[name]

    def make(classifier: Classifier) -> Explainer:
        return Careless(classifier, mistake=mistake)

    make(here("cnn"))(images(), [1, 3])  # nothing is wrong with it on the processor
    try:
        explains("cnn", make)
    except Exception as problem:
        assert words in str(problem), problem
        return
    raise AssertionError("not caught")


def is_taken_for_right() -> None:
    """Without a mistake, the same method passes."""
    explains("cnn", lambda classifier: Careless(classifier))


def gradients_come_from_another_thread() -> None:
    import threading

    seen: list[int] = []
    value = torch.ones(2, device=there(), requires_grad=True)
    doubled = value * 2
    doubled.register_hook(lambda _: seen.append(threading.get_ident()))
    doubled.sum().backward()
    assert value.grad is not None and value.grad.tolist() == [2.0, 2.0]
    assert seen and seen[0] != threading.get_ident()


Case = Callable[[], None]

OF_BOTH_KINDS = (
    explains_after_a_move,
    explains_targets,
    attributes_like_captum,
    explains_like_others,
    draws_and_saves,
    reports,
    saves_untrained,
)

CASES: dict[str, Case] = {
    "the device": gradients_come_from_another_thread,
    "no mistake": is_taken_for_right,
    **{f"caught: {name}": functools.partial(catches, name) for name in MISTAKES},
    **{
        f"{kind}: {name}": functools.partial(explains, kind, METHODS[name])
        for kind in KINDS
        for name in METHODS
    },
    **{f"metric: {name}": functools.partial(measures, name) for name in METRICS},
    **{
        f"{kind}: {does.__name__}": functools.partial(does, kind)
        for kind in KINDS
        for does in OF_BOTH_KINDS
    },
    "cnn: evaluates": functools.partial(evaluates, "cnn"),
    **{
        f"{kind}: trains with {preset}": functools.partial(trains_and_resumes, kind, preset)
        for kind, preset in (("cnn", "t-tame"), ("vit", "few-shot-quick"))
    },
}


def run(end: Connection, chosen: list[str] | None = None) -> None:
    """Try all cases, and send for each how it ended; empty if well."""
    torch.set_num_threads(1)
    other_device.install()
    warnings.simplefilter("ignore")
    for name in chosen or CASES:
        problem = ""
        try:
            CASES[name]()
        except Exception:
            problem = traceback.format_exc()
        end.send((name, problem))
    end.send(None)
