"""The numbers in Prometheus' own text, by prometheus-client: a registry of our own, filled from one answer of the agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from agent.metrics.families import FAMILIES, Family
from agent.metrics.tally import BUCKETS, Row

SILENT: Final[Mapping[str, Any]] = {"families": {"containment_up": [[[], 0]]}, "pid": None}
"""The answer of an agent that does not run."""
_ENDS: Final = (*map(str, BUCKETS), "+Inf")


class _Answer(Collector):
    """One answer to `metrics`. What this version knows no name for is left out."""

    def __init__(self, families: Mapping[str, Sequence[Row]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Every family of the answer."""
        for one in FAMILIES:
            if one.name in self._families:
                yield _metric(one, self._families[one.name])


def registry(answer: Mapping[str, Any]) -> CollectorRegistry:
    """What was answered, and what the kernel says of the agent's process, where it lets us look."""
    made = CollectorRegistry()
    made.register(_Answer(answer["families"]))
    if pid := answer["pid"]:
        ProcessCollector(namespace="containment", pid=lambda: pid, registry=made)
    return made


def _metric(one: Family, rows: Sequence[Row]) -> Metric:
    match one.kind:
        case "gauge":
            gauge = GaugeMetricFamily(one.name, one.about, labels=one.labels)
            for labels, value in rows:
                gauge.add_metric(labels, value)
            return gauge
        case "counter":
            counter = CounterMetricFamily(one.name, one.about, labels=one.labels)
            for labels, value in rows:
                counter.add_metric(labels, value)
            return counter
        case "summary":
            summary = SummaryMetricFamily(one.name, one.about, labels=one.labels)
            for labels, count, total in rows:
                summary.add_metric(labels, count, total)
            return summary
        case "histogram":
            histogram = HistogramMetricFamily(one.name, one.about, labels=one.labels)
            for labels, counts, total in rows:
                histogram.add_metric(labels, list(zip(_ENDS, accumulate(counts), strict=True)), total)
            return histogram
