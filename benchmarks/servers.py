"""The servers under test: each started alone, pinned to one core, stopped for good at the end of its line."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
SERVER_CORE, LOAD_CORE = 0, 1
START_LIMIT = 30
STOP_LIMIT = 10


class Broken(Exception):
    """A run that cannot be counted; its text says why."""


@dataclass(frozen=True)
class Server:
    """One column of the table: how it is called, how it is started, what it speaks."""

    name: str
    title: str
    command: tuple[str, ...]
    transports: tuple[str, ...]


def python_peer(file):
    return (sys.executable, str(HERE / "peers" / file), "{port}", "{database}")


def node_peer(file, *more):
    return ("node", str(HERE / "peers" / file), "{port}", "{database}", *more)


LIVEGUARD = Server(
    "liveguard",
    "liveguard",
    (sys.executable, "-m", "liveguard", "serve", "--host", "127.0.0.1", "--port", "{port}", "--database", "{database}"),
    ("native", "socketio"),
)
PEERS = (
    Server("ws", "Node ws", node_peer("ws.js"), ("native",)),
    Server("ws-tuned", "Node ws, tuned", node_peer("ws.js", "tuned"), ("native",)),
    Server("tornado", "plain Tornado", python_peer("plain_tornado.py"), ("native",)),
    Server("c", "C, no checks", (str(BUILD / "epoll"), "{port}", "{table}"), ("native",)),
    Server("socketio", "Node socket.io", node_peer("socketio.js"), ("socketio",)),
    Server("python-socketio", "python-socketio", python_peer("python_socketio.py"), ("socketio",)),
)
SERVERS = {server.name: server for server in (LIVEGUARD, *PEERS)}


def allow_many_files():
    """10,000 connections need as many files on both sides."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < 12_000:
        raise Broken(f"10,000 connections need 12,000 open files, and no more than {most} are allowed here")


def pin(core):
    """For `preexec_fn`: the child keeps to one core."""
    return lambda: os.sched_setaffinity(0, {core})


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(people):
    """What liveguard needs to take these people's tokens, and no limit on one connection's messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVEGUARD_")}
    return kept | {"LIVEGUARD_JWT_SECRET": people.secret, "LIVEGUARD_RATE_LIMIT": "0"}


def imported(people):
    """A database of liveguard's into which everybody was imported; made once."""
    database = people.folder / "liveguard.db"
    if not database.exists():
        command = [sys.executable, "-m", "liveguard", "import", str(people.export)]
        given = environment(people) | {"LIVEGUARD_DATABASE": str(database)}
        done = subprocess.run(command, cwd=HERE.parent, env=given, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Broken(f"liveguard import: {done.stderr.strip()}")
    return database


def fresh_copy(database):
    """A copy in a folder of its own: what a server leaves beside its file, the next one must not find."""
    folder = database.parent / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return shutil.copyfile(database, folder / "people.db")


def wait_for_port(process, port, log):
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Broken(f"did not start: {log.read_text(errors='replace')[-500:].strip()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise Broken(f"did not listen within {START_LIMIT} s")


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(server, people, database=None):
    """The server, started afresh: yields its process id and port."""
    port = free_port()
    if database is None:
        database = fresh_copy(imported(people) if server is LIVEGUARD else people.database)
    command = [part.format(port=port, database=database, table=people.table) for part in server.command]
    log = people.folder / f"{server.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=HERE.parent,
            env=environment(people),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=pin(SERVER_CORE),
        )
    try:
        wait_for_port(process, port, log)
        yield process.pid, port
        if process.poll() is not None:
            raise Broken(f"died under way: {log.read_text(errors='replace')[-500:].strip()}")
    finally:
        stop(process)
