"""test.jsonl: every test row with the three prompts' replies, so that the report can be made again from files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optimizer.evaluate import Scored
from optimizer.examples import Example
from optimizer.files import write_jsonl
from optimizer.measure import Verdict

ARMS = ("seed", "dspy", "winner")


@dataclass(frozen=True)
class Answer:
    """One prompt's reply to a row: `reason` says why an unusable one scored zero."""

    score: float
    reply: str
    reason: str | None

    @property
    def unparsed(self) -> bool:
        return self.reason is not None


@dataclass(frozen=True)
class Answered:
    """One test row: what was asked, what is right, and the answers by arm."""

    id: str
    inputs: Mapping[str, Any]
    gold: Mapping[str, Any]
    answers: Mapping[str, Answer]
    group: str  # a digest: rows that share it are not independent

    @property
    def outcome(self) -> str:
        """How the winner did against the seed prompt: win, loss or same."""
        difference = self.answers["winner"].score - self.answers["seed"].score
        return "same" if abs(difference) < 1e-9 else "win" if difference > 0 else "loss"


def write_rows(path: Path, verdict: Verdict) -> None:
    """One line for each test row."""
    results = zip(*(getattr(verdict, arm).results for arm in ARMS), strict=True)
    write_jsonl(path, [asdict(answered(dict(zip(ARMS, three, strict=True)))) for three in results])


def answered(results: Mapping[str, Scored]) -> Answered:
    """The results of one row side by side."""
    example = next(iter(results.values())).example
    answers = {arm: Answer(round(one.score, 6), one.reply, one.reason) for arm, one in results.items()}
    return Answered(example.id, example.inputs, right(example), answers, example.group_id)


def right(example: Example) -> dict[str, Any]:
    """The outputs as the row has them, and what else it holds for the metric (such as other accepted answers)."""
    rest = {key: value for key, value in example.row.items() if key not in example.inputs and key != "split"}
    return {name: rest.pop(name) for name in example.outputs if name in rest} | rest


def read_rows(path: Path) -> list[Answered]:
    """The rows of test.jsonl; none where test has not been read."""
    if not path.is_file():
        return []
    return [from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]


def from_json(value: Mapping[str, Any]) -> Answered:
    answers = {arm: Answer(**one) for arm, one in value["answers"].items()}
    return Answered(value["id"], value["inputs"], value["gold"], answers, value.get("group", value["id"]))
