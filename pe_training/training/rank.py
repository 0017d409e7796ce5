"""One rank of a data-parallel run: ``python -m pe_training.training.rank RUN MANIFEST``, started by ranks.py or by torchrun."""

from __future__ import annotations

import signal
import sys

from pe_training.training.__main__ import train_here
from pe_training.training.process import end_with_parent, run_part
from pe_training.training.ranks import launcher, place

if __name__ == "__main__":
    end_with_parent(signal.SIGKILL, parent=launcher())
    sys.exit(run_part(sys.argv[1:], work=train_here, rank=place().rank))
