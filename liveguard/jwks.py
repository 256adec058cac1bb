"""The public keys of an identity provider: one from the settings, or a set that the provider publishes and changes."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from liveguard.errors import Unavailable

FRESH = 3600.0  # seconds after which known keys are looked up again, so that a withdrawn one stops working
PAUSE = 30.0  # seconds between two look-ups, whatever key ids the tokens name
TIMEOUT = 5.0  # seconds
MAX_SIZE = 256 * 1024  # bytes
MAX_KEYS = 100

KEY_TYPES = {"RS256": RSAPublicKey, "ES256": EllipticCurvePublicKey, "EdDSA": Ed25519PublicKey}

Fetch = Callable[[str], Awaitable[bytes]]

log = logging.getLogger(__name__)


def read_public_key(pem: str, algorithm: str) -> Any:
    """The key in this PEM text; ValueError says why it does not fit the algorithm."""
    method = jwt.get_algorithm_by_name(algorithm)
    try:
        return _checked(method.prepare_key(pem), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise ValueError(f"is not a public key for {algorithm}") from None


def _checked(key: Any, algorithm: str) -> Any:
    if not isinstance(key, KEY_TYPES[algorithm]):
        raise ValueError("is not a public key of the right kind")
    if jwt.get_algorithm_by_name(algorithm).check_key_length(key):
        raise ValueError("is too short")
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name != "secp256r1":
        raise ValueError("is on another curve")
    return key


class PublishedKey(msgspec.Struct):
    """What must fit before a published key is looked at."""

    kty: str
    kid: str | None = None
    use: str | None = None
    alg: str | None = None


class PublishedKeySet(msgspec.Struct):
    keys: list[msgspec.Raw]


def read_key_set(document: bytes, algorithm: str) -> dict[str | None, Any]:
    """The keys of a published set that can sign with this algorithm, by their ids; the others are passed over.
    ValueError says why there are none."""
    if len(document) > MAX_SIZE:
        raise ValueError(f"they are more than {MAX_SIZE} bytes")
    found: dict[str | None, Any] = {}
    for raw in msgspec.json.decode(document, type=PublishedKeySet).keys[:MAX_KEYS]:
        try:
            head = msgspec.json.decode(raw, type=PublishedKey)
            if head.use in (None, "sig") and head.alg in (None, algorithm) and head.kty != "oct":
                found[head.kid] = _checked(
                    jwt.PyJWK(msgspec.json.decode(raw), algorithm).key,
                    algorithm,
                )
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
    if not found:
        raise ValueError(f"none of them is for {algorithm}")
    return found


class PublishedKeys:
    """A provider's key set. Known keys go on working while the provider is away."""

    def __init__(self, url: str, algorithm: str, fetch: Fetch, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._algorithm = algorithm
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str | None, Any] = {}
        self._looked_up: float | None = None
        self._look_up: asyncio.Task[None] | None = None

    def find(self, kid: str | None) -> Any:
        """The key of this id; a token that names none is meant for the only key there is."""
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def refresh(self) -> None:
        """Look the keys up, unless that was done just now. Raises Unavailable while none were ever found."""
        if self._look_up is not None or self._age() >= PAUSE:
            # One look-up serves everybody who waits, and outlives whoever gives up.
            await asyncio.shield(self._begin())
        if not self._keys:
            raise Unavailable("The identity provider cannot be reached")

    def keep_fresh(self) -> None:
        """Begin to look the keys up if they are old; nobody waits for it."""
        if self._keys and self._age() >= FRESH:
            self._begin()

    def _age(self) -> float:
        return float("inf") if self._looked_up is None else self._clock() - self._looked_up

    def _begin(self) -> asyncio.Task[None]:
        if self._look_up is None:
            self._looked_up = self._clock()
            self._look_up = asyncio.get_running_loop().create_task(self._update())
        return self._look_up

    async def _update(self) -> None:
        try:
            document = await asyncio.wait_for(self._fetch(self._url), TIMEOUT)
            self._keys = read_key_set(document, self._algorithm)
        except (OSError, ValueError) as reason:
            # The provider is away or talks nonsense; what is known stays.
            why = str(reason) or f"no answer within {TIMEOUT:.0f} s"
            log.warning("The keys at LIVEGUARD_JWT_JWKS_URL cannot be had: %s", why)
        finally:
            self._look_up = None


async def fetch(url: str) -> bytes:
    """Get a small document over HTTP; OSError if that does not work."""
    from tornado.httpclient import AsyncHTTPClient, HTTPError

    client = AsyncHTTPClient(force_instance=True, max_body_size=MAX_SIZE)
    try:
        response = await client.fetch(url, connect_timeout=TIMEOUT, request_timeout=TIMEOUT, follow_redirects=False)
        return response.body
    except HTTPError as error:
        raise OSError(str(error)) from None
    finally:
        client.close()
