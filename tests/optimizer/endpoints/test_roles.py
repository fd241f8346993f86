"""Each role its own endpoint, key and price; the limits count them together."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from optimizer import SearchSettings, optimize
from optimizer.run.folder import RunFolder
from promptstill.endpoint.allowance import Limits
from promptstill.errors import UserError
from tests.support.codes import RECIPE, command, knows_with_demos, run
from tests.support.fake import Body, FakeEndpoint

PROPOSED = "Say the code of the word: even words have one, odd words the other."
JUDGED = """
from promptstill import Judge

judge = Judge("{url}", "judge")

def marks(example, prediction):
    return judge.mark(f"{{example.word}} {{prediction.code}} {{example.code}}: a mark from 0 to 10, please")

marks.judge = True
"""


def propose(body: Body) -> str:
    text = json.dumps(body["messages"])
    return (
        f"[[ ## proposed_instruction ## ]]\n{PROPOSED}" if "proposed_instruction" in text else "[[ ## summary ## ]]\nw"
    )


def mark(body: Body) -> str:
    """10 for a right code, else 0."""
    given, expected = str(body["messages"][0]["content"]).split(":")[0].split()[-2:]
    return f"Score: {10 * (given == expected)}"


def test_a_proposer_at_another_endpoint_has_its_own_key_and_price(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake, FakeEndpoint(propose, model="wise", key="secret-1") as wise:
        extra = ["--proposer", f"wise@{wise.base_url}", "--api-key-env", "proposer=WISE_KEY", "--proposals", "2"]
        extra += ["--price", "1,1", "--price", "proposer=1000,1000", "--max-usd", "50"]
        argv = command(fake, tmp_path, *extra)
        refused = run(argv, tmp_path, WISE_KEY="wrong")
        done = run(argv, tmp_path, WISE_KEY="secret-1")
    assert refused.returncode == 2 and "export WISE_KEY=" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert wise.bodies and all(body["model"] == "wise" for body in wise.bodies)
    assert not any(body["model"] == "wise" for body in fake.bodies)
    folder = max((tmp_path / "runs").iterdir())
    assert PROPOSED in (folder / "pools.json").read_text()
    spent = RunFolder.open(folder).record["spent"]
    proposer = spent["roles"]["proposer"]
    tokens = proposer["prompt_tokens"] + proposer["completion_tokens"]
    assert spent["usd_by_role"]["proposer"] == pytest.approx(tokens / 1000)
    assert "USD in all (" in done.stdout and "proposer " in done.stdout.rsplit("USD in all (", 1)[1]


def write_judged(folder: Path, url: str) -> SearchSettings:
    text = RECIPE.replace('exact_match("code")', "marks").replace("@recipe", JUDGED.format(url=url) + "\n@recipe")
    (folder / "codes.py").write_text(text)
    return SearchSettings(recipe=str(folder / "codes.py"), trials=40, rivals=False)


def test_money_is_counted_over_task_proposer_and_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    window, prices = 8, {"proposer": (3_000.0, 3_000.0), "judge": (500.0, 500.0)}
    with (
        FakeEndpoint(knows_with_demos) as fake,
        FakeEndpoint(propose, model="wise") as wise,
        FakeEndpoint(mark, model="judge") as judge,
    ):
        settings = write_judged(tmp_path, judge.base_url)
        limit = 140.0
        limits = Limits(usd=limit, price=(1_000.0, 1_000.0), role_prices=prices)
        paid = {"base_url": fake.base_url, "proposer": f"wise@{wise.base_url}", "window": window, "limits": limits}
        result = optimize(SearchSettings(**{**settings.to_json(), "layouts": (), **paid}), runs=tmp_path, output=None)
    spent = result.allowance.record()
    assert set(spent["usd_by_role"]) == {"judge", "probe", "proposer", "task"} and result.outcome.stopped
    one_row = max(spent["usd_by_role"][role] / spent["roles"][role]["calls"] for role in ("task", "judge"))
    assert 0.6 * limit < spent["usd"] < limit + window * 4 * one_row
    assert spent["usd"] == pytest.approx(sum(spent["usd_by_role"].values()))


def test_money_needs_the_judges_price(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        settings = write_judged(tmp_path, "http://127.0.0.1:9/v1")
        limits = Limits(usd=1.0, price=(1.0, 1.0))
        paid = {"base_url": fake.base_url, "limits": limits}
        with pytest.raises(UserError, match="needs the price of the judge"):
            optimize(SearchSettings(**{**settings.to_json(), "layouts": (), **paid}), runs=tmp_path, output=None)
    assert not fake.calls


def test_a_resumed_run_keeps_the_keys_and_prices_that_are_not_given(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos, key="k") as fake:
        extra = ["--api-key-env", "MY_KEY", "--price", "1,1", "--price", "proposer=2,2", "--max-calls", "260"]
        done = run(command(fake, tmp_path, *extra), tmp_path, MY_KEY="k")
        folder = max((tmp_path / "runs").iterdir())
        resume = [sys.executable, "-m", "optimizer", "--resume", str(folder), "--max-calls", "300"]
        again = run([*resume, "--price", "judge=3,3", "--api-key-env", "proposer=OTHER"], tmp_path, MY_KEY="k")
    assert done.returncode == again.returncode == 0, done.stderr + again.stderr
    assert "USD in all (" in again.stdout


def test_a_judge_in_place_of_the_recipes_marks_the_search_its_resume_and_its_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    with FakeEndpoint(knows_with_demos) as fake, FakeEndpoint(mark, model="strict", key="secret-1") as strict:
        write_judged(tmp_path, "http://127.0.0.1:9/v1")
        at = ["--judge", f"strict@{strict.base_url}", "--api-key-env", "judge=STRICT"]
        asked = ["--base-url", fake.base_url]
        search = [sys.executable, "-m", "optimizer", "codes.py", *asked, "--trials", "4", "--max-calls", "260", *at]
        refused = run(search, tmp_path, STRICT="wrong")
        assert refused.returncode == 2 and "export STRICT=" in refused.stderr and not fake.calls
        done = run(search, tmp_path, STRICT="secret-1")
        marked = strict.requests
        resume = [sys.executable, "-m", "optimizer", "--resume", str(max((tmp_path / "runs").iterdir()))]
        again = run(resume, tmp_path, STRICT="secret-1")
        other = run([*resume, *at], tmp_path, STRICT="secret-1")
        gate = [sys.executable, "-m", "optimizer", "--gate", "best.json", *asked]
        unnamed, named = run(gate, tmp_path), run([*gate, *at], tmp_path, STRICT="secret-1")
    assert done.returncode == again.returncode == 0, done.stderr + again.stderr
    assert marked and {body["model"] for body in strict.bodies} == {"strict"}
    assert other.returncode == 2 and "--judge cannot change" in other.stderr
    assert json.loads((tmp_path / "best.json").read_text())["judge"] == at[1]
    assert unnamed.returncode == 2 and "The scores in best.json are marks of strict." in unnamed.stderr
    assert f"Name that judge: --judge {at[1]}" in unnamed.stderr
    assert named.returncode == 0, named.stderr


def test_a_judge_that_would_not_be_asked_is_refused(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(command(fake, tmp_path, "--judge", "strict@http://127.0.0.1:9/v1"), tmp_path)
    assert done.returncode == 2 and "--judge strict would not be asked." in done.stderr and not fake.calls


@pytest.mark.parametrize("given", [["--price", "teacher=1,1"], ["--price", "1"], ["--api-key-env", "judge=X"]])
def test_a_role_or_price_that_is_none_is_refused(given: list[str], tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(command(fake, tmp_path, *given), tmp_path)
    assert done.returncode == 2 and given[0] in done.stderr and not fake.calls
