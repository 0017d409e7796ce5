"""Approvals: a pass opens its stage only with the sealed word of enough different people, about exactly this decision, still holding."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from pe_training.core.clock import now
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_bytes, short
from pe_training.datasets.gate import attempts
from pe_training.lineage.verify import verify
from pe_training.promotion.approvals import draft_approval, draft_revocation, give
from pe_training.promotion.authors import note_author
from pe_training.promotion.pointers import current
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.seals import sign, speaker_of_key
from pe_training.promotion.stages import apply_decision, plan_promotion, promote
from pe_training.promotion.standing import standing_of, waiting_words
from pe_training.promotion.statements import (
    KeySeal,
    Seal,
    Statement,
    add_statement_in,
    said_in,
    spoken_since,
    statement_of,
    text_of,
)
from pe_training.settings import Settings
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.people import ASKED, FILE, ONE, WHY, World, asking, make_world
from pe_training_tests.tampering import past_the_ledger

WHO = {"actor": "the operator", "reason": "a test"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def passed(world: World, *, text: str | None = None, seed: int = 1) -> PromotionDecision:
    """A pass for staging that asks for people, whose checkpoint holds training."""
    chain = factory.make_chain(world.state, seed=seed, text=text or asking())
    decision = factory.judged(world.state, chain)
    assert decision.verdict == "pass"
    apply_decision(decision, state=world.state)
    return decision


def error_of(kind: Kind, act: Callable[[], object]) -> PeError:
    with pytest.raises(PeError) as caught:
        act()
    assert caught.value.kind == kind, caught.value
    return caught.value


def holds(world: World, stage: str = "staging") -> str | None:
    return next((p.checkpoint_id for p in current(world.state) if p.stage == stage), None)


def written(world: World, statement: Statement, seal: Seal) -> None:
    """As somebody who can write to the registry, and asks nobody."""
    with world.state.registry.writing() as connection:
        add_statement_in(connection, statement, seal)


def sealed(world: World, statement: Statement, person: str) -> Seal:
    """Signed by any of the key files, whoever owns it."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return sign(statement, load_pem_private_key(world.key(person).read_bytes(), None))


def drafted(world: World, decision: PromotionDecision, person: str = "ada", role: str = "clinical_safety") -> Statement:
    return draft_approval(decision.id, person=person, role=role, reason=WHY, state=world.state)


def lapse(world: World, decision: PromotionDecision) -> str | None:
    """Why the newest statement does not count."""
    return standing_of(decision, state=world.state).words[-1].lapse


# --- every road -------------------------------------------------------------------------------------------------------

ROADS: dict[str, Callable[[World, PromotionDecision], object]] = {
    "promote": lambda world, d: promote(d.checkpoint_id, stage="staging", decision_id=d.id, state=world.state, **WHO),
    "plan": lambda world, d: plan_promotion(d.checkpoint_id, stage="staging", decision_id=d.id, state=world.state, **WHO),
}


@pytest.mark.parametrize("road", ROADS)
def test_a_pass_without_its_approval_is_refused_and_remembered(world: World, road: str) -> None:
    decision = passed(world)
    before = len(attempts(world.state))
    error = error_of(Kind.REFUSED, lambda: ROADS[road](world, decision))
    assert str(error) == (
        f"{decision.id}: {short(decision.checkpoint_id)} may not enter staging yet: "
        "it waits for the approval of clinical_safety (ada or bob) "
        f"(`pe approve {short(decision.id)} --role clinical_safety --reason WHY --key FILE`, then promote it again)"
    )
    assert holds(world) is None
    assert [(one.route, one.subject, one.message) for one in attempts(world.state)[: len(attempts(world.state)) - before]] == [
        ("promotion", decision.checkpoint_id, error.message)
    ]


