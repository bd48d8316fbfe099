"""Writes ``docs/metrics.md`` from the registries: python -m scripts.docs metrics"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttame.evaluation.protocol_words import protocol_in_words
from ttame.evaluation.reproductions import REPRODUCTIONS, Reproduction
from ttame.evaluation.texts.text_protocol_words import text_protocol_in_words
from ttame.metrics.known_metrics import METRICS, columns_of, known_metrics
from ttame.metrics.known_protocols import DEFAULT_PROTOCOL, PROTOCOLS
from ttame.metrics.metric import Metric
from ttame.metrics.protocol import Protocol
from ttame.metrics.texts.known_text_metrics import TEXT_METRICS, known_text_metrics
from ttame.metrics.texts.known_text_protocols import DEFAULT_TEXT_PROTOCOL, TEXT_PROTOCOLS
from ttame.metrics.texts.text_metric import TextMetric
from ttame.metrics.texts.text_protocol import TextProtocol

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
_ARROWS = {"higher": "↑", "lower": "↓", "neither": "–"}
_DIRECTIONS = {
    "higher": "Higher is better",
    "lower": "Lower is better",
    "neither": "Neither higher nor lower is better",
}


def write_page() -> None:
    """Write the page anew."""
    PAGE.write_text(metrics_page(), encoding="utf-8")


def metrics_page() -> str:
    """The whole page: a table of metrics, each in full, protocols, and published comparisons."""
    return (
        "\n".join(
            [
                "# Metrics",
                "",
                "<!-- Written by python -m scripts.docs metrics; do not edit. -->",
                "",
                f"{len(METRICS)} metrics and {len(PROTOCOLS)} protocols of images, and those "
                "[of texts](#texts). A metric gives every image a value; a protocol fixes",
                "everything that the value depends on besides network, photo and map. [Find out "
                "which explainer to",
                "trust](how-to/evaluate.md) shows how they are used; `ttame evaluate --metrics "
                "list` prints the first table.",
                "",
                "## All metrics",
                "",
                "Costs are those of measuring one image, on top of the map itself.",
                "",
                "| metric | better | unit | cost | needs | paper |",
                "|---|:-:|---|---|---|---|",
                *map(_row, METRICS.values()),
                "",
                *(line for metric in METRICS.values() for line in _metric(metric)),
                "## Protocols",
                "",
                f"`--protocol NAME`; `{DEFAULT_PROTOCOL}` if not given. The hash is made from the "
                "settings: two numbers with",
                "different hashes were not measured alike and do not belong into one table.",
                "",
                "| protocol | repeats | measures | hash |",
                "|---|---|---|---|",
                *map(_protocol_row, PROTOCOLS.values()),
                "",
                *(line for protocol in PROTOCOLS.values() for line in _protocol(protocol)),
                "## Published comparisons",
                "",
                "`ttame evaluate --reproduce NAME --data FOLDER` runs a published set-up on "
                "ImageNet's validation images,",
                "which everybody has to get for themselves. Where the printed numbers are known "
                "they are given next to ours.",
                "",
                *(line for setup in REPRODUCTIONS.values() for line in _reproduction(setup)),
                *_texts(),
            ]
        ).rstrip()
        + "\n"
    )


def _row(metric: Metric) -> str:
    cells = [
        f"[`{metric.name}`](#{metric.name})",
        _ARROWS[metric.better],
        metric.unit,
        metric.cost,
        "annotations" if "targets" in metric.needs else "",
        metric.paper,
    ]
    return _line(cells)


def _metric(metric: Metric) -> list[str]:
    used = [
        f"[`{protocol.name}`](#protocol-{protocol.name})"
        for protocol in PROTOCOLS.values()
        if metric.name in (*protocol.metrics, *protocol.annotated_metrics)
    ]
    facts = [
        _DIRECTIONS[metric.better] + (f"; in {metric.unit}" if metric.unit else "; without unit"),
        f"Cost: {metric.cost}",
        f"Paper: {metric.paper}",
    ]
    if "targets" in metric.needs:
        facts.append("Needs `--annotations`")
    if metric.reads:
        settings = ", ".join(f"`{setting}`" for setting in sorted(metric.reads))
        facts.append(f"Depends on the protocol's {settings}")
    if metric.gated:
        facts.append("Not of methods that fail the randomisation check")
    if metric.per_class:
        facts.append("Images of a class are averaged before classes are")
    facts.append(f"Measured by {', '.join(used)}" if used else "Measured where `--metrics` asks")
    columns = [f"`{key}`" for key in _columns(metric)]
    word = "Column" if len(columns) == 1 else "Columns"
    return [
        f"### {metric.title} {{#{metric.name}}}",
        "",
        f"`{metric.name}`: {metric.measures.rstrip('.')}.",
        "",
        *(f"- {fact.rstrip('.')}." for fact in facts),
        f"- {word} with the settings of `{_columns_protocol(metric).name}`: {', '.join(columns)}.",
        "",
    ]


def _columns_protocol(metric: Metric) -> Protocol:
    """The first protocol that measures it, or else the default one."""
    using = (p for p in PROTOCOLS.values() if metric.name in p.metrics)
    return next(using, PROTOCOLS[DEFAULT_PROTOCOL])


def _columns(metric: Metric) -> list[str]:
    return list(columns_of([metric], _columns_protocol(metric)))


def _protocol_row(protocol: Protocol) -> str:
    measures = ", ".join(f"`{name}`" for name in protocol.metrics)
    name = f"[`{protocol.name}`](#protocol-{protocol.name})"
    return _line([name, protocol.source, measures, f"`{protocol.hash}`"])


def _protocol(protocol: Protocol) -> list[str]:
    words = protocol_in_words(protocol, known_metrics(protocol.metrics))
    return [
        f"### {protocol.title} {{#protocol-{protocol.name}}}",
        "",
        f"`{protocol.name}`, `{protocol.hash}`; {protocol.source}.",
        "",
        *(f"- **{what}.** {_sentence(how)}" for what, how in words),
        *_gate_and_annotations(protocol),
        "",
    ]


def _gate_and_annotations(protocol: Protocol) -> list[str]:
    lines = []
    if protocol.gate_images:
        gated = ", ".join(f"`{name}`" for name in protocol.metrics if METRICS[name].gated)
        lines.append(
            f"- **Gate.** The randomisation check is made on {protocol.gate_images} images or "
            f"more; a method that fails it has no {gated}."
        )
    if protocol.annotated_metrics:
        names = ", ".join(f"`{name}`" for name in protocol.annotated_metrics)
        lines.append(f"- **Annotated data.** With `--annotations` also {names}.")
    return lines


def _reproduction(setup: Reproduction) -> list[str]:
    methods = ", ".join(f"[`{name}`](methods.md#{name})" for name in setup.methods)
    lines = [
        f"### {setup.title} {{#{setup.name}}}",
        "",
        f"`ttame evaluate --reproduce {setup.name} --data FOLDER`",
        "",
        f"- **Network:** `{setup.model}`.",
        f"- **Images:** {setup.images:,} of ImageNet's validation set.",
        f"- **Protocol:** [`{setup.protocol}`](#protocol-{setup.protocol}), "
        f"`{PROTOCOLS[setup.protocol].hash}`.",
        f"- **Methods:** {methods}.",
        *(f"- {note}" for note in setup.notes),
        "",
    ]
    return lines + (_published(setup) if setup.published else [])


def _published(setup: Reproduction) -> list[str]:
    """The printed numbers, with the headings that the table of a run has."""
    protocol = PROTOCOLS[setup.protocol]
    titles = columns_of(known_metrics(setup.metrics or protocol.metrics), protocol)
    keys = [key for key in titles if any(key in numbers for numbers in setup.published.values())]
    header = [f"{titles[key][1].title} {_ARROWS[titles[key][0].better]}" for key in keys]
    rows = [
        [f"`{method}`", *(f"{numbers[key]:.2f}" if key in numbers else "–" for key in keys)]
        for method, numbers in setup.published.items()
    ]
    return [
        "Published:",
        "",
        _line(["method", *header]),
        "|---" + "|---:" * len(keys) + "|",
        *map(_line, rows),
        "",
    ]


def _texts() -> list[str]:
    """Metrics and protocols of texts."""
    return [
        "## Texts",
        "",
        "`ttame evaluate --text-data REVIEWS` measures these, each text a value; [Which method "
        "finds the words?](how-to/evaluate-texts.md)",
        "shows how. Costs are those of measuring one text, on top of the map itself; all values "
        "are in %.",
        "",
        "| metric | better | cost | needs | paper |",
        "|---|:-:|---|---|---|",
        *map(_text_row, TEXT_METRICS.values()),
        "",
        *(f"- **{metric.title}:** {metric.measures}." for metric in TEXT_METRICS.values()),
        "",
        f"`--protocol NAME`; `{DEFAULT_TEXT_PROTOCOL}` if not given:",
        "",
        *(line for protocol in TEXT_PROTOCOLS.values() for line in _text_protocol(protocol)),
    ]


def _text_row(metric: TextMetric) -> str:
    needs = "rationales" if metric.needs_rationales else ""
    return _line([f"`{metric.name}`", _ARROWS[metric.better], metric.cost, needs, metric.paper])


def _text_protocol(protocol: TextProtocol) -> list[str]:
    metrics = known_text_metrics((*protocol.rationale_metrics, *protocol.metrics))
    words = text_protocol_in_words(protocol, metrics)
    names = ", ".join(f"`{metric.name}`" for metric in metrics)
    return [
        f"### {protocol.title} {{#protocol-{protocol.name}}}",
        "",
        f"`{protocol.name}`, `{protocol.hash}`; {protocol.source}.",
        "",
        f"- **Measures.** {_sentence(names)}",
        *(f"- **{what}.** {_sentence(how)}" for what, how in words),
        "",
    ]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."
