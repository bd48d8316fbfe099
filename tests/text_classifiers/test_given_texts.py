"""What may be given as texts, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ttame.errors import TextError
from ttame.text_classifiers.given_texts import given_texts


def test_texts_and_pairs() -> None:
    assert given_texts("a") == [("a", None)]
    assert given_texts(("a", "b")) == [("a", "b")]
    assert given_texts(["a", "b"]) == [("a", None), ("b", None)]
    assert given_texts([("a", "b"), "c", ["d", "e"]]) == [("a", "b"), ("c", None), ("d", "e")]
    assert given_texts(("a", "b", "c")) == [("a", None), ("b", None), ("c", None)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "text 0 is empty"),
        (["a", " \n"], "text 1 is empty"),
        (("a", ""), "text 0 is empty"),
        ([], "an empty list of texts"),
        (torch.zeros(1, 3, 8, 8), "a Tensor as text; .*try: a ttame.Classifier"),
        (Image.new("RGB", (8, 8)), "an Image as text; .*try: a ttame.Classifier"),
        ([Path("a.png")], "a PosixPath as text 0; .*try: a ttame.Classifier"),
        ([1], "an int as text 0"),
        (None, "None as text"),
        (b"a", "a bytes as text"),
        (np.array(["a", "b"]), r"an ndarray as text; .*try: list\(texts\)"),
        (np.array(["a", "b"], dtype=object), r"an ndarray as text; .*try: list\(texts\)"),
        (np.zeros((3, 8, 8)), "an ndarray as text; .*try: a ttame.Classifier"),
        ((text for text in "ab"), r"a generator as text; .*try: list\(texts\)"),
        (["a", ("b", "c \ud800")], "text 1 holds half of a character"),
    ],
)
def test_what_is_no_text_is_refused(given: Any, said: str) -> None:
    with pytest.raises(TextError, match=said):
        given_texts(given)


def test_the_name_of_a_file_of_texts_is_no_text(tmp_path: Path) -> None:
    lines = tmp_path / "lines.TXT"
    assert given_texts(str(lines))  # Nothing has this name.
    lines.write_text("good\n")
    with pytest.raises(TextError, match="text 1 is the name of a file, .*TXT'; try: ttame.text"):
        given_texts(["good", str(lines)])
    assert given_texts([f"see {lines}", ("good", str(lines))])


def test_the_name_of_a_picture_that_exists_is_no_text(tmp_path: Path) -> None:
    picture = tmp_path / "cat.PNG"
    picture.write_bytes(b"")
    with pytest.raises(TextError, match="the name of a picture.*try: a ttame.Classifier"):
        given_texts(str(picture))
    assert given_texts("cat.png") == [("cat.png", None)]
