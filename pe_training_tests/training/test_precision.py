"""The number format that ``compute.precision: auto`` stands for, and that whatever belongs to a run computes in the run's format."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from pe_training.evaluation.models import Asker, base_model, tuned_model
from pe_training.evaluation.request import decoding
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.state import State
from pe_training.training import execute as execution
from pe_training.training.base import byte_tokenizer
from pe_training.training.feed import Feed, read_feed
from pe_training.training.identity import hardware_class
from pe_training.training.pairs import Pair
from pe_training.training.precision import Format, imitation, multiplies_bf16, number_format
from pe_training.training.ranks import Place
from pe_training.training.record import Checkpoint, Hardware, TrainingRun
from pe_training.training.reference import refer
from pe_training.training.start import start_model
from pe_training.training.weights import export_model, tensors_digest, trained_tensors
from pe_training_tests.training.runs import register_run
from pe_training_tests.training.steps import smoke
from pe_training_tests.training.test_preference import pair

HAS, LACKS = "avx512_bf16", "avx2"
AUTO = ("precision: 32-true", "precision: auto")


def machine(isa: str = LACKS, accelerator: str = "none") -> Hardware:
    return Hardware(arch="x86_64", isa=isa, threads=2, accelerator=accelerator)


@pytest.mark.parametrize(
    ("isa", "has"), [("amx_bf16", True), (HAS, True), ("avx512f", False), (LACKS, False), ("asimd", False), ("generic", False)]
)
def test_a_processor_multiplies_bfloat16_if_it_has_instructions_for_it(isa: str, *, has: bool) -> None:
    assert multiplies_bf16(machine(isa)) == has


YOUNG = [
    "NVIDIA H100 80GB HBM3", "NVIDIA H200", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-PG509-200", "NVIDIA A10G", "NVIDIA A2", "NVIDIA L4",
    "NVIDIA L40S", "NVIDIA B200", "NVIDIA GH200 480GB", "NVIDIA RTX A6000", "NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4070 Ti",
    "NVIDIA GeForce RTX 5090", "NVIDIA GeForce RTX 2050", "NVIDIA RTX 2000 Ada Generation", "NVIDIA RTX 6000 Ada Generation",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition",
]  # fmt: skip
OLD = [
    "Tesla K80", "Tesla M60", "Tesla M2090", "Tesla P4", "Tesla P100-PCIE-16GB", "Tesla V100-SXM2-16GB", "GRID V100D-8Q", "Tesla T4",
    "NVIDIA T4G", "NVIDIA T1000", "NVIDIA T400 4GB", "NVIDIA GeForce GTX 1080 Ti", "NVIDIA GeForce GT 1030", "NVIDIA GeForce MX450",
    "NVIDIA GeForce 940MX", "NVIDIA GeForce RTX 2080 Ti", "NVIDIA GeForce RTX 2060 SUPER", "NVIDIA TITAN RTX", "Quadro RTX 6000",
    "Quadro P2000",
]  # fmt: skip


@pytest.mark.parametrize("card", YOUNG)
def test_a_card_from_ampere_on_multiplies_bfloat16_whatever_its_processor_does(card: str) -> None:
    assert multiplies_bf16(machine(LACKS, card))


@pytest.mark.parametrize("card", OLD)
def test_an_older_card_does_not_whatever_its_processor_does(card: str) -> None:
    assert not multiplies_bf16(machine(HAS, card))


def test_auto_follows_the_hardware_class_and_what_is_asked_for_by_name_does_not() -> None:
    assert number_format("auto", hardware=machine(HAS)) == "bf16-mixed"
    assert number_format("auto", hardware=machine(LACKS)) == "32-true"
    assert number_format("auto") == number_format("auto", hardware=hardware_class())
    formats: tuple[Format, ...] = ("32-true", "bf16-mixed", "bf16-true")
    for isa in (HAS, LACKS):
        assert tuple(number_format(asked, hardware=machine(isa)) for asked in formats) == formats


def test_who_asks_a_machine_to_imitate_bfloat16_is_told_and_nobody_else() -> None:
    old, new = machine(LACKS), machine(HAS)
    told = imitation("bf16-true", hardware=old, here=old)
    assert told == "this machine only imitates bfloat16: compute.precision bf16-true is slower here than auto"
    moved = imitation("auto", hardware=new, here=old)
    assert moved is not None
    assert "began on one that has it" in moved
    for asked, hardware, here in (("auto", old, old), ("auto", old, new), ("32-true", new, old), ("bf16-mixed", new, new)):
        assert imitation(asked, hardware=hardware, here=here) is None  # type: ignore[arg-type]


def registered(home: Path, *changes: tuple[str, str], isa: str) -> tuple[State, TrainingRun, ResolvedManifest]:
    """A run that asks for auto and began on a machine of that instruction set."""
    made = register_run(home, smoke(AUTO, *changes))
    state = made.state
    manifest = state.registry.get(made.manifest, ResolvedManifest)
    run = state.registry.get(made.run, TrainingRun).model_copy(update={"hardware": machine(isa)})
    state.registry.put(run)
    return state, run, manifest


@pytest.fixture
def kept_process() -> Iterator[None]:
    """Training listens to signals and sets torch's switches; the test process gets its own back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def feed_of(state: State, run: TrainingRun) -> Iterator[Feed]:
    feed = Feed(state.settings.run_folder(run.id))
    try:
        yield feed
    finally:
        feed._file.close()


