"""What assets are handed: storage and a place to compute."""

import dagster as dg

from pe_training.compute.local import LocalTarget, Target
from pe_training.settings import Settings
from pe_training.storage.state import State


class Store(dg.ConfigurableResource):
    """Artifacts and registry, as the environment of this process says."""

    def open(self) -> State:
        """Both halves of storage."""
        return State(Settings())


class Compute(dg.ConfigurableResource):
    """Targets by name, as manifests name them."""

    def target(self, name: str) -> Target:
        """The target that ``compute.target`` names."""
        return {"local": LocalTarget()}[name]


@dg.definitions
def resources() -> dg.Definitions:
    """Bind them."""
    return dg.Definitions(resources={"store": Store(), "compute": Compute()})