def test_a_decision_that_is_applied_enters_training_waits_and_is_remembered_then_moves_once(world: World) -> None:
    decision = passed(world)
    (attempt,) = attempts(world.state)
    assert (attempt.route, "waits for the approval of clinical_safety" in attempt.message) == ("promotion", True)
    assert (holds(world, "training"), holds(world)) == (decision.checkpoint_id, None)
    world.approve(decision.id, "bob")
    assert [move.stage for move in apply_decision(decision, state=world.state)] == ["staging"]
    assert apply_decision(decision, state=world.state) == ()
    assert len(attempts(world.state)) == 1


def test_an_approval_opens_the_stage_and_shows_who_gave_it(world: World) -> None:
    decision = passed(world)
    world.approve(decision.id, "ada")
    standing = standing_of(decision, state=world.state)
    (need,) = standing.needs
    assert need.given is not None
    assert (need.given.said.statement.person, standing.opens, waiting_words(standing)) == ("ada", True, "")
    assert need.given.until == now().date() + timedelta(days=30)
    ROADS["promote"](world, decision)
    assert holds(world) == decision.checkpoint_id


def test_a_policy_that_asks_for_nobody_is_as_it_was(tmp_path: Path) -> None:
    state = factory.new_state(tmp_path)
    decision = factory.judged(state, factory.make_chain(state))
    assert [move.stage for move in apply_decision(decision, state=state)] == ["training", "staging"]
    error = error_of(Kind.INPUT, lambda: draft_approval(decision.id, person="ada", role="privacy", reason=WHY, state=state))
    assert error.message == "policy staging asks nobody of the role 'privacy'"


def test_without_a_file_of_people_nobody_can_approve_and_nothing_moves(world: World) -> None:
    decision = passed(world)
    world.approve(decision.id, "ada")
    state = State(world.state.settings.model_copy(update={"people": None}))
    standing = standing_of(decision, state=state)
    assert standing.words[0].lapse == "nobody is named who may speak here (PE_PEOPLE)"
    assert waiting_words(standing) == "waits for the approval of clinical_safety (nobody else is named for it)"
    error_of(Kind.REFUSED, lambda: promote(decision.checkpoint_id, stage="staging", decision_id=decision.id, state=state, **WHO))
    statement = drafted(world, decision, "bob")
    error = error_of(Kind.INPUT, lambda: give(statement, sealed(world, statement, "bob"), state=state))
    assert error.where == "PE_PEOPLE"


def test_a_failed_decision_cannot_be_approved(world: World) -> None:
    decision = factory.judged(world.state, factory.make_chain(world.state, metrics=(), text=asking()))
    error = error_of(Kind.REFUSED, lambda: world.approve(decision.id, "ada"))
    assert error.message.startswith("there is nothing to approve: inconclusive")
    assert attempts(world.state)[0].route == "approval"


@pytest.mark.parametrize("reason", ["", "fine", "x" * 2001, "   short    "])
def test_a_reason_is_a_reason(world: World, reason: str) -> None:
    decision = passed(world)
    error = error_of(Kind.INPUT, lambda: world.approve(decision.id, "ada", reason=reason))
    assert error.message.startswith("a reason has 10 to 2,000 characters")


# --- distinct people --------------------------------------------------------------------------------------------------


def test_two_roles_are_two_people(world: World) -> None:
    decision = passed(world, text=asking(ASKED))
    world.approve(decision.id, "ada", "clinical_safety")
    error = error_of(Kind.REFUSED, lambda: world.approve(decision.id, "ada", "privacy"))
    assert error.message == "ada has approved as clinical_safety already: privacy must be somebody else"
    assert waiting_words(standing_of(decision, state=world.state)) == "waits for the approval of privacy (cleo)"


