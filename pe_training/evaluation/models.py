"""The models that are asked: the tuned one from its checkpoint's verified files, and the base model beside it.

Weights are loaded when the first question needs them: where every answer is kept, none are.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from pe_training.core.errors import Kind, PeError
from pe_training.evaluation.decode import Decoder
from pe_training.evaluation.generate import Conversation, Question
from pe_training.evaluation.generate import Kind as Asked
from pe_training.manifests.hyperparameters import Reads
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.signatures import require_signed
from pe_training.storage.state import State
from pe_training.training.base import load_base, load_tokenizer
from pe_training.training.batches import collate_dialogues
from pe_training.training.logits import causal_loss
from pe_training.training.precision import Format
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training.training.tokens import Dialogue, encode_prompt, encode_text

PROMPT_TOKENS = 1024


@dataclass(frozen=True)
class Asker:
    """Turns what is to be asked into questions, once for all models of one base."""

    tokenizer: Any
    decoding: dict[str, int | str]
    max_length: int
    reads: Reads = "client"

    @classmethod
    def of(cls, manifest: ResolvedManifest, decoding: dict[str, int | str], *, state: State) -> Asker:
        """With the tokenizer of the manifest's base."""
        tokenizer = load_tokenizer(manifest.spec.model, manifest.base, settings=state.settings)
        h = manifest.spec.hyperparameters
        return cls(tokenizer, decoding, h.max_length, h.reads)

    def reply(self, messages: Conversation) -> Question:
        """What is said next, greedily."""
        ids = encode_prompt(self.tokenizer, messages, max_length=PROMPT_TOKENS)
        return Question(kind="reply", asked={"ids": ids, "decoding": self.decoding}, content=ids, size=len(ids))

    def loss(self, dialogue: Dialogue) -> Question:
        """The cross-entropy in nats, summed over the therapist tokens."""
        asked = {"ids": dialogue.ids, "labels": dialogue.labels}
        return Question(kind="loss", asked=asked, content=dialogue, size=dialogue.length)

    def hears(self, messages: Conversation) -> bool:
        """Whether a classifier of replies reads the last turn to its end: nothing of it is cut."""
        lengths = [
            len(self.tokenizer(turn["content"], add_special_tokens=False, split_special_tokens=True)["input_ids"])
            for turn in (messages[-1], *[turn for turn in messages[:-1] if turn["role"] == "user"][-1:])
        ]
        exchange = self.reads == "exchange"
        room = self.max_length - self.tokenizer.num_special_tokens_to_add(pair=exchange)
        return lengths[0] <= (max(room // 2, room - lengths[1]) if exchange else room)  # of two texts the longer is cut

    def label(self, messages: Conversation) -> Question:
        """The label of what the client says, or of the last reply."""
        ids = encode_text(self.tokenizer, messages, reads=self.reads, max_length=self.max_length)
        return Question(kind="label", asked={"ids": ids}, content=ids, size=len(ids))


class AskedModel:
    """One model that answers :class:`Asker`'s questions, each as if it were asked alone, on the device it is loaded to."""

    def __init__(self, load: Callable[[], Any], asker: Asker, *, rows: int) -> None:
        """``load``: the model, ready to answer. ``rows``: how many replies are written at once."""
        self._load, self._asker, self._rows = load, asker, rows

    @cached_property
    def model(self) -> Any:
        """The loaded model."""
        return self._load()

    @cached_property
    def decoder(self) -> Decoder:
        """How it writes replies."""
        return Decoder.of(self.model, rows=self._rows)

    def answer(self, kind: Asked, contents: Sequence[Any]) -> list[Any]:
        """Replies as text, losses in nats, or the probability of each label. Raises divergence where a loss is no number."""
        if kind == "reply":
            return self._replies(contents)
        return self._losses(contents) if kind == "loss" else self._labels(contents)

    def _replies(self, prompts: Sequence[Sequence[int]]) -> list[Any]:
        tokenizer, most = self._asker.tokenizer, int(self._asker.decoding["max_new_tokens"])
        written = self.decoder.replies(prompts, max_new_tokens=most, end=tokenizer.eos_token_id)
        return [tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in written]

    def _losses(self, dialogues: Sequence[Dialogue]) -> list[Any]:
        found = []
        for dialogue in dialogues:
            batch = collate_dialogues([[dialogue]], pad_id=self._asker.tokenizer.pad_token_id)
            with torch.inference_mode():
                summed, _ = causal_loss(self.model, {name: tensor.to(self.model.device) for name, tensor in batch.items()})
            found.append(float(summed))
        if not all(map(math.isfinite, found)):
            raise PeError(Kind.DIVERGENCE, "a loss is not a finite number", hint="the weights are not a language model any more")
        return found

    def _labels(self, texts: Sequence[Sequence[int]]) -> list[Any]:
        """The probability of each label, one text by one: one that is filled up for its neighbours' sake is another sum."""
        names = [self.model.config.id2label[index] for index in range(len(self.model.config.id2label))]
        found = []
        for ids in texts:
            with torch.inference_mode():
                logits = self.model(input_ids=torch.tensor([list(ids)], device=self.model.device)).logits
            found.append(dict(zip(names, logits[0].double().softmax(dim=-1).cpu().tolist(), strict=True)))
        return found


@contextmanager
def tuned_model(
    checkpoint: Checkpoint, manifest: ResolvedManifest, asker: Asker, *, precision: Format, state: State
) -> Iterator[AskedModel]:
    """The checkpoint's model; an adapter is merged into its base, as it would be served."""
    require_signed(checkpoint.id, checkpoint.files(), state=state)
    with tempfile.TemporaryDirectory() as name:

        def load() -> Any:
            folder = state.artifacts.checkout(checkpoint.files(), Path(name))
            tuned = _load_tuned(checkpoint, manifest, folder, state=state)
            return _ready(tuned, precision=precision, placed=bool(manifest.spec.model.quantization))

        yield AskedModel(load, asker, rows=manifest.spec.evaluation.batch_size)


@contextmanager
def base_model(manifest: ResolvedManifest, asker: Asker, *, precision: Format, state: State) -> Iterator[AskedModel]:
    """The untuned base model, in the format that the tuned one is asked in."""
    spec = manifest.spec

    def load() -> Any:
        base = load_base(spec.model, manifest.base, labels=None, seed=spec.seed, settings=state.settings)
        return _ready(base, precision=precision, placed=bool(spec.model.quantization))

    yield AskedModel(load, asker, rows=spec.evaluation.batch_size)


def _load_tuned(checkpoint: Checkpoint, manifest: ResolvedManifest, folder: Path, *, state: State) -> Any:
    spec = manifest.spec
    if checkpoint.format == "full":
        auto = AutoModelForSequenceClassification if spec.task == "text_classification" else AutoModelForCausalLM
        return auto.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    from peft import PeftModel

    base = load_base(spec.model, manifest.base, labels=None, seed=spec.seed, settings=state.settings)
    adapted = PeftModel.from_pretrained(base, folder, local_files_only=True)
    return adapted if spec.model.quantization else adapted.merge_and_unload()


@contextmanager
def judge_model(checkpoint: Checkpoint, run: TrainingRun, *, precision: Format, state: State) -> Iterator[tuple[AskedModel, Asker]]:
    """A classifier from its checkpoint alone, which holds its tokenizer, too; and what turns exchanges into questions for it."""
    require_signed(checkpoint.id, checkpoint.files(), state=state)
    h = run.recipe["hyperparameters"]
    with tempfile.TemporaryDirectory() as name:
        folder = state.artifacts.checkout(checkpoint.files(), Path(name))
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        asker = Asker(tokenizer, {}, h["max_length"], h.get("reads", "client"))

        def load() -> Any:
            auto = AutoModelForSequenceClassification
            return _ready(
                auto.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32), precision=precision
            )

        yield AskedModel(load, asker, rows=1), asker


def _ready(model: Any, *, precision: Format, placed: bool = False) -> Any:
    """On the accelerator if there is one, without dropout. ``placed``: a quantized model lies there already, in its own format."""
    if not placed:
        model = model.to(device="cuda" if torch.cuda.is_available() else "cpu")
        model = model if precision == "32-true" else model.to(torch.bfloat16)
    return model.eval()
