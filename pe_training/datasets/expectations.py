"""Row- and column-wise checks as Great Expectations, on a table of facts that holds no text.

One ephemeral context per validation: nothing is written, usage statistics and progress bars are off. Only the process that
validates imports this module.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pe_training.datasets.policy import ReleasePolicy
from pe_training.datasets.release import ReleasedRow
from pe_training.datasets.report import MAX_EXAMPLES, Check, Problem, check_result

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports sre_constants
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig

gxe: Any = gx.expectations
_FIELDS = {  # check -> field of the row, what is wrong there
    "content_hash": ("metadata.content_hash", "is not the hash of these messages"),
    "unique_rows": ("messages", "another row has the same content"),
    "licences": ("metadata.license_tag", "this licence is not allowed"),
    "pii_status": ("metadata.pii_status", "still needs a review for personal data"),
    "role_order": ("messages", "not: one system message or none, then user and assistant in turn, none empty, assistant last"),
    "quality_score": ("metadata.quality_score", "is not between 0 and 1"),
    "known_families": ("metadata.source_family", "is not a known source family"),
    "conversation_length": ("metadata.conversation_length", "is not the number of messages that are not the system's"),
}


def expectation_checks(rows: Sequence[ReleasedRow], policy: ReleasePolicy) -> list[Check]:
    """One check per expectation over all rows."""
    suite = gx.ExpectationSuite(name="rows", expectations=_expectations(policy))
    result = _batch(_table(rows)).validate(
        suite,
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": MAX_EXAMPLES,
            "unexpected_index_column_names": ["where"],
            "return_unexpected_index_query": False,
        },
    )
    return [_check(found) for found in result.results]


def _expectations(policy: ReleasePolicy) -> list[Any]:
    named = {
        "content_hash": gxe.ExpectColumnPairValuesToBeEqual(column_A="declared_hash", column_B="content_hash"),
        "unique_rows": gxe.ExpectColumnValuesToBeUnique(column="content_hash"),
        "licences": gxe.ExpectColumnValuesToBeInSet(column="license_tag", value_set=list(policy.licences)),
        "pii_status": gxe.ExpectColumnValuesToBeInSet(column="pii_status", value_set=list(policy.pii_statuses)),
        "role_order": gxe.ExpectColumnValuesToMatchRegex(column="shape", regex=policy.turns),
        "quality_score": gxe.ExpectColumnValuesToBeBetween(
            column="quality_score", min_value=policy.min_quality, max_value=policy.max_quality
        ),
        "known_families": gxe.ExpectColumnValuesToBeInSet(column="family", value_set=list(policy.families)),
        "conversation_length": gxe.ExpectColumnPairValuesToBeEqual(
            column_A="declared_turns", column_B="turns", ignore_row_if="either_value_is_missing"
        ),
    }
    assert named.keys() == _FIELDS.keys()
    for name, expectation in named.items():
        expectation.meta = {"check": name}
    return list(named.values())


def _table(rows: Sequence[ReleasedRow]) -> pd.DataFrame:
    text = ("where", "declared_hash", "content_hash", "license_tag", "pii_status", "shape", "family")
    numbers = ("quality_score", "declared_turns", "turns")
    columns = {name: pd.Series([getattr(row, name) for row in rows], dtype=object) for name in text}
    return pd.DataFrame(columns | {name: pd.Series([getattr(row, name) for row in rows], dtype=float) for name in numbers})


def _batch(table: pd.DataFrame) -> Any:
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("release").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": table})


def _check(found: Any) -> Check:
    name = found.expectation_config.meta["check"]
    if found.exception_info.get("raised_exception"):
        raise RuntimeError(f"the expectation of check {name!r} could not be evaluated: {found.exception_info.get('exception_message')}")
    field, message = _FIELDS[name]
    failing = int(found.result["unexpected_count"])
    assert found.success == (failing == 0), name
    places = [str(entry["where"]) for entry in found.result.get("partial_unexpected_index_list") or ()]
    assert bool(places) == bool(failing), name
    problems = [Problem(check=name, where=place, field=field, message=message) for place in places[:MAX_EXAMPLES]]
    return check_result(name, problems, unit="row", failing=failing)
