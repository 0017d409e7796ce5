"""The files that a run ends with are what other tools read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from pe_training.manifests.record import BaseModelPin
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training import weights
from pe_training.training.base import byte_tokenizer
from pe_training_tests.training.steps import model

BASE = BaseModelPin(ref="scratch:tiny-llama", pin="seed")
SMALL = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 32,
}


@pytest.mark.parametrize("most", [weights.MAX_SHARD_BYTES, 150_000], ids=["one-file", "shards"])
def test_a_whole_model_is_a_folder_that_transformers_loads_in_shards_where_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(weights, "MAX_SHARD_BYTES", most)
    state, made = State(Settings(home=tmp_path / "home")), model("llama", "full")
    tensors = weights.trained_tensors(made)
    arguments = {"tokenizer": byte_tokenizer(), "base": BASE, "history": [], "trace": b"trace", "artifacts": state.artifacts}
    files = weights.export_model(made, tensors, **arguments)
    assert files == weights.export_model(made, tensors, **arguments)  # the same bytes each time
    for file in files:
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / file.path).write_bytes(state.artifacts.get(file.digest))
    parts = sorted(path.name for path in (tmp_path / "model").glob("model*.safetensors"))
    if most == weights.MAX_SHARD_BYTES and most > 1e9:
        assert parts == ["model.safetensors"]
    else:
        assert len(parts) > 1
        index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())
        assert set(index["weight_map"].values()) == set(parts)
    together = {name: tensor for part in parts for name, tensor in load_file(tmp_path / "model" / part).items()}
    assert weights.tensors_digest(together) == weights.tensors_digest(tensors)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in tensors.items())


def test_an_output_layer_of_its_own_is_saved_with_the_model_and_a_tied_one_once() -> None:
    made = {tied: AutoModelForCausalLM.from_config(AutoConfig.for_model(**SMALL, tie_word_embeddings=tied)) for tied in (True, False)}
    names = {tied: set(weights.trained_tensors(found)) for tied, found in made.items()}
    assert names[False] - names[True] == {"lm_head.weight"}
    assert names[False] == set(made[False].state_dict())
