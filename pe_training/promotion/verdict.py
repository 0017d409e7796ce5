"""From a report and a policy to a verdict. The rule of the house: no evidence is never a pass.

:func:`decide` is pure, so a verdict can be proved again at any time; :func:`judge` keeps the first answer to each question
and returns it for ever after, because a judge with 10 % false passes lets 27 % through in three tries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from pe_training.core.clock import now
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_json, short
from pe_training.datasets.gate import require_untainted
from pe_training.evaluation.record import EvaluationReport
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.facts import CLOCKS_DIFFER_S, NOTHING, Facts, attempt_in, gather, place_of
from pe_training.promotion.findings import calibration_outcome, outcome_of
from pe_training.promotion.inputs import pinned_policy
from pe_training.promotion.levels import level_of
from pe_training.promotion.policy import Policy
from pe_training.promotion.record import Outcome, PromotionDecision, Verdict, decision_key
from pe_training.promotion.requirements import calibration_rules, kappa_of, required
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint, TrainingRun


def judge(report_id: str, *, manifest_id: str, state: State) -> PromotionDecision:
    """The verdict on what ``report_id`` shows, under the policy pinned in the manifest. The first answer is kept and returned.

    Raises not_found, corrupt, or refused where manifest, checkpoint and report do not belong together or come from recalled data.
    """
    report = state.registry.get(report_id, EvaluationReport)
    checkpoint = state.registry.get(report.checkpoint_id, Checkpoint)
    manifest = state.registry.get(manifest_id, ResolvedManifest)
    require_untainted(checkpoint.id, report.id, manifest.id, state=state, route="judge")
    _require_same_chain(report, checkpoint, manifest, state.registry.get(checkpoint.run_id, TrainingRun))
    policy = pinned_policy(manifest, state=state)
    known = answered(report, manifest, policy, state=state)
    if known.answer:
        return known.answer
    facts = gather(report, checkpoint, policy, at=now(), state=state)
    try:
        with state.registry.writing() as connection:  # so that two who judge at once do not both count as the same try
            attempt = attempt_in(connection, line=checkpoint.line, stage=policy.stage)
            decision = decide(
                report,
                checkpoint=checkpoint,
                policy=policy,
                policy_digest=manifest.policy,
                manifest_id=manifest_id,
                facts=replace(facts, attempt=attempt),
                renews=known.renews,
            )
            state.registry.put_in(connection, decision)
    except PeError as error:
        kept = answered(report, manifest, policy, state=state).answer
        if error.kind != Kind.CONFLICT or kept is None:
            raise
        return kept  # somebody answered in between; theirs was first
    return decision


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The answer to what would be judged; or ``None``, and the decision that a new one renews because its evidence is too old."""

    answer: PromotionDecision | None
    renews: str | None = None


def answered(report: EvaluationReport, manifest: ResolvedManifest, policy: Policy, *, state: State) -> Answered:
    """What has been decided on the question that this report answers.

    A second report on the same question is no new question, unless the evidence of the first has become older than the policy allows.
    """
    evidence, compared = evidence_digest(report), report.incumbent if policy.compares else None
    found, renews = None, None
    while True:
        key = decision_key(checkpoint_id=report.checkpoint_id, policy=manifest.policy, evidence=evidence, compared=compared, renews=renews)
        later = state.registry.answer(key, PromotionDecision)
        if later is None:
            break
        found, renews = later, later.id
    if found is None or found.report_id == report.id or not stale_now(found, policy, state=state):
        return Answered(answer=found)
    return Answered(answer=None, renews=renews)


def stale_now(decision: PromotionDecision, policy: Policy, *, state: State) -> tuple[str, ...]:
    """The records behind a decision that have become older than its policy allows."""
    if policy.freshness is None:
        return ()
    report = state.registry.get(decision.report_id, EvaluationReport)
    checkpoint = state.registry.get(decision.checkpoint_id, Checkpoint)
    return tuple(sorted(gather(report, checkpoint, policy, at=now(), state=state).stale))


