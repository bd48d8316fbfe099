"""Replacing single operations inside somebody's network for one call, in one thread.

Fused attention never shows its probabilities, and relevance propagation needs other backward
rules than autograd's. Both are had by standing between the network's own modules and the torch
functions they call: a ``TorchFunctionMode`` sees every call of its own thread and of no other,
needs no hooks, patches nothing, and ends with the block.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ttame.networks.function_parts import PARTS, PARTS_FOR_RULES
from ttame.networks.loans import Lent
from ttame.networks.torch_mode_loans import InFunctionMode

Operation = Literal[
    "linear",
    "convolution",
    "matrix product",
    "add",
    "subtract",
    "multiply",
    "divide",
    "average",
    "softmax",
    "normalisation",
    "batch norm",
    "activation",
]

Replacement = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Called with the torch function, its args and its kwargs; returns what the function would."""

_FUNCTIONS: dict[Operation, tuple[Callable[..., Any], ...]] = {
    "linear": (F.linear,),
    "convolution": (torch.conv1d, torch.conv2d, torch.conv3d),
    "matrix product": (
        torch.matmul,
        torch.bmm,
        torch.Tensor.matmul,
        torch.Tensor.bmm,
        torch.Tensor.__matmul__,
    ),
    "add": (
        torch.add,
        torch.Tensor.add,
        torch.Tensor.add_,
        torch.Tensor.__add__,
        torch.Tensor.__radd__,
        torch.Tensor.__iadd__,
    ),
    "subtract": (
        torch.sub,
        torch.subtract,
        torch.Tensor.sub,
        torch.Tensor.sub_,
        torch.Tensor.__sub__,
        torch.Tensor.__rsub__,
        torch.Tensor.__isub__,
    ),
    "multiply": (
        torch.mul,
        torch.multiply,
        torch.Tensor.mul,
        torch.Tensor.mul_,
        torch.Tensor.multiply,
        torch.Tensor.__mul__,
        torch.Tensor.__rmul__,
        torch.Tensor.__imul__,
    ),
    "divide": (
        torch.div,
        torch.divide,
        torch.true_divide,
        torch.Tensor.div,
        torch.Tensor.div_,
        torch.Tensor.__truediv__,
        torch.Tensor.__itruediv__,
    ),
    "average": (
        torch.mean,
        torch.sum,
        torch.Tensor.mean,
        torch.Tensor.sum,
        F.avg_pool2d,
        F.adaptive_avg_pool2d,
        torch.adaptive_avg_pool1d,
        F.adaptive_avg_pool1d,
        F.interpolate,
    ),
    "softmax": (torch.softmax, torch.Tensor.softmax, F.softmax),
    "normalisation": (
        F.layer_norm,
        torch.layer_norm,
        F.rms_norm,
        torch.rms_norm,
        F.group_norm,
        F.normalize,
    ),
    "batch norm": (F.batch_norm, torch.batch_norm),
    "activation": (
        F.gelu,
        F.relu,
        torch.relu,
        torch.relu_,
        torch.Tensor.relu,
        torch.Tensor.relu_,
        F.relu6,
        F.hardtanh,
        F.silu,
        F.hardswish,
        F.leaky_relu,
        F.elu,
        F.mish,
        F.softplus,
        F.selu,
        F.celu,
        F.prelu,
        *(torch.pow, torch.Tensor.pow, torch.Tensor.__pow__, torch.square, torch.Tensor.square),
        *(torch.sqrt, torch.Tensor.sqrt, torch.abs, torch.Tensor.abs, torch.Tensor.__abs__),
        *(torch.clamp, torch.clip, torch.clamp_min, torch.clamp_max),
        *(torch.Tensor.clamp, torch.Tensor.clip, torch.Tensor.clamp_min, torch.Tensor.clamp_max),
        *(torch.clamp_, torch.clamp_min_, torch.clamp_max_, torch.sqrt_, torch.square_, torch.abs_),
        *(torch.Tensor.clamp_, torch.Tensor.clip_, torch.Tensor.clamp_min_),
        *(torch.Tensor.clamp_max_, torch.Tensor.sqrt_, torch.Tensor.square_, torch.Tensor.abs_),
        *(torch.Tensor.pow_, torch.tanh_, torch.Tensor.tanh_),
        F.hardsigmoid,
        F.sigmoid,
        torch.sigmoid,
        torch.sigmoid_,
        torch.Tensor.sigmoid,
        torch.Tensor.sigmoid_,
        F.tanh,
        torch.tanh,
        torch.Tensor.tanh,
    ),
}

_OPERATION_OF: dict[Callable[..., Any], Operation] = {
    function: operation for operation, functions in _FUNCTIONS.items() for function in functions
}


