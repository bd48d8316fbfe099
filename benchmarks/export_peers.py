"""What other libraries of explanations can export, tried one by one.

pip install captum grad-cam torchcam            # openvino-xai needs openvino==2024.6
python -m benchmarks.export_peers               # tries what is installed, and writes the table
python -m benchmarks.export_peers --only openvino_xai    # in an environment of its own

Each library explains a small network in its documented way, in a module that gives the prediction
and the map; that module is given to ``torch.export`` and to ONNX. What comes out is run, and
compared with the library's own answer. A library that is not installed keeps the row that was
written when it was; versions and dates stand in the rows.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import io
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.benchmark_page import table

STORED = Path(__file__).parent / "export_values" / "peers.json"
PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "export.md"
HEADER = ["library", "method", "`torch.export`", "ONNX", "tried"]
SIDE = 32

Explain = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(1, 3, H, W) to logits and a map of the most probable class."""


class Prediction(nn.Module):
    """A network and its explanation as one module, as far as a library allows."""

    def __init__(self, network: nn.Module, explain: Explain) -> None:
        super().__init__()
        self.network = network
        self.explain = explain

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.explain(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(PEERS), help="try this one; others stay")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    for package, (method, make) in PEERS.items():
        if only not in (None, package):
            continue
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        rows[package] = [f"{package} {version}", method, *make(), today]
    STORED.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    lines = table(HEADER, [rows[name] for name in PEERS if name in rows])
    lines = re.sub(r"\|---(\|---:)+\|", "|" + "---|" * len(HEADER), lines)
    said = "Written by `python -m benchmarks.export_peers`, which tries each.\n\n"
    page = PAGE.read_text(encoding="utf-8")
    between = re.compile(r"(<!-- peers -->).*(<!-- /peers -->)", re.DOTALL)
    PAGE.write_text(between.sub(lambda m: f"{m[1]}\n{said}{lines}\n{m[2]}", page), encoding="utf-8")
    print(lines)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    ).eval()  # fmt: skip


def ttame_tried() -> list[str]:
    import ttame

    preprocessing = ttame.Preprocessing.imagenet(SIDE)
    classifier = ttame.Classifier(network(), preprocessing=preprocessing)
    explainer = ttame.new_attention_explainer(classifier, ttame.head_settings("few-shot"))
    module = ttame.ExplainableClassifier(explainer, top_k=1, batch_size=1)

    def explain(images: Tensor) -> tuple[Tensor, Tensor]:
        logits, _, _, maps = module(images)
        return logits, maps

    return both(Prediction(module, explain))


def grad_cam_tried() -> list[str]:
    from pytorch_grad_cam import GradCAM

    net = network()
    cam = GradCAM(model=net, target_layers=[net[2]])

    def explain(images: Tensor) -> tuple[Tensor, Tensor]:
        maps = cam(input_tensor=images, targets=None)
        return cam.outputs, torch.as_tensor(maps)

    return both(Prediction(net, explain))


def captum_tried() -> list[str]:
    from captum.attr import LayerGradCam

    net = network()
    method = LayerGradCam(net, net[2])

    def explain(images: Tensor) -> tuple[Tensor, Tensor]:
        logits = net(images)
        return logits, method.attribute(images, target=logits.argmax(dim=1))

    return both(Prediction(net, explain))


def torchcam_tried() -> list[str]:
    from torchcam.methods import GradCAM

    net = network()
    extractor = GradCAM(net, target_layer=net[2])

    def explain(images: Tensor) -> tuple[Tensor, Tensor]:
        logits = net(images)
        (maps,) = extractor(int(logits[0].argmax()), logits)
        return logits, maps

    return both(Prediction(net, explain))


def openvino_xai_tried() -> list[str]:
    """It inserts Recipro-CAM into an OpenVINO graph, which is its own format."""
    try:
        import openvino
        import openvino_xai as xai

        content = io.BytesIO()
        images = torch.zeros(1, 3, SIDE, SIDE)
        converted = torch.onnx.export(network(), (images,), dynamo=True, verbose=False)
        assert converted is not None
        converted.save(content)
        model = openvino.Core().read_model(content.getvalue())
        made = xai.insert_xai(model, xai.Task.CLASSIFICATION)
        compiled = openvino.Core().compile_model(made, "CPU")
        results = compiled(np.zeros((1, 3, SIDE, SIDE), np.float32))
        shapes = " and ".join(str(tuple(value.shape)) for value in results.values())
        said = f"no; but OpenVINO's graph with the map inside: yes, results {shapes}, with "
        said += (
            f"openvino {importlib.metadata.version('openvino')}; it cannot be imported with 2026"
        )
    except Exception as problem:
        said = f"no; nor OpenVINO's graph: {words(problem)}"
    return ["no", said]


PEERS: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "ttame": ("few-shot explainer", ttame_tried),
    "grad-cam": ("Grad-CAM", grad_cam_tried),
    "captum": ("Grad-CAM", captum_tried),
    "torchcam": ("Grad-CAM", torchcam_tried),
    "openvino_xai": ("Recipro-CAM", openvino_xai_tried),
}


def both(module: Prediction) -> list[str]:
    """Whether a module can be exported, in each format, in words."""
    images = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    expected = [value.detach() for value in module(images)]
    return [tried(way, module, images, expected) for way in (through_torch, through_onnx)]


def tried(
    way: Callable[[nn.Module, Tensor], list[Tensor]],
    module: nn.Module,
    images: Tensor,
    expected: list[Tensor],
) -> str:
    """Whether the exported module says of other images what the library says."""
    try:
        found = way(module, images)
    except Exception as problem:
        return f"no: {words(problem)}"
    same = all(
        one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4)
        for one, other in zip(found, expected, strict=True)
    )
    return "yes" if same else "it runs, but the map is another one"


def through_torch(module: nn.Module, images: Tensor) -> list[Tensor]:
    # Recorded on other images, so that a map that became a constant is noticed.
    program = torch.export.export(module, (torch.randn_like(images),), strict=False)
    return list(program.module()(images))


def through_onnx(module: nn.Module, images: Tensor) -> list[Tensor]:
    import onnxruntime

    converted = torch.onnx.export(module, (torch.randn_like(images),), dynamo=True, verbose=False)
    assert converted is not None
    content = io.BytesIO()
    converted.save(content)
    session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [torch.from_numpy(value) for value in session.run(None, {name: images.numpy()})]


def words(problem: BaseException) -> str:
    """The first line of the innermost cause."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    first = re.sub(r"\x1b\[[0-9;]*m", "", lines[0]) if lines else ""
    sentence = first.split(". ")[0].split(" (")[0].rstrip(".")
    return f"{type(problem).__name__}: {sentence[:110]}".replace("|", "/").strip(": ")


if __name__ == "__main__":
    main()
