"""The cast of the lifecycle's stories and what it plays with: devices that remember what they hear, a clock that is
moved by hand, and a real database whose work is done, and whose answers are given, when the story says so.

Ana walks home; Ben and Chloe guard her. Tom and Ida are other wards, Ben guards Tom as well.
Mallory must learn nothing.
"""

import asyncio
import json
import sqlite3
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from liveguard.errors import Refusal
from liveguard.events import Notice, Person, Request, ServerEvent, UpdateLocation
from liveguard.live import Live
from liveguard.sessions import LiveSession, Moment
from liveguard.storage import Storage, files
from liveguard.storage.database import Database
from liveguard.storage.entries import Entries

NOON = 1_800_000_000_000

CAST = {
    user_id: Person(user_id, user_id.title(), "Example", f"{user_id}@example.org")
    for user_id in ("ana", "ben", "chloe", "tom", "ida", "mallory", "alex")
}
GUARDED = (("ana", "ben"), ("ana", "chloe"), ("tom", "ben"))


async def settle() -> None:
    """Let everything happen that can happen by itself."""
    loop: Any = asyncio.get_running_loop()
    await asyncio.sleep(0)  # one turn of the loop, no time
    while loop._ready:
        await asyncio.sleep(0)  # the next turn, as long as there is one


class HandTimer:
    """A timer of a clock that is moved by hand."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HandClock:
    """A clock that stands still until somebody moves it. Its wall clock can be set apart from its monotonic one."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.wall = NOON
        self._timers: list[HandTimer] = []
        self._ringing: deque[HandTimer] = deque()

    def now(self) -> Moment:
        return Moment(self.wall, self.steady)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> HandTimer:
        timer = HandTimer(self.steady + seconds, callback)
        self._timers.append(timer)
        return timer

    @property
    def set_timers(self) -> int:
        """How many timers will still go off."""
        return sum(not timer.cancelled for timer in self._timers) + len(self._ringing)

    @property
    def rings(self) -> int:
        """How many timers have gone off and not arrived."""
        return len(self._ringing)

    def move(self, seconds: float) -> None:
        """Time passes. What goes off is on its way from now on, too late to be cancelled, and comes with ``ring``."""
        self.steady += seconds
        self.wall += round(seconds * 1000)
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        due = sorted((timer for timer in self._timers if timer.due <= self.steady), key=lambda timer: timer.due)
        self._timers = [timer for timer in self._timers if timer.due > self.steady]
        self._ringing.extend(due)

    def ring(self) -> None:
        """What has gone off arrives."""
        while self._ringing:
            self._ringing.popleft().callback()

    def forget(self) -> None:
        """Whoever had set the timers is no more."""
        self._timers.clear()
        self._ringing.clear()

    def advance(self, seconds: float) -> None:
        """Time passes, and what goes off arrives at once."""
        self.move(seconds)
        self.ring()


class Crank:
    """The database's thread, turned by hand: ``work`` does what was submitted, ``answer`` lets it be known.

    Released, it turns by itself.
    """

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw
        self.held = False
        self._calls: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._answers: deque[tuple[Any, asyncio.Future[Any]]] = deque()

    def run(self, call: Callable[[], Any]) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._calls.append((call, future))
        if not self.held:
            loop.call_soon(self.turn)
        return future

    @property
    def waiting(self) -> bool:
        """Whether something was submitted that is not answered yet."""
        return bool(self._calls or self._answers)

    def work(self) -> None:
        """Do what was submitted first."""
        if self._calls:
            call, future = self._calls.popleft()
            self._answers.append((call(), future))

    def answer(self) -> None:
        """Let the oldest answer be known."""
        if self._answers:
            result, future = self._answers.popleft()
            if not future.done():
                future.set_result(result)

    def turn(self) -> None:
        """Do it and answer it."""
        if not self._answers:
            self.work()
        self.answer()

    def hold(self) -> None:
        """From now on, nothing happens by itself."""
        self.held = True

    def release(self) -> None:
        """From now on, everything happens by itself again."""
        self.held = False
        while self.waiting:
            self.turn()

    async def close(self) -> None:
        self.raw.close()


