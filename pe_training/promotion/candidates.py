"""A checkpoint that somebody wants in a stage: the decision on it under that stage's policy as it stands today.

A manifest is judged by the policy it names, usually staging. To enter production the same report is judged by the
production policy, through a manifest that differs in nothing but the policy, so that this decision too can be traced.
"""

from __future__ import annotations

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import kind_of, short
from pe_training.datasets.gate import require_untainted
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.resolve import with_policy
from pe_training.promotion.inputs import check_inputs
from pe_training.promotion.policy import Stage, load_policy
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.verdict import judge
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint


def decision_for_stage(checkpoint_id: str, stage: Stage, *, state: State) -> PromotionDecision:
    """Judge the checkpoint's newest report for ``stage``; the stored decision where there is one. Raises not_found, input, refused."""
    if kind_of(checkpoint_id) != Checkpoint.kind:
        raise PeError(Kind.INPUT, f"{short(checkpoint_id)} is not a checkpoint", where=checkpoint_id, hint="`pe ls ck` lists checkpoints")
    require_untainted(checkpoint_id, state=state, route="promotion")
    judged = _newest_decision(checkpoint_id, state=state)
    policy = policy_for(stage, settings=state.settings)
    manifest = with_policy(state.registry.get(judged.manifest_id, ResolvedManifest), policy, state=state)
    check_inputs(manifest, state=state)
    state.registry.put(manifest)
    return judge(judged.report_id, manifest_id=manifest.id, state=state)


def policy_for(stage: Stage, *, settings: Settings) -> str:
    """The name of the policy that guards ``stage``: the one called so, else the only one. Raises not_found or input."""
    names = [path.stem for path in sorted(settings.policy_folder.glob("*.yaml")) if load_policy(path).stage == stage]
    if stage in names:
        return stage
    if not names:
        raise PeError(Kind.NOT_FOUND, f"no policy guards {stage}", where=str(settings.policy_folder), hint=f"add {stage}.yaml")
    if len(names) > 1:
        message = f"several policies guard {stage}: {', '.join(names)}"
        raise PeError(Kind.INPUT, message, where=str(settings.policy_folder), hint=f"call the one that counts {stage}.yaml")
    return names[0]


def _newest_decision(checkpoint_id: str, *, state: State) -> PromotionDecision:
    line = state.registry.get(checkpoint_id, Checkpoint).line
    before: int | None = None
    while rows := state.registry.rows(PromotionDecision.kind, label=line, before=before):
        for row in rows:
            if state.registry.parents(row.id)["checkpoint"] == checkpoint_id:
                return state.registry.get(row.id, PromotionDecision)
        before = rows[-1].seq
    hint = "run its manifest with `pe run`; that evaluates and judges it"
    raise PeError(Kind.NOT_FOUND, f"{short(checkpoint_id)} has not been judged", where=checkpoint_id, hint=hint)
