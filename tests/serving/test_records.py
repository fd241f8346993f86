"""What the server records: the access log, the log of inputs, and the metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptstill.task.examples import to_example
from promptstill.task.recipe import Recipe
from promptstill.task.rows import read_jsonl
from serving.asgi import Receive, Scope, Send
from serving.variants import ServedModels
from tests.serving.conversation import QA, get, middleware, post
from tests.serving.upstream import Upstream
from tests.support import artifacts
from tests.support.bodies import chat_body


def test_the_access_log_holds_no_inputs(served: ServedModels, access_log: Path) -> None:
    post(middleware(served, Upstream(), access_log), chat_body("qa_raw-prompt", QA, temperature=2, user="secret"))
    post(middleware(served, Upstream(), access_log), chat_body("qa_raw-prompt", QA))
    refused, answered = (json.loads(line) for line in access_log.read_text().splitlines())
    assert (refused["status"], refused["error"], refused["model"]) == (400, "invalid", "qa_raw-prompt")
    assert (answered["status"], answered["completion_tokens"], answered["ms"] > 0) == (200, 3, True)
    assert "1891" not in access_log.read_text() and "secret" not in access_log.read_text()
    assert access_log.stat().st_mode & 0o077 == 0


def test_a_reply_that_never_comes_is_counted(served: ServedModels, access_log: Path) -> None:
    class Broken(Upstream):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("a bug of the engine's")

    with pytest.raises(RuntimeError):
        post(middleware(served, Broken(), access_log), chat_body("qa_raw-prompt", QA))
    assert json.loads(access_log.read_text())["error"] == "engine"


def test_logged_inputs_are_rows_of_the_recipe(served: ServedModels, access_log: Path, tmp_path: Path) -> None:
    log = tmp_path / "inputs.jsonl"
    app = middleware(served, Upstream(), access_log, log_inputs=str(log))
    post(app, chat_body("qa_raw-prompt", QA))
    post(app, chat_body("qa_raw-prompt", {"context": "?"}))
    (row,) = read_jsonl(log)
    recipe = Recipe(signature=artifacts.AnswerFromContext, examples=[row], metric=lambda example, prediction: 1.0)
    prompt = artifacts.qa_prompt("raw")
    assert to_example(row, 1, recipe, prompt.inputs, prompt.outputs).inputs == QA


def test_a_full_disk_fails_no_request(served: ServedModels, capsys: pytest.CaptureFixture[str]) -> None:
    app = middleware(served, Upstream(), Path("/dev/full"))
    assert [post(app, chat_body("qa_raw-prompt", QA)).status_code for _ in range(2)] == [200, 200]
    assert capsys.readouterr().err.count("cannot write /dev/full") == 1


def test_metrics_by_variant(served: ServedModels, access_log: Path) -> None:
    app = middleware(served, Upstream(), access_log)
    post(app, chat_body("qa_raw-prompt", QA))
    post(app, chat_body("qa_raw-prompt", QA, tools=[1]))
    post(app, b"{".decode())
    text = get(app, "/metrics", Accept="application/openmetrics-text").text
    assert text.startswith("vllm:num_requests_running 0.0\n")
    for line in (
        'promptstill_requests_total{variant="qa_raw-prompt"} 2.0',
        'promptstill_errors_total{kind="invalid",variant="qa_raw-prompt"} 1.0',
        'promptstill_errors_total{kind="invalid",variant="none"} 1.0',
        'promptstill_prompt_tokens_total{variant="qa_raw-prompt"} 100.0',
        'promptstill_cached_prompt_tokens_total{variant="qa_raw-prompt"} 64.0',
        'promptstill_request_seconds_count{variant="qa_raw-prompt"} 2.0',
        'promptstill_requests_total{variant="feel-prompt"} 0.0',
    ):
        assert line in text
