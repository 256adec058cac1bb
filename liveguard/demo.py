"""``liveguard demo``: a throw-away server with a small family that walks about.

Ana, Tom and Ida are wards. Ben guards all three, Chloe guards Ana and answers her, Alex is the admin. The wards are
simulated over real connections to the real server: they start, walk, write, lose the network, come back, stop, and
start again. Nothing of it outlives the process.
"""

import asyncio
import contextlib
import itertools
import math
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from liveguard import app
from liveguard.addresses import WILDCARDS
from liveguard.auth import Passwords
from liveguard.client import GuardianClient, WardClient
from liveguard.clock import SystemClock
from liveguard.config import Settings
from liveguard.errors import LiveguardError
from liveguard.events.close_codes import GOING_AWAY
from liveguard.people.transfer import import_people
from liveguard.storage import Storage

Place = tuple[float, float]
STEP = 1.0  # seconds between two locations
METRES_PER_DEGREE = 111_320


@dataclass(frozen=True)
class Walk:
    """What one ward does, over and over. Moments are seconds after the start; the loss lasts ``lost_for``."""

    email: str
    note: str
    route: tuple[Place, ...]
    speed: float  # metres a second
    battery: int
    lasts: int
    rest: int
    says: dict[int, str]
    lost_at: int
    lost_for: int


PEOPLE = (
    ("ana@example.org", "Ana", "Winter", False),
    ("tom@example.org", "Tom", "Berger", False),
    ("ida@example.org", "Ida", "Winter", False),
    ("ben@example.org", "Ben", "Keller", False),
    ("chloe@example.org", "Chloe", "Martin", False),
    ("alex@example.org", "Alex", "Admin", True),
)
GUARDED_BY = {
    "ana@example.org": ("ben@example.org", "chloe@example.org"),
    "tom@example.org": ("ben@example.org",),
    "ida@example.org": ("ben@example.org",),
}
WALKS = (
    Walk(
        email="ana@example.org",
        note="Walking home from the station, about 20 minutes",
        route=((53.5528, 9.9352), (53.5561, 9.9340), (53.5588, 9.9301), (53.5610, 9.9312), (53.5633, 9.9268)),
        speed=1.5,
        battery=64,
        lasts=240,
        rest=20,
        says={6: "Leaving the station now.", 70: "Somebody was behind me, but they turned off.", 225: "At my door."},
        lost_at=35,
        lost_for=9,
    ),
    Walk(
        email="tom@example.org",
        note="Alone in hall 4 until six, checking the pumps",
        route=((53.5380, 9.9702), (53.5384, 9.9731), (53.5372, 9.9745), (53.5369, 9.9711), (53.5380, 9.9702)),
        speed=0.7,
        battery=88,
        lasts=300,
        rest=30,
        says={12: "First pump is fine.", 150: "Half way through."},
        lost_at=95,
        lost_for=14,
    ),
    Walk(
        email="ida@example.org",
        note="My round through the park",
        route=((53.5745, 9.9790), (53.5761, 9.9822), (53.5752, 9.9851), (53.5733, 9.9830), (53.5745, 9.9790)),
        speed=0.9,
        battery=37,
        lasts=180,
        rest=25,
        says={20: "The roses are out!"},
        lost_at=120,
        lost_for=6,
    ),
)
ANSWERS = ("I see you.", "All good, I am watching.", "Call me if you like.")


def walk_along(route: tuple[Place, ...], speed: float) -> Iterator[tuple[Place, float]]:
    """The places of somebody who walks a route there and back for ever, one each step, with the heading in degrees."""
    legs = itertools.cycle(list(itertools.pairwise(route)) + list(itertools.pairwise(route[::-1])))
    for (south, west), (north, east) in legs:
        narrowing = math.cos(math.radians(south))
        up, right = (north - south) * METRES_PER_DEGREE, (east - west) * METRES_PER_DEGREE * narrowing
        steps = max(1, round(math.hypot(up, right) / (speed * STEP)))
        heading = math.degrees(math.atan2(right, up)) % 360
        for step in range(steps):
            share = step / steps
            yield (south + (north - south) * share, west + (east - west) * share), heading


async def _walk(url: str, token: str, walk: Walk) -> None:
    """One ward's life."""
    places = walk_along(walk.route, walk.speed)
    while True:
        # Whoever is signed in as the same person may stop this session, or have one of their own: then a rest.
        with contextlib.suppress(LiveguardError):
            await _go_out(url, token, walk, places)
        await asyncio.sleep(walk.rest)


