import contextlib
import csv
import dataclasses
import gc
import io
import json
import re
import weakref
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from ttame.drawing.heatmap_overlay import overlay_heatmap
from ttame.drawing.pixel_heatmaps import pixel_heatmaps
from ttame.errors import (
    ClassSelectionError,
    ExplainerError,
    ImageError,
    NonFiniteMapError,
    OutputError,
    UnknownNameError,
)
from ttame.images.preprocessing import Preprocessing
from ttame.reporting import explanation_page, photo_files
from ttame.reporting.explanation_report import ExplanationReportWriter
from ttame.reporting.method_label import MethodLabel
from ttame.results.explanation import Explanation

NAMES = ("tabby", "lynx", "<script>alert('c')</script>", 'a "quoted" & odd name', "Löwe 猫")
HOSTILE = "x\"><img src=x onerror=alert('n')>{{ 7 * 7 }}.png"
PREPROCESSING = Preprocessing.imagenet(32)


def explanation(n_images=1, classes=(0, 1), method="t_tame", n_names=5):
    generator = torch.Generator().manual_seed(1)
    return Explanation(
        maps=torch.randn(n_images, len(classes), 4, 4, generator=generator),
        classes=torch.tensor([list(classes)] * n_images),
        logits=torch.randn(n_images, n_names, generator=generator),
        image_size=(32, 32),
        class_names=NAMES if n_names == len(NAMES) else (),
        method=method,
        provenance={"classifier": "tiny", "taps": ["a", "b"]},
    )


def photo(width=48, height=36):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def writer(folder, **options):
    return ExplanationReportWriter(folder, preprocessing=PREPROCESSING, **options)


def assert_drawn(drawn, expected):
    """Equal, once the expected picture has been a JPEG as well."""
    stream = io.BytesIO()
    expected.save(stream, "JPEG", quality=90, subsampling=0)
    with Image.open(stream) as same:
        assert drawn.tobytes() == same.tobytes()


def fail_midway(unopened):
    with unopened as report:
        report.add("a.png", photo(), explanation())
        raise KeyError("mine")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Page(HTMLParser):
    """All elements of a page as (tag, attributes), and its text."""

    def __init__(self, folder, path="index.html"):
        super().__init__()
        self.source = (folder / path).read_text(encoding="utf-8")
        self.elements, self.text, self._stack = [], [], []
        self.feed(self.source)
        assert not self._stack, f"left open: {self._stack}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in {"meta", "img", "input", "br"}:
            self._stack.append(tag)

    def handle_endtag(self, tag):
        assert self._stack.pop() == tag

    def handle_data(self, data):
        if self._stack and self._stack[-1] not in {"style", "script"}:
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_folder_holds_pictures_overlays_maps_json_and_page(tmp_path):
    folder = tmp_path / "new" / "report"
    with writer(folder) as report:
        report.add("cats/tabby.png", photo(), explanation(2), 1)
        report.add("dogs/tabby.jpg", photo(2, 2), explanation(classes=(4,)))
        report.skip("torn.png", "torn.png is not a readable image")
        assert (report.n_explained, report.n_skipped) == (2, 1)
        assert not folder.exists()
    assert files(folder) == [
        "explanations.csv",
        "explanations.json",
        "index.html",
        "maps/tabby-2.safetensors",
        "maps/tabby.safetensors",
        "overlays/tabby-2/1-Löwe_猫.jpg",
        "overlays/tabby/1-tabby.jpg",
        "overlays/tabby/2-lynx.jpg",
        "pictures/tabby-2.jpg",
        "pictures/tabby.jpg",
    ]
    with Image.open(folder / "overlays/tabby/1-tabby.jpg") as overlay:
        assert overlay.size == (48, 36)
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_saved_maps_are_those_of_the_one_image(tmp_path):
    batch = explanation(3)
    with writer(tmp_path / "out") as report:
        report.add("a.png", photo(), batch, 2)
    loaded = Explanation.load(tmp_path / "out/maps/a.safetensors")
    assert torch.equal(loaded.maps, batch.maps[2:])
    assert torch.equal(loaded.logits, batch.logits[2:])
    assert loaded.class_names == NAMES


