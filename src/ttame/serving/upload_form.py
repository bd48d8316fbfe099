"""The form of a request, read into memory within bounds of bytes and time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ttame.serving.problems import Problem
from ttame.serving.settings import ServingSettings

_MORE_THAN_FILES = 100_000
"""Bytes of a form besides its files."""

_MOST_DISCARDED = 4
"""So many times the allowed size is read and thrown away, so that the refusal can be read."""

_FILES = frozenset({"photo", "tensor", "kept"})


class _InMemory(MultiPartParser):
    """Keeps files in memory: nothing that is uploaded reaches the disk."""

    spool_max_size = 2**62


@dataclasses.dataclass(frozen=True)
class UploadForm:
    """What a form holds.

    Attributes:
        fields: name to text; a list of texts where it may be given several times.
        files: name to content.
        size: bytes that arrived.
    """

    fields: Mapping[str, str | list[str]]
    files: Mapping[str, bytes]
    size: int


async def read_form(
    request: Request, settings: ServingSettings, several: Sequence[str] = ()
) -> UploadForm:
    """Read a ``multipart/form-data`` request.

    Names of files and what they say they are is not looked at.

    Args:
        request: whose body was not read yet.
        settings: the limits.
        several: fields that may be given several times.

    Raises:
        Problem: 408, too slow; 413, too large; 415, another kind of body; 422, a damaged one.
        ClientDisconnect: the client went away.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Problem(415, "a body that is not a form; allowed: multipart/form-data")
    arriving = _Arriving(request, settings.largest_upload)
    try:
        async with asyncio.timeout(settings.upload_seconds):
            parser = _InMemory(
                request.headers,
                arriving.chunks(),
                max_files=len(_FILES),
                max_fields=32 + 2 * settings.most_classes,
                max_part_size=_MORE_THAN_FILES,
            )
            form = await parser.parse()
    except TimeoutError as problem:
        raise Problem(
            408, f"a request that took more than {settings.upload_seconds:g} s to arrive"
        ) from problem
    except MultiPartException as problem:
        raise Problem(422, "a form that cannot be read") from problem
    try:
        return await _sorted(form.multi_items(), several, arriving.size, settings)
    finally:
        await form.close()


async def _sorted(
    items: Sequence[tuple[str, Any]], several: Sequence[str], size: int, settings: ServingSettings
) -> UploadForm:
    fields: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for name, value in items:
        if isinstance(value, UploadFile) != (name in _FILES):
            allowed = "a file" if name in _FILES else "text"
            raise Problem(422, f"{name[:40]!r} is of another kind; allowed: {allowed}")
        if name in fields and name not in several:
            raise Problem(422, f"{name[:40]!r} is given twice")
        if isinstance(value, UploadFile):
            fields[name] = ""
            files[name] = await value.read()
            _refuse_large(len(files[name]), settings.largest_upload)
        elif name in several:
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
    return UploadForm(fields, files, size)


def _refuse_large(size: int, most: int) -> None:
    if size > most:
        raise Problem(413, f"more than {most / 1e6:.3g} MB; try: a smaller copy of the photo")


class _Arriving:
    """The body of a request, counted."""

    def __init__(self, request: Request, largest_upload: int) -> None:
        self._request = request
        self._largest_upload = largest_upload
        self._most = largest_upload + _MORE_THAN_FILES
        self.size = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The parts as they arrive; of a body that is too large, it reads on and keeps nothing."""
        said = self._request.headers.get("content-length", "")
        if said.isdigit() and int(said) > _MOST_DISCARDED * self._most:
            _refuse_large(int(said), self._largest_upload)
        async for chunk in self._request.stream():
            self.size += len(chunk)
            if self.size > _MOST_DISCARDED * self._most:
                break
            if self.size <= self._most:
                yield chunk
        if self.size > self._most:
            _refuse_large(self.size, self._largest_upload)


__all__ = ["ClientDisconnect", "UploadForm", "read_form"]
