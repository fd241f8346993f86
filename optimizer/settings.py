"""What the command line asks for, as one value that run.json keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from optimizer.budget import Budget
from optimizer.endpoints import Source
from optimizer.errors import UserError
from optimizer.prompt import Layout


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run's settings. `base_url` None starts a vLLM of our own."""

    recipe: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    proposer: str | None = None
    proposals: int = 4
    layouts: tuple[Layout, ...] = ()
    trials: int = 16
    seed: int = 0
    window: int = 64
    race: bool = True
    storage: str | None = None
    study: str | None = None
    budget: Budget = field(default_factory=Budget)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Settings:
        budget = Budget(**{**value["budget"], "price": tuple(value["budget"]["price"])})
        return cls(**{**value, "layouts": tuple(value["layouts"]), "budget": budget})

    @property
    def proposing(self) -> int:
        """The instructions that are asked for."""
        return 0 if self.proposer == "none" else self.proposals

    @property
    def source(self) -> Source:
        return Source(self.base_url, self.api_key_env, self.window)

    def check(self) -> None:
        """Refuse combinations that cannot work, before anything is done."""
        if self.budget.usd is not None and not any(self.budget.price):
            raise UserError(
                "--max-usd needs prices.",
                "Without them no call costs anything.",
                "Add --price PROMPT,COMPLETION in USD per million tokens, such as --price 0.15,0.60.",
            )
