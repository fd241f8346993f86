"""What is read of replies that no layout's own reader reads, and what stays unread."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from promptstill.errors import ReplyError
from promptstill.prompt.decoding import Decoding
from promptstill.prompt.fields import Field, as_text
from promptstill.prompt.prompt import Prompt
from promptstill.prompt.reply import READERS, ReplyFormat
from promptstill.prompt.tolerant.read import MOST_CHARACTERS, read_tolerantly
from promptstill.prompt.tolerant.values import Undecided
from tests.promptstill.prompt.tolerant.corpus import CASES, DESK, MOOD, NOTHING, Person

TEXT = Field(name="text", type={"type": "string"})
LAYERS = ["{}", "**{}**", "`{}`", '"{}"', "“{}”", "{}.", "  {}\n"]
MARKS = ["**Label:** {}", "**Label**: {}", "- label: {}", "LABEL: {}", "### Label\n{}", "Answer: {}", "Label - {}"]


def field(name: str, kind: Any) -> Field:
    return Field(name=name, type=TypeAdapter(kind).json_schema())


def prompt_for(style: Any, *outputs: Field, **form: Any) -> Prompt:
    return Prompt(
        layout="chat",
        model="m",
        instruction="",
        inputs=[TEXT],
        outputs=list(outputs),
        fixed=[],
        user="{text}",
        reply=ReplyFormat(style=style, **form),
        decoding=Decoding(max_tokens=9),
    )


def expected(value: Any) -> Any:
    """The value that a case of the corpus means."""
    return None if value is NOTHING else value


@pytest.mark.parametrize(("kind", "reply", "value"), CASES)
def test_the_corpus(kind: Any, reply: str, value: Any) -> None:
    output = field("label", kind)
    if value is None:
        with pytest.raises(ReplyError):
            prompt_for("text", output).parse(reply)
        return
    for style in READERS:  # the reader of a style may read it too
        assert prompt_for(style, output).parse(reply) == {"label": expected(value)}, style


def test_the_corpus_is_large_and_most_of_it_is_beyond_the_exact_reader() -> None:
    exact = 0
    for kind, reply, value in CASES:
        output = field("label", kind)
        try:
            read = output.accept(ReplyFormat(style="text").read([output], reply)["label"])
        except ReplyError:
            continue
        exact += 1
        assert read == expected(value)
    assert len(CASES) >= 100 and exact < len(CASES) / 5


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("it is positive, not negative", "names both 'positive' and 'negative', which is undecided"),
        ("Label: positive\nLabel: negative", "names both 'positive' and 'negative', which is undecided"),
        ("sad", "'sad' is none of positive, negative, mixed"),
        ("   ", "the reply is empty"),
    ],
)
def test_the_reason_says_whether_nothing_was_named_or_two(reply: str, reason: str) -> None:
    with pytest.raises(ReplyError, match=reason):
        prompt_for("text", field("label", MOOD)).parse(reply)


SEVERAL = [field("note", str), field("label", DESK), field("due_date", int | None), field("tags", list[str])]
VALUES = {"note": 'It says "now".', "label": "billing dispute", "due_date": 3, "tags": ["a", "b"]}


@pytest.mark.parametrize(
    "reply",
    [
        '**Note:** It says "now".\n**Label:** billing dispute\n**Due date:** 3\n**Tags:** ["a", "b"]',
        '- note: It says "now".\n- label: `Billing dispute`\n- due_date: "3".\n- tags: [\n  "a",\n  "b"\n]',
        '## Note\nIt says "now".\n\n## Label\nbilling dispute\n\n## Due Date\n3\n\n## Tags\n```json\n["a", "b"]\n```\n',
        'Here:\n```\nnote: It says "now".\nlabel: billing dispute\ndue date: 3\ntags: ["a", "b"]\n```\nDone.',
        'So: {\n"Note": "It says \\"now\\".",\n"Label": "billing dispute",\n"dueDate": 3,\n"tags": ["a", "b"]\n}',
        'tags: ["a", "b"]\ndue-date: 3\nlabel: billing dispute\n\nbecause of the money\nnote: It says "now".\n',
    ],
)
def test_several_outputs_are_read_by_their_labels_or_keys(reply: str) -> None:
    for style in ("labels", "markers", "json"):
        assert prompt_for(style, *SEVERAL).parse(reply) == VALUES, style


@pytest.mark.parametrize(
    "reply",
    [
        '**Note:** x\n**Label:** billing\n**Tags:** ["a"]',  # no due date
        '**Note:** x\n**Note:** y\n**Label:** billing\n**Due date:** 3\n**Tags:** ["a"]',
        '**Note:** x\n**Label:** billing or other\n**Due date:** 3\n**Tags:** ["a"]',
        'x\nbilling\n3\n["a"]',
    ],
)
def test_several_outputs_are_not_read_where_one_is_missing_or_given_twice(reply: str) -> None:
    for style in ("labels", "markers", "json"):
        with pytest.raises(ReplyError):
            prompt_for(style, *SEVERAL).parse(reply)


def test_free_text_stays_as_it_is() -> None:
    for reply in ('"Paris"', "**Answer:** Paris", "```\nParis\n```", "The answer is Paris."):
        assert prompt_for("text", field("answer", str)).parse(reply) == {"answer": reply}
        assert prompt_for("text", field("answer", str | None)).parse(reply) == {"answer": reply}
    labelled = prompt_for("markers", field("answer", str))
    assert labelled.parse('**Answer:** "Paris"\n') == {"answer": '"Paris"'}
    with pytest.raises(ReplyError, match="has no answer"):
        labelled.parse("Paris")


def test_the_answer_is_the_output_beside_the_reasoning_but_never_an_input() -> None:
    outputs = [field("reasoning", str), field("label", MOOD)]
    reply = "**Reasoning:** All are glad.\n\n**Answer:** positive"
    assert prompt_for("labels", *outputs).parse(reply) == {"reasoning": "All are glad.", "label": "positive"}
    graded = prompt_for("labels", *outputs).model_copy(update={"inputs": [field("answer", str)]})
    with pytest.raises(ReplyError, match="has no reasoning and no label"):
        graded.parse(reply)


@pytest.mark.parametrize("name", ["_", "te_xt"])  # of no letters, and of those of an input
def test_an_output_without_a_name_of_its_own_is_read_as_it_stands_alone(name: str) -> None:
    prompt = prompt_for("text", field(name, MOOD))
    assert prompt.parse("`positive`") == {name: "positive"}
    for reply in (": positive", "Text: positive", " - positive", "The is positive.", " is positive"):
        with pytest.raises(ReplyError):
            prompt.parse(reply)


def test_where_the_user_says_how_to_read_only_what_stands_around_a_value_is_forgiven() -> None:
    by_pattern = prompt_for("pattern", field("label", MOOD), pattern="<(.*)>")
    assert by_pattern.parse("<“positive”.>") == {"label": "positive"}
    by_path = prompt_for("path", field("label", MOOD), paths={"label": "$.a"})
    assert by_path.parse('{"a": "**positive**"}') == {"label": "positive"}
    for one, reply in ((by_pattern, "Label: positive"), (by_path, "Label: positive"), (by_path, '{"label": "mixed"}')):
        with pytest.raises(ReplyError, match=r"pattern does not match|no JSON object|has no label"):
            one.parse(reply)


def exactly(prompt: Prompt, reply: str) -> dict[str, Any]:
    """What the style's own reader reads."""
    found = prompt.reply.read(prompt.outputs, reply)
    return {one.name: one.accept(found[one.name]) for one in prompt.outputs}


