"""One rank of a data-parallel run: ``python -m pe_training.training.rank RUN MANIFEST``, started by ranks.py or by torchrun."""

from __future__ import annotations

import signal
import sys

from pe_training.core.errors import PeError
from pe_training.training.__main__ import train_here
from pe_training.training.process import end_with_parent, run_part
from pe_training.training.ranks import launcher, place


def main() -> int:
    """Train as the rank that the environment names; returns the exit code."""
    end_with_parent(signal.SIGKILL, parent=launcher())
    try:
        here = place()
    except PeError as error:  # which folder to tell it in is what is not known
        sys.stderr.write(f"{error}\n")
        return error.kind.exit_code
    return run_part(sys.argv[1:], work=train_here, rank=here.rank)


if __name__ == "__main__":
    sys.exit(main())
