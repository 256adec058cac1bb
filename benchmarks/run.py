"""Measures liveguard against its peers: `python benchmarks/run.py [--quick]`.

Each server is started afresh for each run and keeps to one core, the load to the other. Within a line the peers run by
turns, several times in each of three rounds, and a ratio is the mean of those of neighbours: so a slow minute of the
machine falls on all of them. Writes `benchmarks/build/results.md` and `.json`.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from growth import draw
from lines import LINES, core_speed, measure
from people import People
from report import TRANSPORTS, Results
from servers import BUILD, HERE, LIVEGUARD, LOAD_CORE, SERVER_CORE, SERVERS, Broken, allow_many_files, running

from liveguard.client import GuardianClient, WardClient
from liveguard.errors import LiveguardError

PATIENCE = 10  # seconds for one session before a server is measured


def build():
    """The load, the C peer, and the Node peers' packages where they are missing."""
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise Broken("server and load need a core each")
    for tool in ("cc", "node", "npm"):
        if not shutil.which(tool):
            raise Broken(f"{tool} is not installed")
    BUILD.mkdir(exist_ok=True)
    for name, folder in (("load", HERE / "load"), ("epoll", HERE / "peers" / "epoll")):
        sources = sorted(map(str, folder.glob("*.c")))
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(BUILD / name), *sources, "-lm"], check=True)
    if not (HERE / "node_modules").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True)


def versions():
    """What was measured, as it is installed and not as it was meant to be."""
    found = {"Python": sys.version.split()[0]}
    found["Node"] = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    for package in ("tornado", "python-socketio", "uvloop"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    for package in ("ws", "socket.io"):
        manifest = HERE / "node_modules" / package / "package.json"
        words = ["node", "-p", f"require('{manifest}').version"]
        found[package] = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    return found


async def one_session(people, port):
    """A ward starts and stops, and a guardian hears of it: what is measured does its work, for clients as they are."""
    url, (ward_id, (guardian_id, *_)) = f"http://127.0.0.1:{port}", next(iter(people.wards.items()))
    async with GuardianClient(url, people.token(guardian_id)) as guardian:
        async with WardClient(url, people.token(ward_id)) as ward:
            await ward.start()
            await ward.stop()
        async for event in guardian:
            if event.name == "session-ended":
                return


def one_run(line, server, transport, people, quick):
    """What a line gives for a server, or the reason why it gives nothing."""
    try:
        with running(server, people) as listening:
            if server is LIVEGUARD and transport == "native":
                asyncio.run(asyncio.wait_for(one_session(people, listening[1]), PATIENCE))
            return measure(line, people, quick, listening, transport)
    except (Broken, LiveguardError, TimeoutError) as broken:
        return {"broken": " ".join(f"{type(broken).__name__}: {broken}".split())[:300]}


def summary(line, result):
    if "broken" in result:
        return f"failed: {result['broken']}"
    measured = [figure for figure in line.figures if figure.key in result]
    figures = ", ".join(f"{figure.key} {result[figure.key]:,.{figure.digits}f}" for figure in measured)
    return f"{figures}  (server {result['server_share']:.0%}, load {result['load_share']:.0%} of a core)"


def turns(line, transport, options):
    """Whose turn it is: all who speak the transport, one after the other, each time another one first."""
    able = [
        server
        for server in SERVERS.values()
        if transport in server.transports
        and (not options.servers or server.name in options.servers)
    ]
    for turn in range(line.turns[options.quick]):
        first = turn % len(able) if able else 0
        yield from ((turn, server) for server in able[first:] + able[:first])


def compare(people, options, results):
    """All rounds; the results so far are saved after each line, so that an ended run has lost nothing."""
    lines = [line for line in LINES if not options.lines or line.name in options.lines]
    for round_number in range(1, options.rounds + 1):
        for transport in options.transports:
            for line in lines:
                for turn, server in turns(line, transport, options):
                    results.core_speeds.append(core_speed(SERVER_CORE))
                    result = one_run(line, server, transport, people, options.quick)
                    results.add(transport, line, server, round_number, turn, result)
                    print(f"{round_number} {transport} {line.name} {server.name}: {summary(line, result)}", flush=True)
                results.save(options.out, lines)
    print(f"\n{results.markdown(lines)}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, two minutes in all")
    parser.add_argument("--growth", action="store_true", help="liveguard's growth curves instead of the table")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--lines", nargs="+", choices=[line.name for line in LINES], help="only these")
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), help="only these")
    parser.add_argument("--transports", nargs="+", choices=list(TRANSPORTS), default=list(TRANSPORTS))
    parser.add_argument("--out", type=Path, help="where the results go; .md and .json are put behind it")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.out = options.out or BUILD / ("growth" if options.growth else "results")
    return options


def main():
    options = arguments()
    begun = time.monotonic()
    try:
        build()
        os.sched_setaffinity(0, {LOAD_CORE})
        allow_many_files()
        with tempfile.TemporaryDirectory(prefix="liveguard-benchmark-") as folder:
            people = People(folder)
            if options.growth:
                draw(people, options.out)
            else:
                compare(people, options, Results(options.quick, versions()))
    except Broken as broken:
        sys.exit(f"benchmark: {broken}")
    except KeyboardInterrupt:
        sys.exit("benchmark: ended early")
    print(
        "",
        Path(f"{options.out}.md").read_text(),
        f"{time.monotonic() - begun:.0f} s; {options.out}.md, .json",
        sep="\n",
    )


if __name__ == "__main__":
    main()
