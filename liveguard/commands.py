"""What the command line does, one function for each command. All of it works beside a running server."""

import signal
import sys
from argparse import Namespace
from collections.abc import Coroutine
from getpass import getpass
from pathlib import Path
from typing import Any

from msgspec import Struct

from liveguard.auth import tokens_for
from liveguard.clock import SystemClock
from liveguard.config import Settings
from liveguard.desk import at_desk, one_line_of_sqlite, say
from liveguard.errors import ConfigurationError, InvalidPayload, NotAllowed, NotFound, Refusal
from liveguard.people import Guardianship, PastSession, User
from liveguard.people.transfer import UserEntry, export_people, import_people, is_export
from liveguard.storage.files import check_is_no_file_of, not_replaced
from liveguard.storage.upkeep import back_up, drafted, problems
from liveguard.tables import JsonArray, csv_line, json_lines, text_lines

# -- the server ------------------------------------------------------------------------------------------------------


async def serve(arguments: Namespace) -> None:
    """``liveguard serve``"""
    settings = Settings.read(host=arguments.host, port=arguments.port, database=arguments.database)
    from liveguard import app  # most of a start, and not before it is clear that there will be one

    await app.serve(settings)


async def demo(arguments: Namespace) -> None:
    """``liveguard demo``"""
    from liveguard import demo

    await demo.main(Settings.read())


# -- people ----------------------------------------------------------------------------------------------------------


class GuardianLine(Struct, rename="camel"):
    """A pair in ``guardian list --json``."""

    id: str
    ward_id: str
    ward_email: str
    guardian_id: str
    guardian_email: str
    status: str


def user_add(arguments: Namespace) -> Coroutine[Any, Any, None]:
    """``liveguard user add``"""
    return _add_user(arguments, _password() if arguments.password_stdin else None)


async def _add_user(arguments: Namespace, password: str | None) -> None:
    async with at_desk(create=True) as desk:
        user = await desk.people.accounts.add(
            arguments.email,
            first_name=arguments.first_name,
            last_name=arguments.last_name,
            is_admin=arguments.admin,
            user_id=arguments.id,
            password=password,
        )
    say([f"Added {user.email} with the id {user.id}"])


async def user_change(arguments: Namespace) -> None:
    """``liveguard user change``"""
    async with at_desk() as desk:
        user = await desk.people.accounts.find(arguments.email)
        changed = await desk.people.accounts.change(
            user.id,
            email=arguments.new_email,
            first_name=arguments.first_name,
            last_name=arguments.last_name,
            is_admin=arguments.admin,
        )
    say([f"Changed {changed.email}"])


async def user_list(arguments: Namespace) -> None:
    """``liveguard user list``"""
    async with at_desk() as desk:
        users = await desk.people.accounts.everybody()
    if arguments.json:
        say(json_lines(map(UserEntry.of, users)))
    else:
        say(text_lines(("EMAIL", "NAME", "ID", ""), map(_user_cells, users)))


def _user_cells(user: User) -> tuple[str, ...]:
    notes = [note for note, holds in (("admin", user.is_admin), ("disabled", not user.is_active)) if holds]
    return user.email, f"{user.first_name} {user.last_name}".strip(), user.id, ", ".join(notes)


async def user_disable(arguments: Namespace) -> None:
    """``liveguard user disable``"""
    async with at_desk() as desk:
        user = await desk.people.accounts.find(arguments.email)
        await desk.people.accounts.disable(user.id)
    say([f"Disabled {user.email}"])


async def user_enable(arguments: Namespace) -> None:
    """``liveguard user enable``"""
    async with at_desk() as desk:
        user = await desk.people.accounts.find(arguments.email)
        await desk.people.accounts.enable(user.id)
    say([f"Enabled {user.email}"])


def user_password(arguments: Namespace) -> Coroutine[Any, Any, None]:
    """``liveguard user password``"""
    return _change_password(arguments, _password())


async def _change_password(arguments: Namespace, password: str) -> None:
    async with at_desk() as desk:
        user = await desk.people.accounts.find(arguments.email)
        await desk.people.accounts.set_password(user.id, password)
    say([f"Changed the password of {user.email}, and ended all logins"])


def _password() -> str:
    """Called before the loop runs, in which Ctrl-C would wait for the end of the line."""
    if sys.stdin is None:
        raise InvalidPayload("The password is read from the standard input, which is closed")
    try:
        return getpass() if sys.stdin.isatty() else sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except EOFError:
        return ""
    except UnicodeDecodeError:
        raise InvalidPayload("The password on the standard input is not UTF-8") from None


async def token(arguments: Namespace) -> None:
    """``liveguard token``"""
    async with at_desk() as desk:
        user = await desk.people.accounts.find(arguments.email)
        if not user.is_active:
            raise NotAllowed(f"{user.email} is disabled: `liveguard user enable` lets them in again")
        # One that was made here would be none of the server's, if that has been told another.
        desk.settings.check_secret_is_there()
        tokens = tokens_for(desk.settings)
    say([tokens.issue(user.id, arguments.ttl)[0]])


