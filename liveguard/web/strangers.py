"""Connections of which nobody knows whose they are, and how many of them one network may have.

A person has a bound of their own (``limits.py``); until there is one, whatever somebody opens counts here: what speaks
HTTP, a WebSocket over which nobody has signed in or that is closed for it, and a line that is polled.
"""

from collections import Counter
from typing import Final

from liveguard.addresses import network_of
from liveguard.errors import TooManyConnections

MOST_STRANGERS: Final = 4096  # of one network


class Strangers:
    """Who is counted, and for which network."""

    def __init__(self) -> None:
        self._networks: dict[object, str] = {}
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._networks)

    def come(self, stranger: object, address: str) -> None:
        """Count one more. Raises TooManyConnections."""
        network = network_of(address)
        self._check(network)
        self._count(stranger, network)

    def check(self, address: str, over: object = None) -> None:
        """Is there room for one more, who takes the place of what they come over? Raises TooManyConnections."""
        network = network_of(address)
        self._check(network, self._networks.get(over) == network)

    def count(self, stranger: object, address: str) -> None:
        """Count somebody for whom there is room."""
        self.gone(stranger)
        self._count(stranger, network_of(address))

    def _check(self, network: str, leaving: int = 0) -> None:
        if self._of.get(network, 0) - leaving >= MOST_STRANGERS:
            raise TooManyConnections

    def _count(self, stranger: object, network: str) -> None:
        self._networks[stranger] = network
        self._of[network] += 1

    def gone(self, stranger: object) -> None:
        """They are gone, or not strangers any more; idempotent."""
        network = self._networks.pop(stranger, None)
        if network is not None:
            self._of[network] -= 1
            if not self._of[network]:
                del self._of[network]
