"""The number format that a run computes in. ``auto``: bfloat16 where the machine multiplies it, 32 bits where it would only imitate it.

A processor without such instructions (most laptops) takes 4 to 60 times as long for a product of bfloat16 matrices as for one of float32.
What ``auto`` stands for follows from the hardware class, which is part of a run's id: the same run has the same format wherever it goes
on, is done again, asks its reference or is evaluated.
"""

from __future__ import annotations

import re
from typing import Literal

from pe_training.training.identity import hardware_class
from pe_training.training.record import Hardware

Format = Literal["32-true", "bf16-mixed", "bf16-true"]
_INSTRUCTIONS = {"amx_bf16", "avx512_bf16"}
# Cards older than Ampere, by the names that their driver gives them. RTX 2050 and RTX 2000 Ada are younger than they sound.
_CARDS_WITHOUT = re.compile(
    r"\b(Quadro|TITAN|GTX|GT|RTX 20[678]0|GeForce \d{3}\w*|MX\d+|[KMP]\d+\w*|V100\w*|T4\w*|T\d{3,4})\b", re.IGNORECASE
)


def multiplies_bf16(hardware: Hardware) -> bool:
    """Whether a machine has instructions for bfloat16."""
    if hardware.accelerator != "none":
        return _CARDS_WITHOUT.search(hardware.accelerator) is None
    return hardware.isa in _INSTRUCTIONS


def number_format(asked: Literal["auto"] | Format, *, hardware: Hardware | None = None) -> Format:
    """What ``compute.precision`` stands for in a run of that hardware class; ``None``: in one that begins here."""
    if asked == "auto":
        return "bf16-mixed" if multiplies_bf16(hardware or hardware_class()) else "32-true"
    return asked


def imitation(asked: Literal["auto"] | Format, *, hardware: Hardware, here: Hardware) -> str | None:
    """What to tell whoever asked, where a run of the class ``hardware`` is slow for want of such instructions on the machine ``here``."""
    if number_format(asked, hardware=hardware) == "32-true" or multiplies_bf16(here):
        return None
    if asked == "auto":
        return "this machine only imitates bfloat16, which the run computes in because it began on one that has it: it is slow here"
    return f"this machine only imitates bfloat16: compute.precision {asked} is slower here than auto"
