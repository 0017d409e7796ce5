"""The last question before a pointer moves: does the model load from the store, and does it still answer?

Every byte can be right and the model dead all the same: another library, a base model that is gone, weights that are no numbers. So the
model is loaded as it would be served and asked a few prompts (``samples/canary.yaml``). What it answered to the same prompts in its
evaluation, on the same class of machine and by the same code, it must answer again. This costs seconds and is done before the
transaction; what was found is kept as an event of the stage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pe_training.core.config import load_config
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.core.records import Frozen
from pe_training.datasets.gate import GateError, remembering
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.schema import Name
from pe_training.promotion.events import note_in
from pe_training.promotion.inputs import pinned_policy
from pe_training.promotion.pointers import Move
from pe_training.promotion.record import PromotionDecision
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint, TrainingRun

if TYPE_CHECKING:
    from pe_training.evaluation.generate import Question
    from pe_training.evaluation.models import AskedModel, Asker

TOKENS = 12  # of a reply: its beginning tells whether it is the one that was evaluated
_SUM = 1e-6


class CanaryPrompt(Frozen):
    """What a client says, and a reply to it for a model that judges replies."""

    id: Name
    client: str = Field(min_length=1)
    reply: str = Field(min_length=1)


class CanarySet(Frozen):
    """The prompts, ``apiVersion: pe-training/canary-v1``."""

    apiVersion: Literal["pe-training/canary-v1"]
    name: Name
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")
    description: str = Field(min_length=1)
    prompts: list[CanaryPrompt] = Field(min_length=1, max_length=16, description="few: every move of a stage waits for them")


class CanaryAnswer(Frozen):
    """That one prompt was answered, without a word of the answer. ``compared``: with what the model said before."""

    prompt: str
    compared: bool


def load_canaries(path: Path) -> CanarySet:
    """The prompts in a file. Raises input with ``file:line:column``, or not_found."""
    return load_config(path, CanarySet)


def require_canary(move: Move, *, state: State) -> tuple[CanaryAnswer, ...]:
    """Let the model of ``move`` answer, if its decision's policy asks for it. Raises refused, corrupt; what is refused is remembered."""
    if move.decision_id is None:
        return ()
    decision = state.registry.get(move.decision_id, PromotionDecision)
    manifest = state.registry.get(decision.manifest_id, ResolvedManifest)
    if pinned_policy(manifest, state=state).canary == "none":
        return ()
    checkpoint = state.registry.get(move.to_id, Checkpoint)
    canaries = load_canaries(state.settings.canary_file)
    with remembering(state, route="canary", subject=checkpoint.id):
        try:
            found = ask(checkpoint, manifest, canaries, state=state)
        except PeError as error:
            message = f"{short(checkpoint.id)} does not answer its canaries: {error.message}"
            raise GateError(_refusal(error.kind), message, where=checkpoint.id, hint=error.hint) from None
    told = {"checkpoint": checkpoint.id, "set": f"{canaries.name} {canaries.version}", "digest": canaries.content_digest}
    body = told | {"action": move.action, "answers": [answer.content() for answer in found]}
    with state.registry.writing() as connection:
        note_in(connection, move.line, move.stage, version=move.expected_version, kind="canary", body=body, actor=move.actor)
    return found


