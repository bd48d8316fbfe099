"""Our methods next to other libraries': the same network, images and batch, in turns.

Needs what ``pip install "ttame[comparison]"`` brings; it is not part of the other extras, because
pytorch-grad-cam brings OpenCV and scikit-learn along.

python -m benchmarks.side_by_side
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.benchmark_page import median, median_ratio, table, write_section
from benchmarks.worker_process import Prepare, take_turns

SIZE = 224


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        method: ours, by its registry name.
        rival: whose implementation runs in turns with it.
        network: torchvision name, random weights from a fixed seed.
        batch: images per call.
        repeats: rounds.
        limit: the least that the rival's time over ours must be.
    """

    method: str
    rival: str
    network: str
    batch: int
    repeats: int
    limit: float


CASES = (
    Case("grad_cam", "pytorch-grad-cam", "resnet50", 8, 5, 1.0),
    Case("grad_cam_plus_plus", "pytorch-grad-cam", "resnet50", 8, 5, 1.0),
    Case("score_cam", "pytorch-grad-cam", "resnet18", 2, 3, 1.5),
    Case("ablation_cam", "pytorch-grad-cam", "resnet18", 2, 3, 1.5),
    Case("integrated_gradients", "Captum", "resnet50", 2, 3, 1.0),
    Case("occlusion", "Captum", "resnet50", 2, 3, 1.5),
    Case("transformer_attribution", "one image at a time", "vit_b_16", 4, 3, 1.0),
)
STEPS = 50
"""Of integrated gradients."""
WINDOW, STRIDE = 32, 16
"""Of occlusion, in pixels."""
RIVAL_BATCH = 32
"""Images that Captum and pytorch-grad-cam run at a time where they can be told."""


def main() -> None:
    rows = [measure(case) for case in CASES]
    header = [
        "method",
        "beside",
        "network",
        "batch",
        "rounds",
        "ours",
        "theirs",
        "theirs / ours",
        "limit",
        "our peak",
        "their peak",
    ]
    note = (
        "\n\nEvery variant in a process of its own, in turns, after one run to warm up; medians, "
        "the ratio being the median of the rounds' ratios. Images of 224x224, the top-1 classes, "
        "random weights. Peak is how far the resident memory rose during a run. pytorch-grad-cam "
        "and ours end with maps of the images' size in [0, 1]. Captum's occlusion and integrated "
        f"gradients run {RIVAL_BATCH} variants at a time, which is faster than their defaults. "
        "Transformer Attribution stands beside itself on one image at a time, as Chefer's "
        "published code runs (LXT 2.1 does not import with transformers 5)."
    )
    title = "Side by side with other libraries"
    command = "python -m benchmarks.side_by_side"
    write_section("side-by-side", title, command, table(header, rows) + note)


def measure(case: Case) -> list[str]:
    """One row of the table."""
    variants: dict[str, Prepare] = {
        "ours": functools.partial(prepare_ours, case),
        "theirs": functools.partial(RIVALS[case.rival], case),
    }
    runs = take_turns(variants, case.repeats)
    ours, theirs = ([run.seconds for run in runs[name]] for name in ("ours", "theirs"))
    peaks = [f"{max(run.peak_megabytes for run in runs[name]):.0f} MB" for name in variants]
    row = [
        case.method,
        case.rival,
        case.network,
        str(case.batch),
        str(case.repeats),
        f"{median(ours):.2f} s",
        f"{median(theirs):.2f} s",
        f"{median_ratio(theirs, ours):.2f}",
        f"{case.limit:.1f}",
        *peaks,
    ]
    print(row, flush=True)
    return row


def prepare_ours(case: Case) -> Callable[[], object]:
    """Our method as a user calls it, with maps of the images' size in the end."""
    import ttame

    torch.manual_seed(0)
    classifier = ttame.load_classifier(f"torchvision/{case.network}", "none")
    _draw_head(classifier.network)
    images = _images(case)
    explainer = ttame.make_explainer(case.method, classifier, **_options(case))
    return lambda: explainer(images).heatmaps(size=(SIZE, SIZE))


def prepare_one_at_a_time(case: Case) -> Callable[[], object]:
    """Our method again, one image per call."""
    import ttame

    torch.manual_seed(0)
    classifier = ttame.load_classifier(f"torchvision/{case.network}", "none")
    _draw_head(classifier.network)
    images = _images(case)
    explainer = ttame.make_explainer(case.method, classifier, **_options(case))
    return lambda: [explainer(image[None]).heatmaps(size=(SIZE, SIZE)) for image in images]


def prepare_pytorch_grad_cam(case: Case) -> Callable[[], object]:
    """pytorch-grad-cam on the last stage."""
    import pytorch_grad_cam

    network, images = _network(case), _images(case)
    kind = {
        "grad_cam": pytorch_grad_cam.GradCAM,
        "grad_cam_plus_plus": pytorch_grad_cam.GradCAMPlusPlus,
        "score_cam": pytorch_grad_cam.ScoreCAM,
        "ablation_cam": pytorch_grad_cam.AblationCAM,
    }[case.method]
    cam = kind(model=network, target_layers=[network.layer4])
    cam.batch_size = RIVAL_BATCH
    return lambda: cam(input_tensor=images, targets=None)


def prepare_captum(case: Case) -> Callable[[], object]:
    """Captum with the settings that ours has."""
    from captum.attr import IntegratedGradients, Occlusion

    network, images = _network(case), _images(case)
    with torch.no_grad():
        target = network(images).argmax(dim=1)
    if case.method == "integrated_gradients":
        method = IntegratedGradients(network)
        return lambda: method.attribute(
            images, target=target, n_steps=STEPS, internal_batch_size=RIVAL_BATCH
        )
    occlusion = Occlusion(network)

    def run() -> Any:
        with torch.no_grad():
            return occlusion.attribute(
                images,
                target=target,
                sliding_window_shapes=(3, WINDOW, WINDOW),
                strides=(3, STRIDE, STRIDE),
                perturbations_per_eval=RIVAL_BATCH // case.batch,
            )

    return run


RIVALS: dict[str, Callable[[Case], Callable[[], object]]] = {
    "pytorch-grad-cam": prepare_pytorch_grad_cam,
    "Captum": prepare_captum,
    "one image at a time": prepare_one_at_a_time,
}


def _options(case: Case) -> dict[str, Any]:
    return {
        "integrated_gradients": {"steps": STEPS},
        "occlusion": {"window": (WINDOW, WINDOW), "stride": (STRIDE, STRIDE)},
    }.get(case.method, {})


def _network(case: Case) -> Any:
    import torchvision

    torch.manual_seed(0)
    network: nn.Module = torchvision.models.get_model(case.network).eval()
    return network


def _draw_head(network: nn.Module) -> None:
    """torchvision's Vision Transformers start with a head of zeros, which explains nothing."""
    heads = getattr(network, "heads", None)
    if heads is not None:
        nn.init.normal_(heads[-1].weight, std=0.02)


def _images(case: Case) -> torch.Tensor:
    return torch.randn(case.batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


if __name__ == "__main__":
    main()
