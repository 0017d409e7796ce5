"""``python -m pe_training.cli`` is ``pe``."""

from pe_training.cli.main import main

main()
