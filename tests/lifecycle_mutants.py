"""The guards of the lifecycle, and how to take each of them away.

A mutant is a few lines of the program, changed. What is left has to break a rule, or the proof proves nothing.
"""

import inspect
import textwrap
from typing import Any

import pytest

from liveguard.admission import Admission
from liveguard.audience import Audience
from liveguard.deadlines import Deadlines
from liveguard.journaling import Journaling
from liveguard.lifecycle import Lifecycle
from liveguard.live import Live
from liveguard.rooms import Presences, Room
from liveguard.turns import Turns


class Change:
    """In a method, other words in place of some: ``words`` are each the old and the new."""

    def __init__(self, owner: type[Any], method: str, *words: tuple[str, str]) -> None:
        self.owner = owner
        self.method = method
        self.words = words

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the changed method in the place of the true one."""
        method = getattr(self.owner, self.method)
        source = textwrap.dedent(inspect.getsource(method))
        for old, new in self.words:
            assert old in source, f"{self.owner.__name__}.{self.method} reads differently now"
            source = source.replace(old, new)
        namespace: dict[str, Any] = {}
        exec(source, method.__globals__, namespace)
        monkeypatch.setattr(self.owner, self.method, namespace[self.method])


CLAIM = "self._sessions.claim(session)\n"
NOW = "now = self._clock.now()\n"

MUTANTS: dict[str, tuple[Change, ...]] = {
    "the slot is taken after the first await": (
        Change(Lifecycle, "begin", (CLAIM, "\n")),
        Change(Lifecycle, "_begin", (NOW, f"{CLAIM}    {NOW}")),
    ),
    "a ward has no queue": (
        Change(
            Turns,
            "take",
            ("self._waiting.get(ward_id)", "None"),
            ("del self._waiting[ward_id]", "self._waiting.pop(ward_id, None)"),
        ),
        Change(Turns, "_finish", ("del self._waiting[ward_id]", "self._waiting.pop(ward_id, None)")),
    ),
    "any grace that is over ends any interruption": (
        Change(Live, "_end_if_over", ("session.interruption is interruption", "session.interruption is not None")),
    ),
    "a grace that is over ends a session that goes on": (
        Change(Live, "_end_if_over", ("session.interruption is interruption", "True")),
    ),
    "any device carries the session": (Change(Live, "_ward_gone", ("or session.carrier is not connection", "")),),
    "a room outlives its session": (Change(Lifecycle, "end", ("session.room.close()", "pass")),),
    "an end keeps its place": (Change(Lifecycle, "end", ("self._sessions.release(session)", "pass")),),
    "what is over ends what has ended": (Change(Live, "_end_if_over", ("not session.running or ", "")),),
    "timers are not cancelled": (Change(Deadlines, "cancel", ("timer.cancel()", "pass")),),
    "a guardian comes in who has gone while the database was read": (
        Change(Audience, "came", ("or not still_there", "")),
    ),
    "the room's changes are told after its end": (
        Change(Live, "_tell_guardians_changed", ("session.running", "True")),
    ),
    "an admin ends what has ended": (Change(Live, "_end_by_admin", ("session.running", "True")),),
    "leaving twice is a fault": (
        Change(
            Presences,
            "depart",
            ("if presence is None or connection not in presence.connections:\n        return None\n    ", ""),
        ),
    ),
    "leaving a room is no leaving": (Change(Room, "leave", ("self.guardians.pop(", "self.guardians.get(")),),
    "an older device takes over": (Change(Live, "_successor", ("if one.opened_at > lost.last_heard", "if True")),),
    "another page of the browser does not": (Change(Live, "_successor", (" or one.browser in known", "")),),
    "a ward who writes is lost all the same": (
        Change(Live, "_say_as_ward", ("session.interruption is not None", "False")),
    ),
    "an end does not wait for its beginning": (Change(Journaling, "end", ("if session.seq is not None:", "if True:")),),
    "ends that are not written are nobody's to learn": (
        Change(
            Audience,
            "_first_words",
            ("self._journaling.unwritten_ends(guardian.id, view.wards, max(view.looked_up_to, view.stands_at))", "[]"),
        ),
    ),
    "a second device knows less than the first": (
        Change(Audience, "_enter", ("if other_connections is not None:", "if False:")),
    ),
    "revoked guardians stay": (Change(Audience, "admit", ("self._put_out(session, guardian_id, now)", "pass")),),
    "disabled guardians stay": (
        Change(Live, "_shut_out", ("self.audience.shut_out(user_id, closed_later=as_ward)", "pass")),
    ),
    "disabled wards stay": (Change(Admission, "_apply", ("for user_id in access.gone:", "for user_id in ():")),),
}
