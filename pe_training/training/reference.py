"""Log-probabilities of every answer under the reference model, computed once before training and kept with the run.

They do not change while the model does. Kept as an artifact that an event of the run names, they cost a resumed run nothing, on
this machine or another; if the bytes are gone they are computed again, in the same batches and so to the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.state import State
from pe_training.training.data import Answers
from pe_training.training.events import events, record_event
from pe_training.training.feed import Feed
from pe_training.training.packing import pack, unpack
from pe_training.training.pairs import Pair, collate_pairs
from pe_training.training.precision import number_format
from pe_training.training.preference import answer_log_probabilities
from pe_training.training.ranks import Place
from pe_training.training.record import TrainingRun
from pe_training.training.start import reference_model
from pe_training.training.stops import Stops

EVENT = "reference"


def refer(
    pairs: Mapping[str, Sequence[Pair]],
    *,
    manifest: ResolvedManifest,
    run_id: str,
    micro: int,
    pad_id: int,
    here: Place,
    stops: Stops,
    state: State,
    feed: Feed,
) -> Answers:
    """The kept answers of this run, or those of the reference model, kept from now on. Raises stopped or budget on the way."""
    kept = kept_answers(run_id, state=state)
    if kept is None:
        feed.emit("phase", name="reference", total=sum(map(len, pairs.values())))
        model = reference_model(manifest, state=state)
        model = model.to(f"cuda:{here.local_rank}" if torch.cuda.is_available() and not manifest.spec.model.quantization else model.device)
        precision = number_format(manifest.spec.compute.precision, hardware=state.registry.get(run_id, TrainingRun).hardware)
        kept = ask(model, pairs, precision=precision, micro=micro, pad_id=pad_id, stops=stops, feed=feed)
        tree = {split: torch.tensor(found, dtype=torch.float64).reshape(-1, 2) for split, found in kept.items()}
        if here.leads:
            record_event(state, run_id, EVENT, {"digest": state.artifacts.put_bytes(pack(tree)), "pairs": sum(map(len, kept.values()))})
    assert {split: len(found) for split, found in kept.items()} == {split: len(found) for split, found in pairs.items()}
    return kept


def ask(model: Any, pairs: Mapping[str, Sequence[Pair]], *, precision: str, micro: int, pad_id: int, stops: Stops, feed: Feed) -> Answers:
    """Log-probabilities in nats, in batches of ``micro`` pairs of like length and in the precision that the run trains in."""
    if precision == "bf16-true":
        model = model.to(torch.bfloat16)
    answers: Answers = {split: [(0.0, 0.0)] * len(found) for split, found in pairs.items()}
    done, total = 0, sum(map(len, pairs.values()))
    with torch.no_grad(), torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
        for split, found in pairs.items():
            by_length = sorted(range(len(found)), key=lambda i: (found[i].length, i))
            for start in range(0, len(found), micro):
                if (reason := stops.reason()) is not None:
                    raise reason
                chosen = by_length[start : start + micro]
                batch = collate_pairs([found[i] for i in chosen], pad_id=pad_id)
                sums = answer_log_probabilities(model, {name: tensor.to(model.device) for name, tensor in batch.items()}).tolist()
                for place, i in enumerate(chosen):
                    answers[split][i] = (sums[place], sums[len(chosen) + place])
                done += len(chosen)
                feed.emit("refer", step=done, total=total)
    return answers


def kept_answers(run_id: str, *, state: State) -> Answers | None:
    """What the reference answered, if it was asked and the bytes are there."""
    digests = [body["digest"] for _, kind, body in events(state, run_id) if kind == EVENT]
    if not digests:
        return None
    try:
        tree = unpack(state.artifacts.get(digests[-1]))
    except PeError as error:
        if error.kind not in {Kind.CORRUPT, Kind.NOT_FOUND}:
            raise
        return None
    return {split: [(chosen, rejected) for chosen, rejected in found.tolist()] for split, found in tree.items()}
