"""What a search works on, and how a candidate becomes a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from math import inf

from optimizer.search.candidate import FIELD, Candidate, Choices
from optimizer.search.race import max_rows
from optimizer.search.space import FEW_DEMOS, NO_DEMOS, OWN_DEMOS, Space, bias_key
from promptstill.prompt.fields import as_text
from promptstill.prompt.layouts import OWN, Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.parts import Demo
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.calibration import NONE
from promptstill.scoring.calibration.calibrate import with_bias
from promptstill.task.examples import Example
from promptstill.task.recipe import Metric

MAX_OWN = 4  # of the recipe's own instructions among the first candidates


@dataclass(frozen=True)
class SearchTask:
    """What the search works on. `dev` is in its one fixed order; `worker` is this process's number in the study.

    own: the prompt that the user wrote whole, where the recipe names one. It is a candidate of a layout of its own,
    which has no other choices, and the baseline.
    shared: whether dev's rows are train's. Each is then asked without itself and its group among the demos.
    within: the score, 0 to 1, by which the winner may fall short of the best for fewer tokens. most_tokens: of a
    prompt, in the mean.
    """

    task: Task
    space: Space
    train: Sequence[Example]
    dev: Sequence[Example]
    metric: Metric
    seed: int
    trials: int
    worker: int = 0
    race: bool = True
    own: Prompt | None = None
    shared: bool = False
    within: float = 0.0
    most_tokens: float = inf

    def max_rows(self, count: int) -> int:
        """The dev rows that a generation of `count` candidates is evaluated on at most, all together."""
        return max_rows(count, len(self.dev)) if self.race else count * len(self.dev)

    def prompt(self, candidate: Candidate) -> Prompt:
        """The prompt that a candidate stands for, with its bias where it is calibrated, which the space has then."""
        plain = self.plain_prompt(candidate)
        if candidate.calibration == NONE:
            return plain
        return with_bias(plain, self.space.biases[bias_key(plain, candidate.calibration)])

    def plain_prompt(self, candidate: Candidate, demos: Sequence[Demo] | None = None) -> Prompt:
        """The candidate's prompt without calibration. demos: instead of those of its set."""
        if self.own and candidate.layout == OWN:
            return self.own
        space, name = self.space, candidate.demos
        controlled = candidate.reasoning in space.thinking
        return build_prompt(
            replace(self.task, dialect=space.dialect_of(candidate.reasoning)) if controlled else self.task,
            candidate.layout,
            space.instructions[candidate.instruction],
            space.demos(name) if demos is None else demos,
            k=space.demo_count(name, candidate.k),
            reasoning=candidate.reasoning == FIELD,
        )

    @property
    def stored_choices(self) -> Choices:
        """What a candidate in the study may have chosen: the space's choices, and the user's own prompt."""
        choices = self.space.choices
        return {**choices, "layout": (*self.space.layouts, OWN)} if self.own else choices

    def starters(self) -> list[Candidate]:
        """The first candidates, of which the first is the baseline: the user's own prompt where there is one, then the
        signature's instruction, what has served small models best (demos, raw text), the recipe's own instructions,
        each with the demos of the second candidate, the other layouts, and as many demos as there is room for, half of
        train at most; not where these are few and the recipe has instructions of its own. What a model that thinks can
        be told takes turns among them.

        Of many instructions the first `MAX_OWN` are among them; the others are in the space, as proposed ones are.
        """
        most = max(FEW_DEMOS, len(self.task.outputs[0].choices or ()))
        sizes = [size for size in self.space.sizes if size <= most] or self.space.sizes
        few, many = sizes[len([one for one in sizes if one <= FEW_DEMOS]) // 2], sizes[-1]
        layouts, own = self.space.layouts, range(1, min(self.space.given, 1 + MAX_OWN))
        if "labeled-0" not in self.space.demo_sets:  # nothing but instructions may change
            bare = Candidate(layouts[0], next(iter(self.space.demo_sets)), few, 0, self.space.reasonings[0])
            return [bare, *(replace(bare, instruction=instruction) for instruction in own)]
        first, second = self.nearest_set() or "labeled-2", self.nearest_set() or "labeled-3"
        text: Layout = "raw" if "raw" in layouts else layouts[0]
        wanted = [(layouts[0], NO_DEMOS, few), (text, "labeled-0", few)]
        wanted += [(layouts[0], first, many), (text, second, few)]
        others = [(layout, "labeled-0", few) for layout in layouts[1:] if layout != text]
        half = len(self.train) // 2  # the others are left for play-offs and for a teacher
        shots = max([many, *(size for size in self.space.sizes if size <= half)])
        others += [] if own and shots == many else [(text, "labeled-1", shots)]
        begun = self.in_turn(Candidate(*parts, instruction=0) for parts in (*wanted, *others))
        return [
            *self.own_candidates(few),
            *begun[: len(wanted)],
            *(replace(begun[1], instruction=instruction) for instruction in own),
            *begun[len(wanted) :],
        ]

    def in_turn(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The candidates, each with the next of the ways to reason but for the field; the first is the model's own.
        Where a layout does not allow it, that stays the next."""
        ways = cycle([one for one in self.space.reasonings if one != FIELD] or self.space.reasonings)
        following, given = next(ways), list[Candidate]()
        for candidate in candidates:
            given.append(self.space.allowed(replace(candidate, reasoning=following)))
            following = next(ways) if given[-1].reasoning == following else following
        return given

    def own_candidates(self, k: int) -> list[Candidate]:
        """The prompt that the user wrote whole; what DSPy sends for the predictor that stands in the recipe, where the
        layouts allow it."""
        reasoning = self.space.reasonings[0]
        written = [Candidate(OWN, NO_DEMOS, k, 0, reasoning)] if self.own else []
        if self.task.own is None:
            return written
        layout = own_layout(self.space.layouts)
        demos = OWN_DEMOS if OWN_DEMOS in self.space.demo_sets else NO_DEMOS
        return [*written, Candidate(layout, demos, k, 0, FIELD if self.task.own.reasons else reasoning)]

    def nearest_set(self) -> str | None:
        """The set of nearest demos to begin with, whatever the order of the inputs: by the shortest input that most
        rows have to themselves, since there the question is asked; or else by all together. None without such sets."""
        if "nearest" not in self.space.demo_sets:
            return None
        own = {}
        for field in self.task.inputs:
            texts = [as_text(row.inputs[field.name]) for row in self.train]
            if len(set(texts)) > len(texts) / 2:
                own[f"nearest-{field.name}"] = sum(map(len, texts))
        return min(own, key=lambda name: (own[name], name)) if own and len(self.task.inputs) > 1 else "nearest"


def own_layout(layouts: Sequence[Layout]) -> Layout:
    """The layout of what DSPy sends for a predictor of the recipe's, where the endpoint allows it."""
    return "dspy-chat" if "dspy-chat" in layouts else layouts[0]
