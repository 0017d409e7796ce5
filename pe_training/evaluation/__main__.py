"""The evaluation process: ``python -m pe_training.evaluation CHECKPOINT MANIFEST``. The same on every compute target."""

from __future__ import annotations

import signal
import sys

from pe_training.costs.ledger import settling
from pe_training.costs.rates import load_rates
from pe_training.datasets.gate import require_untainted
from pe_training.evaluation.record import EvaluationReport
from pe_training.evaluation.request import evaluation_request
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.locks import exclusive
from pe_training.training.process import Work, end_with_parent, run_process
from pe_training.training.record import Checkpoint


def evaluate(work: Work) -> None:
    """Evaluate the checkpoint unless this question has its answer; hold the question's lock meanwhile."""
    state = work.state
    checkpoint_id, manifest_id = work.arguments
    checkpoint = state.registry.get(checkpoint_id, Checkpoint)
    manifest = state.registry.get(manifest_id, ResolvedManifest)
    asked = manifest.spec.evaluation
    beside = [*asked.judges, *([asked.incumbent] if asked.incumbent else [])]
    require_untainted(checkpoint.id, manifest.id, *beside, state=state, route="evaluation")
    request = evaluation_request(checkpoint, manifest)
    lock = state.settings.root / "locks" / f"ev_{request.removeprefix('sha256:')[:32]}.lock"
    with exclusive(lock, busy=f"this evaluation of {checkpoint_id} is already under way"):
        if state.registry.answer(request, EvaluationReport):
            return
        rates, instance = load_rates(state.settings.rates_file), manifest.spec.compute.instance
        with settling(state, subject=checkpoint_id, step="evaluation", instance=instance, rates=rates):
            import torch

            from pe_training.evaluation.execute import execute
            from pe_training.training.identity import thread_count

            torch.set_num_threads(thread_count())
            torch.use_deterministic_algorithms(True)
            report = execute(checkpoint, manifest, state=state, feed=work.feed)
        state.registry.put(report)
        work.feed.emit("done", report=report.id)


if __name__ == "__main__":
    end_with_parent(signal.SIGTERM)  # an evaluation is asked for again, and goes on with the answers that it has
    sys.exit(run_process(sys.argv[1:], work=evaluate))
