"""What is found out about an endpoint before the search, and how it is reached."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import dspy
import pytest

from optimizer.addresses import on_this_machine
from optimizer.budget import Budget, Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.errors import UserError
from optimizer.examples import Example
from optimizer.layouts import LAYOUTS, Task
from optimizer.probe import Abilities, probe
from optimizer.prompt import read_best
from tests.fake import Body, FakeEndpoint

ROW = Example("1", "row 1", {"word": "one"}, {"code": "c1"}, {"word": "one", "code": "c1"}, "1")


class Code(dspy.Signature):
    """Say the code of the word."""

    word: str = dspy.InputField()
    code: str = dspy.OutputField()


def probed(fake: FakeEndpoint, folder: Path) -> Abilities:
    async def ask() -> Abilities:
        with closing(SqliteCalls(folder / "calls.db")) as store:
            async with Client(Endpoint(fake.base_url, "fake"), store, Meter(Budget(), {})) as client:
                return await probe(Task(Code, "fake", 16), LAYOUTS, ROW, client)

    with fake:
        return asyncio.run(ask())


def test_an_endpoint_that_obeys_the_chat_template_has_every_layout(tmp_path: Path) -> None:
    assert probed(FakeEndpoint(), tmp_path).layouts == LAYOUTS


def test_an_endpoint_that_ignores_the_chat_template_has_no_raw_layout(tmp_path: Path) -> None:
    class Deaf(FakeEndpoint):
        def markup(self, body: Body) -> int:
            return 12

    able = probed(Deaf(), tmp_path)
    assert able.refused == {"raw": "the endpoint ignores chat_template"}
    assert "raw" not in able.layouts and len(able.layouts) == len(LAYOUTS) - 1


def test_this_machine_is_asked_past_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert probed(FakeEndpoint(), tmp_path).layouts == LAYOUTS


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:80", True),
        ("https://api.example.org/v1", False),
        ("http://127.0.0.1.example.org", False),
        ("nonsense", False),
    ],
)
def test_which_urls_lead_to_this_machine(url: str, here: bool) -> None:
    assert on_this_machine(url) is here


def test_a_prompt_without_a_search_is_no_best_json(tmp_path: Path) -> None:
    path = tmp_path / "prompt.json"
    path.write_text('{"schema_version": 1, "prompt": {}}')
    with pytest.raises(UserError, match="is not what optimize wrote"):
        read_best(path)
