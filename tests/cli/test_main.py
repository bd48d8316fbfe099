"""What the command line says is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ttame.cli import main as command_line
from ttame.cli.main import app, interrupted_in_words

SOURCE = Path(command_line.__file__).parent.parent
COMMANDS = {
    name: {text for option in command.params for text in option.opts}
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}

WRITING = {"explain", "train", "evaluate"}
LOADING = {"explain", "train", "evaluate", "methods", "inspect"}
EXPLAINING = {"explain", "evaluate"}
ADVISED_IF_TYPED: set[str] = set()
"""An option that is advised only where the command has it, which its own tests see to."""
PRINTED_BY = {
    "cli/memory_hints.py memory_options": ADVISED_IF_TYPED,
    "files/": WRITING,
    "files/atomic_writing.py refuse_existing": {"explain", "train"},
    "networks/": LOADING,
    "features/": LOADING,
    "images/": LOADING,
    "processes.py": {"train", "evaluate"},
    "classifiers/": LOADING,
    "cli/chosen_explainers.py": EXPLAINING,
    "cli/chosen_explainers.py _load_trained": {"explain"},
    "cli/evaluate.py": {"evaluate"},
    "cli/evaluation_display.py": {"evaluate"},
    "cli/evaluate_texts.py": {"evaluate"},
    "cli/explain.py": {"explain"},
    "cli/explain_texts.py": {"explain"},
    "cli/text_networks.py": EXPLAINING,
    "cli/text_networks.py choose_text_explainers": {"explain"},
    "cli/train_texts.py": {"train"},
    "cli/inspect.py": {"inspect"},
    "cli/methods.py": {"methods"},
    "cli/train.py": {"train"},
    "cli/training_display.py": {"train"},
    "errors.py": LOADING,
    "evaluation/": {"evaluate"},
    "exporting/": {"export"},
    "cli/export.py": {"export"},
    "explainers/": EXPLAINING | {"train", "methods", "inspect"},
    "explainers/contract/explainer.py": EXPLAINING,
    "explainers/trained/explainer_folder.py": EXPLAINING,
    "explainers/trained/head_settings.py": {"train"},
    "explainers/trained/trained_method.py": {"train"},  # a part of the command that it offers
    "memory_limit.py": WRITING,
    "reporting/": {"explain"},
    "reporting/evaluation_": {"evaluate"},
    "cli/serve.py": {"serve"},
    "serving/": {"serve"},
    "training/": {"train"},
    "cli/features_options.py": {"train"},
}
"""Beginning of a module's path, and a function in it where that matters: who can print it."""
OF_OTHERS = {
    *("pip install --force-reinstall", "minilm_reviews pip install", "torchrun --standalone"),
    *("<style>", "<mark", " .words{", ".words{", "--low:", "--for:"),
}
"""Commands that are not ours, and colours of a page."""
DECLARATIONS = {
    *("cli/method_options.py", "cli/network_options.py", "cli/pixel_options.py"),
    "cli/main.py",
}
"""What stands here is an option of ours, or is tested below."""

WORDS = re.compile(
    r"ttame (?P<command>[a-z]+)|(?P<option>(?<![\w-])--[a-z][a-z-]*)|(?P<end>[`),;])"
)


def messages(path: Path) -> Iterator[tuple[str, str]]:
    """(name of the function, text) of each message of a module; an f-string is one text."""
    yield from _texts(ast.parse(path.read_text(encoding="utf-8")), "")


def _texts(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.FunctionDef):
        function = node.name
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        yield function, "".join(map(str, parts))
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield function, node.value
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue  # A docstring.
        yield from _texts(child, function)


def printers(module: str, function: str) -> set[str]:
    fitting = [
        name
        for name in PRINTED_BY
        if (name == f"{module} {function}" or (" " not in name and module.startswith(name)))
    ]
    return PRINTED_BY[max(fitting, key=len)]


def options_in(text: str) -> Iterator[tuple[str, str]]:
    """(command it is said to be of, or nothing; option) of each option that a text names."""
    command = ""
    for match in WORDS.finditer(text):
        if match["option"]:
            yield command, match["option"]
        else:
            command = match["command"] or ""


def promises() -> list[tuple[str, str, str, set[str]]]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        for function, text in messages(path):
            if module in DECLARATIONS or any(text.startswith(other) for other in OF_OTHERS):
                continue
            for command, option in options_in(text):
                commands = {command} if command else printers(module, function)
                found.append((module, text, option, commands))
    return found


def test_every_option_that_a_message_names_exists_in_the_command_that_prints_it() -> None:
    found = promises()
    assert len(found) > 80
    wrong = [
        f"{module}: {text!r} names {option}, which ttame {command} does not have"
        for module, text, option, commands in found
        for command in sorted(commands)
        if option not in COMMANDS.get(command, ())
    ]
    assert wrong == []


SHORT = {"--data": "-d", "--out": "-o", "--model": "-m", "--help": "-h"}


@pytest.mark.parametrize("command", COMMANDS)
def test_short_forms_are_alike_in_all_commands(command: str) -> None:
    used = {}
    for option in click_command(command).get_params(context_of(command)):
        for short in {*option.opts} & {*SHORT.values()}:
            used[short] = {name for name in option.opts if name.startswith("--")}
    there = {short: long for long, short in SHORT.items() if long in COMMANDS[command] | {"--help"}}
    assert used == {short: {long} for short, long in there.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_default(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    click_command(command).get_help(context_of(command))  # Typer prints it.
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    shown = [
        option.default
        for option in click_command(command).params
        if option.param_type_name == "option" and option.default not in (None, False, ())
    ]
    assert len(shown) >= 2
    for default in shown:
        assert said.count(f"[default: {default}]") >= shown.count(default)


def click_command(name: str) -> Any:
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


def context_of(name: str) -> Any:
    root = typer.main.get_command(app)
    return click_command(name).make_context(
        name, [], parent=root.make_context("ttame", ["methods"]), resilient_parsing=True
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupted_command_offers_only_what_it_has(command: str) -> None:
    said = interrupted_in_words([command, "--device", "cpu"])
    assert said.startswith("interrupted")
    assert set(re.findall(r"--[a-z-]+", said)) <= COMMANDS[command]
    assert ("--resume" in said) == ("--resume" in COMMANDS[command])


def test_an_interrupted_range_test_cannot_be_resumed() -> None:
    assert "--resume" not in interrupted_in_words(["train", "--find-learning-rate"])


def test_an_interrupt_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "app", interrupted)
    monkeypatch.setattr("sys.argv", ["ttame", "explain", "photo.jpg"])
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == (
        "ttame: interrupted; finished batches are kept, and --resume continues with them\n"
    )
