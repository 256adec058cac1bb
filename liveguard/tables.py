"""Rows for people and for their programs: aligned text, CSV, JSON."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from liveguard.logs import harmless

# A spreadsheet takes a cell that begins with one of these for a formula, and computes it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def text_lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in columns. What does not print is escaped, so that nobody's name moves the cursor."""
    cells = [list(headings), *([harmless(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def csv_line(cells: Iterable[Any]) -> str:
    """A line of CSV without its end. Texts that a spreadsheet would compute get an apostrophe before them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([_csv_cell(cell) for cell in cells])
    return line.getvalue()


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
        cell = msgspec.json.encode(cell).decode()
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
