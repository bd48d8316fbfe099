"""The page about all metrics, protocols and published comparisons."""

from __future__ import annotations

import pytest

from scripts.docs.metrics_page import PAGE, metrics_page
from ttame.evaluation.reproductions import REPRODUCTIONS
from ttame.metrics.known_metrics import METRICS, columns_of, known_metrics
from ttame.metrics.known_protocols import PROTOCOLS


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == metrics_page(), (
        "write it again: python -m scripts.docs metrics"
    )


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_means_and_where_it_comes_from(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert metric.title and metric.measures and metric.cost and metric.paper
    assert f"{{#{name}}}" in metrics_page()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_stands_there_with_its_hash(name: str) -> None:
    assert f"`{name}`, `{PROTOCOLS[name].hash}`; " in metrics_page()


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_every_published_number_is_one_of_a_column_that_a_run_has(name: str) -> None:
    setup = REPRODUCTIONS[name]
    protocol = PROTOCOLS[setup.protocol]
    columns = columns_of(known_metrics(setup.metrics or protocol.metrics), protocol)
    page = metrics_page()
    for method, numbers in setup.published.items():
        assert method in setup.methods
        assert set(numbers) <= set(columns)
        row = next(line for line in _section(page, name) if line.startswith(f"| `{method}` |"))
        assert {f"{number:.2f}" for number in numbers.values()} <= set(row.split(" "))


def _section(page: str, anchor: str) -> list[str]:
    return page.partition(f"{{#{anchor}}}")[2].partition("\n### ")[0].splitlines()
