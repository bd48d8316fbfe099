"""Classify a photo and say why, with ONNX Runtime and Pillow alone: no torch, no ttame.

    ttame export --explainer efficientnet_lite0 --out why.onnx
    python explain_photo.py why.onnx photo.jpg

Writes a heatmap for each of the most probable classes, ``why_0.png`` the first.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
facts = json.loads(session.get_modelmeta().custom_metadata_map["ttame"])
prepare, names = facts["preprocessing"], facts["class_names"]
(height, width), resize = prepare["input_size"], prepare["resize"]
photo = ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGB")
if resize == "pad":  # the whole photo fits in
    scale = min(width / photo.width, height / photo.height)
    sides = [max(1, round(scale * length)) for length in photo.size]
elif isinstance(resize, list):  # exactly so high and wide
    sides = resize[::-1]
else:  # the shorter side becomes so long
    sides = [max(1, int(resize * length / min(photo.size))) for length in photo.size]
photo = photo.resize(sides, Image.Resampling[prepare["interpolation"].upper()])
left, top = (
    round(slack / 2) if slack >= 0 else -(-slack // 2)
    for slack in (sides[0] - width, sides[1] - height)
)
photo = photo.crop((left, top, left + width, top + height))
_, probabilities, classes, maps = session.run(None, {"pixels": np.asarray(photo)[None]})
for place, (index, heat) in enumerate(zip(classes[0], maps[0], strict=True)):
    name = names[index] if names else f"class {index}"
    print(f"{probabilities[0, index]:.4f} {name}")
    heat = (heat - heat.min()) / max(np.ptp(heat), 1e-12)
    mask = Image.fromarray((255 * heat).astype(np.uint8)).resize((width, height), 2)
    Image.composite(photo, photo.convert("L").convert("RGB"), mask).save(f"why_{place}.png")