async def _go_out(url: str, token: str, walk: Walk, places: Iterator[tuple[Place, float]]) -> None:
    """One session, from the start to the stop."""
    ward = await WardClient(url, token).__aenter__()
    try:
        await ward.start({"note": walk.note})
        for second in range(walk.lasts):
            if second == walk.lost_at:
                await ward.close(GOING_AWAY)
                await asyncio.sleep(walk.lost_for)
                ward = await WardClient(url, token).__aenter__()
            await _locate(ward, next(places), walk.speed, walk.battery - second / 60)
            if second in walk.says:
                await ward.say(walk.says[second])
            await asyncio.sleep(STEP)
        await ward.stop()
    finally:
        await ward.close()


async def _locate(ward: WardClient, step: tuple[Place, float], speed: float, battery: float) -> None:
    (latitude, longitude), heading = step
    sway = random.Random().uniform
    await ward.locate(
        round(latitude + sway(-2e-5, 2e-5), 6),
        round(longitude + sway(-2e-5, 2e-5), 6),
        accuracy=round(sway(4, 14), 1),
        heading=round(heading, 1),
        speed=round(speed + sway(-0.2, 0.2), 2),
        battery=round(battery),
    )


async def _answer(url: str, token: str) -> None:
    """A guardian who is there, and answers what wards write."""
    answers = itertools.cycle(ANSWERS)
    async with GuardianClient(url, token) as guardian:
        async for event in guardian:
            if event.name == "message" and event.data["from"]["role"] == "ward":
                await asyncio.sleep(3)
                with contextlib.suppress(LiveguardError):
                    await guardian.say(event.data["wardId"], next(answers))


async def _move_in(settings: Settings) -> None:
    """The family, in a database of its own."""
    users = [
        {"id": first_name.lower(), "email": email, "firstName": first_name, "lastName": last_name, "isAdmin": is_admin}
        for email, first_name, last_name, is_admin in PEOPLE
    ]
    pairs = [
        {"wardId": _id(ward), "guardianId": _id(guardian), "status": "accepted"}
        for ward, guardians in GUARDED_BY.items()
        for guardian in guardians
    ]
    storage = await Storage.open(settings.database)
    try:
        document = msgspec.json.encode({"users": users, "guardians": pairs})
        await import_people(storage, Passwords(), SystemClock(), document)
    finally:
        await storage.close()


def _id(email: str) -> str:
    return email.partition("@")[0]


async def _live(server: app.Server) -> None:
    """Say how to look at it, and let everybody go about."""
    lines = ["", "A small family that walks about. Each link signs you in once; try Ben, and Ana in a private window:"]
    for email, first_name, _, is_admin in PEOPLE:
        user = await server.people.accounts.find(email)
        role = "admin" if is_admin else "ward" if email in GUARDED_BY else "guardian"
        link = await server.people.links.for_sign_in(user)
        lines.append(f"  {first_name:6} {role:9} {server.url}/link/{link}")
    sys.stdout.write("\n".join([*lines, "", "Ctrl-C ends it, and leaves nothing behind.", ""]))
    sys.stdout.flush()

    def token(email: str) -> str:
        return server.tokens.issue(_id(email), 24 * 3600)[0]

    url = _here(server)
    async with asyncio.TaskGroup() as family:
        for walk in WALKS:
            family.create_task(_walk(url, token(walk.email), walk))
        family.create_task(_answer(url, token("chloe@example.org")))


def _here(server: app.Server) -> str:
    """Where the server listens: people may reach it by an address that leads nowhere from this machine."""
    host = server.settings.host
    name = "localhost" if host in WILDCARDS else f"[{host}]" if ":" in host else host
    return f"http://{name}:{server.port}"


async def main(settings: Settings) -> None:
    """Serve the family until Ctrl-C. The settings count but for the database, which is thrown away."""
    with tempfile.TemporaryDirectory(prefix="liveguard-demo-") as folder:
        throwaway = replace(
            settings,
            database=Path(folder) / "liveguard.db",
            jwt_secret=None,
            jwt_algorithm="HS256",
            jwt_public_key=None,
            jwt_jwks_url=None,
        )
        await _move_in(throwaway)
        await app.serve(throwaway, beside=_live, tidy_up=partial(shutil.rmtree, folder, ignore_errors=True))
