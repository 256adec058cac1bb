"""The real server for the tests, in the test's own loop or as a process of its own, with the cast of the stories in it.

    async with house(tmp_path) as home:           # or: async with process(tmp_path) as home
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        ana.say("start-live-session")
        await ana.expect("session-started")
        await ben.expect("guardian:session-started")

Ben and Chloe guard Ana, Ben guards Tom and Ida. Mallory knows nobody, Alex is the admin.
"""

import asyncio
import contextlib
import functools
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import jwt
from family import quick_passwords
from lines import Client
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from liveguard import app, memory
from liveguard.app import Server
from liveguard.clock import SystemClock
from liveguard.config import Settings
from liveguard.people.transfer import import_people
from liveguard.storage import Storage
from liveguard.storage.files import make_place
from liveguard.web.assets import Assets
from liveguard.web.websocket import TEXT

SECRET = "a secret of the tests, which is long enough"
PASSWORD = "correct horse battery staple"
PATIENCE = 5.0
PROGRAM = ("-m", "liveguard")  # what Python is to run

# A server reads its files when it starts and compresses them when they are asked for; those of one run share them.
app.Assets = functools.cache(Assets)  # type: ignore[misc]

CAST = {
    "ana": "Ana Winter",
    "ben": "Ben Keller",
    "chloe": "Chloe Martin",
    "tom": "Tom Berger",
    "ida": "Ida Winter",
    "mallory": "Mallory Moore",
    "alex": "Alex Admin",
}
GUARDED_BY = {"ana": ("ben", "chloe"), "tom": ("ben",), "ida": ("ben",)}

Event = dict[str, Any]


def token_of(name: str, seconds: float = 3600, **claims: Any) -> str:
    """A token for one of the cast, good for so many seconds."""
    return jwt.encode({"sub": name, "exp": time.time() + seconds, **claims}, SECRET, "HS256")


# -- the house rule of logs, errors, addresses and figures -----------------------------------------------------------

# The secret, passwords, tokens, a login's cookie; and a number as precise as a place, which nothing else is.
NEVER_SAID = re.compile(
    rf"{SECRET}|{PASSWORD}|eyJ[\w-]+\.eyJ|bearer[. ]\S|liveguard(_form)?=\S|\$argon2|\d\.\d{{4,}}", re.IGNORECASE
)


def check_for_secrets(where: str, text: str) -> None:
    """What must be true of each log, error, address and figure, whatever the test is about."""
    found = NEVER_SAID.search(text)
    assert found is None, f"A secret in {where}: {text[max(0, found.start() - 200) : found.end() + 50]}"


def check_figures(text: str) -> None:
    """The same of what a server tells Prometheus: of all but the numbers themselves."""
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    check_for_secrets("a figure", re.sub(r'le="[^"]*"', "", "\n".join(lines)))


# -- the house rule of all answers ---------------------------------------------------------------------------------

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FOR_EVERYBODY = ("/static/", "/sw.js", "/favicon.ico", "/manifest.webmanifest")


def check_headers(answer: "Answer", path: str) -> None:
    """What must be true of each answer, whatever it is and whether it went well."""
    for name, value in ALWAYS.items():
        assert answer.headers.get_list(name) == [value], (path, name)
    (policy,) = answer.headers.get_list("Content-Security-Policy")
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert set(directives.values()) == {"'self'", "'none'"}
    assert "geolocation=(self)" in answer.headers["Permissions-Policy"]
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert "Server" not in answer.headers
    check_for_secrets("an address", answer.headers.get("Location", ""))
    if answer.status >= 400:
        check_for_secrets("an error", answer.body.decode(errors="replace"))
    if answer.status >= 400 or not path.startswith(FOR_EVERYBODY):
        assert answer.headers["Cache-Control"] == "no-store", path


# -- what comes back -----------------------------------------------------------------------------------------------


class Answer:
    """The answer to an HTTP request."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.code
        self.headers = response.headers
        self.body = response.body or b""

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The code of the refusal that this is."""
        assert set(self.json) == {"error"} and set(self.json["error"]) == {"code", "message"}, self.text
        return str(self.json["error"]["code"])


