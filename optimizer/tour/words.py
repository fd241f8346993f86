"""What the lines of a run mean, in a sentence or two each; by the words that a line begins with."""

from __future__ import annotations

import re

LINES = {
    "train ": (
        "Demos come from train. The search chooses by dev. Test is read once, at the end, so that no choice can be "
        "fitted to it. Questions about one passage stay in one split."
    ),
    "with dev rows": "Two prompts that are closer than this cannot be told apart by so few rows.",
    "with test rows": "What the verdict can see: so few rows miss a small gain, even where there is one.",
    "layout ": "A server that cannot take a form of prompt is searched without it.",
    "the endpoint does not constrain": "Typed answers are then checked instead of forced.",
    "forecast": "What the run may cost at most, said before anything is paid. --max-calls and --max-usd set a limit.",
    "test takes": "The table at the end has its price. It is kept free from the beginning.",
    "racing the first": (
        "A candidate is an instruction, demos, their number, and a layout: the form in which all of it is sent. Eight "
        "race at a time, the baseline prompt among the first."
    ),
    "trial ": (
        "Best on dev is the mean score of the best candidate so far, in points from 0 to 100. What drops out early is "
        "not asked the other rows: that is what racing saves. A replay makes no calls."
    ),
    "more choices": (
        "After the first race the model itself writes instructions, and demos: its own right answers. What it gets "
        "wrong with the best demos makes other sets of them."
    ),
    "to choose from": (
        "From here on Optuna's TPE picks the combinations, by what the trials before it scored. What a small model "
        "proposes is often of no use: it is refused, with its reason."
    ),
    "dev cannot tell": (
        "The best few are too close on dev. So they answer train rows that none of them shows as a demo, and the "
        "cheapest of those that are still as good as the best is the winner."
    ),
    "evaluating on test": "Only now is test read. The winner is chosen already.",
    "winner over baseline": (
        "The gain, row by row on the same questions. p is how often chance alone would show a gain as large if both "
        "prompts were equally good."
    ),
    "winner over DSPy default": "The same against DSPy's own prompt.",
    "winner over majority": (
        "The same against rivals that need no language model: the commonest answer of train for every row, and the "
        "answers of the train rows nearest to the input."
    ),
    "winner over nearest": (
        "The same against rivals that need no language model: the commonest answer of train for every row, and the "
        "answers of the train rows nearest to the input."
    ),
    "rivals without": "What labels alone are worth: a prompt should beat that, too.",
    "winner's dev score": (
        "The winner was chosen by dev, so its score there is partly luck, and as a rule higher than on test. Believe "
        "test."
    ),
    "The winner beats": (
        "The interval of the gain lies above zero, and p is at most 0.05, corrected for how often these rows were "
        "used. So best.json gets the winner."
    ),
    "The winner does not beat": "The gain may be chance, so best.json gets the baseline prompt.",
    "Replies cut": "They ended at the length limit. Where they can be read they are scored all the same.",
    "trials evaluated": "Of all candidates on all of dev, so much was really asked.",
    "score on dev": (
        "What a better score costs in tokens: of those that answered all of dev, the ones that none beats in both."
    ),
    "over the best prompt": "What the student gains over the prompt that taught it, on the same questions.",
    "over the gold student": (
        "And over the student of the labels. Where the interval holds zero, neither is better beyond doubt."
    ),
    "play-off": "The comparison of the best few on train rows, as above.",
}
PROMPTS = {
    "baseline": "the recipe's own instruction, without demos: what you have before a search",
    "DSPy default": "what dspy.Predict sends for the same signature, in both of its formats",
    "winner": "what the search chose; report.html shows it whole",
    "majority": "the commonest answer of train, for every row; it needs no model",
    "nearest rows": "the answer of the train rows nearest to the input; nor does this",
}
FIGURES = {
    "score": "the metric's mean on test, in points from 0 to 100",
    "95 % interval": "19 of 20 such intervals hold the score that endless rows of this kind would show",
    "unparsed": "replies that could not be read as an answer; each scored 0",
    "tokens": "of a request and of its reply, in the mean: what each later call costs",
}
ARMS = {
    "base + bare prompt": "the model as it is, given the inputs alone",
    "base + best prompt": "the same model with the prompt that won above",
    "student + bare prompt": "the model trained on the best prompt's right answers, given the inputs alone",
    "gold-label student": "the same training on as many labels, to see whether a teacher was needed",
}


def meaning(line: str) -> str:
    """What a line means; empty for one that is not known here. Numbers do not count."""
    words = re.sub(r"\d[\d,]* ", "", line)
    return next((text for start, text in LINES.items() if words.startswith(start)), "")
