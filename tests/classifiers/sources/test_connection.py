from __future__ import annotations

import socket
import threading

import pytest
from huggingface_hub import constants

from ttame.classifiers.sources import connection
from ttame.classifiers.sources.connection import hub_without_retries, is_reachable


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.getproxies", dict)


def test_a_listening_host_is_reachable_and_a_closed_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_reachable(f"http://127.0.0.1:{port}/file")
    assert not is_reachable(f"http://127.0.0.1:{port}/file")
    assert not is_reachable("https://no-such-host.invalid")
    assert not is_reachable("https://host:port")


def test_a_proxy_is_asked_in_place_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": proxy})
        assert is_reachable("https://no-such-host.invalid")


def test_the_hub_is_offline_only_while_a_caller_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(connection, "is_reachable", lambda _url: False)
    inside, leave = threading.Event(), threading.Event()

    def another() -> None:
        with hub_without_retries():
            inside.set()
            leave.wait(5)

    with hub_without_retries() as reachable:
        assert not reachable
        thread = threading.Thread(target=another)
        thread.start()
        inside.wait(5)
    assert constants.HF_HUB_OFFLINE
    leave.set()
    thread.join()
    assert not constants.HF_HUB_OFFLINE


def test_a_reachable_hub_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(connection, "is_reachable", lambda _url: True)
    with hub_without_retries() as reachable:
        assert reachable
        assert not constants.HF_HUB_OFFLINE


def test_the_users_own_offline_mode_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with hub_without_retries() as reachable:
        assert not reachable
    assert constants.HF_HUB_OFFLINE
