"""Tokens and passwords: what gets in, and that nothing else does."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from family import quick_passwords
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from liveguard import jwks
from liveguard.auth import Passwords, Tokens, digest, random_token, tokens_for
from liveguard.config import Settings
from liveguard.errors import (
    AuthenticationError,
    AuthenticationRequired,
    ConfigurationError,
    InvalidToken,
    NotAllowed,
    TokenExpired,
    Unavailable,
)
from liveguard.jwks import MAX_SIZE, PAUSE, PublishedKeys, fetch

SECRET = b"forty-two characters that nobody else knows"
NOW = 1_800_000_000
RSA = rsa.generate_private_key(65537, 2048)
SMALL_RSA = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
EC_384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
KEYS: dict[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


class Clock:
    """The wall clock, moved by hand."""

    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def accepting(clock: Clock, **values: Any) -> Tokens:
    return tokens_for(Settings(**{"jwt_secret": SECRET, **values}), clock=clock)


def public_pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forged(header: object, payload: object, key: bytes = SECRET, method: str = "sha256") -> str:
    """A token signed by hand, in ways that no library would."""
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{part(hmac.new(key, signed.encode(), method).digest())}"


HS256 = {"alg": "HS256", "typ": "JWT"}
GOOD: dict[str, Any] = {"sub": "ana", "exp": NOW + 60}


# -- good ones -------------------------------------------------------------------------------------------------------


def test_a_token_of_our_own_says_who_and_until_when(clock: Clock) -> None:
    tokens = accepting(clock)
    token, issued = tokens.issue("ana", 60)
    assert tokens.verify(token) == issued
    assert (issued.user_id, issued.expires_at) == ("ana", (NOW + 60) * 1000)


def test_a_clock_that_is_set_back_makes_no_token_worse(clock: Clock) -> None:
    tokens = accepting(clock)
    token, issued = tokens.issue("ana", 60)
    for seconds in (1, 10, 1800):
        clock.now = NOW - seconds
        assert tokens.verify(token) == issued


def test_the_user_is_sub_or_else_user_id(clock: Clock) -> None:
    tokens = accepting(clock)
    assert tokens.verify(forged(HS256, {"userId": "ana", "exp": NOW + 60})).user_id == "ana"
    assert tokens.verify(forged(HS256, {"sub": "ana", "userId": "mallory", "exp": NOW + 60})).user_id == "ana"


def test_what_else_a_token_says_is_ignored(clock: Clock) -> None:
    more = {**GOOD, "email": "mallory@example.org", "isAdmin": True, "jti": 7, "aud": ["x"], "iss": "y"}
    assert accepting(clock).verify(forged(HS256, more)).user_id == "ana"


def test_fractions_of_a_second_are_understood(clock: Clock) -> None:
    assert accepting(clock).verify(forged(HS256, {"sub": "ana", "exp": NOW + 0.5})).expires_at == NOW * 1000 + 500


def test_issuer_and_audience_are_checked_where_they_are_configured(clock: Clock) -> None:
    tokens = accepting(clock, jwt_issuer="https://id.example.org", jwt_audience="liveguard")
    right = {**GOOD, "iss": "https://id.example.org", "aud": "liveguard"}
    assert tokens.verify(forged(HS256, right))
    assert tokens.verify(forged(HS256, {**right, "aud": ["other", "liveguard"]}))
    assert tokens.verify(tokens.issue("ana", 60)[0])
    for wrong in (
        GOOD,
        {**right, "iss": "https://id.example.org/"},
        {**right, "aud": "Liveguard"},
        {**right, "aud": []},
        {**right, "aud": ["liveguar", "d"]},
        {**right, "iss": ["https://id.example.org"]},
    ):
        with pytest.raises(InvalidToken):
            tokens.verify(forged(HS256, wrong))


# -- the order and the words of the refusals -------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_token_asks_for_one(clock: Clock, nothing: object) -> None:
    with pytest.raises(AuthenticationRequired) as caught:
        accepting(clock).verify(nothing)
    assert (caught.value.message, caught.value.code) == ("Authentication required", "authentication_required")


def test_an_expired_token_is_told_apart_from_an_invalid_one(clock: Clock) -> None:
    tokens = accepting(clock)
    token, _ = tokens.issue("ana", 60)
    clock.now += 59.999
    assert tokens.verify(token)
    clock.now = NOW + 60
    with pytest.raises(TokenExpired) as caught:
        tokens.verify(token)
    assert (caught.value.message, caught.value.code) == ("Token expired", "token_expired")


def test_the_signature_is_checked_before_the_expiry(clock: Clock) -> None:
    with pytest.raises(InvalidToken) as caught:
        accepting(clock).verify(forged(HS256, {"sub": "ana", "exp": NOW - 60}, key=b"another secret" * 3))
    assert (caught.value.message, caught.value.code) == ("Invalid token", "invalid_token")


def test_an_expired_token_with_other_faults_is_an_expired_one(clock: Clock) -> None:
    with pytest.raises(TokenExpired):
        accepting(clock, jwt_issuer="https://id.example.org").verify(forged(HS256, {"sub": "", "exp": NOW}))


# -- hostile ones ----------------------------------------------------------------------------------------------------


def hostile() -> Iterator[tuple[str, object]]:
    good, header = forged(HS256, GOOD), part(HS256)
    signed, _, signature = good.rpartition(".")
    yield from {
        "a number": 7,
        "bytes": good.encode(),
        "a list": [good],
        "an object": {"token": good},
        "one word": "token",
        "dots": "..",
        "many dots": "." * 4000,
        "two parts": signed,
        "four parts": good + ".x",
        "five parts, as encrypted ones have": ".".join([good, "x", "y"]),
        "a blank before": " " + good,
        "a line end": good + "\n",
        "its scheme still before it": "Bearer " + good,
        "a NUL": good + "\0",
        "other letters": good[:-1] + "ü",
        "a lone surrogate": good + "\udc80",
        "huge": good + "A" * 1_000_000,
        "a huge payload, well signed": forged(HS256, {**GOOD, "x": "y" * 10_000}),
        "no signature": signed + ".",
        "a short signature": f"{signed}.{signature[:10]}",
        "a changed signature": f"{signed}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}",
        "another payload under the signature": f"{header}.{part({**GOOD, 'sub': 'ben'})}.{signature}",
        "another secret": forged(HS256, GOOD, key=b"x" * 40),
        "an empty secret": forged(HS256, GOOD, key=b""),
        "the header is a list": forged([], GOOD),
        "the header is no JSON": forged(b"{alg:HS256}", GOOD),
        "the header nests deep": forged(b"[" * 3000, GOOD),
        "no algorithm": forged({"typ": "JWT"}, GOOD),
        "algorithm null": forged({"alg": None}, GOOD),
        "algorithm a list": forged({"alg": ["HS256"]}, GOOD),
        "algorithm a number": forged({"alg": 256}, GOOD),
        "algorithm in small letters": forged({"alg": "hs256"}, GOOD),
        "algorithm none": f"{part({'alg': 'none'})}.{part(GOOD)}.",
        "algorithm None": f"{part({'alg': 'None'})}.{part(GOOD)}.",
        "algorithm none, signed": forged({"alg": "none"}, GOOD),
        "algorithm HS384": forged({"alg": "HS384"}, GOOD, method="sha384"),
        "algorithm HS512": forged({"alg": "HS512"}, GOOD, method="sha512"),
        "algorithm HS384 in name alone": forged({"alg": "HS384"}, GOOD),
        "an unknown critical header": forged({**HS256, "crit": ["exp"], "exp": 1}, GOOD),
        "an unencoded payload": forged({**HS256, "b64": False, "crit": ["b64"]}, GOOD),
        "kid a number": forged({**HS256, "kid": 1}, GOOD),
        "kid a list": forged({**HS256, "kid": ["a"]}, GOOD),
        "a token for signing out": forged({**HS256, "typ": "logout+jwt"}, GOOD),
        "typ a number": forged({**HS256, "typ": 1}, GOOD),
        "an embedded key": jwt.encode(GOOD, RSA, "RS256", {"jwk": jwk(RSA)}),
        "a key's address": jwt.encode(GOOD, RSA, "RS256", {"jku": "https://evil.example/jwks"}),
        "a certificate's address": jwt.encode(GOOD, RSA, "RS256", {"x5u": "https://evil.example/cert"}),
        "a certificate": jwt.encode(GOOD, RSA, "RS256", {"x5c": ["MIIB"]}),
        "kid a path": forged({**HS256, "kid": "/dev/null"}, GOOD, key=b""),
        "kid an SQL text": forged({**HS256, "kid": "' UNION SELECT 'x"}, GOOD, key=b"x"),
        "signed with RS256": jwt.encode(GOOD, RSA, "RS256"),
        "signed with ES256": jwt.encode(GOOD, EC, "ES256"),
    }.items()
    for kind, payload in {
        "nothing": b"",
        "no JSON": b"sub=ana",
        "not UTF-8": b'{"sub":"\xff","exp":1900000000}',
        "a lone surrogate": b'{"sub":"\\ud800","exp":1900000000}',
        "a list": [GOOD],
        "a text": "ana",
        "null": None,
        "an empty object": {},
        "nested deep": b'{"exp":1900000000,"sub":"ana","x":' + b"[" * 5000,
        "no exp": {"sub": "ana"},
        "exp null": {"sub": "ana", "exp": None},
        "exp a text": {"sub": "ana", "exp": str(NOW + 60)},
        "exp true": {"sub": "ana", "exp": True},
        "exp a list": {"sub": "ana", "exp": [NOW + 60]},
        "exp NaN": b'{"sub":"ana","exp":NaN}',
        "exp Infinity": b'{"sub":"ana","exp":Infinity}',
        "exp 1e999": b'{"sub":"ana","exp":1e999}',
        "exp of thousands of digits": b'{"sub":"ana","exp":' + b"9" * 5000 + b"}",
        "exp in the year 33658": {"sub": "ana", "exp": 10**12},
        "exp in milliseconds": {"sub": "ana", "exp": (NOW + 60) * 1000},
        "nbf in the future": {**GOOD, "nbf": NOW + 3600},
        "nbf a text": {**GOOD, "nbf": "now"},
        "nbf negative": {**GOOD, "nbf": -1},
        "iat in the future": {**GOOD, "iat": NOW + 3600},
        "iat negative": {**GOOD, "iat": -1},
        "iat far in the future": {**GOOD, "iat": 10**12},
        "iat a text": {**GOOD, "iat": "yesterday"},
        "nobody": {"exp": NOW + 60},
        "sub empty": {"sub": "", "exp": NOW + 60},
        "sub empty beside userId": {"sub": "", "userId": "ana", "exp": NOW + 60},
        "sub a number": {"sub": 7, "exp": NOW + 60},
        "sub true": {"sub": True, "exp": NOW + 60},
        "sub a list": {"sub": ["ana"], "exp": NOW + 60},
        "sub an object": {"sub": {"id": "ana"}, "exp": NOW + 60},
        "sub huge": {"sub": "a" * 300, "exp": NOW + 60},
        "userId a number": {"userId": 7, "exp": NOW + 60},
        "iss a list": {**GOOD, "iss": ["x"]},
        "aud a number": {**GOOD, "aud": 7},
        "aud a list of numbers": {**GOOD, "aud": [7]},
    }.items():
        yield f"payload: {kind}", forged(HS256, payload)


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    described = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)  # type: ignore[attr-defined]
    return {**described, **more}


HOSTILE = dict(hostile())


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_token_is_invalid_and_nothing_else(kind: str, clock: Clock) -> None:
    with pytest.raises(InvalidToken) as caught:
        accepting(clock).verify(HOSTILE[kind])
    assert caught.value.message == "Invalid token"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_token_with_any_bit_changed_is_refused(clock: Clock) -> None:
    tokens = accepting(clock)
    token, _ = tokens.issue("ana", 60)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    for position, letter in enumerate(token):
        for other in random.Random(position).sample(alphabet, 5):
            if other != letter:
                with pytest.raises(AuthenticationError):
                    tokens.verify(token[:position] + other + token[position + 1 :])


def test_rubbish_is_refused_with_one_of_the_refusals(clock: Clock) -> None:
    tokens, dice = accepting(clock), random.Random(7)
    for _ in range(2000):
        rubbish = "".join(chr(dice.randrange(1, 0x250)) for _ in range(dice.randrange(1, 80)))
        with pytest.raises(AuthenticationError):
            tokens.verify(rubbish)


# -- keys of an identity provider ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_signed_with_the_configured_public_keys_partner_is_good(algorithm: str, clock: Clock) -> None:
    tokens = accepting(clock, jwt_algorithm=algorithm, jwt_public_key=public_pem(KEYS[algorithm]))
    assert tokens.verify(jwt.encode(GOOD, KEYS[algorithm], algorithm)).user_id == "ana"
    for other, key in KEYS.items():
        if other != algorithm:
            with pytest.raises(InvalidToken):
                tokens.verify(jwt.encode(GOOD, key, other))


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_public_key_is_no_shared_secret(algorithm: str, clock: Clock) -> None:
    pem = public_pem(KEYS[algorithm])
    tokens = accepting(clock, jwt_algorithm=algorithm, jwt_public_key=pem)
    for key in (pem.encode(), pem.strip().encode(), SECRET, b""):
        with pytest.raises(InvalidToken):
            tokens.verify(forged(HS256, GOOD, key=key))
        with pytest.raises(InvalidToken):
            tokens.verify(forged({"alg": algorithm}, GOOD, key=key))


@pytest.mark.parametrize(
    ("algorithm", "text"),
    [
        ("RS256", "-----BEGIN PUBLIC KEY-----\nrubbish\n-----END PUBLIC KEY-----"),
        ("RS256", public_pem(EC)),
        ("RS256", public_pem(SMALL_RSA)),
        ("RS256", private_pem(RSA)),
        ("ES256", public_pem(RSA)),
        ("ES256", public_pem(EC_384)),
        ("EdDSA", public_pem(EC)),
        ("EdDSA", private_pem(ED)),
    ],
)
def test_a_key_that_does_not_fit_stops_the_start(algorithm: str, text: str, clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match=f"LIVEGUARD_JWT_PUBLIC_KEY is not a public key for {algorithm}"):
        accepting(clock, jwt_algorithm=algorithm, jwt_public_key=text)


def test_tokens_of_a_provider_are_not_issued_here(clock: Clock) -> None:
    tokens = accepting(clock, jwt_algorithm="RS256", jwt_public_key=public_pem(RSA))
    with pytest.raises(NotAllowed):
        tokens.issue("ana", 60)


class Provider:
    """An identity provider: its published keys, which may change, and whether it can be reached."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.document = self.publish(*keys)
        self.asked = 0
        self.away = False

    def publish(self, *keys: dict[str, Any]) -> bytes:
        self.document = json.dumps({"keys": keys}).encode()
        return self.document

    async def fetch(self, url: str) -> bytes:
        self.asked += 1
        if self.away:
            raise ConnectionRefusedError(url)
        return self.document


