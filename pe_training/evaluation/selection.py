"""A part of a suite: seeded, stratified, and the same on every machine.

Taking the head of a file once made a suite of one crisis type. Here every stratum gets its share, and within a stratum the
order is by a digest of seed and id, so adding an example never reshuffles the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pe_training.core.ids import digest_bytes, digest_json
from pe_training.evaluation.examples import Example
from pe_training.evaluation.record import SuiteUse
from pe_training.evaluation.suites import Suite

T = TypeVar("T")


def select(suite: Suite, *, max_examples: int | None, seed: int) -> tuple[tuple[Example, ...], SuiteUse]:
    """At most ``max_examples`` examples of a suite (whole scenarios), in file order, and the record of their use."""
    fields = suite.config.stratify_by

    def stratum(example: Example) -> str:
        return "\x1f".join(str(getattr(example, field)) for field in fields)

    chosen = tuple(part(suite.examples, identity=lambda example: example.id, stratum=stratum, size=max_examples, seed=seed))
    return chosen, suite_use(suite.digest, [example.id for example in chosen], available=len(suite.examples))


def suite_use(digest: str, ids: Sequence[str], *, available: int, contaminated: int | None = None) -> SuiteUse:
    """The record that examples of these ids, out of ``available``, were put to the model; ``contaminated``: others were trained on."""
    return SuiteUse(digest=digest, selection=digest_json(list(ids)), available=available, used=len(ids), contaminated=contaminated)


def part(items: Sequence[T], *, identity: Callable[[T], str], stratum: Callable[[T], str], size: int | None, seed: int) -> list[T]:
    """``size`` of ``items`` in their order, with strata in proportion (largest remainder; ties by name); all where ``size`` is None."""
    if size is None or size >= len(items):
        return list(items)
    assert size >= 1, size
    strata: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        strata.setdefault(stratum(item), []).append(index)
    quota = {name: divmod(len(found) * size, len(items)) for name, found in strata.items()}
    spare = size - sum(whole for whole, _ in quota.values())
    favoured = set(sorted(quota, key=lambda name: (-quota[name][1], name))[:spare])
    chosen: list[int] = []
    for name, found in strata.items():
        ranked = sorted(found, key=lambda index: digest_bytes(f"{seed}:{identity(items[index])}".encode()))
        chosen += ranked[: quota[name][0] + (name in favoured)]
    return [items[index] for index in sorted(chosen)]
