from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import assert_close
from ttame.networks.function_replacement import attention_in_parts, replacing_functions


def queries(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, *shape).unbind()
    return q, k, v


MASK = torch.rand(2, 1, 6, 6) > 0.3
MASK[..., 0] = True

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bool mask": {"attn_mask": MASK},
    "float mask": {"attn_mask": torch.randn(6, 6)},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attention_in_parts_is_torchs_attention(
    options: dict[str, Any], dtype: torch.dtype
) -> None:
    q, k, v = (part.to(dtype) for part in queries(2, 3, 6, 4))
    if options.get("attn_mask") is not None and options["attn_mask"].dtype != torch.bool:
        options = {"attn_mask": options["attn_mask"].to(dtype)}
    expected = F.scaled_dot_product_attention(q, k, v, **options)
    assert_close(attention_in_parts(q, k, v, **options), expected, 1e-6)


def test_attention_in_parts_with_shared_keys_and_other_lengths() -> None:
    q, k, v = torch.randn(2, 6, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 8)
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert_close(attention_in_parts(q, k, v, enable_gqa=True), expected, 1e-6)
    one = F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)
    assert_close(attention_in_parts(q, k[:, :1], v[:, :1], enable_gqa=True), one, 1e-6)


def seen_by(
    layer: nn.MultiheadAttention, *tokens: Tensor, **options: Any
) -> tuple[Any, list[Tensor]]:
    softmaxes: list[Tensor] = []

    def keep(function: Any, args: Any, kwargs: Any) -> Tensor:
        softmaxes.append(function(*args, **kwargs))
        return softmaxes[-1]

    with torch.no_grad(), replacing_functions({"softmax": keep}):
        return layer(*tokens, **options), softmaxes


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_multi_head_attention(
    batch_first: bool, bias: bool, need_weights: bool, average: bool
) -> None:
    layer = nn.MultiheadAttention(12, 3, batch_first=batch_first, bias=bias).eval()
    if bias:
        nn.init.normal_(layer.in_proj_bias)
    tokens = torch.randn(2, 5, 12)
    options = {"need_weights": need_weights, "average_attn_weights": average}
    with torch.no_grad():
        expected, expected_weights = layer(tokens, tokens, tokens, **options)
    (found, weights), softmaxes = seen_by(layer, tokens, tokens, tokens, **options)
    assert_close(found, expected, 1e-6)
    length, batch = (5, 2) if batch_first else (2, 5)
    assert [part.shape for part in softmaxes] == [(batch, 3, length, length)]
    if need_weights:
        assert_close(weights, expected_weights, 1e-6)
        assert_close(softmaxes[0].mean(dim=1) if average else softmaxes[0], expected_weights, 1e-6)
    else:
        assert weights is None


def test_multi_head_attention_across_tokens_of_other_widths() -> None:
    layer = nn.MultiheadAttention(12, 3, kdim=7, vdim=5, batch_first=True).eval()
    tokens = torch.randn(2, 4, 12), torch.randn(2, 6, 7), torch.randn(2, 6, 5)
    with torch.no_grad():
        expected, _ = layer(*tokens, need_weights=False)
    (found, _), softmaxes = seen_by(layer, *tokens, need_weights=False)
    assert_close(found, expected, 1e-6)
    assert softmaxes[0].shape == (2, 3, 4, 6)


def test_multi_head_attention_across_tokens_of_one_width() -> None:
    layer = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    nn.init.normal_(layer.in_proj_bias)
    tokens, others = torch.randn(2, 4, 12), torch.randn(2, 6, 12)
    with torch.no_grad():
        expected, _ = layer(tokens, others, others, need_weights=False)
    (found, _), softmaxes = seen_by(layer, tokens, others, others, need_weights=False)
    assert_close(found, expected, 1e-6)
    assert softmaxes[0].shape == (2, 3, 4, 6)