def published(provider: Provider, clock: Clock) -> Tokens:
    keys = PublishedKeys("https://id.example.org/jwks", "RS256", provider.fetch, clock=clock)
    return Tokens("RS256", keys, clock=clock)


def signed(key: Any = RSA, kid: str | None = "one") -> str:
    return jwt.encode({"sub": "ana", "exp": NOW + 10_000_000}, key, "RS256", {} if kid is None else {"kid": kid})


@pytest.mark.gen_test
async def test_published_keys_are_fetched_once_for_many(clock: Clock) -> None:
    provider = Provider(jwk(RSA, kid="one"))
    tokens = published(provider, clock)
    claims = await asyncio.gather(*(tokens.authenticate(signed()) for _ in range(50)))
    assert {each.user_id for each in claims} == {"ana"}
    assert provider.asked == 1


@pytest.mark.gen_test
async def test_a_rotated_key_is_picked_up(clock: Clock) -> None:
    provider, new = Provider(jwk(RSA, kid="one")), rsa.generate_private_key(65537, 2048)
    tokens = published(provider, clock)
    await tokens.authenticate(signed())
    provider.publish(jwk(RSA, kid="one"), jwk(new, kid="two"))
    clock.now += PAUSE
    assert await tokens.authenticate(signed(new, "two"))
    assert await tokens.authenticate(signed())
    assert provider.asked == 2