async def look_again() -> None:
    """Before another look at what nothing tells of: without a pause, looks would take the machine from other tests."""
    await asyncio.sleep(0.02)  # nothing tells of it


class Peer:
    """A connection that is read all the time. ``heard`` is everything that came and was not expected yet."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[Event] = []
        self.past: list[Event] = []  # what was expected and came, or was passed over for it
        self.code: int | None = None
        self._came = asyncio.Event()
        self._pings = 0
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            opcode, payload = await self.client.message()
            while opcode == TEXT:
                self.heard.append(json.loads(payload))
                self._came.set()
                opcode, payload = await self.client.message()
            self.code = int.from_bytes(payload[:2], "big")
            self.client.close(self.code)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.code = 1006
        self.client.hang_up()
        self._came.set()

    def say(self, event: str, data: Any = None, id: str | None = None) -> None:
        """Send an event."""
        self.client.say(event, data, id)

    async def expect(self, name: str, *, patience: float = PATIENCE, **fields: Any) -> Any:
        """The data of the next event of this name, with these fields; what came before it is passed over."""
        async with self._patience(patience, f"{name} {fields or ''}"):
            while True:
                for place, event in enumerate(self.heard):
                    if event["event"] == name and fields.items() <= event["data"].items():
                        self.past += self.heard[: place + 1]
                        del self.heard[: place + 1]
                        return event["data"]
                assert self.code is None, f"closed with {self.code}, waiting for {name}; what came: {self.heard}"
                self._came.clear()
                await self._came.wait()

    async def spoken_to(self) -> None:
        """Wait for the first event, whatever it is, or for the end."""
        async with self._patience(PATIENCE, "the first event"):
            while not self.heard and self.code is None:
                self._came.clear()
                await self._came.wait()

    async def answer(self, event: str, data: Any = None, *, patience: float = PATIENCE) -> Event:
        """Send an event and wait for its direct answer, whatever that is."""
        self._pings += 1
        asked = f"answer-{self._pings}"
        self.say(event, data, asked)
        async with self._patience(patience, f"the answer to {event}"):
            while True:
                for place, each in enumerate(self.heard):
                    if each.get("replyTo") == asked:
                        self.past.append(self.heard.pop(place))
                        if each["event"] == "session-error":
                            check_for_secrets("an error", json.dumps(each))
                        return each
                assert self.code is None, f"closed with {self.code}, waiting for the answer to {event}"
                self._came.clear()
                await self._came.wait()

    async def all_so_far(self) -> list[str]:
        """The names of all events that the server has sent until now and nobody has expected yet."""
        await self.answer("ping")
        names = [event["event"] for event in self.heard]
        self.past += self.heard
        self.heard.clear()
        return names

    async def closed(self, *, patience: float = PATIENCE) -> int:
        """The code with which the server closes; 1006 if there is no close frame."""
        async with self._patience(patience, "the close"):
            while self.code is None:
                self._came.clear()
                await self._came.wait()
        return self.code

    async def leave(self, code: int | None = 1000) -> None:
        """Close by a close frame, and wait until it is answered."""
        self.client.close(code)
        await self.closed()

    def lose(self) -> None:
        """Be gone without a word."""
        self.client.hang_up()

    def reset(self) -> None:
        """Be gone with a reset."""
        self.client.reset()

    @contextlib.asynccontextmanager
    async def _patience(self, seconds: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            came = [f"{event['event']} {event['data']}" for event in self.heard]
            raise AssertionError(f"waited {seconds} s for {what}; what came: {came}") from None


class Browser:
    """A browser that keeps cookies, sends its Origin, and fills in the token of a form."""

    def __init__(self, stage: "Stage") -> None:
        self.stage = stage
        self.cookies: dict[str, str] = {}

    async def get(self, path: str, **headers: str) -> Answer:
        return self._keep(await self.stage.fetch(path, headers=self._headers(headers)))

    async def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Answer:
        """Send a form, with the token that the last page put into it."""
        body = urlencode({"_xsrf": self.form_token, **(fields or {})})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.stage.url, **headers}
        return self._keep(await self.stage.fetch(path, "POST", body=body, headers=self._headers(headers)))

    @property
    def form_token(self) -> str:
        return next((value for name, value in self.cookies.items() if name.endswith("_form")), "")

    @property
    def cookie_header(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        return {**({"Cookie": self.cookie_header} if self.cookies else {}), **headers}

    def _keep(self, answer: Answer) -> Answer:
        for line in answer.headers.get_list("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if value.strip('"'):
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return answer


# -- the server ----------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """A running server with the cast in it."""

    url: str
    database: Path
    peers: list[Peer] = field(default_factory=list)

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    async def ward(self, name: str, **how: Any) -> Peer:
        """Connect somebody as a ward."""
        return await self.connect("/ws/ward", token=token_of(name), **how)

    async def guardian(self, name: str, *, since: int | None = None, **how: Any) -> Peer:
        """Connect somebody as a guardian, who is in the rooms of their wards from then on."""
        path = "/ws/guardian" if since is None else f"/ws/guardian?since={since}"
        peer = await self.connect(path, token=token_of(name), **how)
        await peer.spoken_to()
        return peer

    async def connect(self, path: str, **how: Any) -> Peer:
        """A WebSocket; ``token``, ``headers`` and more as ``lines.Client.open`` knows them."""
        client = await Client.open(self.port, path, **how)
        await client.answer()
        assert client.status == 101, f"{client.status} instead of a WebSocket"
        peer = Peer(client)
        self.peers.append(peer)
        return peer

    async def fetch(
        self,
        path: str,
        method: str = "GET",
        *,
        body: Any = None,
        who: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Ask over HTTP; ``who`` asks by a token, and a ``body`` other than text goes out as JSON."""
        headers = dict(headers or {})
        if who is not None:
            headers["Authorization"] = f"Bearer {token_of(who)}"
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        client = AsyncHTTPClient(force_instance=True)
        try:
            request = HTTPRequest(
                f"http://127.0.0.1:{self.port}{path}", method, headers, body,
                follow_redirects=False, allow_nonstandard_methods=True, decompress_response=False,
            )  # fmt: skip
            answer = Answer(await client.fetch(request, raise_error=False))
        finally:
            client.close()
        # What is no HTTP at all is answered by Tornado, in one line.
        if answer.status != 400 or answer.headers:
            check_headers(answer, path)
        return answer

    def browser(self) -> Browser:
        """A browser in which nobody is signed in."""
        return Browser(self)

    def leave(self) -> None:
        """Everybody goes home."""
        for peer in self.peers:
            peer.client.hang_up()


