"""Training on a tiny model: it learns, resumes, stops by the task metric, and fails in words."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distill import checkpoint
from distill.batches import epoch_batches
from distill.encode import Encoded
from distill.hyper import Hyper, best_epoch, exhausted, lr_share
from distill.job import Job, Progress, Trained
from distill.targets import target_losses
from distill.train import Loop, train
from distill.weights import attach, load_base
from optimizer.errors import InfrastructureError, UserError
from optimizer.models import Model
from tests import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny.model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def whole(base: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path, list[Progress]]:
    """A training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    told: list[Progress] = []
    return train(tiny.job(base, folder / "work"), folder / "adapter", told.append), folder, told


def same_adapter(one: Path, other: Path, within: float = 1e-5) -> bool:
    left, right = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    return left.keys() == right.keys() and all(torch.allclose(left[k], right[k], atol=within) for k in left)


def test_training_raises_the_task_metric(whole: tuple[Trained, Path, list[Progress]], base: Model) -> None:
    trained, folder, _ = whole
    before = Loop(tiny.job(base, folder / "fresh"), print).verdict()[0]
    assert before < 0.2 and max(trained.dev_scores) > 0.9
    assert trained.losses[-1] < trained.losses[0] / 4
    assert trained.epoch == best_epoch(trained.dev_scores)
    assert trained.tokens == 4 * sum(row.length for row in tiny.job(base, folder).rows) and trained.peak_bytes > 1e7


def test_progress_and_metrics_tell_of_every_update(whole: tuple[Trained, Path, list[Progress]]) -> None:
    trained, folder, told = whole
    steps = [one for one in told if one.dev is None]
    assert [one.step for one in steps] == list(range(1, 49)) and {one.steps for one in told} == {48}
    assert [one.dev for one in told if one.dev is not None] == trained.dev_scores
    assert told[0].seconds_left > 0 and told[-1].seconds_left == 0
    lines = [json.loads(line) for line in (folder / "work" / "metrics.jsonl").read_text().splitlines()]
    assert [line["dev"] for line in lines if "dev" in line] == trained.dev_scores
    assert len(lines) == 48 + len(trained.dev_scores)


