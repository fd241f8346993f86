"""The metrics that promptstill has, one file a kind, and the one place that calls a metric."""

from promptstill.task.metrics.apply import MetricResult, apply_metric, is_judge
from promptstill.task.metrics.ready import contains, exact_match, set_f1, token_f1

__all__ = ["MetricResult", "apply_metric", "contains", "exact_match", "is_judge", "set_f1", "token_f1"]
