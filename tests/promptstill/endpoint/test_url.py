"""Which URLs lead to this machine, and a model named together with its URL."""

from __future__ import annotations

import pytest

from promptstill.endpoint.url import on_this_machine, split_model


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


def test_a_model_and_its_url_are_split_at_the_last_at_http() -> None:
    assert split_model("a@b/c@http://h:1/v1") == ("a@b/c", "http://h:1/v1")
    assert split_model("m@https://u@h/v1") == ("m", "https://u@h/v1")
    assert split_model("team@httpish") == ("team@httpish", None) and split_model("smollm2") == ("smollm2", None)
