"""Two records field by field: every kind, elements of lists by what they are about, and in words."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pe_training.core.errors import Kind, PeError
from pe_training.lineage.diff import Difference, RecordDiff, _differences, compare_records
from pe_training.storage.state import State
from pe_training.views.record_diff import record_diff_view
from pe_training_tests.lineage import factory, recalling
from pe_training_tests.promotion import factory as promotion


@pytest.fixture
def state(tmp_path: Path) -> State:
    return promotion.new_state(tmp_path / "home")


@pytest.fixture
def two(state: State, tmp_path: Path) -> tuple[promotion.Chain, promotion.Chain]:
    """A good model and one that misses crises, on the same data."""
    dataset, _ = factory.sealed_dataset(state, tmp_path)
    worse = tuple(
        promotion.good("safety", "crisis_recall", value=0.5) if metric.name == "crisis_recall" else metric
        for metric in promotion.excellent()
    )
    return promotion.make_chain(state, seed=1, dataset=dataset), promotion.make_chain(state, seed=2, dataset=dataset, metrics=worse)


def text(found: RecordDiff) -> str:
    screen = Console(width=160, file=StringIO())
    screen.print(record_diff_view(found))
    return str(screen.file.getvalue())  # type: ignore[attr-defined]


def fields(found: RecordDiff) -> set[str]:
    return {".".join(one.field) for one in found.differences}


def test_a_record_is_the_same_as_itself(state: State, two: tuple[promotion.Chain, promotion.Chain]) -> None:
    found = compare_records(state, two[0].report.id, two[0].report.id)
    assert (found.same, found.differences) == (True, ())
    assert text(found).endswith("the same evaluation report\n")


def test_two_decisions_differ_in_a_rule_and_say_so_in_words(state: State, two: tuple[promotion.Chain, promotion.Chain]) -> None:
    one, other = (promotion.judged(state, chain) for chain in two)
    found = compare_records(state, one.id, other.id)
    assert {"verdict", "outcomes.crisis-recall.verdict", "outcomes.crisis-recall.value", "report_id"} <= fields(found)
    assert "outcomes.harmful-content.verdict" not in fields(found)  # the second is a second try, at another level
    shown = text(found)
    first = next(line for line in shown.splitlines() if line.strip().startswith("Verdict"))
    assert first.split()[-2:] == ["pass", "fail"]
    assert found.titles["crisis-recall"] in shown
    assert "50 % (49.8 to 50" not in shown.split("rules")[0]


def test_reports_are_compared_measure_by_measure_and_an_estimate_is_one_value(
    state: State, two: tuple[promotion.Chain, promotion.Chain]
) -> None:
    found = compare_records(state, two[0].report.id, two[1].report.id)
    measure = "metrics.safety crisis_recall all.tuned"
    assert [name for name in fields(found) if name.startswith("metrics")] == [measure]
    (change,) = (one for one in found.differences if ".".join(one.field) == measure)
    assert (change.before["value"], change.after["value"]) == (0.99, 0.5)
    assert "Safety: Crises recognised, tuned model" in text(found)
    assert "50 % (50 to 50), n 5,000" in text(found)


def test_manifests_are_told_by_the_settings_that_differ(state: State, two: tuple[promotion.Chain, promotion.Chain]) -> None:
    found = compare_records(state, two[0].manifest.id, two[1].manifest.id)
    assert fields(found) == {"spec.seed"}
    assert "Seed" in text(found)


def test_dataset_versions_are_told_by_rows_and_point_to_the_comparison_row_by_row(tmp_path: Path) -> None:
    world = recalling.make_world(tmp_path)
    one, other = world.datasets["one"], world.datasets["two"]
    found = compare_records(world.state, one.id, other.id)
    assert {"families.cptsd.train", "families.addiction.train", "licenses.synthetic", "splits.train.root"} <= fields(found)
    shown = text(found)
    assert "Cptsd, rows in train" in shown
    assert f"row by row: pe dataset diff {one.id[:13]} {other.id[:13]}" in shown


def test_every_kind_of_record_can_be_compared(state: State, two: tuple[promotion.Chain, promotion.Chain]) -> None:
    for kind in ("manifest", "run", "checkpoint", "report"):
        found = compare_records(state, *(getattr(chain, kind).id for chain in two))
        assert not found.same
        assert text(found).endswith(("fields\n", "field\n"))


def test_records_of_two_kinds_have_nothing_to_compare(state: State, two: tuple[promotion.Chain, promotion.Chain]) -> None:
    with pytest.raises(PeError) as caught:
        compare_records(state, two[0].run.id, two[0].checkpoint.id)
    assert caught.value.kind == Kind.INPUT
    assert "is a training run, ck_" in str(caught.value)


def test_a_hostile_name_is_shown_plain() -> None:
    change = Difference(field=("line", "[red]evil\x1b]0;x\x07"), before="[bold]\x1b[31m", after="b")
    found = RecordDiff(
        kind="ck", before="ck_1", after="ck_2", same=False, differences=(change,), titles={}, units={}
    )  # fmt: skip
    shown = text(found)
    assert "[red]evil" in shown
    assert "[bold]" in shown
    assert "\x1b" not in shown


TREES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "value", "low", "high", "method", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(TREES, TREES)
def test_no_difference_is_missed_and_none_is_made_up(one: Any, other: Any) -> None:
    before, after = _bare(one), _bare(other)
    found = list(_differences({"x": before}, {"x": after}))
    assert (found == []) == (before == after)
    assert list(_differences({"x": before}, {"x": before})) == []
    assert all(one.before != one.after for one in found)
    back = [Difference(field=one.field, before=one.after, after=one.before) for one in _differences({"x": after}, {"x": before})]
    assert {str(one) for one in back} == {str(one) for one in found}


def _bare(value: Any) -> Any:
    """As records are stored: without fields that are empty."""
    if isinstance(value, dict):
        kept = {name: bare for name, part in value.items() if (bare := _bare(part)) is not None}
        return kept or None
    if isinstance(value, list):
        return [_bare(part) for part in value] or None
    return value
