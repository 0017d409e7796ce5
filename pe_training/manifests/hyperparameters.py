"""How the weights move: the part of a manifest that every task reads."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pe_training.core.records import LATER, Growing

Positive = Annotated[float, Field(gt=0)]
Reads = Literal["client", "exchange", "reply"]


class Dpo(Growing):
    """Direct preference optimisation (Rafailov et al. 2023)."""

    beta: Positive = Field(default=0.1, description="how dearly leaving the reference is paid for; 0.1 to 0.5 are usual")
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="share of pairs that may be the wrong way round (Mitchell 2023)")
    reference: Literal["base", "parent"] = Field(
        default="base", description="the model that answers are compared with: the base model, or model.parent"
    )


class EarlyStopping(Growing):
    """When a run ends before its last step: held-out loss does not fall any more."""

    patience: int = Field(ge=1, description="measurements in a row without a lower held-out loss (one every checkpoints.every_steps)")
    min_delta: float = Field(default=0.0, ge=0, description="nats by which it must fall to count")


class Hyperparameters(Growing):
    """How the weights move."""

    max_steps: int = Field(ge=1, description="optimiser steps")
    batch_size: int = Field(ge=1, description="sequences (packed or not) per optimiser step, over all micro-batches")
    micro_batch_size: int | None = Field(
        default=None, ge=1, description="sequences per forward pass of one device; default: its share of batch_size"
    )
    learning_rate: float = Field(gt=0, le=1)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    max_length: int = Field(ge=8, le=131072, description="tokens per sequence; longer dialogues lose their oldest turns")
    packing: bool = False
    bucketing: Annotated[bool, LATER] = Field(
        default=False, description="rows of like length share a micro-batch; the rows of a step stay the same"
    )
    gradient_checkpointing: Annotated[bool, LATER] = Field(default=False, description="activations are computed twice: less memory, slower")
    label: str | None = Field(default=None, description="for text_classification: which entry of a row's labels to predict")
    reads: Annotated[Reads, LATER] = Field(
        default="client",
        description="for text_classification: what the client says; or the last turn: with what it answers (exchange), or alone (reply)",
    )
    auxiliary: Annotated[list[str], LATER] = Field(
        default=[], description="further labels of the rows, learnt beside it by heads that are not kept: the encoder is (model.head wide)"
    )
    class_weights: Literal["balanced"] | dict[str, Positive] | None = Field(
        default=None, description="for text_classification: 'balanced' (rows / (classes x rows of the class)), or a weight by label, else 1"
    )
    dpo: Dpo | None = Field(default=None, description="for preference, and needed there")
    early_stopping: EarlyStopping | None = Field(default=None, description="without it the run ends after max_steps")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup_steps >= self.max_steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be below max_steps ({self.max_steps})")
        if len({self.label, *self.auxiliary}) <= len(self.auxiliary):
            raise ValueError("auxiliary names a label twice, or the one that is learnt anyway")
        if self.batch_size % (self.micro_batch_size or 1):
            raise ValueError(f"batch_size ({self.batch_size}) must be a multiple of micro_batch_size ({self.micro_batch_size})")
        return self
