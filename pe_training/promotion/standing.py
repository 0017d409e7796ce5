"""What people's word comes to for one decision: which approvals it has, which it waits for, and which rules are waived.

Judged anew each time and kept nowhere, because it changes by itself: approvals expire, people leave, keys are taken out of the file. What
counts at the moment a pointer moves is asked inside the transaction that moves it (``Hearing.standing_in``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

import sqlalchemy as sa

from pe_training.core.clock import now
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.gate import GateError
from pe_training.evaluation.record import EvaluationReport
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.authors import authors_of
from pe_training.promotion.inputs import pinned_policy
from pe_training.promotion.people import Register, load_register
from pe_training.promotion.policy import Policy
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.seals import fault
from pe_training.promotion.statements import KeySeal, Said, Statement, Subject, registry_name, said_in
from pe_training.promotion.verdict import headline, overall
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Word:
    """A statement and what it is worth today. ``lapse``: why it does not count; ``until``: its last day."""

    said: Said
    until: date | None = None
    lapse: str | None = None


@dataclass(frozen=True, kw_only=True)
class Need:
    """An approval that the policy asks for. ``may``: who could still give it."""

    role: str
    given: Word | None
    may: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.role} ({' or '.join(self.may)})" if self.may else f"{self.role} (nobody else is named for it)"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a decision stands between its verdict and its stage."""

    decision: PromotionDecision
    words: tuple[Word, ...] = ()
    needs: tuple[Need, ...] = ()
    waived: Mapping[str, Word] = field(default_factory=dict)  # rule -> the waiver that holds

    @cached_property
    def passes(self) -> bool:
        """Whether every rule that decides is passed or waived."""
        return self.decision.verdict == "pass" or overall(tuple(
            outcome.model_copy(update={"verdict": "pass"}) if outcome.rule in self.waived else outcome for outcome in self.decision.outcomes
        )) == "pass"  # fmt: skip

    @property
    def waits_for(self) -> tuple[Need, ...]:
        """Approvals that are still to be given."""
        return tuple(need for need in self.needs if need.given is None)

    @property
    def opens(self) -> bool:
        """Whether the decision's stage may be entered by it."""
        return self.passes and not self.waits_for


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """All that a decision's standing depends on, but for what people say, which is read when it is asked for."""

    decision: PromotionDecision
    policy: Policy
    checkpoint_digest: str
    report_digest: str
    authors: frozenset[str]
    register: Register | None

    def subject(self, registry: str) -> Subject:
        """What a statement about this decision names."""
        d = self.decision
        return Subject(
            registry=registry, decision=d.id, decision_digest=d.content_digest, checkpoint=d.checkpoint_id,
            checkpoint_digest=self.checkpoint_digest, report=d.report_id, report_digest=self.report_digest, policy=d.policy,
        )  # fmt: skip

    def standing_in(self, connection: sa.Connection, *, day: date | None = None, until: str | None = None) -> Standing:
        """The standing on ``day`` (today), by what was said ``until`` then. Raises corrupt where a statement was changed."""
        said = [one for one in said_in(connection, self.decision.id) if until is None or _said_by(one, until)]
        subject = self.subject(registry_name(connection)) if said else None
        revoked = {one.statement.revokes: one for one in said if one.statement.act == "revoke"}
        words = tuple(self._word(one, subject, revoked.get(one.digest), day or now().date()) for one in said)
        waived = {word.said.statement.rule or "": word for word in words if word.said.statement.act == "waive" and not word.lapse}
        return Standing(decision=self.decision, words=words, needs=self._needs(words), waived=waived)

    def damage_in(self, connection: sa.Connection) -> dict[int, str | None]:
        """Statement -> what is wrong with how it is kept, if anything. That somebody has left or been revoked is no damage."""
        said = said_in(connection, self.decision.id)
        subject = self.subject(registry_name(connection)) if said else None
        return {one.seq: self._damage(one, subject) for one in said}

    def _damage(self, said: Said, subject: Subject | None) -> str | None:
        if said.statement.about != subject:
            return "it is about something else than is kept here"
        known = self.register is not None and (not isinstance(said.seal, KeySeal) or said.seal.key in self.register.owners)
        return fault(said.statement, said.seal, register=self.register) if known and self.register else None

    def unfit(self, statement: Statement) -> str | None:
        """Why the policy and the file of people do not let this person say this, whoever sealed it."""
        if self.register is None:
            return "nobody is named who may speak here (PE_PEOPLE)"
        if statement.act == "revoke":
            return None if statement.person in self.register.by_name else f"{statement.person} is not named here"
        if statement.person not in self.register.holders(statement.role):
            return f"{statement.person} does not hold the role {statement.role} here"
        return self._unfit_approval(statement) if statement.act == "approve" else self._unfit_waiver(statement)

    def _unfit_approval(self, statement: Statement) -> str | None:
        if statement.role not in self._days:
            return f"policy {self.policy.name} asks nobody of the role {statement.role}"
        if self.policy.not_author and not self.authors:
            return "who asked for the training is not known, so nobody can be told from its author"
        if self.policy.not_author and statement.person in self.authors:
            return f"{statement.person} asked for the training, and nobody approves their own model"
        return None

    def _unfit_waiver(self, statement: Statement) -> str | None:
        rule = next((rule for rule in self.policy.rules if rule.id == statement.rule), None)
        if rule is None or statement.role not in rule.waivable_by:
            return f"policy {self.policy.name} lets nobody of the role {statement.role} waive {statement.rule}"
        if self._last_day(statement) > statement.day + timedelta(days=self.policy.max_waiver_days):
            return f"policy {self.policy.name} lets no waiver last longer than {self.policy.max_waiver_days} days"
        return None

    @cached_property
    def _days(self) -> dict[str, int]:
        """Role -> days that its approvals hold."""
        return {
            role: min(one.valid_days for one in self.policy.approvals if one.role == role)
            for role in {a.role for a in self.policy.approvals}
        }

    def _last_day(self, statement: Statement) -> date:
        if statement.expires is not None:
            return date.fromisoformat(statement.expires)
        return statement.day + timedelta(days=self._days.get(statement.role, 0))

    def _word(self, said: Said, subject: Subject | None, revocation: Said | None, day: date) -> Word:
        statement = said.statement
        until = None if statement.act == "revoke" else self._last_day(statement)
        return Word(said=said, until=until, lapse=self._lapse(said, subject, revocation, until, day))

    def _lapse(self, said: Said, subject: Subject | None, revocation: Said | None, until: date | None, day: date) -> str | None:
        statement = said.statement
        if statement.about != subject:
            here = "elsewhere, in another registry" if subject and statement.about.registry != subject.registry else "about something else"
            return f"it was said {here}"
        if unfit := self.unfit(statement):
            return unfit
        assert self.register is not None
        if broken := fault(statement, said.seal, register=self.register):
            return broken
        if revocation is not None:  # whatever its own seal is worth: in doubt it is no
            return f"revoked by {revocation.statement.person}: {revocation.statement.reason}"
        return _out_of_time(statement, until, day)

    def _needs(self, words: Sequence[Word]) -> tuple[Need, ...]:
        """Each approval that the policy asks for, given by a person of its own wherever that can be done."""
        found: dict[tuple[str, str], Word] = {}
        for word in words:
            if word.said.statement.act == "approve" and word.lapse is None:
                found[word.said.statement.role, word.said.statement.person] = word
        taken = _assign([[person for role, person in found if role == asked.role] for asked in self.policy.approvals])
        return tuple(
            Need(role=asked.role, given=found[asked.role, taken[place]])
            if place in taken
            else Need(role=asked.role, given=None, may=self._may(asked.role, set(taken.values())))
            for place, asked in enumerate(self.policy.approvals)
        )

    def _may(self, role: str, taken: set[str]) -> tuple[str, ...]:
        barred = taken | (self.authors if self.policy.not_author else set())
        return tuple(name for name in (self.register.holders(role) if self.register else ()) if name not in barred)


