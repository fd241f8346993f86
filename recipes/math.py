"""Word problems with a whole number as the answer, made anew from 56 stories; each prompt reasons before it answers."""

import operator
import re
from collections.abc import Mapping
from random import Random
from typing import Any

import dspy

from optimizer import Recipe, exact_match, read_jsonl, recipe

PEOPLE = "Ada Bruno Chidi Dilek Edda Farid Greta Hanno Ines Jonas Kaito Leila Mats Noor Olga Pia Quirin Rosa Selim Tove"
THINGS = "walnuts,plums,marbles,shells,stamps,pears,acorns,buttons,beads,postcards,chestnuts,feathers,corks,lemons,keys"
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}


class WordProblem(dspy.Signature):
    """Solve the word problem."""

    problem: str = dspy.InputField()
    reasoning: str = dspy.OutputField(desc="the calculation", max_length=120)  # an output of its own: reasoning is on
    answer: int = dspy.OutputField()


def solve(steps: str, numbers: Mapping[str, int]) -> tuple[str, int] | None:
    """The calculation and its result, from left to right; None where a step is no whole number above zero."""
    first, *rest = re.findall(r"[a-d]|\d+|[-+*/]", steps)
    said, result = [], numbers[first]
    for sign, word in zip(rest[::2], rest[1::2], strict=True):
        value = numbers[word] if word in numbers else int(word)
        before, result = result, SIGNS[sign](result, value)
        if result < 1 or (sign == "/" and before % value):
            return None
        said.append(f"{before} {sign} {value} = {result}.")
    return " ".join(said), result


def problem(story: Mapping[str, Any], random: Random) -> dict[str, Any]:
    """One problem of a story: numbers are drawn until the calculation comes out even."""
    solved = None
    while solved is None:
        numbers = {name: random.randint(*limits) for name, limits in story["numbers"].items()}
        solved = solve(story["steps"], numbers)
    p, q = random.sample(PEOPLE.split(), 2)
    text = story["text"].format(**numbers, p=p, q=q, t=random.choice(THINGS.split(",")))
    return {"problem": text, "reasoning": solved[0], "answer": solved[1], "story": story["text"]}


@recipe
def math(stories: str = "data/stories.jsonl", each: int = 8, seed: int = 0, model: str = "smollm2-135m") -> Recipe:
    random = Random(seed)
    rows = [problem(story, random) for story in read_jsonl(stories) for _ in range(each)]
    # all problems of a story stay in one split: what is measured is new stories, not new numbers
    return Recipe(
        signature=WordProblem, examples=rows, metric=exact_match("answer"), model=model, group="story", max_tokens=96
    )
