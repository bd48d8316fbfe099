"""`ttame serve` under load: throughput, latency, many requests, SIGTERM, and the page's first map.

All traffic is on loopback, bounded in count and time. The clients share the machine with the
server, and their work counts against it.

python -m benchmarks.serving             # all of it: about ten minutes on two quiet cores
python -m benchmarks.serving --speed     # throughput, latency and the first map alone
python -m benchmarks.serving --requests 2000 --tiny
"""

from __future__ import annotations

import argparse
import base64
import concurrent.futures
import contextlib
import dataclasses
import http.client
import io
import itertools
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

import ttame
from benchmarks.benchmark_page import median, table, write_section
from ttame.cli.sample_photos import sample_photos
from ttame.explainers.contract.explainer import Explainer
from ttame.images.saliency_maps import to_unit_range
from ttame.serving.client import form_of

CLIENTS = 32
ROUNDS = 3
BATCH = 8
PHOTOS = 32
FIRST = 1000
"""Requests after which memory is looked at first."""
TINY = ("--model", "timm/resnet10t", "--image-size", "64")
LONGEST = 3000.0
BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
TOLERANCE = 5e-3
"""Of a map in [0, 1]: float16, and the rounding of other batches."""


@dataclasses.dataclass(frozen=True)
class Served:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    address: str
    log: Path

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1000


@contextlib.contextmanager
def served(*options: str) -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "ttame", "serve", "--port", "0", *options],
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            try:
                yield Served(process, _address_said(process), log)
            finally:
                process.terminate()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _address_said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready: "):
            return line.split()[1]
    raise RuntimeError("the server did not start")