def test_one_who_signs_for_two_roles_behind_our_back_counts_for_one(world: World) -> None:
    decision = passed(world, text=asking(ASKED))
    first = drafted(world, decision)
    world.say(first)
    second = first.model_copy(update={"role": "privacy"})
    written(world, second, sealed(world, second, "ada"))
    standing = standing_of(decision, state=world.state)
    assert [word.lapse for word in standing.words] == [None, None]
    assert [need.given is None for need in standing.needs] == [False, True]
    assert not standing.opens
    error_of(Kind.REFUSED, lambda: ROADS["promote"](world, decision))


def test_the_same_words_free_the_one_who_can_speak_for_both(world: World) -> None:
    """ada is put where nobody else can be, once bob has taken the other place."""
    decision = passed(world, text=asking(ASKED))
    first = drafted(world, decision)
    world.say(first)
    second = first.model_copy(update={"role": "privacy"})
    written(world, second, sealed(world, second, "ada"))
    world.approve(decision.id, "bob")
    standing = standing_of(decision, state=world.state)
    assert [need.given and need.given.said.statement.person for need in standing.needs] == ["bob", "ada"]
    assert standing.opens


def test_two_of_one_role_are_two_people(world: World) -> None:
    decision = passed(world, text=asking(ONE + "  - {role: clinical_safety, valid_days: 30}\n"))
    world.approve(decision.id, "ada")
    world.approve(decision.id, "ada", reason="looked at it a second time")
    assert not standing_of(decision, state=world.state).opens
    world.approve(decision.id, "bob")
    assert standing_of(decision, state=world.state).opens


# --- attacks ----------------------------------------------------------------------------------------------------------


def test_a_seal_for_one_decision_is_none_for_another(world: World) -> None:
    one, other = passed(world), passed(world, seed=2)
    seal = sealed(world, drafted(world, one), "ada")
    moved = drafted(world, other)
    error = error_of(Kind.REFUSED, lambda: give(moved, seal, state=world.state))
    assert error.message == "nothing is approved: the signature is not of these words"
    assert attempts(world.state)[0].message == error.message
    written(world, moved, seal)
    assert lapse(world, other) == "the signature is not of these words"


