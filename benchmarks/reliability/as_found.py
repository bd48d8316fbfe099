"""Everything that has to be after a call as it was before, in a form that can be compared."""

from __future__ import annotations

import contextvars
import sys
import threading
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as every_module
from torch.utils import _device, _python_dispatch

from ttame.networks import frozen_network, loans

Found = dict[str, Any]


def everything(*networks: nn.Module) -> Found:
    """The state of networks, of this thread and of the process."""
    return {**_of_networks(networks), **_of_thread(), **_of_process()}


def changes(before: Found, after: Found) -> list[str]:
    """What differs, in words."""
    return [
        f"{name}: {str(before[name])[:200]} is now {str(after[name])[:200]}"
        for name in before
        if before[name] != after[name]
    ]


def _of_networks(networks: tuple[nn.Module, ...]) -> Found:
    found: Found = {}
    for number, network in enumerate(networks):
        for name, module in network.named_modules():
            found[f"training of {name or 'the network'} ({number})"] = module.training
            found[f"attributes of {name} ({number})"] = sorted(vars(module))
            for attribute, hooks in vars(module).items():
                if "hooks" in attribute and hooks is not None:
                    entries = [(key, id(value)) for key, value in dict(hooks).items()]
                    found[f"{attribute} of {name} ({number})"] = entries
        for name, parameter in network.named_parameters():
            gradient = None if parameter.grad is None else id(parameter.grad)
            found[f"parameter {name} ({number})"] = (
                id(parameter), parameter._version, parameter.requires_grad, gradient
            )  # fmt: skip
        for name, buffer in network.named_buffers():
            found[f"buffer {name} ({number})"] = (id(buffer), buffer._version)
    return found


def _of_thread() -> Found:
    return {
        "gradient mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "function modes": torch.overrides._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "autocast": [torch.is_autocast_enabled(device) for device in ("cpu", "cuda")],
        "autocast dtypes": [torch.get_autocast_dtype(device) for device in ("cpu", "cuda")],
        "autocast cache": torch.is_autocast_cache_enabled(),
        "default device": _device.CURRENT_DEVICE,
        "random numbers": torch.default_generator.get_state().numpy().tobytes(),
        "context variables": {
            variable.name: value
            for variable, value in contextvars.copy_context().items()
            if variable.name.startswith("ttame")
        },
    }


def _of_process() -> Found:
    flags = {name: on for name, on in vars(_python_dispatch).items() if isinstance(on, bool)}
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    hub = sys.modules.get("huggingface_hub.constants")
    return {
        "flags of dispatch modes": flags,
        "compiler's stance": dynamo and dynamo._stance,
        "hub offline": hub and hub.HF_HUB_OFFLINE,
        "hooks of all modules": [
            list(hooks)
            for name, hooks in vars(every_module).items()
            if name.startswith("_global") and "hooks" in name and hasattr(hooks, "keys")
        ],
        "what is held": len(frozen_network._held),
        "open loans": len(loans._open),
        "the lock is free": _is_free(loans.lock),
    }


def _is_free(lock: Any) -> bool:
    free: list[bool] = []

    def take() -> None:
        free.append(lock.acquire(blocking=False))
        if free[0]:
            lock.release()

    # A thread may take its own lock again, so another one has to try.
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return free[0]
