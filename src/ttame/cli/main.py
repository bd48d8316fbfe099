"""``ttame``: the commands, and what an error looks like.

Nothing here or in the command modules imports torch before a command runs, so that help is quick.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ttame.cli.evaluate import evaluate
from ttame.cli.explain import explain
from ttame.cli.export import export
from ttame.cli.inspect import inspect
from ttame.cli.memory_hints import naming_memory_options
from ttame.cli.methods import methods
from ttame.cli.serve import serve
from ttame.cli.train import train
from ttame.errors import TtameError, on_command_line
from ttame.files.printable_names import printable
from ttame.memory_reuse import keep_freed_memory
from ttame.version import __version__

_INTERRUPTED = 130
_LONG_WORK = ("explain", "train", "evaluate")

app = typer.Typer(
    name="ttame",
    help="Explain any image classifier: why did it say that?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (explain, train, evaluate, export, serve, methods, inspect):
    app.command()(naming_memory_options(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ttame {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Explain any image classifier: why did it say that?"""


def main() -> None:
    """Run the command line; the entry point of the ``ttame`` script.

    An error of ours is one line on the error stream and exit code 2, never a traceback.
    """
    _print_anything()
    if sys.argv[1:] and sys.argv[1] in _LONG_WORK:
        keep_freed_memory()
    # Pillow logs what is odd about a photo, which would be lines besides the one that says it.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    try:
        app()
    except TtameError as problem:
        _say(f"error: {on_command_line(problem)}")
        sys.exit(2)
    except SystemExit as stop:
        # What Typer makes of Ctrl-C.
        if stop.code == _INTERRUPTED:
            _say(interrupted_in_words(sys.argv[1:]))
        raise
    except KeyboardInterrupt:
        _say(interrupted_in_words(sys.argv[1:]))
        sys.exit(_INTERRUPTED)


def interrupted_in_words(arguments: Sequence[str]) -> str:
    """What Ctrl-C has left of a command, and how to go on where that is possible.

    Args:
        arguments: what was typed behind ``ttame``.

    Example:
        >>> interrupted_in_words(["inspect", "efficientnet_lite0"])
        'interrupted'
    """
    command = next((word for word in arguments if not word.startswith("-")), "")
    if "--find-learning-rate" in arguments:
        return "interrupted; nothing was written"
    if command == "train":
        return "interrupted; the same command with --resume continues from the last checkpoint"
    if command in ("evaluate", "explain"):
        return "interrupted; finished batches are kept, and --resume continues with them"
    return "interrupted"


def _print_anything() -> None:
    """A name that the terminal's encoding does not have must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(line: str) -> None:
    print(f"ttame: {printable(line)}", file=sys.stderr)


if __name__ == "__main__":
    main()
