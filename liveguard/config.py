"""The settings: read from the environment once, checked once.

Each field of ``Settings`` is the environment variable ``LIVEGUARD_`` and its name in capitals. What is unknown or
senseless stops the start with one line that names it; a secret value is never repeated.
"""

import difflib
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from liveguard.addresses import LOOPBACK_NAMES, Host, Network, Site, is_number, parse_host, parse_network, parse_origin
from liveguard.errors import ConfigurationError

PREFIX = "LIVEGUARD_"
SECRET_BYTES = 32
DATABASE = Path("data/liveguard.db")

T = TypeVar("T")


def setting(default: Any, read: Callable[[str], Any], *, secret: bool = False) -> Any:
    """A field with its default and the function that reads its text (ValueError says what is wrong with it)."""
    return field(default=default, metadata={"read": read, "secret": secret}, repr=not secret)


def number(least: float, most: float) -> Callable[[str], float]:
    """A decimal number within bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not isfinite(value) or not least <= value <= most:
            raise ValueError(f"must be a number from {least:.9g} to {most:.9g}")
        return value

    return read


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def choice(*allowed: str) -> Callable[[str], str]:
    """One of a few words, in whatever letters."""

    def read(text: str) -> str:
        for word in allowed:
            if text.lower() == word.lower():
                return word
        raise ValueError(f"must be one of {', '.join(allowed)}")

    return read


def several(read_one: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """A list, separated by commas."""

    def read(text: str) -> tuple[T, ...]:
        values = []
        for part in text.split(","):
            try:
                values.append(read_one(part.strip()))
            except ValueError as reason:
                raise ValueError(f"has an entry that makes no sense: {part.strip()!r} ({reason})") from None
        return tuple(values)

    return read


def word(text: str) -> str:
    """Printable text without blanks."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without blanks")
    return text


def host_name(text: str) -> str:
    """An address, in the one spelling in which requests name it, or a name to listen on."""
    name = text.lower()
    if is_number(name):
        return str(ip_address(name))
    if parse_host(name)[1] is not None or re.fullmatch(r"[0-9.]+", name):
        raise ValueError("must be an address or a host name, without a port")
    return name