PIECES = ["Label:", "label", "**", "```", "\n", " ", "Answer: ", '"', "`", "[[ ## label ## ]]\n", '{"label": "mixed"}']
PIECES += ["positive", "negative", "The label is ", "mixed", ".", "Note: ", "a", "[", "]", "1", "2026-04-17", "True"]
replies = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
kinds = st.sampled_from([MOOD, bool, int, float, list[str], str, int | None, MOOD | None, Person, Literal["a", "A"]])


@settings(max_examples=400, deadline=None)
@given(style=st.sampled_from(list(READERS)), kind=kinds, reply=replies)
def test_what_the_exact_reader_reads_is_what_it_comes_to(style: str, kind: Any, reply: str) -> None:
    prompt = prompt_for(style, field("label", kind))
    try:
        value = exactly(prompt, reply)
    except (ReplyError, KeyError):
        return
    if reply.strip():
        assert prompt.parse(reply) == value


values = st.one_of(
    st.tuples(st.just(DESK), st.sampled_from(["billing", "billing dispute", "Account access", "other"])),
    st.tuples(st.just(bool), st.booleans()),
    st.tuples(st.just(int), st.integers(-(10**12), 10**12)),
    st.tuples(st.just(list[str]), st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1)),
    st.tuples(st.just(int | None), st.none() | st.integers(0, 99)),
)


