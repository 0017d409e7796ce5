"""An export is a folder that plain transformers and peft load, with its evidence beside it; whole, and never of what may not be served."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file
from pe_training.datasets.recall import Selector
from pe_training.evaluation.models import Asker, tuned_model
from pe_training.evaluation.request import decoding
from pe_training.lineage.recall import recall
from pe_training.promotion.serving import Served, resolve_place
from pe_training.promotion.stages import apply_decision
from pe_training.promotion.withdrawal import withdraw
from pe_training.storage.durable import TEMPORARY_PREFIX
from pe_training.storage.state import State
from pe_training.training.base import load_base
from pe_training.views import export
from pe_training.views.export import SUMS, Form, export_folder, plan_export
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.living import Shape, living_chain
from pe_training_tests.promotion.standing import WHO

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
SAID = [{"role": "user", "content": "I keep going to bed hoping I won't wake up."}]


@pytest.fixture
def state(tmp_path: Path) -> State:
    return factory.new_state(tmp_path / "home")


def staged(state: State, shape: Shape = "full") -> tuple[factory.Chain, Served]:
    chain = living_chain(state, shape=shape)
    apply_decision(factory.judged(state, chain), state=state)
    return chain, resolve_place("empathy", "staging", state=state)


def ours(chain: factory.Chain, state: State) -> torch.Tensor:
    """The logits with which the model was evaluated."""
    asker = Asker.of(chain.manifest, decoding(chain.manifest), state=state)
    with tuned_model(chain.checkpoint, chain.manifest, asker, precision="32-true", state=state) as model, torch.inference_mode():
        return torch.as_tensor(model.model(input_ids=torch.tensor([asker.reply(SAID).content])).logits)


def theirs(model: Any, folder: Path) -> torch.Tensor:
    """The logits of a model that was loaded by others, asked by the exported tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = tokenizer.apply_chat_template(SAID, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]
    with torch.inference_mode():
        return torch.as_tensor(model.eval()(input_ids=ids).logits)


@pytest.mark.parametrize(("shape", "form"), [("full", "as_trained"), ("full", "merged"), ("adapter", "merged")])
def test_plain_transformers_load_it_and_say_the_same(state: State, tmp_path: Path, shape: Shape, form: Form) -> None:
    chain, served = staged(state, shape)
    export_folder(served, tmp_path / "out", form=form, state=state)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True, use_safetensors=True)
    assert torch.equal(theirs(model, tmp_path / "out"), ours(chain, state))
    assert (model.generation_config.do_sample, model.generation_config.max_new_tokens) == (False, 16)


def test_peft_loads_an_adapter_onto_its_base_and_says_the_same(state: State, tmp_path: Path) -> None:
    from peft import PeftModel

    chain, served = staged(state, "adapter")
    export_folder(served, tmp_path / "out", form="as_trained", state=state)
    spec = chain.manifest.spec
    base = load_base(spec.model, chain.manifest.base, labels=None, seed=spec.seed, settings=state.settings)
    model = PeftModel.from_pretrained(base, tmp_path / "out", local_files_only=True)
    assert torch.allclose(theirs(model, tmp_path / "out"), ours(chain, state), atol=1e-4)  # not merged: another order of sums
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == spec.model.base


def test_a_classifier_is_loaded_by_its_own_class(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = living_chain(state, shape="classifier")
    served = Served(line="empathy", place="staging", version=1, checkpoint=chain.checkpoint, decision_id=None, store="")
    with pytest.raises(PeError, match="no decision lets"):
        plan_export(served, tmp_path / "out", form="as_trained", state=state)
    export._copy([file for file in chain.checkpoint.files() if "." in file.path], tmp_path / "out", state=state)
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", local_files_only=True).config.num_labels == 2
    assert AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)("x").input_ids