def test_the_adapters_files_name_the_base_and_no_path(whole: tuple[Trained, Path, list[Progress]]) -> None:
    _, folder, _ = whole
    assert sorted(path.name for path in (folder / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    text = (folder / "adapter" / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == "tiny" and str(folder.parent) not in text


def test_the_loss_is_that_of_completion_and_stop_token_alone(base: Model, tmp_path: Path) -> None:
    rows = tiny.job(base, tmp_path).rows[:5]
    model = load_base(base, "fp32", CPU)
    expected = []
    for row in rows:
        ids = torch.tensor([row.ids])
        labels = ids.clone()
        labels[0, : len(row.prompt)] = -100
        expected.append(float(model(input_ids=ids, labels=labels).loss) * len(row.completion))
    losses = torch.split(target_losses(model, rows, CPU), [len(row.completion) for row in rows])
    assert [float(part.sum()) for part in losses] == pytest.approx(expected, rel=1e-4)


SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests import tiny
from distill.train import train
from optimizer.models import Model
base, folder, die_at = Model("tiny", sys.argv[1], "0" * 64), Path(sys.argv[2]), int(sys.argv[3])
import torch
torch.set_num_threads(1)
def report(progress):
    if progress.step == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
print(train(tiny.job(base, folder / "work"), folder / "adapter", report, checkpoint_every_s=0.0).dev_scores)
"""


def test_a_killed_training_goes_on_to_the_same_adapter(
    whole: tuple[Trained, Path, list[Progress]], base: Model, tmp_path: Path
) -> None:
    killed = subprocess.run([sys.executable, "-c", SCRIPT, base.path, str(tmp_path), "30"], check=False)
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "adapter").exists()
    (tmp_path / "work" / ".checkpoint.pt-half").write_bytes(b"half")  # what a kill while writing leaves
    told: list[Progress] = []
    trained = train(tiny.job(base, tmp_path / "work"), tmp_path / "adapter", told.append)
    assert told[0].step == 30, "the checkpoint of update 29 is the last before the kill at 30"
    assert trained.dev_scores == whole[0].dev_scores and trained.tokens == whole[0].tokens
    assert trained.losses == pytest.approx(whole[0].losses, rel=1e-4)
    assert same_adapter(tmp_path / "adapter", whole[1] / "adapter")
    lines = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "dev" not in line] == list(range(1, 49))


def test_a_finished_training_is_not_repeated(whole: tuple[Trained, Path, list[Progress]], base: Model) -> None:
    trained, folder, _ = whole
    told: list[Progress] = []
    again = train(tiny.job(base, folder / "work"), folder / "again", told.append)
    assert told == [] and again.dev_scores == trained.dev_scores
    assert same_adapter(folder / "again", folder / "adapter")
    configs = [(folder / name / "adapter_config.json").read_text() for name in ("again", "adapter")]
    assert configs[0] == configs[1]


def test_a_checkpoint_of_other_settings_is_refused(
    whole: tuple[Trained, Path, list[Progress]], base: Model, tmp_path: Path
) -> None:
    work = whole[1] / "work"
    with pytest.raises(UserError) as caught:
        train(tiny.job(base, work, replace(tiny.LEARNS, lr=1e-3)), tmp_path / "adapter", print)
    assert str(caught.value) == (
        f"{work / 'checkpoint.pt'} is of another training.\n"
        "Its rows, base model or hyper-parameters differ from those given now.\n"
        "Remove it to train anew, or give the settings that it was made with."
    )


def scored(job: Job, score: Callable[[list[str]], float]) -> Job:
    return replace(job, dev=replace(job.dev, score=score))


def test_epochs_without_a_better_dev_score_end_it_and_the_earlier_of_equals_is_kept(
    base: Model, tmp_path: Path
) -> None:
    scores = iter([0.2, 0.6, 0.6, 0.5, 0.9])
    job = scored(tiny.job(base, tmp_path / "work", replace(tiny.LEARNS, epochs=5)), lambda texts: next(scores))
    trained = train(job, tmp_path / "adapter", lambda progress: None)
    assert trained.dev_scores == [0.2, 0.6, 0.6, 0.5] and trained.epoch == 2
    two = scored(tiny.job(base, tmp_path / "two", replace(tiny.LEARNS, epochs=5)), lambda texts: 0.5)
    stopped = train(two, tmp_path / "other", lambda progress: None, keep_going=lambda epoch, score: epoch < 2)
    assert stopped.dev_scores == [0.5, 0.5] and stopped.epoch == 1


def test_dropout_too_is_the_same_after_a_resume(base: Model, tmp_path: Path) -> None:
    hyper = replace(tiny.LEARNS, epochs=2, dropout=0.2)
    train(tiny.job(base, tmp_path / "a", hyper), tmp_path / "one", lambda progress: None)

    def die(progress: Progress) -> None:
        if progress.step == 15:
            raise KeyboardInterrupt

    job = tiny.job(base, tmp_path / "b", hyper)
    with pytest.raises(KeyboardInterrupt):
        train(job, tmp_path / "two", die, checkpoint_every_s=0.0)
    train(job, tmp_path / "two", lambda progress: None)
    assert same_adapter(tmp_path / "one", tmp_path / "two")


def test_where_memory_runs_out_less_is_done_at_once_to_the_same_effect(base: Model, tmp_path: Path) -> None:
    job = tiny.job(base, tmp_path)
    batch = epoch_batches(job.rows, 8, 0, 0)[0]
    free, tight = Loop(job, print), Loop(replace(job, work_dir=tmp_path / "tight"), print)
    limit(tight.model, 40)
    losses = [float(loop.accumulate(batch, 8)) for loop in (free, tight)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and tight.budget < free.budget
    for one, other in zip(free.parameters, tight.parameters, strict=True):
        assert one.grad is not None and other.grad is not None and torch.allclose(one.grad, other.grad, atol=1e-5)
    limit(tight.model, 2)  # less than a row
    with pytest.raises(InfrastructureError) as caught:
        tight.accumulate(batch, 8)
    assert caught.value.what == "Memory ran out in training." and "--precision bf16" in caught.value.do


def limit(model: Any, tokens: int) -> None:
    """A machine that holds the activations of so many tokens."""

    def refuse(_module: Any, _arguments: Any, given: dict[str, Any]) -> None:
        if given["input_ids"].numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model.register_forward_pre_hook(refuse, with_kwargs=True)


FULL = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests import tiny
from distill.train import train
from optimizer.errors import InfrastructureError
from optimizer.models import Model
job = tiny.job(Model("tiny", sys.argv[1], "0" * 64), Path(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    train(job, Path(sys.argv[2], "adapter"), lambda progress: None)
except InfrastructureError as error:
    print(error)
"""


def test_a_full_disk_is_said_in_words_and_leaves_no_checkpoint(base: Model, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, base.path, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[0] == f"{tmp_path} cannot be written."
    assert "Free some disk" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_model_folder_without_weights_is_named(tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "model")
    job = tiny.job(base, tmp_path / "work")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(UserError) as caught:
        train(job, tmp_path / "adapter", print)
    assert caught.value.what == "tiny cannot be loaded for training." and "weights and tokenizer" in caught.value.do


def test_a_broken_weights_file_is_named(tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "model")
    job = tiny.job(base, tmp_path / "work")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match=r"tiny cannot be loaded for training\."):
        train(job, tmp_path / "adapter", print)


def test_rslora_at_rank_16_scales_as_lora_does() -> None:
    assert Hyper().scale / 16 == Hyper(rslora=True).scale / 16**0.5 == 2
    assert Hyper(alpha=5, rslora=True).scale == 5


def test_nothing_to_train_on_is_refused(base: Model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to train on"):
        train(replace(tiny.job(base, tmp_path), rows=[]), tmp_path / "adapter", print)


def test_a_structured_choice_is_the_only_thing_that_dev_replies_say(base: Model) -> None:
    from distill.generate import replies
    from distill.weights import load_tokenizer

    decoding = tiny.prompt("raw", structured={"choice": [" warm", " cold"]}).decoding
    tokenizer = load_tokenizer(base)
    prompts = [tokenizer.encode(text) for text in ("Text: the red sea\nHue:", "Hue:", "x")]
    texts = replies(load_base(base, "fp32", CPU), tokenizer, prompts, decoding)
    assert set(texts) <= {" warm", " cold"} and len(texts) == 3


def test_replies_do_not_depend_on_their_neighbours(base: Model) -> None:
    from distill.generate import replies
    from distill.weights import load_tokenizer

    model, tokenizer = load_base(base, "fp32", CPU), load_tokenizer(base)
    decoding = tiny.prompt("raw").decoding.model_copy(update={"stop": ["e"], "max_tokens": 12})
    prompts = [tokenizer.encode(f"Text: the {word} {place}\nHue:" * n) for n, (word, place) in enumerate(
        tiny.pairs()[:40:5], 1)]  # fmt: skip
    together = replies(model, tokenizer, prompts, decoding)
    assert together == [replies(model, tokenizer, [prompt], decoding)[0] for prompt in prompts]
    assert not any("e" in text for text in together)


def test_the_learning_rate_rises_and_falls_in_lines() -> None:
    shares = [lr_share(step, 100, 0.1) for step in range(100)]
    assert shares[0] == pytest.approx(0.1) and shares[9] == 1.0 == shares[10] and shares[-1] == pytest.approx(1 / 90)
    assert shares == sorted(shares[:10]) + sorted(shares[10:], reverse=True)


def test_patience_counts_epochs_without_a_better_score() -> None:
    assert not exhausted([0.5], 2) and not exhausted([0.5, 0.5], 2)
    assert exhausted([0.5, 0.5, 0.5], 2) and not exhausted([0.5, 0.4, 0.6], 2)
    assert best_epoch([0.1, 0.7, 0.7]) == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"r": 12}, "A LoRA rank of 12 cannot be served.\n"
                    "vLLM takes adapters up to a maximum of 8, 16, 32 or 64 ranks here.\n"
                    "Choose one of 8, 16, 32, 64."),
        ({"lr": 0.0}, "lr is 0.0.\nIt must be between 0 and 1."),
        ({"epochs": 0}, "epochs is 0.\nIt must be 1 or more."),
        ({"dropout": 1.0}, "dropout is 1.0.\nIt must be from 0 to below 1."),
    ],
)  # fmt: skip
def test_wrong_hyper_parameters_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        Hyper(**wrong)
    assert str(caught.value) == words


