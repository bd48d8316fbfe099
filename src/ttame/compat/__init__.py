"""The calls of other libraries, answered by this one.

* :class:`GradCAM` and its relatives are called as those of pytorch-grad-cam.
* :func:`quantus_explain_func` makes the function that Quantus's metrics call.
* Captum's metrics need nothing from here: pass them :meth:`ttame.Explainer.attribute`.
"""

from ttame.compat.class_activation_maps import (
    AblationCAM,
    ClassifierOutputTarget,
    EigenCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    ScoreCAM,
    XGradCAM,
)
from ttame.compat.quantus_functions import quantus_explain_func

__all__ = [
    "AblationCAM",
    "ClassifierOutputTarget",
    "EigenCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "ScoreCAM",
    "XGradCAM",
    "quantus_explain_func",
]
