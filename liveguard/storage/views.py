"""What guardians who arrive need to know, for all of them who wait at once."""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from liveguard.events import Person, Reason
from liveguard.storage.numbering import last_seq
from liveguard.storage.rows import decoded, select, table

MOST_MISSED = 200
MISSED_FOR = 7 * 24 * 3600 * 1000  # milliseconds


class EndedSession(Struct, frozen=True):
    """A session that has ended; ``seq`` is that of its end."""

    id: str
    ward: Person
    start_time: int
    end_time: int
    duration: int
    reason: Reason
    seq: int
    metadata: dict[str, Any] | None = None
    ended_by: str | None = None


class GuardianView(Struct, frozen=True):
    """What a guardian who arrives needs to know: whether they may come in at all; whose sessions they may see, and from
    which ``seq`` on each ward accepts them; which ends they missed, and up to where the journal goes. ``stands_at`` is
    the ``seq`` up to which they knew everything, None on a first visit; ``looked_up_to`` the one behind which ends have
    not come into the tables."""

    is_active: bool
    wards: dict[str, int]
    missed: list[EndedSession]
    seq: int
    stands_at: int | None
    looked_up_to: int


class Visit(NamedTuple):
    """A guardian who arrives, where they say they stand (None where they do not say), when it is, and up to where they
    are known to have heard everything, which may be more than is written."""

    guardian_id: str
    since: int | None
    now: int
    heard: int | None = None


ENDED_COLUMNS = """
    s.id, w.id, w.first_name, w.last_name, w.email,
    s.start_time, s.end_time, s.duration, s.reason, s.end_seq, s.metadata, s.ended_by
"""


def ended_session(row: Sequence[Any]) -> EndedSession:
    """The session in a row of :data:`ENDED_COLUMNS`."""
    session_id, ward_id, first_name, last_name, email, start_time, end_time, duration, reason, seq, metadata, by = row
    ward = Person(ward_id, first_name, last_name, email)
    return EndedSession(session_id, ward, start_time, end_time, duration, reason, seq, decoded(metadata), by)


def note_first_visits(db: sqlite3.Connection, visits: Sequence[Visit]) -> None:
    """Keep that these guardians know everything by now, where nothing is kept of them yet."""
    db.execute(
        "UPDATE users SET delivered_seq = (SELECT value FROM sequence)"
        " WHERE id IN (SELECT value FROM json_each(?)) AND delivered_seq IS NULL",
        (table([visit.guardian_id for visit in visits]),),
    )


def guardian_views(db: sqlite3.Connection, visits: Sequence[Visit], newest: int) -> list[GuardianView]:
    """The view of each visit, in their order; ``newest`` is the number drawn last, as far as the redo log knows."""
    looked_up_to = last_seq(db)
    seq = max(looked_up_to, newest)
    asked = table(list({visit.guardian_id for visit in visits}))
    users = {
        user_id: (bool(is_active), delivered_seq)
        for user_id, is_active, delivered_seq in select(
            db,
            "u.id, u.is_active, u.delivered_seq",
            "FROM json_each(?) AS asked JOIN users u ON u.id = asked.value",
            (asked,),
        )
    }
    wards: dict[str, dict[str, int]] = {visit.guardian_id: {} for visit in visits}
    for guardian_id, ward_id, accepted_seq in select(
        db,
        "g.guardian_id, g.ward_id, g.accepted_seq",
        "FROM json_each(?) AS asked JOIN guardians g ON g.guardian_id = asked.value WHERE g.status = 'accepted'",
        (asked,),
    ):
        wards[guardian_id][ward_id] = accepted_seq
    views = []
    for visit in visits:
        is_active, delivered_seq = users.get(visit.guardian_id, (False, None))
        stands_at = _stands_at(visit, delivered_seq, seq)
        views.append(GuardianView(is_active, wards[visit.guardian_id], [], seq, stands_at, looked_up_to))
    _add_missed(db, visits, views)
    return views


def _stands_at(visit: Visit, delivered_seq: int | None, seq: int) -> int | None:
    if visit.since is None:
        # What an old page of theirs has said or heard since that was written may well be less.
        return max((one for one in (delivered_seq, visit.heard) if one is not None), default=None)
    # Whoever has seen more than there is knew another file, and nothing that is in this one.
    return visit.since if visit.since <= seq else 0


def _add_missed(db: sqlite3.Connection, visits: Sequence[Visit], views: Sequence[GuardianView]) -> None:
    """Add the newest ends after each guardian's place, in their order. Of each ward only so many are looked at, so
    that the cost does not grow with the file."""
    asked = [
        (place, visit.guardian_id, view.stands_at, visit.now)
        for place, (visit, view) in enumerate(zip(visits, views, strict=True))
        if view.stands_at is not None and view.stands_at < view.seq
    ]
    if not asked:
        return
    for place, *row in select(db, f"asked.value ->> 0, {ENDED_COLUMNS}", _MISSED, (table(asked),)):
        missed = views[place].missed
        if len(missed) < MOST_MISSED:
            missed.append(ended_session(row))
    for view in views:
        view.missed.reverse()


# By a clock that is weeks ahead all of them are too old, and by the next one nobody asks for them any more.
_NEWEST = "SELECT end_time FROM sessions WHERE end_seq IS NOT NULL ORDER BY end_seq DESC LIMIT 1"

_MISSED = f"""
    FROM json_each(?) AS asked
    JOIN guardians g ON g.guardian_id = asked.value ->> 1 AND g.status = 'accepted'
    JOIN sessions s ON s.start_seq IN (
        SELECT start_seq FROM sessions
        WHERE ward_id = g.ward_id AND end_seq > max(asked.value ->> 2, g.accepted_seq)
        ORDER BY end_seq DESC LIMIT {MOST_MISSED}
    )
    JOIN users w ON w.id = s.ward_id
    WHERE s.end_time >= min(asked.value ->> 3, ({_NEWEST})) - {MISSED_FOR}
    ORDER BY s.end_seq DESC
"""  # noqa: S608
