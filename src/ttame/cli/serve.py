"""``ttame serve``."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.added_options import with_options
from ttame.cli.method_options import (
    MethodOptions,
    is_exported_file,
    method_parameters,
    methods_help,
    parse_method_options,
)
from ttame.cli.network_options import NamedClassifier, OptionalModelName, network_parameters

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ttame.explainers.contract.explainer import Explainer
    from ttame.serving.served_network import ServedNetwork
    from ttame.serving.settings import ServingSettings

_ACCESS = "Access"
_LIMITS = "Limits"
_OF_WORKERS = "TTAME_SERVE"
"""The environment variable that tells worker processes what was typed."""

_ALSO_OFFERED = ("grad_cam", "class_evidence", "layer_cam", "generic_attention", "rise")
"""Methods that a page offers if none is named, as far as they are defined for the network."""


_METHODS = method_parameters(
    *("methods", "explainer", "option", "allow_other_weights"),
    words={
        "methods": methods_help("the trained explainer, and quick methods and RISE"),
        "explainer": "A trained explainer, with its classifier: bundled, a folder, or a hub "
        "repository; or an ONNX file that `ttame export` wrote. If not given, efficientnet_lite0.",
        "allow_other_weights": "Explain a classifier whose weights are not those that the head "
        "was trained for.",
    },
)


@with_options(*network_parameters(), before={"host": _METHODS})
def serve(
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. 127.0.0.1 is reached from this machine only; 0.0.0.0 from "
            "every network that reaches it.",
            rich_help_panel=_ACCESS,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port; 0 for a free one.", rich_help_panel=_ACCESS, min=0, max=65535)
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="TTAME_TOKEN",
            help="What requests must carry as Authorization: Bearer TOKEN.",
            rich_help_panel=_ACCESS,
            show_default=False,
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            help="Address of another page that may use the API, such as https://example.org; may "
            "be given several times.",
            rich_help_panel=_ACCESS,
            show_default=False,
        ),
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.", rich_help_panel=_ACCESS)
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            help="Processes, each with a network of its own.", rich_help_panel=_LIMITS, min=1
        ),
    ] = 1,
    largest_upload: Annotated[
        float, typer.Option(help="Largest request, in megabytes.", rich_help_panel=_LIMITS)
    ] = 20,
    most_pixels: Annotated[
        float, typer.Option(help="Largest photo, in megapixels.", rich_help_panel=_LIMITS)
    ] = 50,
    upload_seconds: Annotated[
        float,
        typer.Option(
            help="Seconds within which a request must have arrived.", rich_help_panel=_LIMITS
        ),
    ] = 30,
    time_limit: Annotated[
        float,
        typer.Option(
            help="Seconds within which a request must be answered.", rich_help_panel=_LIMITS
        ),
    ] = 300,
    queue_length: Annotated[
        int, typer.Option(help="Requests at a time; further ones get 503.", rich_help_panel=_LIMITS)
    ] = 64,
    batch_size: Annotated[
        int,
        typer.Option(help="Photos that go through the network together.", rich_help_panel=_LIMITS),
    ] = 8,
    batch_wait: Annotated[
        float,
        typer.Option(
            help="Milliseconds that a photo waits for others on their way.", rich_help_panel=_LIMITS
        ),
    ] = 10,
    shutdown_seconds: Annotated[
        int,
        typer.Option(
            help="Seconds to finish, after SIGTERM, what was accepted.", rich_help_panel=_LIMITS
        ),
    ] = 30,
    model: OptionalModelName = None,
    **network: Any,
) -> None:
    """Serve a page to look at, and an API to build on.

    Example: ttame serve --methods t_tame,grad_cam --open
    """
    typed = dict(locals())
    typed |= typed.pop("network")
    settings = _settings(typed)
    _refuse_without_extra()
    from ttame.serving.server import bound, run_app, run_workers

    with bound(settings) as listening:
        settings = dataclasses.replace(settings, port=listening.getsockname()[1])
        if workers > 1:
            os.environ[_OF_WORKERS] = json.dumps(typed, default=str)
            _announce(settings, f"{workers} processes at {_address(settings)}")
            run_workers(f"{__name__}:app_of_worker", workers, settings, listening)
            return
        served = _network(typed)
        _announce(settings, served.name, list(served.methods))
        app = _app(served, settings)
        run_app(app, settings, listening, lambda: _ready(settings, open_page=open_page))


def app_of_worker() -> FastAPI:
    """The application of one of several processes, from what the command was told."""
    typed = json.loads(os.environ[_OF_WORKERS])
    typed["class_names"] = typed["class_names"] and Path(typed["class_names"])
    from ttame.serving.request_log import log_to

    log_to()
    return _app(_network(typed), _settings(typed))


def _app(served: ServedNetwork, settings: ServingSettings) -> FastAPI:
    from ttame.cli.sample_photos import sample_photos
    from ttame.errors import MissingExtraError
    from ttame.serving.app import make_app

    try:
        samples = sample_photos()
    except MissingExtraError:
        samples = []
    return make_app(served, settings, samples)


def _settings(typed: dict[str, Any]) -> ServingSettings:
    from ttame.serving.settings import ServingSettings

    same = ("host", "port", "upload_seconds", "time_limit", "queue_length", "batch_size")
    return ServingSettings(
        **{name: typed[name] for name in same},
        token=typed["token"] or "",
        origins=tuple(typed["cors"] or ()),
        largest_upload=_millions(typed["largest_upload"]),
        most_pixels=_millions(typed["most_pixels"]),
        batch_wait=typed["batch_wait"] / 1000,
        shutdown_seconds=typed["shutdown_seconds"],
    )


def _refuse_without_extra() -> None:
    from ttame.errors import MissingExtraError

    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as problem:
            name = package.replace("_", "-")
            raise MissingExtraError.of(name, "serve", "a page and an API") from problem


def _millions(count: float) -> int:
    """As a whole number; what is none is refused by the settings."""
    return round(1e6 * count) if math.isfinite(count) else 0


def _network(typed: dict[str, Any]) -> ServedNetwork:
    """The network that was typed, with its methods."""
    from ttame.exporting.exported_explainer import load_exported
    from ttame.serving.served_network import ExportedNetwork, TorchNetwork

    place = typed["explainer"]
    if place is not None and is_exported_file(place):
        return ExportedNetwork(load_exported(place), Path(place).stem)
    return TorchNetwork(_explainers(typed))


def _explainers(typed: dict[str, Any]) -> dict[str, Explainer]:
    from ttame.cli.chosen_explainers import choose_explainers
    from ttame.errors import ExplainerError
    from ttame.explainers.known_explainers import make_explainer

    said = MethodOptions.of(typed)
    offered = () if said.method_names() else _ALSO_OFFERED
    theirs = [pair for pair in said.option or () if pair.partition(".")[0].strip() in offered]
    others = [pair for pair in said.option or () if pair not in theirs]
    options = parse_method_options(theirs, offered)
    chosen = choose_explainers(
        dataclasses.replace(said, option=others), NamedClassifier.of(typed["model"], typed)
    )
    explainers = dict(chosen.explainers)
    for name in offered:
        if name in explainers and name not in options:
            continue
        try:
            explainers[name] = make_explainer(name, chosen.classifier, **options.get(name, {}))
        except ExplainerError:
            if name in options:
                raise
            continue  # Not defined for this network.
    return explainers


def _address(settings: ServingSettings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _announce(settings: ServingSettings, what: str, methods: list[str] | None = None) -> None:
    """Say what is served, to whom, and within which limits."""
    typer.echo(f"ttame serve: {what}" + (f" by {', '.join(methods)}" if methods else ""))
    for line in settings.in_words():
        typer.echo(f"  {line}")
    if settings.is_local:
        typer.echo(f"  {settings.host}: only this machine reaches it")
        return
    typer.echo(
        f"  {settings.host}: every machine that reaches this address can use it, and what it sends "
        "is not encrypted; put a proxy with TLS in front of it"
        + ("" if settings.token else ", and give it a --token")
    )


def _ready(settings: ServingSettings, *, open_page: bool) -> None:
    typer.echo(f"ready: {_address(settings)}  (Ctrl-C ends it)")
    if open_page:
        typer.launch(_address(settings))
