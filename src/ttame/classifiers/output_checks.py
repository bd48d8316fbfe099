"""Whether a network's outputs are the logits that they are said to be."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError
from ttame.networks.frozen_network import frozen
from ttame.networks.last_operation import last_operation
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_trace import NetworkTrace, noise_images, run_network
from ttame.outputs import Outputs

_NOISE_IMAGES = 4

_PROBABILITIES_OF = {"Sigmoid": "sigmoid probabilities", "Softmax": "softmax probabilities"}
"""Last operation to the kind of outputs that it makes."""


def check_outputs(
    network: nn.Module, trace: NetworkTrace, outputs: Outputs, name: str
) -> tuple[str, ...]:
    """Refuse what cannot be as it is said, and notice what is unlikely.

    Args:
        network: the classifier's.
        trace: of its dry run.
        outputs: what its outputs are said to mean.
        name: of the classifier, for messages.

    Returns:
        One line for each thing that somebody should look at.

    Raises:
        ClassifierError: the outputs are of another kind.
    """
    if trace.output.is_meta:  # Only shapes are traced.
        return ()
    problem = outputs.problem_with(trace.output)
    if problem is not None:
        raise ClassifierError(
            f"{name}: {problem.problem}", allowed=problem.allowed, remedy=problem.remedy
        )
    if not outputs.reads_logits or not _between_0_and_1(trace.output):
        return ()
    last = last_operation(network, trace.image_size, trace.channels)
    if last in _PROBABILITIES_OF:
        kind = _PROBABILITIES_OF[last]
        raise ClassifierError(
            f"{name}: the network ends with a {last.lower()}, so that it returns probabilities, "
            f"which are not the logits of {outputs.kind} outputs",
            allowed=f'outputs="{kind}" (--outputs {kind.replace(" ", "-")})',
            remedy=f"that, or the network without its last {last.lower()}",
        )
    with torch.no_grad(), frozen(network):
        noise = noise_images(network, trace.image_size, _NOISE_IMAGES, trace.channels)
        if not _between_0_and_1(run_network(uncompiled(network), noise)):
            return ()
    return (
        f"{name} returns numbers between 0 and 1 only; if they are probabilities of independent "
        'findings, say outputs="sigmoid probabilities" (--outputs sigmoid-probabilities)',
    )


def _between_0_and_1(output: Tensor) -> bool:
    return bool(((output >= 0) & (output <= 1)).all())