def ask(checkpoint: Checkpoint, manifest: ResolvedManifest, canaries: CanarySet, *, state: State) -> tuple[CanaryAnswer, ...]:
    """Load the model and ask it. Raises refused where an answer is empty, no number, or another than before; and what loading raises."""
    import transformers

    from pe_training.evaluation.answers import AnswerBook
    from pe_training.evaluation.identity import model_identity
    from pe_training.evaluation.models import Asker, tuned_model
    from pe_training.evaluation.request import decoding
    from pe_training.training.precision import number_format

    transformers.utils.logging.disable_progress_bar()  # of weights that load within a second
    run = state.registry.get(checkpoint.run_id, TrainingRun)
    precision = number_format(manifest.spec.compute.precision, hardware=run.hardware)
    evaluated = Asker.of(manifest, decoding(manifest), state=state)
    shorter = Asker.of(manifest, decoding(manifest) | {"max_new_tokens": min(TOKENS, manifest.spec.evaluation.max_new_tokens)}, state=state)
    book = AnswerBook(model_identity(checkpoint, manifest, precision=precision), state)
    classifies = manifest.spec.model_task == "text_classification"
    wanted = [_question(prompt, evaluated, classifies=classifies) for prompt in canaries.prompts]
    asked = [_question(prompt, shorter, classifies=classifies) for prompt in canaries.prompts]
    keys = [book.key({"kind": question.kind, **question.asked}) for question in wanted]
    before = book.known(keys)
    try:
        with tuned_model(checkpoint, manifest, shorter, precision=precision, state=state) as model:
            given = _answers(model, asked)
    except PeError:
        raise
    except Exception as error:  # whatever a library makes of weights that it cannot load: the model is not served
        message = f"the model cannot be loaded and asked ({type(error).__name__})"
        raise PeError(Kind.REFUSED, message, hint="`pe verify` reads its files; `pe doctor` says what this machine lacks") from error
    for prompt, key, answer in zip(canaries.prompts, keys, given, strict=True):
        _require_sound(prompt, answer, classifies=classifies)
        if key in before:
            _require_same(prompt, answer, before[key])
    return tuple(CanaryAnswer(prompt=prompt.id, compared=key in before) for prompt, key in zip(canaries.prompts, keys, strict=True))


def _question(prompt: CanaryPrompt, asker: Asker, *, classifies: bool) -> Question:
    said = [{"role": "user", "content": prompt.client}]
    if not classifies:
        return asker.reply(said)
    return asker.label(said if asker.reads == "client" else [*said, {"role": "assistant", "content": prompt.reply}])


def _answers(model: AskedModel, questions: Sequence[Question]) -> list[Any]:
    """The answers; of a language model, whose best token could come of numbers that are none, the logits are looked at first."""
    import torch

    if questions[0].kind == "reply":
        for question in questions:
            with torch.inference_mode():
                logits = model.model(input_ids=torch.tensor([list(question.content)], device=model.model.device)).logits
            if not bool(torch.isfinite(logits).all()):
                raise PeError(Kind.REFUSED, "its logits are not finite numbers", hint="the weights are not a language model any more")
    return model.answer(questions[0].kind, [question.content for question in questions])


def _require_sound(prompt: CanaryPrompt, answer: Any, *, classifies: bool) -> None:
    hint = "ask it by hand, and do not promote it"
    if not classifies:
        if not str(answer):
            raise PeError(Kind.REFUSED, f"it says nothing to {prompt.id}", hint=hint)
        return
    chances: Mapping[str, float] = answer
    if len(chances) < 2 or not all(math.isfinite(chance) and 0 <= chance <= 1 for chance in chances.values()):
        raise PeError(Kind.REFUSED, f"its probabilities for {prompt.id} are no probabilities", hint=hint)
    if abs(math.fsum(chances.values()) - 1) > _SUM:
        raise PeError(Kind.REFUSED, f"its probabilities for {prompt.id} do not sum to 1", hint=hint)


def _require_same(prompt: CanaryPrompt, answer: Any, before: Any) -> None:
    """A reply is the beginning of the longer one that was evaluated; what the last token left unfinished is not compared."""
    same = before.startswith(answer.rstrip("\N{REPLACEMENT CHARACTER}").rstrip()) if isinstance(before, str) else before == answer
    if not same:
        hint = "the machine or a library changed under the same names: evaluate it again before it is served"
        raise PeError(Kind.REFUSED, f"it answers {prompt.id} otherwise than in its evaluation", hint=hint)


def _refusal(kind: Kind) -> Kind:
    """Damage stays damage, the world's failures stay the world's; all else is a no."""
    return kind if kind in {Kind.CORRUPT, Kind.INFRASTRUCTURE, Kind.OUT_OF_MEMORY, Kind.NOT_FOUND} else Kind.REFUSED
