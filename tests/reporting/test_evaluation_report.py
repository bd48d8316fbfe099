"""What stands in the page of an evaluation."""

from __future__ import annotations

import dataclasses
import html.parser
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.reporting import evaluation_material as material
from ttame.errors import OutputError
from ttame.reporting.chart_axes import linear_axis, log_axis
from ttame.reporting.evaluation_answer import evaluation_answer
from ttame.reporting.evaluation_charts import cost_chart, curve_charts, method_styles, sparkline
from ttame.reporting.evaluation_report import repeating_command, write_evaluation_report
from ttame.reporting.evaluation_standing import falls_behind, method_titles, standing
from ttame.reporting.evaluation_table import table_columns, table_rows
from ttame.reporting.label_places import spread
from ttame.reporting.written_values import number_writer
from ttame.results.evaluation import Evaluation, Score
from ttame.results.gallery_photo import GalleryPhoto

EVERY = (
    "realistic",
    "crowd",
    "tiny",
    "nothing_measured",
    "unusual_names",
    "missing_scores",
)


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and checks that what opens also closes."""

    VOID = frozenset(("meta", "input", "img", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID and not tag.startswith("!"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def page_of(evaluation: Evaluation, folder: Path, photos: int = 1) -> tuple[Page, str]:
    path = folder / "report.html"
    write_evaluation_report(path, evaluation, material.gallery(evaluation, photos))
    text = path.read_text(encoding="utf-8")
    return Page(text), text


@pytest.mark.parametrize("name", EVERY)
def test_every_page_is_sound_and_asks_nobody(name: str, tmp_path: Path) -> None:
    page, text = page_of(getattr(material, name)(), tmp_path)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        target = attributes.get("href") or ""
        assert not target or target.removeprefix("#") in ids
        labels = (attributes.get("aria-labelledby") or "").split()
        assert set(labels) <= set(ids)
        assert (attributes.get("src") or "data:").startswith("data:")
        # A class or the like that is escaped by mistake ends up as an attribute's name.
        assert not any("&" in key or '"' in key for key in attributes)
    policy = next(a for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert (policy["content"] or "").startswith("default-src 'none'")
    assert not re.search(r"https?://|@import", text)
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", page.text)


def test_the_page_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("what was there")
    evaluation = material.realistic()
    broken = dataclasses.replace(material.gallery(evaluation, 1)[0], heatmaps={"grad_cam": [1.0]})
    with pytest.raises(Exception, match="heatmap"):
        write_evaluation_report(path, evaluation, [broken])
    assert path.read_text() == "what was there"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OutputError):
        write_evaluation_report(path / "below-a-file.html", evaluation)


def test_facts_protocol_and_what_is_missing_are_told(tmp_path: Path) -> None:
    page, _ = page_of(material.realistic(), tmp_path)
    for told in (
        "Which explanation is faithful?",
        "efficientnet_lite0",
        "0f3a9bd1c2e4",
        "2026-11-21",
        "2 cores of an invented processor",
        "soft, scaled on the map's own grid",
        "kept shares 1.0, 0.15",
        "The sample images are not the 2000 images of the paper.",
        "efficientnet_lite0 has no attention",
        "the file ends too early",
        "masks 1000, seed 0",
        "3 of 100 maps constant",
        "published 11.3",
        "ttame evaluate --model efficientnet_lite0",
    ):
        assert told in page.text, told


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    page, text = page_of(material.unusual_names(), tmp_path)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "<script>alert" not in text
    # The columns' unit is "<b>", a family is "<i>".
    assert "<small><b>" not in text and '"<i>"' not in text


def test_the_command_survives_a_shell() -> None:
    words = shlex.split(repeating_command(material.unusual_names()))
    assert words[:3] == ["ttame", "evaluate", "--model"]
    assert words[words.index("--data") + 1].startswith("$(rm -rf ~)/<script>")
    # Photos that were not readable counted as well.
    assert words[words.index("--limit") + 1] == "101"


def test_rows_stand_by_the_first_column_that_compares() -> None:
    evaluation = material.realistic()
    rows = table_rows(evaluation)
    values = [float(row["cells"][0]["sort"]) for row in rows]
    assert values == sorted(values)
    assert [column["sorted"] for column in table_columns(evaluation)][:2] == ["ascending", ""]
    higher = dataclasses.replace(evaluation, columns=evaluation.columns[3:4])
    values = [float(row["cells"][0]["sort"]) for row in table_rows(higher)]
    assert values == sorted(values, reverse=True)
    assert table_columns(higher)[0]["sorted"] == "descending"
    last = [row["title"] for row in table_rows(material.missing_scores())][-2:]
    assert last == ["T-TAME", "Grad-CAM"]


def test_a_p_value_that_was_not_kept_is_not_shown() -> None:
    hints = {}
    for known in (True, False):
        found = material.realistic()
        methods = tuple(
            dataclasses.replace(
                method,
                scores={
                    key: dataclasses.replace(score, p_known=known)
                    for key, score in method.scores.items()
                },
            )
            for method in found.methods
        )
        rows = table_rows(dataclasses.replace(found, methods=methods))
        hints[known] = " ".join(cell["hint"] for row in rows for cell in row["cells"])
    assert "(p = " in hints[True] and "(p = " not in hints[False]
    assert hints[True].count("significantly") == hints[False].count("significantly") > 0


def test_cells_say_value_interval_rank_and_standing() -> None:
    rows = {row["title"]: row for row in table_rows(material.realistic())}
    cell = rows["Grad-CAM"]["cells"][0]
    assert (cell["value"], cell["interval"], cell["rank"]) == ("24.0", "22.6 to 25.4", 4)
    assert cell["published"] == "11.3"
    assert rows["T-TAME"]["cells"][0]["standing"] == "best"
    assert rows["Score-CAM"]["cells"][0]["standing"] == "level"
    assert rows["RISE"]["cells"][0]["standing"] == ""
    # A column that only describes has no best.
    assert all(row["cells"][6]["standing"] == "" for row in rows.values())
    assert [cost["value"] for cost in rows["RISE"]["costs"]] == ["1 000", "0", "0", "5 204", "233"]


def test_a_single_method_is_no_best() -> None:
    assert table_rows(material.tiny())[0]["cells"][0]["standing"] == ""
    answer = evaluation_answer(material.tiny())
    assert answer.sentences[0].startswith("No column has numbers of two methods")
    assert answer.columns == ()


@pytest.mark.parametrize(
    ("rank", "p_value", "expected"),
    [(1, 1.0, "best"), (2, 0.05, "level"), (2, 0.0499, ""), (0, 1.0, ""), (2, math.nan, "")],
)
def test_standing(rank: int, p_value: float, expected: str) -> None:
    assert standing(Score(0.5, 0.4, 0.6, rank, p_value, 10)) == expected
    assert standing(None) == ""


def test_behind_means_intervals_that_do_not_overlap() -> None:
    lower, higher = material.COLUMNS[0], material.COLUMNS[3]
    small, large = Score(1, 0.5, 1.5, 1, 1, 9), Score(2, 1.6, 2.4, 2, 0, 9)
    touching = Score(2, 1.5, 2.4, 2, 0, 9)
    assert falls_behind(large, small, lower) and not falls_behind(small, large, lower)
    assert falls_behind(small, large, higher) and not falls_behind(large, small, higher)
    assert not falls_behind(touching, small, lower) and not falls_behind(small, touching, higher)
    unknown = Score(9, math.nan, math.nan, 3, 0, 9)
    assert not falls_behind(unknown, small, lower) and not falls_behind(small, unknown, lower)


def test_the_answer_follows_from_the_numbers() -> None:
    answer = evaluation_answer(material.realistic())
    said = " ".join(answer.sentences)
    assert "T-TAME is best in all 6 columns." in said
    assert (
        "T-TAME and Score-CAM are the best, or not significantly different from the best, in every"
        in said
    )
    assert (
        "Worse than Centre Gaussian, a baseline, with intervals that do not overlap: "
        "Integrated Gradients in 5 columns; Attention Rollout in 5 columns." in said
    )
    assert "overlap: Attention Rollout in Increase in Confidence at 100 % kept." in said
    # The Centre Gaussian fails the check, as a baseline must.
    assert "Every method that was checked passes" in said
    assert said.endswith("All of this holds for 100 images, this classifier and this protocol.")
    first = answer.columns[0]
    assert (first.best, first.level) == ("T-TAME (19.5 %)", "Score-CAM")
    assert dict(first.behind)["Centre Gaussian"] == "Integrated Gradients, Attention Rollout"


def test_the_answer_changes_with_the_numbers() -> None:
    evaluation = material.realistic()
    first, second, *others = evaluation.methods
    swapped = dataclasses.replace(
        evaluation,
        methods=(
            dataclasses.replace(
                first,
                scores={**first.scores, "deletion": second.scores["deletion"]},
                sanity=dataclasses.replace(first.sanity, passed=False) if first.sanity else None,
            ),
            dataclasses.replace(
                second, scores={**second.scores, "deletion": first.scores["deletion"]}
            ),
            *others,
        ),
    )
    said = " ".join(evaluation_answer(swapped).sentences)
    assert (
        "No method is best everywhere: of 6 columns T-TAME is best in 5 and Grad-CAM in 1" in said
    )
    assert "T-TAME fails the randomisation check" in said
    assert "Score-CAM is the best, or not significantly different from the best, in every" in said


def test_baselines_among_the_best_are_named() -> None:
    evaluation = material.realistic()
    *others, gaussian = evaluation.methods
    score = dataclasses.replace(gaussian.scores["road"], p_value=0.4)
    strong = dataclasses.replace(gaussian, scores={**gaussian.scores, "road": score})
    said = " ".join(
        evaluation_answer(dataclasses.replace(evaluation, methods=(*others, strong))).sentences
    )
    assert "Centre Gaussian, a baseline that does not look at the network, is the best, or" in said
    assert "significantly different from it, in ROAD, most relevant first." in said
    without = dataclasses.replace(evaluation, methods=evaluation.methods[:7])
    assert "No baseline was measured" in " ".join(evaluation_answer(without).sentences)
    good = dataclasses.replace(evaluation, methods=(*evaluation.methods[:2], gaussian))
    assert "No method is worse than Centre Gaussian" in " ".join(evaluation_answer(good).sentences)


def test_methods_that_share_a_title_are_told_apart() -> None:
    evaluation = material.realistic(3)
    first, second, third = evaluation.methods
    same = dataclasses.replace(second, title=first.title)
    titles = method_titles(dataclasses.replace(evaluation, methods=(first, same, third)))
    assert titles["grad_cam"] == "T-TAME (grad_cam)"
    assert titles["grad_cam_plus_plus"] == "Grad-CAM++"


def test_lines_stand_where_their_values_are() -> None:
    charts = curve_charts(material.realistic())
    assert [chart["title"] for chart in charts] == [
        "Insertion", "Deletion", "ROAD, most relevant first",
    ]  # fmt: skip
    chart = charts[2]
    places = {tick.label: tick.place for tick in chart["y_ticks"]}
    assert (places["0"], places["1"]) == (340, 16)
    x, y = map(float, chart["lines"][0]["points"].split()[0].split(","))
    # T-TAME keeps 0.95 · 0.9^2.3 of the images after 10 %.
    assert (x, y) == pytest.approx((64 + 48.4, 340 - 324 * 0.95 * 0.9**2.3), abs=0.06)
    band = chart["lines"][0]["band"].split()
    assert len(band) == 14
    assert chart["numbers"]["places"] == ["10", "20", "30", "40", "50", "70", "90"]
    assert chart["numbers"]["rows"][0][1][0] == "0.746"


def test_direct_labels_do_not_cover_each_other() -> None:
    for chart in curve_charts(material.realistic()):
        places = sorted(float(line["label_y"]) for line in chart["lines"])
        assert min(np.diff(places)) >= 14.9
        assert places[0] >= 16 and places[-1] <= 340


def test_holes_in_curves_and_costs_are_left_out() -> None:
    evaluation = material.missing_scores()
    for chart in curve_charts(evaluation):
        assert [line["number"] for line in chart["lines"]] == list(range(2, 9))
    cost = cost_chart(evaluation)
    assert cost is not None
    for column in cost["columns"]:
        assert [point["number"] for point in column["points"]] == list(range(2, 9))
    assert curve_charts(material.tiny()) == []
    assert cost_chart(material.tiny()) is None


def test_points_stand_at_their_cost_and_value() -> None:
    cost = cost_chart(material.realistic())
    assert cost is not None and len(cost["columns"]) == 6
    ticks = {tick.label: tick.place for tick in cost["x_ticks"]}
    per_decade = ticks["10"] - ticks["1"]
    assert ticks["100"] - ticks["10"] == pytest.approx(per_decade, abs=0.2)
    points = {point["number"]: point for point in cost["columns"][3]["points"]}
    assert float(points[0]["x"]) == pytest.approx(
        ticks["1"] + per_decade * math.log10(7.4), abs=0.2
    )
    assert float(points[0]["y"]) < float(points[6]["y"])
    assert float(points[0]["high"]) < float(points[0]["y"]) < float(points[0]["low"])
    assert points[4]["hint"] == "RISE: 0.544, 5.2e+03 ms per image"


def test_labels_of_points_do_not_cover_each_other() -> None:
    cost = cost_chart(material.realistic())
    assert cost is not None
    for column in cost["columns"]:
        spots = [
            (float(point["label_x"]), float(point["label_y"]), 6.9 * len(point["label"]))
            for point in column["points"]
        ]
        for number, (x, y, width) in enumerate(spots):
            for other_x, other_y, other_width in spots[:number]:
                apart = x >= other_x + other_width - 0.2 or other_x >= x + width - 0.2
                assert apart or abs(y - other_y) >= 14.8


def test_no_two_of_many_methods_look_the_same() -> None:
    styles = method_styles(material.crowd().methods)
    assert len({(style.colour, style.marker, style.dash) for style in styles}) == len(styles)
    assert [style.colour for style in styles[-2:]] == [-1, -1]
    # Without any colour eight neighbours still differ.
    assert len({style.marker for style in styles[:8]}) == 8


def test_sparklines_stay_inside() -> None:
    assert sparkline([(0, 1.0), (4, 0.5), (8, -0.5)], 100, 22) == "2,2 50,11 98,20"
    assert sparkline([(0, math.nan)]) == ""
    assert sparkline([(3, 0.0)], 100, 22) == "2,20"


def test_photos_stand_in_the_order_given_with_their_own_values(tmp_path: Path) -> None:
    page, text = page_of(material.realistic(), tmp_path, photos=3)
    order = [text.index(f"photo &lt;{number}&gt; 🐈.jpg</bdi>") for number in range(3)]
    assert order == sorted(order)
    assert text.count('class="stage"') == 3 * 10
    # Methods stand as in the table.
    rows = [row["number"] for row in table_rows(material.realistic())]
    tiles = [int(number) for number in re.findall(r'<figure data-method="(\d+)"', text)]
    assert tiles == rows * 3
    # The last method's maps are constant.
    assert text.count("no evidence</span>") == 3
    assert text.count('class="heat"') == 3 * 8
    for told in ("tabby & cat 0", "90.0%", "disagreement 0.80", "12.0 %", "0.250"):
        assert told in page.text, told


def test_a_method_without_a_map_is_left_out_of_the_photo(tmp_path: Path) -> None:
    evaluation = material.realistic(2)
    photo = GalleryPhoto(
        np.zeros((8, 8, 3), np.uint8), "a.png", "cat", 0.5, {"grad_cam": np.eye(3)}
    )
    path = tmp_path / "report.html"
    write_evaluation_report(path, evaluation, [photo], command="make it so")
    text = path.read_text(encoding="utf-8")
    assert text.count('class="heat"') == 1
    assert "disagreement" not in Page(text).text.split("Photos")[-1].split("make it so")[0].replace(
        "methods disagree", ""
    )
    assert "make it so" in text


def test_the_page_is_the_same_after_a_trip_through_json(tmp_path: Path) -> None:
    evaluation = material.realistic()
    _, text = page_of(evaluation, tmp_path)
    _, again = page_of(Evaluation.from_json(evaluation.to_json()), tmp_path)
    assert text == again


def test_baselines_are_marked_as_such(tmp_path: Path) -> None:
    page, _ = page_of(material.realistic(), tmp_path)
    marked = [attributes for tag, attributes in page.tags if attributes.get("class") == "baseline"]
    assert [attributes["data-family"] for attributes in marked] == ["baseline"] * 2


def test_methods_that_fail_the_check_stand_first(tmp_path: Path) -> None:
    page, _ = page_of(material.realistic(), tmp_path)
    section = page.text.split("Does the map depend on the network?")[1]
    assert section.index("Centre Gaussian") < section.index("T-TAME")
    assert section.count("failed") == 1 and section.count("passed") == 8


def test_fewer_images_are_told_where_they_are_fewer() -> None:
    rows = {row["title"]: row for row in table_rows(material.missing_scores())}
    assert rows["Grad-CAM++"]["cells"][0]["images"] == "12 images"
    assert rows["RISE"]["cells"][0]["images"] == ""


def test_bands_lie_between_the_ends_of_the_intervals() -> None:
    chart = curve_charts(material.realistic())[2]
    line = chart["lines"][0]
    heights = [float(spot.split(",")[1]) for spot in line["band"].split()]
    spots = [float(spot.split(",")[1]) for spot in line["points"].split()]
    above, below = heights[: len(spots)], heights[len(spots) :][::-1]
    # Intervals are 0.03 to both sides, 324 units are 1.
    assert np.subtract(spots, above) == pytest.approx(0.03 * 324, abs=0.11)
    assert np.subtract(below, spots)[:-1] == pytest.approx(0.03 * 324, abs=0.11)


def test_labels_of_equal_points_stand_apart() -> None:
    evaluation = material.realistic(2)
    first, second = evaluation.methods
    twin = dataclasses.replace(second, scores=first.scores, cost=first.cost)
    third = dataclasses.replace(second, name="third")
    cost = cost_chart(dataclasses.replace(evaluation, methods=(first, twin, third)))
    assert cost is not None
    one, other, _ = cost["columns"][0]["points"]
    assert (one["x"], one["y"]) == (other["x"], other["y"])
    assert (one["label_x"], one["label_y"]) != (other["label_x"], other["label_y"])


def test_places_are_spread_in_their_order() -> None:
    assert spread([50.0, 10.0, 52.0, 53.0], 10.0, 0.0, 100.0) == [50.0, 10.0, 60.0, 70.0]
    assert spread([0.0] * 5, 50.0, 0.0, 100.0) == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert spread([], 10.0, 0.0, 100.0) == []


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        ([-0.0001, 5.0], "", ["0.00", "5.00"]),
        ([0.0001], "", ["1.00e−04"]),
        ([12345.6, -1.0], "", ["12346", "−1"]),
        ([12.34, None, math.nan], "%", ["12.3", "–", "–"]),
        ([math.inf, 1.0], "", ["inf", "1.00"]),
        ([], "", []),
    ],
)
def test_numbers_of_a_column_are_written_alike(
    values: list[float | None], unit: str, expected: list[str]
) -> None:
    assert [number_writer(values, unit)(value) for value in values] == expected


@pytest.mark.parametrize("values", [[0.0, 0.0], [-3.0, 4.0], [1e-9, 2e-9], [5.0], [99.9, 100.1]])
def test_axes_enclose_their_values_with_round_ticks(values: list[float]) -> None:
    axis = linear_axis(values, 340, 16)
    assert axis.first <= min(values) and max(values) <= axis.last
    assert 2 <= len(axis.ticks) <= 8
    assert len({tick.label for tick in axis.ticks}) == len(axis.ticks)
    assert axis.ticks[0].place == 340 and axis.ticks[-1].place == 16


def test_a_log_axis_has_ticks_even_within_a_decade() -> None:
    assert [tick.label for tick in log_axis([3.0, 4.0], 0, 100).ticks] == ["3", "4", "5"]
    assert [tick.label for tick in log_axis([0.04, 5204.0], 0, 100).ticks] == [
        "0.1", "1", "10", "100", "1 000",
    ]  # fmt: skip


def test_a_column_of_equal_numbers_is_named_and_wins_nothing() -> None:
    evaluation = material.realistic()
    assert not any("says nothing" in line for line in evaluation_answer(evaluation).sentences)
    column = evaluation.columns[0]
    same = evaluation.methods[0].scores[column.key]
    equal = tuple(
        dataclasses.replace(method, scores={**method.scores, column.key: same})
        for method in evaluation.methods
    )
    answer = evaluation_answer(dataclasses.replace(evaluation, methods=equal))
    (sentence,) = (line for line in answer.sentences if "says nothing" in line)
    assert column.title in sentence
    assert column.title not in [found.title for found in answer.columns]
