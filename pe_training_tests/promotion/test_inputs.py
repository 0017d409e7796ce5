"""The pinned policy: the one the manifest was resolved with, whatever lies in the folder now."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.promotion.inputs import check_inputs, pinned_policy
from pe_training.settings import SAMPLES
from pe_training.storage.state import State
from pe_training_tests.promotion import factory

DEV = (SAMPLES / "policies" / "dev.yaml").read_text()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return factory.new_state(tmp_path)


def pinned(state: State, text: str | None = None) -> factory.ResolvedManifest:
    return factory.make_manifest(state, line="empathy", seed=1, policy="dev", dataset=factory.make_dataset(state), text=text)


def error_of(state: State, manifest: factory.ResolvedManifest) -> PeError:
    with pytest.raises(PeError) as caught:
        check_inputs(manifest, state=state)
    return caught.value


def test_the_policy_is_read_from_the_artifact_store(state: State) -> None:
    manifest = pinned(state, DEV.replace("min_n: 20", "min_n: 21"))
    assert pinned_policy(manifest, state=state).rules[0].min_n == 21
    assert check_inputs(manifest, state=state) == pinned_policy(manifest, state=state)


def test_a_typo_in_a_pinned_policy_is_located(state: State) -> None:
    error = error_of(state, pinned(state, DEV.replace("min_n: 20", "min_n: many", 1)))
    assert str(error) == "policies/dev.yaml:16:12: rules.0.min_n: input should be a valid integer (got 'many')"


def test_a_policy_that_blocks_nothing_for_the_task_is_refused_before_money_is_spent(state: State) -> None:
    error = error_of(state, pinned(state, DEV.replace("tasks: [causal_lm]", "tasks: [text_classification]")))
    assert error.kind == Kind.INPUT
    assert str(error) == (
        "policies/dev.yaml: policy dev has no blocking rule for causal_lm, so it could never pass this model "
        "(add one with `tasks: [causal_lm]`, or name another policy)"
    )


def test_a_damaged_policy_is_corrupt(state: State) -> None:
    manifest = pinned(state)
    factory.damage(state, manifest.inputs[0])
    assert error_of(state, manifest).kind == Kind.CORRUPT


def test_a_manifest_without_its_policy_is_corrupt(state: State) -> None:
    manifest = pinned(state).model_copy(update={"policy": "sha256:" + "1" * 64})
    assert error_of(state, manifest).message.endswith("does not hold the policy 'dev' that it names")


def test_a_policy_that_is_not_text_is_refused(state: State) -> None:
    data = b"\xff\xfe"
    file = factory.kept(state, "policies/dev.yaml", data)
    manifest = pinned(state).model_copy(update={"policy": file.digest, "inputs": (file,)})
    assert str(error_of(state, manifest)) == "policies/dev.yaml: is not UTF-8 text (byte 0) (save it as UTF-8)"
