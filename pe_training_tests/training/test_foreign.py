"""Weights from elsewhere: folders as PEFT and the Hugging Face Trainer really write them, and folders that cannot be taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch
from safetensors.torch import load_file, save_file

from pe_training.core.errors import Kind, PeError
from pe_training.lineage.verify import verify
from pe_training.manifests.schema import ModelRef
from pe_training.settings import Settings
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training.training.foreign import read_foreign
from pe_training.training.record import ImportedModel, TrainingRun
from pe_training.training.start import start_model
from pe_training.training.weights import tensors_digest, trained_tensors
from pe_training_tests.lineage.recalling import accepted
from pe_training_tests.tampering import past_the_ledger
from pe_training_tests.training.runs import register_run
from pe_training_tests.training.steps import model, smoke
from pe_training_tests.training.test_preference import rows

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
BASE = ModelRef(base="scratch:tiny-llama")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(Settings(home=tmp_path / "home"))


def taken(folder: Path, state: State) -> ImportedModel:
    return read_foreign(folder, line="theirs", base=BASE, task="causal_lm", actor="somebody", reason="a trial", state=state)


def peft_folder(folder: Path) -> Path:
    """As PEFT writes it."""
    model("llama", "lora", seed=4).save_pretrained(folder)
    return folder


def trainer_folder(folder: Path, made: Any) -> Path:
    """As the Trainer writes it after one step, pickles included."""
    import transformers

    text = [{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}] * 2
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=1, save_steps=1, report_to=[], use_cpu=True, disable_tqdm=True, per_device_train_batch_size=2
    )  # fmt: skip
    trainer = transformers.Trainer(model=made, args=arguments, train_dataset=text, data_collator=lambda found: {  # type: ignore[arg-type]
        key: torch.tensor([row[key] for row in found]) for key in ("input_ids", "labels")})  # fmt: skip
    trainer.train()
    return folder / "checkpoint-1"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["peft", "trainer-lora", "trainer-full"])
def test_a_run_starts_from_the_very_weights_and_its_lineage_names_them(tmp_path: Path, state: State, kind: str) -> None:
    trained = "full" if kind == "trainer-full" else "lora"
    folder = peft_folder(tmp_path / "theirs") if kind == "peft" else trainer_folder(tmp_path / "theirs", model("llama", trained, seed=4))
    made = taken(folder, state)
    state.registry.put(made)
    assert (made.format, made.declared.get("trainer_steps")) == (
        "full" if trained == "full" else "peft-adapter",
        None if kind == "peft" else "1",
    )
    assert all(file.path.endswith((".safetensors", ".json")) for file in made.content_files)
    assert verify(state, made.id).ok
    with past_the_ledger(state.registry) as connection:
        body = sa.func.replace(t.records.c.body, "a trial", "a trick")
        connection.execute(sa.update(t.records).where(t.records.c.id == made.id).values(body=body))
    assert [found.what for found in verify(state, made.id).findings] == ["content"]
    with past_the_ledger(state.registry) as connection:
        body = sa.func.replace(t.records.c.body, "a trick", "a trial")
        connection.execute(sa.update(t.records).where(t.records.c.id == made.id).values(body=body))

    accepted(state, tmp_path, "planted", rows())
    adapter = ", adapter: {type: lora, r: 4, alpha: 8}" if trained == "lora" else ""
    spec = smoke(("name: sample-dialogues", "name: planted"), ('tiny-llama"', f'tiny-llama"{adapter}, parent: {made.id[:12]}'))
    run = register_run(state.settings.root, spec)
    assert state.registry.parents(run.run)["parent"] == made.id
    from pe_training.manifests.record import ResolvedManifest

    started = start_model(state.registry.get(run.manifest, ResolvedManifest), labels=None, state=state)
    theirs = load_file(folder / ("model.safetensors" if trained == "full" else "adapter_model.safetensors"))
    assert tensors_digest(trained_tensors(started)) == tensors_digest(theirs) == made.weights
    assert state.registry.get(run.run, TrainingRun).recipe["model"]["parent"] == made.id


def test_another_rank_alpha_or_kind_of_training_is_refused_before_anything_is_loaded(tmp_path: Path, state: State) -> None:
    made = taken(peft_folder(tmp_path / "theirs"), state)
    state.registry.put(made)
    accepted(state, tmp_path, "planted", rows())
    for adapter in (", adapter: {type: lora, r: 8, alpha: 8}", ", adapter: {type: lora, r: 4, alpha: 4}", ""):
        spec = smoke(("name: sample-dialogues", "name: planted"), ('tiny-llama"', f'tiny-llama"{adapter}, parent: {made.id}'))
        with pytest.raises(PeError, match="has another adapter than this manifest") as caught:
            register_run(state.settings.root, spec)
        assert (caught.value.kind, caught.value.where) == (Kind.INPUT, "model.parent")


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def configured(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def diverged(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors[min(tensors)][0, 0] = torch.nan
    save_file(tensors, path)


def cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def nested(folder: Path) -> None:
    (folder / "checkpoint-500").mkdir()
    (folder / "adapter_config.json").unlink()
    (folder / "adapter_model.safetensors").unlink()


def linked(name: str) -> Callable[[Path], None]:
    """The file lies elsewhere on the machine, and the folder holds a link to it."""

    def change(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)

    return change


def indexed(weight_map: Any) -> Callable[[Path], None]:
    """A whole model whose index says where its weights are."""

    def change(folder: Path) -> None:
        (folder / "adapter_config.json").unlink()
        (folder.parent / "secret.json").write_text("{}")
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return change


@pytest.mark.parametrize(
    ("damage", "message", "hint"),
    [
        (without("adapter_model.safetensors"), "'adapter_model.safetensors' is missing", "copy the whole folder"),
        (configured(peft_type="IA3"), "an adapter of the type IA3, not LORA", "merge it into its base"),
        (configured(r="many"), "r and lora_alpha are not both whole numbers", "merge it into its base"),
        (configured(lora_alpha=None), "r and lora_alpha are not both whole numbers", "merge it into its base"),
        (configured(use_dora=True), "use_dora is True, which training here does not have", "merge it into its base"),
        (configured(modules_to_save=["lm_head"]), "modules_to_save is", "merge it into its base"),
        (diverged, "holds NaN or infinity", "had diverged"),
        (cut, "this is no whole safetensors file", "copy it again"),
        (pickled, "no weights as safetensors in this folder", "pytorch_model.bin is a pickle"),
        (nested, "no weights as safetensors in this folder", "the newest is checkpoint-500"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "this is no JSON", "copy it again"),
        (lambda folder: (folder / "adapter_config.json").write_text("[" * 100_000), "this is no JSON", "copy it again"),
        (linked("adapter_config.json"), "'adapter_config.json' lies outside of this folder", "cp -rL"),
        (linked("adapter_model.safetensors"), "'adapter_model.safetensors' lies outside of this folder", "cp -rL"),
        (indexed(["model.safetensors"]), "weight_map does not map tensors to files", "copy it again"),
        (indexed({"a": 7}), "weight_map does not map tensors to files", "copy it again"),
        (indexed({"a": "../secret.json"}), "'../secret.json' lies outside of this folder", "cp -rL"),
        (indexed({"a": "a\0b"}), "is missing", "copy the whole folder"),
        (shutil.rmtree, "there is no such folder", "name the folder"),
    ],
)
def test_what_cannot_be_taken_is_said_with_what_to_do(
    tmp_path: Path, state: State, damage: Callable[[Path], None], message: str, hint: str
) -> None:
    folder = peft_folder(tmp_path / "theirs")
    damage(folder)
    with pytest.raises(PeError) as caught:
        taken(folder, state)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert str(folder) in (caught.value.where or "")
