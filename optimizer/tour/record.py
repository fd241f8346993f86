"""The record that `optimize --tour` replays: a folder with a recipe, every reply that its search got, and what the
distillation after it came to.

    qa.py  rows.jsonl     the recipe and its rows
    record.json           when and with what it was made, what it cost, and the distillation's table and verdict
    calls.jsonl.gz        every call: the hash of its request, the request and the reply
    tokenizer.json        the chat markers of the model, which requests depend on
    distilled.html.gz     the distillation's report

`python -m scripts.record_tour` writes all but the first two anew.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from promptstill.endpoint.store import Completion
from promptstill.files import read_json, write_bytes, write_json

SHIPPED = Path(__file__).with_name("qa")
RECIPE, ROWS = "qa.py", "rows.jsonl"
FACTS, CALLS, MARKERS, DISTILLED = "record.json", "calls.jsonl.gz", "tokenizer.json", "distilled.html.gz"


class RecordedSearch(BaseModel):
    """The search: its model (`identity` is of the weights), its settings, what it found, and what it cost.

    context: tokens. slow: whether processors read the prompts. winner: the id of the winning prompt. versions: of the
    packages that word and choose its requests.
    """

    model_config = ConfigDict(frozen=True)

    recorded_at: str
    model: str
    identity: str
    context: int
    slow: bool
    trials: int
    seed: int
    winner: str
    calls: int
    tokens: int
    versions: dict[str, str]


class RecordedDistillation(BaseModel):
    """The distillation of the winner: its command, its table as the terminal showed it, the verdict in a sentence.

    training_rows: of the student. note: on how it was recorded, for whoever reads its times.
    """

    model_config = ConfigDict(frozen=True)

    command: str
    table: str
    verdict: str
    training_rows: int
    note: str


class Record:
    """A record in a folder."""

    def __init__(self, path: Path = SHIPPED) -> None:
        facts = read_json(path / FACTS)
        self.path = path
        self.search = RecordedSearch.model_validate(facts["search"])
        self.distillation = RecordedDistillation.model_validate(facts["distillation"])

    @property
    def recipe_path(self) -> Path:
        return self.path / RECIPE

    def calls(self) -> list[dict[str, Any]]:
        """Every call, with its `key`, `role`, `body` and `completion`."""
        text = gzip.decompress((self.path / CALLS).read_bytes()).decode()
        return [json.loads(line) for line in text.split("\n") if line]  # a reply may have other ends of line

    def replies(self) -> dict[str, Completion]:
        """Every reply by the hash of its request."""
        return {call["key"]: Completion(**call["completion"]) for call in self.calls()}

    def distilled_page(self) -> str:
        """The distillation's report."""
        return gzip.decompress((self.path / DISTILLED).read_bytes()).decode()


def write_record(
    path: Path,
    search: RecordedSearch,
    distillation: RecordedDistillation,
    calls: Iterable[Mapping[str, Any]],
    markers: Iterable[str],
    page: str,
) -> None:
    """Write a record beside its recipe and rows. calls: as `Record.calls` has them. page: of the distillation."""
    write_json(path / FACTS, {"search": search.model_dump(), "distillation": distillation.model_dump()})
    write_packed(path / CALLS, "".join(json.dumps(call, ensure_ascii=False) + "\n" for call in calls))
    write_json(path / MARKERS, {"added_tokens": [{"content": marker, "special": True} for marker in markers]})
    write_packed(path / DISTILLED, page)


def write_packed(path: Path, text: str) -> None:
    """The same bytes for the same text."""
    write_bytes(path, gzip.compress(text.encode(), mtime=0))
