"""Rows for people and for their programs: aligned text, CSV, JSON."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from liveguard.logs import harmless

# What begins so, a spreadsheet takes for a formula, and computes it. A cell also begins behind each semicolon where
# semicolons separate cells, as in German.
_FORMULA = re.compile(r'(^|;)(?=["\s]*[=+\-@]|[\t\r\n])')


def text_lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in columns. What does not print is escaped, so that nobody's name moves the cursor."""
    cells = [list(headings), *([harmless(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def csv_line(cells: Iterable[Any]) -> str:
    """A line of CSV without its end. Texts that a spreadsheet would compute get an apostrophe before them."""
    line = io.StringIO()
    csv.writer(line).writerow([_csv_cell(cell) for cell in cells])
    return line.getvalue().removesuffix("\r\n")


class JsonArray:
    """A JSON array that is written as it comes, one element on each line."""

    def __init__(self) -> None:
        self._before = "["

    def lines(self, values: Iterable[Any]) -> Iterator[str]:
        """The next elements."""
        for value in values:
            yield self._before + msgspec.json.encode(value).decode()
            self._before = ","

    def end(self) -> str:
        """The last line."""
        return "[]" if self._before == "[" else "]"


def json_lines(values: Iterable[Any]) -> Iterator[str]:
    """A JSON array of what is there already."""
    array = JsonArray()
    yield from array.lines(values)
    yield array.end()


def _csv_cell(cell: Any) -> Any:
    if isinstance(cell, dict):
        # Semicolons of JSON stand in its texts only, where they may be written otherwise and mean the same.
        return msgspec.json.encode(cell).decode().replace(";", "\\u003b")
    return _FORMULA.sub(r"\1'", cell) if isinstance(cell, str) else cell
