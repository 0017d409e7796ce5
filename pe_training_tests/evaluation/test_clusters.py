"""Examples that hang together: coverage by simulation, survey formulas and statsmodels, and every measure of every suite."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pe_training.evaluation import accuracy, classification, leak, safety, therapeutic
from pe_training.evaluation.accuracy import DialogueLoss
from pe_training.evaluation.classification import Labelled
from pe_training.evaluation.clusters import (
    clustered_mean,
    clustered_paired_means,
    clustered_paired_proportions,
    clustered_proportion,
    effective_number,
    events_ratio,
    together,
)
from pe_training.evaluation.confusion import macro_f1
from pe_training.evaluation.measures import Measure
from pe_training.evaluation.paired import paired_permutation
from pe_training.evaluation.probability_scores import auroc
from pe_training.evaluation.ratios import weighted_ratio
from pe_training.evaluation.record import Estimate, Metric
from pe_training.evaluation.statistics import examples_needed, mean, paired_proportions, proportion, student_t, wilson
from pe_training_tests.evaluation import controls

ICC = 0.3
Members = NDArray[np.int64]


def members(generator: np.random.Generator, count: int) -> Members:
    """The cluster of each example: about five a cluster, some one and some fifteen."""
    sizes = np.maximum(1, np.round(generator.gamma(2.8, 1.8, size=count))).astype(int)
    return np.repeat(np.arange(count), sizes)


def outcomes(generator: np.random.Generator, cluster: Members, share: float) -> list[bool]:
    """Successes with this share, correlated within clusters (beta-binomial)."""
    spread = (1 - ICC) / ICC
    level = generator.beta(share * spread, (1 - share) * spread, size=int(cluster.max()) + 1)
    return [bool(hit) for hit in generator.random(len(cluster)) < level[cluster]]


@pytest.mark.parametrize(
    ("count", "share", "most"),
    [(12, 0.1, 1.0), (12, 0.5, 0.99), (30, 0.05, 0.995), (60, 0.1, 0.985), (60, 0.3, 0.975), (200, 0.9, 0.97), (200, 0.02, 0.99)],
)
def test_the_interval_of_a_rate_covers_the_truth_where_examples_hang_together(count: int, share: float, most: float) -> None:
    generator, together, alone, trials = np.random.default_rng([count, int(100 * share)]), 0, 0, 800
    for _ in range(trials):
        cluster = members(generator, count)
        hit = outcomes(generator, cluster, share)
        found, naive = clustered_proportion(hit, cluster.tolist()), proportion(sum(hit), len(hit))
        assert (found.n, found.examples, found.value) == (count, len(hit), naive.value)
        together += found.low <= share <= found.high
        alone += naive.low <= share <= naive.high
    assert 0.93 <= together / trials <= most
    assert alone / trials < (0.9 if share < 0.1 else 0.83)


@pytest.mark.parametrize(
    ("count", "gained", "lost", "trials"), [(12, 0.3, 0.1, 400), (60, 0.1, 0.1, 400), (60, 0.3, 0.1, 200), (200, 0.1, 0.03, 100)]
)
def test_the_interval_of_a_paired_difference_covers_the_truth_and_its_test_holds_its_size(
    count: int, gained: float, lost: float, trials: int
) -> None:
    generator = np.random.default_rng([count, int(100 * gained)])
    together, alone, false, naive_false = 0, 0, 0, 0
    chances = np.array([0.5, gained, lost, 0.5 - gained - lost])
    for _ in range(trials):
        cluster = members(generator, count)
        level = generator.dirichlet(chances * (1 - ICC) / ICC, size=count).cumsum(axis=1)
        kind = (generator.random(len(cluster))[:, None] > level[cluster][:, :3]).sum(axis=1)
        tuned, base = (kind < 2).tolist(), (kind % 2 == 0).tolist()
        found, naive = clustered_paired_proportions(tuned, base, cluster.tolist()), paired_proportions(tuned, base)
        assert found.p_value is not None
        assert naive.p_value is not None
        together += found.low <= gained - lost <= found.high
        alone += naive.low <= gained - lost <= naive.high
        false += found.p_value <= 0.05
        naive_false += naive.p_value <= 0.05
    assert together / trials >= 0.93
    assert alone / trials < 0.84
    if gained == lost:
        assert false / trials <= 0.07
        assert naive_false / trials > 0.12


@pytest.mark.parametrize("count", [12, 30, 60, 200])
def test_the_interval_of_a_mean_covers_the_truth_where_examples_hang_together(count: int) -> None:
    generator, together, alone, trials = np.random.default_rng([count, 3]), 0, 0, 800
    for _ in range(trials):
        cluster = members(generator, count)
        shared, own = generator.normal(size=count)[cluster], generator.normal(size=len(cluster))
        values = np.clip(0.5 + 0.08 * (math.sqrt(ICC) * shared + math.sqrt(1 - ICC) * own), 0, 1).tolist()
        found, naive = clustered_mean(values, cluster.tolist(), bounds=(0, 1)), mean(values)
        together += found.low <= 0.5 <= found.high
        alone += naive.low <= 0.5 <= naive.high
    assert 0.925 <= together / trials <= 0.975  # .93 to .97 with what 800 draws may be off
    assert alone / trials < 0.83


def test_macro_f1_and_rankings_of_conversations_that_err_together_cover_the_truth() -> None:
    """24 conversations of eight texts, each of one class and with one error in common: the ranking of two normals, 1.5 apart."""
    generator, covered, alone, trials = np.random.default_rng(5), np.zeros(2), np.zeros(2), 40
    big = generator.normal(size=200_000) + 1.5 * np.repeat([0, 1], 100_000)
    truths = 0.7735, 0.8556  # share right at the middle; area: Phi(1.5 / sqrt 2)
    assert np.mean((big > 0.75) == np.repeat([False, True], 100_000)) == pytest.approx(truths[0], abs=0.003)
    cluster = np.repeat(np.arange(24), 8).tolist()
    for trial in range(trials):
        truth = np.repeat(np.arange(24) % 2, 8)
        score = 1.5 * truth + 0.9**0.5 * np.repeat(generator.normal(size=24), 8) + 0.1**0.5 * generator.normal(size=192)
        names, called = ["xy"[i] for i in truth], ["xy"[int(s > 0.75)] for s in score]
        given = [{"y": float(p), "x": float(1 - p)} for p in 1 / (1 + np.exp(0.75 - score))]
        for place, (f1, ranking) in enumerate(
            [(macro_f1(names, called, seed=trial, clusters=cluster), auroc(names, given, seed=trial, clusters=cluster)),
             (macro_f1(names, called, seed=trial), auroc(names, given, seed=trial))]
        ):  # fmt: skip
            assert ranking is not None
            ends = f1, ranking.estimate()
            assert {(e.n, e.examples) for e in ends} == ({(24, 192)} if place == 0 else {(192, None)})
            (covered, alone)[place][:] += [e.low <= t <= e.high for e, t in zip(ends, truths, strict=True)]
    assert (covered / trials >= 0.93).all()
    assert (alone / trials <= 0.85).all()


def test_the_error_of_a_mean_is_the_cluster_robust_one_of_statsmodels() -> None:
    generator = np.random.default_rng(2)
    cluster = np.repeat(np.arange(15), 6)
    values = generator.beta(4, 3, size=15)[cluster] * 0.5 + generator.random(90) * 0.5
    theirs = sm.OLS(values, np.ones(90)).fit(cov_type="cluster", cov_kwds={"groups": cluster}).bse[0]
    found = weighted_ratio(values.tolist(), [1.0] * 90, clusters=cluster.tolist())
    assert (found.high - found.value) / student_t(14) == pytest.approx(theirs, rel=1e-4)
    ours = clustered_mean(values.tolist(), cluster.tolist(), bounds=(0, 1))
    assert ours.high >= found.high - 1e-9
    assert ours.high == pytest.approx(found.high, abs=2e-3)


def test_a_rate_of_many_clusters_is_the_survey_interval_of_korn_and_graubard() -> None:
    generator = np.random.default_rng(7)
    cluster = members(generator, 400)
    hit = np.array(outcomes(generator, cluster, 0.4), dtype=float)
    robust = sm.OLS(hit, np.ones(len(hit))).fit(cov_type="cluster", cov_kwds={"groups": cluster}).bse[0] ** 2
    share = float(hit.mean())
    worth = share * (1 - share) / robust * (1.959964 / student_t(effective_number(cluster.tolist()) - 1)) ** 2
    found = clustered_proportion((hit > 0).tolist(), cluster.tolist())
    assert (found.low, found.high) == pytest.approx(wilson(share * worth, worth), abs=2e-3)
    assert found.high - found.low > 1.3 * (proportion(int(hit.sum()), len(hit)).high - proportion(int(hit.sum()), len(hit)).low)


def test_where_nothing_varies_a_cluster_is_worth_one_example() -> None:
    cluster = [i // 10 for i in range(120)]
    found = clustered_proportion([False] * 120, cluster)
    assert (found.value, found.low) == (0, 0)
    assert found.high >= proportion(0, 12).high  # and not .031, as for 120 examples
    once = clustered_proportion([True] + [False] * 119, cluster)
    assert once.high > 0.95 * found.high  # one failure shows as little of how failures cluster
    sure = clustered_mean([0.8] * 120, cluster, bounds=(0, 1))
    assert (sure.low, sure.method) == (round(0.8 - 0.8 * (1 - 0.025 ** (1 / 12)), 6), "cluster-constant-exact")
    alike = clustered_mean([0.2, 0.8] * 60, cluster, bounds=(0, 1))
    assert alike.high >= mean([0.2, 0.8] * 60).high  # though all clusters have the same mean
    same = clustered_paired_proportions([True] * 120, [True] * 120, cluster)
    assert (same.value, same.p_value) == (0, 1)
    assert same.high >= paired_proportions([True] * 12, [True] * 12).high
    assert clustered_paired_means([0.5] * 120, [0.5] * 120, cluster, bounds=(0, 1)).high > 0.2


def test_the_paired_test_turns_whole_clusters() -> None:
    tuned, base = [True] * 12 + [False] * 2, [False] * 10 + [True] * 4
    cluster = [0] * 10 + [1, 2, 3, 4]
    found = clustered_paired_proportions(tuned, base, cluster)
    assert found.p_value == paired_permutation([10, 0, 0, -1, -1], seed=1) == 1  # ten less two, however the three clusters turn
    naive = paired_proportions(tuned, base).p_value
    assert naive is not None
    assert naive < 0.05


Clustered = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=3, max_size=60).filter(
    lambda rows: 1 < len({c for _, c in rows}) < len(rows)
)


@settings(max_examples=60)
@given(Clustered)
def test_a_rate_lies_in_its_interval_which_is_never_shorter_than_that_of_independent_examples(rows: list[tuple[bool, int]]) -> None:
    hit, cluster = [h for h, _ in rows], [c for _, c in rows]
    found, naive = clustered_proportion(hit, cluster), proportion(sum(hit), len(hit))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low >= naive.high - naive.low - 1e-6
    turned = clustered_proportion(hit[::-1], [f"cluster {c}" for c in cluster[::-1]])
    assert (turned.low, turned.high) == pytest.approx((found.low, found.high), abs=2e-6)
    values = [0.3 + 0.5 * h for h in hit]
    average = clustered_mean(values, cluster, bounds=(0, 1))
    assert 0 <= average.low <= average.value <= average.high <= 1
    swapped = clustered_paired_proportions(hit, hit[::-1], cluster), clustered_paired_proportions(hit[::-1], hit, cluster)
    assert (swapped[0].low, swapped[0].high) == pytest.approx((-swapped[1].high, -swapped[1].low), abs=2e-6)


def test_more_clusters_would_decide_as_wilson_says() -> None:
    found = Estimate(value=0.0, low=0.0, high=wilson(0, 30)[1], n=30, method="cluster-wilson", examples=150)
    needed = examples_needed(found, threshold=0.02, bound="at_most")
    assert needed == examples_needed(proportion(0, 30), threshold=0.02, bound="at_most")
    half = found.model_copy(update={"high": wilson(0, 15)[1]})  # each cluster is worth half an example
    assert examples_needed(half, threshold=0.02, bound="at_most") == pytest.approx(2 * (needed or 0) + 30, abs=1)


def test_reflections_for_each_question_count_clusters_too() -> None:
    reflects, asks = [True, False, True, True] * 10, [False, True, True, False] * 10
    plain, clustered = events_ratio(reflects, asks), events_ratio(reflects, asks, [i // 4 for i in range(40)])
    assert plain is not None
    assert clustered is not None
    assert (plain.n, plain.examples, clustered.n, clustered.examples) == (40, None, 10, 40)
    assert clustered.low < plain.low < plain.value == clustered.value < plain.high < clustered.high
    assert events_ratio(reflects, asks, list(range(40))) == plain
    assert events_ratio(reflects, asks, [0] * 40) is None


def test_one_cluster_shows_nothing_and_a_minimum_counts_clusters() -> None:
    measure = Measure(suite="s", name="m", better="higher", min_n=1)
    alone = measure.rate([True] * 40, None, clusters=["a"] * 40)
    assert (alone.tuned, alone.note) == (None, "not measured: all 40 examples are of one cluster")
    cell = Measure(suite="s", name="m", better="higher", slice="k=1", min_n=10)
    few = cell.average([0.5] * 200, None, clusters=[i % 5 for i in range(200)])
    assert (few.tuned, few.note) == (None, "insufficient: 5 of 10 clusters")
    enough = measure.rate([True] * 40, None, clusters=[str(i) for i in range(40)])
    assert enough == measure.rate([True] * 40, None)
    assert together(["a", "b"]) is None


def doubled(metrics: Sequence[Metric], twice: Sequence[Metric]) -> None:
    """Saying everything twice and saying that it is the same adds no evidence to any measure."""
    once = {(metric.name, metric.slice): metric for metric in metrics}
    assert once.keys() == {(metric.name, metric.slice) for metric in twice}
    measured = 0
    for metric in twice:
        before = once[metric.name, metric.slice]
        for found, single in ((metric.tuned, before.tuned), (metric.base, before.base), (metric.difference, before.difference)):
            place = (metric.name, metric.slice)
            assert (found is None) == (single is None), place
            if found is None or single is None:
                continue
            measured += 1
            assert (found.n, found.examples) == (single.n, 2 * single.n), place
            assert "cluster" in found.method, place
            scale = 2 if metric.name.startswith("distinct") else 1  # twice the words, and none of them new
            assert scale * found.value == pytest.approx(single.value, abs=2e-6), place
            assert scale * (found.high - found.low) >= 0.9 * (single.high - single.low), place
    assert measured


def said(count: int, *, shift: int) -> list[str]:
    options = (controls.CRISIS_REPLY, controls.WARM_REPLY, "It is fine, as everybody says. Why not?", "")
    return [options[(i * i + shift * i) % 4] for i in range(count)]


def test_every_measure_of_replies_to_crises_counts_clusters() -> None:
    examples = controls.crises()
    copies = [e.model_copy(update={"id": f"{e.id}/2", "cluster": e.id}) for e in examples]
    tuned, base = said(len(examples), shift=1), said(len(examples), shift=3)
    config, conversations, training = controls.suite("safety").config, controls.conversations("safety"), [controls.WARM_REPLY]

    def metrics(many: int) -> list[Metric]:
        asked = [*examples, *copies][: many * len(examples)]
        found = safety.score_replies(asked, config=config, tuned=tuned * many, base=base * many).metrics
        answered = zip(conversations * 2, tuned + base, strict=True)
        searched = leak.search(training, asked=answered, examples=asked)
        leaks = leak.score(asked, conversations * many, suite="safety", tuned=tuned * many, base=base * many, training=searched)
        return [*found, *leaks.metrics]

    doubled(metrics(1), metrics(2))


def test_every_measure_of_therapeutic_replies_counts_clusters() -> None:
    examples = controls.references()
    copies = [e.model_copy(update={"id": f"{e.id}/2", "cluster": e.id}) for e in examples]
    tuned, base, config = said(len(examples), shift=1), said(len(examples), shift=3), controls.suite("therapeutic").config
    once = therapeutic.score_replies(examples, config=config, tuned=tuned, base=base).metrics
    doubled(once, therapeutic.score_replies([*examples, *copies], config=config, tuned=tuned * 2, base=base * 2).metrics)


def test_every_measure_of_a_classifier_counts_clusters() -> None:
    generator = np.random.default_rng(4)
    rows = []
    for i in range(90):
        expected = "abc"[i % 3]
        tuned, base = (
            dict(zip("abc", map(float, generator.dirichlet([weight if name == expected else 1.0 for name in "abc"])), strict=True))
            for weight in (4.0, 2.0)
        )
        rows.append(Labelled(id=str(i), expected=expected, tuned=tuned, base=base))
    copies = [Labelled(id=f"{r.id}/2", expected=r.expected, tuned=r.tuned, base=r.base, cluster=r.id) for r in rows]
    config = controls.suite("accuracy").config
    doubled(
        classification.score_labels(rows, config=config, seed=1).metrics,
        classification.score_labels([*rows, *copies], config=config, seed=1).metrics,
    )
    crises = controls.crises()
    given = [{"none": float(p), "self_harm": float(1 - p)} for p in generator.random(len(crises))]
    again = [e.model_copy(update={"id": f"{e.id}/2", "cluster": e.id}) for e in crises]
    config = controls.suite("safety").config
    doubled(
        safety.score_predictions(crises, config=config, tuned=given, base=given[::-1], seed=1).metrics,
        safety.score_predictions([*crises, *again], config=config, tuned=given * 2, base=given[::-1] * 2, seed=1).metrics,
    )


def test_the_loss_of_rows_of_one_conversation_counts_conversations() -> None:
    rows = [DialogueLoss(id=str(i), tokens=20 + i % 7, nats=40.0 + i % 5, base_nats=60.0 + i % 7) for i in range(40)]
    copies = [DialogueLoss(id=f"{r.id}/2", tokens=r.tokens, nats=r.nats, base_nats=r.base_nats, cluster=r.id) for r in rows]
    config = controls.suite("accuracy").config
    doubled(accuracy.score_losses(rows, config=config).metrics, accuracy.score_losses([*rows, *copies], config=config).metrics)
    one = [DialogueLoss(id=str(i), tokens=20, nats=40.0, cluster="same") for i in range(40)]
    assert {metric.tuned for metric in accuracy.score_losses(one, config=config).metrics} == {None}