def test_json_says_everything_about_every_image(tmp_path):
    batch = explanation(2, classes=(3, 1))
    batch.maps[1, 1] = 2.5
    with writer(tmp_path / "out", title="Why?", scale="viridis") as report:
        report.add("some/where/a.png", photo(), batch, 1)
        report.skip("b.png", "unreadable")
    content = json.loads((tmp_path / "out/explanations.json").read_text(encoding="utf-8"))
    (image,) = content.pop("images")
    assert content == {
        "schema_version": 2,
        "title": "Why?",
        "methods": [
            {
                "name": "t_tame",
                "title": "t_tame",
                "drawn_as": "grid",
                "provenance": {"classifier": "tiny", "taps": ["a", "b"]},
            }
        ],
        "methods_left_out": {},
        "rather_than": None,
        "preprocessing": json.loads(json.dumps(PREPROCESSING.as_json())),
        "colour_scale": "viridis",
        "opacity": 0.8,
        "pictures": "all",
        "strength": "own",
        "not_explained": [{"name": "b.png", "heading": "b.png", "reason": "unreadable"}],
    }
    first, second = image.pop("classes")
    prediction = image.pop("prediction")
    region = PREPROCESSING.region((48, 36))
    assert image == {
        "name": "some/where/a.png",
        "files": {"pictures": ["pictures/a.jpg"], "maps": {"t_tame": "maps/a.safetensors"}},
        "width": 48,
        "height": 36,
        "region": {
            "left": region.left, "top": region.top, "right": region.right, "bottom": region.bottom
        },
    }  # fmt: skip
    probabilities = batch.logits[1].softmax(0)
    best = int(probabilities.argmax())
    assert (prediction["index"], prediction["name"]) == (best, NAMES[best])
    assert prediction["probability"] == pytest.approx(float(probabilities[best]))
    assert (first["index"], first["name"]) == (3, NAMES[3])
    assert first["probability"] == pytest.approx(float(probabilities[3]))
    assert first["rank"] == 1 + int((probabilities > probabilities[3]).sum())
    shown = first["maps"].pop("t_tame")
    overlays = [shown.pop("overlay"), second["maps"]["t_tame"].pop("overlay")]
    assert not first["maps"]
    assert shown.pop("has_evidence") is True
    assert shown == pytest.approx(
        {
            "minimum": float(batch.maps[1, 0].min()),
            "maximum": float(batch.maps[1, 0].max()),
            "mean": float(batch.maps[1, 0].mean()),
        }
    )
    assert second["maps"]["t_tame"] == {
        "minimum": 2.5, "maximum": 2.5, "mean": 2.5, "has_evidence": False
    }  # fmt: skip
    written = [*image["files"]["pictures"], *image["files"]["maps"].values(), *overlays]
    assert all((tmp_path / "out" / path).is_file() for path in written)


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    odd = explanation(classes=(2, 3))
    with writer(tmp_path / "out", title="</title><script>alert('t')</script>") as report:
        report.add(HOSTILE, photo(), odd)
        report.add("/" + "long" * 3000 + ".png", photo(), odd)
        report.skip("<b>" + HOSTILE, "<i>reason</i>")
    page = Page(tmp_path / "out")
    # The page's own, and the data of the thumbnails, which never runs.
    assert [script.get("type") for script in page.all("script")] == ["application/json", None]
    assert not page.all("img onerror")
    assert "<i>reason" not in page.source
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    assert {address["src"][:22] for address in page.all("img")} == {"data:image/png;base64,"}
    assert HOSTILE in page.text
    assert NAMES[2] in page.text
    assert any(image["alt"] == f"Heatmap for {NAMES[3]}" for image in page.all("img"))
    assert "<script>alert" not in page.source


