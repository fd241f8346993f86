"""The rivals beside the winner on test, where the settings ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from optimizer.run.settings import SearchSettings
from promptstill.events import Say
from promptstill.scoring.rivals.of_recipe import rivals_of
from promptstill.scoring.rivals.report import RivalResult, compare_rivals
from promptstill.scoring.test_report import TestVerdict
from promptstill.task.open import OpenTask


async def add_rivals(verdict: TestVerdict, opened: OpenTask, settings: SearchSettings, say: Say) -> TestVerdict:
    """The verdict with its rivals; as it is with `--no-rivals`. Raises as `rivals_of` does.

    Of a cross-validated run they learn from the rows outside each fold, as the winners do.
    """
    if not settings.rivals:
        return verdict
    deals = opened.splits.folds or (opened.splits,)
    told = [say, *(lambda line: None for _ in deals[1:])]  # once for all folds
    parts = [
        await rivals_of(replace(opened, splits=one), settings.embedder, tell)
        for one, tell in zip(deals, told, strict=True)
    ]
    found = join_rivals(parts)
    return replace(verdict, rivals=compare_rivals(verdict.winner.marks, found, settings.seed))


def join_rivals(parts: Sequence[Mapping[str, RivalResult]]) -> dict[str, RivalResult]:
    """The rivals' results on the rows of all parts, with the settings that all parts chose alike."""
    return {name: join([part[name] for part in parts]) for name in parts[0] if all(name in part for part in parts)}


def join(parts: Sequence[RivalResult]) -> RivalResult:
    """One rival's."""
    first = parts[0].settings.items()
    alike = {name: value for name, value in first if all(one.settings.get(name) == value for one in parts)}
    return RivalResult([row for one in parts for row in one.results], alike)