class Connection:
    """One client: keeps its connection, as browsers and proxies do."""

    def __init__(self, address: str, *, keeps: bool = True) -> None:
        self._address = urlsplit(address).netloc
        self._keeps = keeps
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, kind: str) -> tuple[int, bytes]:
        """Status and body of the answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=120)
        try:
            self._connection.request("POST", "/v1/explanations", body, {"Content-Type": kind})
            answer = self._connection.getresponse()
            found = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if answer.will_close or not self._keeps:
            self.close()
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def photos_of(count: int) -> list[bytes]:
    """Different cuts of real photos, as JPEG of about 480 pixels."""
    random = np.random.default_rng(0)
    opened = [Image.open(path).convert("RGB") for path in sample_photos()]
    files = []
    for number in range(count):
        photo = opened[number % len(opened)]
        share = random.uniform(0.6, 1.0)
        width, height = (int(side * share) for side in photo.size)
        left = int(random.integers(0, photo.width - width + 1))
        top = int(random.integers(0, photo.height - height + 1))
        cut = photo.crop((left, top, left + width, top + height))
        cut.thumbnail((480, 480))
        stream = io.BytesIO()
        cut.save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files


def form(photo: bytes) -> tuple[bytes, str]:
    return form_of({"classes": ["top3"], "maps": ["float16"]}, photo)


def posted_by(
    address: str, clients: int, forms: Sequence[tuple[bytes, str]], look: Callable[..., None]
) -> list[float]:
    """Send all forms by so many clients; ``look(number, status, body)`` sees each answer.

    Returns:
        The seconds of each request.
    """
    numbers = itertools.count()
    seconds: list[float] = []

    def client() -> None:
        connection = Connection(address)
        while (number := next(numbers)) < len(forms):
            begun = time.perf_counter()
            answer = connection.post(*forms[number])
            seconds.append(time.perf_counter() - begun)
            look(number, *answer)
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for each in [pool.submit(client) for _ in range(clients)]:
            each.result(LONGEST)
    return seconds


def must_be_right(number: int, status: int, body: bytes) -> None:
    assert status == 200, (number, status, body[:300])


def measure_throughput(explainer: Explainer, server: Served, files: Sequence[bytes]) -> list[str]:
    """Photos a second by the library and by the server, in turns; and latencies."""
    forms = [form(content) for content in files]
    pairs: list[tuple[float, float]] = []
    at_once: list[float] = []
    alone: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.jpg" for number in range(len(files))]
        for path, content in zip(paths, files, strict=True):
            path.write_bytes(content)

        def offline() -> None:
            for first in range(0, len(paths), BATCH):
                explainer(paths[first : first + BATCH], classes="top3", progress=False)

        offline()
        posted_by(server.address, CLIENTS, forms, must_be_right)
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            offline()
            between = time.perf_counter()
            at_once += posted_by(server.address, CLIENTS, forms, must_be_right)
            ended = time.perf_counter()
            pairs.append((len(files) / (between - begun), len(files) / (ended - between)))
            alone += posted_by(server.address, 1, forms[:24], must_be_right)
    library = median([each for each, _ in pairs])
    ours = median([each for _, each in pairs])
    ratio = median([second / first for first, second in pairs])
    p99 = sorted(at_once)[int(0.99 * (len(at_once) - 1))]
    single = median(alone)
    return [
        table(
            ["", "measured", "wanted"],
            [
                ["the library, batches of 8, photos a second", f"{library:.1f}", ""],
                [f"the server, {CLIENTS} clients, photos a second", f"{ours:.1f}", ""],
                ["server over library, median of rounds", f"{ratio:.2f}", "at least 0.8"],
                ["a single request, median", f"{1000 * single:.0f} ms", ""],
                [f"{CLIENTS} clients, median", f"{1000 * median(at_once):.0f} ms", ""],
                [f"{CLIENTS} clients, 99th percentile", f"{1000 * p99:.0f} ms", ""],
                ["99th percentile over single median", f"{p99 / single:.1f}", "below 20"],
            ],
        )
    ]  # fmt: skip


def malformed(content: bytes, random: np.random.Generator) -> bytes:
    """A file that cannot be read: cut off, other bytes, another kind of file, or a bomb."""
    choice = int(random.integers(0, 7))
    if choice == 0:
        return content[: int(random.integers(1, len(content) // 2))]
    if choice == 1:
        return bytes(random.integers(0, 256, 5000, dtype=np.uint8))
    if choice == 2:
        return b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"
    if choice == 3:  # The picture says that it has ten gigapixels.
        return BOMB
    if choice == 4:  # It is decoded once for each of two million scans.
        return content[:2] + 2_000 * b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00" + content[2:]
    return content[2:] if choice == 5 else b""


def measure_many(
    explainer: Explainer, server: Served, files: Sequence[bytes], requests: int
) -> list[str]:
    """Many requests, a tenth of them malformed; every answer compared, memory watched."""
    random = np.random.default_rng(1)
    expected = expected_of(explainer, files)
    broken = [number % 10 == 7 for number in range(requests)]
    forms = Forms([(files[n % len(files)], bad) for n, bad in enumerate(broken)], random)
    found: Counter[str] = Counter()
    memory: dict[int, float] = {}
    done = itertools.count(1)

    def look(number: int, status: int, body: bytes) -> None:
        if broken[number]:
            found["malformed, refused" if 400 <= status < 500 else "malformed, else"] += 1
        else:
            right = status == 200 and is_right(json.loads(body), expected[number % len(files)])
            found["right" if right else f"wrong or {status}"] += 1
        count = next(done)
        if count in (min(FIRST, requests // 10), requests):
            memory[count] = server.megabytes

    begun = time.perf_counter()
    posted_by(server.address, 8, forms, look)
    minutes = (time.perf_counter() - begun) / 60
    (first, before), (_, after) = sorted(memory.items())
    assert server.process.poll() is None, "the server has ended"
    rows = [[name, f"{count:,}"] for name, count in sorted(found.items())]
    rows += [
        [f"memory after {first:,} requests", f"{before:.0f} MB"],
        [
            "memory at the end",
            f"{after:.0f} MB ({100 * (after / before - 1):+.1f} %; wanted: ±5 %)",
        ],
        ["took", f"{minutes:.1f} minutes"],
    ]
    return [f"{requests:,} requests by 8 clients, a tenth malformed:", table(["", ""], rows)]


class Forms(Sequence[tuple[bytes, str]]):
    """Requests that are made when they are sent."""

    def __init__(self, parts: Sequence[tuple[bytes, bool]], random: np.random.Generator) -> None:
        self._parts = parts
        self._random = random

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: Any) -> Any:
        content, bad = self._parts[number]
        return form(malformed(content, self._random) if bad else content)


def expected_of(explainer: Explainer, files: Sequence[bytes]) -> list[tuple[list[int], Any]]:
    """What the library says: classes and maps of each photo."""
    found = []
    for content in files:
        explanation = explainer(Image.open(io.BytesIO(content)), classes="top3", progress=False)
        maps = to_unit_range(explanation.maps)[0].numpy()
        found.append((explanation.classes[0].tolist(), maps))
    return found


def is_right(answer: Any, expected: tuple[list[int], Any]) -> bool:
    """Whether classes and maps are those of the library."""
    classes, maps = expected
    said = answer["explanations"][0]["classes"]
    values = [np.frombuffer(base64.b64decode(each["float16"]), "<f2") for each in said]
    return [each["index"] for each in said] == classes and all(
        np.abs(value.astype(np.float32) - wanted.ravel()).max() < TOLERANCE
        for value, wanted in zip(values, maps, strict=True)
    )


def measure_end(server: Served, files: Sequence[bytes]) -> list[str]:
    """SIGTERM while 32 clients ask: what each of their requests got, next to the server's log."""
    forms = [form(content) for content in files]
    outcomes: Counter[str] = Counter()
    answered = threading.Semaphore(0)

    def client(first: int) -> None:
        connection = Connection(server.address, keeps=False)
        for number in range(first, 100_000):
            try:
                status, _ = connection.post(*forms[number % len(forms)])
            except ConnectionRefusedError:
                outcomes["not accepted"] += 1
                return
            except (OSError, http.client.HTTPException):
                outcomes["connection closed"] += 1
                return
            outcomes[str(status)] += 1
            answered.release()

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(client, first) for first in range(CLIENTS)]
        for _ in range(2 * CLIENTS):
            assert answered.acquire(timeout=120)
        os.kill(server.process.pid, signal.SIGTERM)
        begun = time.perf_counter()
        server.process.wait(120)
        seconds = time.perf_counter() - begun
        for each in waiting:
            each.result(180)
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[:1] == "{"]
    logged = Counter(str(each["status"]) for each in lines if each["event"] == "request")
    got = sum(count for name, count in outcomes.items() if name.isdigit())
    lost = sum(logged.values()) - logged["0"] - got
    rows = [
        ["answered", f"{outcomes['200']}"],
        ["refused with 503", f"{outcomes['503']}"],
        ["connection refused, or closed before the server took it", str(
            outcomes["not accepted"] + outcomes["connection closed"])],
        ["taken by the server and not answered", f"{logged['0'] + max(0, lost)}; wanted: 0"],
        ["seconds from SIGTERM to the end", f"{seconds:.1f}"],
    ]  # fmt: skip
    return [f"SIGTERM while {CLIENTS} clients ask:", table(["requests", ""], rows)]


