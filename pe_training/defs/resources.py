"""What assets are handed: storage and a place to compute."""

from collections.abc import Sequence

import dagster as dg

from pe_training.compute.attempts import attempted
from pe_training.compute.local import LocalTarget, Target
from pe_training.core.errors import PeError
from pe_training.costs.ledger import Step
from pe_training.manifests.schema import Compute as ComputeSpec
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.events import record_event


class Store(dg.ConfigurableResource):
    """Artifacts and registry, as the environment of this process says."""

    def open(self) -> State:
        """Both halves of storage."""
        return State(Settings())


class Compute(dg.ConfigurableResource):
    """Targets by name, as manifests name them."""

    def work(
        self, module: str, arguments: Sequence[str], *, step: Step, compute: ComputeSpec, context: dg.AssetExecutionContext, state: State
    ) -> None:
        """Do ``python -m module arguments`` on the manifest's target, again where a failure may pass. Raises the error it ended with."""

        def retrying(error: PeError, left: int) -> None:
            context.log.warning(f"{error}; trying again, {left} tries left")
            record_event(state, arguments[0], "retried", {"kind": error.kind.value, "message": error.message})

        target: Target = {"local": LocalTarget()}[compute.target]
        attempted(
            lambda: target.run(module, arguments, step=step, compute=compute, context=context, state=state),
            compute=compute, retrying=retrying,
        )  # fmt: skip


@dg.definitions
def resources() -> dg.Definitions:
    """Bind them."""
    return dg.Definitions(resources={"store": Store(), "compute": Compute()})
