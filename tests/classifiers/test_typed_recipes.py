from __future__ import annotations

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.typed_recipes import typed_again, typed_words
from ttame.images.preprocessing import Preprocessing


def test_everything_is_said_and_quoted() -> None:
    recipe = ClassifierRecipe(
        "/my work/net.py:build",
        "/my work/w.pth",
        network_options={"name": "a b"},
        outputs="sigmoid probabilities",
        preprocessing=Preprocessing((32, 48), "pad", (0.5,) * 3, (0.25,) * 3),
    )
    assert typed_again(recipe) == (
        "--model '/my work/net.py:build' --weights '/my work/w.pth' "
        "--network-option 'name=\"a b\"' --image-size 32x48 --mean 0.5,0.5,0.5 "
        "--std 0.25,0.25,0.25 --interpolation bilinear --resize pad "
        "--outputs sigmoid-probabilities"
    )


def test_a_strangers_endless_recipe_is_not_repeated() -> None:
    recipe = ClassifierRecipe("timm/x", network_options={"a" * 1000: 1})
    assert typed_again(recipe) == "--model NAME --network-option NAME=VALUE ..."


def test_what_the_outputs_mean_is_typed_again() -> None:
    recipe = ClassifierRecipe("timm/resnet18", outputs="sigmoid probabilities")
    typed = ["--model", "timm/resnet18", "--outputs", "sigmoid-probabilities"]
    assert typed_words(recipe) == typed
    assert typed_again(recipe) == " ".join(typed)
