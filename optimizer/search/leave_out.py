"""What a train row is asked, where train rows are scored: the prompt without the demos of the row's own group.

So a play-off scores train rows, and so does a search whose dev rows are its train rows. No test row has a row of its
group among the demos either.
"""

from __future__ import annotations

from collections.abc import Mapping

from optimizer.search.candidate import Candidate
from optimizer.search.space import to_demo
from optimizer.search.task import SearchTask
from promptstill.files import canonical_json
from promptstill.prompt.layouts import OWN
from promptstill.prompt.layouts.parts import Demo
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.calibration.calibrate import with_bias
from promptstill.task.examples import Example


class LeaveOut:
    """Where the rows of each group of train stand: their places in the pool of nearest demos, and their inputs."""

    def __init__(self, task: SearchTask) -> None:
        self._names = [field.name for field in task.task.inputs]
        self._places = places_by_group(task)
        self._inputs: dict[str, set[str]] = {}
        for row in task.train:
            self._inputs.setdefault(row.group, set()).add(self._key(to_demo(row)))

    def prompt(self, task: SearchTask, candidate: Candidate, whole: Prompt, row: Example) -> Prompt:
        """The candidate's prompt for a row. whole: the prompt with all demos. What else is nearest stays as it is; in
        place of a fixed demo stands the next of its set, if there is one.
        """
        if whole.nearest or candidate.layout == OWN:
            return whole.leave_out(self._places.get(row.group, ()))
        own, demos = self._inputs.get(row.group, ()), task.space.demo_sets[candidate.demos].demos
        kept = [demo for demo in demos if self._key(demo) not in own]
        k = task.space.demo_count(candidate.demos, candidate.k)
        if tuple(kept[:k]) == demos[:k]:
            return whole
        return with_bias(task.plain_prompt(candidate, kept), whole.decoding.bias)

    def _key(self, demo: Mapping[str, object]) -> str:
        return canonical_json({name: demo[name] for name in self._names})


def places_by_group(task: SearchTask) -> dict[str, set[int]]:
    """The places in the pool of nearest demos that each group of train has."""
    places: dict[str, list[int]] = {}
    for place, demo in enumerate(task.space.pool):
        places.setdefault(canonical_json(demo), []).append(place)
    groups: dict[str, set[int]] = {}
    for row in task.train:
        groups.setdefault(row.group, set()).update(places.get(canonical_json(to_demo(row)), ()))
    return groups


def demo_inputs(example: Example) -> Demo:
    """An example's inputs as a demo of it has them."""
    return {name: value for name, value in to_demo(example).items() if name in example.inputs}
