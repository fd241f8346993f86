"""What a recipe file imports, and what `optimize`, `distill` and `serve` have in common.

Importing it is fast: DSPy, torch and vLLM are loaded only where they are used.
"""

from promptstill.errors import ReplyError, UserError
from promptstill.prompt.own.read import OwnPrompt
from promptstill.prompt.prompt import Prompt
from promptstill.task.judge import Judge
from promptstill.task.metrics import (
    balanced_accuracy,
    contains,
    exact_match,
    macro_f1,
    matthews,
    set_f1,
    token_f1,
)
from promptstill.task.recipe import Recipe, recipe
from promptstill.task.rows import read_jsonl
from promptstill.task.tables import read_csv

__all__ = [
    "Judge",
    "OwnPrompt",
    "Prompt",
    "Recipe",
    "ReplyError",
    "UserError",
    "balanced_accuracy",
    "contains",
    "exact_match",
    "macro_f1",
    "matthews",
    "read_csv",
    "read_jsonl",
    "recipe",
    "set_f1",
    "token_f1",
]
