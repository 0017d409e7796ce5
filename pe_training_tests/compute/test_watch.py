"""A working process is waited for while it speaks and gets on, and no longer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pe_training.compute.attempts import CancelledError, attempted, is_passing
from pe_training.compute.watch import Watch
from pe_training.core.errors import Kind, PeError
from pe_training.manifests.schema import Compute

LIMITS = Compute(instance="cpu-local", max_hours=1, silence_minutes=1, stall_minutes=10, retries=2)


class Scene:
    """A feed and a clock."""

    def __init__(self, folder: Path) -> None:
        self.feed, self.now = folder / "progress.jsonl", 0.0
        self.feed.write_text('{"event": "alive", "idle_s": 99999.0}\n')  # of an earlier attempt
        self.watch = Watch(self.feed, limits=LIMITS, clock=lambda: self.now)

    def after(self, seconds: float, **event: object) -> None:
        """Let time pass, something be said, and look."""
        self.now += seconds
        if event:
            with self.feed.open("a") as file:
                file.write(json.dumps(event) + "\n")
        self.watch.look()


def test_a_process_that_speaks_is_left_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for _ in range(100):
        scene.after(59, event="alive", idle_s=3.0)


def test_silence_ends_the_wait_with_how_long_it_was(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.after(50)
    with pytest.raises(PeError, match="nothing was heard of it for 61 s") as caught:
        scene.after(11)
    assert (caught.value.kind, caught.value.where) == (Kind.INFRASTRUCTURE, "compute.silence_minutes")


def test_life_without_progress_ends_it_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.after(5, event="alive", idle_s=599.0)
    with pytest.raises(PeError, match="it lives, but has not got on for 10 min"):
        scene.after(5, event="alive", idle_s=604.0)


def test_what_it_named_as_its_end_is_kept(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.after(1, event="error", error=PeError(Kind.DATA, "no row fits").to_json())
    assert scene.watch.error is not None
    assert scene.watch.error.kind is Kind.DATA


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.INFRASTRUCTURE}))
def test_answers_are_not_asked_for_again(kind: Kind) -> None:
    tries, waits = failing(PeError(kind, "no", where="somewhere"))
    assert (tries, waits) == (1, [])


def test_what_may_pass_is_tried_again_with_growing_patience() -> None:
    assert failing(PeError(Kind.INFRASTRUCTURE, "the store was away")) == (3, [2.0, 4.0])


def test_a_machine_that_was_taken_away_counts_only_where_it_may_be_and_never_when_a_person_stopped_it() -> None:
    interruptible = LIMITS.model_copy(update={"interruptible": True})
    stopped = PeError(Kind.STOPPED, "training was stopped by SIGTERM")
    assert is_passing(stopped, compute=interruptible)
    assert not is_passing(stopped, compute=LIMITS)
    assert not is_passing(PeError(Kind.STOPPED, "window", where="compute.max_hours"), compute=interruptible)
    assert not is_passing(CancelledError(Kind.STOPPED, "training was stopped by SIGTERM"), compute=interruptible)


def failing(error: PeError) -> tuple[int, list[float]]:
    """How often work that always fails so is tried, and the waits in between."""
    tries, waits = 0, []

    def work() -> None:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(PeError):
        attempted(work, compute=LIMITS, retrying=lambda _error, _left: None, sleep=waits.append)
    return tries, waits