@pytest.mark.gen_test
async def test_tokens_that_name_unknown_keys_cannot_make_us_a_nuisance(clock: Clock) -> None:
    provider = Provider(jwk(RSA, kid="one"))
    tokens = published(provider, clock)
    await tokens.authenticate(signed())
    for number in range(100):
        clock.now += 0.1
        with pytest.raises(InvalidToken):
            await tokens.authenticate(signed(kid=f"unknown {number}"))
    assert provider.asked == 1


@pytest.mark.gen_test
async def test_while_the_provider_is_away_known_keys_go_on_working(clock: Clock) -> None:
    provider = Provider(jwk(RSA, kid="one"))
    tokens = published(provider, clock)
    await tokens.authenticate(signed())
    provider.away = True
    for _ in range(5):
        clock.now += 24 * 3600
        assert await tokens.authenticate(signed())
        with pytest.raises(InvalidToken):
            await tokens.authenticate(signed(kid="unknown"))  # waits for the look-up that has begun
    assert provider.asked == 6


@pytest.mark.gen_test
async def test_a_provider_that_was_never_reached_is_not_the_tokens_fault(clock: Clock) -> None:
    provider = Provider(jwk(RSA, kid="one"))
    provider.away = True
    tokens = published(provider, clock)
    with pytest.raises(Unavailable):
        await tokens.authenticate(signed())
    provider.away = False
    clock.now += PAUSE
    assert await tokens.authenticate(signed())


