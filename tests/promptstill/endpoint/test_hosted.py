"""Which names are a provider's, and what is known of them before anything is asked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promptstill.endpoint.allowance import NO_PRICE, Limits
from promptstill.endpoint.answers import TooManyRequests, wait_asked
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.hosted import (
    PACKAGES,
    find_hosted,
    hosted_key,
    is_installed,
    require_access,
    similar_names,
    with_table_prices,
)
from promptstill.endpoint.litellm_client import ask_provider, raise_as_answer
from promptstill.engine.models import find_model
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from tests.support.providers.hosted import Claude

CLAUDE = "anthropic/claude-haiku-4-5"
ENDPOINT = Endpoint("litellm://openai", "weights", key_name="OPENAI_API_KEY")


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        (CLAUDE, "anthropic"),
        ("gemini/gemini-2.5-flash", "gemini"),
        ("openai/gpt-5-mini", "openai"),
        ("vertex_ai/gemini-2.5-flash", "vertex_ai"),
        ("bedrock/anthropic.claude-haiku-4-5-20251001-v1:0", "bedrock"),
        ("azure/our-deployment", "azure"),
    ],
)
def test_a_name_of_the_table_or_of_a_deployment_is_a_providers(name: str, provider: str) -> None:
    found = find_hosted(name)
    assert found and found.url == f"litellm://{provider}"


@pytest.mark.parametrize(
    "name", ["Qwen/Qwen3-8B", "openai/gpt-oss-20b", f"hf:{CLAUDE}", "smollm2-135m", "./anthropic", "azure/", "NAME"]
)
def test_other_names_are_of_the_hub_or_this_machine(name: str) -> None:
    assert find_hosted(name) is None


def test_a_model_that_is_not_for_chats_is_refused() -> None:
    with pytest.raises(UserError, match="no model to chat with") as raised:
        find_hosted("openai/text-embedding-3-small")
    assert "embedding" in str(raised.value.why)


def test_looking_a_name_up_imports_no_litellm() -> None:
    code = f"import sys; from promptstill.endpoint.hosted import find_hosted; assert find_hosted({CLAUDE!r})"
    assert (
        subprocess.run([sys.executable, "-c", f"{code}; sys.exit('litellm' in sys.modules)"], check=False).returncode
        == 0
    )


def test_the_tables_price_stands_where_none_is_given() -> None:
    known = with_table_prices(Limits(), {"": CLAUDE, "proposer": "openai/gpt-5-mini"})
    assert known.price == (1.0, 5.0)
    assert known.role_prices == {"proposer": (0.25, 2.0)}
    own = Limits(price=(9.0, 9.0), role_prices={"proposer": NO_PRICE})
    given = with_table_prices(own, {"": CLAUDE, "proposer": CLAUDE})
    assert given.price == (9.0, 9.0)
    assert given.role_prices == {"proposer": NO_PRICE}


def test_a_providers_own_variable_has_the_key_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of OpenAI")
    monkeypatch.setenv("MY_KEY", "mine")
    assert hosted_key("litellm://anthropic", "OPENAI_API_KEY") == (None, "ANTHROPIC_API_KEY")
    assert hosted_key("litellm://anthropic", "MY_KEY") == ("mine", "MY_KEY")
    assert hosted_key("litellm://bedrock", "OPENAI_API_KEY") == (None, "AWS_ACCESS_KEY_ID")
    with pytest.raises(UserError, match="no key for") as raised:
        require_access(CLAUDE, "litellm://anthropic", "NO_SUCH_KEY")
    assert "NO_SUCH_KEY" in raised.value.why


def test_a_provider_whose_package_is_missing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "bedrock", "no_such.package")
    with pytest.raises(UserError, match=r"needs the package no_such-package") as raised:
        require_access("bedrock/x", "litellm://bedrock", "OPENAI_API_KEY")
    assert raised.value.do == "pip install no_such-package"


def test_names_like_the_one_that_was_typed_are_told() -> None:
    assert similar_names("gpt-5-mini") == ["openai/gpt-5-mini"]
    assert CLAUDE in similar_names("antropic/claude-haiku-4-5")
    assert similar_names("smollm2") == []


def test_what_needs_weights_refuses_a_providers_model() -> None:
    with pytest.raises(UserError, match="needs weights on this machine"):
        find_model(CLAUDE, lambda line: None)


def test_a_name_without_its_provider_is_answered_with_it() -> None:
    with pytest.raises(UserError, match="Unknown model") as raised:
        find_model("gpt-5-mini", lambda line: None)
    assert "openai/gpt-5-mini" in raised.value.do


class Raised(Exception):
    """As LiteLLM raises: with a status, and the body of the answer."""

    def __init__(self, status: int, text: str, **rest: Any) -> None:
        super().__init__(text)
        self.status_code = status
        vars(self).update(rest)


def test_an_account_without_quota_is_no_rate_limit() -> None:
    with pytest.raises(UserError, match="no money or quota"):
        raise_as_answer(ENDPOINT, Raised(429, "You exceeded your current quota", body={"code": "insufficient_quota"}))


def test_a_rate_limit_keeps_what_the_answer_asks_to_wait() -> None:
    with pytest.raises(TooManyRequests) as raised:
        raise_as_answer(ENDPOINT, Raised(429, "slow down", litellm_response_headers={"Retry-After": "7"}))
    assert raised.value.wait_s == 7
    gemini = 'GeminiException - {"error": {"code": 429, "details": [{"retryDelay": "34.5s"}]}}'
    with pytest.raises(TooManyRequests) as raised:
        raise_as_answer(ENDPOINT, Raised(429, gemini))
    assert raised.value.wait_s == 34.5
    assert wait_asked({}, "no delay here") is None


def test_a_folder_here_comes_before_a_deployment_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ModelSource().of_model("azure/mine").base_url == "litellm://azure"
    (tmp_path / "azure" / "mine").mkdir(parents=True)
    assert ModelSource().of_model("azure/mine").base_url is None


def test_what_only_a_vllm_takes_is_refused_for_a_provider() -> None:
    with pytest.raises(UserError, match="--vllm-args and --gpu-memory"):
        ModelSource(vllm_args="--max-num-seqs 4").of_model(CLAUDE)


def test_a_namespace_without_the_package_is_no_package() -> None:
    assert is_installed("json.decoder") and not is_installed("json.no_such") and not is_installed("no_such.package")


def test_an_empty_key_is_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")
    with pytest.raises(UserError, match="no key for"):
        require_access(CLAUDE, "litellm://anthropic", "OPENAI_API_KEY")


def test_a_key_that_litellm_misses_itself_is_said_at_once() -> None:
    with pytest.raises(UserError, match="refused the API key"):
        raise_as_answer(ENDPOINT, Raised(500, "Missing credentials. Please pass an api_key"))


def test_two_event_loops_print_no_warning(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Claude(lambda body: "yes") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        endpoint = Endpoint("litellm://anthropic", "weights")
        body = {"model": server.name, "messages": [{"role": "user", "content": "?"}], "max_tokens": 4}
        for _ in range(3):
            assert "yes" in asyncio.run(ask_provider(endpoint, body, 20))
    assert "WARNING" not in capfd.readouterr().err
