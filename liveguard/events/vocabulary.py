"""The words that clients and server have in common: people, moments, reasons."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

Reason = Literal["manual_stop", "ward_disconnected", "account_disabled", "ended_by_admin", "expired"]
WORRYING: Final[tuple[Reason, ...]] = ("ward_disconnected", "expired")
"""Nobody said a word: whether the ward is safe, is not known."""

Role = Literal["ward", "guardian"]
BOTH: Final[tuple[Role, ...]] = ("ward", "guardian")

Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Seconds = Annotated[int, Meta(ge=0, description="whole seconds")]

encoder = msgspec.json.Encoder()


@lru_cache(maxsize=16)
def timestamp(moment: int) -> str:
    """The ISO 8601 text of a moment in milliseconds, such as ``2026-01-31T09:30:00.000Z``.

    Several stand in each event, most often the same ones: kept, each costs 0.1 µs, and made anew 1. Few are kept, for
    when a crowd has gone, each of them holds on to the page of memory on which it happens to lie.
    """
    second, milliseconds = divmod(moment, 1000)
    return f"{_second(second)}.{milliseconds:03d}Z"


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


class Person(Struct, frozen=True, rename="camel", gc=False):
    """Somebody whom liveguard knows, as others may see them."""

    id: str
    first_name: str
    last_name: str
    email: str

    @property
    def name(self) -> str:
        """What they are called."""
        return f"{self.first_name} {self.last_name}".strip() or self.email
