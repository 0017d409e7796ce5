"""The wide classifier: it sees the runs of tokens of the first text, whoever stands beside it, and comes back from its files as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel

from pe_training.training.wide import WideClassifier, wide_classifier

SEPARATOR = 102
TEXT, ANSWERED = [101, 7, 8, 9, 7, SEPARATOR], [20, 21, SEPARATOR]


@pytest.fixture
def model() -> WideClassifier:
    torch.manual_seed(1)
    config = BertConfig(vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    made = wide_classifier(BertModel(config), separator=SEPARATOR, num_labels=3)
    torch.nn.init.normal_(made.wide.weight, std=0.01)
    return made.eval()


def logits(model: Any, *rows: list[int]) -> torch.Tensor:
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    with torch.inference_mode():
        found = model(input_ids=ids, attention_mask=mask).logits
    assert isinstance(found, torch.Tensor)
    return found


def runs(model: WideClassifier, row: list[int]) -> set[int]:
    """The buckets that a row with its answered text falls into, read off the gradient of the table."""
    model.zero_grad()
    model(input_ids=torch.tensor([row])).logits.sum().backward()
    assert model.wide.weight.grad is not None
    return set(model.wide.weight.grad.abs().sum(dim=1).nonzero().flatten().tolist())


def test_a_fresh_table_says_nothing_and_the_encoder_is_the_pretrained_one() -> None:
    encoder = BertModel(BertConfig(vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32))
    made = wide_classifier(encoder, separator=SEPARATOR, num_labels=2)
    assert not made.wide.weight.any()
    assert torch.equal(made.encoder.embeddings.word_embeddings.weight, encoder.embeddings.word_embeddings.weight)


def test_the_folder_that_the_encoder_lay_in_is_no_part_of_the_model(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(config).save_pretrained(tmp_path / "somewhere")
    made = wide_classifier(BertModel.from_pretrained(tmp_path / "somewhere"), separator=SEPARATOR, num_labels=2)
    made.save_pretrained(tmp_path / "made")
    assert str(tmp_path) not in (tmp_path / "made" / "config.json").read_text()


def test_a_neighbour_or_padding_changes_nothing(model: WideClassifier) -> None:
    alone, beside = logits(model, TEXT + ANSWERED), logits(model, TEXT + ANSWERED, [101, *range(30, 50), SEPARATOR, 60, SEPARATOR])
    torch.testing.assert_close(alone[0], beside[0])


def test_the_table_sees_each_run_of_the_first_text_once_and_nothing_of_the_second(model: WideClassifier) -> None:
    seen = runs(model, TEXT + ANSWERED)
    assert len(seen) == 3 + 3 + 2  # 7 8 9; 7 8, 8 9, 9 7; 7 8 9, 8 9 7
    assert runs(model, [*TEXT, 33, 34, 35, SEPARATOR]) == seen
    assert runs(model, TEXT) == seen
    assert runs(model, [101, 9, 8, 7, 7, SEPARATOR]) != seen  # the order of words counts
    assert runs(model, [101, SEPARATOR, 20, SEPARATOR]) == set()  # nothing was said


def test_it_comes_back_from_its_files_as_it_was(model: WideClassifier, tmp_path: Path) -> None:
    model.config.id2label = {0: "0", 1: "1", 2: "2"}
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True)
    assert isinstance(again, WideClassifier)
    assert torch.equal(logits(again.eval(), TEXT + ANSWERED), logits(model, TEXT + ANSWERED))
    assert again.config.id2label == {0: "0", 1: "1", 2: "2"}


def test_a_phrase_that_decides_is_learnt_from_a_handful_of_steps(model: WideClassifier) -> None:
    sorry, other = [101, 50, 51, 60, SEPARATOR], [101, 61, 62, 63, SEPARATOR]
    ids, wanted = torch.tensor([sorry, other]), torch.tensor([2, 0])
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-3)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(model(input_ids=ids).logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert logits(model, sorry, other).argmax(dim=1).tolist() == [2, 0]
    fresh = [101, 50, 51, 70, SEPARATOR]  # the phrase among other words
    assert int(logits(model, fresh).argmax()) == 2
