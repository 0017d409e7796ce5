"""What a manifest needs of the machine that will train it, told before anything is started there.

A predecessor found no accelerator and quietly trained another, smaller model. Here the base model is never exchanged: what cannot run
as it was asked for is refused, in the same words wherever somebody asks.
"""

from __future__ import annotations

import importlib.util
import shutil

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.needs import no_cuda
from pe_training.manifests.schema import Manifest
from pe_training.training.identity import hardware_class

_COMPILERS = ("g++", "clang++", "gcc", "clang")


def require_machine(spec: Manifest) -> None:
    """Refuse to start here what this machine cannot do. Every target there is so far runs here. Raises input."""
    if spec.model.quantization:
        if hardware_class().accelerator == "none":
            raise no_cuda("this machine")
        if importlib.util.find_spec("bitsandbytes") is None:
            hint = "install it: pip install 'pe-training[quantized]'"
            raise PeError(Kind.INPUT, "nf4 quantization needs the package bitsandbytes", where="model.quantization", hint=hint)
    if spec.compute.compile and not any(map(shutil.which, _COMPILERS)):
        hint = f"install one of {', '.join(_COMPILERS)}, or remove compute.compile"
        raise PeError(Kind.INPUT, "torch.compile needs a C++ compiler and this machine has none", where="compute.compile", hint=hint)
