"""Writes the table of settings in the guide to training: python -m scripts.docs settings"""

from __future__ import annotations

from pathlib import Path

from ttame.cli.setting_options import SettingOption, setting_options

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "train-on-your-network.md"
BEGIN = "<!-- Written by python -m scripts.docs settings; do not edit. -->\n"
END = "<!-- Until here. -->\n"


def write_page() -> None:
    """Write the table anew; the rest of the page stays."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_table(page: str) -> str:
    """The page with the table as the settings are now."""
    before, _, behind = page.partition(BEGIN)
    return before + BEGIN + "\n" + settings_table() + "\n" + END + behind.partition(END)[2]


def settings_table() -> str:
    """A row for every setting, in the order of the parts."""
    rows = "\n".join(map(_row, setting_options().values()))
    return f"| option | part | what it is | default |\n|---|---|---|---|\n{rows}\n"


def _row(option: SettingOption) -> str:
    typed = f"--{option.name.replace('_', '-')}"
    return f"| `{typed}` | {option.part} | {option.in_words} | {option.default} |"
