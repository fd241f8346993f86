"""A world of rules as an OpenAI-compatible endpoint. Its model `rules` answers rows, `proposer` writes instructions.

Every answered call counts, whichever model it is for. Beyond the cap a call is refused with 403, which clients do not
repeat.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from benchmarks.simulation.rules.reply_form import request_text, write_instruction, write_label
from benchmarks.simulation.rules.world import RulesWorld
from benchmarks.simulation.rules.worlds import Skill
from tests.support.fake import Body, FakeEndpoint

MODEL, PROPOSER = "rules", "proposer"
BYTES_PER_TOKEN = 4  # as the fake counts them
OPENINGS = (
    "Give the label of the note.",
    "Read the note with care, then give its label.",
    "You sort notes. Name the one label that fits.",
    "Think about what the note wants, and answer with its label.",
    "Look at the whole note before you choose a label.",
    "Find the label that a careful clerk would give to the note.",
)


class RulesEndpoint(FakeEndpoint):
    """A world with a proposer of some skill, for at most `cap` calls.

    spent: the calls that were answered. refused: those beyond the cap.
    """

    def __init__(self, world: RulesWorld, skill: Skill, cap: int) -> None:
        super().__init__(self.reply, model=MODEL)
        self.world, self.skill, self.cap = world, skill, cap
        self.spent = self.refused = 0

    def refuse(self, body: Body) -> web.Response | None:
        if self.spent >= self.cap:
            self.refused += 1
            error = {"message": f"the cap of {self.cap} calls is reached"}
            return web.json_response({"error": error}, status=403)
        self.spent += 1
        return None

    def reply(self, body: Body) -> str:
        """The model's reply. A sample of a request that was made before is drawn anew."""
        text, draw = request_text(body), self.calls[json.dumps(body, sort_keys=True)] if body.get("temperature") else 0
        if body["model"] == PROPOSER:
            return write_instruction(text, self.propose(text, draw))
        question = self.world.question(text)
        if question is None:  # it is asked what it can do
            choice = (body.get("structured_outputs") or {}).get("choice")
            return str(choice[0]) if choice else "Hello."
        return write_label(body, text, self.world.answer(question, draw))

    def propose(self, text: str, draw: int) -> str:
        """An instruction: some of the rules that the request states, and some that its rows teach."""
        world, skill = self.world, self.skill

        def drawn(what: str, rule: int) -> float:
            return world.uniform(what, text, rule, draw)

        stated = world.stated_rules(text)
        kept = {rule for rule in stated if drawn("keep", rule) < skill.keep}
        rows = [row for row, behind in world.shown_rows(text) if row.label in behind.lower()]
        taught = {rule for row in rows for rule in world.taught_rules(row)} - stated
        kept |= {rule for rule in taught if drawn("infer", rule) < skill.infer}
        opening = OPENINGS[int(len(OPENINGS) * drawn("opening", 0))]
        return "\n".join([opening, *(world.rules[rule] for rule in sorted(kept))])

    def completion(self, body: Body, text: str, *, lost: bool) -> Body:
        """A reply that is longer than the request allows is cut, and says so."""
        tokens: Any = body.get("max_tokens") or body.get("max_completion_tokens")
        whole = tokens is None or len(text) <= BYTES_PER_TOKEN * tokens
        found = super().completion(body, text if whole else text[: BYTES_PER_TOKEN * tokens], lost=lost)
        if not whole:
            found["choices"][0]["finish_reason"] = "length"
        return found