@pytest.mark.gen_test
async def test_a_key_that_was_withdrawn_stops_working(clock: Clock) -> None:
    provider, new = Provider(jwk(RSA, kid="one")), rsa.generate_private_key(65537, 2048)
    tokens = published(provider, clock)
    await tokens.authenticate(signed())
    provider.publish(jwk(new, kid="two"))
    clock.now += 3600
    assert await tokens.authenticate(signed())  # nobody waits for the look-up that this begins
    assert await tokens.authenticate(signed(new, "two"))  # this one waits for it
    with pytest.raises(InvalidToken):
        await tokens.authenticate(signed())


@pytest.mark.gen_test
async def test_a_token_without_a_key_id_is_meant_for_the_only_key(clock: Clock) -> None:
    provider = Provider(jwk(RSA, kid="one"))
    tokens = published(provider, clock)
    assert await tokens.authenticate(signed(kid=None))
    provider.publish(jwk(RSA, kid="one"), jwk(rsa.generate_private_key(65537, 2048), kid="two"))
    clock.now += PAUSE
    with pytest.raises(InvalidToken):
        await tokens.authenticate(signed(kid="none of them"))
    with pytest.raises(InvalidToken):
        await tokens.authenticate(signed(kid=None))


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"rubbish",
        b"[]",
        b'{"keys": 7}',
        b'{"keys": [7, null, "x", {}, {"kty": "RSA", "kid": "one"}]}',
        json.dumps({"keys": [{"kty": "oct", "kid": "one", "k": part(SECRET)}]}).encode(),
        json.dumps({"keys": [jwk(EC, kid="one")]}).encode(),
        json.dumps({"keys": [jwk(SMALL_RSA, kid="one")]}).encode(),
        json.dumps({"keys": [jwk(RSA, kid="one", use="enc")]}).encode(),
        json.dumps({"keys": [jwk(RSA, kid="one", alg="RS512")]}).encode(),
        json.dumps({"keys": [jwk(RSA, kid="one")]}).encode() + b" " * MAX_SIZE,
    ],
)
async def test_a_key_set_that_is_none_is_as_if_the_provider_were_away(document: bytes, clock: Clock) -> None:
    provider = Provider()
    provider.document = document
    with pytest.raises(Unavailable):
        await published(provider, clock).authenticate(signed())


