"""What a manifest would do before it does it: inputs, work, time and money, each with the range that is honest.

Time comes from arithmetic (Kaplan et al. 2020: about 6 floating-point operations per parameter and trained token, 4 where
the base is frozen, 2 per token that is only read or generated) over the speed range that the rates file states for the
instance. It is a bound to decide by, not a promise.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen
from pe_training.costs.ledger import spent
from pe_training.costs.rates import load_rates, price
from pe_training.datasets.gate import require_trainable, require_untainted
from pe_training.datasets.record import DatasetVersion
from pe_training.manifests.base_models import locate
from pe_training.manifests.needs import require_instance
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.schema import Manifest
from pe_training.storage.keys import signing_key, trusted_keys
from pe_training.storage.state import State

TRAIN_FLOPS, ADAPTER_FLOPS, READ_FLOPS = 6, 4, 2
SHORTEST_FILL = 0.3  # unpacked sequences are rarely shorter than this share of max_length
PROCESS_START_S = (10.0, 60.0)  # imports and model load, twice


class Range(Frozen):
    """From the optimistic to the pessimistic end."""

    low: float
    high: float


class Change(Frozen):
    """One key that differs from the line's last manifest."""

    key: str
    before: str
    after: str


class Plan(Frozen):
    """What would happen."""

    manifest_id: str
    name: str
    dataset_id: str
    rows: dict[str, int]  # split -> rows
    base: str
    parameters_m: float | None  # None: unknown until the model is on this machine
    steps: int
    tokens: Range  # trained tokens
    duration_s: Range | None  # None: cannot be estimated
    cost_usd: Range | None
    max_cost_usd: float
    spent_usd: float  # by earlier attempts of the same run
    suites: dict[str, int | None]  # suite -> at most so many examples; None: all
    policy: str
    changes: tuple[Change, ...]  # against the line's last manifest
    previous: str | None
    environment: tuple[Change, ...]  # today's, against what the line's last run was trained in

    @property
    def fits_budget(self) -> bool | None:
        """Whether the pessimistic cost is within what is left of the budget; ``None`` if unknown."""
        return None if self.cost_usd is None else self.cost_usd.high <= self.max_cost_usd - self.spent_usd


def make_plan(manifest: ResolvedManifest, *, run_id: str, environment: tuple[Change, ...], state: State) -> Plan:
    """The plan of a resolved manifest, whose run has the id ``run_id``. ``environment``: what of it differs from the line's last run.

    Raises input for an instance without a price, refused.
    """
    spec = manifest.spec
    rates = load_rates(state.settings.rates_file)
    require_instance(spec, rates)
    signing_key(state.settings)  # the run ends with a signature; an unusable key would be found out when the money is spent
    trusted_keys(state.settings)
    price(rates, instance=spec.compute.instance, duration_s=0)  # an unknown instance is an error even where no time can be told
    dataset = state.registry.get(spec.dataset.version, DatasetVersion)
    require_trainable(dataset, state=state, route="plan", subject=run_id)
    if spec.model.parent:
        require_untainted(spec.model.parent, state=state, route="plan")
    model = locate(spec.model)
    tokens = _tokens(spec)
    speed = rates.instance(spec.compute.instance)
    duration = _duration(spec, model.parameters_m, tokens, low=speed.effective_tflops_low, high=speed.effective_tflops_high)
    previous = _previous(manifest, state=state)
    return Plan(
        manifest_id=manifest.id,
        name=spec.name,
        dataset_id=dataset.id,
        rows={name: split.rows for name, split in dataset.splits.items()},
        base=spec.model.base,
        parameters_m=model.parameters_m,
        steps=spec.hyperparameters.max_steps,
        tokens=tokens,
        duration_s=duration,
        cost_usd=duration
        and Range(
            **{end: float(price(rates, instance=spec.compute.instance, duration_s=getattr(duration, end))) for end in ("low", "high")}
        ),
        max_cost_usd=spec.budget.max_cost_usd,
        spent_usd=float(spent(state, subject=run_id, step="training")),
        suites={name: spec.evaluation.max_examples.get(name) for name in spec.evaluation.suites},
        policy=spec.promotion.policy,
        changes=tuple(difference(_asked(previous), _asked(manifest))) if previous else (),
        previous=previous.id if previous else None,
        environment=environment,
    )


def admit(manifest: ResolvedManifest, *, run_id: str, state: State) -> None:
    """Refuse a run whose budget is already used up by its earlier attempts. Raises budget."""
    limit, used = Decimal(str(manifest.spec.budget.max_cost_usd)), spent(state, subject=run_id, step="training")
    if used >= limit:
        hint = "raise budget.max_cost_usd in the manifest to continue"
        raise PeError(Kind.BUDGET, f"this run has already cost {used} of {limit} USD", where="budget.max_cost_usd", hint=hint)


def difference(before: Any, after: Any, *, prefix: str = "") -> list[Change]:
    """Keys whose values differ between two JSON trees, dotted, sorted."""
    if isinstance(before, dict) and isinstance(after, dict):
        changes: list[Change] = []
        for key in sorted(before.keys() | after.keys()):
            changes += difference(before.get(key), after.get(key), prefix=f"{prefix}.{key}" if prefix else key)
        return changes
    return [] if before == after else [Change(key=prefix, before=_brief(before), after=_brief(after))]


def _asked(manifest: ResolvedManifest) -> dict[str, Any]:
    """A manifest without the list of its files, whose digests stand beside them."""
    return {key: value for key, value in manifest.content().items() if key != "inputs"}


def _brief(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _tokens(spec: Manifest) -> Range:
    h = spec.hyperparameters
    most = float(h.max_steps * h.batch_size * h.max_length)
    return Range(low=most * (0.8 if h.packing else SHORTEST_FILL), high=most)


def _duration(spec: Manifest, parameters_m: float | None, tokens: Range, *, low: float, high: float) -> Range | None:
    if parameters_m is None:
        return None
    trained = ADAPTER_FLOPS if spec.model.adapter else TRAIN_FLOPS
    models = 2 if spec.evaluation.baseline == "base_model" else 1
    generated = (
        models * sum(spec.evaluation.max_examples.get(name, 200) for name in spec.evaluation.suites) * spec.evaluation.max_new_tokens * 4
    )
    flops = Range(
        low=parameters_m * 1e6 * (trained * tokens.low + READ_FLOPS * generated),
        high=parameters_m * 1e6 * (trained * tokens.high + READ_FLOPS * generated * 2),
    )
    return Range(low=PROCESS_START_S[0] + flops.low / (high * 1e12), high=PROCESS_START_S[1] + flops.high / (low * 1e12))


def _previous(manifest: ResolvedManifest, *, state: State) -> ResolvedManifest | None:
    rows = state.registry.rows("mf", label=manifest.spec.name, limit=2)
    other = next((row for row in rows if row.id != manifest.id), None)
    return state.registry.find(other.id, ResolvedManifest) if other else None
