"""What is found out about an endpoint before the search."""

from __future__ import annotations

from pathlib import Path

import dspy
import pytest

from promptstill.errors import InfrastructureError, UserError
from promptstill.prompt.layouts import LAYOUTS
from promptstill.prompt.layouts.task import Task
from promptstill.scoring.probe import Abilities, probe_layouts
from promptstill.task.examples import Example
from tests.support.client import run_with_client
from tests.support.fake import MARKUP, Body, FakeEndpoint

ROW = Example("1", "row 1", {"word": "one"}, {"code": "c1"}, {"word": "one", "code": "c1"}, "1")


class Code(dspy.Signature):
    """Say the code of the word."""

    word: str = dspy.InputField()
    code: str = dspy.OutputField()


def probe(fake: FakeEndpoint, folder: Path) -> Abilities:
    with fake:
        return run_with_client(fake, folder, lambda client: probe_layouts(Task(Code, "fake", 16), (), ROW, client))


def test_an_endpoint_that_obeys_the_chat_template_has_every_layout(tmp_path: Path) -> None:
    assert probe(FakeEndpoint(), tmp_path).layouts == tuple(LAYOUTS)


def test_an_endpoint_that_ignores_the_chat_template_has_no_raw_layout(tmp_path: Path) -> None:
    class Deaf(FakeEndpoint):
        def markup(self, body: Body) -> int:
            return MARKUP

    abilities = probe(Deaf(), tmp_path)
    assert abilities.refused == {"raw": "the endpoint ignores chat_template"}
    assert abilities.layouts == tuple(layout for layout in LAYOUTS if layout != "raw")


def test_an_endpoint_that_refuses_every_layout_stops_the_run(tmp_path: Path) -> None:
    fake = FakeEndpoint()
    fake.misbehave = lambda number: 400
    with pytest.raises(InfrastructureError, match="The endpoint refuses every layout") as caught:
        probe(fake, tmp_path)
    assert all(f"{layout}: " in caught.value.why for layout in LAYOUTS)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("This model's maximum context length is 64 tokens. However, you requested 90", "too small for one row"),
        ("the request exceeds the available context size (64 tokens)", "too small for one row"),
        ("prompt is too long: 213 tokens > 64 maximum", "too small for one row"),
        ("default chat template is no longer allowed, so you must provide a chat template", "no chat template"),
    ],
)
def test_what_the_refusals_have_in_common_is_said(message: str, said: str, tmp_path: Path) -> None:
    fake = FakeEndpoint()
    fake.misbehave, fake.failure = (lambda number: 400), ({"message": message}, {})
    with pytest.raises(UserError, match=said) as caught:
        probe(fake, tmp_path)
    assert message in caught.value.why


def test_a_model_that_is_not_for_chats_is_said_so(tmp_path: Path) -> None:
    fake = FakeEndpoint()
    fake.misbehave = lambda number: 404
    fake.failure = (
        {"message": "This is not a chat model and thus not supported in the v1/chat/completions endpoint."},
        {},
    )
    with pytest.raises(UserError, match="not one to chat with"):
        probe(fake, tmp_path)


def test_this_machine_is_asked_past_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert probe(FakeEndpoint(), tmp_path).layouts == tuple(LAYOUTS)
