"""Whom the sessions of a ward reach."""

import sqlite3
from collections.abc import Sequence

from liveguard.events import Person
from liveguard.storage.rows import one, select, table

MOST_REACHED = 4096  # wards whose guardians are remembered


def accepted_guardians(db: sqlite3.Connection, ward_ids: Sequence[str]) -> dict[str, list[Person]]:
    """Whom a session of each of these wards reaches: the guardians who are accepted, and active themselves."""
    guardians: dict[str, list[Person]] = {ward_id: [] for ward_id in ward_ids}
    rows = select(
        db,
        "g.ward_id, p.id, p.first_name, p.last_name, p.email",
        "FROM json_each(?) AS asked JOIN guardians g ON g.ward_id = asked.value JOIN users p ON p.id = g.guardian_id"
        " WHERE g.status = 'accepted' AND p.is_active ORDER BY g.created_at, g.rowid",
        (table(list(guardians)),),
    )
    for ward_id, *person in rows:
        guardians[ward_id].append(Person(*person))
    return guardians


class Reached:
    """Whom the sessions of wards reach, read anew whenever anybody may have changed that.

    In a burst the same wards start again and again: a start costs 4 µs here, and 20 where its guardians are read.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[Person]] = {}
        self._data_version = 0

    def forget(self) -> None:
        """This connection may have changed it."""
        self._known.clear()

    def of(self, db: sqlite3.Connection, ward_ids: list[str]) -> dict[str, list[Person]]:
        """The guardians of each ward, as they are now."""
        version = one(db, "PRAGMA data_version")  # another connection has committed: the number is another one
        if version != self._data_version or len(self._known) > MOST_REACHED:
            self._data_version = version
            self.forget()
        unknown = [ward_id for ward_id in ward_ids if ward_id not in self._known]
        if unknown:
            self._known.update(accepted_guardians(db, unknown))
        return self._known
