"""The documents do not fall behind: what they name exists, and what exists is named."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from lifecycle_mutants import MUTANTS
from node_clients import NODE_MODULES
from test_addresses import FOREIGN, OURS
from test_auth import HOSTILE
from test_layers import FLOORS

from liveguard import app, cli, errors, rounds
from liveguard.config import PREFIX, Settings
from liveguard.events import CLIENT_EVENTS, SERVER_EVENTS, Reason, StartLiveSession
from liveguard.storage import entries
from liveguard.web import statuses

ROOT = Path(__file__).parent.parent
DOCS = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
OPERATION = (ROOT / "docs" / "operation.md").read_text()

every_document = pytest.mark.parametrize("document", DOCS, ids=[path.name for path in DOCS])


def rows(text: str, heading: str) -> Iterator[list[str]]:
    """The rows of the first table under a heading, without the table's own heading."""
    section = re.split(r"^#", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert lines, f"no table under {heading}"
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def words(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def first_words(text: str, heading: str) -> list[str]:
    return [words(row[0])[0] for row in rows(text, heading)]


# -- the protocol ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "known"), [("What a client says", CLIENT_EVENTS), ("What the server says", SERVER_EVENTS)]
)
def test_the_protocol_names_every_event_and_every_field(heading: str, known: dict[str, Any]) -> None:
    named = {words(row[0])[0]: row[2] for row in rows(PROTOCOL, heading)}
    assert named.keys() == known.keys()
    for event, data in named.items():
        if known[event] is not StartLiveSession:  # whose data is whatever the ward wants to say
            encoded = {field.encode_name for field in msgspec.structs.fields(known[event])}
            assert {word for word in words(data) if not re.search("[-:]", word)} == encoded, event


def test_the_protocol_answers_with_events_that_exist() -> None:
    for row in rows(PROTOCOL, "What a client says"):
        assert SERVER_EVENTS.keys() >= set(words(row[3])), row[0]


def test_the_protocol_names_every_reason_of_an_end() -> None:
    assert first_words(PROTOCOL, "Why a session ended") == list(get_args(Reason))


def test_the_protocol_names_every_refusal() -> None:
    def below(kind: type[errors.Refusal]) -> Iterator[type[errors.Refusal]]:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)

    named = first_words(PROTOCOL, "Tokens") + first_words(PROTOCOL, "What can be refused")
    named += first_words(PROTOCOL, "What HTTP refuses")
    ours = (errors.__name__, statuses.__name__)
    assert sorted(named) == sorted({kind.code for kind in below(errors.Refusal) if kind.__module__ in ours})
    for code, message, _ in rows(PROTOCOL, "Tokens"):
        assert {kind.sentence for kind in below(errors.Refusal) if kind.code == words(code)[0]} == {message}


def test_the_protocol_names_every_address_for_programs() -> None:
    served = set()
    for route in app.routes(*[None] * app.routes.__code__.co_argcount):  # type: ignore[arg-type]
        path, handler = re.sub(r"{\w+}", "{id}", route[0]), route[1]
        if (path.startswith("/api/") and "*" not in path) or path in ("/healthz", "/readyz", "/metrics"):
            served |= {f"{method} {path}" for method in ("GET", "POST", "DELETE") if method.lower() in vars(handler)}
        elif path.startswith("/ws/"):
            assert f"`{path}`" in PROTOCOL
    assert set(first_words(PROTOCOL, "HTTP")) == served


# -- settings and commands -------------------------------------------------------------------------------------------


def test_every_setting_is_documented_with_its_default() -> None:
    table = {words(row[0])[0]: row[1] for row in rows(OPERATION, "Settings")}
    assert first_words(OPERATION, "Settings") == [field.name.upper() for field in fields(Settings)]
    for field in fields(Settings):
        default = words(table[field.name.upper()])
        value = Settings.value(PREFIX + field.name.upper(), default[0]) if default else None
        assert value == (field.default or None) or (not default and not field.default), field.name


