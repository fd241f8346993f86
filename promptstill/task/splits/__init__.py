"""The rows of a task in their splits, and in folds: whole groups at a time, and evenly over labels."""

from promptstill.task.splits.deal import deal_folds
from promptstill.task.splits.split import (
    MIN_LABELLED,
    Splits,
    describe_splits,
    split_examples,
    split_rows,
)

__all__ = ["MIN_LABELLED", "Splits", "deal_folds", "describe_splits", "split_examples", "split_rows"]
