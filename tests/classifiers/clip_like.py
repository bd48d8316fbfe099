"""Tiny CLIP-like models with random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

VISION = {
    "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 3, "image_size": 32, "patch_size": 8, "projection_dim": 20,
}  # fmt: skip
TEXT = {
    "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 3,
    "vocab_size": 50, "max_position_embeddings": 8,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


def tiny_clip() -> Any:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    return CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=20)).eval()


def tiny_siglip() -> Any:
    from transformers import SiglipConfig, SiglipModel

    vision = {name: value for name, value in VISION.items() if name != "projection_dim"}
    torch.manual_seed(0)
    model = SiglipModel(SiglipConfig(vision_config=vision, text_config=TEXT)).eval()
    nn.init.constant_(model.logit_scale, 2.0)
    nn.init.constant_(model.logit_bias, -3.0)
    return model


class LikeOpenClip(nn.Module):
    """A model with the names that open_clip's have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.visual = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.words = nn.Embedding(50, 6)
        self.logit_scale = nn.Parameter(torch.tensor(3.0))

    def encode_image(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.visual(images)
        return embeddings

    def encode_text(self, tokens: Tensor) -> Tensor:
        embeddings: Tensor = self.words(tokens).mean(1)
        return embeddings


def token_numbers(texts: list[str]) -> Tensor:
    """Eight token numbers from 3 on for each text, the end of it at the end; no two alike."""
    numbers = [[1, *(3 + (ord(letter) % 40) for letter in f"{text:<6}"[-6:]), 2] for text in texts]
    return torch.tensor(numbers)


class Tokenizer:
    """As transformers' are called; it keeps how it was called."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, text: list[str], **options: Any) -> dict[str, Tensor]:
        self.calls.append({"text": text, **options})
        return {"input_ids": token_numbers(text)}
