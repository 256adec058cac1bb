"""Settings: what the environment may say, and what is refused in one line that names it."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import jwt
import pytest
from server import environment_of, house, move_in, run_cli

from liveguard.addresses import Site
from liveguard.config import Settings
from liveguard.errors import ConfigurationError

SECRET = "forty-two characters that nobody else knows"


def read(**values: str) -> Settings:
    return Settings.read({f"LIVEGUARD_{name}": text for name, text in values.items()})


def refusal(**values: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(**values)
    return str(caught.value)


def test_without_any_setting_the_defaults_of_the_protocol_hold() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.database) == ("127.0.0.1", 8080, Path("data/liveguard.db"))
    assert (settings.jwt_algorithm, settings.reconnect_grace, settings.rate_limit) == ("HS256", 30, 20)
    assert (settings.max_frame, settings.max_unsent, settings.max_connections) == (65536, 262144, 10)
    assert (settings.ward_ping_interval, settings.ward_ping_timeout) == (5, 5)
    assert (settings.guardian_ping_interval, settings.guardian_ping_timeout) == (20, 10)
    assert (settings.log_format, settings.log_level, settings.location_retention) == ("text", "info", 7)


def test_what_does_not_begin_with_the_prefix_is_none_of_our_business() -> None:
    assert Settings.read({"PORT": "1", "PATH": "/bin"}).port == 8080


def test_an_unknown_setting_stops_the_start_and_the_one_meant_is_named() -> None:
    assert refusal(PROT="1") == "LIVEGUARD_PROT is not a setting; did you mean LIVEGUARD_PORT?"
    assert refusal(XQZ="1") == "LIVEGUARD_XQZ is not a setting"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "8080.0"),
        ("PORT", "٨٠٨٠"),
        ("HOST", "127.0.0.1:80"),
        ("HOST", "1.2.3"),
        ("HOST", "http://localhost"),
        ("JWT_ALGORITHM", "none"),
        ("JWT_ALGORITHM", "HS256,none"),
        ("JWT_PUBLIC_KEY", "/no/such/file"),
        ("JWT_JWKS_URL", "http://keys.example.org/jwks.json"),
        ("JWT_JWKS_URL", "file:///etc/passwd"),
        ("JWT_ISSUER", "two words"),
        ("RECONNECT_GRACE", "nan"),
        ("RECONNECT_GRACE", "-1"),
        ("RECONNECT_GRACE", "1e999"),
        ("RATE_LIMIT", "fast"),
        ("RATE_LIMIT", "1.5"),
        ("PUBLIC_URL", "example.org"),
        ("PUBLIC_URL", "ftp://example.org"),
        ("PUBLIC_URL", "https://example.org/path"),
        ("PUBLIC_URL", "https://user@example.org"),
        ("PUBLIC_URL", "https://"),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", "example.org,,example.com"),
        ("ALLOWED_HOSTS", "example.org:0"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "https://example.org, javascript:0"),
        ("TRUSTED_PROXIES", "proxy.example.org"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("LOCATION_RETENTION", "for ever"),
        ("DATABASE", "~nobody-of-this-name/liveguard.db"),
        ("METRICS_TOKEN", "two words"),
    ],
)
def test_a_senseless_value_stops_the_start_with_one_line_that_names_it(name: str, text: str) -> None:
    line = refusal(**{name: text})
    assert line.startswith(f"LIVEGUARD_{name} ")
    assert "\n" not in line


@pytest.mark.parametrize("name", [each.name.upper() for each in fields(Settings)])
def test_an_empty_value_is_a_mistake_and_not_a_default(name: str) -> None:
    assert refusal(**{name: ""}).startswith(f"LIVEGUARD_{name} is empty")


def test_of_several_entries_the_one_that_makes_no_sense_is_named_with_the_reason() -> None:
    line = refusal(TRUSTED_PROXIES="10.0.0.0/8,0.0.0.0/0")
    assert line == "LIVEGUARD_TRUSTED_PROXIES has an entry that makes no sense: '0.0.0.0/0' (would trust everybody)"
    assert refusal(ALLOWED_HOSTS="example.org:0").endswith("'example.org:0' (has a port that is none)")


def test_a_number_out_of_its_bounds_is_told_them_as_people_write_them() -> None:
    assert refusal(SESSION_LIMIT="0").endswith("must be a number from 1 to 2678400, not '0'")
    assert refusal(WARD_PING_INTERVAL="0").endswith("must be a number from 0.05 to 3600, not '0'")


def test_a_database_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(DATABASE=str(tmp_path)).startswith("LIVEGUARD_DATABASE is a folder")


def test_options_go_before_the_environment() -> None:
    settings = Settings.read({"LIVEGUARD_PORT": "1", "LIVEGUARD_HOST": "::1"}, port=2, host=None)
    assert (settings.port, settings.host) == (2, "::1")


def test_words_are_understood_in_any_letters() -> None:
    settings = read(LOG_LEVEL="WARNING", LOG_FORMAT="Json", JWT_ALGORITHM="hs256")
    assert (settings.log_level, settings.log_format, settings.jwt_algorithm) == ("warning", "json", "HS256")


# -- the secret ------------------------------------------------------------------------------------------------------


def test_a_secret_under_32_bytes_is_refused_and_not_repeated() -> None:
    line = refusal(JWT_SECRET="open sesame")
    assert line == "LIVEGUARD_JWT_SECRET is too short: 32 bytes at least"


def test_a_secret_never_shows_in_the_text_of_the_settings() -> None:
    settings = read(JWT_SECRET=SECRET, METRICS_TOKEN="let-me-measure")
    assert "forty-two" not in repr(settings)
    assert "let-me-measure" not in repr(settings)


def test_a_secret_is_the_bytes_that_were_set_whatever_they_spell() -> None:
    secret = bytes(range(0xE0, 0x100))
    assert Settings.read({"LIVEGUARD_JWT_SECRET": os.fsdecode(secret)}).jwt_secret == secret


def test_the_length_of_a_secret_is_counted_in_bytes() -> None:
    assert read(JWT_SECRET="ü" * 16).jwt_secret == ("ü" * 16).encode()
    assert "too short" in refusal(JWT_SECRET="ü" * 15 + "u")


def test_a_secret_is_made_on_the_first_start_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "liveguard.db"
    settings = read(DATABASE=str(path))
    assert settings.jwt_secret is None
    secret = settings.with_secret().jwt_secret
    assert secret is not None and len(secret) >= 32
    assert stat.S_IMODE(settings.secret_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read(DATABASE=str(path)).with_secret().jwt_secret == secret
    assert os.listdir(path.parent) == ["liveguard.db.secret"]


def test_a_secret_that_was_set_goes_before_the_kept_one_and_leaves_no_file(tmp_path: Path) -> None:
    settings = read(DATABASE=str(tmp_path / "liveguard.db"), JWT_SECRET=SECRET).with_secret()
    assert settings.jwt_secret == SECRET.encode()
    assert os.listdir(tmp_path) == []


def test_many_first_starts_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    settings = read(DATABASE=str(tmp_path / "liveguard.db"))
    with ThreadPoolExecutor(16) as threads:
        secrets = set(threads.map(lambda _: settings.with_secret().jwt_secret, range(64)))
    assert len(secrets) == 1
    assert os.listdir(tmp_path) == ["liveguard.db.secret"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_kept_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    settings = read(DATABASE=str(tmp_path / "liveguard.db"))
    settings.with_secret()
    settings.secret_file.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        settings.with_secret()


def test_a_kept_secret_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    settings = read(DATABASE=str(tmp_path / "liveguard.db"))
    settings.with_secret()
    settings.secret_file.write_text("short")
    with pytest.raises(ConfigurationError, match="too short"):
        settings.with_secret()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_by_a_link_to_the_database_tokens_are_signed_with_the_secret_beside_the_file(tmp_path: Path) -> None:
    path, link = tmp_path / "data" / "liveguard.db", tmp_path / "link.db"
    await move_in(path)
    link.symlink_to(path)

    async def answer_by(database: Path) -> tuple[int, str, str]:
        environment = environment_of(tmp_path, database=database)
        del environment["LIVEGUARD_JWT_SECRET"]
        return await run_cli(environment, "token", "ana@example.org")

    async def token_by(database: Path) -> str:
        status, out, err = await answer_by(database)
        assert (status, err) == (0, "")
        return out.strip()

    beside = path.with_name("liveguard.db.secret")
    advice = "set LIVEGUARD_JWT_SECRET as the server has it, or start the server once"
    assert await answer_by(link) == (1, "", f"liveguard: There is no secret at {beside}: {advice}\n")
    # Only a server makes one.
    async with house(tmp_path, database=link, jwt_secret=None) as home:
        made = await token_by(link)
        assert (await home.fetch("/api/me", headers={"Authorization": f"Bearer {made}"})).status == 200
    assert [file.name for file in tmp_path.iterdir() if file.name.endswith(".secret")] == []
    for token in (made, await token_by(path)):
        assert jwt.decode(token, beside.read_bytes().strip(), ["HS256"])["sub"] == "ana"
    # Where an earlier server has made one beside the link, its tokens hold.
    earlier = tmp_path / "link.db.secret"
    earlier.touch(mode=0o600)
    earlier.write_text(SECRET)
    assert jwt.decode(await token_by(link), SECRET, ["HS256"])["sub"] == "ana"
    # Moved to the file, it holds by either name.
    earlier.rename(beside)
    for database in (link, path):
        assert jwt.decode(await token_by(database), SECRET, ["HS256"])["sub"] == "ana"


def test_a_secret_that_cannot_be_kept_stops_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = read(DATABASE=str(tmp_path / "file" / "liveguard.db"))
    with pytest.raises(ConfigurationError, match=r"liveguard\.db\.secret cannot be used"):
        settings.with_secret()


# -- keys of an identity provider ------------------------------------------------------------------------------------


def test_another_algorithm_needs_exactly_one_source_of_keys() -> None:
    assert "needs either" in refusal(JWT_ALGORITHM="RS256")
    both = refusal(
        JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY="-----BEGIN PUBLIC KEY-----", JWT_JWKS_URL="https://id.example.org/keys"
    )
    assert both.endswith(", not both")


def test_a_public_key_with_the_shared_secret_algorithm_is_a_mistake() -> None:
    line = refusal(JWT_PUBLIC_KEY="-----BEGIN PUBLIC KEY-----")
    assert line.startswith("LIVEGUARD_JWT_PUBLIC_KEY needs LIVEGUARD_JWT_ALGORITHM")


def test_a_secret_beside_the_keys_of_a_provider_is_a_mistake_and_not_repeated() -> None:
    line = refusal(JWT_ALGORITHM="RS256", JWT_JWKS_URL="https://id.example.org/keys", JWT_SECRET=SECRET)
    assert line == "LIVEGUARD_JWT_SECRET signs nothing with JWT_ALGORITHM RS256: leave it out"


def test_a_public_key_may_be_text_in_one_line_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n"
    (tmp_path / "key.pem").write_text(pem)
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in (pem, pem.replace("\n", "\\n"), str(tmp_path / "key.pem"), "~/key.pem"):
        assert read(JWT_ALGORITHM="ES256", JWT_PUBLIC_KEY=value).jwt_public_key == pem


def test_keys_may_be_published_on_this_machine_without_tls() -> None:
    url = "http://127.0.0.1:9000/jwks.json"
    assert read(JWT_ALGORITHM="RS256", JWT_JWKS_URL=url).jwt_jwks_url == url


# -- Host and Origin -------------------------------------------------------------------------------------------------


def hosts(site: Site, *allowed: str) -> None:
    foreign = [
        "",
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example:8080",
        "localhost.evil.example",
        "localhost:8080@evil.example",
        "127.0.0.1:8080,evil.example",
        "127.0.0.1:99999",
        "127.0.0.1:8080/",
        " 127.0.0.1:8080",
        "127.0.0.1:8080\n",
        "[::1",
        "[fe80::1%eth0]:8080",
        "2130706433:8080",
        "localhost.:8080",
        "löcalhost:8080",
    ]
    for header in foreign:
        assert not site.allows_host(header), header
    for header in allowed:
        assert site.allows_host(header), header


def test_a_loopback_server_answers_to_the_names_of_loopback_on_its_own_port() -> None:
    site = read().site(8080)
    hosts(site, "127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080", "[0:0::1]:8080")
    assert not site.allows_host("127.0.0.1:8081")
    assert not site.allows_host("127.0.0.2:8080")
    assert not site.allows_host("192.0.2.7:8080")
    assert site.public_url == "http://127.0.0.1:8080"


def test_a_server_on_all_interfaces_answers_to_addresses_in_numbers_but_not_to_names() -> None:
    site = read(HOST="0.0.0.0").site(8080)
    hosts(site, "127.0.0.1:8080", "192.0.2.7:8080", "[2001:db8::7]:8080", "localhost:8080")
    assert not site.allows_host("192.0.2.7:80")
    assert not site.allows_host("router.lan:8080")
    assert site.public_url == "http://localhost:8080"
    assert site.allows_origin("http://192.0.2.7:8080", "192.0.2.7:8080")
    assert not site.allows_origin("http://192.0.2.8:8080", "192.0.2.7:8080")


def test_whichever_way_the_address_to_listen_on_is_spelled_it_is_one_address() -> None:
    site = read(HOST="0:0:0:0:0:0:0:1").site(8080)
    hosts(site, "[::1]:8080", "[0:0:0:0:0:0:0:1]:8080", "127.0.0.1:8080", "localhost:8080")
    assert site.public_url == "http://[::1]:8080"
    assert read(HOST="::0").site(8080) == read(HOST="::").site(8080)
    hosts(read(HOST="2001:DB8:0::7").site(8080), "[2001:db8::7]:8080", "[2001:0DB8::7]:8080")
    assert read(HOST="Guard.example.org").host == "guard.example.org"


def test_a_public_address_is_answered_with_and_without_its_port() -> None:
    site = read(PUBLIC_URL="https://guard.example.org", ALLOWED_HOSTS="guard.lan, other.lan:81").site(8080)
    hosts(site, "guard.example.org", "guard.example.org:443", "guard.lan:8080", "other.lan:81", "127.0.0.1:8080")
    assert not site.allows_host("other.lan")
    assert not site.allows_host("example.org")
    assert not site.allows_host("a.guard.example.org")
    assert site.scheme == "https"


def test_only_a_page_of_our_own_may_speak_to_us() -> None:
    site = read(PUBLIC_URL="https://guard.example.org", ALLOWED_ORIGINS="https://app.example.org").site(8080)
    host = "guard.example.org"
    for origin in ("https://guard.example.org", "https://app.example.org", "http://127.0.0.1:8080"):
        assert site.allows_origin(origin, host), origin
    foreign = [
        "",
        "null",
        "http://guard.example.org",
        "https://guard.example.org:8443",
        "https://guard.example.org.evil.example",
        "https://evil.example",
        "https://a.guard.example.org",
        "https://guard.example.org, https://evil.example",
        "https://guard.example.org/",
        "http://127.0.0.1:8081",
        "https://127.0.0.1:8080",
        "http://127.0.0.1",
        "file://",
    ]
    for origin in foreign:
        assert not site.allows_origin(origin, host), origin


# -- proxies ---------------------------------------------------------------------------------------------------------


def test_nobody_is_believed_about_an_address_unless_it_is_a_trusted_proxy() -> None:
    site = read().site(8080)
    assert site.client_address("127.0.0.1", "192.0.2.7") == "127.0.0.1"


def test_behind_trusted_proxies_the_last_address_before_them_counts() -> None:
    site = read(TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8, ::1").site(8080)
    assert site.client_address("127.0.0.1", "198.51.100.1, 192.0.2.7, 10.1.1.1") == "192.0.2.7"
    assert site.client_address("127.0.0.1", "192.0.2.7") == "192.0.2.7"
    assert site.client_address("127.0.0.1", None) == "127.0.0.1"
    assert site.client_address("::ffff:127.0.0.1", "::ffff:192.0.2.7") == "192.0.2.7"
    assert site.client_address("127.0.0.1", "192.0.2.7, ::ffff:10.1.1.1") == "192.0.2.7"
    assert site.client_address("192.0.2.7", "198.51.100.1") == "192.0.2.7"
    assert site.client_address("127.0.0.1", "198.51.100.1, rubbish") == "127.0.0.1"
    assert site.client_address("::1", "2001:db8::7") == "2001:db8::7"
