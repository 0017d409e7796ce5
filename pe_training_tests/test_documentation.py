"""The documentation tells the truth: files exist, commands run, the tree is the tree."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import Ended, pe

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`?make ([a-z-]+)`", page.read_text())}
    assert named <= targets
    assert {"help", "demo", "test", "up", "check", "bench", "docs", "clean"} <= targets


def test_the_tree_in_the_readme_is_the_tree() -> None:
    tree = re.search(r"```\npe_training/\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert tree is not None
    shown = {line.split()[0].rstrip("/") for line in tree.group(1).splitlines() if line.startswith("  ")}
    real = {p.name for p in (ROOT / "pe_training").iterdir() if not p.name.startswith(("_", ".")) and p.name != "py.typed"}
    assert shown == real


@pytest.mark.slow
def test_every_pe_command_in_the_readme_works(finished: tuple[Path, Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    commands = [line for line in shell_lines(ROOT / "README.md") if line.startswith("pe ")]
    assert len(commands) >= 7
    for line in commands:
        result = pe(*shlex.split(line)[1:], home=finished[0])
        assert result.code == 0, f"{line}\n{result.stdout}{result.stderr}"
