"""Counters for each variant, in Prometheus' text format. /metrics shows them after vLLM's own."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from serving.exchange import HttpExchange

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
NO_VARIANT = "none"  # requests for the base model, and those refused before their model was known


class Metrics:
    """Counts since the start. The labels are variants and kinds of error, and both are few."""

    def __init__(self, variants: Iterable[str]) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.requests = self._counter("requests", "Requests answered, errors included.")
        self.errors = self._counter("errors", "Requests that ended in an error, by kind.", "kind")
        self.unparsed = self._counter("unparsed_replies", "Replies that could not be parsed.")
        self.tokens = {
            "prompt_tokens": self._counter("prompt_tokens", "Prompt tokens, cached ones included."),
            "cached_tokens": self._counter("cached_prompt_tokens", "Prompt tokens found in the prefix cache."),
            "completion_tokens": self._counter("completion_tokens", "Tokens of replies."),
        }
        self.seconds = Histogram(
            "promptstill_request_seconds",
            "Time from the start of a request to the end of its reply.",
            ["variant"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        for name in variants:  # so that a rate is zero before the first request, and not absent
            for metric in (self.requests, self.unparsed, self.seconds, *self.tokens.values()):
                metric.labels(name)

    def count(self, exchange: HttpExchange) -> None:
        """Add one finished exchange."""
        name = exchange.variant.name if exchange.variant else NO_VARIANT
        self.requests.labels(name).inc()
        self.seconds.labels(name).observe(exchange.seconds)
        if exchange.error_kind:
            self.errors.labels(name, exchange.error_kind).inc()
        if exchange.variant:
            self.unparsed.labels(name).inc(exchange.usage.unparsed)
            for field, counter in self.tokens.items():
                counter.labels(name).inc(getattr(exchange.usage, field))

    def text(self) -> bytes:
        """All metrics, as Prometheus reads them."""
        return generate_latest(self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"promptstill_{name}", description, ["variant", *labels], registry=self.registry)