def replacing_functions(
    replacements: Mapping[Operation, Replacement],
    otherwise: Replacement | None = None,
    whole: Replacement | None = None,
) -> contextlib.AbstractContextManager[None]:
    """Run some operations by other means while the block lasts, in this thread only.

    Fused attention is taken apart first: ``scaled_dot_product_attention`` into matrix products and
    a softmax, ``multi_head_attention_forward`` into linear maps and attention, ``einsum`` into
    matrix products, so that a replacement of ``"softmax"`` sees attention probabilities in
    torchvision, timm and transformers.
    A replacement runs with everything as usual: calls that it makes are not replaced again.

    Args:
        replacements: operation to what runs instead of it.
        otherwise: what runs instead of every other torch function, and of every access to a
            tensor's properties; they run as usual if not given.
        whole: asked before a function is taken apart; ``NotImplemented`` lets it be taken apart.

    Example:
        >>> network = torch.nn.Linear(2, 2)
        >>> def twice(function, args, kwargs):
        ...     return 2 * function(*args, **kwargs)
        >>> with replacing_functions({"linear": twice}):
        ...     doubled = network(torch.ones(1, 2))
        >>> torch.equal(doubled, 2 * network(torch.ones(1, 2)))
        True
    """
    return Lent(InFunctionMode(_Replacing(replacements, otherwise, whole)))


class _Replacing(TorchFunctionMode):
    def __init__(
        self,
        replacements: Mapping[Operation, Replacement],
        otherwise: Replacement | None,
        whole: Replacement | None,
    ) -> None:
        super().__init__()
        self.whole = whole
        self.replacements = replacements
        self.otherwise = otherwise
        self.decompositions = _DECOMPOSITIONS if otherwise is None else _FOR_RULES

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        in_parts = self.decompositions.get(func)
        if in_parts is not None:
            if self.whole is not None:
                result = self.whole(func, args, kwargs)
                if result is not NotImplemented:
                    return result
            # The mode is off in here; inside it again, the parts are seen one by one.
            with self:
                result = in_parts(*args, **kwargs)
            if result is not NotImplemented:
                return result
        operation = _OPERATION_OF.get(func)
        if operation is not None and operation in self.replacements:
            return self.replacements[operation](func, args, kwargs)
        if self.otherwise is not None:
            return self.otherwise(func, args, kwargs)
        return func(*args, **kwargs)


def attention_in_parts(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``scaled_dot_product_attention`` as matrix products and a softmax.

    The parameters are torch's; dropout is left out, because a frozen network has none.

    Args:
        query: (..., T, d).
        key: (..., S, d).
        value: (..., S, e).
        attn_mask: broadcastable to (..., T, S): bool (True takes part) or added to the scores.
        dropout_p: ignored.
        is_causal: no token sees a later one.
        scale: the scale of the scores; 1/√d if not given.
        enable_gqa: whether groups of query heads share a key head.

    Returns:
        (..., T, e).
    """
    del dropout_p
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], dim=-3)
    return torch.matmul(_probabilities(query, key, attn_mask, is_causal, scale), value)


def _probabilities(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float | None = None,
) -> Tensor:
    """``softmax(QKᵀ·scale)`` with hidden keys left out, (..., T, S)."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query * scale, key.transpose(-2, -1))
    if is_causal:
        sees = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~sees, -math.inf)
    if attn_mask is None:
        return torch.softmax(scores, dim=-1)
    if attn_mask.dtype != torch.bool:
        return torch.softmax(scores + attn_mask, dim=-1)
    sees_nothing = ~attn_mask.any(dim=-1, keepdim=True)
    if not bool(sees_nothing.any()):
        return torch.softmax(scores.masked_fill(~attn_mask, -math.inf), dim=-1)
    # Padding behind a text, say: the fused function gives zeros, where a softmax would give NaN.
    scores = scores.masked_fill(~(attn_mask | sees_nothing), -math.inf)
    return torch.softmax(scores, dim=-1).masked_fill(sees_nothing, 0)


def _multi_head_attention_in_parts(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Any:
    """``nn.MultiheadAttention``'s function for (T, B, D) tokens, as linear maps and attention.

    ``NotImplemented`` for extras that no known classifier asks for.
    """
    rare = (bias_k, bias_v, static_k, static_v, key_padding_mask)
    if any(part is not None for part in rare) or add_zero_attn or query.ndim != 3:
        return NotImplemented
    if in_proj_weight is not None and query is key and key is value:
        q, k, v = F.linear(query, in_proj_weight, in_proj_bias).chunk(3, dim=-1)
    else:
        weights = (
            in_proj_weight.chunk(3)
            if in_proj_weight is not None
            else (q_proj_weight, k_proj_weight, v_proj_weight)
        )
        biases = in_proj_bias.chunk(3) if in_proj_bias is not None else (None, None, None)
        q, k, v = (
            F.linear(tokens, weight, bias)  # type: ignore[arg-type]
            for tokens, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )

    def heads_first(tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], num_heads, -1).permute(1, 2, 0, 3)

    if attn_mask is not None and attn_mask.ndim == 3:
        attn_mask = attn_mask.reshape(-1, num_heads, *attn_mask.shape[1:])
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = ~attn_mask  # True hides a key here, but shows it in the function above
    probabilities = _probabilities(heads_first(q), heads_first(k), attn_mask, is_causal)
    mixed = torch.matmul(probabilities, heads_first(v))
    out = F.linear(mixed.permute(2, 0, 1, 3).flatten(2), out_proj_weight, out_proj_bias)
    if not need_weights:
        return out, None
    return out, probabilities.mean(dim=1) if average_attn_weights else probabilities


_DECOMPOSITIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.scaled_dot_product_attention: attention_in_parts,
    F.multi_head_attention_forward: _multi_head_attention_in_parts,
    **PARTS,
}
_FOR_RULES = _DECOMPOSITIONS | PARTS_FOR_RULES