def open_storage(path: Path, make_entries: Callable[[Path], Entries]) -> Storage:
    """The storage of a process, without a thread of its own. It does not wait for locks."""
    connection = Crank(files.open_database(path, False))
    aside = Crank(files.open_aside(path))
    connection.raw.execute("PRAGMA busy_timeout = 0")
    return Storage(Database(path, connection, aside, make_entries(path), ExitStack()))  # type: ignore[arg-type]


def let_go(storage: Storage) -> None:
    """As the system does for a process that is killed."""
    database = storage.database
    database._connection.raw.close()
    database._aside.raw.close()
    database.entries.close()


class Neighbour:
    """Another process that has the same file open: the command line, or somebody who locks it."""

    def __init__(self, path: Path) -> None:
        self.storage = open_storage(path, Entries)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=0)

    def lock_writing(self) -> None:
        """Nobody else can write."""
        self._db.execute("BEGIN IMMEDIATE")

    def lock_all(self) -> None:
        """Nobody else can even read."""
        self._db.execute("BEGIN EXCLUSIVE")

    def unlock(self) -> None:
        """All is well again; idempotent."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def rows(self, sql: str, *values: object) -> list[Any]:
        """What is in the file."""
        return self._db.execute(sql, values).fetchall()

    async def close(self) -> None:
        self.unlock()
        self._db.close()
        await self.storage.close()


class Heard(NamedTuple):
    """Something that a device has heard, and what it is the answer to."""

    name: str
    data: dict[str, Any]
    reply_to: str | None


class Device(ABC):
    """An open connection of somebody, which remembers what it hears."""

    browser: str | None = None

    def __init__(self, stage: "Stage", person: Person) -> None:
        self.stage = stage
        self.person = person
        self.opened_at = self.last_heard = stage.clock.steady
        self.heard: list[Heard] = []
        self.closed: tuple[int, Refusal | None] | None = None
        self.too_late: list[str] = []  # what was sent after it had been closed
        self._read = 0
        self._requests = 0

    def send(self, notice: Notice, request: Request | None = None) -> None:
        frame = json.loads(notice.text(request.id if request is not None else None))
        if self.closed:
            self.too_late.append(frame["event"])
        else:
            self.heard.append(Heard(frame["event"], frame["data"], frame.get("replyTo")))

    def catch_up(self, notices: list[Notice]) -> None:
        for notice in notices:
            self.send(notice)

    def close(self, code: int, refusal: Refusal | None = None) -> None:
        if self.closed is None:
            self.closed = (code, refusal)
            asyncio.get_running_loop().call_soon(self.gone, False)

    @abstractmethod
    def gone(self, own_word: bool) -> None:
        """The connection reports its end."""

    def leave(self) -> None:
        """Close it, by its owner's own word."""
        self._hang_up(True)

    def lose(self) -> None:
        """The connection is found to be lost."""
        self._hang_up(False)

    def _hang_up(self, own_word: bool) -> None:
        if self.closed is None:
            self.closed = (1000 if own_word else 1006, None)
            self.gone(own_word)

    def request(self, event: str) -> Request:
        """Ask for something; the id of the request tells its answer."""
        self._requests += 1
        return Request(self, event, f"{event} {self._requests}")

    def news(self) -> list[str]:
        """The names of what was heard since this was last asked."""
        names = [heard.name for heard in self.heard[self._read :]]
        self._read = len(self.heard)
        return names

    def all(self, name: str) -> list[dict[str, Any]]:
        """The data of all events of a name."""
        return [heard.data for heard in self.heard if heard.name == name]

    def last(self, name: str) -> dict[str, Any]:
        """The data of the last event of a name."""
        return self.all(name)[-1]

    def answer(self, request: Request) -> Heard | None:
        """The answer to a request, if it has come."""
        answers = [heard for heard in self.heard if heard.reply_to == request.id]
        assert len(answers) <= 1, "one question, one answer"
        return answers[0] if answers else None