@settings(max_examples=300, deadline=None)
@given(
    typed=values,
    layers=st.lists(st.sampled_from(LAYERS), max_size=2),
    mark=st.sampled_from(["{}", *MARKS]),
    fence=st.booleans(),
)
def test_a_value_is_the_same_however_it_is_written(
    typed: tuple[Any, Any], layers: list[str], mark: str, fence: bool
) -> None:
    kind, value = typed
    text = as_text(value)
    for layer in layers:
        text = layer.replace("{}", text)
    reply = f"```\n{mark.replace('{}', text)}\n```" if fence else mark.replace("{}", text)
    if "\n" in text and mark == "Label - {}":
        return  # a dash has its value in its own line
    assert prompt_for("text", field("label", kind)).parse(reply) == {"label": value}


unmarked = [
    "The label is ",
    "the answer is ",
    "not ",
    "or ",
    "```\n",
    "\n",
    "\n\n",
    ", ",
    ". ",
    "**",
    '"',
    "(",
    ")",
    "- ",
]
unmarked += ["positive", "negative", "Positive", "mixed", "billing", "because ", "label ", "It is ", "", "？", "！"]


DASHED = re.compile(r"^\W*label\W+- ", re.MULTILINE)  # at a line's beginning it is a mark


@settings(max_examples=400, deadline=None)
@given(
    before=st.lists(st.sampled_from(unmarked), max_size=5),
    between=st.lists(st.sampled_from(unmarked), min_size=1, max_size=4),
    after=st.lists(st.sampled_from(unmarked), max_size=5),
    pair=st.permutations(["positive", "negative", "mixed"]),
)
def test_of_two_labels_without_a_mark_none_is_read(
    before: list[str], between: list[str], after: list[str], pair: list[str]
) -> None:
    reply = "".join([*before, pair[0], " ", *between, " ", pair[1], *after])
    assume(not DASHED.search(reply))
    prompt = prompt_for("text", field("label", MOOD))
    with pytest.raises(Undecided):
        prompt.parse(reply)
    marked = f"{reply}\n\nLabel: {pair[0]}\nnot {pair[1]}"
    first = reply.strip().partition("\n")[0].strip('*"`. ').casefold()
    if first not in ("positive", "negative", "mixed") and "```" not in reply:
        assert prompt.parse(marked) == {"label": pair[0]}


@pytest.mark.parametrize(
    "piece", ["Label: a\n", "```x\n", "The label is ", "{", '"label": [', "**", "positive ", "1 ", "> "]
)
def test_a_very_long_reply_is_read_in_time_and_a_longer_one_is_not_read(piece: str) -> None:
    reply = piece * (MOST_CHARACTERS // len(piece) // 4)
    for kind in (MOOD, int, list[str], Literal["a", "b"]):
        assert len(str(outcome(prompt_for("text", field("label", kind)), reply))) < 500
    output = field("label", MOOD)
    assert read_tolerantly(ReplyFormat(style="text"), [], [output], "`positive`" + " " * MOST_CHARACTERS) is None


def outcome(prompt: Prompt, reply: str) -> dict[str, Any] | ReplyError:
    try:
        return prompt.parse(reply)
    except ReplyError as error:
        return error
