"""What distill refuses before a model is asked, with the literal messages."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from distill.folder import Distilled
from distill.plan import plan
from distill.settings import Settings
from distill.teach import Teaching
from optimizer.calls import SqliteCalls
from optimizer.endpoints import Source
from optimizer.errors import UserError
from optimizer.progress import Watch
from tests import tiny
from tests.fake import FakeEndpoint
from tests.feel import best_json


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A distillation that is in order, in the working directory; the model is tiny."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tiny"
    made = tiny.model(folder)
    best_json(tmp_path, replace(made, name="tiny"))
    return Settings(from_prompt="best.json")


def refusal(settings: Settings) -> UserError:
    with pytest.raises(UserError) as caught:
        plan(settings, print)
    return caught.value


def edit(**changes: object) -> None:
    """Change top-level entries of best.json."""
    path = Path("best.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_plan_names_teacher_student_and_rows(settings: Settings) -> None:
    made = plan(settings, print)
    assert made.teaches_itself and made.teacher == made.best and len(made.rows) == 60 and made.leaks == 0
    assert made.student.messages({"thing": "x"}) == [{"role": "user", "content": "Thing: x\nFeel:"}]
    assert made.student.decoding.structured == {"choice": [" hot", " cold"]}


def test_a_teacher_that_is_never_right_is_refused_before_test_is_read(settings: Settings) -> None:
    with FakeEndpoint(lambda body: " warm", model="tiny") as fake, Watch(Console(file=io.StringIO())) as watch:
        settings = replace(settings, source=Source(base_url=fake.base_url))
        made = plan(settings, watch.say)
        folder = Distilled.create(Path("distilled"), settings)
        store = SqliteCalls(folder.calls_path)
        with pytest.raises(UserError, match="No training row survives"):
            Teaching(made, settings, folder, watch, store).run()
        store.close()
    asked = {body["messages"][-1]["content"] for body in fake.bodies}
    assert asked == {made.teacher.messages(row.inputs)[-1]["content"] for row in made.rows}, "no row of test"


def test_a_changed_recipe_and_changed_data(settings: Settings) -> None:
    path = Path("feel.py")
    path.write_text(path.read_text() + "\n# changed\n")
    assert refusal(settings).what == "best.json is of another recipe than feel.py now has."


def test_a_recipe_that_moved(settings: Settings) -> None:
    Path("feel.py").rename("moved.py")
    found = refusal(settings)
    assert found.what == "The recipe feel.py of best.json is not there." and "--recipe FILE.py" in found.do
    assert plan(replace(settings, recipe="moved.py"), print).name == "feel"


def test_a_newer_best_json(settings: Settings) -> None:
    edit(schema_version=99)
    assert refusal(settings).what == "best.json has schema_version 99."


def test_a_student_without_weights(settings: Settings) -> None:
    Path("tiny/model.safetensors").unlink()
    found = refusal(settings)
    assert found.what == "tiny has no weights here to train." and "It lacks *.safetensors." in found.why
    assert found.do == "Name the student's model: --student MODEL"


def test_a_teacher_of_another_task(settings: Settings) -> None:
    other = json.loads(Path("best.json").read_text()) | {"name": "other"}
    Path("other.json").write_text(json.dumps(other))
    assert refusal(replace(settings, teacher="other.json")).what == "other.json is a prompt of another recipe, other."


def test_a_target_that_the_model_does_not_have(settings: Settings) -> None:
    found = refusal(replace(settings, hyper=replace(settings.hyper, targets=("q_proj", "nonsense"))))
    assert "nonsense" in found.what + found.why


def test_a_resumed_distillation_takes_no_other_option(settings: Settings) -> None:
    from click.testing import CliRunner

    from distill.cli import distill

    done = CliRunner().invoke(distill, ["--resume", "distilled", "--epochs", "5", "-k", "2"])
    assert isinstance(done.exception, UserError)
    assert done.exception.what == "--resume takes no other option, not -k, --epochs."
