"""A whole search and its gate at the real server of llama.cpp, with the embedded model's GGUF.

It needs the package xllamacpp, which nothing here installs: pip install xllamacpp.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from optimizer import SearchSettings, optimize
from optimizer.run.regression import check_regression
from promptstill.dialect import VLLM
from promptstill.engine.models import _gguf_path
from promptstill.engine.source import ModelSource
from promptstill.files import read_json
from tests.support import ROOT
from tests.support.server import free_port

START_S = 120
SERVER = """
import sys
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.port, params.model_alias = sys.argv[1], int(sys.argv[2]), {"smollm2"}
params.n_ctx, params.n_parallel = 16384, 4
server = xllamacpp.Server(params)
sys.stdin.read()
"""


@contextmanager
def llama_server() -> Iterator[str]:
    """The address of llama.cpp's server, while the block runs."""
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(_gguf_path()), str(port)]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(START_S):
        assert process.poll() is None, "llama.cpp's server ended"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(1)
    raise AssertionError("llama.cpp's server does not answer")


@pytest.mark.e2e
@pytest.mark.timeout(1800)  # its server shares two cores with whatever else runs
@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
def test_a_search_and_its_gate_at_llama_cpp(tmp_path: Path) -> None:
    rows = (ROOT / "recipes" / "data" / "sentiment.jsonl").read_text(encoding="utf-8").splitlines()[:60]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    data = {"data": str(tmp_path / "rows.jsonl")}
    with llama_server() as url:
        settings = SearchSettings(
            recipe=str(ROOT / "recipes" / "sentiment.py"), parameters=data, model="smollm2", base_url=url, window=4,
            trials=2, proposals=0, folds=0, dspy=False, rivals=False,
        )  # fmt: skip
        result = optimize(settings, runs=tmp_path / "runs", output=tmp_path / "best.json")
        gated = check_regression(tmp_path / "best.json", None, data, None, ModelSource(url, window=4), 1, print)
    best = read_json(tmp_path / "best.json")
    assert best["prompt"]["layout"] != "raw", "llama.cpp ignores chat_template"
    assert result.verdict and best["scores"]["test"]["baseline"]["prompt_tokens"] > 0
    assert best["prompt"]["decoding"].get("dialect", {}) in ({}, VLLM.model_dump())
    assert not gated.failed