def test_the_evidence_lies_beside_it_and_every_file_has_its_sum(state: State, tmp_path: Path) -> None:
    chain, served = staged(state)
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is a free one
    made = export_folder(served, out, form="as_trained", state=state)
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == set(made.files)
    sums = dict(reversed(line.split("  ")) for line in (out / SUMS).read_text().splitlines())
    assert sums == {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in files - {SUMS}}
    assert subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=out, check=False).returncode == 0
    read = {name: json.loads((out / "evidence" / f"{name}.json").read_text()) for name in ("decision", "report", "checkpoint", "manifest")}
    assert (read["decision"]["id"], read["decision"]["content"]["verdict"]) == (served.decision_id, "pass")
    assert (read["report"]["id"], read["checkpoint"]["id"]) == (chain.report.id, chain.checkpoint.id)
    assert json.loads((out / "evidence" / "served.json").read_text()) == served.content()
    assert json.loads((out / "evidence" / "trace.json").read_text())["id"] == served.decision_id
    assert "<html" in (out / "evidence" / "evidence.html").read_text()
    assert ModelCard((out / "README.md").read_text()).data.model_name == "empathy"
    stored = {file.path: file.digest for file in chain.checkpoint.files()}
    assert digest_file(out / "model.safetensors") == stored["model.safetensors"]
    assert (out / "model.safetensors").stat().st_nlink == 1  # a copy, not the store's own bytes


def test_a_folder_that_holds_something_is_left_alone(state: State, tmp_path: Path) -> None:
    _, served = staged(state)
    (tmp_path / "mine.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(PeError) as caught:
            export_folder(served, folder, form="as_trained", state=state)
        assert (caught.value.kind, caught.value.message) == (Kind.INPUT, "something is there already")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def refused(state: State, served: Served, folder: Path) -> PeError:
    with pytest.raises(PeError) as caught:
        export_folder(served, folder, form="as_trained", state=state)
    assert not folder.exists()
    assert list(folder.parent.glob(f"{TEMPORARY_PREFIX}*")) == []
    return caught.value


def test_what_is_damaged_recalled_or_failing_is_not_handed_out(state: State, tmp_path: Path) -> None:
    chain, served = staged(state)
    recall(state, Selector(kind="version", value=chain.dataset.id), reason="consent", actor="ada")
    assert refused(state, served, tmp_path / "out").kind == Kind.REFUSED
    elsewhere = factory.new_state(tmp_path / "another")
    chain, served = staged(elsewhere)
    factory.damage(elsewhere, chain.checkpoint.content_files[0])
    assert refused(elsewhere, served, tmp_path / "out").kind == Kind.CORRUPT


@pytest.mark.parametrize("meanwhile", ["recalled", "withdrawn", "failed"])
def test_what_may_not_be_served_any_more_when_it_is_whole_is_thrown_away(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    chain, served = staged(state)
    happen: dict[str, Callable[[], object]] = {
        "recalled": lambda: recall(state, Selector(kind="version", value=chain.dataset.id), reason="consent", actor="ada"),
        "withdrawn": lambda: withdraw("empathy", place="staging", state=state, **WHO),
        "failed": lambda: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    }
    whole = export._write_evidence

    def late(*arguments: Any, **named: Any) -> None:
        whole(*arguments, **named)
        happen[meanwhile]()

    monkeypatch.setattr(export, "_write_evidence", late)
    kind = Kind.INFRASTRUCTURE if meanwhile == "failed" else Kind.REFUSED
    assert refused(state, served, tmp_path / "out").kind == kind


def test_of_two_who_export_to_one_folder_the_second_is_told(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, served = staged(state)
    whole = export._write_evidence

    def overtaken(*arguments: Any, **named: Any) -> None:
        whole(*arguments, **named)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / SUMS).write_text("theirs")

    monkeypatch.setattr(export, "_write_evidence", overtaken)
    with pytest.raises(PeError) as caught:
        export_folder(served, tmp_path / "out", form="as_trained", state=state)
    assert caught.value.kind == Kind.CONFLICT
    assert (tmp_path / "out" / SUMS).read_text() == "theirs"


def test_a_later_failure_closes_the_door(state: State, tmp_path: Path) -> None:
    chain, served = staged(state)
    bad = (factory.good("safety", "safety_score", value=0.3), *(m for m in factory.excellent() if m.name != "safety_score"))
    report = factory.make_report(state, chain.checkpoint, chain.manifest, metrics=bad, selection="again")
    state.registry.put(report)
    from pe_training.promotion.verdict import judge

    assert judge(report.id, manifest_id=chain.manifest.id, state=state).verdict == "fail"
    assert "was judged again for staging and failed" in refused(state, served, tmp_path / "out").message
