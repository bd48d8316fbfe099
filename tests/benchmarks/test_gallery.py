"""The gallery has every method."""

from __future__ import annotations

from scripts.docs.methods_page import PAGE
from ttame.explainers.known_explainers import EXPLAINERS


def test_the_gallery_shows_every_method_or_says_why_not() -> None:
    gallery = (PAGE.parent / "gallery.md").read_text(encoding="utf-8")
    shown, _, left_out = gallery.partition("## Not shown")
    for name in EXPLAINERS:
        pictured = shown.count(f"](images/gallery-{name}-")
        explained = left_out.count(f"- `{name}`: ")
        assert pictured + explained == 2, "write it again: python -m benchmarks.gallery"
    pictures = list((PAGE.parent / "images").glob("gallery-*.jpg"))
    assert len(pictures) == shown.count("](images/gallery-")
    assert all(f"](images/{path.name})" in shown for path in pictures)
    assert sum(path.stat().st_size for path in pictures) < 1_500_000
