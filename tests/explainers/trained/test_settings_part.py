from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pytest

from ttame.errors import TrainingError, UnknownNameError
from ttame.explainers.trained.settings_part import (
    ABOVE_ZERO,
    UP_TO_ONE,
    SettingsPart,
    changed,
    choices_of,
    flat_settings,
    kinds_of,
    leaves_of,
    number,
    one_of,
    switches,
)


@dataclasses.dataclass(frozen=True)
class Kettle(SettingsPart):
    kind: Literal["kettle"] = "kettle"
    litres: float = number(1.0, ABOVE_ZERO)


@dataclasses.dataclass(frozen=True)
class Pot(SettingsPart):
    kind: Literal["pot"] = "pot"
    litres: float = number(0.5, ABOVE_ZERO)
    lid: bool = True


@dataclasses.dataclass(frozen=True)
class Cup(SettingsPart):
    kind: Literal["cup"] = "cup"


LATER: dict[str, type[SettingsPart]] = {"cup": Cup}


@dataclasses.dataclass(frozen=True)
class Tea(SettingsPart):
    vessel: Kettle | Pot = Kettle()
    served: Any = one_of(Cup(), LATER)  # noqa: RUF009 - frozen
    spoons: int = 2
    strength: float = number(0.5, UP_TO_ONE)
    herbs: tuple[Literal["mint", "sage"], ...] = ()


def test_what_is_written_is_read_back() -> None:
    tea = Tea(Pot(litres=2, lid=False), herbs=("mint", "sage"))
    written = tea.as_json()
    assert written == {
        "vessel": {"kind": "pot", "litres": 2, "lid": False},
        "served": {"kind": "cup"},
        "spoons": 2,
        "strength": 0.5,
        "herbs": ["mint", "sage"],
    }
    assert Tea.from_json(written) == tea
    assert Tea.from_json({}) == Tea()


def test_flat_names_need_no_path() -> None:
    flat = {"vessel": "kettle", "litres": 1.0, "served": "cup", "spoons": 2, "strength": 0.5}
    assert Tea().flat() == {**flat, "herbs": "nothing"}
    assert Tea(herbs=("sage",)).flat()["herbs"] == "sage"
    assert flat_settings({"herbs": ("mint", "sage")}) == {"herbs": "mint,sage"}


def test_another_kind_keeps_what_both_have() -> None:
    found, unread = changed(Tea(Kettle(litres=3)), {"vessel": "pot", "lid": False, "salt": 1})
    assert found.vessel == Pot(litres=3, lid=False)
    assert unread == {"salt": 1}
    assert changed(Tea(), {"vessel": Pot(litres=4)})[0].vessel == Pot(litres=4)
    assert changed(Tea(), {"herbs": "sage,mint"})[0].herbs == ("sage", "mint")
    assert changed(Tea(herbs=("mint",)), {"herbs": "nothing"})[0].herbs == ()


def test_leaves_kinds_and_choices() -> None:
    names = [(name, holder) for name, holder, _ in leaves_of(Tea)]
    assert names == [
        ("vessel", Tea),
        ("litres", Kettle),
        ("litres", Pot),
        ("lid", Pot),
        ("served", Tea),
        ("spoons", Tea),
        ("strength", Tea),
        ("herbs", Tea),
    ]
    assert kinds_of(Tea, "vessel") == {"kettle": Kettle, "pot": Pot}
    assert choices_of(Tea, "herbs") == ("mint", "sage")
    assert choices_of(Tea, "spoons") == ()
    assert list(switches(Tea(), "lid")) == [("vessel", "kettle", "pot")]
    assert list(switches(Tea(Pot()), "lid")) == []


def test_a_table_of_kinds_may_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True)
    class Mug(SettingsPart):
        kind: Literal["mug"] = "mug"

    with pytest.raises(UnknownNameError, match="served 'mug'"):
        changed(Tea(), {"served": "mug"})
    monkeypatch.setitem(LATER, "mug", Mug)
    assert changed(Tea(), {"served": "mug"})[0].served == Mug()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"spoons": 1.5}, "spoons 1.5; allowed: a whole number"),
        ({"spoons": True}, "spoons True; allowed: a whole number"),
        ({"strength": "much"}, "strength 'much'; allowed: a number"),
        ({"strength": 1.01}, "strength 1.01; allowed: 0 to 1; try: strength=N"),
        ({"strength": float("nan")}, "strength nan"),
        ({"vessel": Cup()}, "vessel Cup"),
        ({"herbs": ("dill",)}, "'dill'"),
        ({"herbs": "mint"}, "herbs 'mint'"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises((TrainingError, UnknownNameError), match=words):
        Tea(**values)


def test_parts_check_themselves_wherever_they_come_from() -> None:
    with pytest.raises(TrainingError, match="litres 0"):
        Kettle(litres=0)
    with pytest.raises(TrainingError, match="lid 1; allowed: True or False"):
        Tea.from_json({"vessel": {"kind": "pot", "lid": 1}})
    with pytest.raises(UnknownNameError, match="'milk'"):
        Tea.from_json({"milk": True})
    with pytest.raises(UnknownNameError, match="vessel 'None'"):
        Tea.from_json({"vessel": {"litres": 1.0}})
    with pytest.raises(TrainingError, match="settings that are a list"):
        Tea.from_json([])
