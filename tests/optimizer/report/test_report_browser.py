"""The page in a real browser: no console message, the filter filters, the search searches. Needs Debian's chromium."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest

from optimizer.report.report import write_report
from optimizer.run.folder import RunFolder
from tests.support.finished import copied, with_rows

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=5000",
]


@dataclass
class Seen:
    """What the browser made of a page: its DOM, and what it wrote to the console."""

    dom: str
    console: list[str]

    @property
    def rows(self) -> list[str]:
        """The classes of the rows that are shown."""
        found = Rows()
        found.feed(self.dom)
        return found.shown


class Rows(HTMLParser):
    """Collects the rows that are not hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "details" and re.match("win|loss|same", given.get("class") or "") and "hidden" not in given:
            self.shown.append(given["class"] or "")


def browse(page: Path, profile: Path, **asked: str) -> Seen:
    """Open the page with a state in its address, as the page itself writes it there."""
    address = f"{page.as_uri()}#{urlencode(asked)}"
    argv = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", "--dump-dom", address]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    return Seen(done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line])


@pytest.fixture(scope="module")
def page(finished_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 450 rows, a third of them wins and a third losses, all with hostile text."""
    mine = with_rows(copied(finished_run, tmp_path_factory.mktemp("page")), 450, "context")
    write_report(mine)
    return mine.report_path


def test_the_page_loads_without_a_console_message_and_shows_a_page_of_rows(page: Path, tmp_path: Path) -> None:
    seen = browse(page, tmp_path)
    assert seen.console == []
    assert len(seen.rows) == 200 and "450 of 450 rows" in seen.dom and "show 200 more" in seen.dom
    assert 'id="find"' in seen.dom and "<img" not in seen.dom and "onerror" not in re.sub(r">[^<]*<", "><", seen.dom)


@pytest.mark.parametrize("kind", ["win", "loss", "same"])
def test_the_filter_filters(kind: str, page: Path, tmp_path: Path) -> None:
    seen = browse(page, tmp_path, show=kind)
    assert seen.rows == [kind] * 150 and "150 of 450 rows" in seen.dom and seen.console == []


def test_the_search_searches_and_adds_to_the_filter(page: Path, tmp_path: Path) -> None:
    assert len(browse(page, tmp_path, text="NEEDLE42z").rows) == 1
    assert len(browse(page, tmp_path, text="winner says 44").rows) == 11
    assert browse(page, tmp_path, text="needle43z", show="win").rows == []
    assert len(browse(page, tmp_path, show="nonsense", text="").rows) == 200


def test_the_policy_lets_no_other_script_run(page: Path, tmp_path: Path) -> None:
    smuggled = page.with_name("smuggled.html")
    text = page.read_text(encoding="utf-8")
    smuggled.write_text(text.replace("</body>", "<script>document.title = 'run'</script></body>"), encoding="utf-8")
    seen = browse(smuggled, tmp_path)
    assert "<title>run</title>" not in seen.dom and any("Content Security Policy" in line for line in seen.console)
