"""The house rules that a machine can hold: what may know what, where things are said, and how large they may grow."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liveguard.events import CLIENT_EVENTS, SERVER_EVENTS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "liveguard"

# From the bottom to the top. A module imports from its own floor and from those below.
FLOORS = {
    "core": {"errors", "events", "rooms", "sessions", "trail"},
    "edges": {
        "addresses",
        "auth",
        "clock",
        "config",
        "descriptors",
        "faults",
        "jwks",
        "logs",
        "memory",
        "resources",
        "storage",
        "tables",
    },
    "use cases": {
        *("admission", "audience", "chronicle", "deadlines", "health", "journaling", "lifecycle", "live", "overview"),
        *("people", "rounds", "turns"),
    },
    "doors": {"client", "client_connection", "web"},
    "program": {"__init__", "__main__", "app", "cli", "commands", "demo", "desk", "systemd"},
}
FLOOR_OF = {module: number for number, modules in enumerate(FLOORS.values()) for module in modules}

# What one floor, or one module, may never import.
FORBIDDEN = {
    "core": {"aiosqlite", "asyncio", "logging", "os", "sqlite3", "threading", "time", "tornado"},
    "use cases": {"aiosqlite", "sqlite3", "time", "tornado"},
    "web": {"aiosqlite", "sqlite3", "liveguard.rooms", "liveguard.sessions", "liveguard.storage"},
    "client": {"liveguard.auth", "liveguard.live", "liveguard.people", "liveguard.storage", "liveguard.web"},
}

# Built once, by the program, and handed to those who work with them.
COLLABORATORS = {"Chronicle", "Health", "Live", "Passwords", "People", "Services", "Settings", "SystemClock", "Tokens"}

SQL = re.compile(r"\b(SELECT\b.+\bFROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM|CREATE TABLE|PRAGMA \w+)\b", re.DOTALL)

MOST_LINES = 320
MOST_LINES_OF_A_FUNCTION = 40
LARGER: dict[str, str] = {}  # a file, or a file and a function ("web/api.py:handler"), with the reason


class Module:
    """One source file of the package."""

    def __init__(self, path: Path) -> None:
        self.name = str(path.relative_to(PACKAGE))
        self.place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        self.text = path.read_text()
        self.tree = ast.parse(self.text)

    @property
    def floor(self) -> str:
        return next((floor for floor, places in FLOORS.items() if self.place in places), "nowhere")

    def imports(self) -> Iterator[str]:
        """The dotted names of all that is imported, wherever in the file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.module and not node.level, f"{self.name}: imports are absolute"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def strings(self) -> Iterator[str]:
        """What the program says, docstrings left out."""
        docs = {
            id(node.body[0].value)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                yield node.value

    def builds(self) -> Iterator[str]:
        """The classes of other places that are called, and so built, here."""
        imported = {name.rpartition(".")[2]: name.removeprefix("liveguard.") for name in self.imports()}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                origin = imported.get(node.func.id, self.place)
                if not within(origin, self.place):
                    yield node.func.id


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    """The whole package. It is read where a test asks for it, and not by all who look for tests."""
    return [Module(path) for path in sorted(PACKAGE.rglob("*.py"))]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def found(modules: list[Module], rule: Callable[[Module], list[str]]) -> dict[str, list[str]]:
    """What is against a rule, by the name of the module."""
    return {module.name: faults for module in modules if (faults := rule(module))}


@pytest.mark.slow
def test_each_module_has_its_place(modules: list[Module]) -> None:
    new = [module.name for module in modules if module.place not in FLOOR_OF]
    assert not new, "new: say here and in docs/architecture.md where they belong"


def test_no_place_is_kept_for_a_module_that_is_gone(modules: list[Module]) -> None:
    assert set(FLOOR_OF) == {module.place for module in modules}


def test_imports_point_down_only(modules: list[Module]) -> None:
    def from_above(module: Module) -> list[str]:
        ours = (name for name in module.imports() if name.startswith("liveguard.") and name != "liveguard.__version__")
        return [name for name in ours if FLOOR_OF.get(name.split(".")[1], 0) > FLOOR_OF.get(module.place, 0)]

    assert not found(modules, from_above)


def test_each_floor_knows_only_what_it_may(modules: list[Module]) -> None:
    def known(module: Module) -> list[str]:
        forbidden = FORBIDDEN.get(module.floor, set()) | FORBIDDEN.get(module.place.split("_")[0], set())
        return [name for name in module.imports() if any(within(name, package) for package in forbidden)]

    assert not found(modules, known)


@pytest.mark.slow
def test_only_the_wire_contract_spells_the_name_of_an_event(modules: list[Module]) -> None:
    # "message", "ping" and "pong" are words of the language as well.
    names = {name for name in CLIENT_EVENTS | SERVER_EVENTS if re.search("[-:]", name)}
    others = [module for module in modules if module.place != "events"]
    assert not found(others, lambda module: sorted(names.intersection(module.strings())))


@pytest.mark.slow
def test_all_sql_is_in_storage(modules: list[Module]) -> None:
    others = [module for module in modules if module.place != "storage"]
    assert not found(others, lambda module: [text for text in module.strings() if SQL.search(text)])


def test_only_the_settings_read_the_environment(modules: list[Module]) -> None:
    reads = re.compile(r"\bos\.(?:environ\w*|getenv\w*)\b|from os import .*environ")
    # The choice of the allocator is the interpreter's own setting, and made before there are others; where systemd
    # listens, it says itself.
    others = [module for module in modules if module.place not in ("config", "memory", "systemd")]
    assert not found(others, lambda module: reads.findall(module.text))


@pytest.mark.slow
def test_only_the_program_builds_what_others_work_with(modules: list[Module]) -> None:
    def built(module: Module) -> list[str]:
        opens = ["Storage"] if "Storage.open(" in module.text and module.place != "storage" else []
        return sorted(COLLABORATORS.intersection(module.builds())) + opens

    others = [module for module in modules if module.place not in FLOORS["program"]]
    assert not found(others, built)


def test_no_file_and_no_function_outgrows_its_noun(modules: list[Module]) -> None:
    def too_large(module: Module) -> list[str]:
        sizes = {module.name: (len(module.text.splitlines()), MOST_LINES)}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                sizes[f"{module.name}:{node.name}"] = lines, MOST_LINES_OF_A_FUNCTION
        return [f"{name}: {lines}" for name, (lines, most) in sizes.items() if lines > most and name not in LARGER]

    assert not found(modules, too_large), "a noun is missing: name it, or give the reason in LARGER"


def test_each_module_says_what_it_is_for(modules: list[Module]) -> None:
    assert not [module.name for module in modules if not ast.get_docstring(module.tree)]
