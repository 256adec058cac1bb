"""The command line: what can be asked for. What is done then is in ``commands``, imported only when it is needed.

Errors go to stderr in one line: exit status 1, or 2 for wrong usage. There is never a traceback.
"""

import argparse
import contextlib
import gc
import io
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn

from liveguard import __version__
from liveguard.errors import ConfigurationError, LiveguardError

INTERRUPTED = 130  # as shells report Ctrl-C
MOST_SECONDS = 10 * 365 * 24 * 3600
DAY = 24 * 3600  # seconds
CHANGES = ("new_email", "first_name", "last_name", "admin")  # what `user change` can change


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit status."""
    _open_what_is_closed(sys.argv[1:] if argv is None else argv)
    status = _do(argv)
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try to write what is left once more at its end, and complain in many lines.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status or _complain(error)
    return status


def _open_what_is_closed(words: Sequence[str]) -> None:
    """Else what is opened next would have such a number, and uvloop ends the process at once when it closes that."""
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    if sys.stdout is None:
        # What `serve` cannot say, its log does, if writing fails as on a full disk. Others have done what they say.
        how = os.O_RDONLY if "serve" in words[:1] else os.O_WRONLY
        sys.stdout = open(os.open(os.devnull, how), "w")  # noqa: SIM115 - until the process ends
    if sys.stderr is None:
        sys.stderr = open(os.open(os.devnull, os.O_WRONLY), "w")  # noqa: SIM115 - until the process ends


def _do(argv: Sequence[str] | None) -> int:
    try:
        if argv is None:
            if "serve" in sys.argv[1:2]:
                from liveguard.memory import begin_with_the_allocator_that_gives_back

                begin_with_the_allocator_that_gives_back()
            # What is loaded stays, and a command's garbage goes with it: looking for some was a tenth of a start.
            gc.disable()
        arguments = _parsed(sys.argv[1:] if argv is None else argv)
        if getattr(arguments, "json", False) and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as programs expect it, whatever a terminal here can spell
        from liveguard import commands

        result = getattr(commands, arguments.run)(arguments)
        if not isinstance(result, Coroutine):
            return result or 0
        _run(result, long=arguments.run in ("serve", "demo"))
        return 0
    except SystemExit as usage:
        return int(usage.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        return _complain(error)


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    try:
        "".join(argv).encode()
    except UnicodeEncodeError:
        parser.error("an argument is not UTF-8")
    arguments = parser.parse_args(argv)
    if arguments.run == "user_change" and all(getattr(arguments, name) is None for name in CHANGES):
        parser.error("user change: say what is to change, by one of its options at least")
    return arguments


def _run(work: Coroutine[Any, Any, None], *, long: bool) -> None:
    """Run a command to its end; one that takes long, on uvloop where it is installed."""
    import asyncio
    import logging

    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if long:
        with contextlib.suppress(ImportError):
            import uvloop

            factory = uvloop.new_event_loop
    else:
        logging.getLogger().addHandler(logging.NullHandler())  # what is wrong is said in one line, not in a log
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


def _complain(error: Exception) -> int:
    if isinstance(error, BrokenPipeError):
        return 1  # whoever read our output has had enough
    if isinstance(error, LiveguardError):
        line = str(error)
    elif isinstance(error, OSError):
        line = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    else:
        line = f"{type(error).__name__}: {error}"
    from liveguard.logs import harmless

    sys.stderr.write(f"liveguard: {harmless(line)}\n")
    return 1


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _setting(name: str) -> Callable[[str], Any]:
    """The type of an option that is a setting as well."""

    def read(text: str) -> Any:
        from liveguard.config import Settings

        try:
            return Settings.value(f"LIVEGUARD_{name}", text)
        except ConfigurationError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return read


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:12]) <= MOST_SECONDS):
        raise argparse.ArgumentTypeError(f"must be a whole number of seconds from 1 to {MOST_SECONDS}")
    return int(text)


def _parser() -> Parser:
    parser = Parser(prog="liveguard", description="Live sessions: a ward starts one, the guardians see it at once.")
    parser.add_argument("--version", action="version", version=f"liveguard {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_server(commands)
    _add_users(commands)
    _add_guardians(commands)
    _add_reading(commands)
    _add_files(commands)
    return parser


def _command(commands: Any, run: str, name: str, does: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=does, description=f"{does}.")
    command.set_defaults(run=run)
    return command


def _group(commands: Any, name: str, does: str) -> Any:
    return commands.add_parser(name, help=does, description=f"{does}.").add_subparsers(metavar="COMMAND", required=True)


def _add_server(commands: Any) -> None:
    serve = _command(commands, "serve", "serve", "Serve, until told to stop")
    serve.add_argument("--host", type=_setting("HOST"), help="the address to listen on")
    serve.add_argument("--port", type=_setting("PORT"), help="the port to listen on")
    serve.add_argument("--database", type=_setting("DATABASE"), metavar="FILE", help="where everything is kept")
    _command(commands, "demo", "demo", "Serve a small family that walks about, to look at")


def _add_users(commands: Any) -> None:
    users = _group(commands, "user", "People")
    add = _command(users, "user_add", "add", "Add somebody")
    add.add_argument("email", metavar="EMAIL")
    add.add_argument("--first-name", default="", metavar="NAME")
    add.add_argument("--last-name", default="", metavar="NAME")
    add.add_argument("--admin", action="store_true", help="who sees everything")
    add.add_argument("--id", metavar="ID", help="an id of your own instead of a random one")
    add.add_argument("--password-stdin", action="store_true", help="read the password from the standard input, or ask")
    change = _command(users, "user_change", "change", "Change somebody's email or names, or who is an admin")
    change.add_argument("email", metavar="EMAIL")
    change.add_argument("--email", dest="new_email", metavar="NEW", help="another email; all else stays theirs")
    change.add_argument("--first-name", metavar="NAME")
    change.add_argument("--last-name", metavar="NAME")
    standing = change.add_mutually_exclusive_group()
    standing.add_argument("--admin", action="store_const", const=True, help="who sees everything")
    standing.add_argument("--no-admin", action="store_const", const=False, dest="admin", help="not any more")
    _as_json(_command(users, "user_list", "list", "List everybody"))
    for name, does in (("disable", "Shut somebody out"), ("enable", "Let somebody in again")):
        _command(users, f"user_{name}", name, does).add_argument("email", metavar="EMAIL")
    password = _command(users, "user_password", "password", "Give somebody another password")
    password.add_argument("email", metavar="EMAIL")
    password.add_argument("--password-stdin", action="store_true", required=True, help="where it is read from")


def _add_guardians(commands: Any) -> None:
    guardians = _group(commands, "guardian", "Who guards whom")
    add = _command(guardians, "guardian_add", "add", "Let somebody guard somebody")
    add.add_argument("ward", metavar="WARD", help="an email or an id")
    add.add_argument("guardian", metavar="GUARDIAN", help="an email or an id")
    add.add_argument("--status", choices=("pending", "accepted", "declined"), default="accepted")
    _as_json(_command(guardians, "guardian_list", "list", "List who guards whom"))
    revoke = _command(guardians, "guardian_revoke", "revoke", "End it")
    revoke.add_argument("ward", metavar="WARD", help="an email or an id")
    revoke.add_argument("guardian", metavar="GUARDIAN", help="an email or an id")


def _add_reading(commands: Any) -> None:
    token = _command(commands, "token", "token", "Print a token for somebody and nothing else")
    token.add_argument("email", metavar="EMAIL")
    token.add_argument("--ttl", type=_seconds, default=DAY, metavar="SECONDS", help="how long it is good")
    _as_json(_command(commands, "sessions", "sessions", "List the sessions that run"))
    history = _command(commands, "history", "history", "List the sessions that ended, the newest first")
    shape = history.add_mutually_exclusive_group()
    shape.add_argument("--csv", action="store_true")
    _as_json(shape)


def _add_files(commands: Any) -> None:
    for name, does in (
        ("import", "Add people and who guards whom from a JSON file, all of them or none"),
        ("export", "Write people and who guards whom to a JSON file, without passwords"),
        ("backup", "Write a consistent copy of the database, also while the server runs"),
    ):
        _command(commands, f"{name}_", name, does).add_argument("file", metavar="FILE")
    _command(commands, "check", "check", "Look for problems in the settings, in the database and on its disk")


def _as_json(command: Any) -> None:
    command.add_argument("--json", action="store_true", help="as a JSON array")
