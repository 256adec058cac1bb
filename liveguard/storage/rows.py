"""Reading many rows in one step.

Python's sqlite3 lets go of the interpreter's lock for each step of a statement, and takes up to a switch interval (5 ms
by default) to get it back while the event loop is busy: a list read row by row would take that long for each row. So
SQLite itself makes one JSON text of all rows, which takes one step however many there are.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_decode = msgspec.json.Decoder(list[list[Any]]).decode
_encode = msgspec.json.Encoder().encode


def select(
    db: sqlite3.Connection, columns: str, rest: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
) -> list[list[Any]]:
    """All rows of ``SELECT columns rest``, in its order."""
    text = one(db, f"SELECT group_concat(line) FROM (SELECT json_array({columns}) AS line {rest})", parameters)  # noqa: S608
    return _decode(f"[{text or ''}]")


def one(db: sqlite3.Connection, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
    """The one value of a statement that always has one."""
    return db.execute(sql, parameters).fetchone()[0]


def table(values: object) -> str:
    """A list as a parameter of ``json_each``."""
    return _encode(values).decode()


def values(columns: int) -> str:
    """The columns of a row of ``json_each``."""
    return ", ".join(f"value ->> {column}" for column in range(columns))


def encoded(value: object) -> str | None:
    """The JSON text that a column keeps, or nothing for nothing."""
    return None if value is None else _encode(value).decode()


def decoded(text: str | None) -> dict[str, Any] | None:
    """What such a text says."""
    return None if text is None else msgspec.json.decode(text, type=dict[str, Any])
