import base64
import io

import numpy as np
from PIL import Image

from ttame.drawing.colour_scales import colour_indices, colour_scale
from ttame.drawing.heatmap_overlay import opacity_scale
from ttame.reporting.embedded_pictures import heat_address, photo_address


def opened(address):
    media_type, content = address.split(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert media_type == f"data:{picture.get_format_mimetype()}"
    return picture


def test_heat_layer_holds_colour_and_opacity_of_every_value():
    heatmap = np.random.default_rng(0).random((20, 30))
    layer = np.asarray(opened(heat_address(heatmap, "viridis")).convert("RGBA"))
    indices = colour_indices(heatmap)
    np.testing.assert_array_equal(layer[..., :3], colour_scale("viridis")[indices])
    np.testing.assert_array_equal(layer[..., 3], opacity_scale(1.0)[indices])


def test_photos_are_scaled_down_and_never_up():
    assert opened(photo_address(Image.new("RGB", (3000, 500)))).size == (512, 85)
    assert opened(photo_address(Image.new("RGB", (2, 2)))).size == (2, 2)
