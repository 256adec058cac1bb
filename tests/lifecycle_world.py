"""A process whose every turn is drawn by a schedule, and the model that listens to it.

The event loop is turned by hand, one round at a time; so are the clock and the thread of the database. Whatever may
happen between two rounds of a real loop, may happen here between any two.
"""

import asyncio
import json
import logging
import shutil
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from cast import CAST, GuardianDevice, Stage, WardDevice, let_go
from lifecycle_model import Client, Model, Row, Told

from liveguard.errors import NoActiveSession, NotInRoom, Refusal, StorageUnavailable
from liveguard.events import Notice, Person, Request, ServerEvent, UpdateLocation
from liveguard.live import Live
from liveguard.sessions import LiveSession, Moment
from liveguard.storage import files
from liveguard.storage.entries import Entries

WARDS = ("ana", "tom")
GUARDIANS = ("ben", "chloe", "ana", "mallory")
PAIRS = (("ana", "ben"), ("ana", "chloe"), ("tom", "ben"), ("tom", "ana"))
LONGEST = 600.0

HELD_WITHOUT_JOURNAL = "The journal cannot be written; sessions go on without it"


class Phone(WardDevice):
    """A ward's device, listened to by the model."""

    is_ward = True

    def __init__(self, world: "World", person: Person) -> None:
        super().__init__(world, person)
        self.model = world.model
        self.expected: deque[Told] = deque()
        self.ended: set[str] = set()
        self.shows = 0  # how many guardians are connected

    def __repr__(self) -> str:
        return f"a phone of {self.person.id}"

    def send(self, notice: Notice, request: Request | None = None) -> None:
        super().send(notice, request)
        hear(self, notice, request)

    def gone(self, own_word: bool) -> None:
        self.model.ward_gone(self, own_word)
        super().gone(own_word)


class Screen(GuardianDevice):
    """A guardian's device, listened to by the model."""

    is_ward = False

    def __init__(self, world: "World", person: Person, client: Client, since: int | None) -> None:
        super().__init__(world, person)
        self.model = world.model
        self.client = client
        self.since = since
        self.faults_before = world.model.faults
        self.expected: deque[Told] = deque()
        self.ended: set[str] = set()
        self.seq = 0
        self._tail: set[str] = set()  # ends that are not known to have arrived
        self._stood = client.stand

    def __repr__(self) -> str:
        return f"a screen of {self.person.id}"

    def send(self, notice: Notice, request: Request | None = None) -> None:
        super().send(notice, request)
        hear(self, notice, request)

    def catch_up(self, notices: list[Notice]) -> None:
        words = [(notice.event.name, decoded(notice)) for notice in notices]
        self.model.first_words(self, words)

    def receives(self, name: str, data: dict[str, Any]) -> None:
        """What a client does with what it hears."""
        seq = data.get("seq")
        if seq is not None:
            self.client.stand = seq if self.client.stand is None else max(seq, self.client.stand)
            if name != "guardian:snapshot":
                self.seq = max(self.seq, seq)
        if name == "session-ended" and data["sessionId"] not in self.client.received:
            self.client.received.add(data["sessionId"])
            self._tail.add(data["sessionId"])

    def confirm(self) -> None:
        self._tail.clear()
        self._stood = self.client.stand
        if self.seq:
            self.stage.live.delivered(self.person.id, self.seq)

    def lose_tail(self) -> None:
        """What was sent since the last sign of life, has not arrived."""
        self.client.received -= self._tail
        self.client.stand = self._stood
        self._tail.clear()

    def gone(self, own_word: bool) -> None:
        self.model.guardian_gone(self)
        super().gone(own_word)

    def close(self, code: int, refusal: Refusal | None = None) -> None:
        super().close(code, refusal)
        self.model.guardian_gone(self)


def hear(device: Phone | Screen, notice: Notice, request: Request | None) -> None:
    device.model.hears(device, notice.event.name, decoded(notice), None if request is None else request.id)


