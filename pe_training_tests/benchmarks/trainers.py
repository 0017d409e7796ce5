"""What one would otherwise train with, on the same rows.

``python -m pe_training_tests.benchmarks.trainers WHICH HOME MANIFEST STEPS`` prints one JSON object: seconds of every step, its loss, and
its tokens that are not padding. The first steps are there to warm up.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from pe_training.datasets.record import DatasetVersion
from pe_training.manifests.record import ResolvedManifest
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.base import load_tokenizer
from pe_training.training.data import Prepared, prepare
from pe_training.training.loader import Windows
from pe_training.training.order import DataOrder
from pe_training.training.precision import number_format
from pe_training.training.start import start_model


class Setting:
    """The same model, rows and hyperparameters for everybody."""

    def __init__(self, home: Path, manifest_id: str) -> None:
        self.state = State(Settings(home=home))
        self.manifest = self.state.registry.get(manifest_id, ResolvedManifest)
        self.spec = self.manifest.spec
        self.tokenizer = load_tokenizer(self.spec.model, self.manifest.base, settings=self.state.settings)
        dataset = self.state.registry.get(self.spec.dataset.version, DatasetVersion)
        self.data: Prepared = prepare(self.spec, dataset, tokenizer=self.tokenizer, labels=None, state=self.state)

    @property
    def in_bf16(self) -> bool:
        """Whether everybody multiplies in bfloat16."""
        return number_format(self.spec.compute.precision) == "bf16-mixed"

    def windows(self, order: DataOrder | None = None) -> Windows:
        """Our batches, or those of another order of the same rows."""
        d, h = self.data, self.spec.hyperparameters
        return Windows(
            order=order or d.order, collate=d.collate, targets=d.targets, tokens=d.tokens, lengths=d.lengths, batch_size=h.batch_size,
            micro=self.spec.micro,
        )  # fmt: skip

    def tokens_of(self, step: int) -> int:
        """Tokens that our step ``step`` (from 0) trains on, padding not counted."""
        size = self.spec.hyperparameters.batch_size
        return sum(self.data.tokens[row] for rows in self.data.order.bins(step * size, size) for row in rows)

    def model(self) -> Any:
        """Fresh, as a run starts with it, but for attention, which is as transformers has it."""
        made = start_model(self.manifest, labels=None, state=self.state)
        made.set_attn_implementation("sdpa")
        return made

    def rows(self, count: int) -> list[dict[str, list[int]]]:
        """Token ids and labels of rows in the order that a plain run sees them."""
        plain = DataOrder(self.data.lengths, families=["f"] * len(self.data.lengths), seed=self.spec.seed, max_length=None, mixture={})
        batches = (self.data.collate([bins]) for bins in plain.bins(0, count))
        return [{"input_ids": batch["input_ids"][0].tolist(), "labels": batch["labels"][0].tolist()} for batch in batches]


def loop(setting: Setting, steps: int) -> dict[str, Any]:
    """A training loop as it is written by hand, over our own batches: the fused optimiser, autocast, clipping, one loss read a step."""
    h, model = setting.spec.hyperparameters, setting.model()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=h.learning_rate, weight_decay=h.weight_decay, fused=True)
    windows = setting.windows()
    seconds, losses = [], []
    for step in range(steps):
        began = time.perf_counter()
        total = 0.0
        for make in windows.micro_batches(step):
            batch = make()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=setting.in_bf16):
                mask = torch.arange(batch["input_ids"].shape[1]) < batch["documents"].sum(dim=1, keepdim=True)
                out = model(input_ids=batch["input_ids"], attention_mask=mask)
            loss = torch.nn.functional.cross_entropy(
                out.logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten(), reduction="sum"
            )
            loss = loss / batch["step_targets"]
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(trained, h.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(total)
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "losses": losses, "tokens": [setting.tokens_of(step) for step in range(steps)]}


def hf_trainer(setting: Setting, steps: int) -> dict[str, Any]:
    """Hugging Face Trainer with its default padding to the longest row of a batch."""
    import transformers

    h, size = setting.spec.hyperparameters, ROWS_A_STEP
    rows = setting.rows(size * steps)
    collate = transformers.DataCollatorForSeq2Seq(setting.tokenizer)
    clock = _clock(transformers.TrainerCallback)
    trainer = transformers.Trainer(
        model=setting.model(), args=transformers.TrainingArguments(**_arguments(setting, steps, size)), train_dataset=rows,  # type: ignore[arg-type]
        data_collator=collate, callbacks=[clock],
    )  # fmt: skip
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(rows)
    trainer.train()
    assert h.max_grad_norm == trainer.args.max_grad_norm
    tokens = [sum(len(row["input_ids"]) for row in rows[step * size : (step + 1) * size]) for step in range(steps)]
    return {"seconds": clock.seconds, "losses": _logged(trainer), "tokens": tokens}


def trl_packed(setting: Setting, steps: int) -> dict[str, Any]:
    """TRL's SFTTrainer with packing to the same length, labels as ours."""
    import datasets
    import transformers
    import trl

    length = setting.spec.hyperparameters.max_length
    rows = [row | {"completion_mask": [int(label >= 0) for label in row.pop("labels")]} for row in setting.rows(len(setting.data.lengths))]
    clock = _clock(transformers.TrainerCallback)
    size = setting.spec.hyperparameters.batch_size
    arguments = _arguments(setting, steps, size) | {
        "packing": True, "max_length": length, "dataset_kwargs": {"skip_prepare_dataset": False}, "completion_only_loss": True,
    }  # fmt: skip
    trainer = trl.SFTTrainer(
        model=setting.model(), args=trl.SFTConfig(**arguments), train_dataset=datasets.Dataset.from_list(rows),
        processing_class=setting.tokenizer, callbacks=[clock],
    )  # fmt: skip
    seen: list[int] = []
    inner = trainer.data_collator

    def counting(features: list[dict[str, Any]]) -> Any:
        seen.append(sum(len(feature["input_ids"]) for feature in features))
        return inner(features)

    trainer.data_collator = counting
    trainer.train()
    return {"seconds": clock.seconds, "losses": _logged(trainer), "tokens": seen[:steps]}


ROWS_A_STEP = 8
WHO: dict[str, Callable[[Setting, int], dict[str, Any]]] = {"loop": loop, "hf_trainer": hf_trainer, "trl_packed": trl_packed}


def _arguments(setting: Setting, steps: int, size: int) -> dict[str, Any]:
    h = setting.spec.hyperparameters
    return {
        "output_dir": str(setting.state.settings.root / "rival"), "max_steps": steps, "per_device_train_batch_size": size,
        "learning_rate": h.learning_rate, "weight_decay": h.weight_decay, "max_grad_norm": h.max_grad_norm, "lr_scheduler_type": "constant",
        "bf16": setting.in_bf16, "use_cpu": True, "report_to": [], "save_strategy": "no", "logging_steps": 1,
        "disable_tqdm": True, "seed": setting.spec.seed, "optim": "adamw_torch_fused", "gradient_checkpointing": False,
    }  # fmt: skip


def _clock(base: type) -> Any:
    class Clock(base):  # type: ignore[misc]
        seconds: list[float] = []  # noqa: RUF012 - one instance a process

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.began)

    return Clock()


def _logged(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def main(words: list[str]) -> None:
    """Run one and print what it measured."""
    who, home, manifest, steps = words
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    setting = Setting(Path(home), manifest)
    with redirect_stdout(sys.stderr):
        found = WHO[who](setting, int(steps))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