def hearing(decision: PromotionDecision, *, state: State) -> Hearing:
    """Everything that the standing of a decision depends on, read. Raises input for a file of people that cannot be read."""
    checkpoint = state.registry.get(decision.checkpoint_id, Checkpoint)
    policy = pinned_policy(state.registry.get(decision.manifest_id, ResolvedManifest), state=state)
    return Hearing(
        decision=decision,
        policy=policy,
        checkpoint_digest=checkpoint.content_digest,
        report_digest=state.registry.get(decision.report_id, EvaluationReport).content_digest,
        authors=authors_of(state, checkpoint.run_id),
        register=load_register(state.settings),
    )


def standing_of(decision: PromotionDecision, *, state: State, day: date | None = None) -> Standing:
    """Where a decision stands on ``day`` (today)."""
    found = hearing(decision, state=state)
    with state.registry.reading() as connection:
        return found.standing_in(connection, day=day)


def damage(decision: PromotionDecision, *, state: State) -> list[tuple[str, str | None]]:
    """Each statement about a decision by its number, and what is wrong with how it is kept; for `pe verify`."""
    try:
        found = hearing(decision, state=state)
        with state.registry.reading() as connection:
            return [(str(seq), problem) for seq, problem in found.damage_in(connection).items()]
    except PeError as error:
        return [("", error.message)]


