"""The life of a session as docs/protocol.md has it, for a model: what must be heard, by whom and in which order.

The model is told what befalls the server before the server is: who connects, asks, is lost, how time passes, what the
file says. It hears all that the server sends, at the moment in which it is sent, and notes what is wrong in
``problems``. When the database answers is nobody's promise: that a start or an end is done, the model learns by
hearing it. Everything else follows, so that each device has a list of what it must hear next.

Who guards whom is *certain* from the moment in which a look at the database, begun after the last change, has come to
its end. Until then the server may know of the change or not.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

REASONS = {"manual_stop", "ward_disconnected", "account_disabled", "ended_by_admin", "expired"}
LEAST_GRACE_AFTER_RESTART = 30.0


class Row(NamedTuple):
    """A session in the file."""

    id: str
    ward: str
    start_time: int
    start_seq: int
    end_seq: int | None
    reason: str | None


class Told(NamedTuple):
    """Something that a device must hear; ``facts`` are some of its data."""

    name: str
    reply_to: str | None
    facts: dict[str, Any]


@dataclass(eq=False)
class Interruption:
    """Since when a ward is lost, and until when they may come back."""

    until: float


@dataclass(eq=False)
class Session:
    """A session that was told, or found in the file after a restart."""

    id: str
    ward: str
    carrier: Any
    seq: int | None
    over_at: float  # the longest time, on the monotonic clock
    interruption: Interruption | None = None
    listening: set[str] = field(default_factory=set)
    reason: str | None = None  # of its end, once that was told
    end_seq: int | None = None
    end_told: bool = False
    ended_as: int = 0  # the how many-eth end it was
    knew: dict[str, bool | None] = field(default_factory=dict)  # who was certainly accepted at its end, or not


@dataclass(eq=False)
class UnderWay:
    """A start or an end that waits for the database."""

    reason: str | None  # of an end; a start has none
    request: Any = None
    since: float = 0.0
    session: Session | None = None
    shut_out: bool = False


@dataclass(eq=False)
class Ward:
    """A ward: what was asked and is not done, whose turn it is, and who is connected."""

    id: str
    asked: deque[Callable[[], None]] = field(default_factory=deque)
    under_way: UnderWay | None = None
    devices: list[Any] = field(default_factory=list)
    session: Session | None = None


@dataclass(eq=False)
class Client:
    """A guardian's program or page, over all its connections: what it has certainly received."""

    person: str
    stand: int | None = None
    received: set[str] = field(default_factory=set)
    first_end: int | None = None  # ends from this one on, it must learn of


