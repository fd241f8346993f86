"""Find the best prompt for a task. Light to import: DSPy, Optuna and torch load only where they are used."""

from optimizer.errors import ReplyError, UserError
from optimizer.judge import Judge
from optimizer.metrics import contains, exact_match, token_f1
from optimizer.prompt import Prompt
from optimizer.recipe import Recipe, read_jsonl, recipe

__all__ = [
    "Judge",
    "Prompt",
    "Recipe",
    "ReplyError",
    "UserError",
    "contains",
    "exact_match",
    "read_jsonl",
    "recipe",
    "token_f1",
]
