"""`optimize RECIPE --measure FILE…` against a fake endpoint: figures, counts, and what is refused before it costs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from optimizer.measure.settings import MeasureSettings
from optimizer.run.folder import RunFolder
from promptstill import UserError
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.task.open import open_task
from tests.optimizer.measured import measured, notes_of, record
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import Body, FakeEndpoint
from tests.support.finished import copied

PLAIN = "# system\n\nSay the code.\n\n# user\n\n{{word}}\n"
NESTED = "---\npath: $.r.code\n---\nAs JSON: {{word}}\n"


def knows_json(body: Body) -> str:
    """Right where JSON is asked for; else always c0."""
    text = body["messages"][-1]["content"]
    right = "c0" if "even" in text else "c1"
    return json.dumps({"r": {"code": right}}) if "JSON" in text else "c0"


def test_prompts_are_scored_on_test_and_compared_with_the_first(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(PLAIN)
    (tmp_path / "nested.md").write_text(NESTED)
    with FakeEndpoint(knows_json) as fake:
        done = measured(fake, tmp_path, "plain.md", "nested.md", "--price", "1,2")
    assert not done.mistake
    assert fake.requests == 80 and set(fake.calls.values()) == {1}
    made = record(tmp_path)
    first, second = made["measured"]
    assert first["prompt"] == "plain.md" and first["over_first"] is None and second["score"]["mean"] == 1.0
    gained = round(40 * (1 - first["score"]["mean"]))
    over = second["over_first"]
    assert len(over["gained"]) == gained > 10 and over["lost"] == [] and over["low"] > 0
    assert made["winners"] == 2 and made["spent"]["total"]["calls"] == 80 and first["usd_per_1000"] > 0
    assert "nested.md over plain.md: +" in done.stdout and f"rows gained: {gained} (" in done.stdout
    assert "2 prompts were evaluated on these test rows so far" in done.stdout and "95 % interval" in done.stdout
    (path,) = tmp_path.glob("runs/*/test.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 40 and [*rows[0]["answers"]] == ["plain.md", "nested.md", "majority", "nearest", "bag_of_words"]


def test_rivals_stand_beside_the_prompts_with_the_gain_of_each_over_them(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(PLAIN)
    (tmp_path / "nested.md").write_text(NESTED)
    with FakeEndpoint(knows_json) as fake:
        done = measured(fake, tmp_path, "plain.md", "nested.md")
    made = record(tmp_path)
    assert list(made["rivals"]) == ["majority", "nearest", "bag_of_words"]
    words = made["rivals"]["bag_of_words"]
    assert words["score"]["mean"] == 1.0 and set(words["settings"]) == {"C"}
    for cell in made["measured"]:
        assert cell["over_rivals"]["bag_of_words"]["mean"] == pytest.approx(cell["score"]["mean"] - 1)
    note = "The answer of the nearest train rows does as well here (100.0 against 100.0)"
    assert done.stdout.index("bag of words ") < done.stdout.index(note) < done.stdout.index("nested.md over bag")


def test_no_rivals_measures_the_prompts_alone(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(PLAIN)
    with FakeEndpoint(knows_json) as fake:
        done = measured(fake, tmp_path, "plain.md", "--no-rivals")
    assert record(tmp_path)["rivals"] == {} and "bag of words" not in done.stdout


def test_a_best_json_is_asked_as_its_search_asked_it_and_counts_once(finished_run: RunFolder, tmp_path: Path) -> None:
    search = copied(finished_run, tmp_path / "runs")
    (tmp_path / "plain.md").write_text(PLAIN)
    with FakeEndpoint(knows_with_demos) as fake:
        done = measured(fake, tmp_path, "plain.md", str(search.best_path))
    assert not done.mistake
    best, made = json.loads(search.best_path.read_text()), record(tmp_path)
    assert best["shipped"] == "winner" and made["splits"] == best["splits"]
    assert made["measured"][1]["score"] == best["scores"]["test"]["winner"]["score"]
    assert made["measured"][1]["id"] == best["id"] and made["winners"] == 2


def test_several_models_make_a_table_and_tell_the_rows_that_a_port_gains_and_loses(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(PLAIN)
    with FakeEndpoint(lambda body: "c1", model="other") as other, FakeEndpoint(knows_json) as fake:
        at = f"other@{other.base_url}"
        done = measured(fake, tmp_path, "plain.md", "--model", "fake", "--model", at)
    assert not done.mistake
    first, second = record(tmp_path)["measured"]
    zeros = round(40 * first["score"]["mean"])
    assert other.bodies[0]["model"] == "other" and second["model"] == at
    assert (len(second["over_first"]["gained"]), len(second["over_first"]["lost"])) == (40 - zeros, zeros)
    assert "score on test by model" in done.stdout and f"rows gained: {40 - zeros} (" in done.stdout


def test_a_pattern_that_never_matches_is_named_after_the_first_20_rows(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(PLAIN)
    (tmp_path / "wrong.md").write_text("---\npattern: Code: (\\w+)\n---\n{{word}}")
    with FakeEndpoint(knows_json) as fake:
        done = measured(fake, tmp_path, "plain.md", "wrong.md")
    assert fake.requests == 1 + 20, "the first prompt's first row shows what the endpoint takes"
    assert r"The pattern Code: (\w+) finds nothing in the replies to the first 20 rows." in done.mistake
    assert "One of them: 'c0'" in done.mistake


def test_a_pattern_that_finds_a_value_of_another_type_is_a_score_of_zero(tmp_path: Path) -> None:
    (tmp_path / "odd.md").write_text("---\npattern: (c)\n---\n{{word}}")
    with FakeEndpoint(knows_json) as fake:
        done = measured(fake, tmp_path, "odd.md")
    assert not done.mistake and record(tmp_path)["measured"][0]["score"]["mean"] == 0.0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Which prompt?"),
        (["mine.md"], "The prompt file mine.md does not exist"),
        (["unknown.md"], "unknown.md, line 1: {{wrd}} cannot be filled.\nDid you mean {{word}}?"),
        (["plain.md", "--max-calls", "30"], "--max-calls 30 is too few: measuring takes up to 40 calls"),
        (["other.py", "plain.md"], "--measure takes one recipe, not 2"),
        (["empty.json"], "empty.json is no promptstill artifact"),
        (["other.json"], "other.json is nothing that can be measured.\nIt is no best.json, holds no OpenAI messages"),
    ],
)
def test_mistakes_cost_no_call_and_leave_no_run(words: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(PLAIN)
    (tmp_path / "unknown.md").write_text("{{wrd}}")
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "other.json").write_text('{"rows": [1]}')
    with FakeEndpoint(knows_json) as fake:
        done = measured(fake, tmp_path, *words)
    assert told in done.mistake
    assert fake.requests == 0 and not (tmp_path / "runs").exists()


def test_a_best_json_of_other_test_rows_is_refused(finished_run: RunFolder, tmp_path: Path) -> None:
    with FakeEndpoint(knows_json) as fake:
        done = measured(fake, tmp_path, str(finished_run.best_path), "--split-seed", "7")
    assert fake.requests == 0
    assert "was found with other test rows" in done.mistake and "--split-seed 0" in done.mistake


def test_a_best_json_of_a_cross_validated_run_has_no_row_left_to_measure_it_on(
    finished_run: RunFolder, tmp_path: Path
) -> None:
    made = json.loads(finished_run.best_path.read_text())
    made["splits"] |= {"folds": 5, "sha256": dict.fromkeys(("train", "dev", "test"), "0" * 64)}
    (tmp_path / "folded.json").write_text(json.dumps(made))
    with FakeEndpoint(knows_json) as fake:
        done = measured(fake, tmp_path, "folded.json")
    assert fake.requests == 0
    assert "searched on all of its rows" in done.mistake and "--show folded.json --as md" in done.mistake


def test_test_rows_that_stand_in_a_prompt_are_told(tmp_path: Path) -> None:
    (tmp_path / "codes.py").write_text(RECIPE)
    rows = open_task(str(tmp_path / "codes.py")).splits.test
    (tmp_path / "leaky.md").write_text(
        f"# user\n\n{rows[0].inputs['word']}\n\n# assistant\n\nc1\n\n# user\n\n{{{{word}}}}"
    )
    with FakeEndpoint(knows_json) as fake:
        told = notes_of(fake, tmp_path, "leaky.md")
    assert "1 of 40 test rows stand word for word in leaky.md" in told


def test_a_limit_of_tokens_ends_it_with_the_prompts_that_are_whole(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(PLAIN)
    (tmp_path / "nested.md").write_text(NESTED)
    with FakeEndpoint(knows_json) as fake:
        done = measured(fake, tmp_path, "plain.md", "nested.md", "--max-tokens", "2400", "--window", "1")
    made = record(tmp_path)
    assert "--max-tokens 2400 ended it" in done.stdout
    assert [one["prompt"] for one in made["measured"]] == ["plain.md"] and made["winners"] == 1


def test_a_measurement_is_no_run_to_go_on_with(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(PLAIN)
    with FakeEndpoint(knows_json) as fake:
        measured(fake, tmp_path, "plain.md")
    (folder,) = (tmp_path / "runs").iterdir()
    with pytest.raises(UserError, match="is a measurement, not a search"):
        RunFolder.open(folder)


def test_a_model_with_a_url_of_its_own_is_asked_there() -> None:
    at = MeasureSettings(recipe="r.py", models=("a@http://h/v1", "b"), base_url="http://g/v1").models_at("x")
    assert [(one.name, one.source.base_url) for one in at] == [("a", "http://h/v1"), ("b", "http://g/v1")]


@pytest.mark.parametrize("change", [{"splits": []}, {"splits": {"sha256": 5}}, {"splits": {"seed": "x"}}])
def test_a_best_json_with_another_record_is_refused_in_words(change: dict[str, Any], tmp_path: Path) -> None:
    best = {"schema_version": SCHEMA_VERSION, "prompt": {}, **change}
    (tmp_path / "best.json").write_text(json.dumps(best))
    with FakeEndpoint(knows_json) as fake:
        assert "holds no valid prompt" in measured(fake, tmp_path, "best.json").mistake


def reversed_codes(body: Body) -> str:
    """Another model: right where the first one is wrong, and else wrong."""
    return knows_with_demos(body).translate(str.maketrans("01?", "10x"))


def test_a_port_is_compared_with_the_scores_that_the_search_left(finished_run: RunFolder, tmp_path: Path) -> None:
    search = copied(finished_run, tmp_path / "runs")
    best = tmp_path / "best.json"
    best.write_text(search.best_path.read_text())
    with FakeEndpoint(reversed_codes, model="other") as fake:
        done = measured(fake, tmp_path, "best.json", "--model", "other")
    assert not done.mistake and fake.requests == 41, "one shows what the endpoint takes"
    (port,) = record(tmp_path)["measured"]
    right = round(40 * json.loads(best.read_text())["scores"]["test"]["winner"]["score"]["mean"])
    assert port["found_on"] == "fake" and len(port["over_found"]["lost"]) == right > 10
    assert "best.json on other over fake, on which it was found: -" in done.stdout
    assert f"rows gained: 0; rows lost: {right} (" in done.stdout


def test_a_port_without_the_search_s_rows_is_compared_where_both_models_are_named(
    finished_run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "best.json").write_text(finished_run.best_path.read_text())
    (tmp_path / "plain.md").write_text(PLAIN)
    with FakeEndpoint(reversed_codes, model="other") as other, FakeEndpoint(knows_with_demos) as fake:
        alone = measured(other, tmp_path, "best.json", "--model", "other")
        shutil.rmtree(tmp_path / "runs")
        at = f"other@{other.base_url}"
        both = measured(fake, tmp_path, "plain.md", "best.json", "--model", "fake", "--model", at)
    wanted = "To see the rows that best.json gains and loses by its port from fake, add --model fake."
    assert wanted in alone.stdout and wanted not in both.stdout
    by_cell = {(one["prompt"], one["model"]): one for one in record(tmp_path)["measured"]}
    assert by_cell["best.json", at]["over_found"]["mean"] < 0 and by_cell["best.json", "fake"]["over_found"] is None
    assert f"best.json on {at} over fake, on which it was found: -" in both.stdout
