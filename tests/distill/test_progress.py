"""What long steps tell a listener."""

from __future__ import annotations

import pytest

from distill.progress import LongStep, long_step
from distill.train.job import TrainingProgress
from promptstill.events import Event, Message, StepEnded, StepProgress, StepStarted


def test_a_training_tells_of_updates_and_of_the_ends_of_epochs() -> None:
    events: list[Event] = []
    with long_step(events.append, "student") as step:
        step.update_training(TrainingProgress(1, 12, 1, 0.75, 300, 80))
        step.update_training(TrainingProgress(6, 12, 1, 0.5, 300, 40, scoring=True))
        step.update_training(TrainingProgress(6, 12, 1, 0.5, 300, 60, dev=0.25))
        step.update_training(TrainingProgress(12, 12, 2, 0.25, 300, 20, scoring=True))
    assert events == [
        StepStarted("student"),
        StepProgress("student", 1, 12, "loss 0.750  300 tokens/s  80 s left"),
        Message("student, epoch 1: trained, scoring dev  loss 0.500"),
        Message("student, epoch 1: dev 25.0  loss 0.500"),
        Message("student, epoch 2: trained, scoring dev  loss 0.250  20 s left"),
        StepEnded("student"),
    ]


def test_a_step_that_fails_ends_too() -> None:
    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt), long_step(events.append, "answers"):
        raise KeyboardInterrupt
    assert events == [StepStarted("answers"), StepEnded("answers")]


def test_the_time_left_does_not_count_what_was_stored() -> None:
    step = LongStep(lambda event: None, "answers")
    assert step.time_left(90, 100) == "", "the speed is not known yet"
    step.started -= 10
    assert step.time_left(95, 100) == "10 s left" and step.time_left(100, 100) == ""
