"""Base models and their tokenizers, loaded from this machine only and without pickle.

A GGUF file is dequantised once (15 to 25 s) and kept as safetensors in the cache, with the digest of every file beside it;
a cache entry that does not match is made again, because its truth is the pinned package file.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GgufConfig,
    PreTrainedTokenizerFast,
)

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file
from pe_training.manifests.base_models import SCRATCH, locate
from pe_training.manifests.needs import no_cuda
from pe_training.manifests.record import BaseModelPin
from pe_training.manifests.schema import ModelRef
from pe_training.settings import Settings
from pe_training.storage.durable import sync_folder
from pe_training.storage.locks import exclusive
from pe_training.training.wide import wide_classifier

DIGESTS_FILE = "digests.json"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def load_tokenizer(ref: ModelRef, pin: BaseModelPin, *, settings: Settings) -> Any:
    """The tokenizer of a base model. A scratch model speaks bytes: 256 of them and four marks."""
    if ref.base.startswith("scratch:"):
        return byte_tokenizer()
    return AutoTokenizer.from_pretrained(local_folder(ref, pin, settings=settings), local_files_only=True)


def load_base(ref: ModelRef, pin: BaseModelPin, *, labels: list[str] | None, seed: int, settings: Settings) -> torch.nn.Module:
    """The base model on the CPU, in float32 unless quantized; with ``labels``, a classifier with a fresh head from ``seed``."""
    torch.manual_seed(seed)
    head = (
        {}
        if labels is None
        else {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    )
    auto = AutoModelForCausalLM if labels is None else AutoModelForSequenceClassification
    if labels is not None and ref.head == "wide":
        return _wide(ref, local_folder(ref, pin, settings=settings), head)
    if ref.base.startswith("scratch:"):
        tokenizer = byte_tokenizer()
        config = transformers.AutoConfig.for_model(
            **SCRATCH[ref.base.partition(":")[2]], vocab_size=len(tokenizer), bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **head,
        )  # fmt: skip
        return auto.from_config(config)
    extra = _quantization(ref) if ref.quantization else {"dtype": torch.float32}
    return auto.from_pretrained(local_folder(ref, pin, settings=settings), local_files_only=True, use_safetensors=True, **extra, **head)


def _wide(ref: ModelRef, folder: Path, head: dict[str, Any]) -> torch.nn.Module:
    separator = AutoTokenizer.from_pretrained(folder, local_files_only=True).sep_token_id
    if separator is None:
        hint = "name an encoder as model.base, or leave model.head out"
        raise PeError(Kind.INPUT, f"{ref.base} does not mark where a text ends", where="model.head", hint=hint)
    encoder = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    return wide_classifier(encoder, separator=separator, **head)


def local_folder(ref: ModelRef, pin: BaseModelPin, *, settings: Settings) -> Path:
    """A Hugging Face folder with this base model's weights and tokenizer, verified against its pin."""
    if ref.base.startswith("hub:"):
        return _hub_folder(ref)
    found = locate(ref)
    if found.pin != pin or found.path is None:
        message = f"{ref.base} on this machine is not the one that the manifest was resolved with"
        raise PeError(Kind.INPUT, message, where=str(found.path), hint="install the pinned version, or resolve the manifest again")
    return _converted(found.path, pin, settings) if found.path.suffix == ".gguf" else found.path.parent


def byte_tokenizer() -> Any:
    """A tokenizer without a vocabulary file: one token a byte, ChatML marks, the same on every machine."""
    marks = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(marks + alphabet)}
    core = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=core, pad_token=marks[0], eos_token=marks[2], additional_special_tokens=[marks[1]])
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _quantization(ref: ModelRef) -> dict[str, Any]:
    if not torch.cuda.is_available():
        raise no_cuda("this machine")
    assert ref.quantization is not None
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=ref.quantization.double,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    return {"quantization_config": config, "dtype": torch.bfloat16}


def _hub_folder(ref: ModelRef) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name = ref.base.partition(":")[2]
    try:
        return Path(snapshot_download(name, revision=ref.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        hint = f"fetch it beforehand: hf download {name} --revision {ref.revision}"
        raise PeError(Kind.NOT_FOUND, f"{name} at that revision is not in the local cache", where="model.base", hint=hint) from None


def _converted(gguf: Path, pin: BaseModelPin, settings: Settings) -> Path:
    """The dequantised copy of a GGUF file, made once per pin and transformers version."""
    name = f"{pin.pin.removeprefix('sha256:')[:32]}-transformers-{transformers.__version__}"
    folder = settings.root / "cache" / "models" / name
    with exclusive(folder.with_suffix(".lock")):  # beside it, since several homes may share the folder
        if not _intact(folder):
            _convert(gguf, folder)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.parent))
    try:
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        model.save_pretrained(temporary)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(temporary)
        digests = {path.name: digest_file(path) for path in sorted(temporary.iterdir())}
        (temporary / DIGESTS_FILE).write_text(json.dumps(digests))
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _intact(folder: Path) -> bool:
    listing = folder / DIGESTS_FILE
    if not listing.exists():
        return False
    return all(
        (folder / name).exists() and digest_file(folder / name) == digest for name, digest in json.loads(listing.read_text()).items()
    )
