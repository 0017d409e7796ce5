"""What is in a model: a machine-learning bill of materials in CycloneDX 1.6, with the model's card, its data, licences and hashes.

It follows from records: the same model, and the same newest report on it, give the same bytes. Source: CycloneDX 1.6 (ECMA-424), JSON.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from pe_training.core.ids import digest_json
from pe_training.core.records import Attachment
from pe_training.evaluation.record import EvaluationReport
from pe_training.lineage.evidence import PRODUCER, TOOL, Evidence, hex_of, pinned, uri

_HASHES = {"sha256": "SHA-256", "gitCommit": "SHA-1"}
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER)


def bill(evidence: Evidence, *, report: EvaluationReport | None) -> dict[str, Any]:
    """The bill of one model. ``report``: where the figures of its card come from; without it the card has none."""
    checkpoint, dataset = evidence.checkpoint, evidence.dataset
    base = f"{PRODUCER}:base:{checkpoint.base.ref}"
    made = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": evidence.ended,
            "tools": {"components": [{"type": "application"} | TOOL]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": checkpoint.id,
                "name": checkpoint.line,
                "version": checkpoint.id,
                "components": _files(checkpoint.content_files, owner=checkpoint.id),
                "modelCard": _card(evidence, report),
                "properties": _properties(
                    {"format": checkpoint.format, "step": checkpoint.step, "run": evidence.run.id, "weights": checkpoint.weights}
                ),
            },
        },
        "components": [
            {
                "type": "data",
                "bom-ref": dataset.id,
                "name": dataset.name,
                "version": dataset.id,
                "licenses": [{"license": {"name": tag}} for tag in sorted(dataset.licenses)],
                "components": _files(dataset.files(), owner=dataset.id),
                "data": [{"type": "dataset", "name": dataset.name, "contents": {"properties": _properties(_counts(evidence))}}],
            },
            {
                "type": "machine-learning-model",
                "bom-ref": base,
                "name": checkpoint.base.ref,
                "version": checkpoint.base.pin,
                "hashes": [{"alg": _HASHES[name], "content": value} for name, value in pinned(checkpoint.base).items()],
            },
        ],
        "dependencies": [{"ref": checkpoint.id, "dependsOn": sorted([dataset.id, base])}, {"ref": dataset.id}, {"ref": base}],
    }
    return made | {"serialNumber": uuid.uuid5(NAMESPACE, digest_json(made)).urn}


def _card(evidence: Evidence, report: EvaluationReport | None) -> dict[str, Any]:
    """The model card: what it is for, what it learnt from, and what was measured, with intervals."""
    text = [{"format": "text"}]
    card: dict[str, Any] = {
        "bom-ref": f"{evidence.checkpoint.id}/card",
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": evidence.checkpoint.task,
            "datasets": [{"ref": evidence.dataset.id}],
            "inputs": text,
            "outputs": text,
        },
    }
    if report is None:
        return card
    figures = [
        {
            "type": f"{metric.suite}/{metric.name}",
            "slice": metric.slice,
            "value": repr(metric.tuned.value),
            "confidenceInterval": {"lowerBound": repr(metric.tuned.low), "upperBound": repr(metric.tuned.high)},
        }
        for metric in report.metrics
        if metric.tuned is not None  # what was not measured has no figure
    ]
    said = {"report": report.id, "judge": report.judge, "reference": uri(report.id)}
    return card | {"quantitativeAnalysis": {"performanceMetrics": figures}, "properties": _properties(said)}


def _counts(evidence: Evidence) -> dict[str, int]:
    dataset = evidence.dataset
    rows = {f"rows:{name}": split.rows for name, split in dataset.splits.items()}
    families = {f"family:{name}": sum(splits.values()) for name, splits in dataset.families.items()}
    return rows | families | {f"licence:{tag}": count for tag, count in dataset.licenses.items()}


def _files(files: Iterable[Attachment], *, owner: str) -> list[dict[str, Any]]:
    return [
        {
            "type": "file",
            "bom-ref": f"{owner}/{file.path}",
            "name": file.path,
            "hashes": [{"alg": "SHA-256", "content": hex_of(file.digest)}],
            "properties": _properties({"size_bytes": file.size_bytes}),
        }
        for file in sorted(files, key=lambda file: file.path)
    ]


def _properties(said: dict[str, Any]) -> list[dict[str, str]]:
    return [{"name": f"pe_training:{name}", "value": str(value)} for name, value in sorted(said.items())]
