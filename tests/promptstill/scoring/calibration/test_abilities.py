"""One call shows whether an endpoint gives log-probabilities by token ids, and obeys a bias."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptstill.dialect import Dialect
from promptstill.endpoint.client import Client
from promptstill.scoring.calibration.abilities import LabelAbilities, find_label_abilities
from tests.promptstill.scoring.calibration import feelings
from tests.support.client import run_with_client
from tests.support.fake import FakeEndpoint
from tests.support.providers import classifier, openai, others

UNSPLIT = "the endpoint does not say how it splits texts into tokens"


def abilities(fake: FakeEndpoint, folder: Path, dialect: Dialect | None = None) -> LabelAbilities:
    async def find(client: Client) -> LabelAbilities:
        client.dialects |= {"fake": dialect} if dialect else {}
        return await find_label_abilities(client, "fake")

    with fake:
        return run_with_client(fake, folder, find)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (classifier.Classifier, LabelAbilities(log_probs=True, logit_bias=True)),
        (classifier.DeafClassifier, LabelAbilities(log_probs=True, problem="the endpoint ignores logit_bias")),
        (classifier.SilentClassifier, LabelAbilities(problem="the endpoint gives no log-probabilities")),
        (classifier.NamelessClassifier, LabelAbilities(problem="the endpoint does not name tokens by their ids")),
    ],
)
def test_what_an_endpoint_obeys_is_seen_in_its_reply(
    make: type[classifier.Classifier], found: LabelAbilities, tmp_path: Path
) -> None:
    fake = make(feelings.logits, feelings.WORDS)
    assert abilities(fake, tmp_path) == found and fake.requests == 1
    assert found.can_calibrate is (make is classifier.Classifier)


def test_a_refusal_is_told(tmp_path: Path) -> None:
    fake = classifier.RefusingClassifier(feelings.logits, feelings.WORDS)
    found = abilities(fake, tmp_path)
    assert not found.can_calibrate and "Unsupported parameter: 'logprobs'" in found.problem


@pytest.mark.parametrize("make", [FakeEndpoint, openai.OpenAIChat, openai.OpenAIReasoning, others.Ollama])
def test_a_server_without_its_tokens_is_not_asked(make: Any, tmp_path: Path) -> None:
    fake = make()
    assert abilities(fake, tmp_path) == LabelAbilities(problem=UNSPLIT) and fake.requests == 0


def test_a_model_that_thinks_is_not_asked(tmp_path: Path) -> None:
    fake = classifier.Classifier(feelings.logits, feelings.WORDS)
    found = abilities(fake, tmp_path, Dialect(thinking_tokens=9))
    assert found == LabelAbilities(problem="the model thinks before it answers") and fake.requests == 0
