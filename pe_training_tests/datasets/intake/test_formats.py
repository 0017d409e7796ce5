"""Records of foreign shapes become strict rows, or say by field why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.datasets.intake.formats import BLANK_LABEL, BLANK_TURN, NO_ASSISTANT, NO_TURN, SAME_ANSWERS, Dropped, convert
from pe_training.datasets.intake.record_fields import ROLES, FormatError
from pe_training.datasets.rows import Row, content_hash
from pe_training_tests.datasets.intake.shapes import ANSWER, QUESTION, RECORDS, WORDS, source_of

WHERE = "notes.jsonl:7"
TURN = {"role": "user", "content": QUESTION}
IGNORE = "list the field under 'ignore' of the source to leave it out"


def row_of(format: str, record: Mapping[str, Any], **declared: Any) -> Row:
    row = convert(record, source_of(format, **declared), where=WHERE)
    assert isinstance(row, Row), row
    return row


def refusal(format: str, record: Mapping[str, Any], **declared: Any) -> FormatError:
    with pytest.raises(FormatError) as caught:
        convert(record, source_of(format, **declared), where=WHERE)
    assert WORDS not in f"{caught.value} {caught.value.hint}"
    return caught.value


@pytest.mark.parametrize("format", RECORDS)
def test_every_shape_becomes_the_same_dialogue(format: str) -> None:
    row = row_of(format, RECORDS[format])
    assert [(m.role, m.content) for m in row.messages] == [("user", QUESTION), ("assistant", ANSWER)]
    assert row.metadata.content_hash == content_hash([QUESTION, ANSWER])
    assert row.metadata.source_key == "notes/notes.jsonl#7"
    assert row.metadata.provenance.original_s3_key == "notes.jsonl"
    assert row.metadata.provenance.processing_steps == (f"convert: {format}",)
    purposes = {"preference": "preference", "labelled_text": "classification"}
    assert row.metadata.purpose == purposes.get(format)
    assert (row.rejected is not None) == (format == "preference")
    assert Row.model_validate_json(row.model_dump_json(exclude_none=True)) == row


@pytest.mark.parametrize("format", RECORDS)
def test_what_is_not_declared_is_suspicious(format: str) -> None:
    meta = row_of(format, RECORDS[format]).metadata
    assert (meta.pii_status, meta.license_tag, meta.source_family, meta.phase) == (
        "requires_review",
        "custom",
        "undeclared",
        "stage0_undeclared",
    )
    assert (meta.provenance.processed_at, meta.provenance.processing_pipeline) == ("1970-01-01T00:00:00Z", "undeclared")
    assert (meta.provenance.dedup_status, meta.split) == ("unique", "train")


@given(
    synonym=st.sampled_from([(role, name) for role, names in ROLES.items() for name in names]),
    upper=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_a_role_is_known_by_all_its_names_in_any_case(synonym: tuple[str, str], upper: list[bool]) -> None:
    role, name = synonym
    spelled = "".join(letter.upper() if flip else letter for letter, flip in zip(name, upper, strict=False)) + name[len(upper) :]
    record = {"conversations": [{"from": spelled, "value": QUESTION}, {"from": "gpt", "value": ANSWER}]}
    assert row_of("sharegpt", record).messages[0].role == role


def test_a_record_keeps_its_identity_labels_group_and_stated_origin() -> None:
    record = RECORDS["chat"] | {
        "id": "a-1",
        "group": {"age": "18-24"},
        "split": "dev",
        "source": "a paper",
        "license": "MIT",
        "labels": {
            "topic": "exams",
            "votes": 3,
            "crisis": False,
            "scores": {"er": 2},
            "survey": {"client": {"before": "5"}},
            "tests": ["x", "y"],
            "none": [],
            "gone": None,
        },
    }
    meta = row_of("chat", record).metadata
    assert meta.source_key == "notes/notes.jsonl#a-1"
    assert (meta.split, meta.group) == ("val", {"age": "18-24"})
    assert meta.labels == {
        "topic": "exams",
        "votes": 3,
        "crisis": False,
        "scores": {"er": 2},
        "survey.client.before": "5",
        "tests.0": "x",
        "tests.1": "y",
        "none": {},
    }
    assert meta.provenance.processing_steps == ("convert: chat", "stated source: a paper", "stated license: MIT")


def test_the_input_of_an_instruction_follows_it() -> None:
    row = row_of("alpaca", {"instruction": "Reflect this.", "input": QUESTION, "output": ANSWER})
    assert row.messages[0].content == f"Reflect this.\n\n{QUESTION}"


def test_a_preference_pair_may_share_several_turns() -> None:
    prompt = [{"role": "system", "content": "Listen."}, TURN]
    record = {"prompt": prompt, "chosen": [{"role": "bot", "content": ANSWER}], "rejected": [{"role": "bot", "content": "No."}]}
    row = row_of("preference", record)
    assert [m.role for m in row.messages] == ["system", "user", "assistant"]
    assert row.rejected is not None
    assert [(m.role, m.content) for m in row.rejected] == [("assistant", "No.")]


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        (["denial", "blame"], {"emotion": {"denial": 1, "blame": 1}}),
        ({"first": "joy", "score": 7}, {"emotion.first": "joy", "emotion.score": 7}),
    ],
)
def test_several_labels_of_a_text_are_all_kept(label: Any, labels: Any) -> None:
    assert row_of("labelled_text", {"text": QUESTION, "label": label}, label="emotion").metadata.labels == labels


@pytest.mark.parametrize("label", ["anger", 0, -3, True, {"joy": 3, "fear": 0}])
def test_a_label_keeps_its_type_under_the_declared_name(label: Any) -> None:
    row = row_of("labelled_text", {"text": QUESTION, "label": label}, label="emotion")
    assert row.metadata.labels == {"emotion": label}
    assert type((row.metadata.labels or {})["emotion"]) is type(label)
    assert [m.role for m in row.messages] == ["user"]


DROPPED: list[tuple[str, dict[str, Any], str]] = [
    ("chat", {"messages": []}, NO_TURN),
    ("chat", {"messages": [TURN]}, NO_ASSISTANT),
    ("chat", {"messages": [TURN, {"role": "bot", "content": " \n"}]}, BLANK_TURN),
    ("sharegpt", {"conversations": [{"from": "system", "value": "Listen."}]}, NO_ASSISTANT),
    ("conversation", {"conversation": [{"role": "client", "content": ""}]}, BLANK_TURN),
    ("alpaca", {"instruction": " ", "input": "", "output": ANSWER}, BLANK_TURN),
    ("alpaca", {"instruction": QUESTION, "output": ""}, BLANK_TURN),
    ("prompt_response", {"prompt": QUESTION, "response": ""}, BLANK_TURN),
    ("question_answer", {"question": "", "answer": ANSWER}, BLANK_TURN),
    ("preference", {"prompt": QUESTION, "chosen": ANSWER, "rejected": " "}, BLANK_TURN),
    ("preference", {"prompt": QUESTION, "chosen": ANSWER, "rejected": ANSWER}, SAME_ANSWERS),
    ("labelled_text", {"text": "", "label": 1}, BLANK_TURN),
    ("labelled_text", {"text": ANSWER, "context": "", "label": 1}, BLANK_TURN),
    ("labelled_text", {"text": ANSWER, "label": " "}, BLANK_LABEL),
    ("labelled_text", {"text": ANSWER, "label": ["calm", " "]}, BLANK_LABEL),
    ("labelled_text", {"text": ANSWER, "label": {"mood": ""}}, BLANK_LABEL),
]


@pytest.mark.parametrize(("format", "record", "reason"), DROPPED)
def test_a_record_with_nothing_to_learn_is_dropped_with_its_reason(format: str, record: dict[str, Any], reason: str) -> None:
    assert convert(record, source_of(format), where=WHERE) == Dropped(reason)


IGNORE_LABEL = "list the field under 'ignore' to leave it out"
LABELS = "labels are text, whole numbers, true or false"
REFUSED: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("chat", {}, "messages: is missing", None),
    ("chat", {"messages": None}, "messages: is missing", None),
    ("chat", {"messages": WORDS}, "messages: must be a list of turns", None),
    ("chat", {"messages": [WORDS]}, "messages.0: must be a mapping", None),
    (
        "chat",
        {"messages": [TURN, {"role": WORDS, "content": ANSWER}]},
        "messages.1.role: is not a known role",
        "known: user, human, client, patient, seeker, assistant, bot, gpt, therapist, counselor, counsellor, supporter, system",
    ),
    ("chat", {"messages": [{"role": "user"}]}, "messages.0.content: is missing", None),
    ("chat", {"messages": [{"role": "user", "content": [WORDS]}]}, "messages.0.content: must be text", None),
    ("chat", {"messages": [TURN | {"contents": WORDS}]}, "messages.0.contents: is not a field of the format", "did you mean 'content'?"),
    (
        "chat",
        {"messages": [TURN | {WORDS: 1}]},
        "messages.0.(a key that is not a name): is not a field of the format",
        "allowed here: content, role",
    ),
    (
        "chat",
        {"messages": [{"role": "user", "content": "\ud800"}]},
        "messages.0.content: holds half of a surrogate pair, which is not text",
        None,
    ),
    ("chat", RECORDS["chat"] | {"lables": {}}, "lables: is not a field of the format", f"did you mean 'labels'?; {IGNORE}"),
    ("chat", RECORDS["chat"] | {"labels": [WORDS]}, "labels: must be a mapping of names to values", None),
    (
        "chat",
        RECORDS["chat"] | {"labels": {"score": 0.5}},
        "labels.score: is a fraction, which a row cannot hold",
        f"{LABELS}; {IGNORE_LABEL}",
    ),
    ("chat", RECORDS["chat"] | {"labels": {"n": 2**53}}, "labels.n: is not a label that a row can hold", LABELS),
    ("chat", RECORDS["chat"] | {"labels": {"n": [1, None]}}, "labels.n: is a list with a null", LABELS),
    (
        "chat",
        RECORDS["chat"] | {"labels": {"a.b": 1, "a": {"b": "x"}}},
        "labels.a.b: is there twice once nested labels are written in one line",
        None,
    ),
    ("chat", RECORDS["chat"] | {"group": {"age": 30}}, "group.age: must be text", None),
    (
        "chat",
        RECORDS["chat"] | {"split": WORDS},
        "split: is not a split",
        "known: train, val, test, dev, valid, validation; or declare 'split' in the source",
    ),
    ("chat", RECORDS["chat"] | {"split": 1}, "split: must be text", None),
    ("chat", RECORDS["chat"] | {"id": True}, "id: must be text", None),
    ("chat", RECORDS["chat"] | {"id": "a\nb"}, "id: must be printable and not blank", None),
    ("chat", RECORDS["chat"] | {"id": "x" * 2000}, "metadata.source_key: string should have at most 1024 characters", None),
    ("chat", RECORDS["chat"] | {"license": "x" * 1001}, "license: is longer than 1,000 characters", None),
    ("sharegpt", RECORDS["chat"], "messages: is not a field of the format", None),
    ("sharegpt", {"conversations": [{"from": "tool", "value": WORDS}]}, "conversations.0.from: is not a known role", None),
    ("sharegpt", {"conversations": [TURN]}, "conversations.0.role: is not a field of the format", None),
    ("conversation", {"conversation": {"role": WORDS}}, "conversation: must be a list of turns", None),
    ("alpaca", {"instruction": QUESTION}, "output: is missing", None),
    ("alpaca", {"instruction": QUESTION, "input": 3, "output": ANSWER}, "input: must be text", None),
    ("alpaca", RECORDS["alpaca"] | {"history": [[WORDS]]}, "history: is not a field of the format", None),
    ("prompt_response", {"response": ANSWER}, "prompt: is missing", None),
    ("question_answer", {"question": {"text": WORDS}, "answer": ANSWER}, "question: must be text", None),
    ("preference", {"prompt": QUESTION, "chosen": ANSWER}, "rejected: is missing", None),
    ("preference", {"prompt": [WORDS], "chosen": ANSWER, "rejected": "No."}, "prompt.0: must be a mapping", None),
    (
        "preference",
        {"prompt": QUESTION, "chosen": [TURN, TURN], "rejected": "No."},
        "chosen: must be text or one assistant turn",
        "turns that both answers share belong into 'prompt'",
    ),
    ("labelled_text", {"text": ANSWER}, "label: is missing", None),
    ("labelled_text", {"text": ANSWER, "label": []}, "label: must name at least one label, and every label once", None),
    ("labelled_text", {"text": ANSWER, "label": [WORDS, WORDS]}, "label: must name at least one label, and every label once", None),
    ("labelled_text", {"text": ANSWER, "label": [1]}, "label.0: must be text", None),
    (
        "labelled_text",
        {"text": ANSWER, "label": 0.5},
        "label: is a fraction, which a row cannot hold",
        f"{LABELS}; {IGNORE_LABEL}",
    ),
    ("labelled_text", {"text": ANSWER, "label": {}}, "label: is empty", None),
    (
        "labelled_text",
        {"text": ANSWER, "label": 1, "text_b": WORDS},
        "text_b: is not a field of the format",
        f"did you mean 'text'?; {IGNORE}",
    ),
    (
        "labelled_text",
        {"text": ANSWER, "label": 1, "labels": {}},
        "labels: is not a field of the format",
        f"did you mean 'label'?; {IGNORE}",
    ),
]


@pytest.mark.parametrize(("format", "record", "message", "hint"), REFUSED)
def test_a_record_of_another_shape_is_refused_by_field(format: str, record: dict[str, Any], message: str, hint: str | None) -> None:
    error = refusal(format, record)
    assert str(error) == message
    if hint is not None:
        assert error.hint == hint


def test_ignored_fields_are_left_out_also_below_labels_and_group() -> None:
    record = RECORDS["chat"] | {"weights": [1.0], "labels": {"score": 0.5, "topic": "exams"}, "group": {"age": 30}}
    meta = row_of("chat", record, ignore=["weights", "labels.score", "group.age"]).metadata
    assert (meta.labels, meta.group) == ({"topic": "exams"}, None)
    assert refusal("chat", RECORDS["chat"], ignore=["messages"]).message == "is missing"


def test_the_declared_split_comes_before_the_records_own_and_that_before_the_folders() -> None:
    def split(record: dict[str, Any], stated: str | None = None, **declared: Any) -> str:
        row = convert(RECORDS["chat"] | record, source_of("chat", **declared), where=WHERE, stated_split=stated)
        assert isinstance(row, Row)
        return row.metadata.split

    assert split({"split": "test"}, "validation", split="val") == "val"
    assert split({"split": "test"}, "validation") == "test"
    assert split({}, "validation") == "val"
    assert split({}) == "train"
    assert split({"part": "valid", "split": "test"}, split={"field": "part"}) == "val"
    assert split({"part": "dev"}, split={"field": "part", "names": {"dev": "test"}}) == "test"
    assert split({"part": "held back"}, split={"field": "part", "names": {"held back": "validation"}}) == "val"
    assert [split({"part": part}, split={"field": "part", "val": 0.999999}) for part in ("train", "test")] == ["val", "test"]
    assert refusal("chat", RECORDS["chat"], split={"field": "part"}).field == "part"
    with pytest.raises(FormatError, match="the name of the split's folder is not a split"):
        split({}, "train_sft")


@given(contents=st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), min_size=2, max_size=2))
def test_equal_contents_fall_into_one_split_whoever_said_them(contents: list[str]) -> None:
    one = row_of("prompt_response", {"prompt": contents[0], "response": contents[1]}, split={"val": 0.3, "test": 0.3})
    swapped = row_of("question_answer", {"question": contents[1], "answer": contents[0]}, split={"val": 0.3, "test": 0.3})
    assert (swapped.metadata.content_hash, swapped.metadata.split) == (one.metadata.content_hash, one.metadata.split)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "x"]) | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = sorted({key for record in RECORDS.values() for key in record} | {"id", "labels", "group", "split", "source", "license"})


@given(format=st.sampled_from(sorted(RECORDS)), changes=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_whatever_a_record_holds_there_is_a_row_a_reason_or_a_field(format: str, changes: dict[str, Any]) -> None:
    outcome: Row | Dropped | FormatError
    try:
        outcome = convert(RECORDS[format] | changes, source_of(format), where=WHERE)
    except FormatError as error:
        outcome = error
    assert isinstance(outcome, Row | Dropped) or outcome.field
    if isinstance(outcome, Row):
        assert Row.model_validate_json(outcome.model_dump_json(exclude_none=True)) == outcome


def test_a_label_becomes_the_class_that_the_source_declares() -> None:
    classes = {"Reflections on Needs": "reflection", "Questions on Emotions": 2, "*": "other"}
    record = RECORDS["labelled_text"]
    for label, wanted in (("Reflections on Needs", "reflection"), ("Questions on Emotions", 2), ("Planning", "other"), (7, "other")):
        assert row_of("labelled_text", record | {"label": label}, classes=classes).metadata.labels == {"label": wanted}
    assert row_of("labelled_text", record | {"label": 7}, classes={"7": 0}).metadata.labels == {"label": 0}
    found = refusal("labelled_text", record | {"label": "Planning"}, classes={"Reflections on Needs": "reflection"})
    assert (found.field, found.message) == ("label", "is none of the declared classes")
    assert "'*' for any other" in str(found.hint)
    for odd in (["a"], {"a": 1}, True):
        assert refusal("labelled_text", record | {"label": odd}, classes=classes).message.startswith("must be one name")
