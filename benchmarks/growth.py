"""How liveguard's costs grow: each curve as points of (how many, what one costs), one server a point."""

import contextlib
import http.client
import json
import sqlite3
import subprocess
import time
import uuid
from dataclasses import dataclass

from curve import svg
from lines import load
from people import CROWDS
from servers import BUILD, LIVEGUARD, LOAD_CORE, Broken, fresh_copy, imported, pin, running

ACTIVE = (10, 100, 1000, 10_000)
JOURNALED = (1000, 10_000, 100_000, 1_000_000)
CONNECTED = (1000, 3000, 10_000)
BYSTANDERS_FROM = 80  # the guardians before are those of the 16 families that start and stop
HELD_FOR = 120
REQUESTS = 8


@dataclass(frozen=True)
class Growth:
    """One curve, or several that belong together."""

    name: str
    title: str
    below: str
    series: list
    logarithmic: bool = False


def cpu_seconds(pid):
    """What a process has used so far; the kernel numbers processes' clocks like this."""
    return time.clock_gettime((~pid << 3) | 2)


def per_delivery(people, transport):
    for size in CROWDS:
        plan = people.plan(f"crowd-{size}", wards=[f"crowd-{size}"])
        with running(LIVEGUARD, people) as (pid, port):
            result = load("crowd", plan, port, pid, transport, 1, 3)
        yield size, 1e6 * result["server_cpu_s"] / result["count"]


def bystanders(count):
    return [f"guardian-{BYSTANDERS_FROM + number}" for number in range(count)]


def per_start(people):
    wards = [f"family-{number}" for number in range(16)]
    for count in ACTIVE:
        plan = people.plan(f"sessions-among-{count}", wards=wards, bystanders=bystanders(count))
        with running(LIVEGUARD, people) as (pid, port):
            result = load("sessions", plan, port, pid, "native", 1, 3)
        yield count, 1e6 * result["server_cpu_s"] / result["count"]


@contextlib.contextmanager
def sessions_held(people, count, pid, port):
    """That many sessions run meanwhile."""
    plan = people.plan(f"hold-{count}", bystanders=bystanders(count))
    words = [BUILD / "load", "hold", plan, port, pid, "native", 0, HELD_FOR]
    holding = subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=pin(LOAD_CORE)
    )
    try:
        if not holding.stdout.readline():
            raise Broken(holding.stderr.read().decode().strip())
        yield
    finally:
        holding.terminate()
        holding.communicate()


def request_ms(people, pid, port, paths):
    """What the server spends on one request, and how long the admin who asked waits for it: both in ms."""
    headers = {"Authorization": f"Bearer {people.token('admin')}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    spent, waited = [], []
    for path in paths:
        cpu, begun = cpu_seconds(pid), time.monotonic()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        waited.append(1000 * (time.monotonic() - begun))
        spent.append(1000 * (cpu_seconds(pid) - cpu))
        if answer.status != 200 or not body:
            raise Broken(f"GET {path}: {answer.status}")
    connection.close()
    return sum(spent) / len(spent), sum(waited) / len(waited)


def per_overview(people):
    """CPU of the dashboard and of the list, in ms a request, by the sessions in them."""
    dashboard, listed, first = [], [], []
    for count in ACTIVE:
        with running(LIVEGUARD, people) as (pid, port), sessions_held(people, count, pid, port):
            first.append((count, request_ms(people, pid, port, ["/"])[0]))
            dashboard.append((count, request_ms(people, pid, port, ["/"] * REQUESTS)[0]))
            listed.append((count, request_ms(people, pid, port, ["/api/sessions"] * REQUESTS)[0]))
    return first, dashboard, listed


def past_sessions(count, now):
    """Ended sessions of the families, one every minute, the newest a minute ago."""
    for number in range(count):
        begun = now - (count - number) * 60_000
        seq = 2 * number + 1
        yield (
            seq,
            str(uuid.UUID(int=number)),
            f"family-{number % 2048}",
            begun,
            seq + 1,
            begun + 50_000,
            50,
            "manual_stop",
        )


def with_history(people, count):
    """A copy of the imported database with that many sessions in its past."""
    path = fresh_copy(imported(people))
    columns = "start_seq, id, ward_id, start_time, end_seq, end_time, duration, reason"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executemany(
            f"INSERT INTO sessions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            past_sessions(count, int(time.time() * 1000)),
        )
        database.execute("UPDATE sequence SET value = ?", (2 * count,))
    return path


def per_history_page(people):
    """How long one waits for a page of the past, in ms, by the sessions in the file."""
    newest, middle, listed = [], [], []
    for count in JOURNALED:
        path = with_history(people, count)
        halfway = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - count * 30))
        with running(LIVEGUARD, people, path) as (pid, port):
            request_ms(people, pid, port, ["/history"])
            newest.append((count, request_ms(people, pid, port, ["/history"] * REQUESTS)[1]))
            listed.append((count, request_ms(people, pid, port, ["/api/history"] * REQUESTS)[1]))
            middle.append((count, request_ms(people, pid, port, [f"/api/history?to={halfway}"] * REQUESTS)[1]))
    return newest, listed, middle


def from_cold(people, transport):
    """Seconds from the start of the server's process until so many guardians are connected."""
    for count in CONNECTED:
        plan = people.plan(f"idle-{count}", idle=[f"guardian-{number}" for number in range(count)])
        begun = time.monotonic()
        with running(LIVEGUARD, people) as (pid, port):
            starting = time.monotonic() - begun
            result = load("connect", plan, port, pid, transport, 0, 0)
        yield count, starting + result["seconds"]


def curves(people):
    """All curves, one after the other."""
    both = ("native", "socketio")
    series = [(transport, list(per_delivery(people, transport))) for transport in both]
    yield Growth("delivery", "Server CPU a delivery, µs", "guardians of one ward, one location at a time", series)
    series = [("native", list(per_start(people)))]
    yield Growth("start", "Server CPU a start and stop with 5 guardians, µs", "other sessions active", series)
    first, dashboard, listed = per_overview(people)
    series = [("dashboard, first", first), ("dashboard", dashboard), ("GET /api/sessions", listed)]
    yield Growth("overview", "Server CPU a request, ms", "sessions active, all of them seen", series, True)
    newest, listed, middle = per_history_page(people)
    series = [("page", newest), ("API", listed), ("API, halfway", middle)]
    yield Growth("history", "Time for a page of the history, ms", "sessions in the file", series)
    series = [(transport, list(from_cold(people, transport))) for transport in both]
    yield Growth("cold", "From the server's start until all are connected, s", "connections", series)


def table(growth):
    counts = [count for count, _ in growth.series[0][1]]
    rows = ["| " + " | ".join([growth.below, *(f"{count:,}" for count in counts)]) + " |"]
    rows.append("|---" * (len(counts) + 1) + "|")
    rows += [
        "| " + " | ".join([name, *(f"{cost:,.2f}" for _, cost in points)]) + " |" for name, points in growth.series
    ]
    return f"## {growth.title}\n\n" + "\n".join(rows)


def draw(people, out):
    """All curves as pictures and one table, beside `out`."""
    parts, everything = ["# How liveguard grows"], {}
    for growth in curves(people):
        picture = out.with_name(f"{out.name}-{growth.name}.svg")
        picture.write_text(svg(growth.title, growth.below, growth.series, growth.logarithmic))
        parts.append(table(growth))
        everything[growth.name] = growth.series
        print(parts[-1], flush=True)
        out.with_name(f"{out.name}.md").write_text("\n\n".join(parts) + "\n")
        out.with_name(f"{out.name}.json").write_text(json.dumps(everything, indent=1))
