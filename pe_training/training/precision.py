"""The number format that a run computes in. ``auto``: bfloat16 where the machine multiplies it, 32 bits where it would only imitate it.

A processor without such instructions (most laptops) takes 4 to 60 times as long for a product of bfloat16 matrices as for one of float32.
What ``auto`` stands for follows from the hardware class, which is part of a run's id: the same run has the same format everywhere.
"""

from __future__ import annotations

import re
from typing import Literal

from pe_training.training.identity import hardware_class
from pe_training.training.record import Hardware

Format = Literal["32-true", "bf16-mixed", "bf16-true"]
_INSTRUCTIONS = {"amx_bf16", "avx512_bf16"}
_CARDS_WITHOUT = re.compile(r"\b(K\d+|M\d+|P\d+|P100|V100|T4|GTX|RTX 20\d\d|TITAN|Quadro)\b", re.IGNORECASE)  # older than Ampere


def multiplies_bf16(hardware: Hardware) -> bool:
    """Whether a machine has instructions for bfloat16."""
    if hardware.accelerator != "none":
        return _CARDS_WITHOUT.search(hardware.accelerator) is None
    return hardware.isa in _INSTRUCTIONS


def number_format(asked: Literal["auto"] | Format) -> Format:
    """What ``compute.precision`` stands for on this machine."""
    if asked == "auto":
        return "bf16-mixed" if multiplies_bf16(hardware_class()) else "32-true"
    return asked