@dataclass
class House(Stage):
    """The server in the test's own loop."""

    server: Server = field(kw_only=True)

    @property
    def port(self) -> int:
        return self.server.port


def test_settings(folder: Path, **settings: Any) -> Settings:
    """Settings for a server of the tests."""
    plain: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "database": folder / "liveguard.db"}
    return Settings(**{**plain, "jwt_secret": SECRET.encode(), **settings})


async def started(settings: Settings) -> Server:
    """A server in the test's own loop."""
    server = Server(settings, passwords=quick_passwords())
    await server.start()
    # The first look, to which the whole file is new, would change what a test calls unchanged, some time later.
    await server.storage.database.changed_elsewhere()
    return server


test_settings.__test__ = False  # type: ignore[attr-defined] - pytest takes the name for a test's


# The files of those who have moved in before: to copy one takes a tenth of what it took to make it.
_MOVED_IN: dict[bytes, bytes] = {}


async def move_in(
    database: Path,
    *,
    with_password: tuple[str, ...] = (),
    cast: dict[str, str] = CAST,
    guarded_by: dict[str, tuple[str, ...]] = GUARDED_BY,
) -> None:
    """Put the cast into a database; these have ``PASSWORD``, the others sign in by tokens."""
    users = []
    for user_id, name in cast.items():
        first, _, last = name.partition(" ")
        user = {"id": user_id, "email": f"{user_id}@example.org", "firstName": first, "lastName": last}
        secret = {"password": PASSWORD} if user_id in with_password else {}
        users.append({**user, **secret, "isAdmin": user_id == "alex"})
    pairs = [
        {"wardId": ward, "guardianId": guardian, "status": "accepted"}
        for ward, guardians in guarded_by.items()
        for guardian in guardians
    ]
    document = json.dumps({"users": users, "guardians": pairs}).encode()
    if document in _MOVED_IN:
        make_place(database, create=True)
        database.write_bytes(_MOVED_IN[document])
        return
    storage, passwords = await Storage.open(database), quick_passwords()
    try:
        await import_people(storage, passwords, SystemClock(), document)
    finally:
        passwords.close()
        await storage.close()
    _MOVED_IN[document] = database.read_bytes()


