"""The speed parts name files, modules and data that are there; their measurements need an engine."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import prompts
from benchmarks.speed import client, middleware, training


@pytest.mark.parametrize("path", [client.DATA, training.QA, prompts.RECIPE])
def test_the_data_is_there(path: Path) -> None:
    assert path.is_file()


def test_the_middleware_of_the_measured_server_can_be_loaded() -> None:
    module, _, name = middleware.STRAIGHT.rpartition(".")
    assert inspect.isclass(getattr(import_module(module), name))


def test_no_two_rounds_of_chats_have_a_text_in_common() -> None:
    first, second = ({json.dumps(one) for one in messages} for messages in client.chats(20, 2))
    assert len(first) == 20 and not first & second
