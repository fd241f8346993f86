"""test.jsonl: each test row with the replies of all arms, so that a report can be made again from files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from promptstill.files import write_jsonl
from promptstill.scoring.evaluate import ScoredRow
from promptstill.scoring.test_report import TestVerdict
from promptstill.task.examples import Example
from promptstill.task.metrics.whole import Labels


@dataclass(frozen=True)
class ArmReply:
    """An arm's reply to a row; `reason` says why one that could not be used scored zero, else it is None.

    cut: whether it ended at max_tokens; where it parses all the same, it is scored. feedback: the metric's own words.
    labels: what a metric of a whole split counts by, None for any other.
    """

    score: float
    reply: str
    reason: str | None
    cut: bool = False
    feedback: str = ""
    labels: Labels | None = None

    @property
    def unparsed(self) -> bool:
        return self.reason is not None

    @property
    def remark(self) -> str:
        """What is wrong with it, for a reader; empty where nothing is."""
        return self.reason or ("cut at max_tokens" if self.cut else "")


@dataclass(frozen=True)
class TestRow:
    """One test row: its inputs, its gold values, and the reply of each arm.

    group: a digest; rows of one group are not independent.
    """

    id: str
    inputs: Mapping[str, Any]
    gold: Mapping[str, Any]
    answers: Mapping[str, ArmReply]
    group: str

    @property
    def outcome(self) -> str:
        """The winner against the baseline prompt: win, loss or same."""
        difference = self.answers["winner"].score - self.answers["baseline"].score
        return "same" if abs(difference) < 1e-9 else "win" if difference > 0 else "loss"


def write_test_rows(path: Path, verdict: TestVerdict) -> None:
    """One line for each test row: the replies of the prompts, and the answers of the rivals."""
    prompts = {arm: report.results for arm, report in verdict.reports.items()}
    write_rows(path, prompts | {name: rival.results for name, rival in verdict.rivals.items()})


def write_rows(path: Path, arms: Mapping[str, Sequence[ScoredRow]]) -> None:
    """One line for each row, with the result of each arm."""
    by_row = zip(*arms.values(), strict=True)
    rows = [asdict(to_test_row(dict(zip(arms, results, strict=True)))) for results in by_row]
    write_jsonl(path, rows, private=True)


def to_test_row(results: Mapping[str, ScoredRow]) -> TestRow:
    """One row with the results of the arms."""
    example = next(iter(results.values())).example
    answers = {arm: to_arm_reply(result) for arm, result in results.items()}
    return TestRow(example.id, example.inputs, gold_values(example), answers, example.group_id)


def to_arm_reply(result: ScoredRow) -> ArmReply:
    return ArmReply(round(result.score, 6), result.reply, result.reason, result.cut, result.feedback, result.labels)


def gold_values(example: Example) -> dict[str, Any]:
    """The outputs as the row has them, and its other values, which a metric may use (other accepted answers, say)."""
    rest = {key: value for key, value in example.row.items() if key not in example.inputs and key != "split"}
    return {name: rest.pop(name) for name in example.outputs if name in rest} | rest


def read_test_rows(path: Path) -> list[TestRow]:
    """The rows of test.jsonl; none where test has not been evaluated."""
    if not path.is_file():
        return []
    return [row_from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]


def reply_from_json(value: Mapping[str, Any]) -> ArmReply:
    labels = value.get("labels")
    return ArmReply(**{**value, "labels": Labels(**labels) if labels else None})


def read_row_ids(path: Path) -> list[str]:
    """The ids of the rows of a test.jsonl; none where there is no such file. Raises `ValueError` for a broken one."""
    if not path.is_file():
        return []
    return [str(json.loads(line)["id"]) for line in path.read_text(encoding="utf-8").split("\n") if line]


def row_from_json(value: Mapping[str, Any]) -> TestRow:
    answers = {arm: reply_from_json(answer) for arm, answer in value["answers"].items()}
    return TestRow(value["id"], value["inputs"], value["gold"], answers, value.get("group", value["id"]))