@every_document
def test_no_document_names_a_setting_that_is_none(document: Path) -> None:
    named = set(re.findall(rf"{PREFIX}([A-Z][A-Z_]+)", document.read_text()))
    assert named <= {field.name.upper() for field in fields(Settings)}


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[str], list[str]]]:
    """All commands below a parser: how each is written, its options, its arguments."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for each in action.choices.values():
            yield from commands(each)
    if not inner:
        options = [action.option_strings[-1] for action in parser._actions if action.option_strings]
        arguments = [str(action.metavar or action.dest) for action in parser._actions if not action.option_strings]
        yield parser.prog, [option for option in options if option != "--help"], arguments


def test_every_command_is_documented_with_all_that_it_takes() -> None:
    table = {words(row[0])[0]: row[1] for row in rows(OPERATION, "The command line")}
    known = {" ".join([name, *arguments]): options for name, options, arguments in commands(cli._parser())}
    assert table.keys() == known.keys()
    for command, options in known.items():
        assert sorted(words(table[command])) == sorted(options), command


def test_how_much_a_crash_may_take_is_said_where_a_promise_is_made() -> None:
    assert rounds.WRITE == 4
    for document in ("README.md", "docs/operation.md", "docs/reliability.md"):
        assert re.search(r"essages\s+and\s+locations[^.|]+\sfour\s+seconds", (ROOT / document).read_text()), document


def test_how_late_the_tables_may_be_is_said_as_it_is() -> None:
    for document in ("architecture", "decisions"):
        assert f" {entries.PACE:g} s" in (ROOT / "docs" / f"{document}.md").read_text(), document


def test_as_much_is_tried_as_is_said() -> None:
    said = (ROOT / "docs" / "reliability.md").read_text()
    assert f"| {len(HOSTILE)} hostile ones" in said and f"as many of the {len(HOSTILE)} as" in said
    assert f"{len(set(OURS))} pairs of both that are ours and {len(set(FOREIGN))} that are not" in said
    assert f" {len(MUTANTS)} guards of the program" in said


@every_document
def test_every_make_target_that_a_document_names_exists(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([\w-]+)", document.read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


# -- the documents themselves ----------------------------------------------------------------------------------------


@every_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        assert not target.startswith("http"), "documents link to each other only"
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-").replace(",", "") for heading in headings], target


def test_the_index_leads_to_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for document in (ROOT / "docs").glob("*.md"):
        assert document.name == "README.md" or f"]({document.name})" in index, document.name


def test_neither_log_of_the_proxy_has_a_link_that_is_still_good() -> None:
    proxy = (ROOT / "deploy" / "nginx.conf").read_text()
    servers = re.split(r"^server \{", proxy, flags=re.MULTILINE)[1:]
    assert servers and all(re.search(r"^    access_log \S+ liveguard;", server, re.MULTILINE) for server in servers)
    ((pattern, link),) = re.findall(r"location ~ (\S+) \{([^}]+)\}", proxy)
    assert re.search(r"error_log \S+ emerg;", link)
    # A page with a link in its address, and one that names it as where to go on.
    assert re.search(pattern, "/link/token") and re.search(pattern, "/login")
    assert not re.search(pattern, "/") and not re.search(pattern, "/api/login")


def test_the_proxy_passes_the_host_on_with_its_port() -> None:
    # Without it, a page at another port of the same name, which may be somebody else's, would count as one of ours.
    proxy = (ROOT / "deploy" / "nginx.conf").read_text()
    assert re.findall(r"proxy_set_header Host (\S+);", proxy) == ["$http_host"]


def test_the_architecture_has_a_place_for_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = {word.rstrip("/") for word in words(text)}
    assert {module for modules in FLOORS.values() for module in modules if not module.startswith("__")} <= named


@every_document
def test_every_example_in_python_is_valid(document: Path) -> None:
    for example in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
        compile(example, document.name, "exec")


@pytest.mark.slow
def test_make_says_what_it_can_do() -> None:
    said = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: help (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    for target in phony[1].split():
        assert f"make {target}" in said, target


@pytest.fixture
def house(free_port: int, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A server of its own; what is called starts a Python beside it."""
    there = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "LIVEGUARD_PORT": str(free_port)}
    environment = os.environ | there | {"LIVEGUARD_DATABASE": str(tmp_path / "its.db")}

    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, *arguments]
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, stdout=subprocess.PIPE)
        started.append(process)
        return process

    server = start("-m", "liveguard", "serve")
    assert server.stdout is not None
    assert str(free_port) in server.stdout.readline()
    yield start
    for process in reversed(started):
        with process:
            process.terminate()


@pytest.mark.slow
@pytest.mark.node
@pytest.mark.parametrize(
    ("example", "said"),
    [
        ("new WebSocket", ["live since .+ answer to 1"]),
        ("socket.io-client", ["live since ", "true location-acknowledged "]),
    ],
)
def test_the_examples_for_browsers_work_word_for_word(
    house: Callable[..., subprocess.Popen[str]], free_port: int, tmp_path: Path, example: str, said: list[str]
) -> None:
    examples = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)
    (script,) = (each for each in examples if example in each)
    house("-m", "liveguard", "user", "add", "ana@example.org").wait()
    token = house("-m", "liveguard", "token", "ana@example.org").communicate()[0].strip()
    here = re.sub(r"(http|ws)s://live\.example\.org", rf"\1://127.0.0.1:{free_port}", script)
    # Browsers have a WebSocket of their own, and Node 20 has none.
    before = "" if "import" in script else 'import { WebSocket } from "ws";\n'
    (tmp_path / "example.mjs").write_text(f'{before}const token = "{token}";\n{here}')
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    with subprocess.Popen(["node", tmp_path / "example.mjs"], text=True, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        heard = [node.stdout.readline() for _ in said]
        node.kill()
    assert all(map(re.match, said, heard)), heard


@pytest.mark.slow
def test_the_examples_for_python_work_word_for_word(
    house: Callable[..., subprocess.Popen[str]], free_port: int, tmp_path: Path
) -> None:
    readme, clients = (ROOT / "README.md").read_text(), (ROOT / "docs" / "clients.md").read_text()

    def program(text: str, part: str) -> str:
        (example,) = (each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if part in each)
        (tmp_path / f"{part}.py").write_text(example.replace("127.0.0.1:8080", f"127.0.0.1:{free_port}"))
        return f"{part}.py"

    for command in re.findall(r"^\.venv/bin/liveguard ((?:user|guardian) add .+)$", readme, re.MULTILINE):
        assert house("-m", "liveguard", *command.split()).wait() == 0
    ana, ben = (house("-m", "liveguard", "token", f"{name}@example.org").communicate()[0] for name in ("ana", "ben"))

    watching = house(program(readme, "GuardianClient"), ben.strip())
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("guardian:snapshot")
    walking = house(program(clients, "WardClient"), ana.strip())
    assert "'reason': 'manual_stop'" in walking.communicate()[0]
    heard = [watching.stdout.readline().split(" ")[0] for _ in range(4)]
    assert heard == ["guardian:session-started", "location-updated", "message", "session-ended"]
