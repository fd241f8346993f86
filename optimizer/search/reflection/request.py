"""What a proposer is asked to write, and how its reply is read: by GEPA's `InstructionProposalSignature`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gepa.strategies.instruction_proposal import InstructionProposalSignature

BYTES_PER_TOKEN = 3  # a cautious guess: a request that is too long is a lost proposal
GUIDE = """I gave an assistant these instructions:
```
<curr_param>
```

It confuses some labels with others:
<confusions>

The following are inputs on which it was wrong, with its response and feedback:
```
<side_info>
```

Write a guide to these labels for the assistant: what in an input speaks for one label and what for the other, one short sentence for each. If the feedback names rules, state each of them. The guide will stand behind the instructions, so do not repeat these.

Provide the guide within ``` blocks."""  # noqa: E501 - one paragraph a line, as the model is to read it


def write_request(
    instruction: str,
    records: Sequence[dict[str, str]],
    room: int,
    confused: Sequence[tuple[tuple[str, str], int]] = (),
) -> str:
    """The request for a better instruction or, where labels are confused, for a guide to them.

    room: tokens that it may take; records that do not fit are left out, but for the first.
    """
    pairs = "\n".join(f'- "{right}" was right and it said "{given}": {times}' for (right, given), times in confused)
    template = GUIDE.replace("<confusions>", pairs) if confused else None
    fields: dict[str, Any] = {"current_instruction_doc": instruction, "prompt_template": template}
    for count in range(len(records), 0, -1):
        text = str(InstructionProposalSignature.prompt_renderer(fields | {"dataset_with_feedback": records[:count]}))
        if len(text.encode()) <= BYTES_PER_TOKEN * room:
            break
    return text


def read_reply(reply: str) -> str:
    """The instruction in a reply: what stands between fences, or all of it."""
    return InstructionProposalSignature.output_extractor(reply)["new_instruction"].strip()
