"""`serving.serve` with the real engine, from a notebook's running event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import openai
import psutil
import pytest

from promptstill.engine.models import Model
from serving import ServeSettings, serve
from tests.support import artifacts
from tests.support.server import QA

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_notebook_serves_the_embedded_model(tmp_path: Path, embedded: Model) -> None:
    best = artifacts.write_best(tmp_path / "best.json", "qa", artifacts.qa_prompt("raw"), embedded.sha256)

    async def notebook() -> list[psutil.Process]:
        before = set(psutil.Process().children(recursive=True))
        with serve(ServeSettings(artifacts=(best,), port=0), runs=tmp_path / "runs") as server:
            own = [one for one in psutil.Process().children(recursive=True) if one not in before]
            assert server.models == ("qa-prompt", "smollm2-135m")
            with server.client() as client:
                typed = client.ask("qa-prompt", **QA)
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as others:
                reply = await others.completions.create(model="smollm2-135m", prompt="The capital of France is")
            assert isinstance(typed["answer"], str) and reply.choices[0].text
        return own

    processes = asyncio.run(notebook())
    assert len(processes) >= 3 and not any(process.is_running() for process in processes)
