"""Records of the contest as its store of cells holds them."""

from __future__ import annotations

from typing import Any


def contest_record(contestant: str, cap: int, scores: list[float], seed: int = 0, **more: Any) -> dict[str, Any]:
    """A search's result at a cap; `more` replaces or adds fields of the result."""
    key = {"task": "t", "rows": "1/2/3", "model": "m", "contestant": contestant, "seed": seed, "cap": cap}
    test = {"scores": scores, "mean": sum(scores) / len(scores), "unparsed": 0.25}
    spending = {"calls": cap, "prompt_tokens": 10, "completion_tokens": 5, "seconds": 7.0}
    about = {"failed": "", "found": True, "ended": "calls", "side_by_side": 1, "version": "1", "commit": "abc"}
    result = {"test": test, **about, **(spending if cap else {}), **more}
    return {"key": key, "result": result, "at": more.get("at", "2026-01-02T"), "seconds": 0.0}
