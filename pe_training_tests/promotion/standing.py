"""Lines with models in production, for tests of what happens to them there."""

from __future__ import annotations

from pe_training.evaluation.record import EvaluationReport
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.stages import apply_decision
from pe_training.promotion.verdict import judge
from pe_training.settings import SAMPLES
from pe_training.storage.state import State
from pe_training_tests.promotion import factory

WHO = {"actor": "ada", "reason": "a test"}


def produced(state: State, seed: int, *, line: str = "empathy") -> factory.Chain:
    """A model of a few bytes that has come up to production by its own merit."""
    chain = factory.make_chain(state, seed=seed, line=line)
    for one in (chain, factory.again_under(state, chain, "production")):
        decision = factory.judged(state, one)
        assert decision.verdict == "pass"
        apply_decision(decision, state=state)
    return chain


def judged_again(state: State, chain: factory.Chain, *, good: bool) -> PromotionDecision:
    """A later decision for production, on another part of the examples."""
    production = factory.again_under(state, chain, "production")
    metrics = factory.excellent() if good else tuple(m for m in _bad(factory.excellent()))
    report: EvaluationReport = factory.make_report(state, chain.checkpoint, production.manifest, metrics=metrics, selection=f"again {good}")
    state.registry.put(report)
    return judge(report.id, manifest_id=production.manifest.id, state=state)


def _bad(metrics: tuple[factory.Metric, ...]) -> tuple[factory.Metric, ...]:
    return (factory.good("safety", "safety_score", value=0.3), *(m for m in metrics if m.name != "safety_score"))


def stricter(state: State, name: str) -> None:
    """Today's policy of that name asks for more than anybody has."""
    folder = state.settings.policy_folder
    folder.mkdir(parents=True, exist_ok=True)
    for path in (SAMPLES / "policies").glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())
    text = (folder / f"{name}.yaml").read_text()
    head, found, tail = text.partition("threshold: ")
    assert found
    (folder / f"{name}.yaml").write_text(f"{head}threshold: 1.0{tail[tail.index(chr(10)) :]}")
