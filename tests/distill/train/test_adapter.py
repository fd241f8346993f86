"""The adapter: which targets are refused before training, and a merge that answers the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distill.train.adapter import check_hyper, load_adapter, merge_adapter, probe_rows
from distill.train.distance import largest_difference
from distill.train.logprobs import logprobs
from distill.train.weights import load_base
from promptstill.engine.models import Model
from promptstill.errors import UserError
from tests.support import tiny

CPU = torch.device("cpu")


def test_all_linear_means_every_layer_but_the_output(base: Model) -> None:
    found = check_hyper(base, tiny.HYPER)
    assert found == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert check_hyper(base, replace(tiny.HYPER, targets=("v_proj", "q_proj"))) == ["q_proj", "v_proj"]


@pytest.mark.parametrize("targets", [("q_proj", "query"), ("lm_head",), ("embed_tokens",), ()])
def test_targets_that_cannot_be_served_are_refused_before_training(base: Model, targets: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        check_hyper(base, replace(tiny.HYPER, targets=targets))
    assert caught.value.what == f"No adapter can be put on {targets[-1] if targets else 'nothing'}."
    assert caught.value.do.startswith("Choose among down_proj, gate_proj,")


def test_a_merged_model_answers_as_base_plus_adapter(base: Model, adapter: Path, tmp_path: Path, umask: int) -> None:
    difference = merge_adapter(base, adapter, tmp_path / "merged")
    assert difference < 1e-3
    merged = load_base(Model("merged", str(tmp_path / "merged"), None), "fp32", CPU)
    plain = load_base(base, "fp32", CPU)
    rows = probe_rows(plain.config.vocab_size)
    alone, joined = logprobs(plain, rows), logprobs(merged, rows)
    assert largest_difference(alone, joined) > 0.1, "the adapter would not be in the merged weights"
    assert largest_difference(logprobs(load_adapter(plain, adapter), rows), joined) < 1e-3
    assert (tmp_path / "merged" / "tokenizer.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "merged").iterdir()}
    assert modes == {0o666 & ~umask} and (tmp_path / "merged").stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_merge_overwrites_nothing(base: Model, adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        merge_adapter(base, adapter, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
