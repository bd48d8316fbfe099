"""What a recipe from a file may say; tests/explainers/trained/test_folder_recipes.py refuses it."""

from __future__ import annotations

from typing import Any

import pytest

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.known_classifiers import load_described_classifier
from ttame.classifiers.recipe_rules import (
    ForbiddenRecipeError,
    refuse_forbidden,
    refused_in_a_file,
)
from ttame.images.preprocessing import Preprocessing


@pytest.mark.parametrize(
    ("name", "size", "tap", "options"),
    [
        ("efficientnet_lite0", 64, "blocks.6", {"num_classes": 10, "drop_rate": 0.5}),
        ("efficientnet_lite0", 64, "blocks.6", {"output_stride": 16, "act_layer": "gelu"}),
        ("hybrid_vit_lite0", None, "blocks.5", {"num_classes": 10}),
        ("timm/test_resnet.r160_in1k", 64, "layer4", {"num_classes": 3, "in_chans": 3}),
        ("timm/test_vit", None, "blocks.2", {"img_size": [64, 96], "proj_drop_rate": 0.5}),
        ("timm/test_vit", None, "blocks.2", {"global_pool": "avg", "class_token": False}),
        ("timm/test_vit", None, "blocks.2", {"qkv_bias": False, "drop_path_rate": 0.1}),
        ("timm/test_vit", None, "blocks.2", {"attn_drop_rate": 0, "dynamic_img_size": True}),
        ("torchvision/squeezenet1_1", 64, "features.12", {"dropout": 0.5}),
        ("torchvision/googlenet", 64, "inception5b", {"aux_logits": True}),
        ("torchvision/googlenet", 64, "inception5b", {"transform_input": True}),
        ("torchvision/efficientnet_b0", 64, "features.8", {"stochastic_depth_prob": 0.1}),
    ],
)
def test_the_list_holds_what_libraries_take(
    name: str, size: int | None, tap: str, options: dict[str, Any]
) -> None:
    sides = None if size is None else (size, size)
    recipe = ClassifierRecipe(name, "none", sides, options)
    loaded = load_described_classifier(recipe, taps=[tap])
    assert loaded.number_of_classes == options.get("num_classes", 1000)


def test_places_and_files_of_ones_own() -> None:
    for name in ("hf/google/vit-base-patch16-224", "hf/resnet", "hf//home/me/my network"):
        refuse_forbidden(ClassifierRecipe(name, network_options={"num_labels": 3}))
    for name in ("timm/local-dir:/home/me/network", "timm/hf-hub:me/network@v2"):
        refuse_forbidden(ClassifierRecipe(name))
    for suffix in ("safetensors", "pth", "pt", "bin", "ckpt"):
        refuse_forbidden(ClassifierRecipe("timm/resnet18", f"/home/me/weights.{suffix}"))
    with pytest.raises(ForbiddenRecipeError, match=r"weights '/home/me/weights\.npz'"):
        refuse_forbidden(ClassifierRecipe("timm/resnet18", "/home/me/weights.npz"))
    huge = Preprocessing((10**5, 10), 10)
    with pytest.raises(ForbiddenRecipeError, match="sides of 100000 pixels"):
        refuse_forbidden(ClassifierRecipe("timm/resnet18", preprocessing=huge))
    with pytest.raises(ForbiddenRecipeError, match="image size"):
        refuse_forbidden(ClassifierRecipe("timm/resnet18", image_size=(10**9, 224)))


def test_what_must_be_said_again_is_known() -> None:
    assert refused_in_a_file(ClassifierRecipe("timm/resnet18", "none")) == ""
    odd = ClassifierRecipe("timm/resnet18", "none", network_options={"stem_type": "deep"})
    assert refused_in_a_file(odd) == "network option 'stem_type'"