def test_a_statement_that_is_filed_under_another_decision_is_damage(world: World) -> None:
    one, other = passed(world), passed(world, seed=2)
    seq = world.approve(one.id, "ada")
    with past_the_ledger(world.state.registry) as connection:
        connection.execute(sa.update(t.statements).where(t.statements.c.seq == seq).values(decision_id=other.id))
    error = error_of(Kind.CORRUPT, lambda: ROADS["promote"](world, other))
    assert error.message == f"statement {seq} was changed: it is filed under a decision that it is not about"


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "the reason": ({"reason": "read nothing at all of it"}, "the signature is not of these words"),
    "the person": ({"person": "bob"}, "the key that signed it is not bob's"),
    "a role that they do not hold": ({"role": "oracle"}, "ada does not hold the role oracle here"),
    "a role that nobody asks for": ({"role": "privacy"}, "policy staging asks nobody of the role privacy"),
    "a stranger": ({"person": "mallory"}, "mallory does not hold the role clinical_safety here"),
    "a later day": ({"on": "2999-01-01"}, "the signature is not of these words"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_of_what_was_signed_can_be_changed(world: World, change: str) -> None:
    decision = passed(world)
    statement = drafted(world, decision)
    seal = sealed(world, statement, "ada")
    changed = statement.model_copy(update=CHANGES[change][0])
    error_of(Kind.REFUSED, lambda: give(changed, seal, state=world.state))
    written(world, changed, seal)
    assert lapse(world, decision) == CHANGES[change][1]
    error_of(Kind.REFUSED, lambda: ROADS["promote"](world, decision))


def test_a_key_that_is_not_in_the_file_seals_nothing(world: World) -> None:
    decision = passed(world)
    statement = drafted(world, decision)
    seal = sealed(world, statement, "mallory")
    assert "the key that signed it is not trusted here" in error_of(Kind.REFUSED, lambda: give(statement, seal, state=world.state)).message
    written(world, statement, seal)
    assert lapse(world, decision) == "the key that signed it is not trusted here"


def test_an_approval_from_another_registry_is_none_here(world: World, tmp_path: Path) -> None:
    decision = passed(world)
    people = world.state.settings.people
    elsewhere = State(Settings(home=tmp_path / "elsewhere", artifacts_url=world.state.settings.artifacts, people=people))
    twin = factory.judged(elsewhere, factory.make_chain(elsewhere, text=asking()))
    assert twin == decision
    statement = draft_approval(twin.id, person="ada", role="clinical_safety", reason=WHY, state=elsewhere)
    seal = sealed(world, statement, "ada")
    give(statement, seal, state=elsewhere)
    error = error_of(Kind.REFUSED, lambda: give(statement, seal, state=world.state))
    assert error.message == "this is about something else than is kept here"
    written(world, statement, seal)
    assert lapse(world, decision) == "it was said elsewhere, in another registry"


def test_what_was_signed_yesterday_cannot_be_handed_in_today(world: World) -> None:
    decision = passed(world)
    yesterday = (now() - timedelta(days=1)).date().isoformat()
    statement = drafted(world, decision).model_copy(update={"on": yesterday})
    error = error_of(Kind.REFUSED, lambda: give(statement, sealed(world, statement, "ada"), state=world.state))
    assert error.message == f"this was drafted on {yesterday}, and today is another day"


def test_the_same_words_are_kept_once_a_day(world: World) -> None:
    decision = passed(world)
    seq = world.approve(decision.id, "ada")
    error = error_of(Kind.CONFLICT, lambda: world.approve(decision.id, "ada"))
    assert error.message == f"ada has said exactly this today already: statement {seq}"


def test_a_signature_for_another_purpose_is_none(world: World) -> None:
    """The bare text, signed, as any tool would sign a file."""
    import base64

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    decision = passed(world)
    statement = drafted(world, decision)
    private = load_pem_private_key(world.key("ada").read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    made = private.sign(text_of(statement), ec.ECDSA(hashes.SHA256()))
    seal = sign(statement, private).model_copy(update={"signature": base64.b64encode(made).decode()})
    error_of(Kind.REFUSED, lambda: give(statement, seal, state=world.state))


@given(place=st.integers(0, 10**9), bit=st.integers(0, 7), column=st.sampled_from(["body", "seal"]))
def test_no_flipped_bit_of_a_row_leaves_an_approval_that_counts(
    one_approved: tuple[World, PromotionDecision], place: int, bit: int, column: str
) -> None:
    """Whoever flips it also mends the digest."""
    world, decision = one_approved
    with world.state.registry.reading() as connection:
        row = connection.execute(sa.select(t.statements)).one()
    data = bytearray(getattr(row, column).encode())
    data[place % len(data)] ^= 1 << bit
    text = data.decode("utf-8", errors="replace")
    try:
        same = json.loads(text) == json.loads(getattr(row, column))
    except ValueError:
        same = False
    opens = False
    values = {column: text} | ({"digest": digest_bytes(text.encode())} if column == "body" else {})
    try:
        with past_the_ledger(world.state.registry) as connection:
            connection.execute(sa.update(t.statements).values(**values))
        with contextlib.suppress(PeError):
            opens = standing_of(decision, state=world.state).opens
    finally:
        with past_the_ledger(world.state.registry) as connection:
            connection.execute(sa.update(t.statements).values(body=row.body, seal=row.seal, digest=row.digest))
    assert opens is same


@pytest.fixture(scope="module")
def one_approved(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, PromotionDecision]:
    world = make_world(tmp_path_factory.mktemp("flipped"))
    decision = passed(world)
    world.approve(decision.id, "ada")
    return world, decision


# --- what changes by itself -------------------------------------------------------------------------------------------


def test_an_approval_holds_on_its_last_day_and_not_on_the_next(world: World) -> None:
    decision = passed(world)
    world.approve(decision.id, "ada")
    last = now().date() + timedelta(days=30)
    assert standing_of(decision, state=world.state, day=last).opens
    over = standing_of(decision, state=world.state, day=last + timedelta(days=1))
    assert (over.opens, over.words[0].lapse) == (False, f"it expired on {last.isoformat()}")
    assert standing_of(decision, state=world.state, day=now().date() - timedelta(days=1)).words[0].lapse == (
        f"it is dated {now().date().isoformat()}, which is to come"
    )


def test_whoever_leaves_the_file_takes_their_approval_along(world: World) -> None:
    decision = passed(world)
    world.approve(decision.id, "ada")
    for changed, why in (
        (FILE.replace("name: ada, roles: [clinical_safety, privacy]", "name: ada, roles: [privacy]"), "ada does not hold the role"),
        (FILE.replace("keys: [ada.pem]", 'subject: "x"'), "the key that signed it is not trusted here"),
        (FILE.replace("name: ada", "name: eve"), "ada does not hold the role"),
    ):
        world.file(changed)
        found = standing_of(decision, state=world.state)
        assert (found.opens, (found.words[0].lapse or "").startswith(why)) == (False, True), found.words[0].lapse
    world.file(FILE)
    assert standing_of(decision, state=world.state).opens


def test_another_policy_is_another_decision_and_needs_approvals_of_its_own(world: World) -> None:
    decision = passed(world)
    world.approve(decision.id, "ada")
    stricter = passed(world, text=asking().replace("min_n: 30", "min_n: 31"))
    assert stricter.checkpoint_id == decision.checkpoint_id
    assert not standing_of(stricter, state=world.state).opens


# --- revocation -------------------------------------------------------------------------------------------------------


def test_a_revoked_approval_opens_nothing_and_can_only_be_given_anew(world: World) -> None:
    decision = passed(world)
    seq = world.approve(decision.id, "ada")
    world.revoke(seq, "ada")
    assert standing_of(decision, state=world.state).words[0].lapse == "revoked by ada: a reply was overlooked"
    error_of(Kind.REFUSED, lambda: ROADS["promote"](world, decision))
    error_of(Kind.CONFLICT, lambda: world.approve(decision.id, "ada"))
    world.approve(decision.id, "ada", reason="the reply was a false alarm")
    ROADS["promote"](world, decision)


def test_one_of_the_same_role_may_revoke_and_others_may_not(world: World) -> None:
    decision = passed(world, text=asking(ASKED))
    seq = world.approve(decision.id, "ada", "privacy")
    error = error_of(Kind.REFUSED, lambda: world.revoke(seq, "bob"))
    assert error.message == f"statement {seq} is by ada as privacy, and not bob's to take back"
    assert attempts(world.state)[0].route == "revocation"
    earlier = statement_of(world.state, seq)
    ours = world.approve(decision.id, "bob")
    mine = draft_revocation(ours, person="bob", reason="not after all, sorry", state=world.state)
    crossed = mine.model_copy(update={"revokes": earlier.digest})  # past the draft, by the library
    error_of(Kind.REFUSED, lambda: world.say(crossed))
    other = world.approve(decision.id, "bob", reason="read it all once more")
    world.revoke(other, "ada")
    assert standing_of(decision, state=world.state).words[other - 1].lapse == "revoked by ada: a reply was overlooked"


def test_a_revocation_whose_seal_is_broken_still_counts(world: World) -> None:
    decision = passed(world)
    seq = world.approve(decision.id, "ada")
    no = world.revoke(seq, "ada")
    with world.state.registry.writing() as connection:
        seal = KeySeal(key="0" * 64, signature="AAAA").content()
        connection.execute(sa.update(t.statements).where(t.statements.c.seq == no).values(seal=json.dumps(seal)))
    assert not standing_of(decision, state=world.state).opens


def test_a_revocation_cannot_be_revoked_and_what_was_never_said_neither(world: World) -> None:
    decision = passed(world)
    no = world.revoke(world.approve(decision.id, "ada"), "ada")
    assert error_of(Kind.INPUT, lambda: world.revoke(no, "ada")).message == f"statement {no} is itself a revocation"
    error_of(Kind.NOT_FOUND, lambda: world.revoke(99, "ada"))


# --- authors ----------------------------------------------------------------------------------------------------------


def test_nobody_approves_their_own_model_where_the_policy_says_so(world: World) -> None:
    decision = passed(world, text=asking(ONE + "not_author: true\n"))
    error = error_of(Kind.REFUSED, lambda: world.approve(decision.id, "bob"))
    assert error.message == "who asked for the training is not known, so nobody can be told from its author"
    run_id = world.state.registry.parents(decision.checkpoint_id)["run"]
    by_ada = State(Settings(home=world.state.settings.home, people=world.state.settings.people, actor="ada"))
    note_author(run_id, manifest_id=decision.manifest_id, state=by_ada)
    error = error_of(Kind.REFUSED, lambda: world.approve(decision.id, "ada"))
    assert error.message == "ada asked for the training, and nobody approves their own model"
    assert waiting_words(standing_of(decision, state=world.state)) == "waits for the approval of clinical_safety (bob)"
    world.approve(decision.id, "bob")
    assert standing_of(decision, state=world.state).opens


# --- the table --------------------------------------------------------------------------------------------------------


def test_what_was_said_is_read_in_order_from_a_number_on(world: World) -> None:
    decision = passed(world)
    first = world.approve(decision.id, "ada")
    second = world.approve(decision.id, "bob")
    assert spoken_since(world.state, 0) == [(first, decision.id), (second, decision.id)]
    assert spoken_since(world.state, first) == [(second, decision.id)]
    with world.state.registry.reading() as connection:
        assert [one.seq for one in said_in(connection, decision.id)] == [first, second]


def test_a_registry_without_its_name_is_damage(world: World) -> None:
    decision = passed(world)
    with past_the_ledger(world.state.registry) as connection:
        connection.execute(sa.delete(t.registry_identity))
    error = error_of(Kind.CORRUPT, lambda: world.approve(decision.id, "ada"))
    assert error.message == "the registry has 0 names, so nobody can say what was said here"


def test_a_key_of_nobody_speaks_for_nobody(world: World) -> None:
    from pe_training.promotion.people import read_register

    register = read_register(world.folder / "people.yaml")
    assert speaker_of_key(world.key("ada"), register=register)[0] == "ada"
    assert error_of(Kind.REFUSED, lambda: speaker_of_key(world.key("mallory"), register=register)).message == "this key is nobody's here"


def test_verify_names_a_statement_that_was_changed_and_none_of_somebody_who_left(world: World) -> None:
    decision = passed(world)
    seq = world.approve(decision.id, "ada")

    def told() -> list[str]:
        return [str(check) for check in verify(world.state, decision.id).checks if check.what == "statement"]

    about = f"{decision.id} statement {seq}"
    assert told() == [f"{about}: holds [statements]"]
    world.file(FILE.replace("  - {name: ada, roles: [clinical_safety, privacy], keys: [ada.pem]}\n", ""))
    assert told() == [f"{about}: holds [statements]"]
    world.file(FILE)
    with past_the_ledger(world.state.registry) as connection:
        row = connection.execute(sa.select(t.statements)).one()
        text = row.body.replace("every reply", "hardly any")
        connection.execute(sa.update(t.statements).values(body=text, digest=digest_bytes(text.encode())))
    assert told() == [f"{about}: the signature is not of these words [statements]"]
    with past_the_ledger(world.state.registry) as connection:
        connection.execute(sa.update(t.statements).values(body=row.body))
    assert told() == [f"{decision.id} statement: statement {seq} was changed: its text is not what its digest says [statements]"]
