"""Both halves of storage, opened together from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pe_training.settings import Settings
from pe_training.storage.artifacts import ArtifactStore
from pe_training.storage.registry import Registry


@dataclass(frozen=True)
class State:
    """What every room is handed: settings, artifacts, registry. Opened on first use."""

    settings: Settings

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        cache, behind = self.settings.root / "cache" / "artifacts", self.settings.artifacts_behind_url
        return ArtifactStore(self.settings.artifacts, cache=cache, behind=ArtifactStore(behind, cache=cache) if behind else None)

    @cached_property
    def registry(self) -> Registry:
        """The registry, with the newest schema."""
        return Registry(self.settings.database, lock=self.settings.root / "locks" / "schema.lock")