def require_open(standing: Standing) -> None:
    """Refuse a decision that may not move its stage. To be called inside the transaction that moves it, by a caller who is remembering."""
    if not standing.opens:
        raise not_open(standing)


def not_open(standing: Standing) -> GateError:
    """Why a decision may not move its stage: its verdict, or who has still to approve."""
    d = standing.decision
    message, hint = f"{short(d.checkpoint_id)} may not enter {d.stage}", f"`pe show {short(d.id)}` lists the reasons"
    if not standing.passes:
        return GateError(Kind.REFUSED, f"{message}: {headline(d)}", where=d.id, hint=hint)
    hint = f"`pe approve {short(d.id)} --role {standing.waits_for[0].role} --reason WHY --key FILE`, then promote it again"
    return GateError(Kind.REFUSED, f"{message} yet: it {waiting_words(standing)}", where=d.id, hint=hint)


def waiting_words(standing: Standing) -> str:
    """What a decision waits for, in one line; empty where it waits for nobody."""
    needs = [str(need) for need in standing.waits_for]
    return f"waits for the approval of {', '.join(needs)}" if needs and standing.passes else ""


def waiver_words(standing: Standing) -> tuple[str, ...]:
    """Each waiver that holds, as a sentence to stand beside the verdict."""
    return tuple(
        f"{rule} is waived until {word.until} by {word.said.statement.person} ({word.said.statement.role}), "
        f"{word.said.statement.owner} answers for it: {word.said.statement.reason}"
        for rule, word in sorted(standing.waived.items())
    )


def lapse_words(word: Word) -> str:
    """A statement that counts no more, and why."""
    s = word.said.statement
    return f"{s.act} {word.said.seq} of {short(s.about.decision)} by {s.person} does not count: {word.lapse}"


def _out_of_time(statement: Statement, until: date | None, day: date) -> str | None:
    if statement.day > day:
        return f"it is dated {statement.on}, which is to come"
    return f"it expired on {until.isoformat()}" if until is not None and day > until else None


def _assign(wanted: Sequence[Sequence[str]]) -> dict[int, str]:
    """Place -> person, everybody once, as many places as possible (augmenting paths; Kuhn 1955)."""
    holder: dict[str, int] = {}

    def place(index: int, tried: set[str]) -> bool:
        for person in wanted[index]:
            if person not in tried:
                tried.add(person)
                if person not in holder or place(holder[person], tried):
                    holder[person] = index
                    return True
        return False

    for index in range(len(wanted)):
        place(index, set())
    return {index: person for person, index in holder.items()}


def _said_by(said: Said, moment: str) -> bool:
    """Moments are whole seconds: in the very one a revocation is taken to have come later, since the move asked for it."""
    return said.at < moment or (said.at == moment and said.statement.act != "revoke")
