"""Row- and column-wise checks as Great Expectations, on a table of facts that holds no text.

Rows that agree in every fact get the same verdict, so each distinct :class:`Profile` is judged once and its verdict counts for
all its rows; scores, which differ freely, are judged once a distinct value. A million rows cost what their few thousand profiles cost.
One ephemeral context per validation: nothing is written, usage statistics and progress bars are off. Only the process that
validates imports this module.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pe_training.datasets.parse import Profile
from pe_training.datasets.policy import ReleasePolicy
from pe_training.datasets.report import MAX_EXAMPLES, Check, Problem, check_result
from pe_training.datasets.row_table import RowTable

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports sre_constants
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig

gxe: Any = gx.expectations
_FIELDS = {  # check -> field of the row, what is wrong there
    "content_hash": ("metadata.content_hash", "is not the hash of these messages"),
    "licences": ("metadata.license_tag", "this licence is not allowed"),
    "pii_status": ("metadata.pii_status", "still needs a review for personal data"),
    "role_order": (
        "messages",
        "not: one system message or none, then user and assistant in turn, none empty, assistant last; of a pair one other answer",
    ),
    "quality_score": ("metadata.quality_score", "is not between 0 and 1"),
    "known_families": ("metadata.source_family", "is not a known source family"),
    "conversation_length": ("metadata.conversation_length", "is not the number of messages that are not the system's"),
    "personal_data": ("messages", "holds what identifies a person: {personal}"),
}


def expectation_checks(rows: RowTable, policy: ReleasePolicy) -> Iterator[Check]:
    """One check per expectation over all rows."""
    scores = np.unique(rows.quality_scores[~np.isnan(rows.quality_scores)])
    suite = gx.ExpectationSuite(name="rows", expectations=_expectations(policy))
    result = _batch(_table(rows.profiles, scores, policy)).validate(
        suite, result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["at"], "return_unexpected_index_query": False}
    )
    yield from (_check(found, rows, scores) for found in result.results)


def _expectations(policy: ReleasePolicy) -> list[Any]:
    named = {
        "content_hash": gxe.ExpectColumnValuesToBeInSet(column="hash_matches", value_set=[True]),
        "licences": gxe.ExpectColumnValuesToBeInSet(column="license_tag", value_set=list(policy.licences)),
        "pii_status": gxe.ExpectColumnValuesToBeInSet(column="pii_status", value_set=list(policy.pii_statuses)),
        "role_order": gxe.ExpectColumnValuesToMatchRegex(column="shape", regex=_turns_pattern(policy)),
        "quality_score": gxe.ExpectColumnValuesToBeBetween(
            column="quality_score", min_value=policy.min_quality, max_value=policy.max_quality
        ),
        "known_families": gxe.ExpectColumnValuesToBeInSet(column="family", value_set=list(policy.families)),
        "conversation_length": gxe.ExpectColumnPairValuesToBeEqual(
            column_A="declared_turns", column_B="turns", ignore_row_if="either_value_is_missing"
        ),
        "personal_data": gxe.ExpectColumnValuesToBeInSet(column="personal", value_set=[""]),
    }
    assert named.keys() == _FIELDS.keys()
    for name, expectation in named.items():
        expectation.meta = {"check": name}
    return list(named.values())


def _turns_pattern(policy: ReleasePolicy) -> str:
    return "^(?:" + "|".join(f"{re.escape(purpose)}:(?:{pattern})" for purpose, pattern in policy.turns.items()) + ")$"


def _table(profiles: Sequence[Profile], scores: NDArray[np.float64], policy: ReleasePolicy) -> pd.DataFrame:
    """One row a profile, then one row a score; what a row has not is null, which no expectation here judges."""
    text = ("license_tag", "pii_status", "family", "hash_matches", "personal")
    height = len(profiles) + len(scores)
    columns = {name: pd.Series([getattr(p, name) for p in profiles] + [None] * len(scores), dtype=object) for name in text}
    shapes = [f"{p.purpose if p.purpose in policy.turns else 'default'}:{p.shape}" for p in profiles]
    columns["shape"] = pd.Series(shapes + [None] * len(scores), dtype=object)
    for name in ("declared_turns", "turns"):
        columns[name] = pd.Series([getattr(p, name) for p in profiles] + [None] * len(scores), dtype=float)
    columns["quality_score"] = pd.Series([None] * len(profiles) + scores.tolist(), dtype=float)
    return pd.DataFrame(columns | {"at": pd.Series(range(height), dtype=int)})


def _batch(table: pd.DataFrame) -> Any:
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("release").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": table})


def _check(found: Any, rows: RowTable, scores: NDArray[np.float64]) -> Check:
    name = found.expectation_config.meta["check"]
    if found.exception_info.get("raised_exception"):
        raise RuntimeError(f"the expectation of check {name!r} could not be evaluated: {found.exception_info.get('exception_message')}")
    field, message = _FIELDS[name]
    places = [int(entry["at"]) for entry in found.result.get("unexpected_index_list") or ()]
    assert found.success == (not places), name
    failing = np.flatnonzero(_rows_at(places, rows, scores))
    assert bool(places) == bool(len(failing)), name
    first = [rows[int(index)] for index in failing[:MAX_EXAMPLES]]
    problems = [
        Problem(check=name, where=row.where, field=field, message=message.format(personal=row.profile.personal.replace(",", ", ")))
        for row in first
    ]
    note = ", ".join(f"{kind}: {count:,}" for kind, count in sorted(rows.personal.items())) if name == "personal_data" else None
    return check_result(name, problems, unit="row", failing=len(failing)).model_copy(update={"note": note or None})


def _rows_at(places: Sequence[int], rows: RowTable, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows have one of the profiles or scores that stand at ``places`` of the table."""
    count = len(rows.profiles)
    bad = np.zeros(count, dtype=bool)
    bad[[place for place in places if place < count]] = True
    bad_scores = scores[[place - count for place in places if place >= count]]
    return bad[rows.profile_of] | np.isin(rows.quality_scores, bad_scores)
