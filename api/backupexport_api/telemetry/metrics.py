"""The metrics of one process; jobs and caches are read from the store at each scrape."""

from collections.abc import Iterator
from functools import partial
from typing import Literal, get_args

import prometheus_client as prometheus
from anyio import to_thread
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backupexport_api.http.connections import CutReason
from backupexport_api.jobs.store import JobStore
from backupexport_api.limits.shared_answer import SharedAnswer

CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST

DownloadOutcome = Literal["complete", "vanished", "stalled", "failed", "interrupted"]
"""How a download ends.  `vanished`: the client closed the connection; `stalled`: it took too
little for too long; `failed`: the storage did; `interrupted`: this process ended."""

# What follows is the client's matter and the bucket's.
_REDIRECTED = "redirected"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# How long one exposition serves all scrapes, in seconds: nobody needs a token for it.
_EXPOSITION_SECONDS = 0.1
# Seconds: from a job that is in memory to a call that is given up.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts what happens; each instance has a registry of its own."""

    def __init__(self) -> None:
        self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self._registry)
        prometheus.PlatformCollector(registry=self._registry)
        prometheus.GCCollector(registry=self._registry)
        counter = partial(prometheus.Counter, registry=self._registry)
        gauge = partial(prometheus.Gauge, registry=self._registry)
        histogram = partial(prometheus.Histogram, buckets=_BUCKETS, registry=self._registry)
        self._requests = histogram(
            "http_request_duration_seconds",
            "How long requests took, by the template of their route.",
            ("method", "route", "status"),
        )
        self._calls = histogram(
            "backupexport_kubernetes_request_duration_seconds",
            "How long calls to the Kubernetes API took, watches aside.",
            ("verb", "outcome"),
        )
        self._refusals = counter(
            "backupexport_rate_limit_refusals_total", "Requests that were answered 429.", ("limit",)
        )
        self._cuts = counter(
            "backupexport_connections_cut_total",
            "Connections that were cut without an end of their own, and why.",
            ("reason",),
        )
        self.connections = gauge(
            "backupexport_connections", "Connections that are open, those of the probes aside."
        )
        self.event_streams = gauge(
            "backupexport_event_streams", "Streams of a job's events that are open."
        )
        self._downloads = counter(
            "backupexport_downloads_total", "Downloads that have ended, and how.", ("outcome",)
        )
        self.sent_bytes = counter(
            "backupexport_download_sent_bytes_total", "Bytes of bodies of downloads."
        )
        self.downloads_under_way = gauge(
            "backupexport_downloads_under_way", "Downloads that are being sent."
        )
        # A series that is there from the start can be seen to rise from 0 to 1.
        for outcome in (*get_args(DownloadOutcome), _REDIRECTED):
            self._downloads.labels(outcome)
        for limit in ("export", "read", "link"):
            self._refusals.labels(limit)
        for reason in get_args(CutReason):
            self._cuts.labels(reason)
        # In a thread: it reads all of /proc/self, and a scrape must not hold requests up.
        in_thread = partial(to_thread.run_sync, self.exposition)
        self.shared_exposition = SharedAnswer(in_thread, _EXPOSITION_SECONDS)

    def watch(self, store: JobStore) -> None:
        """Show `store`'s jobs and caches, too."""
        self._registry.register(_StoreCollector(store))

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def observe_call(self, verb: str, outcome: str, seconds: float) -> None:
        """Count one call to the Kubernetes API."""
        self._calls.labels(verb, outcome).observe(seconds)

    def count_refusal(self, limit: str) -> None:
        """Count one 429."""
        self._refusals.labels(limit).inc()

    def count_cut(self, reason: CutReason) -> None:
        """Count a connection that was cut."""
        self._cuts.labels(reason).inc()

    def count_download_end(self, outcome: DownloadOutcome) -> None:
        """Count a download that was under way and has ended."""
        self.downloads_under_way.dec()
        self._downloads.labels(outcome).inc()

    def count_redirect(self) -> None:
        """Count a download for which the client was sent to a bucket."""
        self._downloads.labels(_REDIRECTED).inc()

    def exposition(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return prometheus.generate_latest(self._registry)


class _StoreCollector(Collector):
    def __init__(self, store: JobStore) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily(
            "backupexport_jobs",
            "Jobs in the cache. Every replica tells of all of them.",
            labels=["phase"],
        )
        age = GaugeMetricFamily(
            "backupexport_cache_age_seconds",
            "Time since the last word of the Kubernetes API; a quiet watch has one a minute.",
            labels=["resource"],
        )
        synced = GaugeMetricFamily(
            "backupexport_cache_synced", "Whether the cache has been filled.", labels=["resource"]
        )
        for phase, count in self._store.count_by_phase().items():
            jobs.add_metric([phase], count)
        for cache in self._store.cache_states():
            age.add_metric([cache.resource], cache.age_seconds)
            synced.add_metric([cache.resource], float(cache.is_synced))
        yield from (jobs, age, synced)
