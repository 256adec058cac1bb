"""The brake on guessing passwords.

After five failures within a quarter of an hour, each further try for the same account from the same address has to
wait, and longer each time. It counts by account and address together, so a stranger slows down only themselves. A
second count, by address alone, slows down whoever tries one password on many accounts.
"""

from collections import OrderedDict

from liveguard.addresses import network_of
from liveguard.errors import TooManySignIns

WINDOW = 15 * 60.0  # seconds
FREE_TRIES = 5
FREE_TRIES_OF_ADDRESS = 100
FIRST_WAIT = 30.0  # seconds
MOST_KEYS = 20_000

Key = tuple[str, ...]


class Tries:
    """The failures that one key has had of late."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def wait(self, now: float, free: int) -> float:
        """Seconds until the next try counts; 0 if it may be made now."""
        self.moments = [moment for moment in self.moments if moment > now - WINDOW]
        beyond = len(self.moments) - free
        if beyond < 0:
            return 0.0
        return max(0.0, self.moments[-1] + min(FIRST_WAIT * 2.0**beyond, WINDOW) - now)


class Brake:
    """Counts the failures; times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._tries: OrderedDict[Key, Tries] = OrderedDict()

    def begin(self, account: str, address: str, now: float) -> None:
        """A try begins, and counts as failed until it succeeds, so that many at once gain nothing.

        Raises TooManySignIns if it comes too early; then it does not count.
        """
        network = network_of(address)
        limits: tuple[tuple[Key, int], ...] = (((account, network), FREE_TRIES), ((network,), FREE_TRIES_OF_ADDRESS))
        # Nothing is noted of a try that does not count, or a flood of them would push out what is known of others.
        known = [(self._of(key), free) for key, free in limits if key in self._tries]
        wait = max((tries.wait(now, free) for tries, free in known), default=0.0)
        if wait > 0:
            raise TooManySignIns(int(wait) + 1)
        for key, _ in limits:
            self._of(key).moments.append(now)

    def succeeded(self, account: str, address: str) -> None:
        """The try was right: the account's failures from this address are forgotten, and the try itself."""
        self.take_back(account, address)
        self._tries.pop((account, network_of(address)), None)

    def take_back(self, account: str, address: str) -> None:
        """The try came to nothing through no fault of its own."""
        network = network_of(address)
        for key in ((account, network), (network,)):
            if self._of(key).moments:
                self._of(key).moments.pop()

    def _of(self, key: Key) -> Tries:
        tries = self._tries.setdefault(key, Tries())
        self._tries.move_to_end(key)
        if len(self._tries) > MOST_KEYS:
            self._tries.popitem(last=False)
        return tries
