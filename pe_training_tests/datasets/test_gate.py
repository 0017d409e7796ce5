"""What may be trained on: an accepted version that nobody recalled, by an acceptance whose waivers still hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.accept import accept
from pe_training.datasets.gate import attempts, require_trainable
from pe_training.datasets.recall import Selector
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.report import ValidationReport
from pe_training.lineage.recall import lift, recall
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training.storage.tables import releases
from pe_training_tests.datasets.samples import SUITES, fresh_state, sample_release, sample_rows
from pe_training_tests.tampering import past_the_ledger

WHO = {"actor": "ada", "reason": "consent was withdrawn"}
SHIPPED = (SAMPLES / "release_policy.yaml").read_text()
Clock = Callable[[str], None]


@pytest.fixture
def on_day(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the clock that acceptance and the gate read."""

    def hold(day: str) -> None:
        for module in ("accept", "gate"):
            monkeypatch.setattr(f"pe_training.datasets.{module}.now", lambda: datetime.fromisoformat(f"{day}T12:00:00Z"))

    return hold


def waiving(state: State, until: str) -> None:
    """The policy's one waiver, for the two rows without a licence."""
    assert state.settings.release_policy is not None
    waiver = f"{{check: licences, dataset: sample-dialogues, max_failing: 2, owner: legal, reason: being negotiated, expires: {until}}}"
    state.settings.release_policy.write_text(SHIPPED.replace("waivers: []", f"waivers: [{waiver}]"))


@pytest.fixture
def waived(tmp_path: Path, on_day: Clock) -> tuple[State, Path, DatasetVersion]:
    """A version that was accepted by a waiver that holds to the end of 2026, and its release."""
    on_day("2026-12-01")
    state = State(Settings(home=tmp_path / "home", release_policy=tmp_path / "policy.yaml"))
    waiving(state, "2026-12-31")
    path = sample_release(tmp_path, unlicensed())
    return state, path, accept(path, suites=SUITES, state=state).sealed()


def unlicensed() -> list[dict[str, object]]:
    rows = sample_rows()
    for row in rows[:2]:
        row["metadata"]["license_tag"] = "custom"
    return rows


def allowed(dataset: DatasetVersion, state: State) -> bool:
    try:
        require_trainable(dataset, state=state, route="test", subject="x")
    except PeError as error:
        if error.kind != Kind.REFUSED:
            raise
        return False
    return True


def outcomes(state: State) -> list[str]:
    with state.registry.reading() as connection:
        return [str(row) for row in connection.execute(sa.select(releases.c.outcome).order_by(releases.c.seq)).scalars()]


def test_an_accepted_version_passes_until_it_is_recalled_and_again_when_that_is_lifted(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    dataset = accept(sample_release(tmp_path), suites=SUITES, state=state).sealed()
    assert allowed(dataset, state)
    recall(state, Selector(kind="version", value=dataset.id), **WHO)
    assert not allowed(dataset, state)
    lift(state, 1, **WHO)
    assert allowed(dataset, state)
    assert [(attempt.route, attempt.subject, attempt.dataset_id) for attempt in attempts(state)] == [("test", "x", dataset.id)]


def test_a_waiver_that_lapses_takes_the_acceptance_with_it(waived: tuple[State, Path, DatasetVersion], on_day: Clock) -> None:
    state, _, dataset = waived
    on_day("2026-12-31")
    assert allowed(dataset, state)
    on_day("2027-01-01")
    with pytest.raises(PeError) as caught:
        require_trainable(dataset, state=state, route="plan", subject="run_1")
    assert caught.value.message == (
        f"{short(dataset.id)} of sample-dialogues was accepted only by waivers that have lapsed: "
        "licences (2 rows), waived by legal until 2026-12-31: being negotiated"
    )
    assert caught.value.hint == "renew the waiver in the release policy (or mend the release), then `pe dataset add PATH` judges it anew"
    assert attempts(state)[0].message == caught.value.message


def test_a_renewed_waiver_is_an_acceptance_anew_and_every_judgement_stays(
    waived: tuple[State, Path, DatasetVersion], on_day: Clock
) -> None:
    state, path, dataset = waived
    on_day("2027-01-01")
    with pytest.raises(PeError, match="licences"):
        accept(path, suites=SUITES, state=state).sealed()  # judged anew, without the waiver
    with pytest.raises(PeError, match="licences"):
        accept(path, suites=SUITES, state=state).sealed()  # the same answer again
    assert not allowed(dataset, state)
    waiving(state, "2027-06-30")
    assert not allowed(dataset, state)  # a policy alone accepts nothing
    assert accept(path, suites=SUITES, state=state).sealed() == dataset
    assert allowed(dataset, state)
    assert accept(path, suites=SUITES, state=state).sealed() == dataset
    assert outcomes(state) == ["accepted", "refused", "accepted"]


def test_one_acceptance_without_a_waiver_is_enough(waived: tuple[State, Path, DatasetVersion], on_day: Clock, tmp_path: Path) -> None:
    state, _, dataset = waived
    on_day("2027-01-01")
    assert state.settings.release_policy is not None
    state.settings.release_policy.write_text(SHIPPED.replace("licences: [", "licences: [custom, "))
    again = accept(sample_release(tmp_path / "again", unlicensed(), version="v1.0.1"), suites=SUITES, state=state).sealed()
    assert again.id == dataset.id
    assert allowed(dataset, state)


def test_a_report_that_does_not_say_when_its_waiver_ends_carries_no_acceptance(
    waived: tuple[State, Path, DatasetVersion], on_day: Clock
) -> None:
    state, path, dataset = waived
    with past_the_ledger(state.registry) as connection:
        (digest,) = connection.execute(sa.select(releases.c.report_digest)).scalars()
        report = ValidationReport.model_validate_json(state.artifacts.get(digest))
        older = report.model_copy(update={"checks": tuple(check.model_copy(update={"excuse": None}) for check in report.checks)})
        connection.execute(sa.update(releases).values(report_digest=state.artifacts.put_bytes(older.model_dump_json().encode())))
    assert not allowed(dataset, state)
    accept(path, suites=SUITES, state=state)
    assert allowed(dataset, state)


def test_a_check_that_only_warns_needs_no_waiver(waived: tuple[State, Path, DatasetVersion], on_day: Clock) -> None:
    state, path, _ = waived
    assert state.settings.release_policy is not None
    text = state.settings.release_policy.read_text()
    assert "warn_only: [" in text
    state.settings.release_policy.write_text(text.replace("warn_only: [", "warn_only: [licences, "))
    other = State(Settings(home=state.settings.root / "other", release_policy=state.settings.release_policy))
    dataset = accept(path, suites=SUITES, state=other).sealed()
    on_day("2027-01-01")
    assert allowed(dataset, other)


def test_an_acceptance_whose_report_is_gone_is_told_and_not_taken_for_one(waived: tuple[State, Path, DatasetVersion]) -> None:
    state, _, dataset = waived
    with state.registry.reading() as connection:
        (digest,) = connection.execute(sa.select(releases.c.report_digest)).scalars()
    state.artifacts.delete(digest)
    with pytest.raises(PeError) as caught:
        require_trainable(dataset, state=state, route="test", subject="x")
    assert caught.value.kind == Kind.CORRUPT