def test_page_asks_nobody_for_anything(tmp_path):
    with writer(tmp_path / "out") as report:
        report.add("a b%.png", photo(), explanation())
    page = Page(tmp_path / "out")
    assert not re.search(r"https?:|//[a-z]|@import|<link", page.source)
    (policy,) = [meta for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy["content"] == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )
    assert set(re.findall(r"url\((.{10})", page.source)) == {"data:image"}
    for link in page.all("a"):
        target = link["href"]
        if target.startswith("#"):
            assert any(attributes.get("id") == target[1:] for _, attributes in page.elements)
        else:
            assert (tmp_path / "out" / target).is_file()


def test_page_shows_frame_and_missing_evidence_where_they_are(tmp_path):
    half = explanation()
    half.maps[0, 1] = 0
    square = Preprocessing(input_size=(32, 32), resize=(32, 32))
    with writer(tmp_path / "cropped") as report:
        report.add("a.png", photo(), half)
    with ExplanationReportWriter(tmp_path / "whole", preprocessing=square) as report:
        report.add("a.png", photo(), explanation())
    cropped, whole = Page(tmp_path / "cropped"), Page(tmp_path / "whole")
    assert len([one for one in cropped.all("span") if one.get("class") == "unseen"]) == 2
    assert not [one for one in whole.all("span") if one.get("class") == "unseen"]
    # 48 x 36 became 49 x 37 and then 32 x 32 from (8, 2): in percent of the photo.
    (card,) = cropped.all("article")
    inset = re.search(r"--inset:([\d.% -]+)", card["style"])[1]
    region = PREPROCESSING.region((48, 36))
    expected = (region.top / 36, 1 - region.right / 48, 1 - region.bottom / 36, region.left / 48)
    assert [float(part.rstrip("%")) / 100 for part in inset.split()] == pytest.approx(
        expected, abs=1e-5
    )
    stages = [button for button in cropped.all("button") if button.get("class") == "stage"]
    labels = [stage["aria-label"] for stage in stages]
    assert labels[0] == "Photo a.png"
    assert "no evidence" not in labels[1]
    assert labels[2].endswith("no evidence, in a.png")
    assert len(cropped.all("img")) == 1


def test_page_without_images_says_so(tmp_path):
    with writer(tmp_path / "out") as report:
        report.skip("a.png", "unreadable")
    page = Page(tmp_path / "out")
    assert "No image was explained." in page.text
    assert json.loads((tmp_path / "out/explanations.json").read_text())["images"] == []


def test_of_very_many_classes_the_most_probable_are_drawn_and_all_are_recorded(tmp_path):
    everything = explanation(classes=range(40), n_names=40)
    with writer(tmp_path / "out") as report:
        report.add("a.png", photo(), everything)
    (image,) = json.loads((tmp_path / "out/explanations.json").read_text())["images"]
    assert [described["index"] for described in image["classes"]] == list(range(40))
    drawn = [one for one in image["classes"] if one["maps"]["t_tame"]["overlay"]]
    assert sorted(described["rank"] for described in drawn) == list(range(1, 13))
    assert len(list((tmp_path / "out/overlays/a").iterdir())) == 12
    assert "the 12 most probable of 40 explained classes" in Page(tmp_path / "out").text
    assert Explanation.load(tmp_path / "out/maps/a.safetensors").maps.shape[1] == 40