# -- who guards whom -------------------------------------------------------------------------------------------------


async def guardian_add(arguments: Namespace) -> None:
    """``liveguard guardian add``"""
    async with at_desk() as desk:
        ward = await desk.people.accounts.find(arguments.ward)
        guardian = await desk.people.accounts.find(arguments.guardian)
        pair = await desk.people.guardianships.put(ward.id, guardian.id, arguments.status)
    note = "" if pair.guardian_is_active else "; they hear of nothing before `liveguard user enable`"
    say([f"{guardian.email} guards {ward.email}: {pair.status}{note}"])


async def guardian_list(arguments: Namespace) -> None:
    """``liveguard guardian list``"""
    async with at_desk() as desk:
        pairs = await desk.people.guardianships.everything()
    if arguments.json:
        say(json_lines(map(_guardian_line, pairs)))
    else:
        rows = ((pair.ward.email, pair.guardian.email, pair.status) for pair in pairs)
        say(text_lines(("WARD", "GUARDIAN", "STATUS"), rows))


def _guardian_line(pair: Guardianship) -> GuardianLine:
    ward, guardian = pair.ward, pair.guardian
    return GuardianLine(pair.id, ward.id, ward.email, guardian.id, guardian.email, pair.status)


async def guardian_revoke(arguments: Namespace) -> None:
    """``liveguard guardian revoke``"""
    async with at_desk() as desk:
        ward = await desk.people.accounts.find(arguments.ward)
        guardian = await desk.people.accounts.find(arguments.guardian)
        known = await desk.people.guardianships.of_ward(ward)
        if not any(pair.guardian.id == guardian.id for pair in known):
            raise NotFound(f"{guardian.email} does not guard {ward.email}")
        await desk.people.guardianships.put(ward.id, guardian.id, "revoked")
    say([f"{guardian.email} does not guard {ward.email} any more"])


# -- sessions --------------------------------------------------------------------------------------------------------


async def sessions(arguments: Namespace) -> None:
    """``liveguard sessions``"""
    async with at_desk() as desk:
        running = await desk.people.history.running()
    if arguments.json:
        say(json_lines(running))
    else:
        rows = ((session.ward_email, session.start_time, session.session_id) for session in running)
        say(text_lines(("WARD", "SINCE", "SESSION"), rows))


async def history(arguments: Namespace) -> None:
    """``liveguard history``"""
    async with at_desk() as desk:
        pages = desk.people.history.pages()
        if arguments.json:
            array = JsonArray()
            async for page in pages:
                say(array.lines(page))
            say([array.end()])
        elif arguments.csv:
            say([csv_line(PastSession.__struct_encode_fields__)])
            async for page in pages:
                say(csv_line(getattr(session, field) for field in session.__struct_fields__) for session in page)
        else:
            rows = [_history_cells(session) async for page in pages for session in page]
            say(text_lines(("WARD", "STARTED", "SECONDS", "REASON"), rows))


def _history_cells(session: PastSession) -> tuple[str, ...]:
    return session.ward_email, session.start_time, str(session.duration), session.reason


# -- files -----------------------------------------------------------------------------------------------------------


async def import_(arguments: Namespace) -> None:
    """``liveguard import``"""
    document = Path(arguments.file).read_bytes()
    async with at_desk(create=True) as desk:
        try:
            imported = await import_people(desk.storage, desk.passwords, SystemClock(), document)
        except Refusal as refusal:
            raise InvalidPayload(f"{arguments.file}: {refusal}") from None
    say([f"Imported {len(imported.users)} people, and who guards whom {len(imported.guardians)} times"])


async def export_(arguments: Namespace) -> None:
    """``liveguard export``"""
    file = Path(arguments.file)
    async with at_desk() as desk:
        check_is_no_file_of(desk.settings.database, file)
        if file.is_file() and not is_export(content := file.read_bytes()) and content:
            raise not_replaced(file, "export")
        document = await export_people(desk.storage)
    _write(file, document + b"\n")


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all; what is no plain file is written to as it is."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    with drafted(path) as draft:
        draft.write_bytes(content)


def backup_(arguments: Namespace) -> None:
    """``liveguard backup``"""
    settings = Settings.read()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # half a copy is taken away, as with Ctrl-C
    with one_line_of_sqlite(settings.database):
        back_up(settings.database, Path(arguments.file))


def check(arguments: Namespace) -> int:
    """``liveguard check``"""
    values, found = Settings.parse()
    settings = Settings(**values)
    found += settings.contradictions()
    if not found and (settings.jwt_algorithm != "HS256" or settings.has_secret):
        try:
            tokens_for(settings)
        except ConfigurationError as problem:
            found.append(str(problem))
    if not any("LIVEGUARD_DATABASE" in line for line in found):  # else nobody named the one that would be looked at
        found += problems(settings.database)
    for line in found:
        sys.stderr.write(f"liveguard: {line}\n")
    if not found:
        say([f"The settings and the database {settings.database} are in order"])
    return 1 if found else 0
