"""``make bench-evaluation``: what an evaluation costs, beside what one would otherwise use. Each table is a function that returns it.

Seconds of one core, which other work on the machine disturbs less than those of the clock; nothing here uses more than one.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from pe_training.evaluation.confusion import DRAWS, macro_f1, resampled_cells
from pe_training.evaluation.parity import METRICS, outcomes_of
from pe_training.evaluation.probability_scores import DRAWS as RANKED_DRAWS
from pe_training.evaluation.probability_scores import auroc
from pe_training.evaluation.ratios import weighted_ratio

Floats = NDArray[np.float64]
EXAMPLES, GROUPS, CLASSES, RESAMPLES, REPEATS = 20_000, 10, 6, 10_000, 5
GENERATED = 2  # repeats of the replies, which take minutes
CHUNK = 100  # resamples at a time, for the rivals too: more do not fit the cache
ENDS = (0.025, 0.975)


def main() -> None:
    """Print every table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--repeats", type=int, default=REPEATS, help="of each interval")
    asked.add_argument("--generated", type=int, default=GENERATED, help="repeats of the replies; 0 leaves them out")
    wanted = asked.parse_args()
    console = Console(width=150)
    console.print(intervals_table(repeats=wanted.repeats))
    if wanted.generated:
        from pe_training_tests.benchmarks.generation import generation_table  # torch, which the intervals are timed without

        console.print(generation_table(repeats=wanted.generated))


def intervals_table(*, repeats: int) -> Table:
    """S9: 95 % intervals. Point values must be equal, and ends of drawn intervals differ by no more than chance."""
    of = np.random.default_rng(17)
    groups, expected = of.integers(0, GROUPS, size=EXAMPLES), of.random(EXAMPLES) < 0.4
    predicted = np.where(of.random(EXAMPLES) < 0.85, expected, ~expected)
    labels = of.integers(0, CLASSES, size=EXAMPLES)
    called = np.where(of.random(EXAMPLES) < 0.8, labels, of.integers(0, CLASSES, size=EXAMPLES))
    tokens = np.ceil(of.lognormal(4, 0.7, size=EXAMPLES))
    nats = tokens * of.normal(2.5, 0.4, size=EXAMPLES)
    shares = of.dirichlet(np.ones(CLASSES), size=EXAMPLES) + 0.3 * np.eye(CLASSES)[labels]
    shares /= shares.sum(axis=1, keepdims=True)

    rows = np.eye(GROUPS * 4)[groups * 4 + np.where(expected, np.where(predicted, 0, 2), np.where(predicted, 1, 3))]
    by_group = f"{len(METRICS)} metrics in {GROUPS} groups"
    named = [np.array(["no", "a", "b", "c", "d", "e"])[column].tolist() for column in (labels, called)]
    losses = (nats.tolist(), tokens.tolist())
    work: dict[tuple[str, str], Callable[[], Floats]] = {
        (by_group, "numpy bootstrap"): lambda: _group_ends(_resampled(rows.argmax(axis=1), GROUPS * 4).reshape(-1, GROUPS, 4)),
        (by_group, "ours, cells drawn"): lambda: _group_ends(resampled_cells(rows.sum(axis=0).reshape(GROUPS, 4), seed=1, draws=RESAMPLES)),
        (by_group, "ours, closed form"): lambda: _closed(expected.tolist(), predicted.tolist(), groups.tolist()),
        ("macro-F1", "numpy bootstrap"): lambda: np.quantile(
            _macro_f1(_resampled(labels * CLASSES + called, CLASSES**2).reshape(-1, CLASSES, CLASSES)), ENDS
        ),
        ("macro-F1", f"ours, BCa of {DRAWS:,} twice"): lambda: _ends(macro_f1(named[0], named[1], seed=1)),
        ("loss per token", "numpy bootstrap"): lambda: _ratio_ends(nats, tokens),
        ("loss per token", "ours, closed form"): lambda: _ends(weighted_ratio(*losses)),
    }
    names = list(map(str, range(CLASSES)))
    given = [dict(zip(names, row, strict=True)) for row in shares.tolist()]
    rankings = [_seconds(lambda: auroc([names[i] for i in labels], given, seed=1)) for _ in range(min(repeats, 2))]
    table = Table(
        title=f"95 % intervals over {EXAMPLES:,} examples, {RESAMPLES:,} resamples, CPU seconds, medians of {repeats}, "
        f"numpy {np.__version__}, {platform.machine()}, {os.cpu_count()} cores"
    )
    for column in ("what", "how", "median s", "range s", "times as fast as the first", "ends apart, of a width"):
        table.add_column(column, justify="left" if column in {"what", "how"} else "right")
    rival: dict[str, tuple[float, Floats]] = {}
    for (what, how), interval in work.items():
        times, found = _timed(interval, repeats=repeats)
        theirs, their_ends = rival.setdefault(what, (statistics.median(times), found))
        apart = np.abs(found - their_ends).max(axis=-1) / np.ptp(their_ends, axis=-1)
        _add(table, what, how, times, theirs, apart=f"{np.max(apart):.2f}")
        if how == "ours, closed form" and what == by_group:
            who = f"fairlearn {importlib.metadata.version('fairlearn')}, 2 resamples, extrapolated"
            _add(table, what, who, [_fairlearn(expected, predicted, groups) for _ in range(repeats)], theirs)
    learn = [_scikit_learn(labels, shares) for _ in range(min(repeats, 2))]
    who = f"scikit-learn {importlib.metadata.version('scikit-learn')}, 2 of {RANKED_DRAWS:,} resamples, extrapolated"
    _add(table, "AUROC", who, learn, statistics.median(learn))
    _add(table, "AUROC", f"ours, bootstrap of {RANKED_DRAWS:,}", rankings, statistics.median(learn))
    return table


