"""Each pair of Host and Origin at each door: the sockets, both ways into Socket.IO, and a form."""

from pathlib import Path
from typing import NamedTuple

import pytest
from lines import Client
from server import PASSWORD, House, house, token_of
from socketio_lines import POLLING, WEBSOCKET, emptied
from test_headers import FOREIGN_HOSTS, FOREIGN_ORIGINS, OUR_HOSTS, OUR_ORIGINS

DOORS = ("/ws/ward", "/ws/guardian", WEBSOCKET, POLLING, "/login")


class Pair(NamedTuple):
    """What a request says of where it goes and of where it comes from."""

    host: str
    origin: str | None

    def headers(self, home: House) -> dict[str, str]:
        said = {"Host": self.host, "Origin": self.origin}
        return {name: value.format(port=home.port) for name, value in said.items() if value is not None}


OURS = [Pair(host, origin) for host in OUR_HOSTS for origin in (None, *OUR_ORIGINS, f"http://{host.lower()}")]
FOREIGN = [
    *(Pair(host, origin) for host in FOREIGN_HOSTS for origin in (None, f"http://{host}", OUR_ORIGINS[0])),
    # The client of the tests leaves out what is empty.
    *(Pair(OUR_HOSTS[0], origin) for origin in FOREIGN_ORIGINS if origin),
]


async def status_of(home: House, door: str, pair: Pair) -> int:
    """What somebody hears there who has all else that is asked for."""
    headers = pair.headers(home)
    if door == POLLING:
        return (await home.fetch(POLLING, headers=headers)).status
    if door == "/login":
        browser = home.browser()
        await browser.get("/login")
        if pair.origin is None:
            headers["Origin"] = f"http://{headers['Host'].lower()}"  # browsers always name it with a form
        return (await browser.post("/login", {"email": "ana@example.org", "password": PASSWORD}, **headers)).status
    client = await Client.open(home.port, door, token=token_of("ana"), headers=headers)
    await client.answer()
    client.hang_up()
    return client.status


@pytest.mark.slow
@pytest.mark.gen_test
@pytest.mark.parametrize("door", DOORS)
async def test_what_comes_from_us_to_us_is_let_in(tmp_path: Path, door: str) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        (welcome,) = {await status_of(home, door, pair) for pair in OURS}
        assert welcome == {POLLING: 200, "/login": 303}.get(door, 101)


@pytest.mark.slow
@pytest.mark.gen_test
@pytest.mark.parametrize("door", DOORS)
async def test_what_comes_from_elsewhere_or_goes_elsewhere_leaves_nothing_behind(tmp_path: Path, door: str) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        assert {await status_of(home, door, pair) for pair in FOREIGN} == {403}
        await emptied(home.server)