TWO = """
import sys
from pathlib import Path
from tests import tiny
from distill.train import train
from optimizer.models import Model
base, folder = Model("tiny", sys.argv[1], "0" * 64), Path(sys.argv[2])
print(train(tiny.job(base, folder / "work"), folder / "adapter", lambda progress: None).dev_scores)
"""


def test_two_processes_make_the_same_adapter_as_one(
    whole: tuple[Trained, Path, list[Progress]], base: Model, tmp_path: Path
) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    # What `accelerate launch` does on GPUs. On CPUs it starts several processes only through MPI.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    where = {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    done = run_with(where, [*launch, str(script), base.path, str(tmp_path)])
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(str(whole[0].dev_scores)) == 2
    assert same_adapter(tmp_path / "adapter", whole[1] / "adapter", within=1e-3)  # sums of another order, 48 updates
    steps = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    assert len([line for line in steps if "dev" not in line]) == 48


def run_with(extra: dict[str, str], argv: list[str]) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(argv, check=False, capture_output=True, text=True, env={**os.environ, **extra}, timeout=300)


def test_an_epoch_scored_twice_is_recorded_once(base: Model, tmp_path: Path) -> None:
    """A kill between an epoch's score and its checkpoint repeats the score, not the epoch."""

    def die(progress: Progress) -> None:
        if progress.dev is not None:
            raise KeyboardInterrupt

    job = tiny.job(base, tmp_path / "work", replace(tiny.LEARNS, epochs=2))
    with pytest.raises(KeyboardInterrupt):
        train(job, tmp_path / "adapter", die)
    told: list[Progress] = []
    trained = train(job, tmp_path / "adapter", told.append)
    assert told[0].dev == trained.dev_scores[0] and told[0].step == 12
    lines = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    assert [line["dev"] for line in lines if "dev" in line] == trained.dev_scores and len(lines) == 26


