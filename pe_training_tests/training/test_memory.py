"""Memory that runs out for real: the step goes on in smaller parts, with the same sums; one sequence too many ends the run by name."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import pytest

from pe_training.settings import SAMPLES
from pe_training.training.events import events
from pe_training.training.memory import is_out_of_memory, micro_of, reference_micro, same_until, smaller_micro
from pe_training_tests.training.runs import Prepared, manifest_with, prepare_run

SMOKE = (SAMPLES / "manifests" / "smoke.yaml").read_text(encoding="utf-8")
LARGE = (
    ("micro_batch_size: 2", "micro_batch_size: 32"), ("batch_size: 4", "batch_size: 32"), ("max_steps: 30", "max_steps: 1"),
    ("warmup_steps: 3", "warmup_steps: 0"), ("max_length: 768", "max_length: 1024"),
)  # fmt: skip


@pytest.mark.slow
def test_a_step_that_does_not_fit_goes_on_in_smaller_parts_to_the_same_model(tmp_path: Path) -> None:
    roomy = prepare_run(tmp_path / "roomy", manifest_with(SMOKE, *LARGE)).finish()
    tight = prepare_run(tmp_path / "tight", manifest_with(SMOKE, *LARGE))
    process = tight.start()
    _wait_until_it_trains(tight)
    _limit(process.pid, spare_bytes=400 << 20)
    assert process.wait(timeout=300) == 0, tight.log
    sizes = [body["micro"] for _, kind, body in events(tight.state, tight.run) if kind == "out_of_memory"]
    assert sizes
    assert sizes == [16 >> number for number in range(len(sizes))]
    assert tight.checkpoint.val_loss == pytest.approx(roomy.val_loss, rel=1e-5)  # sums of float32 in other parts
    assert tight.checkpoint.val_loss_before == pytest.approx(roomy.val_loss_before, rel=1e-6)


def _wait_until_it_trains(run: Prepared) -> None:
    feed = run.home / "runs" / run.run / "progress.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        lines = feed.read_text().splitlines() if feed.exists() else []
        if any(json.loads(line).get("name") == "train" for line in lines if line.endswith("}")):
            return
        time.sleep(0.005)
    raise AssertionError(run.log)


def _limit(pid: int, *, spare_bytes: int) -> None:
    """Allow a living process only ``spare_bytes`` of address space more than it has."""
    status = Path(f"/proc/{pid}/status").read_text()
    has = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmSize:"))
    resource.prlimit(pid, resource.RLIMIT_AS, (has + spare_bytes, has + spare_bytes))


def test_parts_are_halved_to_what_divides_the_share_until_there_is_one() -> None:
    spec = manifest_with(SMOKE, ("micro_batch_size: 2", "micro_batch_size: 12"), ("batch_size: 4", "batch_size: 24"))
    happened = []
    while (size := smaller_micro(spec, happened, step=0)) is not None:
        happened.append(("", "out_of_memory", {"micro": size}))
    assert [body["micro"] for _, _, body in happened] == [6, 3, 1]
    assert micro_of(spec, happened, step=0) == 1
    assert micro_of(spec, [("", "started", {})], step=0) == 12


def test_a_size_holds_from_the_state_on_that_training_went_back_to() -> None:
    spec = manifest_with(SMOKE, ("micro_batch_size: 2", "micro_batch_size: 12"), ("batch_size: 4", "batch_size: 24"))
    happened = [("", "out_of_memory", {"micro": size, "from_step": begins}) for begins, size in ((8, 6), (16, 3), (4, 6))]
    taken = [(micro_of(spec, happened, step=step), same_until(spec, happened, step=step)) for step in (0, 3, 4, 8, 15, 16, 29)]
    assert taken == [(12, 4), (12, 4), (6, 16), (6, 16), (6, 16), (3, 30), (3, 30)]


def test_the_reference_keeps_to_the_parts_that_it_was_asked_in_whatever_training_needs() -> None:
    spec = manifest_with(SMOKE, ("micro_batch_size: 2", "micro_batch_size: 12"), ("batch_size: 4", "batch_size: 24"))
    referring = [("", "out_of_memory", {"micro": size, "from_step": 0, "reference": True}) for size in (6, 3)]
    training = [("", "out_of_memory", {"micro": 1, "from_step": 0, "reference": False})]
    found = [(reference_micro(spec, happened), micro_of(spec, happened, step=0)) for happened in ([], referring, referring + training)]
    assert found == [(12, 12), (3, 3), (3, 1)]


def test_only_what_says_so_counts_as_out_of_memory() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
