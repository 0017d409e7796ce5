"""From what was asked to what will run: every reference becomes a digest, every file it needs is kept.

The policy and the suites are copied into the artifact store here, so that a run which trains for ten hours is judged by
the rules it was started under and not by whatever lies in a folder in the morning.
"""

from __future__ import annotations

from pathlib import Path

from pe_training.core.config import load_config, suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_json
from pe_training.core.records import Attachment
from pe_training.datasets.accept import resolve_version
from pe_training.datasets.gate import require_trainable
from pe_training.datasets.record import DatasetVersion
from pe_training.manifests.base_models import locate
from pe_training.manifests.incumbent import pin_incumbent
from pe_training.manifests.judges import pin_external, pin_judges
from pe_training.manifests.parent import pin_parent
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.schema import Manifest
from pe_training.settings import Settings
from pe_training.storage.state import State


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file. Raises input with ``file:line:column``."""
    return load_config(path, Manifest)


def resolve(spec: Manifest, *, state: State) -> ResolvedManifest:
    """Pin everything that ``spec`` points at. Keeps files, registers nothing. Raises refused for data that may not be used."""
    dataset = resolve_version(state, name=spec.dataset.name, version=spec.dataset.version)
    require_trainable(dataset, state=state, route="manifest", subject=spec.name)
    _check_mixture(spec, dataset)
    policy = _policy_file(spec, state.settings)
    suites = {name: _suite_files(name, state.settings) for name in sorted(spec.evaluation.suites)}
    named = {f"policies/{policy.name}": policy} | {f"suites/{name}/{file.name}": file for name, files in suites.items() for file in files}
    inputs = state.artifacts.attach(named)
    base = locate(spec.model).pin
    pinned = {
        "dataset": spec.dataset.model_copy(update={"version": dataset.id}),
        "model": spec.model.model_copy(update={"parent": pin_parent(spec, base, state=state)}),
        "evaluation": spec.evaluation.model_copy(
            update={
                "judges": pin_judges(spec, state=state),
                "llm_judge": pin_external(spec, state=state),
                "incumbent": pin_incumbent(spec, base, state=state),
            }
        ),
    }
    return ResolvedManifest(
        spec=spec.model_copy(update=pinned),
        base=base,
        suites={name: _folder_digest(inputs, f"suites/{name}/") for name in suites},
        policy=next(file.digest for file in inputs if file.path.startswith("policies/")),
        inputs=inputs,
    )


def with_policy(manifest: ResolvedManifest, policy: str, *, state: State) -> ResolvedManifest:
    """The same manifest judged by another policy, as its file stands now; everything else stays pinned as it was."""
    spec = manifest.spec.model_copy(update={"promotion": manifest.spec.promotion.model_copy(update={"policy": policy})})
    file = _policy_file(spec, state.settings)
    (pinned,) = state.artifacts.attach({f"policies/{file.name}": file})
    kept = [found for found in manifest.inputs if not found.path.startswith("policies/")]
    return manifest.model_copy(update={"spec": spec, "policy": pinned.digest, "inputs": (pinned, *kept)})


def _check_mixture(spec: Manifest, dataset: DatasetVersion) -> None:
    present = {family for family, splits in dataset.families.items() if splits.get("train")}
    for family in spec.dataset.mixture:
        if family not in present:
            message = f"the mixture names {family!r}, which has no training rows in {dataset.name}"
            raise PeError(Kind.INPUT, message, where="dataset.mixture", hint=suggest(family, present))


def _policy_file(spec: Manifest, settings: Settings) -> Path:
    known = {path.stem: path for path in settings.policy_folder.glob("*.yaml")}
    name = spec.promotion.policy
    if name not in known:
        raise PeError(
            Kind.NOT_FOUND, f"no policy {name!r} in {settings.policy_folder}", where="promotion.policy", hint=suggest(name, known)
        )
    return known[name]


def _suite_files(name: str, settings: Settings) -> list[Path]:
    known = {path.parent.name for path in settings.suite_folder.glob("*/suite.yaml")}
    if name not in known:
        message = f"no suite {name!r} in {settings.suite_folder}"
        raise PeError(Kind.NOT_FOUND, message, where="evaluation.suites", hint=suggest(name, known))
    return sorted(path for path in (settings.suite_folder / name).iterdir() if path.suffix in (".yaml", ".jsonl") and path.is_file())


def _folder_digest(inputs: tuple[Attachment, ...], prefix: str) -> str:
    return digest_json({file.path: file.digest for file in inputs if file.path.startswith(prefix)})
