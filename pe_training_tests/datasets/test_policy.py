"""The release policy: a file that people edit, with waivers that name their owner and lapse by themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from pe_training.core.errors import PeError
from pe_training.datasets.accept import accept, preview
from pe_training.datasets.policy import load_release_policy
from pe_training.settings import SAMPLES, Settings
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training_tests.datasets.samples import NAME, SUITES, VERSION, sample_release, sample_rows

SHIPPED = (SAMPLES / "release_policy.yaml").read_text()
WAIVER = (
    "waivers: [{check: licences, dataset: sample-dialogues, max_failing: 2, owner: legal, "
    "reason: licence under negotiation, expires: 2026-12-31}]"
)


Clock = Callable[[str], None]


@pytest.fixture
def on_day(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the clock that acceptance reads."""
    return lambda text: monkeypatch.setattr("pe_training.datasets.accept.now", lambda: datetime.fromisoformat(text))


def policy_file(folder: Path, text: str = WAIVER) -> Path:
    path = folder / "policy.yaml"
    path.write_text(SHIPPED.replace("waivers: []", text))
    return path


def release(folder: Path, unlicensed: int) -> Path:
    rows = sample_rows()
    for row in rows[:unlicensed]:
        row["metadata"]["license_tag"] = "custom"
    return sample_release(folder, rows)


def state(folder: Path, policy: Path | None = None) -> State:
    return State(Settings(home=folder / "home", release_policy=policy))


def test_a_waiver_excuses_what_it_names_and_the_report_says_so(tmp_path: Path, on_day: Clock) -> None:
    on_day("2026-12-31T12:00:00Z")
    acceptance = accept(release(tmp_path, 2), suites=SUITES, state=state(tmp_path, policy_file(tmp_path)))
    (warned,) = acceptance.report.warnings
    assert acceptance.sealed().rows == 26
    assert (warned.name, warned.waived, warned.passed) == ("licences", True, False)
    assert warned.note == "waived by legal until 2026-12-31: licence under negotiation"
    assert acceptance.report.summary.endswith("; with a warning: licences (2 rows), waived")


def test_a_waiver_lapses_by_itself(tmp_path: Path, on_day: Clock) -> None:
    on_day("2027-01-01T00:00:01Z")
    with pytest.raises(PeError, match="licences \\(2 rows\\)"):
        accept(release(tmp_path, 2), suites=SUITES, state=state(tmp_path, policy_file(tmp_path))).sealed()


@pytest.mark.parametrize(
    "waiver",
    [
        WAIVER.replace("sample-dialogues", "other"),
        WAIVER.replace("check: licences", "check: pii_status"),
        WAIVER.replace("max_failing: 2", "max_failing: 1"),
        WAIVER.replace("max_failing", "version: v9, max_failing"),
    ],
)
def test_a_waiver_excuses_nothing_else(tmp_path: Path, on_day: Clock, waiver: str) -> None:
    on_day("2026-12-01T00:00:00Z")
    assert not preview(release(tmp_path, 2), suites=SUITES, state=state(tmp_path, policy_file(tmp_path, waiver))).report.accepted


def test_a_refused_release_is_judged_anew_when_the_policy_has_changed(tmp_path: Path, on_day: Clock) -> None:
    on_day("2026-12-01T00:00:00Z")
    folder = release(tmp_path, 1)
    refused = accept(folder, suites=SUITES, state=state(tmp_path))
    assert refused.dataset is None
    assert accept(folder, suites=SUITES, state=state(tmp_path)).report == refused.report
    accepted = accept(folder, suites=SUITES, state=state(tmp_path, policy_file(tmp_path)))
    assert accepted.sealed().name == NAME
    assert accept(folder, suites=SUITES, state=state(tmp_path)).sealed().id == accepted.sealed().id
    with state(tmp_path).registry.reading() as connection:
        outcomes = connection.execute(sa.select(t.releases.c.outcome).order_by(t.releases.c.seq)).scalars().all()
    assert outcomes == ["refused", "accepted"], "the refusal stays on record"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("warn_only: [drift, label_balance]", "warn_only: [drifts]"),
            ":4:13: warn_only.0: no check is called 'drifts'; did you mean 'drift'?",
        ),
        (("waivers: []", WAIVER.replace("owner: legal", "owner: ' '")), "owner"),
        (("waivers: []", WAIVER.replace("owner: legal, ", "")), "owner"),
        (("waivers: []", WAIVER.replace("2026-12-31", "someday")), "expires"),
        (("min_distinct_ratio: 0.9", "min_distinct_ratio: 9"), "min_distinct_ratio"),
        (("licences:", "licenses:"), "did you mean 'licences'"),
        (('"S?(?:UA)+"', '"S?(UA"'), ":37:12: turns.default: is not a regular expression"),
        (("turns: [2, 20]", "turns: [20, 2]"), "must be written from low to high"),
        (("mixture: {}", "mixture: {cptds: 1}"), "'cptds' is not among the families; did you mean 'cptsd'?"),
        (("min_quality: 0", "min_quality: 2"), "min_quality is above max_quality"),
    ],
)
def test_a_wrong_policy_is_told_by_place(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(SHIPPED.replace(*change))
    with pytest.raises(PeError) as caught:
        load_release_policy(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")


def test_the_shipped_policy_waives_nothing_and_never_loosens_with_time() -> None:
    shipped = load_release_policy(SAMPLES / "release_policy.yaml")
    assert shipped.waivers == []
    assert shipped.on(date(2099, 1, 1)) == shipped


def test_the_version_of_a_release_decides_whether_its_waiver_holds(tmp_path: Path) -> None:
    text = WAIVER.replace("max_failing", f"version: {VERSION}, max_failing").replace("2026-12-31", "2999-12-31")
    assert preview(release(tmp_path, 2), suites=SUITES, state=state(tmp_path, policy_file(tmp_path, text))).report.accepted
