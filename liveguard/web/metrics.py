"""Figures for Prometheus, in a registry of this server's own.

What can be counted when it is asked for, is counted then; nothing is kept up to date for the sake of a figure.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

import liveguard

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The registry, and what the web counts in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        Info("liveguard", "This server", registry=self.registry).info({"version": liveguard.__version__})
        self._requests = Counter(
            "liveguard_http_requests_total", "Answered HTTP requests", ["route", "method", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "liveguard_http_request_seconds", "Time to answer an HTTP request", ["route"],
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._events: Tally[str] = Tally()
        self._turned_away: Tally[str] = Tally()
        self.registry.register(self)

    def gauge(self, name: str, description: str, count: Callable[[], float]) -> None:
        """A figure that is counted when it is asked for."""
        Gauge(f"liveguard_{name}", description, registry=self.registry).set_function(count)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def happened(self, event: str) -> None:
        """Something happened in a live session."""
        self._events[event] += 1

    def turned_away(self, reason: str) -> None:
        """A connection was closed as soon as it had come."""
        self._turned_away[reason] += 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What the registry asks for."""
        yield _counted("events", "Events of live sessions, once for all who heard them", "event", self._events)
        why = "Connections that there was no room for"
        yield _counted("connections_turned_away", why, "reason", self._turned_away)

    def text(self) -> bytes:
        """All figures in Prometheus's text format."""
        return generate_latest(self.registry)


def _counted(name: str, description: str, label: str, counts: Tally[str]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"liveguard_{name}", description, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
