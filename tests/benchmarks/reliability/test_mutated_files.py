"""Whatever a stranger's file holds, it is read, or refused in one short line."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import tracemalloc
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import ttame
from benchmarks.reliability import mutated_files
from benchmarks.reliability.all_attacks import PARTS
from benchmarks.reliability.extreme_photos import extreme_photos
from benchmarks.reliability.file_parsers import PARSERS, FileParser, harm_of
from benchmarks.reliability.killed_commands import ATTACKS
from ttame.errors import TtameError

CORPUS = Path(__file__).parent / "corpus"
"""Files that once did harm, each in a folder that is named as its reader."""

ENDS_REFUSED = {"methods": "other options: layer", "explaining": "^stopped$"}
"""Readers whose use of a valid file ends with a refusal."""

MOST_MEMORY = 64 * 2**20
"""Bytes of Python and NumPy for files of a few kilobytes."""


@cache
def examples(name: str) -> tuple[bytes, ...]:
    return PARSERS[name].examples()


@pytest.mark.parametrize("name", PARSERS)
def test_valid_files_are_read(name: str, tmp_path: Path) -> None:
    for content in examples(name):
        path = tmp_path / PARSERS[name].file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if name in ENDS_REFUSED:
            with pytest.raises(TtameError, match=ENDS_REFUSED[name]):
                PARSERS[name].parse(path)
        else:
            PARSERS[name].parse(path)


@pytest.mark.parametrize("name", PARSERS)
@settings(
    derandomize=True,
    database=None,
    max_examples=40,
    deadline=5000,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(chance=st.randoms(use_true_random=False), place=st.integers(0, 20))
def test_damaged_files_are_read_or_refused_in_one_line(
    name: str, chance: Random, place: int
) -> None:
    valid = examples(name)[place % len(examples(name))]
    content = PARSERS[name].mutate(valid, chance)
    with tempfile.TemporaryDirectory() as folder:
        assert not harm_of(PARSERS[name], content, Path(folder))


@pytest.mark.parametrize(
    "path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_files_that_once_did_harm_do_none(path: Path, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        assert not harm_of(PARSERS[path.parent.name], path.read_bytes(), tmp_path)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


def test_harm_is_found(tmp_path: Path) -> None:
    def parser(problem: BaseException) -> FileParser:
        def parse(path: Path) -> None:
            raise problem

        return FileParser("a", lambda: (b"",), parse, lambda content, chance: content)

    assert harm_of(parser(KeyError("a")), b"", tmp_path).startswith("KeyError")
    assert harm_of(parser(MemoryError()), b"", tmp_path).startswith("MemoryError")
    assert not harm_of(parser(TtameError("one line")), b"", tmp_path)
    assert not harm_of(parser(TtameError("two\nlines" * 300)), b"", tmp_path)
    assert harm_of(parser(TtameError("long", allowed="x" * 1000)), b"", tmp_path)


def test_the_long_run_survives_what_it_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def misbehave(path: Path) -> object:
        kind = path.read_bytes()[0]
        while kind == 1:
            pass
        if kind == 2:
            return bytearray(2**30)
        return os.kill(os.getpid(), signal.SIGKILL) if kind == 3 else None

    parser = FileParser(
        "a", lambda: (b"",), misbehave, lambda _, chance: b"%c" % chance.randrange(4)
    )
    monkeypatch.setattr(mutated_files, "SECONDS", 0.2)
    monkeypatch.setattr(mutated_files, "MEMORY", 2**29)
    monkeypatch.setitem(PARSERS, "bad", parser)  # type: ignore[misc]
    (row,) = mutated_files.mutated_files(12, ["bad"])
    kinds = [mutated_files.damaged("bad", number)[0] for number in range(12)]
    assert set(kinds) == {0, 1, 2, 3}
    assert (row.tries, row.failures) == (12, 12 - kinds.count(0))
    first = next(number for number, kind in enumerate(kinds) if kind)
    assert row.example.startswith(f"file {first}: ")


def test_every_reader_and_every_kind_of_kill_has_its_part() -> None:
    damaged = [part.options for part in PARTS.values() if part.module == "mutated_files"]
    chosen = [name for each in damaged for name in list(PARSERS)[each["part"] :: each["of"]]]
    assert sorted(chosen) == sorted(PARSERS)
    works = [part.work.tries for part in PARTS.values() if part.module == "mutated_files"]
    assert sum(works) == 2000 * len(PARSERS)
    assert PARTS["extreme photos"].work.tries == len(extreme_photos())
    trained = [part.options for part in PARTS.values() if part.module == "killed_training"]
    assert sorted(number for each in trained for number in each["processes"]) == [1, 2]
    assert sum(each.get("overwrite", True) for each in trained) == 1
    assert all(each["kills"] >= 100 for each in trained)
    commands = [part.options for part in PARTS.values() if part.module == "killed_commands"]
    assert {each["attack"] for each in commands} == set(ATTACKS)
    assert all(each["tries"] >= 100 for each in commands)


def test_the_security_page_lists_every_reader() -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [
        line for line in page.split("## Who reads which bytes")[1].splitlines() if line[:1] == "|"
    ]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    header, _, *table = cells
    assert header[-1] == "fuzzed as" and {len(row) for row in table} == {len(header)}
    named = [name for row in table for name in row[-1].split(", ") if name != "no"]
    assert sorted(named) == sorted(PARSERS)
    source = Path(ttame.__file__).parent
    for file in re.findall(r"`([a-z_/]+\.py)`", " ".join(row[1] for row in table)):
        assert list(source.rglob(file)), f"there is no {file}"


READS = re.compile(
    r"\bjson\.loads?\(|parse_json\(|read_json(?:_object)?\(|safe_open\(|torch\.load\(|Image\.open\("
    r"|tarfile\.open\(|ElementTree\.XML|ParquetFile\(|read_tensors\(|read_text\(path"
    r"|\.from_pretrained\((?!\.\.\.)|pickle\.load|yaml\.|csv\.|np\.load\("
)
READ_BY_OTHERS = {
    "cli/network_options.py",  # by cli/class_names.py
    "files/json_files.py",  # what all of them use
    "files/bounded_reading.py",
    "files/record_files.py",
    "files/tensor_files.py",
    "networks/weights_files.py",
    "networks/torch_files.py",
    "classifiers/sources/transformers_models.py",
}
NO_FILES_OF_STRANGERS = {
    "classifiers/sources/bundled.py",  # ours, in the package
    "drawing/colour_scales.py",
    "cli/method_options.py",  # what the user types
    "cli/serve.py",  # what the user typed, for worker processes
    "reporting/explanation_table.py",  # which it writes
    "reporting/texts/text_report.py",  # which it writes
    "reporting/explain_to_shards.py",  # there and back, in memory
    "reporting/record_spool.py",  # a file without a name, written by the same process
    "text_classifiers/minilm_reviews.py",  # ours, of known hashes
    "text_classifiers/tokenising.py",  # of a tokenizer in memory
    "training/run_preparation.py",  # there and back, in memory
}


def test_no_module_that_reads_files_is_missing_on_the_security_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
    source = Path(ttame.__file__).parent
    for path in source.rglob("*.py"):
        name = path.relative_to(source).as_posix()
        code = "\n".join(line for line in path.read_text().splitlines() if ">>>" not in line)
        if READS.search(code) and name not in READ_BY_OTHERS | NO_FILES_OF_STRANGERS:
            folder = f"`{name.split('/')[0]}/`"
            assert path.name in page or folder in page, f"{name} reads files"
