"""One rank of a data-parallel run: ``python -m pe_training.training.rank RUN MANIFEST``, started by ranks.py or by torchrun."""

from __future__ import annotations

import sys

from pe_training.training.__main__ import train_here
from pe_training.training.process import run_process
from pe_training.training.ranks import place

if __name__ == "__main__":
    sys.exit(run_process(sys.argv[1:], work=train_here, rank=place().rank))
