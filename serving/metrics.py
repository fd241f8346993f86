"""Counters per variant, in Prometheus' text format, behind vLLM's own at /metrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from serving.exchange import Exchange

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
NO_VARIANT = "none"  # the base's requests, and those refused before a model was named


class Metrics:
    """What has happened since the start. Labels are the variants served and the kinds of error: both are few."""

    def __init__(self, variants: Iterable[str]) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.requests = self._counter("requests", "Requests answered, errors included.")
        self.errors = self._counter("errors", "Requests that ended in an error, by kind.", "kind")
        self.unparsed = self._counter("unparsed_replies", "Replies that the prompt's reader refused.")
        self.tokens = {
            "prompt_tokens": self._counter("prompt_tokens", "Prompt tokens, cached ones included."),
            "cached_tokens": self._counter("cached_prompt_tokens", "Prompt tokens that the prefix cache held."),
            "completion_tokens": self._counter("completion_tokens", "Tokens of replies."),
        }
        self.seconds = Histogram(
            "promptstill_request_seconds",
            "From a request's first byte to its reply's last.",
            ["variant"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        for name in variants:  # so that a rate is zero before the first request, not absent
            for metric in (self.requests, self.unparsed, self.seconds, *self.tokens.values()):
                metric.labels(name)

    def count(self, exchange: Exchange) -> None:
        """Take one finished exchange into account."""
        name = exchange.variant.name if exchange.variant else NO_VARIANT
        self.requests.labels(name).inc()
        self.seconds.labels(name).observe(exchange.seconds)
        if exchange.kind:
            self.errors.labels(name, exchange.kind).inc()
        if exchange.variant:
            self.unparsed.labels(name).inc(exchange.usage.unparsed)
            for field, counter in self.tokens.items():
                counter.labels(name).inc(getattr(exchange.usage, field))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"promptstill_{name}", about, ["variant", *labels], registry=self.registry)
