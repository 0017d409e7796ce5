"""`pe trace`, `impact`, `diff` and `ls --at` as their users call them, on a finished run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import Ended, pe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ids(finished: tuple[Path, Ended]) -> dict[str, str]:
    """Kind -> the one record of it."""
    return {kind: pe("ls", kind, "--json", home=finished[0]).json["records"][0]["id"] for kind in ("ds", "mf", "run", "ck", "ev", "pd")}


def test_a_trace_in_every_format(finished: tuple[Path, Ended], ids: dict[str, str], tmp_path: Path) -> None:
    home = finished[0]
    tree = pe("trace", ids["pd"], "--json", home=home).json
    assert pe("trace", ids["pd"], "--format", "json", home=home).json == tree
    assert tree["verdict"] in ("pass", "fail", "inconclusive")
    drawn = pe("trace", ids["ds"], "--down", "--format", "mermaid", home=home).stdout
    assert drawn.startswith("flowchart TD\n")
    assert ids["pd"][:13] in drawn
    page = tmp_path / "lineage.html"
    assert pe("trace", ids["ck"], "--page", page, home=home).stdout.strip() == str(page)
    assert all(identifier in page.read_text() for identifier in ids.values() if not identifier.startswith("mf"))
    wrong = pe("trace", ids["pd"], "--format", "mermaids", home=home)
    assert (wrong.code, wrong.stderr) == (2, "error: --format: unknown format 'mermaids'\n  hint: did you mean 'mermaid'?\n")


def test_the_rows_that_a_checkpoint_saw_are_counted_and_each_can_be_asked_about(
    finished: tuple[Path, Ended], ids: dict[str, str], tmp_path: Path
) -> None:
    home, path = finished[0], tmp_path / "rows.jsonl"
    found = pe("trace", ids["ck"], "--rows", "--rows-to", path, "--json", home=home).json
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    (shard,) = found["shards"]
    assert (found["seen"], shard["seen"]) == (len(rows), len(rows))
    assert 0 < shard["seen"] <= shard["rows"]
    assert shard["times"] == sum(row["times"] for row in rows)
    assert (found["dataset_id"], found["same_code"]) == (ids["ds"], True)
    one = pe("trace", f"{ids['ck']}#{rows[0]['row_digest']}", "--json", home=home).json
    assert (one["times"], one["shard"], one["told"]["split"]) == (rows[0]["times"], shard["path"], "train")
    assert [model["id"] for model in one["impact"]["models"]] == [ids["ck"]]
    assert pe("trace", f"{ids['ds']}#{rows[0]['row_digest'][7:27]}", home=home).stdout.startswith(
        f"row              {rows[0]['row_digest']}"
    )
    for wrong, code, said in (
        (f"{ids['ds']}#12", 2, "'12' is no row digest"),
        (f"{ids['ds']}#{'0' * 64}", 2, "no row sha256:0000000000"),
        (f"{ids['ev']}#{'0' * 64}", 2, "only a checkpoint saw rows"),
    ):
        ended = pe("trace", wrong, home=home)
        assert ended.code == code
        assert said in ended.stderr


def test_impact_and_lists_and_diffs_and_the_past(finished: tuple[Path, Ended], ids: dict[str, str]) -> None:
    home = finished[0]
    found = pe("impact", "licence:synthetic", "--json", home=home).json
    assert [model["id"] for model in found["models"]] == [ids["ck"]]
    assert ("training", ids["ck"]) in {(held["stage"], held["checkpoint_id"]) for held in found["stages"]}
    assert "stages that hold a model which contains it" in pe("impact", ids["ds"], home=home).stdout
    assert pe("ls", "ck", "--at", "2020-01-01", "--json", home=home).json["records"] == []
    assert [row["id"] for row in pe("ls", "ck", "--at", "2100-01-01", "--json", home=home).json["records"]] == [ids["ck"]]
    early = pe("trace", ids["ck"], "--at", "2020-01-01", home=home)
    assert (early.code, "after 2020-01-01T23:59:59Z" in early.stderr) == (2, True)
    assert pe("impact", ids["ds"], "--at", "soon", home=home).code == 2
    same = pe("diff", ids["ck"], ids["ck"], "--json", home=home)
    assert (same.code, same.json["same"]) == (0, True)
    assert pe("diff", ids["ck"], ids["pd"], home=home).code == 2
