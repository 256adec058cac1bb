"""From whom requests are taken, and the cookies. What every answer carries, ``server.Stage.fetch`` checks each time."""

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from lines import Client
from server import PASSWORD, Answer, House, house, look_again, token_of
from test_who_may import TABLE
from tornado.httputil import parse_cookie
from tornado.testing import ExpectLog

from liveguard.addresses import parse_network
from liveguard.auth import Passwords
from liveguard.clock import SystemClock
from liveguard.people.logins import DAY
from liveguard.sessions import Moment
from liveguard.web.left_out import MOST

PUBLIC = {"public_url": "https://live.example.org"}


@pytest.mark.gen_test
async def test_what_is_not_there_carries_the_headers_too(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for path in ("/nowhere", "/api/nowhere", "/static/x/y", "/static/x/../../etc/passwd", "/%ff", "//"):
            for method in ("GET", "HEAD", "POST", "OPTIONS", "BREW"):
                answer = await home.fetch(path, method, body="" if method == "POST" else None)
                assert 400 <= answer.status < 500, (method, path)


@pytest.mark.gen_test
async def test_a_fault_of_ours_tells_nothing_to_anybody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with house(tmp_path) as home:
        sessions = home.server.live.sessions
        kept, sessions._by_ward = sessions._by_ward, None  # type: ignore[assignment] - something breaks
        with ExpectLog("liveguard.faults", "A fault in GET /api/sessions: "):
            answer = await home.fetch("/api/sessions?secret=53.55", who="ana")
        sessions._by_ward = kept
        assert (answer.status, answer.error) == (500, "internal_error")
        assert answer.json["error"]["message"] == "Something went wrong on the server"
        assert "53.55" not in caplog.text


# -- Host and Origin -----------------------------------------------------------------------------------------------

PATHS = ("/healthz", "/api/me", "/login", "/static/x/y", "/nowhere", "/ws/ward")

OUR_HOSTS = ("127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "[::1]:{port}")
FOREIGN_HOSTS = (
    "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}",
    "localhost.evil.example:{port}", "evil-localhost:{port}", "0.0.0.0:{port}", "127.0.0.2:{port}", "127.1:{port}",
    "2130706433:{port}", "127.0.0.1:{port}:{port}", "127.0.0.1:+{port}",
    "127.0.0.1:0{port}0", "[::1]", "[::2]:{port}", "192.168.1.5:{port}", "localhost.:{port}", " ", "*", "null",
)  # fmt: skip
NO_HOSTS = ("user@127.0.0.1:{port}", "127.0.0.1:{port}/", "127.0.0.1:{port}, 127.0.0.1:{port}", "127.0.0.1:{port}?")
OUR_ORIGINS = ("http://127.0.0.1:{port}", "http://localhost:{port}")
FOREIGN_ORIGINS = (
    "https://evil.example", "http://evil.example:{port}", "http://127.0.0.1", "http://127.0.0.1:1", "null",
    "https://127.0.0.1:{port}", "http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}@evil.example",
    "http://user@127.0.0.1:{port}", "http://127.0.0.1:{port}/", "http://127.0.0.1.evil.example:{port}",
    "127.0.0.1:{port}", "ws://127.0.0.1:{port}", "file://", "chrome-extension://x", "*", "",
    "http://evil.example http://127.0.0.1:{port}",
)  # fmt: skip


def left_out(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of that."""
    return [record.getMessage() for record in caplog.records if record.name == "liveguard.web.left_out"]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_host_that_is_not_ours_says_so_to_the_operator_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path) as home:
        for _ in range(2):
            for path in ("/login", "/nowhere", "/api/me", "/socket.io/"):
                answer = await home.fetch(path, headers={"Host": "guard.lan:8080"})
                assert answer.status == 403
                for name in ("LIVEGUARD_PUBLIC_URL", "LIVEGUARD_ALLOWED_HOSTS"):
                    assert (name in answer.text) == (path in ("/login", "/nowhere")), path
                assert "The form" not in answer.text
        (line,) = left_out(caplog)
        assert "guard.lan:8080" in line
        assert "LIVEGUARD_ALLOWED_HOSTS" in line
        for host in ("x\x1b[31m", " ", "a" * 3000):
            assert (await home.fetch("/healthz", headers={"Host": host})).status in (400, 403)
        assert all(each.isprintable() and len(each) < 400 for each in left_out(caplog))
        for number in range(MOST + 50):
            await home.fetch("/healthz", headers={"Host": f"host-{number}.example"})
        assert len(left_out(caplog)) == MOST


@pytest.mark.gen_test
async def test_a_proxy_that_nobody_trusts_is_named_to_the_operator_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind it, who guesses a password keeps its owner from signing in."""
    for trusted in ((), (parse_network("10.0.0.0/8"),), (parse_network("127.0.0.1"),)):
        async with house(tmp_path, trusted_proxies=trusted) as home:
            caplog.clear()
            await home.fetch("/healthz")
            assert left_out(caplog) == []
            for path in ("/login", "/api/me", "/nowhere"):
                await home.fetch(path, headers={"X-Forwarded-For": "203.0.113.7"})
            if parse_network("127.0.0.1") in trusted:
                assert left_out(caplog) == []
            else:
                (line,) = left_out(caplog)
                assert line.startswith("127.0.0.1 passes requests on")
                assert "LIVEGUARD_TRUSTED_PROXIES" in line
                assert "203.0.113.7" not in line


@pytest.mark.gen_test
async def test_a_form_of_another_site_is_not_called_too_old(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        browser = home.browser()
        await browser.get("/login")
        answer = await browser.post("/login", Origin=f"https://127.0.0.1:{home.port}")
        assert answer.status == 403
        assert "LIVEGUARD_PUBLIC_URL" in answer.text
        assert "The form was open" not in answer.text
        browser.cookies.clear()
        assert "The form was open" in (await browser.post("/login")).text


@pytest.mark.gen_test
async def test_requests_for_our_own_hosts_are_answered(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for host in OUR_HOSTS:
            for path in PATHS:
                answer = await home.fetch(path, headers={"Host": host.format(port=home.port)})
                assert answer.status != 403, (host, path)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_requests_for_other_hosts_are_refused_everywhere(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for host in FOREIGN_HOSTS:
            headers = {"Host": host.format(port=home.port)}
            for path in PATHS:
                answer = await home.fetch(path, headers=headers, who="ana")
                assert answer.status == 403, (host, path)
            sent = await home.fetch("/api/login", "POST", body={"email": "a", "password": "b"}, headers=headers)
            assert (sent.status, sent.error) == (403, "not_allowed")


@pytest.mark.gen_test
async def test_what_cannot_be_a_host_is_no_request_at_all(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for host in NO_HOSTS:
            assert (await home.fetch("/healthz", headers={"Host": host.format(port=home.port)})).status == 400, host


@pytest.mark.gen_test
async def test_what_our_own_pages_ask_is_answered(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for origin in OUR_ORIGINS:
            answer = await home.fetch("/api/me", headers={"Origin": origin.format(port=home.port)}, who="ana")
            assert answer.status == 200, origin


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_other_sites_pages_ask_is_refused_everywhere(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        browser = home.browser()
        await browser.get("/login")
        for origin in FOREIGN_ORIGINS:
            headers = {"Origin": origin.format(port=home.port)}
            for path in PATHS:
                assert (await home.fetch(path, headers=headers, who="ana")).status == 403, (origin, path)
            sent = await browser.post("/login", {"email": "ana@example.org", "password": PASSWORD}, **headers)
            assert sent.status == 403, origin
            assert "liveguard" not in browser.cookies


@pytest.mark.parametrize("role", ["ward", "guardian"])
@pytest.mark.slow
@pytest.mark.gen_test
async def test_upgrades_are_refused_before_the_token_is_looked_at(tmp_path: Path, role: str) -> None:
    async with house(tmp_path) as home:
        strange = [("Host", host) for host in FOREIGN_HOSTS] + [("Origin", origin) for origin in FOREIGN_ORIGINS]
        for name, value in strange:
            if not value.strip():
                continue  # the client of the tests leaves out what is empty
            for token in (token_of("ana"), None):
                headers = {name: value.format(port=home.port)}
                client = await Client.open(home.port, f"/ws/{role}", token=token, headers=headers)
                await client.answer()
                client.hang_up()
                assert client.status == 403, (name, value)


@pytest.mark.gen_test
async def test_other_hosts_and_origins_are_ours_once_they_are_set(tmp_path: Path) -> None:
    set_ = {"allowed_hosts": (("live.example.org", None),), "allowed_origins": ("https://app.example.org",)}
    async with house(tmp_path, **set_) as home:
        for host in ("live.example.org", f"live.example.org:{home.port}"):
            assert (await home.fetch("/healthz", headers={"Host": host})).status == 200, host
        assert (await home.fetch("/healthz", headers={"Host": "other.example.org"})).status == 403
        allowed = {"Origin": "https://app.example.org"}
        assert (await home.fetch("/healthz", headers=allowed)).status == 200
        assert (await home.fetch("/healthz", headers={"Origin": "https://other.example.org"})).status == 403


# -- forms and cookies ---------------------------------------------------------------------------------------------


def attributes_of(answer: Answer, name: str) -> set[str]:
    """What is said of a cookie, its value and its end left out."""
    (line,) = [
        line for line in answer.headers.get_list("Set-Cookie") if line.startswith(f"{name}=") and '=""' not in line
    ]
    return {part.strip() for part in line.split(";")[1:] if not part.strip().startswith("expires")}


@pytest.mark.parametrize(
    ("settings", "prefix", "secure"),
    [({}, "", set()), (PUBLIC, "__Host-", {"Secure"})],
    ids=["plain", "behind TLS"],
)
@pytest.mark.gen_test
async def test_cookies_are_kept_from_scripts_other_sites_and_plain_lines(
    tmp_path: Path, settings: dict[str, Any], prefix: str, secure: set[str]
) -> None:
    async with house(tmp_path, with_password=("ana",), **settings) as home:
        form = await home.fetch("/login")
        assert attributes_of(form, f"{prefix}liveguard_form") == {"HttpOnly", "Path=/", "SameSite=Lax"} | secure
        token = parse_cookie(form.headers["Set-Cookie"])[f"{prefix}liveguard_form"]
        sent = await home.fetch(
            "/login", "POST", body=f"_xsrf={token}&email=ana%40example.org&password={PASSWORD.replace(' ', '+')}",
            headers={
                "Cookie": f"{prefix}liveguard_form={token}", "Content-Type": "application/x-www-form-urlencoded",
            },
        )  # fmt: skip
        assert sent.status == 303
        assert attributes_of(sent, f"{prefix}liveguard") == {"HttpOnly", "Path=/", "SameSite=Lax"} | secure


@pytest.mark.gen_test
async def test_behind_tls_browsers_are_told_to_stay_there(tmp_path: Path) -> None:
    async with house(tmp_path, **PUBLIC) as home:
        for path in ("/healthz", "/nowhere", "/api/me", "/login"):
            answer = await home.fetch(path)
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    async with house(tmp_path) as home:
        assert "Strict-Transport-Security" not in (await home.fetch("/healthz")).headers


@pytest.mark.parametrize("form_token", ["", "rubbish", "2|00000000|00|1", "11" * 16])
@pytest.mark.slow
@pytest.mark.gen_test
async def test_no_form_is_taken_without_its_token(tmp_path: Path, form_token: str) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        browser = await signed_in(home)
        for_programs = ("POST /api/", "POST /socket.io/")
        posts = [address for address in TABLE if address.startswith("POST /")]
        forms = [address.split()[1] for address in posts if not address.startswith(for_programs)]
        assert len(forms) > 10
        for path in forms:
            answer = await browser.post(re.sub(r"{\w+}", "x", path), {"_xsrf": form_token})
            assert answer.status == 403, path
        assert (await browser.get("/account")).status == 200


@pytest.mark.gen_test
async def test_a_form_that_is_out_of_date_says_so_and_a_sign_out_is_offered_anew(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana", "alex")) as home:
        browser = await signed_in(home)
        old = {"_xsrf": "11" * 16}
        saved = await browser.post("/account/name", {**old, "first_name": "Anna"})
        assert "<h1>This page is out of date</h1>" in saved.text
        assert "/logout" not in saved.text
        refused = await browser.post("/logout", old)
        assert "<h1>This page is out of date</h1>" in refused.text
        form = re.search(r'action="(/logout)".+?name="_xsrf" value="([^"]+)"', refused.text)
        assert form is not None
        assert (await browser.post(form[1], {"_xsrf": form[2]})).headers["Location"] == "/login"
        assert (await browser.get("/account")).status == 303
        # What somebody may not do at all, gets no better by loading the page again.
        alex = home.browser()
        await alex.get("/login")
        await alex.post("/login", {"email": "alex@example.org", "password": PASSWORD})
        await alex.get("/account")
        refused = await alex.post("/admin/people/alex/disable")
        assert refused.status == 403
        assert "<h1>This is not for you</h1>" in refused.text
        assert "load the page again" not in refused.text


async def signed_in(home: House) -> Any:
    """Ana's browser."""
    browser = home.browser()
    await browser.get("/login")
    assert (await browser.post("/login", {"email": "ana@example.org", "password": PASSWORD})).status == 303
    return browser


@pytest.mark.gen_test
async def test_a_login_is_a_new_one_each_time_and_good_for_nothing_after_the_sign_out(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        browser = home.browser()
        browser.cookies["liveguard"] = planted = "a login that somebody has planted"
        await browser.get("/login")
        await browser.post("/login", {"email": "ana@example.org", "password": PASSWORD})
        stolen = browser.cookies["liveguard"]
        assert stolen != planted
        assert (await browser.get("/account")).status == 200
        page = await browser.get("/account")
        assert stolen not in page.text
        await browser.post("/logout")
        assert "liveguard" not in browser.cookies
        replayed = await home.fetch("/account", headers={"Cookie": f"liveguard={stolen}"})
        assert (replayed.status, replayed.headers["Location"].startswith("/login")) == (303, True)


@pytest.mark.gen_test
async def test_a_browser_that_is_used_stays_signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        browser = await signed_in(home)
        login = browser.cookies["liveguard"]
        now = SystemClock.now

        def later(days: float) -> None:
            monkeypatch.setattr(
                SystemClock, "now", lambda clock: Moment(now(clock).wall + int(days * DAY), now(clock).steady)
            )

        async def kept() -> list[str]:
            answer = await browser.get("/account")
            assert answer.status == 200
            return [one for one in answer.headers.get_list("Set-Cookie") if one.startswith("liveguard=")]

        assert await kept() == []
        for days in (1.5, 25, 50, 75):
            later(days)
            # A WebSocket that comes first takes nothing of it away: its answer sets no cookie.
            headers = {"Cookie": browser.cookie_header, "Origin": home.url}
            await (await home.connect("/ws/ward", headers=headers)).answer("ping")
            (cookie,) = await kept()
            assert cookie.startswith(f"liveguard={login};") and "HttpOnly" in cookie
            await home.server.storage.database.submit(lambda db: None, write=True)  # the note of it is written
            assert await kept() == []
        later(106)
        assert (await browser.get("/account")).status == 303


@pytest.mark.gen_test
async def test_whoever_signs_out_or_is_shut_out_loses_their_open_connections_as_well(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        browser = await signed_in(home)
        headers = {"Cookie": browser.cookie_header, "Origin": home.url}
        ana = await home.connect("/ws/ward", headers=headers)
        assert (await ana.answer("ping"))["event"] == "pong"
        await browser.get("/account")
        assert (await browser.post("/logout")).status == 303
        assert await ana.closed() == 4401


@pytest.mark.parametrize("path", ["/ws/ward", "/ws/guardian"])
@pytest.mark.gen_test
async def test_who_signs_out_while_a_connection_opens_loses_it_too(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        browser, logins = await signed_in(home), home.server.people.logins
        seen, signed_out, find = asyncio.Event(), asyncio.Event(), logins.find

        async def find_and_dawdle(token: str | None, **how: Any) -> Any:
            found = await find(token, **how)
            seen.set()
            await signed_out.wait()
            return found

        headers = {"Cookie": browser.cookie_header, "Origin": home.url}
        monkeypatch.setattr(logins, "find", find_and_dawdle)
        opening = asyncio.create_task(home.connect(path, headers=headers))
        await seen.wait()
        await logins.end_all(await home.server.people.accounts.identify("ana"))
        signed_out.set()
        ana = await opening
        assert await ana.closed() == 4401
        assert [event["event"] for event in ana.heard] == ["session-error"]


@pytest.mark.gen_test
async def test_a_changed_password_puts_out_whoever_has_stolen_the_login(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        owner = await signed_in(home)
        thief = home.browser()
        thief.cookies = dict(owner.cookies)
        headers = {"Cookie": thief.cookie_header, "Origin": home.url}
        listening = await home.connect("/ws/guardian", headers=headers)
        await listening.spoken_to()
        assert (await thief.get("/account")).status == 200
        await owner.get("/account")
        fields = {"old": PASSWORD, "new": "a better password", "again": "a better password"}
        assert (await owner.post("/account/password", fields)).status == 303
        assert await listening.closed() == 4401
        for path in ("/account", "/live", "/history/export.csv"):
            assert (await home.fetch(path, headers={"Cookie": thief.cookie_header})).status in (303, 401), path
        assert (await owner.get("/account")).status == 200


@pytest.mark.gen_test
async def test_a_forgotten_password_is_mended_in_a_browser_that_is_signed_in_still(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        browser, people = await signed_in(home), home.server.people
        ana, alex = [await people.accounts.identify(name) for name in ("ana", "alex")]
        path = f"/link/{await people.links.for_reset(ana, by=alex)}"
        await browser.get(path)
        assert (await browser.post(path, {"password": "a better password"})).status == 303
        assert (await browser.get("/account")).status == 200


# -- from where ----------------------------------------------------------------------------------------------------


def trusted(network: str) -> Any:
    return (parse_network(network),)


async def guess(home: House, address: str) -> int:
    body = {"email": "ben@example.org", "password": "guess"}
    return (await home.fetch("/api/login", "POST", body=body, headers={"X-Forwarded-For": address})).status


@pytest.mark.gen_test
async def test_behind_a_trusted_proxy_each_client_is_known_by_its_own_address(tmp_path: Path) -> None:
    async with house(tmp_path, trusted_proxies=trusted("127.0.0.1")) as home:
        for _ in range(5):
            assert await guess(home, "203.0.113.7") == 401
        assert await guess(home, "203.0.113.7") == 429
        assert await guess(home, "198.51.100.1, 203.0.113.7") == 429  # only the last address was written by the proxy
        assert await guess(home, "203.0.113.8") == 401


@pytest.mark.gen_test
async def test_nobody_chooses_an_address_for_themselves(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for last in range(5):
            assert await guess(home, f"203.0.113.{last}") == 401
        assert await guess(home, "203.0.113.99") == 429


@pytest.mark.gen_test
@pytest.mark.parametrize("way", ["guess", "link"])
async def test_whoever_has_many_passwords_looked_at_keeps_nobody_elsewhere_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    asked, released = 0, threading.Event()

    def counted(work: Any) -> Any:
        async def ask(*given: Any, **how: Any) -> Any:
            nonlocal asked
            asked += 1
            return await work(*given, **how)

        return ask

    def held(work: Any) -> Any:
        def wait(hasher: Any, *given: Any) -> Any:
            assert given[-1] != b"a guess or two" or released.wait(20)
            return work(hasher, *given)

        return wait

    async with house(tmp_path, with_password=("ana",), trusted_proxies=trusted("127.0.0.1")) as home:
        for name in ("matches", "hash"):
            monkeypatch.setattr(Passwords, name, counted(getattr(Passwords, name)))
        for name in ("verify", "hash"):
            monkeypatch.setattr(PasswordHasher, name, held(getattr(PasswordHasher, name)))
        people = home.server.people
        path = f"/link/{await people.links.for_invitation(await people.accounts.identify('mallory'))}"
        browser = home.browser()
        await browser.get(path)

        async def try_it(number: int) -> int:
            from_there, email = {"X-Forwarded-For": f"2001:db8::{number}"}, f"x{number}@example.org"
            if way == "link":
                fields = {"email": email, "first_name": "X", "password": "a guess or two"}
                return (await browser.post(path, fields, **from_there)).status
            body = {"email": email, "password": "a guess or two"}
            return (await home.fetch("/api/login", "POST", body=body, headers=from_there)).status

        tries = [asyncio.create_task(try_it(number)) for number in range(5)]
        while asked < len(tries):
            await look_again()
        try:
            body = {"email": "ana@example.org", "password": PASSWORD}
            elsewhere = {"X-Forwarded-For": "203.0.113.7"}
            async with asyncio.timeout(5):
                assert (await home.fetch("/api/login", "POST", body=body, headers=elsewhere)).status == 200
        finally:
            released.set()
            statuses = await asyncio.gather(*tries)
        assert sorted(statuses) == ([303, 410, 410, 410, 410] if way == "link" else [401] * 5)


@pytest.mark.gen_test
async def test_the_figures_are_for_this_machine_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        figures = await home.fetch("/metrics")
        assert (figures.status, figures.headers["Content-Type"].split(";")[0]) == (200, "text/plain")
        assert "liveguard_sessions 0.0" in figures.text
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via"):
            assert (await home.fetch("/metrics", headers={name: "203.0.113.7"})).status == 403
    async with house(tmp_path, trusted_proxies=trusted("127.0.0.1")) as home:
        assert (await home.fetch("/metrics", headers={"X-Forwarded-For": "203.0.113.7"})).status == 403
        assert (await home.fetch("/metrics")).status == 200


@pytest.mark.gen_test
async def test_or_for_those_who_have_the_token(tmp_path: Path) -> None:
    async with house(tmp_path, metrics_token="let-me-see") as home:
        assert (await home.fetch("/metrics")).status == 403
        assert (await home.fetch("/metrics", who="alex")).status == 403
        for token, status in (("let-me-se", 403), ("é", 403), ("let-me-see", 200)):
            headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "203.0.113.7"}
            assert (await home.fetch("/metrics", headers=headers)).status == status
