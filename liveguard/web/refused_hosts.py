"""Hosts that somebody has asked for and that are not ours: the log names each of them once, because an operator who has
left one out of the settings finds it there."""

import logging

from liveguard.addresses import parse_host

MOST = 100  # hosts: whoever asks can make up any number
LONGEST = 200  # characters

log = logging.getLogger(__name__)


class RefusedHosts:
    """Those that were named already."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def asked_for(self, host: str) -> None:
        """Somebody asked for a host that is not ours."""
        host = host[:LONGEST]
        if host in self._named or len(self._named) >= MOST:
            return
        try:
            parse_host(host)
        except ValueError:
            return  # nobody has left that out
        self._named.add(host)
        log.warning("%s is not served here: LIVEGUARD_PUBLIC_URL and LIVEGUARD_ALLOWED_HOSTS say what is", host)