def test_an_unreadable_metrics_line_is_dropped_on_resume(base: Model, tmp_path: Path) -> None:
    job = tiny.job(base, tmp_path / "work", replace(tiny.LEARNS, epochs=1))
    train(job, tmp_path / "adapter", lambda progress: None)
    path = tmp_path / "work" / "metrics.jsonl"
    before = path.read_text()
    path.write_text(before + '{"step": 99, "lo')
    train(job, tmp_path / "adapter", lambda progress: None)
    assert path.read_text() == before


def test_a_checkpoint_holds_what_it_says(base: Model, tmp_path: Path) -> None:
    job = tiny.job(base, tmp_path / "work", replace(tiny.LEARNS, epochs=1))
    train(job, tmp_path / "adapter", lambda progress: None)
    found = checkpoint.load(tmp_path / "work", job.subject)
    assert found is not None and found.position.ended and found.position.epoch == 1
    assert found.best is not None and found.best.keys() == found.adapter.keys()
    assert checkpoint.load(tmp_path, job.subject) is None


def test_a_row_without_neighbours_in_length_trains_alone(base: Model) -> None:
    model = attach(load_base(base, "fp32", CPU), tiny.LEARNS)
    long = Encoded("long", tuple([5] * 200), (6, 7))
    assert target_losses(model, [long, Encoded("short", (5,), (6,))], CPU).shape == (3,)
