"""The endpoint of a world of rules: both models, the forms in which they answer, samples, cuts, and the cap."""

from __future__ import annotations

import json
from typing import Any

import dspy
import httpx
import pytest
from dspy.teleprompt.gepa.instruction_proposal import ProposeInstruction
from dspy.teleprompt.simba_utils import OfferFeedback
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from benchmarks.simulation.rules.endpoint import MODEL, PROPOSER, RulesEndpoint
from benchmarks.simulation.rules.recipe import LabelNote
from benchmarks.simulation.rules.world import RulesWorld
from benchmarks.simulation.rules.worlds import SKILLS, WORLDS, Skill
from tests.support.fake import Body

CERTAIN = Skill(keep=1.0, infer=1.0)
CAP = 100


def endpoint(skill: Skill = CERTAIN) -> RulesEndpoint:
    return RulesEndpoint(RulesWorld(WORLDS[9]), skill, CAP)


def ask(body: Body, skill: Skill = CERTAIN) -> str:
    return endpoint(skill).reply(body)


def to_body(text: str, model: str = PROPOSER, **fields: Any) -> Body:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def request(adapter: dspy.Adapter, signature: Any, inputs: dict[str, Any], model: str = PROPOSER) -> Body:
    return {"model": model, "messages": adapter.format(signature, [], inputs)}


@pytest.fixture(scope="module")
def world() -> RulesWorld:
    return RulesWorld(WORLDS[9])


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()], ids=lambda one: type(one).__name__)
def test_a_row_is_answered_in_the_adapters_own_form(world: RulesWorld, adapter: dspy.Adapter) -> None:
    row = world.dev[0]
    signature = LabelNote.with_instructions(" ".join(world.rules))
    reply = ask(request(adapter, signature, {"text": row.text}, MODEL))
    assert adapter.parse(LabelNote, reply)["label"] in {row.label, world.wrong_label(row, frozenset(range(15)))}


def test_a_row_is_answered_bare_by_choice_and_with_reasoning(world: RulesWorld) -> None:
    row = world.dev[0]
    bare = ask(to_body(row.text, MODEL))
    assert bare == ask(to_body(row.text, MODEL, structured_outputs={"choice": ["amber", bare, "flint"]}))
    assert ask(to_body(row.text, MODEL, structured_outputs={"choice": [f" {bare}"]})) == f" {bare}"
    steps = ask(to_body(f"Reasoning: one or two short sentences.\nText: {row.text}\nReasoning:", MODEL))
    assert not steps.startswith("Reasoning") and steps.count("\nLabel: ") == 1
    assert ask(to_body("Say hello.", MODEL, structured_outputs={"choice": ["promptstill"]})) == "promptstill"


def test_the_proposer_answers_gepa_simba_and_miprov2_in_their_forms(world: RulesWorld) -> None:
    named, kept = world.rules[3], world.rules[7]
    example = {"Inputs": {"text": "x"}, "Generated Outputs": {"label": "y"}, "Feedback": f"Wrong. {named}"}
    inputs = {"current_instruction": f"Sort.\n{kept}", "examples_with_feedback": [example]}
    adapter: dspy.Adapter = dspy.JSONAdapter()
    reply = ask(request(adapter, ProposeInstruction, inputs))
    assert world.stated_rules(adapter.parse(ProposeInstruction, reply)["new_instruction"]) == {3, 7}
    prompt = InstructionProposalSignature.prompt_renderer(
        {"current_instruction_doc": kept, "dataset_with_feedback": [example], "prompt_template": None}
    )
    fenced = InstructionProposalSignature.output_extractor(ask(to_body(str(prompt))))
    assert world.stated_rules(fenced["new_instruction"]) == {3, 7}
    adapter = dspy.ChatAdapter()
    told: dict[str, Any] = {**dict.fromkeys(OfferFeedback.input_fields, kept), "module_names": ["self"]}
    told |= {"worse_reward_value": 0.0, "better_reward_value": 1.0}
    advice = adapter.parse(OfferFeedback, ask(request(adapter, OfferFeedback, told)))["module_advice"]
    assert list(advice) == ["self"] and world.stated_rules(advice["self"]) == {7}


def test_the_proposer_puts_into_words_what_rows_with_their_answer_teach(world: RulesWorld) -> None:
    row = next(row for row in world.train if world.taught_rules(row))
    shown = f"text: {row.text}\nlabel: {row.label}"
    assert world.stated_rules(ask(to_body(shown))) == set(world.taught_rules(row))
    assert world.stated_rules(ask(to_body(f"text: {row.text}"))) == frozenset()


def test_a_proposer_is_as_able_as_its_skill(world: RulesWorld) -> None:
    texts = [f"{number}. {' '.join(world.rules)}" for number in range(100)]
    for skill in SKILLS.values():
        kept = sum(len(world.stated_rules(ask(to_body(text), skill))) for text in texts)
        assert kept / (100 * len(world.rules)) == pytest.approx(skill.keep, abs=0.03)
    junk = {ask(to_body(text), SKILLS["junk"]) for text in texts}
    assert len(junk) > 1 and all(len(text.split()) > 3 for text in junk)


def test_over_http_samples_differ_a_long_reply_is_cut_and_the_cap_holds(world: RulesWorld) -> None:
    row = next(row for row in world.dev if row.needs)
    with endpoint() as served, httpx.Client(trust_env=False) as client:

        def post(body: Body) -> httpx.Response:
            return client.post(f"{served.base_url}/chat/completions", json=body)

        def text(body: Body) -> str:
            return str(post(body).json()["choices"][0]["message"]["content"])

        assert len({text(to_body(row.text, MODEL, temperature=0.0)) for _ in range(20)}) == 1
        assert len({text(to_body(row.text, MODEL, temperature=1.0)) for _ in range(20)}) > 1
        cut = post(to_body(" ".join(world.rules), max_tokens=10)).json()["choices"][0]
        assert cut["finish_reason"] == "length" and len(cut["message"]["content"]) == 40
        assert served.spent == 41
        statuses = [post(to_body(f"row {number}", MODEL)).status_code for number in range(CAP - 41 + 2)]
        assert statuses == [200] * (CAP - 41) + [403] * 2
        assert (served.spent, served.refused) == (CAP, 2)
        assert json.loads(post(to_body("more", MODEL)).text)["error"]["message"].startswith("the cap of 100")
