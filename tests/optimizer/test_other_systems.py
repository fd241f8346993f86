"""Elsewhere than on Linux: a search at an endpoint uses nothing that only Unix has; what needs vLLM says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.codes import RECIPE, best, command, knows_with_demos, run
from tests.support.fake import FakeEndpoint

# As Windows, as far as Linux lets it be: its modules and functions are missing, stdout is not UTF-8.
ELSEWHERE = """
import asyncio, os, platform, runpy, signal, sys
import filelock, platformdirs, psutil  # they choose by the system themselves

class Absent:
    names = ("fcntl", "grp", "pwd", "resource", "termios", "torch", "transformers", "peft", "vllm", "gguf")

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
for name in Absent.names:
    sys.modules.pop(name, None)
for module, names in (
    (os, "fork forkpty setsid setpgid getpgid killpg getuid geteuid getgid fchmod chown mkfifo sched_getaffinity nice"),
    (signal, "SIGKILL SIGHUP SIGALRM SIGCHLD SIGUSR1 alarm setitimer pthread_sigmask sigwait"),
):
    for name in names.split():
        delattr(module, name)

def refuse(*arguments):
    raise NotImplementedError

asyncio.SelectorEventLoop.add_signal_handler = refuse
platform.system = lambda: "Windows"
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_elsewhere(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "elsewhere.py").write_text(ELSEWHERE)
    return run([sys.executable, "elsewhere.py", *words], folder, PYTHONIOENCODING="cp1252")


def test_a_search_at_an_endpoint_needs_nothing_of_unix(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        words = command(fake, tmp_path, "--trials", "4")[2:]
        done = run_elsewhere(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert best(tmp_path)["shipped"] == "winner" and "winner over baseline" in done.stdout
    assert "<svg" in next(tmp_path.glob("runs/*/report.html")).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("optimizer", "codes.py", "--model", "smollm2-135m"), "The embedded model"),
        (("optimizer", "codes.py", "--model", "org/name"), "A model on this machine"),
        (("distill", "--from-prompt", "best.json"), "distill"),
        (("serving", "best.json"), "serve"),
    ],
)
def test_what_needs_vllm_names_the_system(words: tuple[str, ...], what: str, tmp_path: Path) -> None:
    (tmp_path / "codes.py").write_text(RECIPE)
    (tmp_path / "best.json").write_text("{}")
    done = run_elsewhere(tmp_path, *words)
    assert done.returncode == 2, done.stderr
    assert f"error: {what} needs Linux, for vLLM; this is Windows." in done.stderr


def test_what_the_output_cannot_show_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "codes.py").write_text(RECIPE.replace("def codes", "def 漢字"))
    done = run_elsewhere(tmp_path, "optimizer", "codes.py", "--check")
    assert done.returncode == 0 and "the recipe \\u6f22\\u5b57 is in order" in done.stdout, done.stderr
