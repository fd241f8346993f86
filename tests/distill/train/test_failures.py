"""What stops a training, and what it says: memory, disk, a model that does not load, no rows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.train.batches import epoch_batches
from distill.train.loop import TrainingLoop, train
from promptstill.engine.models import Model
from promptstill.errors import InfrastructureError, UserError
from tests.support import tiny

CPU = torch.device("cpu")


def test_where_memory_runs_out_micro_batches_become_smaller_to_the_same_effect(base: Model, tmp_path: Path) -> None:
    job = tiny.job(base, tmp_path)
    batch = epoch_batches(job.rows, 8, 0, 0)[0]
    free, tight = TrainingLoop(job, print), TrainingLoop(replace(job, work_dir=tmp_path / "tight"), print)
    limit(tight.model, 40)
    losses = [float(loop.accumulate(batch, 8)) for loop in (free, tight)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and tight.micro_batch_tokens < free.micro_batch_tokens
    for one, other in zip(free.parameters, tight.parameters, strict=True):
        assert one.grad is not None and other.grad is not None and torch.allclose(one.grad, other.grad, atol=1e-5)
    limit(tight.model, 2)  # less than a row
    with pytest.raises(InfrastructureError) as caught:
        tight.accumulate(batch, 8)
    assert caught.value.what == "Memory ran out in training." and "--precision bf16" in caught.value.do


def limit(model: Any, tokens: int) -> None:
    """As on a machine that has memory for this many tokens."""

    def refuse(_module: Any, _arguments: Any, given: dict[str, Any]) -> None:
        if given["input_ids"].numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model.register_forward_pre_hook(refuse, with_kwargs=True)


FULL = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.support import tiny
from distill.train.loop import train
from promptstill.errors import InfrastructureError
from promptstill.engine.models import Model
job = tiny.job(Model("tiny", sys.argv[1], "0" * 64), Path(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    train(job, Path(sys.argv[2], "adapter"), lambda progress: None)
except InfrastructureError as error:
    print(error)
"""


def test_a_full_disk_is_named_and_leaves_no_checkpoint(base: Model, tmp_path: Path) -> None:
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


def test_nothing_to_train_on_is_refused(base: Model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to train on"):
        train(replace(tiny.job(base, tmp_path), rows=[]), tmp_path / "adapter", print)
