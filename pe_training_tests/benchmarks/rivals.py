"""What a benchmark runs, each in a process of its own: ``python -m pe_training_tests.benchmarks.rivals WHICH RELEASE FOLDER``."""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def ours(release: Path, folder: Path) -> None:
    """Everything: read, hash, 25 checks with near-duplicates, contamination and personal data, sealed and registered durably."""
    from pe_training.datasets.accept import accept
    from pe_training.evaluation.suites import suite_prompts
    from pe_training.settings import Settings
    from pe_training.storage.state import State

    settings = Settings(home=folder)
    accepted = accept(release, suites=suite_prompts(settings.suite_folder), state=State(settings))
    assert accepted.dataset is not None, accepted.report.summary


def hf_datasets(release: Path, folder: Path) -> None:
    """Hugging Face datasets as its documentation shows: load, map both hashes, drop repeats, save Parquet. No checks."""
    import datasets

    datasets.disable_progress_bars()
    files = {split: [str(path) for path in sorted((release / split).glob("*.jsonl"))] for split in ("train", "val", "test")}
    loaded = datasets.load_dataset("json", data_files=files, cache_dir=str(folder / "cache"))
    seen: set[str] = set()

    def hashed(row: dict[str, Any]) -> dict[str, str]:
        text = " ".join(sorted(message["content"].strip().lower() for message in row["messages"]))
        whole = json.dumps(dict(row), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
        return {"content": hashlib.sha256(text.encode()).hexdigest(), "digest": hashlib.sha256(whole.encode()).hexdigest()}

    def first(row: dict[str, Any]) -> bool:
        return row["content"] not in seen and not seen.add(row["content"])  # type: ignore[func-returns-value]

    for split, rows in loaded.items():
        rows.map(hashed).filter(first).to_parquet(folder / f"{split}.parquet")


def pandas_and_gx(release: Path, folder: Path) -> None:
    """pandas reads the rows, Great Expectations judges seven columns of them. Nothing is hashed, compared across rows or written."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx

    lines = [json.loads(line) for path in sorted(release.glob("*/*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines()]
    table = pd.json_normalize([line["metadata"] for line in lines])
    table["shape"] = ["".join(message["role"][0] for message in line["messages"]) for line in lines]
    table["turns"] = [sum(message["role"] != "system" for message in line["messages"]) for line in lines]
    context = gx.get_context(mode="ephemeral")
    batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
    e: Any = gx.expectations
    wanted = [
        e.ExpectColumnValuesToBeInSet(column="license_tag", value_set=["therapeutic_license", "synthetic", "public_domain", "reddit_cc"]),
        e.ExpectColumnValuesToBeInSet(column="pii_status", value_set=["scrubbed", "none_detected"]),
        e.ExpectColumnValuesToMatchRegex(column="shape", regex="^s?(?:ua)+$"),
        e.ExpectColumnValuesToBeBetween(column="quality_score", min_value=0, max_value=1),
        e.ExpectColumnValuesToBeInSet(column="source_family", value_set=["mental_health_datasets"]),
        e.ExpectColumnPairValuesToBeEqual(column_A="conversation_length", column_B="turns"),
        e.ExpectColumnValuesToMatchRegex(column="content_hash", regex="^sha256:[0-9a-f]{64}$"),
    ]
    found = batch.get_batch(batch_parameters={"dataframe": table}).validate(gx.ExpectationSuite(name="s", expectations=wanted))
    assert found.success, found


def duckdb(release: Path, folder: Path) -> None:
    """duckdb reads the rows and writes Parquet in parallel, a file a split. Nothing is hashed or checked."""
    import duckdb

    with duckdb.connect() as connection:
        for split in ("train", "val", "test"):
            rows = connection.read_json(str(release / split / "*.jsonl"), format="newline_delimited")
            rows.write_parquet(str(folder / f"{split}.parquet"), compression="zstd")


WHO: dict[str, Callable[[Path, Path], None]] = {
    "ours": ours, "hf_datasets": hf_datasets, "duckdb": duckdb, "pandas_and_gx": pandas_and_gx
}  # fmt: skip

if __name__ == "__main__":
    WHO[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
