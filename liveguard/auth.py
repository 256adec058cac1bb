"""Who somebody is: tokens (PyJWT), passwords (argon2), and the random secrets of logins and one-time links.

The algorithm of a token is pinned by the settings and never read from the token. PyJWT checks the signature; what the
token says is then decoded into a typed claim set, so that nothing but the right types gets any further.
"""

import asyncio
import hashlib
import secrets
import time
import unicodedata
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import argon2
import msgspec

from liveguard.config import Settings
from liveguard.errors import AuthenticationRequired, ConfigurationError, InvalidToken, NotAllowed, TokenExpired

MAX_TOKEN = 8 * 1024  # bytes
MAX_PASSWORD = 1024  # characters; the forms take 1,000 of them
MAX_USER_ID = 255
LATEST = 253_402_300_799  # the last second that a timestamp on the wire can name: the end of the year 9999
CLOCK_SKEW = 5  # seconds by which a provider's clock may be ahead of ours
SET_BACK = 1800  # seconds by which the own clock may be set right

TOKEN_TYPES = frozenset({"jwt", "application/jwt", "at+jwt", "application/at+jwt"})

Clock = Callable[[], float]
T = TypeVar("T")


class Claims(msgspec.Struct, frozen=True):
    """What a good token says."""

    user_id: str
    expires_at: int  # milliseconds since the epoch
    login_id: str | None = None  # the login with which it ends, whatever it says of its time


class Header(msgspec.Struct):
    """What a token says of its key; the rest of its header PyJWT looks at."""

    kid: str | None = None


class Payload(msgspec.Struct):
    """The claims of a token that liveguard looks at; everything else in it is ignored."""

    exp: float
    sub: str | None = None
    userId: str | None = None
    iss: str | None = None
    aud: str | list[str] | None = None
    nbf: float | None = None
    iat: float | None = None
    login: str | None = msgspec.field(name="liveguard/login", default=None)

    @property
    def user_id(self) -> str:
        """``sub``, or else ``userId``."""
        return self.userId or "" if self.sub is None else self.sub


class Keys(Protocol):
    """The keys with which tokens may be signed."""

    def find(self, kid: str | None) -> Any:
        """The key of this id, or None if it is not known."""

    async def refresh(self) -> None:
        """Look for keys that were not known; may raise Unavailable."""

    def keep_fresh(self) -> None:
        """Look for changed keys in the background, if it is time."""


class OneKey:
    """A single key that never changes."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def find(self, kid: str | None) -> Any:
        return self._key

    async def refresh(self) -> None:
        """There are no others."""

    def keep_fresh(self) -> None:
        """It stays as it is."""


class UnknownKey(InvalidToken):
    """The token names a key that is not known, or not known yet."""


class Tokens:
    """Checks tokens, and issues them where the key is the server's own."""

    def __init__(
        self,
        algorithm: str,
        keys: Keys,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        clock: Clock = time.time,
    ) -> None:
        self._algorithm = algorithm
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        import jwt  # a third of what a command loads, and most commands have no tokens

        # PyJWT has errors of its own for nearly everything; Python's own come from values it did not expect.
        self._faults = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
        self._signatures = jwt.PyJWS(algorithms=[algorithm], options={"enforce_minimum_key_length": True})

    def verify(self, token: object) -> Claims:
        """What this token says, by the keys known now; raises the first of the refusals that applies to it."""
        if token is None or token == "":
            raise AuthenticationRequired
        payload = self._signed_payload(token)
        now = self._clock()
        if payload.exp <= now:
            raise TokenExpired
        if not self._is_sensible(payload, now):
            raise InvalidToken
        return Claims(payload.user_id, int(payload.exp * 1000), payload.login)

    async def authenticate(self, token: object) -> Claims:
        """As ``verify``; a key that is not known yet is looked for first."""
        self._keys.keep_fresh()
        try:
            return self.verify(token)
        except UnknownKey:
            await self._keys.refresh()
        return self.verify(token)

    def issue(self, user_id: str, ttl: int, login_id: str | None = None) -> tuple[str, Claims]:
        """A token of our own for ``ttl`` seconds, or until the login ends."""
        if self._algorithm != "HS256":
            raise NotAllowed("Tokens come from the identity provider")
        now = int(self._clock())
        claims: dict[str, Any] = {"sub": user_id, "iat": now, "exp": now + ttl}
        if self._issuer is not None:
            claims["iss"] = self._issuer
        if self._audience is not None:
            claims["aud"] = self._audience
        if login_id is not None:
            claims["liveguard/login"] = login_id
        token = self._signatures.encode(msgspec.json.encode(claims), self._keys.find(None), "HS256")
        return token, Claims(user_id, (now + ttl) * 1000, login_id)

    def _signed_payload(self, token: object) -> Payload:
        if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
            raise InvalidToken
        try:
            key = self._keys.find(_key_named_by(token))
            if key is None:
                raise UnknownKey
            decoded = self._signatures.decode_complete(token, key, [self._algorithm])
            kind = decoded["header"].get("typ", "JWT")
            if not isinstance(kind, str) or kind.lower() not in TOKEN_TYPES:
                raise InvalidToken
            return msgspec.json.decode(decoded["payload"], type=Payload)
        except self._faults:
            raise InvalidToken from None

    def _is_sensible(self, payload: Payload, now: float) -> bool:
        audiences = [payload.aud] if isinstance(payload.aud, str) else payload.aud or []
        return (
            0 < len(payload.user_id) <= MAX_USER_ID
            and payload.exp <= LATEST
            and 0 <= (payload.nbf or 0) <= now + CLOCK_SKEW
            # Where our own clock was set right, a token of our own may be from the future, and is as good as it was.
            and 0 <= (payload.iat or 0) <= now + SET_BACK
            and (self._issuer is None or payload.iss == self._issuer)
            and (self._audience is None or self._audience in audiences)
        )


