"""The same calls, made to another library or to ttame.compat.

    pip install --no-deps --target peers grad-cam captum torchcam ttach   # and opencv-python
    PYTHONPATH=peers python -m benchmarks.peer_calls

runs the libraries once on tiny networks and writes what they gave to
``tests/golden/peers.safetensors``, with which the tests compare where no library is installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

INSTALL = "pip install --no-deps --target peers grad-cam captum torchcam ttach; PYTHONPATH=peers"

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "peers.safetensors"

MODULES = {
    "pytorch_grad_cam": (
        "pytorch_grad_cam",
        "pytorch_grad_cam.utils.model_targets",
        "pytorch_grad_cam.utils.image",
    ),
    "captum": ("captum.attr",),
    "torchcam": ("torchcam.methods",),
}
"""A library, to the modules that its users import from."""

OURS = {
    "pytorch_grad_cam": "ttame.compat",
    "captum": "ttame.compat.captum",
    "torchcam": "ttame.compat.torchcam",
}
"""A library, to the module that answers its calls."""


class Network(nn.Module):
    """Two convolutions; the scores of ``outputs`` classes, or of every place."""

    def __init__(self, outputs: int = 5, pooled: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity()
        self.flatten = nn.Flatten() if pooled else nn.Identity()
        self.head = nn.Linear(8, outputs) if pooled else nn.Conv2d(8, outputs, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.flatten(self.pool(self.features(images))))


KINDS: dict[str, Callable[[], Network]] = {
    "classes": Network,
    "yes or no": lambda: Network(1),
    "segmentation": lambda: Network(4, pooled=False),
}


def material() -> dict[str, Tensor]:
    """Weights of the networks, and images; drawn, so that they are stored with what came out."""
    torch.manual_seed(0)
    tensors = {"images": torch.randn(2, 3, 16, 24), "mask": torch.rand(8, 12)}
    for kind, make in KINDS.items():
        network = make()
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn_like(tensor)
                tensors[f"{kind}.{name}"] = drawn.abs() + 0.5 if "var" in name else drawn / 2
    return tensors


def networks(tensors: dict[str, Tensor]) -> dict[str, Network]:
    """The networks with stored weights, in evaluation mode."""
    found = {}
    for kind, make in KINDS.items():
        found[kind] = make().eval()
        weights = {
            name.removeprefix(f"{kind}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{kind}.")
        }
        found[kind].load_state_dict(weights, strict=False)
    return found


class Material(SimpleNamespace):
    """``images``, ``mask``, ``nets``, and as functions: the calls of each library."""

    images: Tensor
    mask: Tensor
    nets: dict[str, Network]

    def cam(
        self, library: Any, method: str, kind: str, targets: list[Any] | None, **options: Any
    ) -> Tensor:
        """A map of pytorch-grad-cam after the first rectifier."""
        network = self.nets[kind]
        with getattr(library, method)(model=network, target_layers=[network.features[2]]) as cam:
            return torch.as_tensor(cam(input_tensor=self.images, targets=targets, **options))

    def classes(self, library: Any) -> list[Any]:
        return [library.ClassifierOutputTarget(category) for category in (1, 3)]

    def extracted(self, library: Any, method: str, *layers: int, **options: Any) -> Tensor:
        """A map of torchcam, the last one of several layers."""
        network = self.nets["classes"]
        named = [network.features[layer] for layer in layers]
        with getattr(library, method)(network, named) as extractor:
            return extractor([1, 3], network(self.images), **options)[-1]


def material_of(tensors: dict[str, Tensor]) -> Material:
    return Material(images=tensors["images"], mask=tensors["mask"], nets=networks(tensors))


Call = Callable[[Any, Material], Tensor]
"""(the library, or what stands for it; the material) to what it gives."""

_PLAIN = ("GradCAM", "GradCAMPlusPlus", "XGradCAM", "HiResCAM", "LayerCAM", "GradCAMElementWise")
_SMOOTHED = ("GradCAM", "HiResCAM", "LayerCAM", "GradCAMElementWise")


def _cam(method: str, **options: Any) -> Call:
    return lambda lib, m: m.cam(lib, method, "classes", m.classes(lib), **options)


GRAD_CAM_CALLS: dict[str, Call] = {
    **{method: _cam(method) for method in (*_PLAIN, "ScoreCAM", "AblationCAM", "FullGrad")},
    **{f"{method}, signless": _cam(method) for method in ("EigenCAM", "EigenGradCAM")},
    **{
        f"{method}, eigen_smooth, signless": _cam(method, eigen_smooth=True) for method in _SMOOTHED
    },
    "GradCAM, aug_smooth": _cam("GradCAM", aug_smooth=True),
    "GradCAM, top-1": lambda lib, m: m.cam(lib, "GradCAM", "classes", None),
    "softmax target": lambda lib, m: m.cam(
        lib, "HiResCAM", "classes", [lib.ClassifierOutputSoftmaxTarget(n) for n in (1, 3)]
    ),
    "any function": lambda lib, m: m.cam(
        lib, "HiResCAM", "classes", [lambda scores: scores[1] - scores[2].exp()] * 2
    ),
    "two functions": lambda lib, m: m.cam(
        lib, "LayerCAM", "classes", [lambda scores: scores[1] * scores[2], lambda scores: scores[4]]
    ),
    "function, score_cam": lambda lib, m: m.cam(
        lib, "ScoreCAM", "classes", [lambda scores: scores[1] - scores[2]] * 2
    ),
    "binary target": lambda lib, m: m.cam(
        lib, "HiResCAM", "yes or no", [lib.BinaryClassifierOutputTarget(n) for n in (1, 0)]
    ),
    "raw scores": lambda lib, m: m.cam(
        lib, "HiResCAM", "yes or no", [lib.RawScoresOutputTarget()] * 2
    ),
    "segmentation": lambda lib, m: m.cam(
        lib,
        "GradCAM",
        "segmentation",
        [lib.SemanticSegmentationTarget(category, m.mask.numpy()) for category in (2, 0)],
    ),
    "show_cam_on_image": lambda lib, m: torch.as_tensor(
        lib.show_cam_on_image(_photo(m), _map(m), use_rgb=True, image_weight=0.4)
    ).float(),
    "show_cam_on_image, BGR": lambda lib, m: torch.as_tensor(
        lib.show_cam_on_image(_photo(m), _map(m))
    ).float(),
}


def _photo(m: Material) -> Any:
    return m.images[0].sigmoid().permute(1, 2, 0).contiguous().numpy()


def _map(m: Material) -> Any:
    return np.linspace(0, 1, 16 * 24, dtype=np.float32).reshape(16, 24)


_TARGET = torch.tensor([1, 3])


def _attribution(method: str, **options: Any) -> Call:
    def call(lib: Any, m: Material) -> Tensor:
        network = m.nets["classes"]
        return getattr(lib, method)(network).attribute(m.images, target=_TARGET, **options)

    return call


def _integrated(baselines: Callable[[Material], Any], **options: Any) -> Call:
    def call(lib: Any, m: Material) -> Tensor:
        gradients = lib.IntegratedGradients(m.nets["classes"])
        maps, delta = gradients.attribute(
            m.images,
            baselines=baselines(m),
            target=_TARGET,
            return_convergence_delta=True,
            **options,
        )
        return torch.cat([maps.flatten(1), delta.float()[:, None]], dim=1)

    return call


def _occluded(baselines: Callable[[Material], Any]) -> Call:
    return lambda lib, m: lib.Occlusion(m.nets["classes"]).attribute(
        m.images, (3, 5, 7), strides=(3, 2, 4), target=_TARGET, baselines=baselines(m)
    )


def _layer_grad_cam(layer: int, **options: Any) -> Call:
    def call(lib: Any, m: Material) -> Tensor:
        network = m.nets["classes"]
        maps = lib.LayerGradCam(network, network.features[layer]).attribute(
            m.images, target=_TARGET, **options
        )
        return lib.LayerAttribution.interpolate(maps, (16, 24))

    return call


CAPTUM_CALLS: dict[str, Call] = {
    "Saliency": _attribution("Saliency"),
    "Saliency, signed": _attribution("Saliency", abs=False),
    "InputXGradient": _attribution("InputXGradient"),
    "IntegratedGradients": _integrated(lambda m: None, n_steps=7),
    "IntegratedGradients, a number": _integrated(lambda m: 0.3, n_steps=7, method="riemann_right"),
    "IntegratedGradients, images": _integrated(
        lambda m: m.images.flip(0), n_steps=4, method="riemann_middle"
    ),
    "Occlusion": _occluded(lambda m: None),
    "Occlusion, images": _occluded(lambda m: m.images.flip(0)),
    "LayerGradCam": _layer_grad_cam(4),
    "LayerGradCam, earlier, rectified": _layer_grad_cam(2, relu_attributions=True),
}

TORCHCAM_CALLS: dict[str, Call] = {
    f"{method}{', raw' * (not normalized)}": (
        lambda lib, m, method=method, normalized=normalized: m.extracted(
            lib, method, 4, normalized=normalized
        )
    )
    for method in ("GradCAM", "XGradCAM", "LayerCAM", "CAM")
    for normalized in (True, False)
} | {"LayerCAM, two layers": lambda lib, m: m.extracted(lib, "LayerCAM", 2, 4)}

CALLS = {
    "pytorch_grad_cam": GRAD_CAM_CALLS,
    "captum": CAPTUM_CALLS,
    "torchcam": TORCHCAM_CALLS,
}


def library_of(modules: tuple[str, ...]) -> SimpleNamespace:
    """The names of several modules in one place; ``ImportError`` where one is not installed."""
    names: dict[str, Any] = {}
    for module in modules:
        names.update(vars(importlib.import_module(module)))
    return SimpleNamespace(**names)


def main() -> None:
    """Write the golden tensors."""
    tensors = material()
    made = material_of(tensors)
    for library, calls in CALLS.items():
        peer = library_of(MODULES[library])
        for name, call in calls.items():
            given = call(peer, made).detach().contiguous().float().clone()
            tensors[f"output.{library}.{name}"] = given
    versions = {name: _version(name) for name in ("grad-cam", "captum", "torchcam")}
    save_file(tensors, GOLDEN, metadata=versions)
    print(f"wrote {GOLDEN}, {GOLDEN.stat().st_size} bytes, from {versions}")


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)


if __name__ == "__main__":
    main()
