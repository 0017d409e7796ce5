"""From a report and a policy to a verdict. The rule of the house: no evidence is never a pass.

:func:`decide` is pure, so a verdict can be proved again at any time; :func:`judge` keeps the first answer to each question
and returns it for ever after, because a judge with 10 % false passes lets 27 % through in three tries.
"""

from __future__ import annotations

import math

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_json, short
from pe_training.datasets.gate import require_untainted
from pe_training.evaluation.record import Comparison, Estimate, EvaluationReport, Metric
from pe_training.evaluation.statistics import examples_needed
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion import sentences
from pe_training.promotion.inputs import pinned_policy
from pe_training.promotion.policy import Policy, Rule
from pe_training.promotion.record import Finding, Outcome, PromotionDecision, Verdict, decision_key
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
    key = decision_key(checkpoint_id=checkpoint.id, policy=manifest.policy, evidence=evidence_digest(report))
    if kept := state.registry.answer(key, PromotionDecision):
        return kept
    decision = decide(
        report, checkpoint=checkpoint, policy=pinned_policy(manifest, state=state), policy_digest=manifest.policy, manifest_id=manifest_id
    )
    try:
        state.registry.put(decision)
    except PeError as error:
        kept = state.registry.answer(key, PromotionDecision)
        if error.kind != Kind.CONFLICT or kept is None:
            raise
        return kept  # somebody answered in between; theirs was first
    return decision


def decide(report: EvaluationReport, *, checkpoint: Checkpoint, policy: Policy, policy_digest: str, manifest_id: str) -> PromotionDecision:
    """The decision, without storing it. Raises refused where the report is about another checkpoint."""
    if report.checkpoint_id != checkpoint.id:
        message = f"report {short(report.id)} is about {short(report.checkpoint_id)}, not about {short(checkpoint.id)}"
        raise PeError(Kind.REFUSED, message, where=report.id, hint="evaluate this checkpoint, then judge that report")
    outcomes = tuple(outcome_of(rule, report, task=checkpoint.task, policy_name=policy.name) for rule in policy.rules)
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
    )


def require_follows(decision: PromotionDecision, *, state: State) -> None:
    """Derive ``decision`` again from its report, its checkpoint and its manifest's policy. Raises corrupt where it does not follow."""
    report = state.registry.get(decision.report_id, EvaluationReport)
    checkpoint = state.registry.get(decision.checkpoint_id, Checkpoint)
    manifest = state.registry.get(decision.manifest_id, ResolvedManifest)
    _require_same_chain(report, checkpoint, manifest, state.registry.get(checkpoint.run_id, TrainingRun))
    policy = pinned_policy(manifest, state=state)
    again = decide(report, checkpoint=checkpoint, policy=policy, policy_digest=manifest.policy, manifest_id=manifest.id)
    if _substance(again) != _substance(decision):
        message = (
            f"{short(decision.id)} says {decision.verdict}, which does not follow from its report and policy (they say {again.verdict})"
        )
        raise PeError(
            Kind.CORRUPT, message, where=decision.id, hint="no gate of ours wrote it: find out who did, and judge the report again"
        )


def _substance(decision: PromotionDecision) -> tuple[object, ...]:
    """All of a decision but the wording of its reasons and the forecasts of sample size, which may improve with the code."""
    rules = [(o.rule, o.verdict, o.severity, o.threshold, o.min_n, o.value, o.low, o.high, o.n) for o in decision.outcomes]
    return decision.line, decision.policy_name, decision.stage, decision.policy, decision.evidence, decision.verdict, rules