def _key_named_by(token: str) -> str | None:
    """PyJWT would decode and check all of the token for it, and does so once more with the key."""
    return msgspec.json.decode(urlsafe_b64decode(token.partition(".")[0] + "=="), type=Header).kid


def tokens_for(settings: Settings, *, clock: Clock = time.time) -> Tokens:
    """The tokens that these settings accept."""
    return Tokens(
        settings.jwt_algorithm,
        _keys_for(settings),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        clock=clock,
    )


def _keys_for(settings: Settings) -> Keys:
    if settings.jwt_jwks_url is None and settings.jwt_public_key is None:
        return OneKey(settings.with_secret().jwt_secret)
    from liveguard.jwks import PublishedKeys, fetch, read_public_key

    if settings.jwt_jwks_url is not None:
        return PublishedKeys(settings.jwt_jwks_url, settings.jwt_algorithm, fetch)
    assert settings.jwt_public_key is not None
    try:
        return OneKey(read_public_key(settings.jwt_public_key, settings.jwt_algorithm))
    except ValueError as error:
        raise ConfigurationError(f"LIVEGUARD_JWT_PUBLIC_KEY {error}") from None


class Passwords:
    """Hashes and checks passwords, away from the event loop: each costs a fifth of a second of a core.

    Of one network, one is looked at after the other, so that whoever has many looked at keeps only those waiting who
    share it. What nobody asks for from outside has no network, and waits for nobody.
    """

    def __init__(self, threads: int = 2, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._nobodys = _hash_of_nobody(self._hasher)
        self._queues: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def hash(self, password: str, network: str = "") -> str:
        """What is kept of this password."""
        return await self._run(network, self._hasher.hash, _normal(password))

    async def matches(self, kept: str | None, password: str, network: str = "") -> bool:
        """Is this the password? Where none is kept the answer is no, after the same time."""
        return await self._run(network, self._matches_now, kept, password)

    def _matches_now(self, kept: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(kept or self._nobodys, _normal(password)) and kept is not None
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _run(self, network: str, work: Callable[..., T], *arguments: Any) -> T:
        queue = self._queues.setdefault(network, asyncio.Lock()) if network else asyncio.Lock()
        async with queue:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """Let the threads go; what has not begun is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _normal(password: str) -> bytes:
    # An "ü" typed on a phone and one typed on a desk may be different characters for the same letter.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _hash_of_nobody(hasher: argon2.PasswordHasher) -> str:
    """A hash that no password has, and that takes as long to check as anybody's."""

    def part(size: int) -> str:
        return b64encode(secrets.token_bytes(size)).decode().rstrip("=")

    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${part(hasher.salt_len)}${part(hasher.hash_len)}"


def random_token() -> str:
    """A secret that nobody guesses, for a login or a one-time link."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is kept of such a secret: whoever reads the database cannot use it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
