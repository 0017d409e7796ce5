"""The house keeps its shape: floors, sizes, and what must never appear in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pe_training.settings import Settings

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "pe_training").rglob("*.py"))


def test_rooms_import_only_rooms_below_them() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT / "pe_training")))
def test_a_module_is_short_and_says_what_it_is_for(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= 300
    assert text.startswith('"""')
    assert text.splitlines()[0].rstrip('"').endswith((".", "?"))


def test_definitions_stay_small() -> None:
    assert len((ROOT / "pe_training" / "definitions.py").read_text().splitlines()) < 60


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (r"(?<!\.)\bprint\(", ()),
        (r"os\.environ|getenv", ("settings.py",)),
        (r"\bpickle\b|torch\.load\(", ("states.py", "base.py")),
        (r"except\s*:", ()),
    ],
)
def test_some_things_are_nowhere(pattern: str, allowed: tuple[str, ...]) -> None:
    for module in MODULES:
        code = "\n".join(line for line in module.read_text().splitlines() if not line.lstrip().startswith(("#", '"')))
        assert module.name in allowed or not re.search(pattern, code), module


def test_help_is_answered_without_anything_heavy() -> None:
    code = (
        "import sys; sys.argv = ['pe', '--help']\n"
        "from pe_training.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'dagster', 'lightning', 'great_expectations', 'sqlalchemy', 'pandas', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_table_of_settings_is_the_settings() -> None:
    shown = re.findall(r"^\| `([A-Z_]+)` \| .+? \| (.+) \|$", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    fields = Settings.model_fields
    real = [(str(field.validation_alias or f"PE_{name.upper()}"), field.description) for name, field in fields.items()]
    assert shown == real


def test_the_workspace_beside_the_code_is_the_one_that_is_installed() -> None:
    from pe_training.compute.dagster_home import WORKSPACE

    assert (ROOT / "workspace.yaml").read_text() == WORKSPACE
