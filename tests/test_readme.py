"""What the first page promises about what ships."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CARDS = sorted(
    card.relative_to(ROOT)
    for place in (
        "src/ttame/classifiers",
        "src/ttame/text_classifiers",
        "src/ttame/explainers/bundled",
    )
    for card in (ROOT / place).glob("*/README.md")
)


def test_there_are_cards() -> None:
    assert len(CARDS) >= 4


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_all_weights_that_ship_have_their_licence_on_the_first_page(card: Path) -> None:
    """With the licence and the number of photos that the card itself tells."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    licences = readme.split("## Licence", 1)[1]
    (row,) = [line for line in licences.splitlines() if f"({card.as_posix()})" in line]
    text = (ROOT / card).read_text(encoding="utf-8")
    front = re.search(r"^license: (.+)$", text, re.MULTILINE)
    assert front is not None
    assert f"| {front[1]} |" in row.lower()
    for count in re.findall(r"\((\d+) (?:images|texts) to train on", text):
        assert f"{int(count):,}" in row
    head = re.search(r"^# (\w+) explainer", text, re.MULTILINE)
    assert head is None or head[1].replace("_", "-") in row.lower()


PYTORCH_GRAD_CAM = (
    "cam = GradCAM(model=model, target_layers=target_layers)",
    "grayscale_cam = cam(input_tensor=input_tensor, targets=targets)",
    "visualization = show_cam_on_image(rgb_img, grayscale_cam, use_rgb=True)",
)
"""What its users write after the imports, once they have a tensor, a float image and a layer."""


def test_the_first_python_takes_two_lines_from_network_and_photo_to_picture() -> None:
    """They run in tests/test_documented_python.py."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block, *_) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    lines = [line for line in block.splitlines() if line and not line.startswith("import ")]
    assert 1 <= len(lines) <= 2 < len(PYTORCH_GRAD_CAM)
    assert max(map(len, lines)) <= max(map(len, PYTORCH_GRAD_CAM))
    assert ".show()" in lines[-1] and "network" in block and "photo" in block