def evidence_digest(report: EvaluationReport) -> str:
    """What the model was asked and how: suites, selections, decoding, and the judges besides the rules, whose recall or end must not
    hold it back for ever.

    Not what it answered, so a second try is the same question; nor the incumbent, for which no rule asks: another would be a further try.
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


def outcome_of(rule: Rule, report: EvaluationReport, *, task: str, policy_name: str) -> Outcome:
    """What one rule finds in a report about a model of ``task``."""
    if task not in rule.tasks:
        return _written(rule, "not_applicable", sentences.not_applicable(rule, task))
    metric = report.metric(rule.suite, rule.metric, rule.slice)
    if metric is None:
        return _written(rule, "inconclusive", sentences.not_measured(rule, policy_name=policy_name))
    if metric.unit != rule.unit:
        return _written(rule, "inconclusive", sentences.wrong_unit(rule, metric.unit))
    found = _evidence(rule, metric)
    if found is None:
        return _written(rule, "inconclusive", sentences.no_evidence(rule, metric.note, policy_name=policy_name))
    if not _usable(rule, found):
        return _written(rule, "inconclusive", sentences.unusable(rule))
    verdict, more = compare(rule, found)
    if found.n < rule.min_n:
        reason = sentences.too_few(rule, found, more, policy_name=policy_name)
    elif verdict == "inconclusive":
        reason = sentences.undecided(rule, found, more, policy_name=policy_name)
    else:
        reason = sentences.decided(rule, found, verdict, policy_name=policy_name)
    return _written(rule, verdict, reason, found=found, more=more)


def compare(rule: Rule, found: Estimate | Comparison) -> tuple[Verdict, int | None]:
    """The verdict of one rule on one interval, and how many more examples would decide (``None``: decided, or none would)."""
    if found.n < rule.min_n:
        return "inconclusive", max(rule.min_n - found.n, _needed(rule, found) or 1)
    if rule.bound == "at_least":
        passes, fails = found.low >= rule.threshold, found.high < rule.threshold
    else:
        passes, fails = found.high <= rule.threshold, found.low > rule.threshold
    if passes or fails:
        return ("pass" if passes else "fail"), None
    return "inconclusive", _needed(rule, found)


def _needed(rule: Rule, found: Estimate | Comparison) -> int | None:
    point = Estimate(value=found.value, low=found.low, high=found.high, n=found.n, method=found.method, examples=found.examples)
    needed = examples_needed(point, threshold=rule.threshold, bound=rule.bound)
    return needed if needed is None else max(needed, 1)  # an interval that was rounded to 6 decimals can miss by less than one


def _evidence(rule: Rule, metric: Metric) -> Estimate | Comparison | None:
    """What the rule is about. A difference without a value of the tuned model itself is no evidence either."""
    return metric.tuned if rule.of == "tuned" or metric.tuned is None else metric.difference


def _usable(rule: Rule, found: Estimate | Comparison) -> bool:
    numbers = (found.value, found.low, found.high)
    if not all(math.isfinite(number) for number in numbers) or found.low > found.high or found.n < 1:
        return False
    floor = -1.0 if rule.of == "difference" else 0.0
    return rule.unit != "proportion" or all(floor <= number <= 1 for number in numbers)


def _written(rule: Rule, verdict: Finding, reason: str, *, found: Estimate | Comparison | None = None, more: int | None = None) -> Outcome:
    numbers = {} if found is None else {"value": found.value, "low": found.low, "high": found.high}
    return Outcome(
        rule=rule.id,
        title=rule.title,
        verdict=verdict,
        severity=rule.severity,
        reason=reason,
        suite=rule.suite,
        metric=rule.metric,
        slice=rule.slice,
        of=rule.of,
        bound=rule.bound,
        threshold=rule.threshold,
        min_n=rule.min_n,
        unit=rule.unit,
        **numbers,
        n=None if found is None else found.n,
        more_examples=more,
    )


def _require_same_chain(report: EvaluationReport, checkpoint: Checkpoint, manifest: ResolvedManifest, run: TrainingRun) -> None:
    if report.line != checkpoint.line or run.recipe != manifest.recipe():
        message = f"manifest {short(manifest.id)} did not ask for {short(checkpoint.id)}: its recipe is another"
        raise PeError(Kind.REFUSED, message, where=manifest.id, hint="judge a report under the manifest that its run came from")
    asked = {name: use.digest for name, use in report.suites.items()}
    if asked != manifest.suites:
        message = f"report {short(report.id)} answers other suites than manifest {short(manifest.id)} pins"
        raise PeError(Kind.REFUSED, message, where=report.id, hint="judge a report under the manifest that it was made for")
