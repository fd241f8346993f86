"""What needs an optional part of the installation says so."""

from __future__ import annotations

import pytest

from promptstill.errors import UserError
from promptstill.extras import require


def test_a_missing_part_is_one_sentence_with_the_command() -> None:
    require("This", ("distill",), "json")
    with pytest.raises(UserError) as caught:
        require("A model on this machine", ("local", "cuda"), "json", "no_such_module")
    assert str(caught.value) == (
        "A model on this machine needs no_such_module, which is not installed.\n"
        'pip install "promptstill[local]" or pip install "promptstill[cuda]", or run `make optimize`.'
    )
