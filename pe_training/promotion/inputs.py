"""What this room needs of a manifest: the policy, as it was when the manifest was resolved."""

from __future__ import annotations

from functools import lru_cache

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.policy import Policy, parse_policy
from pe_training.storage.state import State


def pinned_policy(manifest: ResolvedManifest, *, state: State) -> Policy:
    """The policy that judges this manifest's model. Raises input with ``file:line:column``, or corrupt."""
    name = manifest.spec.promotion.policy
    path = f"policies/{name}.yaml"
    pinned = next((file for file in manifest.inputs if file.path == path), None)
    if pinned is None or pinned.digest != manifest.policy:
        message = f"manifest {short(manifest.id)} does not hold the policy {name!r} that it names"
        raise PeError(Kind.CORRUPT, message, where=manifest.id, hint="resolve the manifest again")
    try:
        text = state.artifacts.get(pinned.digest).decode("utf-8")
    except UnicodeDecodeError as error:
        raise PeError(Kind.INPUT, f"is not UTF-8 text (byte {error.start})", where=path, hint="save it as UTF-8") from None
    return _parsed(text, path)


@lru_cache(maxsize=64)
def _parsed(text: str, path: str) -> Policy:
    """A list of decisions asks for the same few policies again and again."""
    return parse_policy(text, name=path)


def check_inputs(manifest: ResolvedManifest, *, state: State) -> Policy:
    """The pinned policy; refuses, before money is spent, one that cannot be read or that has no blocking rule for this task."""
    policy = pinned_policy(manifest, state=state)
    task = manifest.spec.model_task
    if not any(rule.severity == "block" for rule in policy.rules_for(task)):
        message = f"policy {policy.name} has no blocking rule for {task}, so it could never pass this model"
        raise PeError(
            Kind.INPUT, message, where=f"policies/{policy.name}.yaml", hint=f"add one with `tasks: [{task}]`, or name another policy"
        )
    return policy
