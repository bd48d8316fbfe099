"""What a server allows, with safe defaults."""

from __future__ import annotations

import dataclasses
import ipaddress

from ttame.errors import TtameError, setting

_MEGA = 1_000_000


@dataclasses.dataclass(frozen=True)
class ServingSettings:
    """The limits of a server, and who may use it.

    Attributes:
        host: the address that it listens on; ``127.0.0.1`` is reached from this machine only.
        port: the port.
        token: what requests must carry as ``Authorization: Bearer TOKEN``; nobody is asked for one
            if it is empty.
        origins: addresses of other pages that may call the API (CORS), such as
            ``https://example.org``; none by default.
        largest_upload: bytes of a request.
        most_pixels: the most pixels that a photo may have, as its header says.
        upload_seconds: a request that has not arrived completely after so long is refused.
        time_limit: seconds from the arrival of a request to its answer.
        queue_length: requests that are worked on or wait; those beyond it are refused with 503.
        batch_size: photos that go through the network together.
        batch_wait: seconds that a photo waits for others that are arriving already.
        most_methods: the most methods that one request may ask for.
        most_classes: the most classes that one request may ask for.
        most_values: numbers in all maps of one answer.
        shutdown_seconds: requests that were accepted may take so long after SIGTERM.

    Raises:
        TtameError: a limit that is not positive, or an empty host.

    Example:
        >>> ServingSettings(queue_length=8).is_local
        True
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = dataclasses.field(default="", repr=False)
    origins: tuple[str, ...] = ()
    largest_upload: int = 20 * _MEGA
    most_pixels: int = 50 * _MEGA
    upload_seconds: float = 30.0
    time_limit: float = 300.0
    queue_length: int = 64
    batch_size: int = 8
    batch_wait: float = 0.01
    most_methods: int = 4
    most_classes: int = 100
    most_values: int = 16 * _MEGA
    shutdown_seconds: int = 30

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("batch_wait", "port") else 1e-9
            if isinstance(value, int | float) and not least <= value < float("inf"):
                raise TtameError(f"{setting(field.name)} {value}", allowed="a positive number")
        if not self.host:
            raise TtameError("an empty host", allowed="an address such as 127.0.0.1")
        if self.token and not (self.token.isascii() and self.token.isprintable()):
            raise TtameError(
                "a token with characters that are not printable ASCII", allowed="letters and digits"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server.

        Example:
            >>> ServingSettings(host="0.0.0.0").is_local, ServingSettings(host="::1").is_local
            (False, True)
        """
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def of_photos(self) -> str:
        """How large a photo may be.

        Example:
            >>> ServingSettings().of_photos()
            '20 MB and 50 megapixels'
        """
        largest, most = self.largest_upload / _MEGA, self.most_pixels / _MEGA
        return f"{largest:.3g} MB and {most:.3g} megapixels"

    def in_words(self) -> list[str]:
        """The limits, one line each, for whoever starts the server.

        Example:
            >>> ServingSettings().in_words()[0]
            'uploads: at most 20 MB and 50 megapixels, within 30 s'
        """
        return [
            f"uploads: at most {self.of_photos()}, within {self.upload_seconds:g} s",
            f"answers: within {self.time_limit:g} s; at most {self.most_methods} methods and "
            f"{self.most_classes} classes",
            f"queue: {self.queue_length} requests, then 503; up to {self.batch_size} photos "
            f"per batch, which wait at most {1000 * self.batch_wait:g} ms for each other",
            f"access: {'with a token' if self.token else 'without a token'}; "
            + (f"pages of {', '.join(self.origins)}" if self.origins else "no pages of others"),
        ]
