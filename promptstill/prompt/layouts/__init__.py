"""The table of layouts, a module for each of them, and what they share.

A layout is a form in which instruction, demos and inputs are written. Its module has one function,
`build(task, instruction, demos, k) -> Prompt`; build.py finds it by this table. Its demos are turns, or stand in the
last message as the question does, each with its reply behind it. tests/promptstill/prompt/layouts/test_layouts.py tries
every entry.

parts.py, task.py and adapter.py hold what layouts share, grammar.py how their replies are constrained. bare.py (for
students) and dspy_default.py (the rival's) build prompts that no search tries.

The table itself loads none of them: `serve` and every `--help` read it, and layouts load DSPy.
"""

from __future__ import annotations

Layout = str  # a key of LAYOUTS, as it stands in best.json
LAYOUTS: dict[Layout, str] = {  # each one's module, in the order of probing; the first is the baseline prompt's layout
    "chat": "chat",
    "inline": "inline",
    "raw": "raw",
    "dspy-chat": "dspy_chat",
    "json": "dspy_json",
}
# That can show a demo without its reasoning: DSPy's adapters write that a field is not supplied.
SHOW_PARTIAL_DEMOS: tuple[Layout, ...] = ("dspy-chat", "json")
OWN: Layout = "own"  # of a prompt that the user wrote whole (promptstill/prompt/own); no search tries it as a layout
