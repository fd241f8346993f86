"""Word problems with a whole number as the answer, generated from 56 stories; the reply reasons before it answers."""

import operator
import re
from collections.abc import Mapping
from random import Random
from typing import Any

import dspy

from promptstill import Recipe, exact_match, read_jsonl, recipe

PEOPLE = "Ada Bruno Chidi Dilek Edda Farid Greta Hanno Ines Jonas Kaito Leila Mats Noor Olga Pia Quirin Rosa Selim Tove"
THINGS = "walnuts,plums,marbles,shells,stamps,pears,acorns,buttons,beads,postcards,chestnuts,feathers,corks,lemons,keys"
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}


class WordProblem(dspy.Signature):
    """Solve the word problem."""

    problem: str = dspy.InputField()
    reasoning: str = dspy.OutputField(desc="the calculation", max_length=120)  # so every candidate reasons
    answer: int = dspy.OutputField()


def solve(steps: str, numbers: Mapping[str, int]) -> tuple[str, int] | None:
    """The calculation, from left to right, and its result; None where a step gives no whole number above zero."""
    first, *rest = re.findall(r"[a-d]|\d+|[-+*/]", steps)
    lines, result = [], numbers[first]
    for sign, word in zip(rest[::2], rest[1::2], strict=True):
        value = numbers[word] if word in numbers else int(word)
        before, result = result, SIGNS[sign](result, value)
        if result < 1 or (sign == "/" and before % value):
            return None
        lines.append(f"{before} {sign} {value} = {result}.")
    return " ".join(lines), result


def problem(story: Mapping[str, Any], random: Random) -> dict[str, Any]:
    """One problem of a story; numbers are drawn until its calculation has a solution."""
    solution = None
    while solution is None:
        numbers = {name: random.randint(*limits) for name, limits in story["numbers"].items()}
        solution = solve(story["steps"], numbers)
    p, q = random.sample(PEOPLE.split(), 2)
    text = story["text"].format(**numbers, p=p, q=q, t=random.choice(THINGS.split(",")))
    return {"problem": text, "reasoning": solution[0], "answer": solution[1], "story": story["text"]}


@recipe
def math(stories: str = "data/stories.jsonl", each: int = 8, seed: int = 0, model: str = "smollm2-135m") -> Recipe:
    random = Random(seed)
    rows = [problem(story, random) for story in read_jsonl(stories) for _ in range(each)]
    # All problems of a story stay in one split: test measures new stories, not new numbers.
    return Recipe(
        signature=WordProblem, examples=rows, metric=exact_match("answer"), model=model, group="story", max_tokens=96
    )
