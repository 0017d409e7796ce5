"""Verification: whatever is changed in the store or in SQL is found, named and placed, and does not hide other damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import KINDS
from pe_training.core.records import Attachment
from pe_training.lineage.check import Check
from pe_training.lineage.verify import MODELS, verify, verify_all
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.stages import apply_decision
from pe_training.storage.state import State
from pe_training_tests.lineage import factory
from pe_training_tests.promotion import factory as promotion


@pytest.fixture
def state(tmp_path: Path) -> State:
    return promotion.new_state(tmp_path / "home")


@pytest.fixture
def chain(state: State, tmp_path: Path) -> tuple[promotion.Chain, PromotionDecision]:
    made = factory.whole_chain(state, tmp_path)
    apply_decision(made[1], state=state)
    return made


def sql(state: State, text: str, *values: Any) -> None:
    with state.registry.writing() as connection:
        assert connection.exec_driver_sql(text, values).rowcount >= 1


def findings(state: State, decision: PromotionDecision) -> list[Check]:
    """Findings of one decision's lineage, which everything else must report as well."""
    one, everything = verify(state, decision.id), verify_all(state)
    assert not one.ok
    assert not everything.ok
    assert set(map(str, one.findings)) <= set(map(str, everything.findings))
    return list(one.findings)


def all_files(chain: promotion.Chain) -> list[tuple[str, Attachment]]:
    owners = (chain.dataset, chain.manifest, chain.run, chain.checkpoint, chain.report)
    return [(record.id, file) for record in owners for file in record.files()]


def test_an_untouched_chain_verifies_whole(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    result = verify(state, chain[1].id)
    assert result.findings == ()
    assert result.ok
    assert result.records == 6
    assert {check.what for check in result.checks} == {"content", "columns", "file", "listing", "link", "rows", "verdict"}
    everything = verify_all(state)
    assert (everything.ok, everything.records, everything.compared) == (True, 6, result.compared)


def test_every_kind_of_the_chain_can_be_verified(chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    assert sorted(MODELS) == sorted(KINDS)


def test_an_empty_registry_proves_nothing(state: State) -> None:
    result = verify_all(state)
    assert (result.ok, result.records, result.findings) == (False, 0, ())


def test_a_record_that_does_not_exist_is_not_found(state: State) -> None:
    with pytest.raises(PeError) as caught:
        verify(state, "pd_" + "0" * 32)
    assert caught.value.kind == Kind.NOT_FOUND


def test_one_flipped_bit_in_any_file_is_found_and_named(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    files = all_files(chain[0])
    assert len(files) == 8  # three shards, a policy, a suite, two of the checkpoint, one of the report
    for owner, file in files:
        place = promotion.damage(state, file)
        found = findings(state, chain[1])
        assert (owner, "file", file.path) in {(f.record_id, f.what, f.name) for f in found}
        assert all(str(place).endswith(f.place[-64:]) for f in found if f.what == "file")
        assert f"{owner} file {file.path}: artifact sha256:" in "\n".join(map(str, found))
        promotion.damage(state, file)  # the same bit again: whole
    assert verify_all(state).ok


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_byte_of_any_file_matters(state: State, chain: tuple[promotion.Chain, PromotionDecision], data: st.DataObject) -> None:
    owner, file = data.draw(st.sampled_from(all_files(chain[0])))
    name = file.digest.removeprefix("sha256:")
    path = state.settings.root / "artifacts" / "sha256" / name[:2] / name
    whole = path.read_bytes()
    position, value = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    path.chmod(0o644)
    path.write_bytes(whole[:position] + bytes([whole[position] ^ value]) + whole[position + 1 :])
    try:
        assert (owner, file.path) in {(f.record_id, f.name) for f in verify(state, chain[1].id).findings if f.what == "file"}
    finally:
        path.write_bytes(whole)


def test_a_missing_and_a_truncated_file_are_both_found(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    weights, config = chain[0].checkpoint.content_files
    promotion.damage(state, weights).unlink()
    promotion.damage(state, config).write_bytes(b"")
    found = {f.name: f.problem or "" for f in findings(state, chain[1]) if f.what == "file"}
    assert found["adapter_model.safetensors"].endswith("is missing")
    assert found["config.json"].endswith("does not match its digest")


@pytest.mark.parametrize("kind", sorted(MODELS.keys() - {"im", "jc"}))  # not of this chain: see test_foreign.py, test_calibration.py
def test_a_changed_body_is_found_for_every_kind(state: State, chain: tuple[promotion.Chain, PromotionDecision], kind: str) -> None:
    row = state.registry.rows(kind)[0]
    body = json.loads(state.registry.body(row.id))
    if kind == "ds":
        body["licenses"]["synthetic"] += 1  # not part of the id: caught against the rows themselves
    elif kind == "mf":
        body["spec"]["seed"] += 1
    else:
        body["line"] = "another"
    sql(state, "UPDATE records SET body = ? WHERE id = ?", json.dumps(body, sort_keys=True, separators=(",", ":")), row.id)
    found = [f for f in findings(state, chain[1]) if f.record_id == row.id]
    if kind == "ds":
        assert [(f.what, f.problem) for f in found] == [("rows", "the licences are not as recorded")]
    else:
        content = next(f for f in found if f.what == "content")
        assert content.problem is not None
        assert content.problem.startswith(f"its content has the id {kind}_")
        assert content.place == "records.body"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "its stored text is not a checkpoint"),
        ("{}", "its stored text is not a checkpoint"),
        ("[1]", "its stored text is not a checkpoint"),
    ],
)
def test_a_body_that_is_no_record_is_found(state: State, chain: tuple[promotion.Chain, PromotionDecision], body: str, problem: str) -> None:
    sql(state, "UPDATE records SET body = ? WHERE id = ?", body, chain[0].checkpoint.id)
    assert problem in {f.problem for f in findings(state, chain[1])}


def test_a_body_with_other_spaces_is_found(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    identifier = chain[0].checkpoint.id
    sql(state, "UPDATE records SET body = body || ' ' WHERE id = ?", identifier)
    assert [(f.record_id, f.problem) for f in findings(state, chain[1])] == [
        (identifier, "its stored text is not the canonical text of its content")
    ]


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("key", "UPDATE records SET key = NULL WHERE id = ?"),
        ("label", "UPDATE records SET label = 'other' WHERE id = ?"),
        ("kind", "UPDATE records SET kind = 'ev' WHERE id = ?"),
    ],
)
def test_a_changed_column_is_found(state: State, chain: tuple[promotion.Chain, PromotionDecision], column: str, change: str) -> None:
    sql(state, change, chain[1].id)
    assert [(f.record_id, f.what, f.problem) for f in findings(state, chain[1])] == [
        (chain[1].id, "columns", f"column {column} differs from the content")
    ]


