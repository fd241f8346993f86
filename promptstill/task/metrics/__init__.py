"""The metrics that promptstill has, one file a kind, and the one place that calls a metric."""

from promptstill.task.metrics.apply import MetricResult, apply_metric, is_judge
from promptstill.task.metrics.ready import contains, exact_match, set_f1, token_f1
from promptstill.task.metrics.whole import balanced_accuracy, macro_f1, matthews

__all__ = [
    "MetricResult",
    "apply_metric",
    "balanced_accuracy",
    "contains",
    "exact_match",
    "is_judge",
    "macro_f1",
    "matthews",
    "set_f1",
    "token_f1",
]
