"""Any data set of the Hugging Face hub: -p dataset=rajpurkar/squad -p inputs=context,question -p output=answers.text"""

from functools import reduce
from typing import Any, Literal

import dspy

from promptstill import Recipe, UserError, exact_match, recipe, token_f1

OFFLINE = "Or save its rows as JSON lines and read them with read_jsonl: optimize --new mine.py --from rows.jsonl"


def load(dataset: str, config: str | None, split: str) -> Any:
    """The data set, from the hub or its cache."""
    if not dataset:
        raise UserError("Which data set?", "This recipe loads one by its name.", "Name it: -p dataset=OWNER/NAME")
    try:
        from datasets import load_dataset
    except ImportError as error:
        do = f"Install it: pip install datasets\n{OFFLINE}"
        raise UserError("This recipe needs the package datasets.", f"{error}.", do) from error
    try:
        return load_dataset(dataset, config, split=split)
    except Exception as error:  # of many kinds: no such set, config or split, no network
        do = f"Check the name, -p config=…, -p split=… and the network.\n{OFFLINE}"
        raise UserError(f"{dataset} did not load.", f"{type(error).__name__}: {error}", do) from error


@recipe
def hub(
    dataset: str = "",
    config: str | None = None,
    split: str = "train",
    inputs: str = "question",
    output: str = "answer",
    instruction: str = "",
    rows: int = 500,
) -> Recipe:
    data = load(dataset, config, split).shuffle(seed=0)
    data = data.select(range(min(rows, len(data))))
    names, path = [name.strip() for name in inputs.split(",")], output.split(".")
    if absent := {*names, path[0]} - set(data.column_names):
        what, has = f"{dataset} has no field {', '.join(sorted(absent))}.", f"It has {', '.join(data.column_names)}."
        raise UserError(what, has, "Name them: -p inputs=A,B -p output=C (C.D for a field inside C)")
    signature = dspy.Signature(f"{', '.join(names)} -> answer", instruction or None)
    labels = getattr(data.features[path[0]], "names", None)
    if labels:
        signature = signature.with_updated_fields("answer", type_=Literal[tuple(labels)])

    def answers(row: Any) -> list[str]:
        value = reduce(lambda inner, key: inner[key], path, row)
        values = [one for one in (value if isinstance(value, list) else [value]) if one is not None]
        texts = [labels[one] for one in values if one >= 0] if labels else map(str, values)
        return [text for text in texts if text]

    pairs = [({name: str(row[name]) for name in names}, answers(row)) for row in data]
    examples = [{**fields, "answer": found[0], "answers": found} for fields, found in pairs if found]
    metric = exact_match if labels else token_f1
    return Recipe(signature=signature, examples=examples, metric=metric("answer", accepted="answers"))
