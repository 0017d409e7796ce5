"""Graph of room 5: a report becomes a write-once decision, a passing decision moves a stage, and what is served is watched."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from pe_training.core.clock import now, stamp
from pe_training.defs.evaluation import evaluation_report
from pe_training.defs.manifests import training_partitions
from pe_training.defs.provenance import used
from pe_training.defs.resources import Store
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.approvals import approve_sealed
from pe_training.promotion.chain import chain_of, decide_manifest
from pe_training.promotion.lapses import newly_open, standing_or_fault
from pe_training.promotion.pointers import current
from pe_training.promotion.record import Outcome, PromotionDecision
from pe_training.promotion.stages import apply_decision
from pe_training.promotion.standing import standing_of
from pe_training.promotion.statements import spoken_since
from pe_training.promotion.watch import quick_findings, watch_line, watched_lines
from pe_training.views.markdown import approvals_markdown, decision_markdown, stages_markdown, watch_markdown
from pe_training.views.publish import publish

# What the shipped policies ask, by id: each shows as a check with its value and its threshold.
RULES = (
    "held-out-loss", "held-out-accuracy", "safety-score", "crisis-recall", "false-positives", "false-negatives", "largest-gap",
    "harmful-content", "therapeutic-quality", "perplexity", "method-information", "over-refusal", "boundaries", "training-leak",
    "held-out-ranking", "held-out-macro-f1", "crisis-recall-kept", "safety-score-kept", "false-positives-kept",
    "therapeutic-quality-gained", "calibration-crisis-response", "calibration-refusal", "calibration-method", "tries", "licences",
    "phases", "families", "fresh-report", "fresh-calibration", "fresh-dataset",
)  # fmt: skip
APPROVALS = "approvals"


@dg.asset(partitions_def=training_partitions, group_name="promotion", deps=[evaluation_report])
def promotion_decision(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
    """Pass, fail or inconclusive, judged on the pessimistic end of every interval. Write-once: a retry cannot re-roll it."""
    state = store.open()
    decision = decide_manifest(state.registry.get(context.partition_key, ResolvedManifest), state=state)
    page = publish(decision, state=state)
    standing, _ = standing_or_fault(decision, state=state)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(decision.id),
        metadata={
            "verdict": decision.verdict,
            "summary": dg.MetadataValue.md(decision_markdown(decision)),
            "page": dg.MetadataValue.path(page),
            "id": decision.id,
            "approvals": dg.MetadataValue.md(approvals_markdown(standing)),
        },
        tags=used(evaluation_report=decision.report_id),
    )


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(name.replace("-", "_"), asset=promotion_decision, partitions_def=training_partitions)
        for name in ("verdict", APPROVALS, *RULES)
    ],
    can_subset=True,
)
def gate_rules(context: dg.AssetCheckExecutionContext, store: Store) -> Iterator[dg.AssetCheckResult]:
    """The verdict and every rule that the policy asks of this task, each with its value and threshold."""
    state = store.open()
    manifest = state.registry.get(context.op_execution_context.partition_key, ResolvedManifest)
    decision = decide_manifest(manifest, state=state)
    yield dg.AssetCheckResult(
        asset_key="promotion_decision", check_name="verdict", passed=decision.verdict == "pass", metadata={"verdict": decision.verdict}
    )
    standing = standing_of(decision, state=state)
    yield dg.AssetCheckResult(
        asset_key="promotion_decision",
        check_name=APPROVALS,
        passed=not standing.waits_for,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "value": len(standing.needs) - len(standing.waits_for),
            "threshold": len(standing.needs),
            "waits": dg.MetadataValue.md(approvals_markdown(standing)),
        },
    )
    for outcome in applicable(decision):
        yield dg.AssetCheckResult(
            asset_key="promotion_decision",
            check_name=outcome.rule.replace("-", "_"),
            passed=outcome.verdict == "pass",
            severity=dg.AssetCheckSeverity.WARN if outcome.severity == "warn" else dg.AssetCheckSeverity.ERROR,
            metadata={
                "verdict": outcome.verdict,
                "reason": outcome.reason,
                "threshold": outcome.threshold,
                **({} if outcome.value is None else {"value": round(outcome.value, 4)}),
            },
        )


def applicable(decision: PromotionDecision) -> list[Outcome]:
    """Outcomes of the rules that apply to the task and have a check of their own."""
    return [outcome for outcome in decision.outcomes if outcome.rule in RULES and outcome.verdict != "not_applicable"]


@dg.asset(partitions_def=training_partitions, group_name="promotion", deps=[promotion_decision])
def model_stages(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
    """Where each model line stands after this decision."""
    state = store.open()
    manifest = state.registry.get(context.partition_key, ResolvedManifest)
    decision = decide_manifest(manifest, state=state)
    apply_decision(decision, state=state)
    pointers = current(state, line=manifest.spec.name)
    return dg.MaterializeResult(
        metadata={"summary": dg.MetadataValue.md(stages_markdown(pointers))}, tags=used(promotion_decision=decision.id)
    )


decide = dg.define_asset_job("decide", selection=[promotion_decision, model_stages], description="Judge a report that has no decision yet.")


@dg.sensor(job=decide, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def gate(context: dg.SensorEvaluationContext, store: Store) -> dg.SensorResult:
    """A report that was materialised on its own gets its decision. Reads events from its cursor on, 100 a tick."""
    events = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("evaluation_report"), after_storage_id=int(context.cursor or 0)),
        limit=100,
        ascending=True,
    ).records
    state = store.open()
    requests = []
    cursor = context.cursor
    for event in events:
        run = context.instance.get_run_by_id(event.run_id)
        if run is not None and not run.is_finished:
            break  # its own run is about to decide
        manifest = state.registry.find(str(event.partition_key), ResolvedManifest)
        if manifest is not None and chain_of(manifest, state=state).decision is None:
            requests.append(dg.RunRequest(run_key=f"gate-{event.storage_id}", partition_key=event.partition_key))
        cursor = str(event.storage_id)
    return dg.SensorResult(run_requests=requests, cursor=cursor)


class Approval(dg.Config):
    """What the Launchpad asks for. A name is not among it: the seal says who speaks, and is no secret."""

    decision: str = Field(description="whole id of the decision (pd_...)")
    role: str = Field(description="the role in which you approve")
    reason: str = Field(description="why, in the words that were sealed")
    key: str = Field(default="", description="with a key: `key` of the seal that `pe approve ... --key FILE --dry-run --json` makes")
    signature: str = Field(default="", description="with a key: `signature` of that seal")
    token: str = Field(default="", description="with a login: an ID token whose nonce is the one that `pe approve ... --dry-run` shows")


@dg.op
def approve_decision(context: dg.OpExecutionContext, config: Approval, store: Store) -> None:
    """Keep an approval that was sealed by whoever gives it."""
    given = {name: getattr(config, name) for name in ("role", "reason", "key", "signature", "token")}
    seq = approve_sealed(config.decision, **given, state=store.open())
    context.log.info(f"kept as statement {seq}")


@dg.job(description="Approve a decision: from the Launchpad, with a seal of your own.")
def approve() -> None:
    """One step."""
    approve_decision()


@dg.sensor(job=decide, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def approved(context: dg.SensorEvaluationContext, store: Store) -> dg.SensorResult:
    """A decision whose last approval or waiver has come moves its stage. Reads statements from its cursor on, 100 a tick."""
    state = store.open()
    spoken = spoken_since(state, int(context.cursor or 0), limit=100)
    opened = newly_open(spoken, state=state)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"approved-{seq}", partition_key=manifest) for manifest, seq in opened.items()],
        dynamic_partitions_requests=[training_partitions.build_add_request(list(opened))] if opened else [],
        cursor=str(spoken[-1][0]) if spoken else context.cursor,
    )


class Line(dg.Config):
    """Which model line is looked at."""

    line: str


@dg.asset(group_name="promotion", check_specs=[dg.AssetCheckSpec("may_be_served", asset="served_models")])
def served_models(config: Line, store: Store) -> dg.MaterializeResult:
    """All that is served of a line, proved again. What may not be served any more is taken out, if the policy lets the watch do it."""
    seen = watch_line(config.line, state=store.open())
    doubted = sum(bool(found.findings) for found in seen)
    return dg.MaterializeResult(
        metadata={"summary": dg.MetadataValue.md(watch_markdown(config.line, seen)), "line": config.line},
        check_results=[dg.AssetCheckResult(check_name="may_be_served", passed=doubted == 0, metadata={"value": doubted, "threshold": 0})],
    )


watch_production = dg.define_asset_job("watch_production", selection=[served_models], description="Prove again what a line serves.")
LINES_A_TICK = 20


@dg.sensor(job=watch_production, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def production_watch(context: dg.SensorEvaluationContext, store: Store) -> dg.SensorResult:
    """The registry's word on the next 20 lines from its cursor on: a proof of each once a day, and of those in doubt every ten minutes."""
    state = store.open()
    lines = watched_lines(state, after=context.cursor or "", limit=LINES_A_TICK)
    at = stamp(now())
    day, ten_minutes = at[:10], at[:15]
    requests = []
    for line in lines:
        due = ten_minutes if quick_findings(line, state=state) else day
        config = dg.RunConfig(ops={"served_models": Line(line=line)})
        requests.append(dg.RunRequest(run_key=f"watch:{line}:{due}", run_config=config, tags={"line": line}))
    following = lines[-1] if len(lines) == LINES_A_TICK else ""
    return dg.SensorResult(run_requests=requests, cursor=following)
