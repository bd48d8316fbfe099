"""What the ablation measured, photo by photo, in the repository.

A row of the ablation costs minutes of training. What was measured of it is kept as
``few_shot_ablation_values/MODEL/MEASUREMENT/ROW-SEED.json``, so that the tables can be made again,
tested in another way, or completed on another machine, which does not train that row again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ttame.files.atomic_writing import whole_file

KEPT = Path(__file__).parent / "few_shot_ablation_values"
DECIMALS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """One seed of one row.

    Attributes:
        made_from: a hash of settings, protocol and photos.
        steps: of its training.
        machine: in words.
        values: column to one value per photo, in the order of the list of photos.
    """

    made_from: str
    steps: int
    machine: str
    values: Mapping[str, np.ndarray]


def keep(model: str, measurement: str, label: str, kept: Kept) -> None:
    """Write what was measured, a line for each column."""
    facts = {"made_from": kept.made_from, "steps": kept.steps, "machine": kept.machine}
    columns = ",\n".join(
        f"    {json.dumps(name)}: {json.dumps([round(float(v), DECIMALS) for v in values])}"
        for name, values in kept.values.items()
    )
    head = json.dumps(facts, indent=2).removesuffix("\n}")
    with whole_file(_place(model, measurement, label)) as temporary:
        temporary.write_text(f'{head},\n  "values": {{\n{columns}\n  }}\n}}\n', encoding="utf-8")


def is_kept(model: str, measurement: str, label: str, made_from: str) -> bool:
    """Whether this row and seed need not be measured again.

    Raises:
        SystemExit: it was made from something else.
    """
    place = _place(model, measurement, label)
    if not place.exists():
        return False
    if json.loads(place.read_text(encoding="utf-8"))["made_from"] != made_from:
        raise SystemExit(f"{place} has other settings, protocol or photos: remove it to go on")
    return True


def all_kept(model: str, measurement: str) -> dict[str, Kept]:
    """Label to what was measured."""
    found = {}
    for path in sorted((KEPT / model / measurement).glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        values = {name: np.array(column) for name, column in content["values"].items()}
        found[path.stem] = Kept(**{**content, "values": values})
    return found


def _place(model: str, measurement: str, label: str) -> Path:
    return KEPT / model / measurement / f"{label}.json"
