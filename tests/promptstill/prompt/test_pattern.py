"""Patterns that read a reply: they find what `re` finds, and take a bounded number of steps."""

from __future__ import annotations

import random
import re

import pytest

from promptstill.prompt.pattern import MAX_TEXT, compile_pattern

PATTERNS = [
    *(r"Label: (\w+)", r"<a>(.*?)</a>", r"#+\s*(-?[\d,]+)", r'"b":\s*"([^"]+)"', r"(?i)ANSWER:\s*(.+)"),
    *(r"(?P<b>\w+)\n(?P<a>\d)", r"(a|ab)(c|bcd)(d*)", r"(?:a|b)*?c{2,3}(d)?", r"\b(\w+)\b$", r"(?m)^(\w+):"),
    *(
        r"(x+x+)+y",
        r"(a?){1}b",
        r"(?:a{2}){2}",
        r"^(ab|a)(bc)?$",
        r"a{,2}(b)",
        r"(a|b){2,3}c",
        r"[]a](.)",
        r"(?s)a(.+)b",
    ),
    *(r"\A(.)\B", r"a??(b|)\Z", r"[^a-c](d)", r"\.(\s)"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_it_finds_is_what_re_finds(pattern: str) -> None:
    compiled, rng = compile_pattern(pattern), random.Random(0)
    texts = ["".join(rng.choices('abcd x\n:<>/"1.', k=rng.randrange(14))) for _ in range(600)]
    texts += ["Label: red", "<a>1</a></a>", "## 1,200", '{"b": "x"}', "Answer: yes\nno", "red\n3", "xxxxxy", "aaaa"]
    for text in texts:
        match = re.search(pattern, text)
        assert compiled.search(text) == (list(match.groups()) if match else None), text


def test_names_are_of_the_groups_in_order() -> None:
    assert compile_pattern(r"(?P<team>\w+) (?:x|(\d))").names == ("team", None)


@pytest.mark.parametrize("pattern", [r"(x+x+)+y", r"(x*)*y", r"(x|x)*y", r"(?:x?){80}y"])
def test_what_takes_re_exponential_time_ends(pattern: str) -> None:
    assert compile_pattern(pattern).search("x" * 400) is None


def test_a_longer_text_fits_no_pattern() -> None:
    assert compile_pattern("(x)").search("x" * MAX_TEXT) == ["x"]
    assert compile_pattern("(x)").search("x" * (MAX_TEXT + 1)) is None


@pytest.mark.parametrize(
    "pattern",
    [r"(a)\1", "(?=a)", "(?<!a)b", "(?P<x>a)(?P=x)", "a*+", "(?>a)", "(", r"\p{L}", "(?i:a)", "a{1000}", "x" * 201,
     "a{5,2}", "(?:a{20}){20}", "a{99999999999999}", "(?#x)a"],
)  # fmt: skip
def test_other_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="it "):
        compile_pattern(pattern)
