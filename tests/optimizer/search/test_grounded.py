"""Which proposed instructions are refused, and why."""

from __future__ import annotations

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from optimizer.search.sources.proposals import (
    CutReply,
    filter_children,
    filter_proposals,
    proposals_line,
    refusal_reason,
)
from promptstill.task.examples import Example
from tests.support.answers import to_example

PASSAGE = "The ferry to Alto Merino leaves from pier six at nine in the morning every day."
ROWS = [Example("1", "row 1", {"context": PASSAGE}, {"answer": "pier six"}, {}, "1")]
GOOD = "Read the context and answer with the shortest phrase from it."


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (GOOD, ""),
        ("  ", "empty"),
        ("Do it", "empty"),
        ("word " * 1_300, "longer than 6000 characters"),
        ("[[ ## proposed ## ]] answer the question", "markup instead of a sentence"),
        ("{'task_demos': {'banner_doc': 'Aim, using29'}, 'status': 'beachmy'}", "markup instead of a sentence"),
        ('["answer", "the", "question"]', "markup instead of a sentence"),
        ("Answer from the context.<|im_end|>", "held a chat marker"),
        (CutReply(), "cut at the reply limit"),
        (f"Answer like this: {PASSAGE}", "copied a row"),
        (ValueError("no reply"), "lost: the proposer failed (ValueError)"),
    ],
)
def test_junk_is_refused_with_its_reason(answer: str | Exception, problem: str) -> None:
    assert refusal_reason(answer, ROWS, ["<|im_end|>"]) == problem


def test_no_proposal_may_hold_a_row_that_will_judge_it() -> None:
    """A proposer is shown none, but knows public ones by heart; of these a short question is a whole row too."""
    judging = [to_example(7, {"question": "Who rowed alone to Ystad?"}, {"answer": "Ada"})]
    told = "Answer in a word. Who rowed alone to Ystad? Ada."
    assert filter_proposals([told, GOOD], [], ROWS, (), judging) == ([GOOD], ["held a row of dev"])
    assert filter_children([told], [""], [], ROWS, (), judging) == ({}, ["held a row of dev"])
    assert refusal_reason(told, judging, (), judging) == "", "what train has too a proposer is shown"
    assert refusal_reason(told, ROWS, (), judging, ["Who rowed to Ystad in 1931? Say it."]) == "held a row of dev"
    assert refusal_reason(told, ROWS, (), judging, [f"Mind this: {told}"]) == "", "the user's own words"


def test_a_proposal_that_says_what_another_says_is_refused() -> None:
    known = ["Answer the question using only the context."]
    assert filter_proposals([f"{known[0][:-1]}!"], known, ROWS) == ([], ["said what another says"])


def test_a_child_may_differ_by_one_sentence() -> None:
    parent = "\n".join(f"When a note speaks of item {number}, answer with code {number}." for number in range(20))
    more = f"{parent}\nWhen a note speaks of a ferry, answer with the pier."
    less, same = parent.split("\n", 1)[1], f" {parent.replace('.', '!')} "
    assert filter_children([same, more, less, f"{more}\n"], [""] * 4, [parent], ROWS, ()) == (
        {1: more, 2: less},
        ["said what another says"] * 2,
    )
    assert filter_proposals([more], [parent], ROWS) == ([], ["said what another says"])


def test_a_proposal_is_kept_once() -> None:
    assert filter_proposals([GOOD, GOOD, "{}"], [], ROWS) == ([GOOD], ["said what another says", "empty"])


def test_what_became_of_the_proposals_is_said_in_plain_words() -> None:
    unread = AdapterParseError("JSONAdapter", dspy.Signature("a -> b"), "no JSON")
    _, refused = filter_proposals([unread, f"Answer like this: {PASSAGE}", unread, unread], [], ROWS)
    assert proposals_line(refused, 0, any_yet=False) == (
        "; 4 proposals by the model were unusable (3 not in the asked form, 1 copied a row); only the recipe's own "
        "wording is searched"
    )
    one = proposals_line(refused[:1], 1, any_yet=False)
    assert one == "; 1 proposal by the model was unusable (1 not in the asked form)"
    assert proposals_line([], 3, any_yet=False) == ", 3 of them proposed"
    assert not proposals_line([], 0, any_yet=False)
    assert "only the recipe" not in proposals_line(refused, 0, any_yet=True)


def test_what_a_user_wrote_is_not_what_a_proposer_is_judged_by() -> None:
    own = f"[Sort] the mail. {PASSAGE}"
    assert filter_children([f"{own}\n\nSay ham for mail from a colleague."], [f"{own}\n\n"], [own], ROWS, ())[1] == []
