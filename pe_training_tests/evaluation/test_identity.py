"""What an answer is filed under: all that can change it, and nothing else of the run."""

from __future__ import annotations

import ast
from pathlib import Path

from pe_training.evaluation import identity
from pe_training.evaluation.identity import ANSWERING, model_identity
from pe_training_tests.evaluation.test_evidence import checkpoint, manifest

ROOM = Path(identity.__file__).parent
NO_ANSWER = {"generate"}  # what decides who is asked, and in which order


def test_the_base_model_is_the_same_for_all_runs_of_it_and_another_with_all_that_changes_its_answers() -> None:
    first = manifest()
    base = model_identity(None, first, precision="32-true")
    spec = first.spec
    other_run = spec.model_copy(
        update={
            "name": "other",
            "hyperparameters": spec.hyperparameters.model_copy(update={"max_steps": 99, "learning_rate": 0.2}),
            "dataset": spec.dataset.model_copy(update={"version": "ds_" + "1" * 32}),
        }
    )
    assert model_identity(None, first.model_copy(update={"spec": other_run, "policy": "sha256:8"}), precision="32-true") == base
    changed = [
        first.model_copy(update={"spec": spec.model_copy(update={"seed": 2})}),  # scratch: its weights
        first.model_copy(update={"base": first.base.model_copy(update={"pin": "sha256:1"})}),
    ]
    found = [
        base,
        *(model_identity(None, one, precision="32-true") for one in changed),
        model_identity(None, first, precision="bf16-true"),
        model_identity(checkpoint(step=1), first, precision="32-true"),
        model_identity(checkpoint(step=2), first, precision="32-true"),
    ]
    assert len({one.digest for one in found}) == len({one.subject for one in found}) == 6


def test_no_other_module_of_the_room_can_change_an_answer() -> None:
    used = set()
    for name in ANSWERING:
        for node in ast.walk(ast.parse((ROOM / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pe_training.evaluation."):
                used.add(str(node.module).rpartition(".")[2])
    assert used - NO_ANSWER <= {name.removesuffix(".py") for name in ANSWERING}
