"""The pages of the documentation: every command they type exists, every option is known, every link points somewhere."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from teleop.cli._main import commands

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if p.parent.name != "api")
OURS = [*sorted(DOCS.glob("tutorials/*.md")), *sorted(DOCS.glob("howto/*.md")), *(DOCS / f"{n}.md" for n in ("deploy", "cockpit", "lines", "scale", "index"))]


def typed(page: Path) -> list[tuple[str, str]]:
    """(command, rest of the line) of every `longhand COMMAND ...` on a page, in code only."""
    text = page.read_text().replace("\\\n", " ")
    code = re.findall(r"^    (.*)$", text, re.M) + re.findall(r"`([^`\n]+)`", text)
    return [m for line in code for m in re.findall(r"(?:^|bin/|&& |· )longhand ([a-z][a-z-]*)((?: [^#·]*)?)", line)]


@pytest.mark.parametrize("page", OURS, ids=lambda p: str(p.relative_to(DOCS)))
def test_every_command_and_every_option_on_the_page_exists(page: Path) -> None:
    known = commands()
    for command, rest in typed(page):
        assert command in known, f"{page.name}: longhand {command}"
        source = known[command].read_text()
        for option in re.findall(r" --([a-z][a-z-]+)", rest):
            name = option.removeprefix("no-")
            assert option in source or name.replace("-", "_") in source, f"{page.name}: longhand {command} --{option}"


@pytest.mark.parametrize("page", OURS, ids=lambda p: str(p.relative_to(DOCS)))
def test_every_link_and_every_file_on_the_page_is_there(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
    for file in re.findall(r"`((?:teleop|safety|sim|deploy|examples|bench|tests|launch|docs)/[\w/.@-]+\.(?:py|sh|mjs|yaml|yml|json|md|toml))`", text):
        assert (ROOT / file).exists(), f"{page.name}: {file}"


def test_the_check_of_commands_would_find_a_wrong_one(tmp_path: Path) -> None:
    page = tmp_path / "x.md"
    page.write_text("    longhand teleport --now\n\nand `longhand verify a.mcap --frobnicate`\n")
    assert [c for c, _ in typed(page)] == ["teleport", "verify"] and "--frobnicate" in typed(page)[1][1]


def test_every_page_is_in_the_contents() -> None:
    contents = (DOCS / "index.md").read_text()
    for page in PAGES:
        name = str(page.relative_to(DOCS).with_suffix(""))
        assert name == "index" or name in contents or page.parent.name == "results", f"{name} is not in docs/index.md"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    missing = [m for m in ("sphinx", "furo", "myst_parser") if importlib.util.find_spec(m) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (make docs installs it)")
    words = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path / "site")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "site" / "api" / "link.html").read_text()
    assert "ConsoleLink" in page, "the API reference is empty"
