from __future__ import annotations

from ttame.classifiers.sources.network_source import imagenet_class_names, with_image_size
from ttame.images.preprocessing import Preprocessing


def test_the_share_of_the_crop_stays() -> None:
    wide = with_image_size(Preprocessing.imagenet(224), (224, 448))
    assert (wide.input_size, wide.resize) == ((224, 448), 512)
    exact = with_image_size(Preprocessing((224, 224), (256, 256)), (112, 448))
    assert (exact.input_size, exact.resize) == ((112, 448), (128, 512))
    assert with_image_size(wide, None) is wide


def test_class_names_are_in_the_usual_order() -> None:
    names = imagenet_class_names()
    assert len(names) == 1000
    assert (names[0], names[285], names[999]) == ("tench", "Egyptian cat", "toilet tissue")