def test_failure_midway_leaves_nothing(tmp_path):
    with pytest.raises(KeyError, match="mine"):
        fail_midway(writer(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_failure_while_the_page_is_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr("ttame.reporting.report_contents.write_pages", fail)
    with pytest.raises(MemoryError), writer(tmp_path / "out") as report:
        report.add("a.png", photo(), explanation())
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists"), writer(tmp_path / "out"):
        pytest.fail("entered")
    assert files(tmp_path) == ["out/precious.txt"]


def test_overwriting_replaces_the_folder_only_on_success(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "explanations.json").touch()
    (out / "old.txt").write_text("old")
    with pytest.raises(KeyError, match="mine"):
        fail_midway(writer(out, overwrite=True))
    assert files(tmp_path) == ["out/explanations.json", "out/old.txt"]
    with writer(out, overwrite=True) as report:
        report.add("a.png", photo(), explanation())
    assert "index.html" in files(out)
    assert "old.txt" not in files(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bad_explanations_are_refused(tmp_path):
    broken = explanation()
    broken.maps[0, 0, 0, 0] = torch.nan
    full = explanation()
    nothing = dataclasses.replace(full, maps=full.maps[:, :0], classes=full.classes[:, :0])
    with writer(tmp_path / "out") as report:
        report.add("a.png", photo(), explanation())
        with pytest.raises(ImageError, match=r"image 1 of the batch; allowed: 0 to 0"):
            report.add("b.png", photo(), explanation(), 1)
        with pytest.raises(ClassSelectionError, match="no class"):
            report.add("b.png", photo(), nothing)
        with pytest.raises(NonFiniteMapError, match="NaN"):
            report.add("b.png", photo(), broken)
        with pytest.raises(ExplainerError, match="'grad_cam' in a report about 't_tame'"):
            report.add("b.png", photo(), explanation(method="grad_cam"))
    assert len(json.loads((tmp_path / "out/explanations.json").read_text())["images"]) == 1


def test_bad_options_are_refused_before_any_work(tmp_path):
    with pytest.raises(UnknownNameError, match="try: viridis"):
        writer(tmp_path / "out", scale="virids")
    with pytest.raises(ImageError, match="opacity 2"):
        writer(tmp_path / "out", opacity=2)
    assert list(tmp_path.iterdir()) == []


def test_arguments_are_not_changed(tmp_path):
    shown, batch = photo(), explanation(2)
    before = shown.tobytes(), batch.maps.clone()
    with writer(tmp_path / "out") as report:
        report.add("a.png", shown, batch, 1)
    assert shown.tobytes() == before[0]
    assert torch.equal(batch.maps, before[1])


def test_nothing_of_an_image_stays_in_memory(tmp_path):
    alive = []
    with writer(tmp_path / "out") as report:
        for number in range(5):
            shown, batch = photo(), explanation(2)
            alive += [weakref.ref(shown), weakref.ref(batch), weakref.ref(batch.maps)]
            report.add(f"{number}.png", shown, batch, 1)
            report.skip(f"broken {number}.png", "unreadable")
            del shown, batch
        gc.collect()
        assert [reference() for reference in alive] == [None] * 15
        held = [value for value in vars(report).values() if isinstance(value, list | dict | set)]
        held += [report._facts.methods, report._facts.labels]
        # What the report says about its one method; nothing per image.
        assert sum(len(content) for content in held) == 2
        assert len(vars(report._stems)["_next_number"]) == 5


def test_page_is_written_in_pieces(tmp_path, monkeypatch):
    longest = 0
    original = explanation_page.opened_for_text

    @contextlib.contextmanager
    def measure(path):
        class Measuring:
            def write(self, piece):
                nonlocal longest
                longest = max(longest, len(piece))
                return file.write(piece)

        with original(path) as file:
            yield Measuring()

    monkeypatch.setattr(explanation_page, "opened_for_text", measure)
    with writer(tmp_path / "out") as report:
        for number in range(6):
            report.add(f"{number}.png", photo(300, 200), explanation())
    total = (tmp_path / "out/index.html").stat().st_size
    assert longest < total / 4


def two_methods(n_images=1, **changes):
    first = explanation(n_images, method="grad_cam", **changes)
    other = explanation(n_images, method="eigen_cam", **changes)
    provenance = {"classifier": "tiny", "taps": ["b"], "centre": True}
    maps = 2 * other.maps.roll(1, dims=-1)
    return [first, dataclasses.replace(other, maps=maps, provenance=provenance)]


LABELS = {
    "grad_cam": MethodLabel("Grad-CAM"),
    "eigen_cam": MethodLabel("Eigen-CAM", one_map=True),
}


def test_several_methods_have_a_picture_per_class_and_a_file_of_maps_each(tmp_path):
    methods = two_methods(2)
    with writer(tmp_path / "out", labels=LABELS) as report:
        report.add("a.png", photo(), methods, 1)
    assert files(tmp_path / "out") == [
        "explanations.csv",
        "explanations.json",
        "index.html",
        "maps/a/eigen_cam.safetensors",
        "maps/a/grad_cam.safetensors",
        "overlays/a/1-tabby/eigen_cam.jpg",
        "overlays/a/1-tabby/grad_cam.jpg",
        "overlays/a/2-lynx/eigen_cam.jpg",
        "overlays/a/2-lynx/grad_cam.jpg",
        "pictures/a/1-tabby.jpg",
        "pictures/a/2-lynx.jpg",
    ]
    content = json.loads((tmp_path / "out/explanations.json").read_text())
    assert [(one["name"], one["title"]) for one in content["methods"]] == [
        ("grad_cam", "Grad-CAM"),
        ("eigen_cam", "Eigen-CAM"),
    ]
    assert content["methods"][1]["provenance"]["centre"] is True
    (image,) = content["images"]
    assert image["files"]["pictures"] == ["pictures/a/1-tabby.jpg", "pictures/a/2-lynx.jpg"]
    for batch in methods:
        loaded = Explanation.load(tmp_path / "out" / image["files"]["maps"][batch.method])
        assert loaded.method == batch.method
        assert torch.equal(loaded.maps, batch.maps[1:])
        for place, described in enumerate(image["classes"]):
            figures = described["maps"][batch.method]
            assert figures["maximum"] == pytest.approx(float(batch.maps[1, place].max()))
            assert figures["overlay"].endswith(f"{batch.method}.jpg")
            assert (tmp_path / "out" / figures["overlay"]).is_file()


def test_the_page_shows_methods_side_by_side_for_each_class(tmp_path):
    methods = two_methods()
    methods[0].maps[0, 1] = 7
    with writer(tmp_path / "out", labels=LABELS, left_out={"cam": "no <b>head</b>"}) as report:
        report.add("a.png", photo(), methods)
    page = Page(tmp_path / "out")
    labels = [one["aria-label"] for one in page.all("button") if one.get("class") == "stage"]
    shares = [f"{100 * value:.1f}%" for value in methods[0].class_probabilities[0].tolist()]
    assert labels == [
        "Photo a.png",
        f"Grad-CAM for tabby, {shares[0]}, in a.png",
        f"Eigen-CAM for tabby, {shares[0]}, in a.png",
        "Photo a.png",
        f"Grad-CAM for lynx, {shares[1]}, no evidence, in a.png",
        f"Eigen-CAM for lynx, {shares[1]}, in a.png",
    ]
    assert len(page.all("img")) == 3
    assert page.text.count("one map for all classes") == 2
    assert page.text.count("no evidence") == 1
    assert "2 side by side, " in page.text
    # What the methods share is said once, what they do not beside each of them.
    assert page.text.count("tiny") == 2
    assert "grad_cam: taps a, b" in page.text
    assert "eigen_cam: taps b, centre True" in page.text
    assert "no <b>head</b>" in page.text
    for target in (link["href"] for link in page.all("a")):
        if target.startswith("#"):
            assert any(attributes.get("id") == target[1:] for _, attributes in page.elements)
        else:
            assert (tmp_path / "out" / target).is_file()
    assert not re.search(r"https?:|//[a-z]|@import|<link", page.source)
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    for _, attributes in page.elements:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in identities


def test_methods_must_be_the_same_for_every_image_and_about_the_same_classes(tmp_path):
    methods = two_methods()
    other_classes = two_methods(classes=(1, 2))
    with writer(tmp_path / "out") as report:
        with pytest.raises(ExplainerError, match="one explanation per method"):
            report.add("a.png", photo(), [methods[0], methods[0]])
        with pytest.raises(ExplainerError, match="eigen_cam explains other classes than grad_cam"):
            report.add("a.png", photo(), [methods[0], other_classes[1]])
        report.add("a.png", photo(), methods)
        with pytest.raises(ExplainerError, match="'grad_cam' in a report about 'grad_cam', 'eig"):
            report.add("b.png", photo(), methods[:1])
    (image,) = json.loads((tmp_path / "out/explanations.json").read_text())["images"]
    assert image["name"] == "a.png"
    assert "Where this comes from" in " ".join(Page(tmp_path / "out").text)


def test_an_empty_list_of_explanations_is_refused(tmp_path):
    with writer(tmp_path / "out") as report, pytest.raises(ExplainerError, match="no method"):
        report.add("a.png", photo(), [])


def test_overlays_show_the_map_of_their_own_class_and_method(tmp_path):
    methods = two_methods()
    with writer(tmp_path / "out", labels=LABELS) as report:
        report.add("a.png", photo(), methods)
    overlays = sorted((tmp_path / "out/overlays").rglob("*.jpg"))
    assert len(overlays) == len({path.read_bytes() for path in overlays}) == 4
    region = PREPROCESSING.region((48, 36))
    heatmap = methods[1].heatmaps((4, 4))[0, 1]
    expected = overlay_heatmap(photo(), heatmap, region)
    with Image.open(tmp_path / "out/overlays/a/2-lynx/eigen_cam.jpg") as drawn:
        assert_drawn(drawn, expected)


def test_maps_of_pixels_are_drawn_by_what_speaks_for_the_class(tmp_path):
    one = explanation()
    label = {"t_tame": MethodLabel("Gradient", of_pixels=True)}
    with writer(tmp_path / "out", labels=label) as report:
        report.add("a.png", photo(), one)
    expected = overlay_heatmap(
        photo(), pixel_heatmaps(one.maps[0, 0]), PREPROCESSING.region((48, 36))
    )
    with Image.open(tmp_path / "out/overlays/a/1-tabby.jpg") as drawn:
        assert_drawn(drawn, expected)
    page = " ".join(" ".join(Page(tmp_path / "out").text).split())
    assert "Maps of pixels (Gradient) are drawn by" in page
    # What is saved and counted is the raw map.
    assert torch.equal(Explanation.load(tmp_path / "out/maps/a.safetensors").maps, one.maps)
    content = json.loads((tmp_path / "out/explanations.json").read_text())
    figures = content["images"][0]["classes"][0]["maps"]["t_tame"]
    assert figures["minimum"] == pytest.approx(float(one.maps[0, 0].min()))
    assert content["methods"][0]["drawn_as"] == "pixels"


def test_a_photo_that_was_read_reduced_is_told_at_its_own_size(tmp_path):
    reduced = photo(48, 36)
    reduced.info["ttame_full_size"] = (144, 107)
    with writer(tmp_path / "out") as report:
        report.add("a.png", reduced, explanation())
    (image,) = json.loads((tmp_path / "out/explanations.json").read_text())["images"]
    assert (image["width"], image["height"]) == (144, 107)
    seen = PREPROCESSING.region((48, 36))
    assert image["region"]["left"] == pytest.approx(3 * seen.left)
    assert image["region"]["bottom"] == pytest.approx(seen.bottom * 107 / 36)
    overlay = next((tmp_path / "out/overlays/a").iterdir())
    with Image.open(overlay) as drawn:
        assert drawn.size == (48, 36)


def test_what_is_too_large_to_draw_is_drawn_smaller_at_the_same_place(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_files, "MOST_PIXELS_AT_FULL_SIZE", 1000)
    monkeypatch.setattr(photo_files, "MOST_PIXELS_REDUCED", 500)
    with writer(tmp_path / "out") as report:
        report.add("a.png", Image.new("RGB", (200, 10), "white"), explanation())
    with Image.open(next((tmp_path / "out/overlays/a").iterdir())) as overlay:
        assert overlay.size == (100, 5)
        # Only a square in the middle was seen: what lies outside is dark.
        brightness = np.asarray(overlay.convert("L"))
    assert (brightness[:, :40] < 150).all() and (brightness[:, 60:] < 150).all()
    assert brightness[:, 46:54].mean() > 150


def test_other_pictures_can_be_asked_for(tmp_path):
    for pictures, kinds in (
        ("none", {"maps"}), ("overlays", {"maps", "overlays"}),
        ("all", {"maps", "overlays", "pictures"}),
    ):  # fmt: skip
        for kind, methods in (("one", explanation()), ("two", two_methods())):
            folder = tmp_path / pictures / kind
            with writer(folder, pictures=pictures, labels=LABELS) as report:
                report.add("a.png", photo(), methods)
            assert {path.name for path in folder.iterdir() if path.is_dir()} == kinds
            for link in Page(folder).all("a"):
                assert link["href"].startswith("#") or (folder / link["href"]).is_file()
    with pytest.raises(UnknownNameError, match="pictures 'some'"):
        writer(tmp_path / "out", pictures="some")


def test_the_table_has_a_row_per_photo_class_and_method(tmp_path):
    with writer(tmp_path / "out", labels=LABELS) as report:
        report.add("=1+1.png", photo(), two_methods())
        report.add("b, c.png", photo(), two_methods())
    content = json.loads((tmp_path / "out/explanations.json").read_text(encoding="utf-8"))
    with (tmp_path / "out/explanations.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2
    assert {row["found"] for row in rows} == {""}  # one class is true of each photo
    # A spreadsheet would run it.
    assert [row["photo"] for row in rows[::4]] == ["'=1+1.png", "b, c.png"]
    first = content["images"][0]["classes"][0]
    assert (rows[0]["class"], rows[0]["method"]) == (first["name"], "grad_cam")
    assert float(rows[0]["probability"]) == pytest.approx(first["probability"], rel=1e-5)
    assert float(rows[0]["maximum"]) == pytest.approx(
        first["maps"]["grad_cam"]["maximum"], rel=1e-5
    )
    assert (tmp_path / "out" / rows[0]["overlay"]).is_file()
    assert (tmp_path / "out" / rows[0]["map"]).is_file()


def test_many_photos_are_spread_over_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(explanation_page, "PHOTOS_PER_PAGE", 3)
    out = tmp_path / "out"
    with writer(out) as report:
        for number in range(7):
            report.add(f"{number}.png", photo(), explanation())
        report.skip("torn.png", "torn")
    assert sorted(path.name for path in (out / "pages").iterdir()) == ["1.html", "2.html", "3.html"]
    index = Page(out)
    assert not index.all("article") and "torn.png" in index.text
    records = json.loads(re.search(r'id="records">(.*?)</script>', index.source, re.DOTALL)[1])
    assert [record[0] for record in records] == [f"{number}.png" for number in range(7)]
    shown = 0
    for number in (1, 2, 3):
        page = Page(out, f"pages/{number}.html")
        shown += len(page.all("article"))
        here = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        for link in page.all("a"):
            place, _, part = link["href"].partition("#")
            assert (out / "pages" / place).is_file() if place else part in here
        for record in records:
            place, _, part = record[3].partition("#")
            assert (place != f"pages/{number}.html") or part in here
    assert shown == 7


def test_maps_fade_by_the_probability_of_their_class(tmp_path):
    one = explanation(classes=(0, 1, 2))
    with writer(tmp_path / "out") as report:
        report.add("a.png", photo(), one)
    found = [
        float(figure["style"].removeprefix("--strength:"))
        for figure in Page(tmp_path / "out").all("figure")
        if "style" in figure
    ]
    probabilities = one.class_probabilities[0]
    assert found == pytest.approx((probabilities / probabilities.max()).tolist(), abs=1e-4)


def test_the_page_of_one_photo_is_small(tmp_path):
    with writer(tmp_path / "out") as report:
        report.add("a.png", photo(3000, 2000), explanation(classes=(0, 1, 2)))
    assert (tmp_path / "out/index.html").stat().st_size < 1e6