class Model:
    """The wards, their sessions, and what everybody must hear."""

    def __init__(self, wards: Iterable[str], guardians: Iterable[str], grace: float, longest: float) -> None:
        self.wards = {ward_id: Ward(ward_id) for ward_id in wards}
        self.guardians = list(guardians)
        self.grace = grace
        self.longest = longest
        self.now = 0.0
        self.problems: list[str] = []
        self.sessions: dict[str, Session] = {}
        self.present: dict[str, list[Any]] = {guardian_id: [] for guardian_id in guardians}
        self.visited: dict[str, int] = {}
        self.forgettable: set[str] = set()  # who came for the first time when that could not be written
        self.faults = 0  # how often the database was taken away, or did not answer
        self.taken_back: set[int] = set()  # the numbers of starts that failed and had been written all the same
        self.fault = False
        self.closing = False
        self.certain: Callable[[str, str], bool | None] = lambda ward_id, guardian_id: None
        self.paired: Callable[[str, str], bool] = lambda ward_id, guardian_id: False
        self.received: Callable[[str], set[str]] = lambda guardian_id: set()
        self._ends = 0
        self._ringing: list[tuple[float, str, Callable[[], None]]] = []

    def wrong(self, text: str) -> None:
        self.problems.append(text)

    # -- what a ward does ------------------------------------------------------------------------------------------

    def _take(self, ward: Ward, step: Callable[[], None]) -> None:
        """In its turn: nothing overtakes what was asked before it."""
        ward.asked.append(step)
        self._go_on(ward)

    def _go_on(self, ward: Ward) -> None:
        while ward.asked and ward.under_way is None:
            ward.asked.popleft()()

    def ward_came(self, device: Any) -> None:
        ward = self.wards[device.person.id]

        def step() -> None:
            ward.devices.append(device)
            session = ward.session
            if session is None:
                return
            if session.interruption is not None:
                self._goes_on(ward, session, device)
            else:
                self._must_hear(device, "session-started", None, sessionId=session.id)

        self._take(ward, step)

    def _goes_on(self, ward: Ward, session: Session, device: Any) -> None:
        """The ward is back, over this device."""
        self._must_hear(device, "session-started", None, sessionId=session.id)
        session.interruption, session.carrier = None, device
        self._room_must_hear(session, "session-resumed")
        for each in ward.devices:
            self._must_hear(each, "session-resumed", None, sessionId=session.id)

    def ward_gone(self, device: Any, own_word: bool) -> None:
        ward = self.wards[device.person.id]
        device.expected.clear()

        def step() -> None:
            if device not in ward.devices:
                return
            ward.devices.remove(device)
            session = ward.session
            if session is None or session.carrier is not device:
                return
            if own_word or self.grace == 0:
                ward.under_way = UnderWay("ward_disconnected", session=session)
                return
            heirs = [
                other
                for other in ward.devices
                if other.opened_at > device.last_heard or (other.browser == device.browser is not None)
            ]
            session.carrier = heirs[-1] if heirs else None
            if session.carrier is None:
                session.interruption = Interruption(self.now + self.grace)
                self._room_must_hear(session, "session-interrupted")

        if own_word or not self.closing:
            self._take(ward, step)

    def asks(self, device: Any, what: str, request: Any) -> None:
        ward = self.wards[device.person.id]

        def step() -> None:
            session = ward.session
            if what == "start" and device not in ward.devices:
                self._refused(request, "account_inactive")
            elif what == "start" and session is None:
                ward.under_way = UnderWay(None, request, self.now)
            elif what == "start":
                self._refused(request, "session_already_active")
            elif session is None:
                self._refused(request, "no_active_session")
            elif what == "stop":
                ward.under_way = UnderWay("manual_stop", request, session=session)
            elif what == "locate":
                self._room_must_hear(session, "location-updated")
                count = len(session.listening)
                self._must_hear(device, "location-acknowledged", request.id, guardianCount=count)
            else:
                # Nobody writes who is lost.
                if session.interruption is not None:
                    self._goes_on(ward, session, device)
                self._all_must_hear(session, "message", request)

        self._take(ward, step)

    def _refused(self, request: Any, code: str) -> None:
        self._must_hear(request.connection, "session-error", request.id, code=code)

    # -- what others do --------------------------------------------------------------------------------------------

    def guardian_says(self, device: Any, ward_id: str, request: Any) -> bool:
        """Whether they may: who is in the room may."""
        session = self.wards[ward_id].session
        if session is None or device.person.id not in session.listening:
            return False
        self._all_must_hear(session, "message", request)
        return True

    def admin_ends(self, session_id: str) -> bool:
        """Whether there is such a session."""
        session = self.sessions[session_id]
        ward = self.wards[session.ward]
        if ward.session is not session:
            return False
        self._take(ward, lambda: self._end_if_it_runs(ward, session, "ended_by_admin"))
        return True

    def _end_if_it_runs(self, ward: Ward, session: Session, reason: str) -> None:
        if ward.session is session:
            ward.under_way = UnderWay(reason, session=session)

    def found_disabled(self, user_id: str) -> None:
        """The server has read that an account is disabled: it ends what it began, then its connections are closed."""
        ward = self.wards.get(user_id)
        if ward is None:
            return

        def step() -> None:
            if ward.session is not None:
                ward.under_way = UnderWay("account_disabled", session=ward.session, shut_out=True)
            else:
                ward.devices.clear()

        self._take(ward, step)

    def time_passed(self, now: float) -> None:
        """What is over goes off now; when it arrives, :meth:`ring` says."""
        self.now = now
        for ward in self.wards.values():
            session = ward.session
            if session is None or (ward.under_way and ward.under_way.session is session):
                continue
            if session.over_at <= now:
                self._ringing.append((session.over_at, ward.id, self._expiry(ward, session)))
                session.over_at = float("inf")
            lost = session.interruption
            if lost is not None and lost.until <= now:
                self._ringing.append((lost.until, ward.id, self._grace_over(ward, session, lost)))
                lost.until = float("inf")

    def _expiry(self, ward: Ward, session: Session) -> Callable[[], None]:
        return lambda: None if self.closing else self._end_if_it_runs(ward, session, "expired")

    def _grace_over(self, ward: Ward, session: Session, lost: Interruption) -> Callable[[], None]:
        def step() -> None:
            # Only this absence is over: the ward may be back, or have been lost anew.
            if session.interruption is lost and not self.closing:
                self._end_if_it_runs(ward, session, "ward_disconnected")

        return step

    def ring(self) -> None:
        ringing, self._ringing = sorted(self._ringing, key=lambda one: one[0]), []
        for _, ward_id, step in ringing:
            self._take(self.wards[ward_id], step)

    # -- what is heard ---------------------------------------------------------------------------------------------

    def _must_hear(self, device: Any, name: str, reply_to: str | None, **facts: Any) -> None:
        if device.closed is None:
            device.expected.append(Told(name, reply_to, facts))

    def _room_must_hear(self, session: Session, name: str, request: Any = None) -> None:
        for guardian_id in session.listening:
            for device in self.present[guardian_id]:
                reply_to = request.id if request is not None and request.connection is device else None
                self._must_hear(device, name, reply_to, wardId=session.ward, sessionId=session.id)

    def _all_must_hear(self, session: Session, name: str, request: Any, **facts: Any) -> None:
        self._room_must_hear(session, name, request)
        for device in self.wards[session.ward].devices:
            reply_to = request.id if request is not None and request.connection is device else None
            self._must_hear(device, name, reply_to, sessionId=session.id, **facts)

    def hears(self, device: Any, name: str, data: dict[str, Any], reply_to: str | None) -> None:
        """A device is sent something."""
        ward_id = data.get("wardId", device.person.id if device.is_ward else None)
        if ward_id is not None:
            self._notice(self.wards[ward_id], name, data, reply_to)
        if device.closed is not None:
            if not device.is_ward:
                self.wrong(f"{name} is sent to {device}, who is gone")
            return
        if device.is_ward and ward_id != device.person.id:
            self.wrong(f"{device} hears {name} of {ward_id}")
        if name == "session-ended":
            self._once(device, data["sessionId"])
        if device.is_ward:
            self._ward_hears(device, name, data, reply_to)
        else:
            self._guardian_hears(device, self.wards[data["wardId"]], name, data, reply_to)

    def _once(self, device: Any, session_id: str) -> None:
        if session_id in device.ended:
            self.wrong(f"{device} hears of one end twice")
        device.ended.add(session_id)

    def _notice(self, ward: Ward, name: str, data: dict[str, Any], reply_to: str | None) -> None:
        """Is this how a start or an end comes out?"""
        under_way = ward.under_way
        if under_way is None:
            return
        if under_way.reason is None:
            if name in ("session-started", "guardian:session-started") and data["sessionId"] not in self.sessions:
                self._begun(ward, under_way, data["sessionId"], data.get("seq"))
            elif name == "session-error" and reply_to == under_way.request.id and data["code"] == "start_failed":
                ward.under_way = None
                self._refused(under_way.request, "start_failed")
                if not self.faults:
                    self.wrong("a start fails although the database works")
                self._go_on(ward)
            return
        session = ward.session
        if name == "session-ended" and under_way.session is session and session and data["sessionId"] == session.id:
            self._ended(ward, under_way, session, data["reason"], data.get("seq"))

    def _begun(self, ward: Ward, under_way: UnderWay, session_id: str, seq: int | None) -> None:
        session = Session(session_id, ward.id, under_way.request.connection, seq, under_way.since + self.longest)
        under_way.session = ward.session = self.sessions[session_id] = session
        for device in ward.devices:
            reply_to = under_way.request.id if under_way.request.connection is device else None
            self._must_hear(device, "session-started", reply_to, sessionId=session_id)

    def _ended(self, ward: Ward, under_way: UnderWay, session: Session, reason: str, seq: int | None) -> None:
        if reason != under_way.reason:
            self.wrong(f"it ends by {reason} instead of {under_way.reason}")
        self._all_must_hear(session, "session-ended", under_way.request, reason=reason)
        self.note_end(session, reason, seq)
        session.end_told = True
        ward.session = None

    def note_end(self, session: Session, reason: str, seq: int | None) -> None:
        """It has ended; who must learn of it?"""
        if reason not in REASONS:
            self.wrong(f"{reason} is no reason")
        session.reason, session.end_seq = reason, seq
        self._ends += 1
        session.ended_as = self._ends
        session.knew = {guardian_id: self._knows(session.ward, guardian_id) for guardian_id in self.guardians}
        if seq is None:
            # It counts from when the journal catches up: whoever is accepted until then may hear of it as well.
            session.knew = {each: self.certain(session.ward, each) or None for each in self.guardians}

    def _knows(self, ward_id: str, guardian_id: str) -> bool | None:
        """Whether somebody must learn of an end, or must not. Whoever is disabled must, once they are enabled again."""
        certain = self.certain(ward_id, guardian_id)
        return self.paired(ward_id, guardian_id) if certain is False else certain

    def happened(self, ward_id: str, name: str, session_id: str, seq: int | None, reason: str | None) -> None:
        """The server is done with an event, and has told all whom it tells."""
        ward = self.wards[ward_id]
        under_way = ward.under_way
        data = {"sessionId": session_id, "reason": reason, "seq": seq}
        if name not in ("guardian:session-started", "session-ended"):
            return
        self._notice(ward, name, data, None)
        if under_way is None or under_way.session is None or under_way.session.id != session_id:
            self.wrong(f"nobody asked for {name} of {ward_id}")
            return
        session = under_way.session
        if under_way.reason is None:
            if session.seq not in (None, seq):
                self.wrong("a start has two places in the journal")
            session.seq = seq
        if under_way.reason is not None:
            session.listening.clear()
            if under_way.shut_out:
                ward.devices.clear()
        ward.under_way = None
        self._go_on(ward)

    def _ward_hears(self, device: Any, name: str, data: dict[str, Any], reply_to: str | None) -> None:
        ward = self.wards[device.person.id]
        if name == "session-started":
            device.shows = data["connectedGuardians"]
            self._check_guardians(ward, data)
        if name == "guardians-changed":
            device.shows = data["connectedGuardians"]
            if ward.session is None or ward.session.id != data["sessionId"] or ward.session.end_told:
                self.wrong(f"{device} hears of guardians of a session that does not run")
            return
        self._matches(device, name, data, reply_to)

    def _check_guardians(self, ward: Ward, data: dict[str, Any]) -> None:
        named = {guardian["id"] for guardian in data["guardians"]}
        for guardian_id in self.guardians:
            certain = self.certain(ward.id, guardian_id)
            if certain is not None and certain is not (guardian_id in named):
                self.wrong(f"{ward.id} is told wrongly whether {guardian_id} is a guardian")
        if data.get("durable") is False and not self.faults:
            self.wrong("a start is not durable although the database works")

    def _matches(self, device: Any, name: str, data: dict[str, Any], reply_to: str | None) -> None:
        """Was this to be heard next? Guardians have an order for each ward."""
        ward_id = data.get("wardId")
        for told in device.expected:
            if device.is_ward or told.facts["wardId"] == ward_id:
                break
        else:
            self.wrong(f"{device} hears {name} {data.get('code', '')} out of nothing")
            return
        device.expected.remove(told)
        if told.name != name or told.reply_to != reply_to:
            self.wrong(f"{device} hears {name} {data.get('code', '')} where {told.name} was due")
        elif any(data.get(key) != value for key, value in told.facts.items()):
            self.wrong(f"{device} hears {name} with {data} where {told.facts} was due")

    def _guardian_hears(self, device: Any, ward: Ward, name: str, data: dict[str, Any], reply_to: str | None) -> None:
        guardian_id, session = device.person.id, ward.session
        if device not in self.present[guardian_id]:
            self.wrong(f"{device} hears {name} before the snapshot")
        if self.certain(ward.id, guardian_id) is False and name != "guardian:access-revoked":
            self.wrong(f"{device} hears {name} of {ward.id}, who does not accept them")
        due = any(told.name == name and told.facts["wardId"] == ward.id for told in device.expected)
        if name == "guardian:session-started" and not due:
            self._joins(device, ward, data)
        elif name == "guardian:access-revoked" and not due:
            self._leaves(device, ward, data)
        else:
            self._matches(device, name, data, reply_to)
        beginning = ward.under_way is not None and ward.under_way.reason is None
        if name == "session-ended" or (name == "guardian:session-started" and beginning):
            self._in_order(device, data)
        if session is not None and data["sessionId"] != session.id:
            self.wrong(f"{device} hears {name} of another session")
        device.receives(name, data)

    def _in_order(self, device: Any, data: dict[str, Any]) -> None:
        seq = data.get("seq")
        if seq is not None and seq <= device.seq:
            self.wrong(f"{device} hears {seq} after {device.seq}")

    def _joins(self, device: Any, ward: Ward, data: dict[str, Any]) -> None:
        guardian_id, session = device.person.id, ward.session
        if session is None or session.id != data["sessionId"] or guardian_id in session.listening:
            self.wrong(f"{device} hears of a start that was none")
            return
        session.listening.add(guardian_id)
        self._others_must_hear(device, session, "guardian:session-started")

    def _leaves(self, device: Any, ward: Ward, data: dict[str, Any]) -> None:
        guardian_id, session = device.person.id, ward.session
        if session is None or session.id != data["sessionId"] or guardian_id not in session.listening:
            self.wrong(f"{device} is put out of where they were not")
            return
        if self.certain(ward.id, guardian_id):
            self.wrong(f"{device} is put out although {ward.id} accepts them")
        session.listening.discard(guardian_id)
        self._others_must_hear(device, session, "guardian:access-revoked")

    def _others_must_hear(self, device: Any, session: Session, name: str) -> None:
        for other in self.present[device.person.id]:
            if other is not device:
                self._must_hear(other, name, None, wardId=session.ward, sessionId=session.id)

    # -- a guardian comes and goes ---------------------------------------------------------------------------------

    def first_words(self, device: Any, words: list[tuple[str, dict[str, Any]]]) -> None:
        """The snapshot, what was missed, and the beginnings, in one go."""
        guardian_id = device.person.id
        if device.closed is not None or device in self.present[guardian_id]:
            self.wrong(f"{device} has first words, but is gone or has had them")
            return
        snapshot = words[0][1]
        missed = [data for name, data in words if name == "session-ended"]
        started = [data for name, data in words if name == "guardian:session-started"]
        names = ["guardian:snapshot"] + ["session-ended"] * len(missed) + ["guardian:session-started"] * len(started)
        if [name for name, _ in words] != names or [one["sessionId"] for one in snapshot["sessions"]] != [
            one["sessionId"] for one in started
        ]:
            self.wrong(f"{device} has first words in a wrong order")
        self._hears_of_missed(device, snapshot, missed)
        for name, data in words:
            device.receives(name, data)
        self.present[guardian_id].append(device)
        self._hears_of_running(device, started)
        self._has_learnt(device)
        if guardian_id not in self.visited:
            self.visited[guardian_id] = self._ends
            if self.fault or self.faults != device.faults_before:
                self.forgettable.add(guardian_id)
        if device.since is None:
            device.client.first_end = self._ends

    def _hears_of_missed(self, device: Any, snapshot: dict[str, Any], missed: list[dict[str, Any]]) -> None:
        seqs = [data["seq"] for data in missed if "seq" in data]
        if seqs != sorted(seqs) or (seqs and snapshot["seq"] >= seqs[0]):
            self.wrong(f"{device} hears of what they missed in a wrong order")
        for data in missed:
            self._once(device, data["sessionId"])
            session = self.sessions.get(data["sessionId"])
            if session is None or session.reason != data["reason"]:
                self.wrong(f"{device} hears of an end that was none, or of another reason")
            elif session.knew[device.person.id] is False or self.certain(session.ward, device.person.id) is False:
                self.wrong(f"{device} hears of an end of {session.ward}, who did not accept them")

    def _hears_of_running(self, device: Any, started: list[dict[str, Any]]) -> None:
        guardian_id = device.person.id
        for data in started:
            session = self.wards[data["wardId"]].session
            if session is None or session.id != data["sessionId"] or session.end_told:
                self.wrong(f"{device} hears of a session that does not run")
                continue
            if (data["state"] == "interrupted") is not (session.interruption is not None):
                self.wrong(f"{device} hears of a session in another state")
            if self.certain(session.ward, guardian_id) is False:
                self.wrong(f"{device} hears of {session.ward}, who does not accept them")
            session.listening.add(guardian_id)
        if self.rooms_of(guardian_id) != {data["wardId"] for data in started}:
            self.wrong(f"{device} is not told of all rooms")

    def rooms_of(self, guardian_id: str) -> set[str]:
        """The wards to whom somebody listens."""
        return {ward.id for ward in self.wards.values() if ward.session and guardian_id in ward.session.listening}

    def owed(self, guardian_id: str, first_end: int) -> list[Session]:
        """The ends, from a certain one on, that happened while a guardian was accepted."""
        return [
            session
            for session in self.sessions.values()
            if session.reason is not None and session.ended_as > first_end and session.knew[guardian_id]
        ]

    def _has_learnt(self, device: Any) -> None:
        """Rule 9: whoever was away misses nothing."""
        guardian_id, client = device.person.id, device.client
        if device.since is not None and client.first_end is not None:
            first_end, received = client.first_end, client.received
        elif guardian_id in self.visited:
            first_end, received = self.visited[guardian_id], self.received(guardian_id)
        else:
            return
        for session in self.owed(guardian_id, first_end):
            if session.id not in received and self.certain(session.ward, guardian_id):
                self.wrong(f"{device} has never learnt of an end of {session.ward} ({session.reason})")

    def guardian_gone(self, device: Any) -> None:
        """A guardian's device is closed, by whomever."""
        guardian_id = device.person.id
        device.expected.clear()
        if device in self.present[guardian_id]:
            self.present[guardian_id].remove(device)
            if not self.present[guardian_id]:
                for ward in self.wards.values():
                    if ward.session is not None:
                        ward.session.listening.discard(guardian_id)

    def access_lost(self, ward_id: str, guardian_id: str) -> None:
        """A ward does not accept somebody any more: what happened before is nothing to them."""
        for session in self.sessions.values():
            if session.ward == ward_id and session.reason is not None and session.knew[guardian_id]:
                session.knew[guardian_id] = None

    # -- the journal -----------------------------------------------------------------------------------------------

    def reads(self, rows: list[Row], last: int, waiting: set[str]) -> None:
        """What is in the file: no gap in the numbers, and nothing else than was told, will be, or waits to be taken
        back."""
        numbers = [row.start_seq for row in rows] + [row.end_seq for row in rows if row.end_seq is not None]
        if {*numbers, *self.taken_back} != set(range(1, last + 1)) or len(numbers) > last:
            self.wrong(f"the numbers of the journal have a gap: {numbers} up to {last}")
        for row in rows:
            session = self.sessions.get(row.id)
            if session is None:
                under_way = self.wards[row.ward].under_way
                if (under_way is None or under_way.reason is not None) and row.id not in waiting:
                    self.wrong(f"a session of {row.ward} is in the journal that nobody was told of")
                continue
            session.seq = row.start_seq if session.seq is None else session.seq
            if session.reason is not None and session.end_seq is None:
                session.end_seq = row.end_seq
            if session.seq != row.start_seq or (session.reason is not None and session.end_seq != row.end_seq):
                self.wrong("other numbers were told than are in the journal")
            if None not in (session.reason, row.reason) and session.reason != row.reason:
                self.wrong("another reason was told than is in the journal")

    # -- the process ends and begins -------------------------------------------------------------------------------

    def restarted(self, rows: list[Row], now: float, wall: int) -> None:
        """Rule 10: what the file says is all there is now."""
        written = {row.id for row in rows}
        for session in list(self.sessions.values()):
            if session.id not in written:
                # It was told as one that would not survive this.
                if session.seq is not None or self.closing:
                    self.wrong("a session is lost that was in the journal, or could have been")
                del self.sessions[session.id]
        self._ringing.clear()
        for guardian_id in self.present:
            self.present[guardian_id].clear()
        for ward in self.wards.values():
            ward.asked.clear()
            ward.devices.clear()
            ward.under_way = ward.session = None
        for row in sorted(rows, key=lambda row: row.start_seq):
            self._take_up(row, now, wall)
        self.closing = False

    def _take_up(self, row: Row, now: float, wall: int) -> None:
        grace = max(self.grace, LEAST_GRACE_AFTER_RESTART)
        # Whatever the wall clock says of how long it has run, its ward has time to come back.
        over_at = max(now - max(0, wall - row.start_time) / 1000 + self.longest, now + grace)
        session = self.sessions.setdefault(row.id, Session(row.id, row.ward, None, row.start_seq, over_at))
        session.seq = row.start_seq
        if row.end_seq is not None:
            if session.reason is None:
                self.note_end(session, row.reason or "", row.end_seq)
            return
        if session.reason is not None and (session.end_seq is not None or self.closing):
            self.wrong("a session that has ended is back")
        ward = self.wards[row.ward]
        if ward.session is not None:
            # Its end was told while the journal could not be written.
            self.note_end(ward.session, "ward_disconnected", None)
        session.reason, session.end_seq, session.end_told = None, None, False
        session.over_at = over_at
        session.carrier = None
        session.listening.clear()
        session.interruption = Interruption(now + grace)
        ward.session = session
