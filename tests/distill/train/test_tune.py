"""The search over hyper-parameters: seeded, pruned, resumable."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from distill.train.hyper import HyperParameters
from distill.train.job import KeepGoing
from distill.train.loop import train
from distill.train.tune import TunedHyper, tune
from promptstill.errors import UserError
from tests.support import tiny

START = HyperParameters(r=8, lr=5e-4, epochs=3)


def quality(hyper: HyperParameters, epoch: int) -> float:
    """Best at a learning rate of 1e-3, and better with each epoch."""
    return max(0.0, 1 - abs(math.log10(hyper.lr / 1e-3))) * epoch / (epoch + 1)


class Trainer:
    """Trains nothing, but as `train` does: an epoch, a score, and the question whether to go on."""

    def __init__(self) -> None:
        self.trained: list[tuple[HyperParameters, int]] = []
        self.die_at: int | None = None

    def __call__(self, hyper: HyperParameters, work_dir: Path, keep_going: KeepGoing) -> float:
        work_dir.mkdir(parents=True, exist_ok=True)
        if self.die_at == len(self.trained):
            raise KeyboardInterrupt
        for epoch in range(1, hyper.epochs + 1):
            if not keep_going(epoch, quality(hyper, epoch)):
                break
        self.trained.append((hyper, epoch))
        return quality(hyper, epoch)


def ignore(_number: int, _hyper: HyperParameters, _score: float | None) -> None:
    """Reports that nobody reads."""


def test_the_search_begins_at_the_given_settings_and_finds_better(tmp_path: Path) -> None:
    trainer = Trainer()
    found = tune(trainer, START, 12, tmp_path, ignore)
    assert trainer.trained[0][0] == START and found.trials == 12 == len(trainer.trained)
    assert found.score > quality(START, 3) and found.score == pytest.approx(quality(found.hyper, found.hyper.epochs))
    assert {hyper.r for hyper, _ in trainer.trained} <= {8, 16, 32, 64}
    assert list(tmp_path.glob("trial-*")) == [found.work_dir], "only the best trial's folder is left"


def test_trials_that_fall_behind_are_pruned(tmp_path: Path) -> None:
    trainer = Trainer()
    scores: list[float | None] = []
    tune(trainer, START, 16, tmp_path, lambda number, hyper, score: scores.append(score))
    cut = [epoch < hyper.epochs for hyper, epoch in trainer.trained]
    assert any(cut) and cut == [score is None for score in scores]


def test_the_same_seed_proposes_the_same_trials(tmp_path: Path) -> None:
    one, other, third = Trainer(), Trainer(), Trainer()
    tune(one, START, 8, tmp_path / "one", ignore)
    tune(other, START, 8, tmp_path / "other", ignore)
    tune(third, HyperParameters(r=8, lr=5e-4, epochs=3, seed=1), 8, tmp_path / "third", ignore)
    assert one.trained == other.trained
    assert [h.lr for h, _ in one.trained] != [h.lr for h, _ in third.trained]


def test_a_killed_search_takes_its_last_trial_up_again(tmp_path: Path) -> None:
    whole = Trainer()
    expected = tune(whole, START, 8, tmp_path / "whole", ignore)
    killed = Trainer()
    killed.die_at = 5
    with pytest.raises(KeyboardInterrupt):
        tune(killed, START, 8, tmp_path / "killed", ignore)
    resumed = Trainer()
    found = tune(resumed, START, 8, tmp_path / "killed", ignore)
    assert killed.trained + resumed.trained == whole.trained
    assert (found.hyper, found.score) == (expected.hyper, expected.score)


def test_a_finished_search_runs_nothing(tmp_path: Path) -> None:
    first = tune(Trainer(), START, 4, tmp_path, ignore)
    again = Trainer()
    assert tune(again, START, 4, tmp_path, ignore) == first and again.trained == []


def test_other_settings_are_another_search(tmp_path: Path) -> None:
    tune(Trainer(), START, 1, tmp_path, ignore)
    with pytest.raises(UserError, match="began from other settings"):
        tune(Trainer(), HyperParameters(r=16), 2, tmp_path, ignore)


def test_real_trainings_are_searched(tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "model")

    def train_once(hyper: HyperParameters, work_dir: Path, keep_going: KeepGoing) -> float:
        job = tiny.job(base, work_dir, hyper)
        return max(train(job, work_dir / "adapter", lambda p: None, keep_going=keep_going).dev_scores)

    found: TunedHyper = tune(
        train_once, HyperParameters(r=8, lr=4e-3, epochs=2, batch=8), 3, tmp_path / "search", ignore
    )
    assert found.score > 0.5 and (found.work_dir / "adapter" / "adapter_config.json").is_file()
