"""What the documentation says to type for several processes starts several processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability.forked_commands import Command
from tests.training.training_material import photo_folder
from ttame.results.explained_photos import ExplainedPhotos
from ttame.results.explanation_shards import load_explanations

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/how-to/train-on-your-network.md",
    "docs/how-to/evaluate.md",
    "docs/how-to/explain-many-photos.md",
    "docs/how-to/a-million-photos.md",
)
LAUNCHER = "torchrun --standalone --nproc_per_node 2"
SMALL = {
    "train": "--image-size 64 --batch-size 4 --epochs 1 --workers 0 --held-out-at-most 2",
    "evaluate": "--image-size 64 --metrics average_drop",
    "explain": "--image-size 64",
}
SAID = {
    "train": "2 processes share each batch",
    "evaluate": "2 processes share the batches",
    "explain": "2 processes share the batches",
}


def documented_lines() -> dict[str, str]:
    """Every command line that starts several processes, with the pages that have it."""
    found: dict[str, str] = {}
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if "nproc" in line or "num_processes" in line:
                    line = " ".join(line.split())
                    found[line] = f"{found.get(line, '')} {page}".strip()
    return found


def test_all_pages_have_a_line_for_several_processes() -> None:
    lines = documented_lines()
    assert " ".join(lines.values()).split() == list(PAGES)
    assert {line.split(" -m ttame ")[0] for line in lines} == {LAUNCHER}
    assert sorted(line.split(" -m ttame ")[1].split()[0] for line in lines) == [
        "evaluate",
        "explain",
        "explain",
        "train",
    ]


@pytest.mark.parametrize("line", documented_lines())
def test_the_documented_line_starts_two_processes(line: str, tmp_path: Path) -> None:
    """The launcher, which is the same for all, is called once; a fork takes its place elsewhere."""
    command = line.split(" -m ttame ")[1].split()[0]
    photo_folder(tmp_path / "photos", 10)
    said = (launched if command == "train" else forked)(f"{line} {SMALL[command]}", tmp_path)
    assert said.count(f"note: {SAID[command]}") == 1
    if command == "train":
        record = json.loads((tmp_path / "my-explainer/config.json").read_text())["training"]
        assert record["processes"] == 2
    elif "--format shards" in line:
        shards = load_explanations(tmp_path / "million")
        assert len(list(shards)) == 10 and len(list(shards.records())) == 3
        assert [*shards.manifest.layout.maps] == ["grad_cam", "random"]
        assert said.count("open ") == 1
    elif command == "explain":
        found = ExplainedPhotos.read(tmp_path / "together")
        assert (found.explained, found.methods) == (10, ("grad_cam", "random"))
        assert said.count("open ") == 1
    else:
        methods = json.loads((tmp_path / "several/results.json").read_text())["methods"]
        assert [method["name"] for method in methods] == ["grad_cam", "random"]


def launched(line: str, folder: Path) -> str:
    """What the line says when it is typed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    for name in ("OMP_NUM_THREADS", "ACCELERATE_USE_CPU"):  # Whoever types the line has neither.
        environment.pop(name, None)
    finished = subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout + finished.stderr


def forked(line: str, folder: Path) -> str:
    """What the line says when two forks do what the launcher starts, with its environment."""
    words = line.split(" -m ttame ")[1].split()
    command = Command(words, folder / "said.txt", processes=2, folder=folder)
    codes = command.wait(200)
    said = command.output.read_text()
    assert codes == [0, 0], said
    return said
