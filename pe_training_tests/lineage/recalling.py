"""Three accepted dataset versions and six models, two on each, for tests that take data back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pe_training.core.clock import now, stamp
from pe_training.datasets.read import read_rows
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.report import ValidationReport
from pe_training.datasets.seal import seal
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.stages import apply_decision
from pe_training.storage.state import State
from pe_training.storage.tables import releases
from pe_training_tests.datasets.samples import read
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.releases import build_release, make_row

SHARED = "s3://shared/common.jsonl"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model with everything around it."""

    chain: promotion.Chain
    decision: PromotionDecision

    @property
    def ids(self) -> set[str]:
        """All records but the dataset."""
        chain = self.chain
        return {chain.manifest.id, chain.run.id, chain.checkpoint.id, chain.report.id, self.decision.id}


@dataclass(frozen=True, kw_only=True)
class World:
    """``datasets``: by name. ``models``: in the order in which they entered staging of their dataset's line."""

    state: State
    datasets: dict[str, DatasetVersion]
    models: dict[str, list[Model]]

    def below(self, *names: str) -> set[str]:
        """The ids that a recall of these datasets taints."""
        return {i for name in names for i in (self.datasets[name].id, *(i for model in self.models[name] for i in model.ids))}

    def everything(self) -> set[str]:
        """All ids."""
        return self.below(*self.datasets)


def rows_of(name: str) -> list[dict[str, Any]]:
    """Rows of one release: its own family, licence and source key, one row under a key that ``one`` and ``two`` share."""
    own = {"one": ("cptsd", "synthetic"), "two": ("addiction", "reddit_cc"), "three": ("sarcasm", "public_domain")}[name]
    made = []
    for number, split in enumerate(["train", "train", "train", "val", "test"]):
        turns = [("user", f"In {name} I say {number}."), ("assistant", f"In {name} you say {number}; go on.")]
        key = SHARED if number == 1 and name != "three" else f"s3://{name}/part.jsonl"
        made.append(make_row(turns, split=split, source_family=own[0], license_tag=own[1], source_key=key))
    return made


def accepted(state: State, folder: Path, name: str, rows: list[dict[str, Any]] | None = None) -> DatasetVersion:
    """A release, read, sealed and registered as accepting does."""
    release = read(build_release(folder / name / "v1", rows or rows_of(name), name=name, version="v1"))
    assert not release.problems
    dataset = seal(release.rows, name=name, store=state.artifacts)
    state.registry.put(dataset)
    report = ValidationReport(
        release_digest=release.digest, name=name, version="v1", rows=len(release.rows), policy="none", checks=(), accepted=True
    )
    values = {
        "digest": release.digest,
        "name": name,
        "version": "v1",
        "outcome": "accepted",
        "dataset_id": dataset.id,
        "report_digest": state.artifacts.put_bytes(report.model_dump_json().encode()),
    }
    with state.registry.writing() as connection:
        connection.execute(sa.insert(releases).values(**values, at=stamp(now())))
    return dataset


def model(state: State, dataset: DatasetVersion, seed: int, *, line: str) -> Model:
    """A model that has passed for staging and holds it."""
    chain = promotion.make_chain(state, seed=seed, line=line, dataset=dataset)
    decision = promotion.judged(state, chain)
    apply_decision(decision, state=state)
    return Model(chain=chain, decision=decision)


def make_world(folder: Path, *, lines: Callable[[str], str] = lambda name: name) -> World:
    """Dataset ``one`` first; the models of a later dataset take over where ``lines`` gives the same line."""
    state = promotion.new_state(folder / "home")
    datasets = {name: accepted(state, folder / "releases", name) for name in ("one", "two", "three")}
    models = {name: [model(state, datasets[name], seed, line=lines(name)) for seed in (1, 2)] for name in datasets}
    return World(state=state, datasets=datasets, models=models)


def row_digest(world: World, name: str) -> str:
    """A row of a dataset."""
    return read_rows(world.datasets[name], "train", state=world.state)[0].row_digest