def test_a_verdict_that_does_not_follow_is_found(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    forged = chain[1].model_copy(update={"verdict": "fail", "evidence": "sha256:" + "f" * 64})
    state.registry.put(forged)
    found = findings(state, forged)
    assert [(f.record_id, f.what) for f in found] == [(forged.id, "verdict")]
    assert "says fail, which does not follow from its report and policy (they say pass)" in str(found[0])


def test_links_that_are_cut_bent_or_added_are_found(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    made, decision = chain
    sql(state, "DELETE FROM edges WHERE child = ? AND role = 'report'", decision.id)
    sql(state, "UPDATE edges SET parent = ? WHERE child = ? AND role = 'manifest'", made.run.id, decision.id)
    sql(state, "INSERT INTO edges (child, role, parent) VALUES (?, 'advisor', ?)", decision.id, made.run.id)
    assert [(f.name, f.problem) for f in findings(state, decision) if f.what == "link"] == [
        ("advisor", f"a link says {made.run.id} and the record cites nothing"),
        ("manifest", f"the record cites {made.manifest.id}, the link says {made.run.id}"),
        ("report", f"the record cites {made.report.id} and no link does"),
    ]


def test_a_listing_that_disagrees_with_the_record_is_found(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    made, decision = chain
    weights, config = made.checkpoint.content_files
    sql(state, "DELETE FROM attachments WHERE record_id = ? AND path = ?", made.checkpoint.id, config.path)
    sql(state, "UPDATE attachments SET digest = ? WHERE record_id = ? AND path = ?", config.digest, made.checkpoint.id, weights.path)
    found = {(f.name, f.what): f.problem for f in findings(state, decision)}
    assert found["config.json", "listing"] == "the record names this file and the table does not"
    assert (found["adapter_model.safetensors", "listing"] or "").startswith("the record says sha256:")


def test_a_deleted_record_is_found_from_both_sides(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    made, decision = chain
    sql(state, "DELETE FROM records WHERE id = ?", made.checkpoint.id)
    found = findings(state, decision)
    assert (made.checkpoint.id, "is not in the registry") in {(f.record_id, f.problem) for f in found}
    strays = {(f.what, f.name) for f in verify_all(state).findings if f.record_id == made.checkpoint.id}
    assert {("link", "run"), ("listing", "config.json"), ("stage", "training"), ("stage", "staging")} <= strays


def test_the_report_why_a_release_was_accepted_is_checked_too(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    data = b'{"accepted":true}'
    promotion.damage(state, promotion.kept(state, "report", data))
    assert [(f.record_id, f.name) for f in findings(state, chain[1])] == [(chain[0].dataset.id, "validation report of v1")]


def test_shards_that_are_no_tables_are_a_finding_and_hide_nothing(state: State, chain: tuple[promotion.Chain, PromotionDecision]) -> None:
    made, decision = chain
    junk = promotion.kept(state, made.dataset.shards[0].path, b"not a table")
    body = json.loads(state.registry.body(made.dataset.id))
    body["shards"][0] |= {"digest": junk.digest, "size_bytes": junk.size_bytes}
    sql(state, "UPDATE records SET body = ? WHERE id = ?", json.dumps(body, sort_keys=True, separators=(",", ":")), made.dataset.id)
    promotion.damage(state, made.checkpoint.content_files[0])
    found = {(f.record_id, f.what): f.problem for f in findings(state, decision)}
    assert found[made.dataset.id, "rows"] == "cannot be read (ArrowInvalid)"
    assert (made.checkpoint.id, "file") in found
