"""The models that are asked: the tuned one from its checkpoint's verified files, and the base model beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from pe_training.evaluation.generate import Conversation
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.signatures import require_signed
from pe_training.storage.state import State
from pe_training.training.base import load_base, load_tokenizer
from pe_training.training.batches import collate_dialogues
from pe_training.training.precision import number_format
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training.training.tasks import causal_loss
from pe_training.training.tokens import Dialogue, client_text, encode_prompt

PROMPT_TOKENS = 1024


@dataclass(frozen=True)
class AskedModel:
    """One model with its tokenizer, ready to answer on the device it lies on."""

    model: Any
    tokenizer: Any
    max_new_tokens: int
    max_length: int

    def reply(self, conversations: Sequence[Conversation]) -> list[str]:
        """Greedy replies to a batch of conversations, left-padded, special tokens removed."""
        prompts = [encode_prompt(self.tokenizer, messages, max_length=PROMPT_TOKENS) for messages in conversations]
        length = max(len(prompt) for prompt in prompts)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode():
            answers = self.model.generate(
                input_ids=ids.to(self.model.device), attention_mask=mask.to(self.model.device), max_new_tokens=self.max_new_tokens,
                do_sample=False, num_beams=1, pad_token_id=pad, eos_token_id=self.tokenizer.eos_token_id,
            )  # fmt: skip
        return [self.tokenizer.decode(answer[length:], skip_special_tokens=True).strip() for answer in answers]

    def losses(self, dialogues: Sequence[Dialogue]) -> list[float]:
        """Cross-entropy in nats, summed over the therapist tokens of each dialogue."""
        found = []
        for dialogue in dialogues:
            batch = collate_dialogues([[dialogue]], pad_id=self.tokenizer.pad_token_id)
            with torch.inference_mode():
                summed, _ = causal_loss(self.model, {name: tensor.to(self.model.device) for name, tensor in batch.items()})
            found.append(float(summed))
        return found

    def labels(self, conversations: Sequence[Conversation]) -> list[dict[str, float]]:
        """The probability that a classifier gives to each label of what the client says in each conversation, in its own order."""
        texts = [client_text(messages) for messages in conversations]
        encoded = self.tokenizer(texts, truncation=True, max_length=self.max_length, padding=True, return_tensors="pt")
        inputs = {name: encoded[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            rows = self.model(**inputs).logits.double().softmax(dim=-1).cpu().tolist()
        names = [self.model.config.id2label[index] for index in range(len(self.model.config.id2label))]
        return [dict(zip(names, row, strict=True)) for row in rows]


@contextmanager
def tuned_model(checkpoint: Checkpoint, manifest: ResolvedManifest, *, state: State) -> Iterator[AskedModel]:
    """The checkpoint's model; an adapter is merged into its base, as it would be served."""
    require_signed(checkpoint.id, checkpoint.files(), state=state)
    with tempfile.TemporaryDirectory() as name:
        folder = state.artifacts.checkout(checkpoint.files(), Path(name))
        yield _ready(_load_tuned(checkpoint, manifest, folder, state=state), checkpoint, manifest, state=state)


@contextmanager
def base_model(checkpoint: Checkpoint, manifest: ResolvedManifest, *, state: State) -> Iterator[AskedModel]:
    """The untuned base model, in the format that the checkpoint's is asked in."""
    spec = manifest.spec
    model = load_base(spec.model, manifest.base, labels=None, seed=spec.seed, settings=state.settings)
    yield _ready(model, checkpoint, manifest, state=state)


def _load_tuned(checkpoint: Checkpoint, manifest: ResolvedManifest, folder: Path, *, state: State) -> Any:
    spec = manifest.spec
    if checkpoint.format == "full":
        auto = AutoModelForSequenceClassification if spec.task == "text_classification" else AutoModelForCausalLM
        return auto.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    from peft import PeftModel

    base = load_base(spec.model, manifest.base, labels=None, seed=spec.seed, settings=state.settings)
    adapted = PeftModel.from_pretrained(base, folder, local_files_only=True)
    return adapted if spec.model.quantization else adapted.merge_and_unload()


def _ready(model: Any, checkpoint: Checkpoint, manifest: ResolvedManifest, *, state: State) -> AskedModel:
    """On the accelerator if there is one, in the precision that the checkpoint was trained in, without dropout."""
    spec = manifest.spec
    if not spec.model.quantization:
        model = model.to(device="cuda" if torch.cuda.is_available() else "cpu")
        trained_on = state.registry.get(checkpoint.run_id, TrainingRun).hardware
        reduced = number_format(spec.compute.precision, hardware=trained_on) != "32-true"
        model = model.to(torch.bfloat16) if reduced else model
    tokenizer = load_tokenizer(spec.model, manifest.base, settings=state.settings)
    return AskedModel(model.eval(), tokenizer, max_new_tokens=spec.evaluation.max_new_tokens, max_length=spec.hyperparameters.max_length)