class WardDevice(Device):
    """A ward's phone."""

    def gone(self, own_word: bool) -> None:
        self.stage.live.ward_gone(self, own_word)

    def start(self, metadata: dict[str, Any] | None = None) -> Request:
        request = self.request("start-live-session")
        self.stage.live.start(request, metadata)
        return request

    def stop(self) -> Request:
        request = self.request("stop-live-session")
        self.stage.live.stop(request)
        return request

    def locate(self, latitude: float = 52.5, longitude: float = 13.4) -> Request:
        request = self.request("update-location")
        self.stage.live.locate(request, UpdateLocation(latitude, longitude))
        return request

    def say(self, text: str) -> Request:
        request = self.request("send-message")
        self.stage.live.say_as_ward(request, text)
        return request


class GuardianDevice(Device):
    """A guardian's open dashboard."""

    def gone(self, own_word: bool) -> None:
        self.stage.live.guardian_gone(self)

    def say(self, ward_id: str, text: str) -> Request:
        request = self.request("send-message")
        self.stage.live.say_as_guardian(request, ward_id, text)
        return request

    def confirm(self) -> None:
        """A sign of life: what was heard until now, was received."""
        self.stage.live.delivered(self.person.id, max(heard.data.get("seq", 0) for heard in self.heard))


class Stage:
    """A process with its database, and everybody who may appear."""

    def __init__(self, path: Path, *, grace: float = 30, longest: float = 86400) -> None:
        self.path = path
        self.clock = HandClock()
        self.grace = grace
        self.longest = longest
        self.happened: list[tuple[str, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def _make_entries(self, path: Path) -> Entries:
        return Entries(path, files.open_redo(path))

    async def open(self, *, furnished: bool = False) -> Self:
        """Move in; into a place that is ``furnished`` already where the file is a copy of one that was."""
        self.storage = open_storage(self.path, self._make_entries)
        if not furnished:
            await self._furnish()
        self.neighbour = Neighbour(self.path)
        self._begin()
        return self

    async def _furnish(self) -> None:
        for person in CAST.values():
            await self.storage.users.add(
                user_id=person.id, email=person.email, first_name=person.first_name, last_name=person.last_name, now=0
            )
        for ward_id, guardian_id in GUARDED:
            await self.storage.guardians.put(ward_id, guardian_id, "accepted", 0)

    def _begin(self) -> None:
        self.live = Live(self.storage, self.clock, grace=self.grace, longest=self.longest)
        self.live.watch(self._look)

    def _look(self, session: LiveSession, event: ServerEvent, now: Moment) -> None:
        self.happened.append((session.id, event.name))

    @property
    def crank(self) -> Crank:
        """The thread of the database."""
        return self.storage.database._connection  # type: ignore[return-value]

    async def close(self) -> None:
        """Everybody goes home."""
        await self.neighbour.close()
        self.crank.release()
        await settle()
        for task in self._tasks:
            task.cancel()
        await self.live.close()
        await self.storage.close()

    async def restart(self, *, crash: bool = False) -> None:
        """The process ends, and another one begins with the same file."""
        if crash:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await settle()
            let_go(self.storage)
        else:
            await self.live.close()
            self.everybody_is_cut_off()
            await self.storage.close()
        self.clock.forget()
        self.storage = open_storage(self.path, self._make_entries)
        self._begin()
        await self.live.restore()

    def everybody_is_cut_off(self) -> None:
        """The connections are closed, and what they had under way is given up."""
        for task in self._tasks:
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do something that waits."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def ward(self, name: str) -> WardDevice:
        """Somebody connects as a ward."""
        device = WardDevice(self, CAST[name])
        self.live.ward_came(device)
        await settle()
        return device

    async def guardian(self, name: str, since: int | None = None) -> GuardianDevice:
        """Somebody connects as a guardian."""
        device = GuardianDevice(self, CAST[name])
        self.spawn(self.live.guardian_came(device, since))
        await settle()
        return device

    async def permit(self, ward: str, guardian: str, status: Any) -> None:
        """Accept, revoke, decline; and let it be known."""
        await self.storage.guardians.put(ward, guardian, status, self.clock.wall)
        await self.live.access_changed({ward}, {guardian})

    async def disable(self, name: str) -> None:
        """Disable somebody's account; and let it be known."""
        await self.storage.users.set_active(name, False)
        await self.live.access_changed(None, {name})
        await settle()
