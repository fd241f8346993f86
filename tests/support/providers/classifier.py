"""vLLM with a model that classifies and likes one label best: log-probabilities, `logit_bias` and /tokenize.

As in vllm 0.32 (vllm/v1/sample/sampler.py): the grammar masks tokens before log-probabilities are taken, and the bias
is added after; `logprob_token_ids` names the tokens whose log-probabilities are given besides the reply's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from tests.support.fake import Body, FakeEndpoint

MASKED = -9999.0
OTHER_SPELLING = 0.2  # how likely a label is spelled by another token than its own, beside it
GREETING = "Hello"
Logits = Callable[[Body], Mapping[str, float]]
FIELDS = ("logprobs", "top_logprobs", "logit_bias", "logprob_token_ids", "return_tokens_as_token_ids")


class Classifier(FakeEndpoint):
    """logits: of each label for a request. words: the vocabulary beside single characters, longest match first.
    form: what replies write around a label."""

    ignored: tuple[str, ...] = ()  # fields that it does not know

    def __init__(self, logits: Logits, words: Sequence[str], *, form: str = "{}") -> None:
        super().__init__(lambda body: "".join(self.text(token) for token, _ in self.generate(body)))
        self.logits, self.words, self.form = logits, sorted(words, key=len, reverse=True), form
        self.tokenized = 0

    async def _application(self) -> web.Application:
        app = await super()._application()
        app.router.add_post("/tokenize", self._tokenize)
        return app

    async def _tokenize(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if "prompt" not in asked:  # it has no chat template
            return web.json_response({"error": {"message": "no chat template"}}, status=400)
        self.tokenized += 1
        ids = self.tokens(asked["prompt"])
        return web.json_response({"tokens": ids, "token_strs": [self.text(one) for one in ids], "count": len(ids)})

    def tokens(self, text: str) -> list[int]:
        """A text's own tokens."""
        ids = []
        while text:
            word = next((word for word in self.words if text.startswith(word)), text[0])
            ids.append(self.words.index(word) if word in self.words else 1000 + ord(word))
            text = text[len(word) :]
        return ids

    def text(self, token: int) -> str:
        return self.words[token] if token < len(self.words) else chr(token - 1000)

    def seen(self, body: Body) -> Body:
        return {name: value for name, value in body.items() if name not in self.ignored}

    def replies(self, body: Body) -> dict[str, float]:
        """The replies that the grammar allows, with their logits; a request without one is greeted."""
        choice = (body.get("structured_outputs") or {}).get("choice")
        if not choice and "structured_outputs" not in body and "response_format" not in body:
            return {GREETING: 0.0}
        logits = self.logits(body)
        texts = choice or [self.form.format(label) for label in logits]
        return {text: next((logits[label] for label in logits if label in text), 0.0) for text in texts}

    def log_probs(self, body: Body, begun: str) -> dict[int, float]:
        """Of the tokens that the grammar allows next."""
        weights: dict[int, float] = {}
        for reply, logit in self.replies(body).items():
            if reply.startswith(begun) and (rest := reply[len(begun) :]):
                own = self.tokens(rest)[0]
                starts = [word for word in self.words if rest.startswith(word)] + [rest[0]]
                for token in {self.tokens(start)[0] for start in starts} | {own}:
                    weight = math.exp(logit) * (1.0 if token == own else OTHER_SPELLING)
                    weights[token] = weights.get(token, 0.0) + weight
        total = sum(weights.values())
        return {token: math.log(weight / total) for token, weight in weights.items()}

    def generate(self, body: Body) -> Iterator[tuple[int, dict[int, float]]]:
        """The reply's tokens, each with the log-probabilities of the tokens there."""
        bias = {int(token): value for token, value in body.get("logit_bias", {}).items()}
        free, begun = "structured_outputs" not in body and "response_format" not in body, ""
        for _ in range(body["max_tokens"]):
            found = self.log_probs(body, begun)
            found |= {token: -20.0 for token in bias if free and token not in found}
            if not found:
                return
            chosen = max(found, key=lambda token: found[token] + bias.get(token, 0.0))
            yield chosen, found
            begun += self.text(chosen)

    def end(self, body: Body) -> str:
        tokens = list(self.generate(body))
        return "length" if len(tokens) == body["max_tokens"] else "stop"

    def completion(self, body: Body, text: str, *, lost: bool) -> Body:
        answer = super().completion(body, text, lost=lost)
        if body.get("logprobs"):
            content = [self.entry(body, *one) for one in self.generate(body)]
            answer["choices"][0]["logprobs"] = {"content": content}
        return answer

    def entry(self, body: Body, chosen: int, found: Mapping[int, float]) -> dict[str, Any]:
        """One token of `logprobs`, as vLLM writes it."""

        def named(token: int) -> dict[str, Any]:
            name = f"token_id:{token}" if body.get("return_tokens_as_token_ids") else self.text(token)
            return {"token": name, "logprob": found.get(token, MASKED)}

        likeliest = sorted(found, key=lambda token: -found[token])[: body.get("top_logprobs", 0)]
        tokens = body.get("logprob_token_ids") or likeliest
        return named(chosen) | {"top_logprobs": [named(token) for token in (chosen, *tokens)]}


class DeafClassifier(Classifier):
    """A gateway before it that drops `logit_bias`."""

    ignored = ("logit_bias",)


class SilentClassifier(Classifier):
    """A gateway before it that knows neither log-probabilities nor a bias."""

    ignored = FIELDS


class NamelessClassifier(Classifier):
    """Log-probabilities as OpenAI gives them: tokens are texts."""

    ignored = ("return_tokens_as_token_ids", "logprob_token_ids")


class RefusingClassifier(Classifier):
    """Refuses what OpenAI's reasoning models refuse."""

    def refuse(self, body: Body) -> web.Response | None:
        text = "Unsupported parameter: 'logprobs' is not supported with this model."
        return web.json_response({"error": {"message": text}}, status=400) if "logprobs" in body else None
