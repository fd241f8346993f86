"""`--vllm-args`: how it is read, and what is refused."""

from __future__ import annotations

import pytest

from promptstill.engine.arguments import recorded_arguments, split_arguments, value_of
from promptstill.errors import UserError


def test_arguments_are_read_as_a_shell_reads_them() -> None:
    text = "--max-num-seqs 16 --hf-overrides '{\"a\": 1}' --max_model_len=99"
    words = split_arguments(text)
    assert words == ("--max-num-seqs", "16", "--hf-overrides", '{"a": 1}', "--max_model_len=99")
    assert value_of(words, "--max-num-seqs") == "16" and value_of(words, "--max-model-len") == "99"
    assert value_of(words, "--seed") is None
    assert value_of(("-tp", "2", "--tensor-parallel-size", "4"), "--tensor-parallel-size", "-tp") == "4"
    assert split_arguments("") == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("--port 8000", "--port"),
        ("--served_model_name=other", "--served-model-name"),
        ("--max-num-seqs 16 --generation-config auto", "--generation-config"),
        ("--served-mod other", "--served-model-name"),
        ("-asc 4", "-asc"),
        ("--config mine.yaml", "--config"),
        ("--no-trust-request-chat-template", "--no-trust-request-chat-template"),
    ],
)
def test_what_our_own_code_sets_is_refused_by_name(text: str, name: str) -> None:
    with pytest.raises(UserError) as caught:
        split_arguments(text)
    assert caught.value.what == f"{name} in --vllm-args is refused." and caught.value.why


@pytest.mark.parametrize("text", ["--api-key sesame", "--seed 3 --api_key=sesame", "--api-k sesame"])
def test_a_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UserError, match="A key in --vllm-args is refused") as caught:
        split_arguments(text)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(("text", "what"), [("--seed '3", "cannot be read"), ("acme/other --seed 3", "no option")])
def test_what_is_no_list_of_options_is_refused(text: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        split_arguments(text)


@pytest.mark.parametrize("text", ["--model-impl vllm", "-dp 2 --max-num-seqs 16 --seed -1", "--middleware mine.App"])
def test_other_options_are_vllms_matter(text: str) -> None:
    assert split_arguments(text)


def test_a_file_may_ask_for_sizes_but_not_for_code() -> None:
    sizes = "--max-num-seqs 16 --dtype=bfloat16 --enforce-eager -tp 2"
    assert recorded_arguments(sizes, "best.json") == sizes
    for text in ("--middleware evil.App", "--trust-remote-code", "--dtype /etc/passwd", "--dtype=$(id)"):
        with pytest.raises(UserError) as caught:
            recorded_arguments(text, "best.json")
        assert caught.value.what.startswith("best.json was made with") and "--vllm-args" in caught.value.do
