"""Whether a network's outputs are the logits that they are said to be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError, Wording, setting
from ttame.networks.frozen_network import frozen
from ttame.networks.last_operation import last_operation
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_trace import NetworkTrace, noise_images, run_network
from ttame.outputs import OUTPUTS, SOFTMAX, Outputs, outputs_of_kind

_NOISE_IMAGES = 4
_LOUD = 100

_PROBABILITIES_OF = {"Sigmoid": "sigmoid probabilities", "Softmax": "softmax probabilities"}
"""Last operation to the kind of outputs that it makes."""

_NOTHING = frozenset(
    {"no finding", "no findings", "none of them", "none of these", "nothing found"}
)
"""Names that make sense only next to findings of which several may be true."""

_FEWEST_FINDINGS = 3

_FINDINGS = frozenset(
    {
        *("atelectasis", "cardiomegaly", "effusion", "pleural effusion", "infiltration"),
        *("pneumothorax", "consolidation", "edema", "oedema", "emphysema", "fibrosis", "hernia"),
        *("pleural thickening", "enlarged cardiomediastinum", "lung opacity", "lung lesion"),
        *("pleural other", "support devices"),
    }
)
"""Of chest X-rays, as ChestX-ray14, CheXpert and MIMIC-CXR name them; one has several of them."""

_VOC = frozenset(
    {
        *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
        *("train", "tvmonitor"),
    }
)
"""The objects of Pascal VOC, of which a photo shows several."""


def said_outputs(said: Outputs | str | None) -> tuple[Outputs, str]:
    """What the outputs mean, and who says so."""
    if said is None:
        return SOFTMAX, "assumed, because nothing else was specified"
    return outputs_of_kind(said), "as you said"


def check_outputs(
    network: nn.Module, trace: NetworkTrace, outputs: Outputs, name: str
) -> tuple[str, ...]:
    """Refuse what cannot be as it is said, and notice what is unlikely.

    Args:
        network: the classifier's.
        trace: the trace of its dry run.
        outputs: what its outputs are said to mean.
        name: the name of the classifier, for messages.

    Returns:
        One line for each thing that somebody should look at.

    Raises:
        ClassifierError: the outputs are of another kind.
    """
    if trace.output.is_meta:  # Only shapes are traced.
        return ()
    last = ""
    if outputs.reads_logits and _between_0_and_1(trace.output):
        last = last_operation(network, trace.image_size, trace.channels)
    kind = _PROBABILITIES_OF.get(last, "")
    if kind and OUTPUTS[kind].problem_with(trace.output) is None:
        raise ClassifierError(
            f"{name}: the network ends with a {last.lower()}, so that it returns probabilities, "
            f"which are not the logits of {outputs.kind} outputs",
            allowed=setting("outputs", kind),
            remedy=f"that, or the network without its last {last.lower()}",
        )
    problem = outputs.problem_with(trace.output)
    if problem is not None:
        raise ClassifierError(
            f"{name}: {problem.problem}", allowed=problem.allowed, remedy=problem.remedy
        )
    if not outputs.reads_logits or not _between_0_and_1(trace.output):
        return ()
    with torch.no_grad(), frozen(network):
        noise = noise_images(network, trace.image_size, _NOISE_IMAGES, trace.channels)
        # The outputs of a small network may lie there by chance, but not those of loud images.
        for images in (noise, _LOUD * noise):
            if not _between_0_and_1(run_network(uncompiled(network), images)):
                return ()
    return (
        Wording(
            f"{name} returns numbers between 0 and 1 only; if they are probabilities of "
            f"independent findings, use {setting('outputs', 'sigmoid probabilities')}"
        ),
    )


def offered_outputs(names: Sequence[str], name: str) -> tuple[str, ...]:
    """A notice where softmax was assumed, and the class names are those of findings.

    Args:
        names: the names of the classes; empty if there are none.
        name: the name of the classifier.

    Example:
        >>> len(offered_outputs(["No Finding", "Edema", "Mass"], "net"))
        1
        >>> offered_outputs(["cat", "dog"], "net")
        ()
    """
    known = [each for each in names if _plain(each) in _FINDINGS]
    objects = {_plain(each) for each in names}
    if _NOTHING & objects and len(names) > 2:
        shown = list(names)
    elif len(known) >= _FEWEST_FINDINGS:
        shown = known
    elif objects == _VOC:
        shown = list(names)
    else:
        return ()
    some = ", ".join(map(repr, shown[:3])) + (" …" if len(shown) > 3 else "")
    return (
        Wording(
            f"{name} has classes that can be true together ({some}), but its outputs are read as "
            f"logits of classes of which one is true; use {setting('outputs', 'sigmoid')} if they "
            f"are independent findings, or {setting('outputs', 'softmax')} if not"
        ),
    )


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _between_0_and_1(output: Tensor) -> bool:
    # Zeros everywhere are those of a last layer that was not trained yet.
    return bool(((output >= 0) & (output <= 1)).all() and output.any())
