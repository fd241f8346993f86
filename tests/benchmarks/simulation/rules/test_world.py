"""A world of rules is what its parameters say: who holds a rule, what that is worth, and that nothing of it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.simulation.rules import worlds
from benchmarks.simulation.rules.world import HELD_OUT_FROM, LABEL, Question, RulesWorld, request_texts
from benchmarks.simulation.rules.worlds import GUESS, LABELS, NEEDS, SLIP, WORLDS
from promptstill.files import digest

SPEC = WORLDS[9]
EVERY = frozenset(range(SPEC.rules))


@pytest.fixture(scope="module")
def world() -> RulesWorld:
    return RulesWorld(SPEC)


def test_the_worlds_are_the_ones_that_were_committed() -> None:
    """Whoever changes a parameter measures in other worlds; a new world goes to the end of the table."""
    numbers = (NEEDS, worlds.SPREAD, worlds.CLASH, SLIP, GUESS, worlds.TRAIN, worlds.DEV, worlds.HELD_OUT)
    parameters = [[vars(spec) for spec in WORLDS[:20]], {name: vars(one) for name, one in worlds.SKILLS.items()}]
    words = [LABELS, worlds.CUES, worlds.ACTIONS, worlds.FILLER]
    assert digest([*parameters, numbers, words])[:16] == "cedb43a6b38c2539"
    assert digest([[vars(row) | {"spoiled_by": sorted(row.spoiled_by)} for row in RulesWorld(one).rows(0, 50)]
                   for one in WORLDS[:20]])[:16] == "65ec5058e5044b24"  # fmt: skip


def test_the_worlds_differ_in_what_they_are_to_differ_in() -> None:
    assert len({spec.seed for spec in WORLDS}) == len(WORLDS) == 20
    assert {spec.rules for spec in WORLDS} >= {5, 40} and all(5 <= spec.rules <= 40 for spec in WORLDS)
    assert set(worlds.FILLER).isdisjoint({*worlds.CUES, *LABELS}) and set(worlds.CUES).isdisjoint(LABELS)
    assert not any(LABEL.search(action) for action in worlds.ACTIONS)


def test_a_rule_is_held_in_whatever_case_and_spacing_it_stands(world: RulesWorld) -> None:
    first, second = world.rules[:2]
    assert world.held_rules(f"Sort.\n- {first.upper()}\n") == {0}
    assert world.held_rules(f"Sort. {first.replace(' ', '  ')}{second}") == {0, 1}
    assert world.held_rules(f'{{"instruction": "Sort.\\n{second}"}}') == {1}, "as JSON escapes a line break"
    assert world.held_rules(first.replace("note", "letter")) == frozenset()


def test_a_demo_teaches_only_with_its_right_answer(world: RulesWorld) -> None:
    row = next(row for row in world.train if world.taught_rules(row))
    wrong = LABELS[LABELS.index(row.label) - 1]
    assert world.held_rules(f"Sort.\n{row.text}\nLabel: {row.label}\n") == set(world.taught_rules(row))
    assert world.held_rules(f"Sort.\n{row.text}\nLabel: {wrong}, not {row.label}\n") == frozenset()
    share = sum(len(world.taught_rules(row)) for row in world.held_out) / sum(len(row.needs) for row in world.held_out)
    assert share == pytest.approx(SPEC.teaches, abs=0.04)


def test_the_truth_is_how_often_the_model_answers_right(world: RulesWorld) -> None:
    for prompt in ("Sort.", " ".join(world.rules), " ".join(world.rules[:5])):
        texts = request_texts(world, (prompt + "\n{}\nLabel:").format)
        asked = [world.question(text) for text in texts]
        right = sum(world.answer(one) == one.row.label for one in asked if one) / len(asked)
        assert right == pytest.approx(world.truth(texts), abs=0.05)
        assert world.truth(texts) == world.truth_of(world.held_rules(prompt))
    assert world.truth_of(frozenset()) < 0.35 < world.truth_of(EVERY) < world.best() <= 1 - SLIP


def test_a_row_is_answered_by_what_it_needs_and_what_spoils_it(world: RulesWorld) -> None:
    row = next(row for row in world.held_out if len(row.needs) == 2 and row.spoiled_by)
    pair = world.clashes[min(row.spoiled_by)]
    needed = frozenset(row.needs) - {pair[0]} or frozenset(row.needs)
    clean = replace(row, spoiled_by=frozenset())
    assert world.chance(clean, EVERY) == 1 - SLIP and world.chance(clean, frozenset(row.needs[:1])) == GUESS
    assert world.chance(row, EVERY) == GUESS and world.chance(row, needed | set(row.needs)) >= GUESS


def test_feedback_names_the_missing_rule_as_often_as_the_world_says(world: RulesWorld) -> None:
    rows = [row for row in world.held_out if row.needs]
    said = [world.feedback(row.number, world.wrong_label(row, frozenset())) for row in rows]
    named = [world.rules[row.needs[0]] in text for row, text in zip(rows, said, strict=True)]
    assert sum(named) / len(rows) == pytest.approx(SPEC.names, abs=0.05)
    assert all(row.label in text for row, text in zip(rows, said, strict=True))
    easy = next(row for row in world.held_out if not row.needs)
    assert not world.stated_rules(world.feedback(easy.number, world.wrong_label(easy, EVERY))), "nothing was missing"
    assert world.feedback(easy.number, "cheese") == f"The right label is {easy.label}."


def test_a_world_is_the_same_whenever_it_is_made(world: RulesWorld) -> None:
    again = RulesWorld(SPEC)
    row = again.row(HELD_OUT_FROM)
    assert row == world.row(HELD_OUT_FROM) and again.rules == world.rules and again.clashes == world.clashes
    question = Question("Sort.", row)
    samples = [world.answer(question, draw) for draw in range(20)]
    assert samples == [again.answer(question, draw) for draw in range(20)] and len(set(samples)) > 1
    assert RulesWorld(WORLDS[10]).rules != world.rules


def test_rows_with_cues_share_words_with_rows_that_need_the_same_rule() -> None:
    cued, blind = RulesWorld(WORLDS[12]), RulesWorld(WORLDS[11])
    assert (cued.spec.cued, blind.spec.cued) == (1.0, 0.0)
    assert all(cued.cues[rule] in row.text for row in cued.train for rule in row.needs)
    assert not any(cue in row.text.split() for row in blind.train for cue in blind.cues)
