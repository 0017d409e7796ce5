"""A chain whose dataset is a real sealed release, so that its rows can be read and proved too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pe_training.core.clock import now, stamp
from pe_training.core.ids import digest_bytes
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.rows import content_hash
from pe_training.datasets.seal import seal
from pe_training.promotion.record import PromotionDecision
from pe_training.storage.state import State
from pe_training.storage.tables import releases
from pe_training_tests.datasets.samples import read
from pe_training_tests.promotion import factory as promotion

SAID = {"train": ("I keep putting things off.", "Mornings are hard."), "val": ("I argued with my sister.",), "test": ("I cannot sleep.",)}


def sealed_dataset(state: State, folder: Path) -> tuple[DatasetVersion, str]:
    """A release of four rows, read, sealed and registered as accepting does; with the release's digest."""
    release = read(_written(folder / "tiny" / "v1"))
    assert not release.problems
    dataset = seal(release.rows, name=release.name, store=state.artifacts)
    state.registry.put(dataset)
    with state.registry.writing() as connection:
        report = state.artifacts.put_bytes(b'{"accepted":true}')
        connection.execute(
            sa.insert(releases).values(
                digest=release.digest, name=release.name, version=release.version, outcome="accepted", dataset_id=dataset.id,
                report_digest=report, at=stamp(now()),
            )
        )  # fmt: skip
    return dataset, release.digest


def whole_chain(state: State, folder: Path) -> tuple[promotion.Chain, PromotionDecision]:
    """A whole chain over a sealed dataset, with its decision."""
    dataset, _ = sealed_dataset(state, folder)
    chain = promotion.make_chain(state, dataset=dataset)
    return chain, promotion.judged(state, chain)


def _written(folder: Path) -> Path:
    folder.mkdir(parents=True)
    splits: dict[str, Any] = {}
    for split, said in SAID.items():
        data = "".join(json.dumps(_row(text, split)) + "\n" for text in said).encode()
        (folder / f"{split}.jsonl").write_bytes(data)
        shard = {
            "shard_id": split, "s3_path": f"{split}.jsonl", "size_bytes": len(data), "sha256": digest_bytes(data).removeprefix("sha256:"),
            "conversation_count": len(said), "source_families": ["cptsd"],
        }  # fmt: skip
        splits[split] = {"conversations": len(said), "shards": [shard]}
    counts = {split: len(said) for split, said in SAID.items()}
    manifest = {
        "manifest_version": "1.0", "generated_at": "2026-01-01T00:00:00Z", "total_conversations": sum(counts.values()), "splits": splits,
        "source_families": {"cptsd": {"conversations": sum(counts.values()), "splits": counts}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _row(text: str, split: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": f"Tell me more about it: {len(text)}."}]
    return {
        "messages": messages,
        "metadata": {
            "source_family": "cptsd", "source_key": "written-for-tests", "content_hash": content_hash(m["content"] for m in messages),
            "pii_status": "none_detected", "license_tag": "synthetic", "split": split, "phase": "stage1_foundation",
            "provenance": {"original_s3_key": "none", "processing_pipeline": "none", "processed_at": "2026-01-01T00:00:00Z",
                           "dedup_status": "unique"},
        },
    }  # fmt: skip
