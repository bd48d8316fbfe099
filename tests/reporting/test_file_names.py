import pytest

from ttame.reporting.file_names import LONGEST_STEM, UniqueStems, safe_label, safe_stem

HOSTILE = [
    "../../etc/passwd",
    "..",
    "",
    "/",
    "C:\\photos\\a.png",
    "<script>alert('x')</script>.png",
    "a\x00b\n.png",
    "CON.png",
    ".hidden",
    "x" * 5000,
    "猫" * 500 + ".jpg",
    "image?size=1&b=2",
    "\u202egnp.exe",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_becomes_a_safe_stem(name):
    stem = safe_stem(name)
    assert 1 <= len(stem.encode()) <= LONGEST_STEM + 1
    assert not set(stem) & set("/\\<>:\"'|?*&\x00\n \u202e")
    assert not stem.startswith((".", "-"))
    assert stem.lower() not in {"con", "aux", "nul"}


def test_ordinary_names_stay():
    assert safe_stem("holiday/IMG_0001.JPG") == "IMG_0001"
    assert safe_stem("n01440764_10026.v2.jpeg") == "n01440764_10026.v2"
    assert safe_label("great white shark") == "great_white_shark"


def test_stems_never_repeat_in_any_case():
    stems = UniqueStems()
    names = ["a/cat.png", "b/cat.jpg", "CAT.gif", "cat-2.png", "cat-2.jpg", "Straße", "STRASSE"]
    taken = [stems.take(name) for name in names]
    assert len({stem.casefold() for stem in taken}) == len(names)
    assert taken[0] == "cat"


def test_many_equal_names_stay_fast():
    stems = UniqueStems()
    assert len({stems.take("cat.png") for _ in range(5000)}) == 5000
