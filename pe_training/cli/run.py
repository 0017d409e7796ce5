"""`pe plan` and `pe run`: the main job, from a dataset release to a promotion decision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers, note
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError

if TYPE_CHECKING:
    from pe_training.manifests.record import ResolvedManifest
    from pe_training.promotion.chain import Chain
    from pe_training.storage.state import State

ManifestPath = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A training manifest (YAML).")]
Full = Annotated[bool, typer.Option("--full", help="Put every example of every suite, whatever evaluation.max_examples says.")]


@answers
def plan(path: ManifestPath, full: Full = False, as_json: AsJson = False) -> Answer:
    """Show what a manifest would do: pinned inputs, tokens, time and cost with a range, gates, what changed since last time."""
    return _planned(path, full=full)


@answers
def run(path: ManifestPath, full: Full = False, dry_run: DryRun = False, as_json: AsJson = False) -> Answer:
    """Run a manifest to its promotion decision. Exit 0: the verdict is pass. Exit 1: it is not, with every reason.

    What exists already is not made again: the same manifest a second time answers at once.
    """
    from pe_training.promotion.chain import chain_of

    if dry_run:
        return _planned(path, full=full)
    state = open_state()
    manifest = _resolve(path, full=full, state=state)
    chain = chain_of(manifest, state=state)
    reused = chain.decision is not None
    if not reused:
        chain = _make(manifest, chain, state=state)
    return _answer(chain, reused=reused, state=state, path=path)


def _planned(path: Path, *, full: bool) -> Answer:
    """What ``pe plan`` answers, and ``pe run --dry-run`` too: nothing is started."""
    from pe_training.manifests.plan import make_plan
    from pe_training.training.environment import changes_since_last_run
    from pe_training.training.identity import plan_run
    from pe_training.views.lists import plan_view

    state = open_state()
    manifest = _resolve(path, full=full, state=state)
    differs = changes_since_last_run(manifest, state=state)
    found = make_plan(manifest, run_id=plan_run(manifest).id, environment=differs, state=state)
    return Answer(data=found.content() | {"fits_budget": found.fits_budget}, show=lambda: [plan_view(found)])


def _resolve(path: Path, *, full: bool, state: State) -> ResolvedManifest:
    """The manifest with everything pinned; accepts a waiting release of its dataset first."""
    from pe_training.cli.launch import accept_release
    from pe_training.datasets.inbox import waiting_release
    from pe_training.manifests.resolve import read_manifest, resolve
    from pe_training.promotion.inputs import check_inputs

    spec = read_manifest(path)
    if full:
        spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"max_examples": {}})})
    release = waiting_release(state, name=spec.dataset.name, version=spec.dataset.version)
    if release is not None:
        note(f"accepting the dataset release {release.name} {release.version}")
        accept_release(release, state=state)
    manifest = resolve(spec, state=state)
    check_inputs(manifest, state=state)
    return manifest


def _make(manifest: ResolvedManifest, chain: Chain, *, state: State) -> Chain:
    from pe_training.cli.launch import run_chain
    from pe_training.cli.progress import watching
    from pe_training.manifests.plan import admit
    from pe_training.promotion.authors import note_author
    from pe_training.promotion.chain import chain_of
    from pe_training.storage.locks import exclusive
    from pe_training.training.needs import require_machine

    lock = state.settings.root / "locks" / f"{manifest.id}.lock"
    with exclusive(lock, busy=f"a run of {manifest.spec.name!r} with this manifest is already under way"):
        admit(manifest, run_id=chain.run.id, state=state)
        if chain.checkpoint is None:
            require_machine(manifest.spec)
        state.registry.put(manifest)
        if chain.checkpoint is None:
            note_author(chain.run.id, manifest_id=manifest.id, state=state)
        if chain.checkpoint is not None:
            note("the checkpoint exists already: not trained again")
        with watching(state.settings.root / "runs", chain.checkpoint.id if chain.checkpoint else chain.run.id):
            run_chain(manifest, state=state)
    made = chain_of(manifest, state=state)
    if made.decision is None:
        raise PeError(
            Kind.INFRASTRUCTURE, "the job ended without a decision", hint="`pe up` shows the run; run the command again to continue"
        )
    return made


def _answer(chain: Chain, *, reused: bool, state: State, path: Path) -> Answer:
    from pe_training.costs.ledger import spent
    from pe_training.promotion.lapses import standing_or_fault
    from pe_training.views.approvals import standing_data, standing_view
    from pe_training.views.publish import publish

    assert chain.checkpoint is not None
    assert chain.report is not None
    assert chain.decision is not None
    page = publish(chain.decision, state=state)
    standing, _ = standing_or_fault(chain.decision, state=state)
    cost = spent(state, subject=chain.run.id) + spent(state, subject=chain.checkpoint.id)
    data: dict[str, Any] = {
        "run": chain.run.id,
        "manifest": chain.manifest.id,
        "dataset": chain.run.dataset_id,
        "checkpoint": chain.checkpoint.id,
        "report": chain.report.id,
        "decision": chain.decision.id,
        "verdict": chain.decision.verdict,
        "policy": chain.decision.policy_name,
        "approvals": standing_data(standing),
        "outcomes": [outcome.content() for outcome in chain.decision.outcomes],
        "cost_usd": float(cost),
        "report_path": str(page),
        "reused": reused,
    }

    def show() -> list[Any]:
        from pe_training.lineage.trace import trace_up
        from pe_training.views.console import run_view

        assert chain.decision is not None
        assert chain.report is not None
        shown = run_view(
            chain.decision, chain.report, trace_up(state, chain.decision.id), cost_usd=cost, page=page, reused=reused, manifest_path=path
        )
        return [*shown, *standing_view(standing)]

    return Answer(data=data, show=show, yes=chain.decision.verdict == "pass")


VERBS: Verbs = {"plan": plan, "run": run}