@contextlib.asynccontextmanager
async def house(folder: Path, *, with_password: tuple[str, ...] = (), **settings: Any) -> AsyncIterator[House]:
    """The server in the test's own loop, with the cast moved in where nobody is there yet."""
    chosen = test_settings(folder, **settings)
    if not chosen.database.exists():
        await move_in(chosen.database, with_password=with_password)
    server = await started(chosen)
    home = House(server.url, chosen.database, server=server)
    try:
        yield home
        check_figures(home.server.metrics.text().decode())
    finally:
        home.leave()
        await home.server.stop()


class Process(Stage):
    """The server as a process of its own, started by the command line."""

    child: asyncio.subprocess.Process
    environment: dict[str, str]
    log_file: Path
    first_lines: str

    @classmethod
    async def start(cls, folder: Path, program: tuple[str, ...] = PROGRAM, **settings: Any) -> Self:
        """Start it, and wait until it says that it serves."""
        environment = environment_of(folder, **settings)
        database, log_file = Path(environment["LIVEGUARD_DATABASE"]), folder / "server.log"
        with log_file.open("ab") as log:
            # With the allocator that it would choose itself: to begin again for it is a sixth of a start.
            child = await asyncio.create_subprocess_exec(
                sys.executable, *program, "serve", env={memory.CHOICE: "malloc", **environment},
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert child.stdout is not None
        line = (await asyncio.wait_for(child.stdout.readline(), 20)).decode()
        found = re.search(r"http://\S+", line)
        if found is None:
            await child.wait()
            raise AssertionError(f"The server did not start: {line}{log_file.read_text()}")
        process = cls(found[0], database)
        process.child, process.environment, process.log_file, process.first_lines = child, environment, log_file, line
        return process

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_file.read_text()

    async def stop(self, number: int = signal.SIGTERM, *, patience: float = 10) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        if self.child.returncode is None:
            self.child.send_signal(number)
        return await asyncio.wait_for(self.child.wait(), patience)

    async def cli(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Run the command line beside it: status, output, errors."""
        return await run_cli(self.environment, *arguments, stdin=stdin)


def environment_of(folder: Path, **settings: Any) -> dict[str, str]:
    """The environment in which a server of the tests runs."""
    plain = {"host": "127.0.0.1", "port": 0, "database": folder / "liveguard.db", "jwt_secret": SECRET, **settings}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVEGUARD_")}
    return clean | {f"LIVEGUARD_{name.upper()}": str(value) for name, value in plain.items()}


async def run_cli(environment: dict[str, str], *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Run ``liveguard`` with these arguments: status, output, errors."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "liveguard", *arguments, env=environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(child.communicate(stdin.encode()), 20)
    assert child.returncode is not None
    return child.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def process(folder: Path, *, with_password: tuple[str, ...] = (), **settings: Any) -> AsyncIterator[Process]:
    """The server as a process, with the cast moved in where nobody is there yet; killed at the end if it still runs."""
    database = Path(settings.get("database", folder / "liveguard.db"))
    if not database.exists():
        await move_in(database, with_password=with_password)
    running = await Process.start(folder, **settings)
    try:
        yield running
        check_for_secrets("a log", running.log)
    finally:
        running.leave()
        if running.child.returncode is None:
            running.child.kill()
        await running.child.wait()
