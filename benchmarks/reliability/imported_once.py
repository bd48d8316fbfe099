"""What ``ttame`` commands need, imported by the server of their processes before it forks any.

None of it starts a thread, which a fork would lose.
"""

from __future__ import annotations

import gc
import importlib

from PIL import Image

MODULES = [
    "torch._dynamo",
    "torch.distributed",
    "torchvision",
    "timm",
    "accelerate",
    "safetensors.torch",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.pandas_compat",
    "rich.progress",
    "ttame.cli.main",
    "ttame.cli.chosen_explainers",
    "ttame.cli.evaluation_display",
    "ttame.classifiers.known_classifiers",
    "ttame.evaluation.evaluate_methods",
    "ttame.evaluation.gallery",
    "ttame.explainers.known_explainers",
    "ttame.explainers.trained.explainer_folder",
    "ttame.reporting.evaluation_report",
    "ttame.reporting.explanation_report",
    "ttame.training.train_explainer",
]

for module in MODULES:
    importlib.import_module(module)
Image.init()  # the formats, each a module
# A collection in a forked process would touch, and so copy, all of this.
gc.collect()
gc.freeze()
