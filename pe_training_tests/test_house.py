"""The house keeps its shape: floors, sizes, and what must never appear in it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "pe_training").rglob("*.py"))
HEAVY = {"torch", "dagster", "lightning", "great_expectations", "sqlalchemy", "pandas", "transformers", "pyarrow", "scipy", "sklearn"}


def name_of(module: Path) -> str:
    return str(module.relative_to(ROOT / "pe_training"))


def test_rooms_import_only_rooms_below_them() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
    assert " 0 kept" not in done.stdout


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_short_and_says_what_it_is_for(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= 300
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", "?"))  # a room's question is a sentence too


def test_definitions_stay_small() -> None:
    assert len((ROOT / "pe_training" / "definitions.py").read_text().splitlines()) < 60


def is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "print"


def is_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    return (isinstance(node, ast.Attribute) and node.attr in names) or (isinstance(node, ast.alias) and node.name in names)


def is_pickle(node: ast.AST) -> bool:
    """Pickle under any of its names, and torch.load, which is pickle."""
    names = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in names for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        torch_load = node.module == "torch" and any(alias.name == "load" for alias in node.names)
        return (node.module or "").partition(".")[0] in names or torch_load
    owner = node.value if isinstance(node, ast.Attribute) else None
    return (
        isinstance(node, ast.Attribute) and isinstance(owner, ast.Name) and (owner.id, node.attr) in {("torch", "load"), ("torch", "save")}
    )


def is_bare_except(node: ast.AST) -> bool:
    return isinstance(node, ast.ExceptHandler) and node.type is None


BANNED: list[tuple[Callable[[ast.AST], bool], set[str]]] = [
    (is_print, set()),
    (is_environment, {"settings.py"}),
    (is_pickle, set()),
    (is_bare_except, set()),
]


@pytest.mark.parametrize(("banned", "allowed"), BANNED, ids=lambda value: getattr(value, "__name__", ""))
def test_some_things_are_nowhere(banned: Callable[[ast.AST], bool], allowed: set[str]) -> None:
    found = {name_of(module) for module in MODULES if any(map(banned, ast.walk(ast.parse(module.read_text()))))}
    assert found <= allowed


@pytest.mark.parametrize(
    ("banned", "code"),
    [
        (is_print, "print('x')"),
        (is_print, "show = print"),
        (is_environment, "import os\nos.environ['X']"),
        (is_environment, "from os import getenv"),
        (is_pickle, "import pickle"),
        (is_pickle, "from pickle import loads"),
        (is_pickle, "from torch import load"),
        (is_pickle, "torch.load(path, weights_only=True)"),
        (is_bare_except, "try: f()\nexcept: pass"),
    ],
)
def test_the_search_would_find_them(banned: Callable[[ast.AST], bool], code: str) -> None:
    assert any(map(banned, ast.walk(ast.parse(code))))


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("dataset", "--help"), ("plan", "--help")], ids=" ".join)
def test_help_is_answered_without_anything_heavy(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "pe_training.cli", *words]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "Usage" in done.stdout
    assert {"pe_training", "typer"} <= imported  # the list of imports was really read
    assert imported & HEAVY == set()


def test_the_workspace_beside_the_code_is_the_one_that_is_installed() -> None:
    from pe_training.compute.dagster_home import WORKSPACE

    assert (ROOT / "workspace.yaml").read_text() == WORKSPACE