@pytest.mark.parametrize("kind", ["bool", "float", "per head"])
def test_multi_head_attention_with_masks(kind: str) -> None:
    layer = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    tokens = torch.randn(2, 5, 12)
    hidden = torch.rand(5, 5) > 0.6
    hidden[:, 0] = False  # torch's own meaning here: True is hidden
    mask = {"bool": hidden, "float": torch.randn(5, 5), "per head": torch.randn(6, 5, 5)}[kind]
    with torch.no_grad():
        expected, _ = layer(tokens, tokens, tokens, need_weights=False, attn_mask=mask)
    options = {"need_weights": False, "attn_mask": mask}
    (found, _), softmaxes = seen_by(layer, tokens, tokens, tokens, **options)
    assert_close(found, expected, 1e-6)
    assert len(softmaxes) == 1


def test_rare_extras_run_as_they_are() -> None:
    layer = nn.MultiheadAttention(12, 3, batch_first=True, add_zero_attn=True).eval()
    tokens = torch.randn(2, 5, 12)
    with torch.no_grad():
        expected, _ = layer(tokens, tokens, tokens)
    (found, _), softmaxes = seen_by(layer, tokens, tokens, tokens)
    assert_close(found, expected, 1e-6)
    assert softmaxes == []


def test_gradients_pass_through_the_parts() -> None:
    q, k, v = (part.requires_grad_() for part in queries(2, 3, 6, 4))
    expected = torch.autograd.grad(F.scaled_dot_product_attention(q, k, v).pow(2).sum(), (q, k, v))
    found = torch.autograd.grad(attention_in_parts(q, k, v).pow(2).sum(), (q, k, v))
    for actual, wanted in zip(found, expected, strict=True):
        assert_close(actual, wanted, 1e-5)


def doubled(function: Any, args: Any, kwargs: Any) -> Any:
    return 2 * function(*args, **kwargs)


def test_replacements_end_with_the_block_also_after_an_exception() -> None:
    layer, ones = nn.Linear(3, 2), torch.ones(1, 3)
    plain = layer(ones)
    with pytest.raises(RuntimeError, match="midway"), replacing_functions({"linear": doubled}):
        assert torch.equal(layer(ones), 2 * plain)
        raise RuntimeError("midway")
    assert torch.equal(layer(ones), plain)


def test_calls_of_a_replacement_are_not_replaced_again() -> None:
    def through_two(function: Any, args: Any, kwargs: Any) -> Any:
        return F.linear(function(*args, **kwargs), torch.eye(2))

    layer, ones = nn.Linear(3, 2), torch.ones(1, 3)
    with replacing_functions({"linear": through_two}):
        assert torch.equal(layer(ones), F.linear(layer(ones), torch.eye(2)))


def test_other_threads_are_not_affected() -> None:
    layer, ones = nn.Linear(3, 2), torch.ones(1, 3)
    plain = layer(ones)
    found: list[Tensor] = []
    with replacing_functions({"linear": doubled}):
        thread = threading.Thread(target=lambda: found.append(layer(ones)))
        thread.start()
        thread.join()
    assert torch.equal(found[0], plain)


@pytest.mark.parametrize(
    ("operation", "run"),
    [
        ("add", lambda a, b: a + b),
        ("add", lambda a, b: a.clone().add_(b)),
        ("multiply", lambda a, b: a * b),
        ("multiply", torch.mul),
        ("matrix product", lambda a, b: a @ b),
        ("matrix product", torch.matmul),
        ("softmax", lambda a, b: a.softmax(dim=-1)),
        ("softmax", lambda a, b: F.softmax(a, dim=-1)),
        ("activation", lambda a, b: F.gelu(a)),
        ("activation", lambda a, b: nn.ReLU()(a)),
        ("normalisation", lambda a, b: nn.LayerNorm(3)(a)),
        ("batch norm", lambda a, b: nn.BatchNorm1d(3).eval()(a)),
        ("convolution", lambda a, b: nn.Conv2d(1, 1, 1, bias=False)(a[None, None]) * 0 + 1),
    ],
)
def test_every_spelling_of_an_operation_is_seen(operation: Any, run: Any) -> None:
    a, b = torch.rand(3, 3) + 1, torch.rand(3, 3)
    count = []

    def note(function: Any, args: Any, kwargs: Any) -> Any:
        count.append(function)
        return function(*args, **kwargs)

    with replacing_functions({operation: note}):
        run(a, b)
    assert len(count) == 1