@pytest.mark.usefixtures("kept_process")
@pytest.mark.parametrize(("isa", "format_"), [(HAS, "bf16-mixed"), (LACKS, "32-true")])
def test_a_run_trains_in_the_format_of_the_machine_that_it_began_on(
    ready_home: Path, isa: str, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, run, manifest = registered(ready_home, isa=isa)
    asked: list[str] = []

    class EnoughError(Exception):
        pass

    def trainer(**named: Any) -> None:
        asked.append(named["precision"])
        raise EnoughError

    monkeypatch.setattr(execution.lightning, "Trainer", trainer)
    monkeypatch.setattr(execution, "hardware_class", lambda: machine(LACKS))
    with feed_of(state, run) as feed, pytest.raises(EnoughError):
        execution.execute(run, manifest, state=state, feed=feed)
    assert asked == [format_]
    notes = [event["text"] for _, event in read_feed(feed.path) if event["event"] == "note"]
    assert [("imitates bfloat16" in note) for note in notes] == [True] * (isa == HAS)


@pytest.mark.parametrize(("isa", "dtype"), [(HAS, torch.bfloat16), (LACKS, torch.float32)])
def test_an_evaluation_asks_both_models_in_the_format_of_the_run(ready_home: Path, isa: str, dtype: torch.dtype) -> None:
    state, run, manifest = registered(ready_home, isa=isa)
    model = start_model(manifest, labels=None, state=state)
    tensors = trained_tensors(model)
    files = export_model(
        model, tensors, tokenizer=byte_tokenizer(), base=manifest.base, history=[], trace=b"", artifacts=state.artifacts
    )  # fmt: skip
    checkpoint = Checkpoint(
        run_id=run.id, line=run.line, task="causal_lm", base=manifest.base, format="full", step=1, weights=tensors_digest(tensors),
        val_loss_before=1.0, val_loss=1.0, content_files=files,
    )  # fmt: skip
    asker, precision = Asker.of(manifest, decoding(manifest), state=state), number_format("auto", hardware=run.hardware)
    with (
        tuned_model(checkpoint, manifest, asker, precision=precision, state=state) as tuned,
        base_model(manifest, asker, precision=precision, state=state) as base,
    ):
        assert {tuned.model.dtype, base.model.dtype} == {dtype}


class Never:
    def reason(self) -> None:
        return None


def test_a_reference_answers_in_the_format_of_the_run(ready_home: Path) -> None:
    changes = (("task: causal_lm", "task: preference"), ("packing: true", "dpo: {beta: 0.1}"))
    answers = {}
    pairs: dict[str, list[Pair]] = {"train": [pair(0), pair(1)], "val": []}
    for isa in (HAS, LACKS):
        state, run, manifest = registered(ready_home, *changes, isa=isa)
        with feed_of(state, run) as feed:
            asking = {"manifest": manifest, "run_id": run.id, "micro": 2, "pad_id": 0, "stops": Never(), "state": state, "feed": feed}
            answers[isa] = refer(pairs, here=Place(), **asking)  # type: ignore[arg-type]
    assert answers[HAS] != answers[LACKS]
    for reduced, exact in zip(answers[HAS]["train"], answers[LACKS]["train"], strict=True):
        assert reduced == pytest.approx(exact, rel=0.01)
