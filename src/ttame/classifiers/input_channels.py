"""The channels that a network takes, found in its dry run."""

from __future__ import annotations

import torch
from torch import nn

from ttame.errors import Wording, setting
from ttame.images.network_channels import photo_channels
from ttame.images.preprocessing import Preprocessing
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_failure import NetworkFailedError
from ttame.networks.network_trace import NetworkTrace, channels_that_run, trace_network


def trace_with_channels(
    network: nn.Module, preprocessing: Preprocessing, name: str
) -> tuple[NetworkTrace, Preprocessing, tuple[str, ...]]:
    """Run a network once, with as many channels as it takes.

    Where nobody said what the channels are, and the network fails on red, green and blue but runs
    on another number, the preprocessing is made to fit.

    Args:
        network: maps (1, C, H, W) to (1, N) numbers.
        preprocessing: that somebody gave.
        name: how messages call the network.

    Returns:
        The run, the preprocessing that fits, and what the user should know of it.

    Raises:
        ClassifierError: the network fails on any number of channels.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> _, fitting, notices = trace_with_channels(network, Preprocessing.imagenet(8), "mine")
        >>> fitting.channels, notices[0][:43]
        ('grey', 'mine takes 1 channel: photos are made grey,')
    """
    size, said = preprocessing.input_size, preprocessing.number_of_channels
    try:
        return trace_network(network, size, said), preprocessing, ()
    except NetworkFailedError:
        number = _other_number(network, preprocessing)
        if number is None:
            raise
    fitting = preprocessing.for_channels(photo_channels(number))
    return trace_network(network, size, number), fitting, (Wording(_notice(fitting, name)),)


def _other_number(network: nn.Module, preprocessing: Preprocessing) -> int | None:
    if preprocessing.channels != "rgb":
        return None
    network = uncompiled(network)
    with frozen(network), torch.no_grad():
        return channels_that_run(network, preprocessing.input_size)


def _notice(preprocessing: Preprocessing, name: str) -> str:
    number = preprocessing.number_of_channels
    mean, std = (
        ", ".join(f"{value:.3g}" for value in values[:4])
        for values in (preprocessing.mean, preprocessing.std)
    )
    if preprocessing.channels == "grey":
        return (
            f"{name} takes 1 channel: photos are made grey, with mean {mean} and standard "
            f"deviation {std}, the averages of the three colours'; if it was trained otherwise, "
            f"set {setting('mean')} and {setting('std')} with {setting('channels', 'grey')}"
        )
    if preprocessing.channels == "rgba":
        return (
            f"{name} takes 4 channels: red, green, blue and opacity, with mean {mean} and standard "
            f"deviation {std}; for four bands set {setting('channels', 4)}"
        )
    return (
        f"{name} takes {number} channels: give arrays of {number} bands as .npy or TIFF files; "
        "they are divided by the largest number of their integer type, with mean 0 and standard "
        f"deviation 1, unless {setting('band_scale')}, {setting('mean')} and {setting('std')} say "
        "otherwise"
    )
