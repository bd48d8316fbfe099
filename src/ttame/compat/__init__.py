"""The calls of other libraries, answered by this one.

* What is here directly is called as in pytorch-grad-cam: :class:`GradCAM` and its relatives, the
  targets, and :func:`show_cam_on_image`.
* :mod:`ttame.compat.captum` has the attribution classes of Captum. Its metrics need nothing from
  there: pass them :meth:`ttame.Explainer.attribute`.
* :mod:`ttame.compat.torchcam` has the extractors of torchcam.
* :func:`quantus_explain_func` makes the function that Quantus's metrics call.

None of these libraries has to be installed.
"""

from ttame.compat.cam_overlay import show_cam_on_image
from ttame.compat.cam_targets import (
    BinaryClassifierOutputTarget,
    ClassifierOutputSoftmaxTarget,
    ClassifierOutputTarget,
    RawScoresOutputTarget,
    SemanticSegmentationTarget,
)
from ttame.compat.pytorch_grad_cam import (
    AblationCAM,
    EigenCAM,
    EigenGradCAM,
    FullGrad,
    GradCAM,
    GradCAMElementWise,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    ScoreCAM,
    XGradCAM,
)
from ttame.compat.quantus_functions import quantus_explain_func

__all__ = [
    "AblationCAM",
    "BinaryClassifierOutputTarget",
    "ClassifierOutputSoftmaxTarget",
    "ClassifierOutputTarget",
    "EigenCAM",
    "EigenGradCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "RawScoresOutputTarget",
    "ScoreCAM",
    "SemanticSegmentationTarget",
    "XGradCAM",
    "quantus_explain_func",
    "show_cam_on_image",
]
