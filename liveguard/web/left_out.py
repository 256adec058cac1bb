"""What an operator may have left out of the settings, as it shows when somebody asks: the log names each of it once.

These are hosts that are not ours, and proxies that nobody trusts, behind which everybody counts as one.
"""

import logging
from ipaddress import ip_address

from liveguard.addresses import Site, is_number, parse_host

MOST = 100  # of each: whoever asks can make up any number
LONGEST = 200  # characters

log = logging.getLogger(__name__)


class LeftOut:
    """What was named already."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._hosts: set[str] = set()
        self._proxies: set[str] = set()

    def asked_for(self, host: str) -> None:
        """Somebody asked for a host that is not ours."""
        host = host[:LONGEST]
        if host in self._hosts or len(self._hosts) >= MOST:
            return
        try:
            parse_host(host)
        except ValueError:
            return  # nobody has left that out
        self._hosts.add(host)
        log.warning("%s is not served here: LIVEGUARD_PUBLIC_URL and LIVEGUARD_ALLOWED_HOSTS say what is", host)

    def forwarded_by(self, peer: str) -> None:
        """Somebody says for whom they ask. From the internet anybody may; a proxy asks from close by."""
        if peer in self._proxies or len(self._proxies) >= MOST or self._site.trusts(peer):
            return
        if is_number(peer) and ip_address(peer).is_private:
            self._proxies.add(peer)
            log.warning(
                "%s passes requests on, and everybody behind it counts as one:"
                " if that is your proxy, name it in LIVEGUARD_TRUSTED_PROXIES",
                peer,
            )