@pytest.mark.gen_test
async def test_a_shared_secret_in_a_key_set_signs_nothing(clock: Clock) -> None:
    provider = Provider(jwk(RSA, kid="one"), {"kty": "oct", "kid": "two", "k": part(SECRET)})
    with pytest.raises(InvalidToken):
        await published(provider, clock).authenticate(forged({**HS256, "kid": "two"}, GOOD))


@pytest.mark.gen_test
async def test_a_provider_that_never_answers_keeps_nobody_waiting(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT", 0.05)
    asked = asyncio.Event()

    async def silent(url: str) -> bytes:
        asked.set()
        await asyncio.Future()
        return b""

    tokens = Tokens("RS256", PublishedKeys("https://id.example.org", "RS256", silent, clock=clock), clock=clock)
    with pytest.raises(Unavailable):
        await tokens.authenticate(signed())
    assert asked.is_set()


@pytest.mark.gen_test
async def test_the_log_says_why_there_are_no_keys(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    socket, port = bind_unused_port()
    server = HTTPServer(Application([(r"/(\w+)", KeyHandler)], log_function=lambda handler: None))
    server.add_socket(socket)
    for what, why in (
        ("error", "HTTP 500: Internal Server Error"),
        ("page", "JSON is malformed: invalid character (byte 0)"),
        ("none", "none of them is for RS256"),
    ):
        settings = Settings(jwt_algorithm="RS256", jwt_jwks_url=f"http://127.0.0.1:{port}/{what}")
        with pytest.raises(Unavailable):
            await tokens_for(settings, clock=clock).authenticate(signed())
        assert caplog.messages == [f"The keys at LIVEGUARD_JWT_JWKS_URL cannot be had: {why}"]
        caplog.clear()
    server.stop()
    await server.close_all_connections()


class KeyHandler(RequestHandler):
    def get(self, what: str) -> None:
        if what == "elsewhere":
            self.redirect("/keys")
        elif what == "error":
            self.set_status(500)
        elif what == "page":
            self.write("<!doctype html>")
        elif what == "none":
            self.write({"keys": [jwk(EC, kid="one")]})
        else:
            self.write(json.dumps({"keys": [jwk(RSA, kid="one")]}) + (" " * MAX_SIZE if what == "huge" else ""))


@pytest.mark.gen_test
async def test_keys_are_fetched_over_http_within_bounds(clock: Clock) -> None:
    socket, port = bind_unused_port()
    server = HTTPServer(Application([(r"/(\w+)", KeyHandler)], log_function=lambda handler: None))
    server.add_socket(socket)
    base = f"http://127.0.0.1:{port}"
    settings = Settings(jwt_algorithm="RS256", jwt_jwks_url=f"{base}/keys")
    assert await tokens_for(settings, clock=clock).authenticate(signed())
    for what in ("elsewhere", "error", "huge"):
        with pytest.raises(OSError):
            await fetch(f"{base}/{what}")
    server.stop()
    await server.close_all_connections()
    with pytest.raises(OSError):
        await fetch(f"{base}/keys")


# -- passwords -------------------------------------------------------------------------------------------------------


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords()
    yield passwords
    passwords.close()


@pytest.fixture
def quick() -> Iterator[Passwords]:
    """Where it does not matter how long they take."""
    passwords = quick_passwords()
    yield passwords
    passwords.close()


@pytest.mark.gen_test
async def test_the_right_password_matches_and_no_other(quick: Passwords) -> None:
    kept = await quick.hash("Grüße, Ana")
    assert kept.startswith("$argon2id$") and "Ana" not in kept
    assert await quick.matches(kept, "Grüße, Ana")
    assert await quick.matches(kept, "Gru\u0308\u00dfe, Ana")  # the same letters from another keyboard
    for other in ("grüße, ana", "", "Grüße, Ana ", "\ud800", "x" * 100_000):
        assert not await quick.matches(kept, other)


@pytest.mark.gen_test
@pytest.mark.parametrize("kept", [None, "", "rubbish", "$argon2id$v=19$rubbish"])
async def test_where_no_password_is_kept_none_matches(quick: Passwords, kept: str | None) -> None:
    assert not await quick.matches(kept, "")
    assert not await quick.matches(kept, "password")


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_event_loop_goes_on_while_passwords_are_hashed(passwords: Passwords) -> None:
    hashing = asyncio.ensure_future(passwords.hash("slow"))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)  # a turn of the loop: they are what is counted
        turns += 1
    assert turns > 50


def test_random_tokens_differ_and_only_their_digests_are_kept() -> None:
    tokens = {random_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert min(map(len, tokens)) >= 43
    assert digest("ana") == hashlib.sha256(b"ana").hexdigest()


def test_a_secret_of_our_own_is_made_where_none_is_set(tmp_path: Path, clock: Clock) -> None:
    settings = Settings(database=tmp_path / "liveguard.db")
    token, _ = tokens_for(settings, clock=clock).issue("ana", 60)
    assert tokens_for(settings, clock=clock).verify(token).user_id == "ana"