def decide(
    report: EvaluationReport,
    *,
    checkpoint: Checkpoint,
    policy: Policy,
    policy_digest: str,
    manifest_id: str,
    facts: Facts = NOTHING,
    renews: str | None = None,
) -> PromotionDecision:
    """The decision, without storing it. Raises refused where the report is about another checkpoint."""
    if report.checkpoint_id != checkpoint.id:
        message = f"report {short(report.id)} is about {short(report.checkpoint_id)}, not about {short(checkpoint.id)}"
        raise PeError(Kind.REFUSED, message, where=report.id, hint="evaluate this checkpoint, then judge that report")
    outcomes = tuple(_outcomes(report, checkpoint.task, policy, facts))
    return PromotionDecision(
        checkpoint_id=checkpoint.id,
        report_id=report.id,
        manifest_id=manifest_id,
        line=checkpoint.line,
        policy_name=policy.name,
        policy=policy_digest,
        stage=policy.stage,
        evidence=evidence_digest(report),
        verdict=overall(outcomes),
        outcomes=outcomes,
        holder=facts.holder if policy.compares else None,
        compared=report.incumbent if policy.compares else None,
        attempt=facts.attempt if policy.tries else None,
        renews=renews,
    )


def _outcomes(report: EvaluationReport, task: str, policy: Policy, facts: Facts) -> Iterator[Outcome]:
    """One for each rule, then one for each other thing that the policy asks."""
    level = level_of(policy.tries, facts.attempt)
    for rule in policy.rules:
        yield outcome_of(rule, report, task=task, policy_name=policy.name, facts=facts, level=level)
    for asked, rule in zip(policy.calibrations, calibration_rules(policy), strict=True):
        kappa = kappa_of(asked.label, list(facts.calibrations.values()))
        yield calibration_outcome(rule, kappa, task=task, policy_name=policy.name)
    yield from required(policy, facts, task=task)


def require_follows(decision: PromotionDecision, *, state: State) -> None:
    """Derive ``decision`` again from its report, its checkpoint and its manifest's policy. Raises corrupt where it does not follow.

    Who held the stage is what the decision says, since that was a fact of its day; a promotion asks who holds it now. How old the evidence
    was and the how-manieth try it was follow from the registry, as of the moment at which the decision was stored.
    """
    report = state.registry.get(decision.report_id, EvaluationReport)
    checkpoint = state.registry.get(decision.checkpoint_id, Checkpoint)
    manifest = state.registry.get(decision.manifest_id, ResolvedManifest)
    _require_same_chain(report, checkpoint, manifest, state.registry.get(checkpoint.run_id, TrainingRun))
    policy = pinned_policy(manifest, state=state)
    _require_renewal(decision, policy, state=state)
    verdicts = []
    for facts in _facts_of_its_day(decision, report, checkpoint, policy, state=state):
        again = decide(
            report,
            checkpoint=checkpoint,
            policy=policy,
            policy_digest=manifest.policy,
            manifest_id=manifest.id,
            facts=facts,
            renews=decision.renews,
        )
        if _substance(again) == _substance(decision):
            return
        verdicts.append(again.verdict)
    message = f"{short(decision.id)} says {decision.verdict}, which does not follow from its report and policy (they say {verdicts[0]})"
    raise PeError(Kind.CORRUPT, message, where=decision.id, hint="no gate of ours wrote it: find out who did, and judge the report again")


def _facts_of_its_day(
    decision: PromotionDecision, report: EvaluationReport, checkpoint: Checkpoint, policy: Policy, *, state: State
) -> Iterator[Facts]:
    """What was known when the decision was stored; and, since a judge reads the clock before that, what was known shortly before."""
    place = place_of(decision.id, state=state)
    attempt, stored = decision.attempt, now()
    if place is not None:
        stored = place.stored_at
        with state.registry.reading() as connection:
            attempt = attempt_in(connection, line=decision.line, stage=decision.stage, before=place.seq)
    for moment in (stored, stored - timedelta(seconds=CLOCKS_DIFFER_S)) if policy.freshness else (stored,):
        facts = gather(report, checkpoint, policy, at=moment, state=state)
        yield replace(facts, holder=decision.holder, attempt=attempt)


