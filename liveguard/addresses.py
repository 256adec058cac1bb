"""Where this server is reached, and who asks: the checks of Host, Origin and forwarded addresses.

Host is compared before anything else. A page of somebody else's that rebinds its own name to our address still sends
its own name as Host, so only names that were configured are answered. An address in numbers cannot be rebound, so a
server that listens on every interface answers to any of them.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Host = tuple[str, int | None]  # without a port, any port is meant

DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - recognised here, never bound to by default

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")


def parse_host(text: str) -> Host:
    """``name`` or ``name:port``, the name in small letters; ValueError for anything else."""
    match = _HOST.fullmatch(text)
    if match is None:
        raise ValueError("is not a host name")
    name, port = match["name"].lower().strip("[]"), match["port"]
    if match["name"].startswith("["):
        name = str(ip_address(name))
    if port is not None and not 1 <= int(port) <= 65535:
        raise ValueError("has a port that is none")
    return name, None if port is None else int(port)


def parse_origin(text: str) -> str:
    """``https://name[:port]`` as a browser writes it in Origin; ValueError for anything else."""
    scheme, _, rest = text.removesuffix("/").partition("://")
    try:
        if scheme not in DEFAULT_PORTS:
            raise ValueError(scheme)
        return format_origin(scheme, *parse_host(rest))
    except ValueError:
        raise ValueError("must be an address like https://example.org") from None


def parse_network(text: str) -> Network:
    """An address or a network of proxies; the whole internet is none."""
    network = ip_network(text, strict=False)
    if network.prefixlen == 0:
        raise ValueError("would trust everybody")
    return network


def format_origin(scheme: str, name: str, port: int | None) -> str:
    """The origin of an address; a scheme's own port is left out, as browsers do."""
    name = f"[{name}]" if ":" in name else name
    return f"{scheme}://{name}" if port in (None, DEFAULT_PORTS[scheme]) else f"{scheme}://{name}:{port}"


def plain(address: str) -> str:
    """An IPv4 address that is written as one of IPv6 (RFC 4291, 2.5.5.2), as itself; any other as it is."""
    if ":" not in address:
        return address
    try:
        mapped = IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return address if mapped is None else str(mapped)


def network_of(address: str) -> str:
    """Whom an address counts for: who has one of IPv6 has all of its /64, and may come from each of them."""
    address = plain(address)
    if ":" not in address:
        return address
    try:
        number = int(IPv6Address(address))
    except ValueError:
        return address
    return str(IPv6Address(number >> 64 << 64))


def is_number(name: str) -> bool:
    """Is this host an address in numbers rather than a name?"""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Site:
    """The addresses of a running server."""

    public_url: str
    hosts: frozenset[Host]
    origins: frozenset[str]
    has_public_url: bool = False  # rather than one that is only served
    numbers_port: int | None = None  # any address in numbers is ours on this port
    proxies: tuple[Network, ...] = ()

    @classmethod
    def build(
        cls,
        host: str,
        port: int,
        *,
        public_url: str | None = None,
        hosts: tuple[Host, ...] = (),
        origins: tuple[str, ...] = (),
        proxies: tuple[Network, ...] = (),
    ) -> "Site":
        """The site served at ``host`` and ``port``, together with what the settings allow beside it."""
        everywhere = host in WILDCARDS
        names = LOOPBACK_NAMES if everywhere or host in LOOPBACK_NAMES else (host,)
        served = format_origin("http", "localhost" if everywhere else host, port)
        public = public_url or served
        # A proxy may pass the public name on with its port or without.
        public_host = () if public_url is None else ((parse_host(public.partition("://")[2])[0], None),)
        return cls(
            public_url=public,
            hosts=frozenset([*((name, port) for name in names), *public_host, *hosts]),
            origins=frozenset([public, *origins, *(format_origin("http", name, port) for name in names)]),
            has_public_url=public_url is not None,
            numbers_port=port if everywhere else None,
            proxies=proxies,
        )

    @property
    def scheme(self) -> str:
        """``https`` if people reach this site through TLS."""
        return self.public_url.partition("://")[0]

    def url_for(self, host: str) -> str:
        """Where others reach this site, for somebody who has asked this Host, which is allowed."""
        return self.public_url if self.has_public_url else f"{self.scheme}://{host.lower()}"

    def allows_host(self, header: str) -> bool:
        """May a request with this Host header be answered?"""
        try:
            name, port = parse_host(header)
        except ValueError:
            return False
        port = DEFAULT_PORTS[self.scheme] if port is None else port
        if port == self.numbers_port and is_number(name):
            return True
        return (name, port) in self.hosts or (name, None) in self.hosts

    def allows_origin(self, origin: str, host: str) -> bool:
        """May a page of this Origin speak to us? ``host`` is the request's own Host header, already allowed."""
        return origin in self.origins or origin == f"{self.scheme}://{host.lower()}"

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """Who really asks: the last address in X-Forwarded-For that is not one of the trusted proxies' own."""
        address = plain(peer)
        hops = forwarded_for.split(",") if forwarded_for else []
        while hops and self.trusts(address):
            hop = plain(hops.pop().strip())
            if not is_number(hop):
                break
            address = hop
        return address

    def trusts(self, address: str) -> bool:
        """Is this one of the proxies?"""
        if not self.proxies or not is_number(address):
            return False
        number = ip_address(plain(address))
        return any(number in network for network in self.proxies)
