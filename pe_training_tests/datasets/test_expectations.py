"""Great Expectations is the oracle: judging each distinct profile once gives its verdict on every single row, nulls included."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import pytest

from pe_training_tests.datasets.samples import report_on, sample_release, shipped_policy, talk
from pe_training_tests.releases import make_row

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import great_expectations as gx
    import pandas as pd

e: Any = gx.expectations
POLICY = shipped_policy()
ORACLE = {
    "licences": e.ExpectColumnValuesToBeInSet(column="license_tag", value_set=POLICY.licences),
    "pii_status": e.ExpectColumnValuesToBeInSet(column="pii_status", value_set=POLICY.pii_statuses),
    "known_families": e.ExpectColumnValuesToBeInSet(column="source_family", value_set=POLICY.families),
    "quality_score": e.ExpectColumnValuesToBeBetween(column="quality_score", min_value=0, max_value=1),
    "role_order": e.ExpectColumnValuesToMatchRegex(column="roles", regex=r"^(?:system )?(?:user assistant )+$"),
    "conversation_length": e.ExpectColumnPairValuesToBeEqual(
        column_A="conversation_length", column_B="turns", ignore_row_if="either_value_is_missing"
    ),
}


def planted(seed: int) -> list[dict[str, Any]]:
    """Two hundred rows of which some are wrong in one way and some in several."""
    of = random.Random(seed)  # noqa: S311 - which rows are wrong
    rows = []
    for number in range(200):
        row = make_row(talk(number), split=of.choice(["train", "val", "test"]))
        meta = row["metadata"]
        meta["license_tag"] = of.choice(["synthetic"] * 9 + ["custom"])
        meta["pii_status"] = of.choice(["scrubbed"] * 9 + ["requires_review"])
        meta["source_family"] = of.choice(["cptsd"] * 9 + ["no_such_family", "Cptsd"])
        meta["quality_score"] = of.choice([0, 1, 0.5, None, 1.0000001, -0.0001, -7, 1e300])
        meta["conversation_length"] = of.choice([2, 2, 2, None, 0, 3])
        if of.random() < 0.2:
            row["messages"].pop(of.randrange(3))
        rows.append({**row, "metadata": {key: value for key, value in meta.items() if value is not None}})
    return rows


def oracle(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many rows each expectation of plain Great Expectations finds wrong, one line a row."""
    table = pd.DataFrame([row["metadata"] for row in rows])
    table["roles"] = ["".join(f"{message['role']} " for message in row["messages"]) for row in rows]
    table["turns"] = [sum(message["role"] != "system" for message in row["messages"]) for row in rows]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
    found = {}
    for check, expectation in ORACLE.items():
        result = batch.get_batch(batch_parameters={"dataframe": table}).validate(expectation)
        found[check] = int(result.result["unexpected_count"])
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_check_finds_the_rows_that_the_oracle_finds(tmp_path: Path, seed: int) -> None:
    rows = planted(seed)
    checks = {check.name: check.failing for check in report_on(sample_release(tmp_path, rows)).checks}
    wrong = oracle(rows)
    assert {check: checks[check] for check in ORACLE} == wrong
    assert all(count > 5 for count in wrong.values()), "each fault must have been planted"