def _require_renewal(decision: PromotionDecision, policy: Policy, *, state: State) -> None:
    """A second answer to a question needs a first one whose evidence was too old when the second was stored. Raises corrupt."""
    if decision.renews is None:
        return
    first, place = state.registry.get(decision.renews, PromotionDecision), place_of(decision.id, state=state)
    report = state.registry.get(first.report_id, EvaluationReport)
    checkpoint = state.registry.get(first.checkpoint_id, Checkpoint)
    asked = [(d.checkpoint_id, d.policy, d.evidence, d.compared) for d in (first, decision)]
    if asked[0] != asked[1] or not gather(report, checkpoint, policy, at=place.stored_at if place else now(), state=state).stale:
        message = f"{short(decision.id)} says that it renews {short(first.id)}, whose answer stood"
        raise PeError(Kind.CORRUPT, message, where=decision.id, hint="a verdict is not re-rolled: find out who wrote this one")


def _substance(decision: PromotionDecision) -> tuple[object, ...]:
    """All of a decision but the wording of its reasons and the forecasts of sample size, which may improve with the code."""
    rules = [
        (o.rule, o.verdict, o.severity, o.threshold, o.min_n, o.value, o.low, o.high, o.n, o.against, o.test, o.margin, o.confidence)
        for o in decision.outcomes
    ]
    d = decision
    return d.line, d.policy_name, d.stage, d.policy, d.evidence, d.verdict, d.holder, d.compared, d.attempt, rules


def evidence_digest(report: EvaluationReport) -> str:
    """What the model was asked and how: suites, selections, decoding, and the judges besides the rules, whose recall or end must not
    hold it back for ever.

    Not what it answered, so a second try is the same question; nor the incumbent, which is part of the question only where a rule asks
    for it (:func:`decision_key`).
    """
    asked = {"suites": {name: use.content() for name, use in report.suites.items()}, "decoding": report.decoding}
    trained = {"judges": list(report.judges)} if report.judges else {}
    external = {"llm_judge": report.llm_judge.content()} if report.llm_judge else {}
    return digest_json(asked | trained | external)


def overall(outcomes: tuple[Outcome, ...]) -> Verdict:
    """Fail if a blocking rule fails; pass only if there are blocking rules and all of them pass; else inconclusive."""
    found = {outcome.verdict for outcome in outcomes if outcome.severity == "block"} - {"not_applicable"}
    if "fail" in found:
        return "fail"
    return "pass" if found == {"pass"} else "inconclusive"


def headline(decision: PromotionDecision) -> str:
    """The decision in one line: verdict first, then the blocking rules behind it."""
    blocking = [o for o in decision.outcomes if o.severity == "block" and o.verdict != "not_applicable"]
    if not blocking:
        return f"{decision.verdict}: policy {decision.policy_name} has no blocking rule for this model's task"
    counts = {verdict: sum(o.verdict == verdict for o in blocking) for verdict in ("fail", "inconclusive", "pass")}
    words = {"fail": "failed", "inconclusive": "undecided", "pass": "passed"}
    parts = [f"{count} {words[verdict]}" for verdict, count in counts.items() if count]
    return f"{decision.verdict}: of {len(blocking)} blocking rules of {decision.policy_name}, {', '.join(parts)}"


def _require_same_chain(report: EvaluationReport, checkpoint: Checkpoint, manifest: ResolvedManifest, run: TrainingRun) -> None:
    if report.line != checkpoint.line or run.recipe != manifest.recipe():
        message = f"manifest {short(manifest.id)} did not ask for {short(checkpoint.id)}: its recipe is another"
        raise PeError(Kind.REFUSED, message, where=manifest.id, hint="judge a report under the manifest that its run came from")
    asked = {name: use.digest for name, use in report.suites.items()}
    if asked != manifest.suites:
        message = f"report {short(report.id)} answers other suites than manifest {short(manifest.id)} pins"
        raise PeError(Kind.REFUSED, message, where=report.id, hint="judge a report under the manifest that it was made for")