def decoded(notice: Notice) -> dict[str, Any]:
    """An event's data, as a client has it."""
    data: dict[str, Any] = json.loads(notice.data)
    return data


class ErrorsHeard(logging.Handler):
    """What the program logs as an error is a problem, except that the journal cannot be written."""

    def __init__(self, world: "World") -> None:
        super().__init__(logging.ERROR)
        self.world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() != HELD_WITHOUT_JOURNAL or not self.world.model.faults:
            self.world.model.wrong(f"logged: {record.getMessage()} {record.exc_info}")


class World(Stage):
    """The stage, played by a schedule."""

    def __init__(self, template: Path, path: Path, grace: float, *, ahead: bool = False) -> None:
        self._is_ahead = ahead  # starts and ends go into the redo log whenever they may
        super().__init__(path, grace=grace, longest=LONGEST)
        shutil.copyfile(template, path)
        self.loop: Any = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.model.wrong(f"unseen: {context}"))
        asyncio._set_running_loop(self.loop)
        self.model = Model(WARDS, GUARDIANS, grace, LONGEST)
        self.model.now = self.clock.steady
        self.model.certain = self.certain
        self.model.paired = self.paired
        self.model.received = self.received
        self.phones: list[Phone] = []
        self.screens: list[Screen] = []
        self.programs = {guardian_id: Client(guardian_id) for guardian_id in GUARDIANS}
        self.clients: list[Client] = list(self.programs.values())
        self.locked: str | None = None
        self._stale = False
        self._faults = 0
        self._version = 0
        self._changed: dict[tuple[str, str] | str, int] = {}  # when a pair or a person was last seen to have changed
        self._looked: dict[tuple[str, str] | str, int] = {}  # and up to when a look has been completed
        self._file: dict[tuple[str, str] | str, Any] = {}
        self._log = ErrorsHeard(self)
        logging.getLogger("liveguard").addHandler(self._log)
        logging.getLogger("liveguard").propagate = False
        self.do(self.open(furnished=True))
        self._version = 0
        self.look_at_file()
        self._looked = dict.fromkeys(self._file, self._version)

    def _make_entries(self, path: Path) -> Entries:
        return (
            Entries(path, files.open_redo(path), burst=1, pace=inf) if self._is_ahead else super()._make_entries(path)
        )

    def journal(self) -> tuple[list[Row], int]:
        """What the tables and the redo log have together, and the last number."""
        rows = self.neighbour.rows("SELECT id, ward_id, start_time, start_seq, end_seq, reason FROM sessions")
        ((last,),) = self.neighbour.rows("SELECT value FROM sequence")
        ahead = self.storage.database.entries._ahead
        rows += [(id, ward_id, time, seq, None, None) for seq, id, ward_id, time, _ in ahead.starts.values()]
        ended = {id: (seq, reason) for seq, id, _, _, reason, _ in ahead.ends.values()}
        return [Row(*row[:4], *ended.get(row[0], row[4:])) for row in rows], last + len(ahead)

    def _begin(self) -> None:
        self.crank.raw.execute("PRAGMA synchronous = OFF")
        self.crank.hold()
        rows, _ = self.journal()
        self.model.restarted(rows, self.clock.steady, self.clock.wall)
        access = self.storage.guardians.access
        self.storage.guardians.access = partial(self._access, access)  # type: ignore[method-assign]
        super()._begin()
        self.live.watch(partial(self._done, self.live))
        database = self.storage.database
        database.watch(self.clock)
        assert database._watch is not None
        database._watch._hangs = partial(self._hangs, database._watch._hangs)
        take_back = self.storage.journal.take_back
        self.storage.journal.take_back = partial(self._take_back, take_back)  # type: ignore[method-assign]

    def _hangs(self, give_up: Callable[[], None]) -> None:
        """The database has not answered for too long."""
        self.model.faults += 1
        give_up()

    def _take_back(self, take_back: Any, session_id: str) -> Any:
        """Listen to which start, of which nobody was told, is no more."""
        self.model.taken_back.update(row.start_seq for row in self.journal()[0] if row.id == session_id)
        return take_back(session_id)

    def _access(self, access: Any, *arguments: Any) -> Any:
        """Listen to what the database says of who is disabled, just before the server hears it."""
        answer = access(*arguments)
        answer.add_done_callback(self._access_known)
        return answer

    def _access_known(self, answer: "asyncio.Future[Any]") -> None:
        if not answer.cancelled() and answer.exception() is None:
            for user_id in answer.result().gone:
                self.model.found_disabled(user_id)

    def _done(self, live: Live, session: LiveSession, event: ServerEvent, now: Moment) -> None:
        if live is not self.live:
            return
        seq = getattr(event, "seq", None)
        self.model.happened(
            session.ward.id,
            event.name,
            session.id,
            seq if isinstance(seq, int) else None,
            getattr(event, "reason", None),
        )

    # -- turning ---------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """One round of the loop."""
        if self.loop._ready:
            self.loop._run_once()
            self.look_at_file()

    def settle(self) -> None:
        """As far as it goes without the database."""
        while self.loop._ready:
            self.tick()

    def rest(self) -> None:
        """As far as it goes."""
        self.settle()
        while self.crank.waiting:
            self.crank.turn()
            self.settle()

    @property
    def set_timers(self) -> int:
        """How many will still go off, but for the one that looks whether the database hangs."""
        watch = self.storage.database._watch
        return self.clock.set_timers - bool(watch and watch._timer)

    @property
    def at_rest(self) -> bool:
        return not self.loop._ready and not self.crank.waiting

    def do(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something that waits, to its end."""
        task = self.loop.create_task(work)
        while not task.done():
            self.tick()
            if not self.loop._ready:
                self.crank.turn()
        task.result()

    # -- who guards whom -------------------------------------------------------------------------------------------

    def look_at_file(self) -> None:
        """Has anybody changed who guards whom, or who may be here?"""
        now: dict[tuple[str, str] | str, Any] = {
            (ward_id, guardian_id): rest
            for ward_id, guardian_id, *rest in self.neighbour.rows(
                "SELECT ward_id, guardian_id, status = 'accepted', accepted_seq, updated_at FROM guardians"
            )
        }
        now |= dict(self.neighbour.rows("SELECT id, is_active FROM users"))
        if now == self._file:
            return
        self._version += 1
        for key, value in now.items():
            if self._file.get(key) != value:
                self._changed[key] = self._version
                if isinstance(key, tuple) and self._file:
                    self.model.access_lost(*key)
        self._file = now

    def paired(self, ward_id: str, guardian_id: str) -> bool:
        """Whether the ward accepts the guardian, as the file has it."""
        pair = self._file.get((ward_id, guardian_id))
        return bool(pair and pair[0])

    def certain(self, ward_id: str, guardian_id: str) -> bool | None:
        """What the server must know; None if it may or may not."""
        for key in ((ward_id, guardian_id), guardian_id):
            if self._looked.get(key, 0) < self._changed.get(key, 0):
                return None
        return self.paired(ward_id, guardian_id) and bool(self._file[guardian_id])

    async def review(self, ward_ids: set[str] | None, user_ids: set[str] | None) -> None:
        """Let the server look at what has changed."""
        self.look_at_file()
        version, live = self._version, self.live
        keys = [
            key
            for key in self._file
            if (user_ids is None or key in user_ids if isinstance(key, str) else ward_ids is None or key[0] in ward_ids)
        ]
        try:
            await live.access_changed(ward_ids, user_ids)
        except StorageUnavailable:
            self._stale = True
            return
        if live is self.live:
            for key in keys:
                self._looked[key] = max(version, self._looked.get(key, 0))

    async def look(self) -> None:
        """What the server does twice a second."""
        try:
            faults, self._faults = self._faults, self.storage.database.faults
            if await self.storage.database.changed_elsewhere() or self._stale or faults != self._faults:
                self._stale = False
                await self.review(None, None)
        except StorageUnavailable:
            self._stale = True

    async def permit_by(self, neighbour: bool, ward_id: str, guardian_id: str, status: Any) -> None:
        """Accept or revoke, by the server itself or by the command line beside it."""
        storage = self.neighbour.storage if neighbour else self.storage
        try:
            await storage.guardians.put(ward_id, guardian_id, status, self.clock.wall)
        except StorageUnavailable:
            return
        await (self.look() if neighbour else self.review({ward_id}, {guardian_id}))

    async def activate_by(self, neighbour: bool, user_id: str, active: bool) -> None:
        """Disable or enable an account."""
        storage = self.neighbour.storage if neighbour else self.storage
        try:
            await storage.users.set_active(user_id, active)
        except StorageUnavailable:
            return
        wards = {ward_id for ward_id, guardian_id in PAIRS if guardian_id == user_id}
        await (self.look() if neighbour else self.review(wards, {user_id}))

    def may_sign_in(self, user_id: str) -> bool:
        """Whether the account is enabled."""
        return bool(self._file[user_id]) and self.locked != "all"

    # -- coming and going ------------------------------------------------------------------------------------------

    def ward_connects(self, user_id: str, browser: str | None = None) -> None:
        phone = Phone(self, CAST[user_id])
        phone.browser = browser
        self.phones.append(phone)
        self.model.ward_came(phone)
        self.live.ward_came(phone)

    def guardian_connects(self, user_id: str, program: bool) -> None:
        client = self.programs[user_id]
        if not program or any(screen.client is client for screen in self.screens):
            client = Client(user_id)
            self.clients.append(client)
        screen = Screen(self, CAST[user_id], client, client.stand)
        self.screens.append(screen)
        self.spawn(self._arrive(screen))

    async def _arrive(self, screen: Screen) -> None:
        if screen.closed is None:
            await self.live.guardian_came(screen, screen.since)

    def received(self, user_id: str) -> set[str]:
        """The ends that some client of a person has received."""
        return set().union(*(client.received for client in self.clients if client.person == user_id))

    def asks(self, phone: Phone, what: str) -> None:
        phone.last_heard = self.clock.steady
        request = phone.request(what)
        self.model.asks(phone, what, request)
        if what == "start":
            self.live.start(request, None)
        elif what == "stop":
            self.live.stop(request)
        elif what == "locate":
            self.live.locate(request, UpdateLocation(52.5, 13.4))
        else:
            self.live.say_as_ward(request, "hello")

    def guardian_says(self, screen: Screen, ward_id: str) -> None:
        request = screen.request("send-message")
        allowed = self.model.guardian_says(screen, ward_id, request)
        try:
            self.live.say_as_guardian(request, ward_id, "hello")
        except NotInRoom:
            if allowed:
                self.model.wrong(f"{screen} may not speak in a room where they listen")
        else:
            if not allowed:
                self.model.wrong(f"{screen} speaks in a room where they do not listen")

    async def admin_ends(self, session_id: str) -> None:
        running = self.model.admin_ends(session_id)
        try:
            await self.live.end_by_admin(session_id, "alex")
        except NoActiveSession:
            if running:
                self.model.wrong("an admin cannot end a session that runs")

    def time_passes(self, seconds: float, arrives: bool) -> None:
        self.settle()
        self.clock.move(seconds)
        self.model.time_passed(self.clock.steady)
        if arrives:
            self.ring()

    def ring(self) -> None:
        self.model.ring()
        self.clock.ring()

    # -- faults and ends -------------------------------------------------------------------------------------------

    def lock(self, how: str) -> None:
        """Another process keeps the file to itself."""
        try:
            (self.neighbour.lock_all if how == "all" else self.neighbour.lock_writing)()
        except sqlite3.OperationalError:
            return  # somebody else has it just now
        self.locked = how
        self.model.fault = True
        self.model.faults += 1

    def unlock(self) -> None:
        self.neighbour.unlock()
        self.locked = None
        self.model.fault = False

    def everybody_is_cut_off(self) -> None:
        super().everybody_is_cut_off()
        for device in [*self.phones, *self.screens]:
            if device.closed is None:
                device.closed = (1006, None)
                device.expected.clear()
        self.phones.clear()
        self.screens.clear()

    async def ends_and_begins(self, crash: bool) -> None:
        """The process is killed, or ends in order, and another one begins."""
        self.unlock()
        if crash:
            for screen in self.screens:
                screen.lose_tail()
            self.everybody_is_cut_off()
            self._forget_first_visits()
        else:
            self.model.closing = True
        await self.restart(crash=crash)
        self._looked = dict.fromkeys(self._file, self._version)
        self._stale = False
        self._faults = 0

    def _forget_first_visits(self) -> None:
        """What could not be written of somebody's first visit is lost, and the next visit is the first."""
        written = dict(self.neighbour.rows("SELECT id, delivered_seq IS NOT NULL FROM users"))
        for guardian_id in self.model.forgettable:
            if not written[guardian_id]:
                self.model.visited.pop(guardian_id)
        self.model.forgettable.clear()

    # -- what is always so -----------------------------------------------------------------------------------------

    def check(self) -> None:
        """The invariants, after every step."""
        self.check_journal()
        self.check_rooms()
        if self.at_rest:
            self.check_rest()
        assert not self.model.problems, "\n".join(self.model.problems)

    def check_journal(self) -> None:
        """One row for each session that was told, and no gap."""
        rows, last = self.journal()
        waiting = {session.id for session, _ in self.live._journaling._unwritten}
        self.model.reads(rows, last, waiting)

    def check_rooms(self) -> None:
        """A guardian is in the room if and only if they are connected and accepted and the session runs."""
        present = {presence.person.id: presence.connections for presence in self.live.audience.present}
        if present != {guardian_id: screens for guardian_id, screens in self.model.present.items() if screens}:
            self.model.wrong("others are in the register of guardians than are connected")
        rooms = [session.room for session in self.live.sessions.get_active_sessions()]
        for presence in self.live.audience.present:
            if presence.rooms != {room for room in rooms if presence.person.id in room.guardians}:
                self.model.wrong(f"{presence.person.id} is in a room that is gone, or not in one that is theirs")
        for ward_id, ward in self.model.wards.items():
            session, listening = self.live.sessions.get_user_active_session(ward_id), ward.session
            if (session and session.id) != (listening and listening.id):
                self.model.wrong(f"the session of {ward_id} is another one than was told")
            if session is None or listening is None:
                continue
            if set(session.room.guardians) != listening.listening:
                self.model.wrong(f"others are in the room of {ward_id} than were told of it")
            for guardian_id in self.model.present:
                due = self.certain(ward_id, guardian_id)
                if due is not None and (guardian_id in listening.listening) is not (due and guardian_id in present):
                    self.model.wrong(f"{guardian_id} is wrongly in the room of {ward_id}, or wrongly not")

    def check_rest(self) -> None:
        """When nothing is under way, everybody has heard what they had to, and nothing is held that is gone."""
        wrong = self.model.wrong
        for ward_id, ward in self.model.wards.items():
            if ward.under_way or ward.asked:
                wrong(f"what {ward_id} asked for is never done")
            if self.live.wards.connections(ward_id) != ward.devices:
                wrong("others are in the register of wards than are connected")
            if any(phone.closed for phone in ward.devices):
                wrong("the register of wards holds a connection that is gone")
            if ward.devices and self.user_is_certain(ward_id) is False:
                wrong(f"{ward_id} is disabled and still connected")
            for phone in ward.devices:
                if ward.session is not None and phone.shows != len(ward.session.listening):
                    wrong(f"{phone} shows {phone.shows} guardians instead of {len(ward.session.listening)}")
        for device in [*self.phones, *self.screens]:
            if device.closed is None and device.expected:
                wrong(f"{device} never hears {device.expected[0].name}")
        for screen in self.screens:
            here = screen in self.model.present[screen.person.id]
            if here and self.user_is_certain(screen.person.id) is False:
                wrong(f"{screen.person.id} is disabled and still connected")
            if screen.closed is None and not here and self.locked != "all" and not self.set_timers:
                wrong(f"{screen} never has its first words")
        running = {session.id for session in self.live.sessions.get_active_sessions()}
        if self.live.sessions.wards() != {ward.id for ward in self.model.wards.values() if ward.session}:
            wrong("a slot is taken by nobody")
        if set(self.live._deadlines._timers) != running:
            wrong("timers are set of sessions that do not run, or none of one that does")
        pauses = len(self.live._admission._beside) + len(self._tasks)
        pauses += self.live._journaling.is_behind()
        interrupted = sum(session.interruption is not None for session in self.live.sessions.get_active_sessions())
        if self.set_timers - self.clock.rings > len(running) + interrupted + pauses:
            wrong("timers are set that nobody waits for")
        if self.live._turns._waiting:
            wrong("a queue is never done")
        if not self.live._journaling._known.keys() <= {presence.person.id for presence in self.live.wards}:
            wrong("guardians are remembered of wards who are gone")

    def user_is_certain(self, user_id: str) -> bool | None:
        """Whether somebody is enabled, as far as the server must know."""
        if self._looked.get(user_id, 0) < self._changed.get(user_id, 0):
            return None
        return bool(self._file[user_id])

    def finish(self) -> None:
        """All is well again, everybody comes back once and goes: all has ended, all was learnt, nothing is held."""
        self.unlock()
        self._stale = True
        self.spawn(self.look())
        for _ in range(3):
            self.rest()
            self.time_passes(1, True)
        self.rest()
        self.check()
        self.check_written()
        for guardian_id in GUARDIANS:
            for program in (True, False):
                if self._file[guardian_id]:
                    self.guardian_connects(guardian_id, program)
                    self.rest()
                    self.check()
        for device in [*self.phones, *self.screens]:
            device.lose()
        self.rest()
        self.time_passes(LONGEST, True)
        self.rest()
        self.check()
        self.check_written()
        self.check_nothing_is_left()

    def check_written(self) -> None:
        """The journal has caught up."""
        rows = {row.id: (row.reason, row.end_seq) for row in self.journal()[0]}
        told = {session.id: (session.reason, session.end_seq) for session in self.model.sessions.values()}
        assert rows == told, "the journal is what was told"

    def check_nothing_is_left(self) -> None:
        """Everybody has gone and everything has ended."""
        assert all(session.reason for session in self.model.sessions.values()), "each start has one end"
        assert not self.live.sessions.wards() and not self.live._deadlines._timers and not self.set_timers
        assert not len(self.live.wards) and not len(self.live.audience.present) and not self.live.audience._arriving
        assert not self.live._journaling._unwritten and not self.live._admission._beside
        assert not asyncio.all_tasks(self.loop), "nothing runs any more"

    def close_all(self) -> None:
        """Nobody is here any more."""
        logging.getLogger("liveguard").removeHandler(self._log)
        logging.getLogger("liveguard").propagate = True
        try:
            self.unlock()
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.settle()
            let_go(self.storage)
            let_go(self.neighbour.storage)
            self.neighbour._db.close()
        finally:
            asyncio._set_running_loop(None)
            self.loop.close()