def _add(table: Table, what: str, how: str, times: list[float], rival: float, *, apart: str = "-") -> None:
    middle = statistics.median(times)
    shown = [f"{seconds:,.4f}" if seconds < 10 else f"{seconds:,.0f}" for seconds in (middle, min(times), max(times))]
    table.add_row(what, how, shown[0], f"{shown[1]} to {shown[2]}", f"{rival / middle:,.1f}" if rival > middle / 10 else "under 0.1", apart)


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _timed(interval: Callable[[], Floats], *, repeats: int) -> tuple[list[float], Floats]:
    times = []
    for _ in range(repeats):
        began = time.process_time()
        found = interval()
        times.append(time.process_time() - began)
    return times, found


def _resampled(codes: NDArray[np.int64], kinds: int) -> Floats:
    """How often each code occurs in each resample, examples drawn by index: shape (resamples, kinds)."""
    generator, found = np.random.default_rng(1), []
    offsets = (np.arange(CHUNK) * kinds)[:, None]
    for _ in range(RESAMPLES // CHUNK):
        drawn = codes[generator.integers(0, len(codes), size=(CHUNK, len(codes)))]
        found.append(np.bincount((drawn + offsets).ravel(), minlength=CHUNK * kinds).reshape(CHUNK, kinds))
    return np.concatenate(found).astype(np.float64)


def _group_ends(cells: Floats) -> Floats:
    """Percentile ends (metrics, groups, 2) of tables (resamples, groups, 4) of true and false positives, then negatives."""
    tp, fp, fn, tn = np.ascontiguousarray(cells.T)  # (groups, resamples) each
    hit, spared = tp / (tp + fn), tn / (fp + tn)
    total = tp + fp + fn + tn
    found = [(tp + fp) / total, (tp + tn) / total, hit, 1 - hit, 1 - spared, spared, tp / (tp + fp), tn / (tn + fn)]
    drawn = np.stack([*found, 2 * tp / (2 * tp + fp + fn), (hit + spared) / 2])
    return np.moveaxis(np.quantile(drawn, ENDS, axis=-1, overwrite_input=True), 0, -1)


def _closed(expected: list[bool], predicted: list[bool], groups: list[int]) -> Floats:
    tables = outcomes_of(expected, predicted, groups=groups)
    found = [[tables[group].ends(metric) for group in range(GROUPS)] for metric in METRICS]
    return np.array(found, dtype=np.float64)[:, :, 1:]


def _macro_f1(tables: Floats) -> Floats:
    hits = np.diagonal(tables, axis1=1, axis2=2)
    return np.asarray((2 * hits / (tables.sum(axis=1) + tables.sum(axis=2))).mean(axis=1))


def _ratio_ends(nats: Floats, tokens: Floats) -> Floats:
    generator, found = np.random.default_rng(1), []
    for _ in range(RESAMPLES // CHUNK):
        drawn = generator.integers(0, len(nats), size=(CHUNK, len(nats)))
        found.append(nats[drawn].sum(axis=1) / tokens[drawn].sum(axis=1))
    return np.quantile(np.concatenate(found), ENDS)


def _ends(found: object) -> Floats:
    return np.array([getattr(found, "low"), getattr(found, "high")])  # noqa: B009 - an estimate or a comparison


def _fairlearn(expected: NDArray[np.bool_], predicted: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """Seconds that fairlearn's own bootstrap would take for all resamples, from two of them."""
    from fairlearn import metrics
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score

    theirs = {
        "selection_rate": metrics.selection_rate,
        "accuracy": accuracy_score,
        "true_positive_rate": metrics.true_positive_rate,
        "false_negative_rate": metrics.false_negative_rate,
        "false_positive_rate": metrics.false_positive_rate,
        "true_negative_rate": metrics.true_negative_rate,
        "precision": precision_score,
        "negative_predictive_value": lambda right, said: precision_score(~right, ~said),
        "f1": f1_score,
        "balanced_accuracy": balanced_accuracy_score,
    }

    def took(resamples: int) -> float:
        began = time.process_time()
        more = {"n_boot": resamples, "ci_quantiles": list(ENDS), "random_state": 1} if resamples else {}
        metrics.MetricFrame(metrics=theirs, y_true=expected, y_pred=predicted, sensitive_features=groups, **more)
        return time.process_time() - began

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (took(2) - took(0)) / 2 * RESAMPLES


def _scikit_learn(labels: NDArray[np.int64], shares: Floats) -> float:
    """Seconds of a bootstrap of its one-against-the-rest AUROC, from two resamples."""
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(1)

    def resample() -> None:
        drawn = generator.integers(0, len(labels), size=len(labels))
        roc_auc_score(labels[drawn], shares[drawn], multi_class="ovr", average="macro")

    resample()  # what it imports is no part of it
    return (_seconds(resample) + _seconds(resample)) / 2 * RANKED_DRAWS


if __name__ == "__main__":
    main()
