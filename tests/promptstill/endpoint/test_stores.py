"""What every call store must do, tried on each entry of the table.

A store that keeps its calls in a file is tried at SCHEME:///PATH. The environment variable TEST_SCHEME_URL names
another URL, such as an empty database of a server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from promptstill.endpoint.store import Completion, Total
from promptstill.endpoint.stores import STORES, open_calls
from promptstill.errors import UserError

COMPLETION = Completion(
    'ein "Text" 🙂\n\x00', "length", 10, 4, 2, 0.125, log_probs=[{"ü": -0.5, "a": -1.5}, {"b": 0.0}]
)
BODY = {"model": "m", "messages": [{"role": "user", "content": "{ü}"}]}
WRITE = """
import os
import signal
import sys
from promptstill.endpoint.store import Completion
from promptstill.endpoint.stores import open_calls
url, name = sys.argv[1:]
store = open_calls(url)
for number in range(100):
    store.put(f"shared-{number}", "task", {}, Completion(name, "stop", 1, 0, 1, 0.1))
    store.put(f"{name}-{number}", name, {}, Completion(name, "stop", 1, 0, 1, 0.1))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    scheme = str(request.param)
    return os.environ.get(f"TEST_{scheme.upper()}_URL") or f"{scheme}:///{tmp_path / 'calls.db'}"


def test_a_completion_is_kept_whole_for_the_next_process(url: str) -> None:
    with closing(open_calls(url)) as store:
        assert store.get("key") is None
        store.put("key", "task", BODY, COMPLETION)
        assert store.get("key") == COMPLETION
    with closing(open_calls(url)) as store:
        assert store.get("key") == COMPLETION and store.get("other") is None and store.get("") is None


def test_of_two_completions_of_one_request_the_first_stays(url: str) -> None:
    with closing(open_calls(url)) as store:
        store.put("key", "task", BODY, COMPLETION)
        store.put("key", "test", BODY, Completion("other", "stop", 1, 1, 1, 1.0))
        assert store.get("key") == COMPLETION and store.totals() == {"task": Total(1, 10, 2)}


def test_calls_and_tokens_are_counted_by_role(url: str) -> None:
    with closing(open_calls(url)) as store:
        assert store.totals() == {}
        for number, role in enumerate(["task", "test", "task"]):
            store.put(str(number), role, BODY, Completion("text", "stop", 10 + number, 0, number, 0.1))
        assert store.totals() == {"task": Total(2, 22, 2), "test": Total(1, 11, 1)}


def test_working_time_runs_from_answer_to_answer_of_a_role(url: str) -> None:
    with closing(open_calls(url)) as store:
        assert store.working_seconds() == 0.0
        store.put("a", "task", BODY, COMPLETION)
        assert store.working_seconds() == 0.0
        time.sleep(1.1)
        store.put("b", "test", BODY, COMPLETION)
        assert 1.0 <= store.working_seconds() <= 10.0
        assert store.working_seconds("task") == store.working_seconds("test") == store.working_seconds("none") == 0.0


def test_two_processes_write_at_once_and_a_kill_loses_no_call(url: str) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, url, name]) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [-signal.SIGKILL, -signal.SIGKILL]
    with closing(open_calls(url)) as store:
        assert {role: total.calls for role, total in store.totals().items()} == {"task": 100, "one": 100, "two": 100}
        assert all(store.get(f"{name}-{number}") for name in ("one", "two") for number in range(100))


def test_another_connection_sees_a_call_at_once(url: str) -> None:
    with closing(open_calls(url)) as store, closing(open_calls(url)) as other:
        store.put("key", "task", BODY, COMPLETION)
        assert other.get("key") == COMPLETION and other.totals() == store.totals()


def test_a_store_may_be_used_in_another_thread_than_its_own(url: str) -> None:
    """A judge opens its store in one thread and asks in another."""
    with closing(open_calls(url)) as store:
        thread = threading.Thread(target=store.put, args=("key", "task", BODY, COMPLETION))
        thread.start()
        thread.join()
        assert store.get("key") == COMPLETION


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("unknown://user:secret@host/calls", "There is no call store for unknown:// URLs."),
        ("calls.db", "A call store is named by a URL."),
        ("", "A call store is named by a URL."),
    ],
)
def test_an_unknown_scheme_is_refused_with_those_known(url: str, what: str) -> None:
    with pytest.raises(UserError) as caught:
        open_calls(url)
    assert caught.value.what == what and all(f"{scheme}://" in caught.value.why for scheme in STORES)
    assert "secret" not in str(caught.value)
