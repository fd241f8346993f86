"""docs/ and the READMEs: no dead link, unknown option, or error text that the code does not have."""

from __future__ import annotations

import ast
import re
import shutil
from functools import cache
from pathlib import Path

import click
import pytest
from PIL import Image

from distill.cli import distill
from docs import write_cli, write_picture
from optimizer.cli import optimize
from optimizer.run.folder import RunFolder
from optimizer.run.regression import REGRESSED
from promptstill.errors import UserError
from serving.cli import serve
from tests.support import ROOT

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / f"{folder}/README.md" for folder in ("recipes", "benchmarks")),
    *DOCS,
]
OTHERS_OPTIONS = {  # vLLM's, and a script's
    *("--trust-request-chat-template", "--max-num-seqs", "--max-model-len", "--dtype"),
    *("--tensor-parallel-size", "--data-parallel-size", "--dry-run"),
    *("--reasoning-parser", "--default-chat-template-kwargs"),
}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ids = [str(page.relative_to(ROOT)) for page in PAGES]


def prose(page: Path) -> str:
    """A page without its fences and code spans."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub names them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = [heading.lower() for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return frozenset(re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in headings)


def dead(page: Path) -> list[str]:
    """The relative links that lead nowhere."""
    return [link for link in LINK.findall(prose(page)) if not re.match(r"https?:", link) and not reachable(page, link)]


def reachable(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and target.is_relative_to(ROOT) and (not anchor or anchor in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert dead(page) == []


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Two words, a.b\n[a](#two-words-ab) [b](#two) [c](none.md) [d](https://x.org) `[e](none)`\n")
    assert dead(page) == ["#two-words-ab", "#two", "none.md"], "outside the repository nothing is reachable"
    assert anchors(page) == {"two-words-ab"}


def test_the_readme_leads_to_every_page() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall(prose(ROOT / "README.md"))}
    assert {str(page.relative_to(ROOT)) for page in DOCS} <= linked


@cache
def options() -> frozenset[str]:
    """All options of the three commands."""
    commands: list[click.Command] = [optimize, distill, serve]
    found = {name for one in commands for parameter in one.params for name in parameter.opts}
    return frozenset(found | {"--help"} | OTHERS_OPTIONS)


# Options of other programs, and of the benchmarks.
ELSEWHERE = r"(pip install|python -m benchmarks\.[\w.]+) [^`\n]*|'--FLAG[^']*'"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_option_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(ELSEWHERE, "", page.read_text())))
    assert named - options() == set()


def test_the_reference_is_what_the_commands_say_now() -> None:
    assert write_cli.PAGE.read_text(encoding="utf-8") == write_cli.page(), "run: python docs/write_cli.py"
    assert f"| {REGRESSED} | `optimize --gate`" in write_cli.CODES


@cache
def texts() -> frozenset[str]:
    """The strings of the sources, … for what is filled in; and the Makefile's, its line breaks undone."""
    found = {" ".join((ROOT / "Makefile").read_text().replace("\\\n", " ").split())}
    for folder in ("promptstill", "optimizer", "distill", "serving", "recipes"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= {said(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))}
    return frozenset(found)


def said(node: ast.AST) -> str:
    """The text of a string constant or f-string."""
    if isinstance(node, ast.JoinedStr):
        return re.sub("…+", "…", "".join(said(value) for value in node.values))
    if isinstance(node, ast.FormattedValue):
        return "…"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def quoted() -> list[str]:
    """The error texts that the troubleshooting page quotes."""
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    return [line for fence in re.findall(r"^```error\n(.*?)^```", page, re.M | re.S) for line in fence.splitlines()]


@pytest.mark.parametrize("text", quoted())
def test_every_error_that_is_quoted_is_one(text: str) -> None:
    assert text in texts() or any(text in one for one in texts() if one.startswith("# Everything runs in .venv"))


def test_enough_is_quoted_and_no_text_twice() -> None:
    assert len(quoted()) >= 50 and len(set(quoted())) == len(quoted())


@pytest.mark.skipif(
    not any(map(shutil.which, write_picture.NAMES)), reason="no chromium here: apt-get install chromium"
)
def test_a_picture_of_a_report(finished_run: RunFolder, tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    write_picture.take(finished_run.report_path, picture)
    with Image.open(picture) as seen:
        assert seen.size == (write_picture.WIDTH, write_picture.HEIGHT)
        band = seen.convert("L").crop((0, write_picture.HEIGHT - 100, *seen.size))
        assert sum(count > 0 for count in band.histogram()) > 8, "the page must reach the lower edge"
    assert picture.stat().st_size < write_picture.MOST_BYTES


def test_no_picture_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        write_picture.take(tmp_path / "report.html", tmp_path / "report.png")
    assert not (tmp_path / "report.png").exists()