def measure_page(server: Served) -> list[str]:
    """From choosing a photo to its first map, in Debian's Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return ["No Chromium here: the page was not measured."]
    from playwright.sync_api import sync_playwright

    photo = str(sample_photos()[0])
    seconds = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(ROUNDS + 1):
            page = browser.new_page()
            page.goto(server.address)
            page.wait_for_selector("#work:not([hidden])")
            page.wait_for_load_state("networkidle")
            begun = time.perf_counter()
            page.set_input_files("#files", photo)
            page.wait_for_selector("[data-ready=true]")
            seconds.append(time.perf_counter() - begun)
            page.close()
        browser.close()
    quickest, middle = min(seconds[1:]), median(seconds[1:])
    return [
        f"First map on the page after a photo of 451x300 was chosen, in Chromium: "
        f"{middle:.2f} s (median of {ROUNDS}), {quickest:.2f} s (the quickest); wanted: 0.3 s on a "
        "quiet core."
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument(
        "--tiny", action="store_true", help="a tiny network for the many requests and SIGTERM"
    )
    parser.add_argument(
        "--speed", action="store_true", help="throughput, latency and the first map alone"
    )
    typed = parser.parse_args()
    command = "python -m benchmarks.serving"
    command += f" --requests {typed.requests}" if typed.requests != 10_000 else ""
    command += "".join(f" --{name}" for name in ("tiny", "speed") if getattr(typed, name))
    files = photos_of(PHOTOS)
    explainer = ttame.load_explainer("efficientnet_lite0")
    with served("--methods", "few_shot") as server:
        parts = measure_throughput(explainer, server, files)
        parts += [*measure_page(server), load_in_words()]
    write_section("serving-speed", "A server's speed", command, "\n\n".join(parts))
    if typed.speed:
        return
    if typed.tiny:
        with tiny_weights() as (weights, classifier):
            explainer = ttame.make_explainer("grad_cam", classifier)
            options = (*TINY, "--weights", weights, "--methods", "grad_cam")
            parts = under_load(explainer, options, files, typed.requests)
        parts.append("With timm/resnet10t on 64x64 pixels, Grad-CAM.")
    else:
        parts = under_load(explainer, ("--methods", "few_shot"), files, typed.requests)
        parts.append("With EfficientNet-Lite0 and its trained explainer.")
    parts.append(load_in_words())
    write_section("serving", "A server under load", command, "\n\n".join(parts))


def load_in_words() -> str:
    load, cores = os.getloadavg()[1], os.cpu_count()
    return (
        f"Mean load of the machine in the last five minutes, ours included: {load:.1f}, on {cores} "
        "cores."
    )


def under_load(
    explainer: Explainer, options: Sequence[str], files: Sequence[bytes], requests: int
) -> list[str]:
    """Many requests, and the end of the server."""
    with served(*options) as server:
        parts = measure_many(explainer, server, files, requests)
        print("\n\n".join(parts), flush=True)
    with served(*options) as server:
        return parts + measure_end(server, files)


@contextlib.contextmanager
def tiny_weights() -> Iterator[tuple[str, ttame.Classifier]]:
    """Random weights differ between processes, so the server's are saved and loaded here."""
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        classifier = ttame.load_classifier("timm/resnet10t", "none", image_size=64)
        state = {name: each.contiguous() for name, each in classifier.network.state_dict().items()}
        path = str(Path(folder) / "tiny.safetensors")
        save_file(state, path)
        yield path, ttame.load_classifier("timm/resnet10t", path, image_size=64)


if __name__ == "__main__":
    main()
