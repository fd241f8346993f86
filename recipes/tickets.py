"""Route a support ticket to the team that should answer it."""

from typing import Literal

import dspy

from promptstill import Recipe, exact_match, read_jsonl, recipe

Team = Literal[
    "billing",  # what was charged or invoiced, how it is paid
    "subscription",  # begin, change, pause, move or end a plan
    "shipping",  # where parcels are and can be sent
    "returns",  # send back, swap, repair, missing parts, money back for goods
    "account",  # sign in, profile, who belongs to a household
    "bug",  # it should work and does not
    "howto",  # how it is set up and used
    "feature",  # a wish for what does not exist yet
    "security",  # break-ins, fraud, stolen devices, personal data
    "sales",  # questions before buying
]
GUIDE = """A smart-home shop got this ticket. Name the team that should answer it: billing (charges, invoices, payment),
subscription (begin, change, pause or end a plan), shipping (where parcels are and can go), returns (send back, swap,
repair, money back for goods), account (sign-in, profile, household), bug (something fails), howto (how to set up or use
it), feature (a wish), security (break-ins, fraud, personal data) or sales (questions before buying)."""


class RouteTicket(dspy.Signature):
    """Route the support ticket to the team that should answer it."""

    ticket: str = dspy.InputField()
    team: Team = dspy.OutputField()


@recipe
def tickets(data: str = "data/tickets.jsonl", model: str = "smollm2-135m") -> Recipe:
    return Recipe(
        signature=RouteTicket,
        examples=read_jsonl(data),
        metric=exact_match("team"),
        model=model,
        instructions=[GUIDE],  # tried beside the signature's own, and beside what the proposer thinks of
    )