def file_path(text: str) -> Path:
    """The path of a file, which may begin with a home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError("names a home folder that nobody has") from None


def secret_text(text: str) -> bytes:
    """A secret that is long enough to sign with."""
    secret = os.fsencode(text)  # as it was set, whatever the locale takes it for
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"is too short: {SECRET_BYTES} bytes at least")
    return secret


def public_key(text: str) -> str:
    """A public key, as PEM text or as the path of a file with it."""
    if text.lstrip().startswith("-----BEGIN"):
        return text.replace("\\n", "\n")
    try:
        return file_path(text).read_text(encoding="ascii")
    except (OSError, ValueError):
        raise ValueError("is neither a key nor a file that can be read") from None


def jwks_url(text: str) -> str:
    """Where a provider publishes its keys: through TLS, or on this machine."""
    match = re.fullmatch(r"(https?)://([^/?#@\s]+)(/\S*)?", text)
    if match is None or (match[1] == "http" and parse_host(match[2])[0] not in LOOPBACK_NAMES):
        raise ValueError("must be an address that begins with https://")
    return text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set. Times are in seconds and sizes in bytes where nothing else is said."""

    host: str = setting("127.0.0.1", host_name)
    port: int = setting(8080, whole(0, 65535))
    database: Path = setting(DATABASE, file_path)  # noqa: RUF009 - a path does not change

    jwt_secret: bytes | None = setting(None, secret_text, secret=True)
    jwt_algorithm: str = setting("HS256", choice("HS256", "RS256", "ES256", "EdDSA"))
    jwt_public_key: str | None = setting(None, public_key)
    jwt_jwks_url: str | None = setting(None, jwks_url)
    jwt_issuer: str | None = setting(None, word)
    jwt_audience: str | None = setting(None, word)

    public_url: str | None = setting(None, parse_origin)
    allowed_hosts: tuple[Host, ...] = setting((), several(parse_host))
    allowed_origins: tuple[str, ...] = setting((), several(parse_origin))
    trusted_proxies: tuple[Network, ...] = setting((), several(parse_network))

    metrics_token: str | None = setting(None, word, secret=True)
    log_format: str = setting("text", choice("text", "json"))
    log_level: str = setting("info", choice("debug", "info", "warning", "error"))

    reconnect_grace: float = setting(30.0, number(0, 86_400))
    session_limit: float = setting(86_400.0, number(1, 31 * 86_400))
    location_retention: float = setting(7.0, number(0, 36_500))  # days

    rate_limit: int = setting(20, whole(0, 100_000))  # messages a second a connection; 0 is none
    rate_burst: int = setting(40, whole(1, 1_000_000))
    max_connections: int = setting(10, whole(1, 100_000))  # of one user
    max_frame: int = setting(64 * 1024, whole(1024, 16 * 1024 * 1024))
    max_unsent: int = setting(256 * 1024, whole(16 * 1024, 64 * 1024 * 1024))
    ward_ping_interval: float = setting(5.0, number(0.05, 3600))
    ward_ping_timeout: float = setting(5.0, number(0.05, 3600))
    guardian_ping_interval: float = setting(20.0, number(0.05, 3600))
    guardian_ping_timeout: float = setting(10.0, number(0.05, 3600))

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ, **options: Any) -> "Settings":
        """The settings of this environment; ``options`` (already checked values) go before it."""
        values, problems = cls.parse(environ)
        given = {name: value for name, value in options.items() if value is not None}
        settings = cls(**values | given)
        problems += settings.contradictions()
        if problems:
            raise ConfigurationError(problems[0])
        return settings

    @classmethod
    def parse(cls, environ: Mapping[str, str] = os.environ) -> tuple[dict[str, Any], list[str]]:
        """The values that make sense, by their fields, and what is wrong with the others, one line each."""
        values: dict[str, Any] = {}
        problems: list[str] = []
        for name, text in environ.items():
            if name.startswith(PREFIX):
                try:
                    values[name.removeprefix(PREFIX).lower()] = cls.value(name, text)
                except ConfigurationError as problem:
                    problems.append(str(problem))
        return values, problems

    @classmethod
    def value(cls, name: str, text: str) -> Any:
        """The value of one setting. Raises ConfigurationError in one line that names it."""
        known = {PREFIX + each.name.upper(): each.metadata for each in fields(cls)}
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
            raise ConfigurationError(f"{name} is not a setting{f'; did you mean {close[0]}?' if close else ''}")
        try:
            if not text.strip():
                raise ValueError("is empty; leave it out for its default")
            return known[name]["read"](text)
        except ValueError as error:
            reason = str(error)
            shown = reason.startswith("must") and not known[name]["secret"] and len(text) <= 100
            raise ConfigurationError(f"{name} {reason}{f', not {text!r}' if shown else ''}") from None

    def contradictions(self) -> list[str]:
        """What is wrong with these settings taken together, one line each."""
        found = []
        keys = [name for name in ("JWT_PUBLIC_KEY", "JWT_JWKS_URL") if getattr(self, name.lower()) is not None]
        if self.jwt_algorithm == "HS256" and keys:
            found.append(f"{PREFIX}{keys[0]} needs {PREFIX}JWT_ALGORITHM to be RS256, ES256 or EdDSA")
        if self.jwt_algorithm != "HS256" and len(keys) != 1:
            either = f"{PREFIX}JWT_PUBLIC_KEY or {PREFIX}JWT_JWKS_URL"
            found.append(f"{PREFIX}JWT_ALGORITHM {self.jwt_algorithm} needs either {either}, not both")
        if self.jwt_algorithm != "HS256" and self.jwt_secret is not None:
            found.append(f"{PREFIX}JWT_SECRET signs nothing with JWT_ALGORITHM {self.jwt_algorithm}: leave it out")
        if self.database.is_dir():
            found.append(f"{PREFIX}DATABASE is a folder, not a file: {self.database}")
        return found

    def site(self, port: int) -> Site:
        """The addresses under which this server is reached once it listens on ``port``."""
        return Site.build(
            self.host,
            port,
            public_url=self.public_url,
            hosts=self.allowed_hosts,
            origins=self.allowed_origins,
            proxies=self.trusted_proxies,
        )

    @property
    def secret_file(self) -> Path:
        """Where a secret that nobody set is kept: beside the database itself, as all that belongs to it. One that lies
        beside a link to it, where it was once made, is used for as long as it is there: all tokens are signed with it.
        """
        real = Path(os.path.realpath(self.database))
        beside_link, beside = (each.with_name(f"{each.name}.secret") for each in (self.database, real))
        return beside_link if os.path.lexists(beside_link) else beside

    @property
    def has_secret(self) -> bool:
        """Whether there is a secret to sign with: one that was set, or one that a server has made."""
        return self.jwt_secret is not None or self.secret_file.exists()

    def check_secret_is_there(self) -> None:
        """Raises ConfigurationError where only a server may make the secret that it signs with."""
        if self.jwt_algorithm == "HS256" and not self.has_secret:
            raise ConfigurationError(
                f"There is no secret at {self.secret_file}:"
                f" set {PREFIX}JWT_SECRET as the server has it, or start the server once"
            )

    def with_secret(self) -> "Settings":
        """These settings with a secret to sign with: the one that was set, or the kept one, or a new one, then kept."""
        if self.jwt_secret is not None:
            return self
        try:
            return replace(self, jwt_secret=_kept_secret(self.secret_file))
        except OSError as error:
            raise ConfigurationError(f"{self.secret_file} cannot be used: {error.strerror}") from None


def _kept_secret(path: Path) -> bytes:
    try:
        return _read_secret(path)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Two servers may start at once: the file appears whole, and only the first one's counts.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    return _read_secret(path)


def _read_secret(path: Path) -> bytes:
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise ConfigurationError(f"{path} can be read by others than its owner: chmod 600 {path}")
        secret = file.read(4096).strip()
    if len(secret) < SECRET_BYTES:
        raise ConfigurationError(f"{path} holds a secret that is too short: {SECRET_BYTES} bytes at least")
    return secret
