"""From results to a table: medians, ratios, goals, and how steady the machine was."""

import datetime
import json
import math
import platform
import statistics
from pathlib import Path

from lines import CONNECTIONS
from servers import SERVERS

BUSIEST_LOAD = 0.7
MOST_OTHERS = 0.15  # of a core, taken by other processes or by the host
TRANSPORTS = {"native": "Native WebSocket", "socketio": "Socket.IO over WebSocket"}


def median_of(results, key):
    values = [result[key] for result in results if key in result]
    return statistics.median(values) if values else None


def spread(values):
    """How far apart the rounds are, as a share of their median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def number(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}"


def ratio_of(ours, theirs, key):
    """The geometric mean of the ratios within each turn, and its standard error, 0 where there is but one."""
    turns = {(run["round"], run["turn"]): run[key] for run in theirs if run.get(key, 0) > 0}
    logarithms = [
        math.log(run[key] / turns[turn])
        for run in ours
        if run.get(key, 0) > 0 and (turn := (run["round"], run["turn"])) in turns
    ]
    if not logarithms:
        return None, 0.0
    ratio = math.exp(statistics.mean(logarithms))
    error = statistics.stdev(logarithms) / math.sqrt(len(logarithms)) if len(logarithms) > 1 else 0.0
    return ratio, ratio * error


def ratio_cell(figure, peer, ratio, error):
    """Ours to theirs, and whether a goal is met."""
    if ratio is None:
        return "–"
    cell = f"{ratio:.2f} ± {error:.2f}" if error else f"{ratio:.2f}"
    goal = figure.goals.get(peer)
    if goal is None:
        return cell
    met = ratio >= goal if figure.more_is_better else ratio <= goal
    return f"{cell} ({'≥' if figure.more_is_better else '≤'} {goal:g}: {'met' if met else 'missed'})"


class Results:
    """All that was measured, by transport, line and server; one entry a turn."""

    def __init__(self, quick, versions):
        self.quick = quick
        self.versions = versions
        self.runs = []
        self.core_speeds = []

    def add(self, transport, line, server, round_number, turn, result):
        where = {"transport": transport, "line": line.name, "server": server.name}
        self.runs.append(where | {"round": round_number, "turn": turn} | result)

    def of(self, transport, line, server):
        wanted = (transport, line.name, server)
        return [run for run in self.runs if (run["transport"], run["line"], run["server"]) == wanted]

    def servers(self, transport):
        there = {run["server"] for run in self.runs if run["transport"] == transport}
        return [name for name in SERVERS if name in there]

    def table(self, transport, lines):
        """The medians of one transport as Markdown, with liveguard's ratio to each peer and its standard error."""
        names = self.servers(transport)
        peers = [name for name in names if name != "liveguard"] if "liveguard" in names else []
        head = ["work (medians)", *(SERVERS[name].title for name in names)]
        head += [f"to {SERVERS[name].title}" for name in peers]
        rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for line in lines:
            for figure in line.figures:
                medians = {name: median_of(self.of(transport, line, name), figure.key) for name in names}
                cells = [figure.title.format(connections=f"{CONNECTIONS[self.quick]:,}")]
                cells += [number(medians[name], figure.digits) for name in names]
                ours = self.of(transport, line, "liveguard")
                for name in peers:
                    cells.append(ratio_cell(figure, name, *ratio_of(ours, self.of(transport, line, name), figure.key)))
                rows.append("| " + " | ".join(cells) + " |")
        return "\n".join(rows)

    def remarks(self, lines):
        """What a reader must know before believing a figure."""
        for run in self.runs:
            where = f"{run['line']} of {run['server']} ({run['transport']}, round {run['round']})"
            if "broken" in run:
                yield f"{where} failed: {run['broken']}"
                continue
            if run["load_share"] > BUSIEST_LOAD:
                yield (
                    f"{where}: of its core, the load used {run['load_share']:.0%}, the server {run['server_share']:.0%}"
                )
            if run["others_share"] + run["stolen_share"] > MOST_OTHERS:
                yield (
                    f"{where}: other processes took {run['others_share']:.0%} of a core meanwhile,"
                    f" the host {run['stolen_share']:.0%}"
                )
        for transport in TRANSPORTS:
            for line in lines:
                for name in self.servers(transport):
                    key = line.figures[0].key
                    values = [run[key] for run in self.of(transport, line, name) if key in run]
                    if len(values) > 1 and spread(values) > 0.2:
                        yield f"{line.name} of {name} ({transport}): its runs are {spread(values):.0%} apart"

    def noise(self):
        """What the same arithmetic cost before each run: the steadiness of the machine, not of a server."""
        speeds = self.core_speeds
        slowest, middle, fastest = min(speeds), statistics.median(speeds), max(speeds)
        return (
            f"The machine's noise: the same arithmetic before each of {len(speeds)} runs went, in the slowest case, at"
            f" {slowest / middle:.0%} of the median speed, in the fastest at {fastest / middle:.0%}."
        )

    def markdown(self, lines):
        rounds = max((run["round"] for run in self.runs), default=0)
        moment = datetime.datetime.now(datetime.UTC)
        parts = [
            f"# Benchmark of {moment:%Y-%m-%d %H:%M} UTC",
            f"{'A quick look: one' if rounds == 1 else rounds} round{'s' if rounds > 1 else ''}; "
            f"{platform.processor() or platform.machine()}, {platform.system()} {platform.release()}; "
            + ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            self.noise(),
        ]
        for transport, title in TRANSPORTS.items():
            if self.servers(transport):
                parts += [f"## {title}", self.table(transport, lines)]
        remarks = list(self.remarks(lines))
        if remarks:
            parts += ["## Remarks", "\n".join(f"- {remark}" for remark in remarks)]
        return "\n\n".join(parts) + "\n"

    def save(self, path, lines):
        """`path` with .md and .json behind it."""
        Path(f"{path}.md").write_text(self.markdown(lines))
        everything = {"versions": self.versions, "core_speeds": self.core_speeds, "runs": self.runs}
        Path(f"{path}.json").write_text(json.dumps(everything, indent=1))
