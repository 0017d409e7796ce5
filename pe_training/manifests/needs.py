"""What a manifest needs of the instance that it names, which its rates tell without the machine being there."""

from __future__ import annotations

from pe_training.core.errors import Kind, PeError
from pe_training.costs.rates import Rates
from pe_training.manifests.schema import Manifest


def require_instance(spec: Manifest, rates: Rates) -> None:
    """Refuse an instance that cannot do what is asked of it. Raises input, also for an instance without a price."""
    instance = rates.instance(spec.compute.instance)
    if spec.model.quantization and not instance.accelerators:
        raise no_cuda(f"the instance {spec.compute.instance}")


def no_cuda(where: str) -> PeError:
    """The one way to say that a base cannot be kept in 4 bits ``where``."""
    hint = "name an instance that has one and run there, or remove model.quantization; the base model is never exchanged for another"
    return PeError(Kind.INPUT, f"nf4 quantization needs a CUDA device and {where} has none", where="model.quantization", hint=hint)
