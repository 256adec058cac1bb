"""The lines of the table: what the load does in each, and which figures come of it."""

import json
import subprocess
from dataclasses import dataclass

from servers import BUILD, LOAD_CORE, Broken, pin

CONNECTIONS = (10_000, 1_500)  # in a full run, in a quick one


@dataclass(frozen=True)
class Figure:
    """One figure of a result, a row of the table. A goal is liveguard's least (or most) ratio to a peer."""

    key: str
    title: str
    more_is_better: bool
    digits: int
    goals: dict[str, float]


@dataclass(frozen=True)
class Line:
    """One run of the load; `warm_up` and `seconds` are those of a full run and of a quick one, and so are the `turns`
    that the peers take in each round: of two that run right after each other, the machine is at the same mood."""

    name: str
    kind: str
    warm_up: tuple[float, float]
    seconds: tuple[float, float]
    figures: tuple[Figure, ...]
    window: int = 1
    crowd: int = 0
    turns: tuple[int, int] = (1, 1)


def more(key, title, digits=0, **goals):
    return Figure(key, title, True, digits, goals)


def less(key, title, digits, **goals):
    return Figure(key, title, False, digits, goals)


def crowd(size, window, title, **goals):
    name = f"crowd-{size}" if window == 1 else f"crowd-{size}-by-{window}"
    figures = (more("deliveries_per_s", title, **goals),)
    return Line(name, "crowd", (0.5, 0.5), (1, 1), figures, window, size, turns=(4, 1))


LINES = (
    Line(
        "sessions",
        "sessions",
        (1, 0.5),
        (2, 1.5),
        (
            more(
                "sessions_per_s",
                "start+stop with 5 guardians each, 16 under way: sessions/s",
                ws=1.5,
                c=0.4,
                socketio=1.0,
            ),
            less("notice_p50_ms", "… start to a guardian's notice, p50, ms", 2, ws=1.0, socketio=1.0),
            less("notice_p99_ms", "… start to a guardian's notice, p99, ms", 2, ws=1.0, socketio=1.0),
        ),
        turns=(4, 1),
    ),
    crowd(100, 1, "one location to 100 guardians, one by one: deliveries/s", ws=1.3, c=0.75, socketio=1.0),
    crowd(1000, 1, "one location to 1,000, one by one: deliveries/s", ws=1.3, c=0.75, socketio=1.0),
    crowd(100, 16, "to 100, 16 under way: deliveries/s", ws=5.0, socketio=1.0),
    Line(
        "locations",
        "rate",
        (0, 0),
        (1.5, 0.25),
        (
            more(
                "locations_per_s",
                "500 wards with 2 guardians each: locations/s with p99 ≤ 100 ms",
                ws=2.0,
                socketio=1.0,
            ),
        ),
    ),
    Line(
        "connections",
        "connect",
        (2, 0.5),
        (20, 4),
        (
            more("connections_per_s", "connections/s with JWT, at {connections}", ws=1.5, socketio=1.0),
            less("kib_per_connection", "memory a connection at {connections}, KiB", 1, ws=0.8, socketio=1.0),
            less(
                "idle_cpu_percent", "CPU of {connections} idle connections with keep-alive, %", 2, ws=0.5, socketio=1.0
            ),
        ),
    ),
)


def plan_of(line, people, quick):
    """Who takes part in a line."""
    if line.kind == "sessions":
        return people.plan("sessions", wards=[f"family-{number}" for number in range(16)])
    if line.kind == "crowd":
        return people.plan(f"crowd-{line.crowd}", wards=[f"crowd-{line.crowd}"])
    if line.kind == "rate":
        return people.plan("pairs", wards=[f"pair-{number}" for number in range(500)])
    return people.plan("idle", idle=[f"guardian-{number}" for number in range(CONNECTIONS[quick])])


def load(*words, core=LOAD_CORE):
    """The load generator on its core: its result, or Broken with the line in which it says why."""
    command = [str(BUILD / "load"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=260, preexec_fn=pin(core))
    if done.returncode:
        raise Broken(done.stderr.strip() or f"load: exit status {done.returncode}")
    return json.loads(done.stdout)


def measure(line, people, quick, server, transport):
    """One run of a line against a server that listens, given as its process id and port."""
    pid, port = server
    plan = plan_of(line, people, quick)
    result = load(line.kind, plan, port, pid, transport, line.warm_up[quick], line.seconds[quick], line.window)
    if not result.get("idle_pings_per_s"):  # too short to have seen the keep-alive
        result.pop("idle_cpu_percent", None)
    return result


def core_speed(core):
    """How fast a core is at this moment: rounds of plain arithmetic a microsecond."""
    return load("spin", 0.05, core=core)["rounds_per_us"]
