"""Suites as data: the shipped ones load, and every fault of a file is named with its place."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.core.errors import PeError
from pe_training.core.ids import digest_file, digest_json
from pe_training.evaluation.conduct import BOUNDARIES
from pe_training.evaluation.examples import CrisisExample, Scenario, clusters_of
from pe_training.evaluation.selection import part, select
from pe_training.evaluation.suites import load_suite, prompts, suite_digest, suite_prompts
from pe_training.settings import SAMPLES

SUITES = SAMPLES / "suites"
CRISIS = {
    "id": "c1",
    "kind": "crisis",
    "crisis_type": "self_harm",
    "crisis_level": "critical",
    "messages": [{"role": "user", "content": "x"}],
}
YAML = """apiVersion: pe-training/suite-v1
name: mine
kind: crisis
version: 1.0.0
description: A test.
examples: examples.jsonl
"""


def write(folder: Path, *lines: object, yaml: str = YAML) -> Path:
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "suite.yaml").write_text(yaml)
    rows = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "mine" / "examples.jsonl").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize(
    ("name", "examples", "questions"), [("accuracy", 0, 0), ("safety", 284, 284), ("fairness", 44, 172), ("therapeutic", 66, 66)]
)
def test_every_shipped_suite_loads(name: str, examples: int, questions: int) -> None:
    suite = load_suite(SUITES, name)
    assert (len(suite.examples), len(prompts(suite.examples))) == (examples, questions)
    assert suite.config.name == name


def test_the_shipped_crisis_suite_can_fill_every_slice() -> None:
    suite = load_suite(SUITES, "safety")
    types = Counter(example.crisis_type for example in suite.examples if isinstance(example, CrisisExample))
    levels = Counter(example.crisis_level for example in suite.examples if isinstance(example, CrisisExample))
    assert len(types) == 11
    assert len(levels) == 5
    assert min(*types.values(), *levels.values()) >= suite.config.min_cell_n
    boundaries = Counter(example.boundary for example in suite.examples if isinstance(example, CrisisExample) and example.boundary)
    assert dict.fromkeys(boundaries.values()) == {10: None}
    assert set(boundaries) == set(BOUNDARIES)


def test_every_group_of_a_shipped_scenario_hears_the_same_words_but_its_own() -> None:
    suite = load_suite(SUITES, "fairness")
    for scenario in suite.examples:
        assert isinstance(scenario, Scenario)
        asked = prompts((scenario,))
        left = {p.messages[0]["content"].replace(scenario.groups[p.group or ""], "*") for p in asked}
        assert len(left) == 1
        assert "{" not in asked[0].messages[0]["content"]
        assert [p.id for p in asked] == [f"{scenario.id}/{group}" for group in sorted(scenario.groups)]


def test_the_digest_is_that_of_the_resolved_manifest_and_follows_every_file(tmp_path: Path) -> None:
    write(tmp_path, CRISIS)
    files = {f"suites/mine/{n}": digest_file(tmp_path / "mine" / n) for n in ("examples.jsonl", "suite.yaml")}
    before = suite_digest(tmp_path, "mine")
    assert before == digest_json(files)
    write(tmp_path, CRISIS | {"id": "c2"})
    assert suite_digest(tmp_path, "mine") != before


def test_an_unknown_suite_is_named_with_the_closest_one() -> None:
    with pytest.raises(PeError, match=r"no suite 'saftey' in .* \(did you mean 'safety'\?\)"):
        load_suite(SUITES, "saftey")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"id": "c2", "messages": CRISIS["messages"]}, "missing key 'kind' (every line has the keys of its kind of suite)"),
        (CRISIS | {"id": "c2", "crisis_typ": "x"}, "unknown key 'crisis_typ' (every line has the keys of its kind of suite)"),
        (CRISIS | {"id": "c2", "crisis_type": "sadness"}, "crisis_type: Input should be 'suicide_ideation'"),
        (CRISIS | {"id": "c2", "kind": "hard_negative"}, "crisis has crisis_type and crisis_level; hard_negative has trap;"),
        (CRISIS | {"id": "c2", "messages": [{"role": "assistant", "content": "x"}]}, "the last message must be the user's"),
        (CRISIS, "id 'c1' is also on line 1 (give it its own id)"),
        (CRISIS | {"id": "c2", "cluster": ""}, "cluster: String should have at least 1 character"),
        ("", "is an empty line (remove it)"),
        ("{not json", "is not one JSON object with distinct keys (one example a line)"),
        ('{"id": "a", "id": "b"}', "is not one JSON object with distinct keys (one example a line)"),
    ],
)
def test_a_wrong_example_is_an_error_with_file_and_line(tmp_path: Path, line: object, complaint: str) -> None:
    write(tmp_path, CRISIS, line, CRISIS | {"id": "c3"})
    with pytest.raises(PeError) as caught:
        load_suite(tmp_path, "mine")
    assert str(caught.value).startswith(f"{tmp_path / 'mine' / 'examples.jsonl'}:2: {complaint}")


def test_variations_of_a_prompt_name_their_cluster_or_the_example_that_they_vary(tmp_path: Path) -> None:
    write(tmp_path, CRISIS, CRISIS | {"id": "c2", "cluster": "c1"}, CRISIS | {"id": "c3", "cluster": "talk"}, CRISIS | {"id": "c4"})
    asked = [example for example in load_suite(tmp_path, "mine").examples if isinstance(example, CrisisExample)]
    assert clusters_of(asked) == ["c1", "c1", "talk", "c4"]
    for own, others, first in ((("c1", "d1", "d2"), (None, "d2", "c1"), "c1"), (("a", "b", "x"), ("b", "a", "b"), "a")):
        chained = [one.model_copy(update={"id": mine, "cluster": of}) for one, mine, of in zip(asked, own, others, strict=False)]
        assert clusters_of(chained) == [first] * 3  # a variation of a variation; two that name each other
    scenario = {"id": "s1", "dimension": "age", "text": "I am {group}.", "groups": {"a": "old", "b": "young"}} | {
        "crisis_type": "none", "crisis_level": "none", "cluster": "x"
    }  # fmt: skip
    write(tmp_path, scenario, yaml=YAML.replace("kind: crisis", "kind: counterfactual"))
    with pytest.raises(PeError, match="unknown key 'cluster'"):  # its pairs are taken as they are, and no setting may be without effect
        load_suite(tmp_path, "mine")


def test_an_error_never_shows_what_a_client_said(tmp_path: Path) -> None:
    private = "a very private sentence"
    write(tmp_path, CRISIS | {"messages": [{"role": "user", "content": private, "mood": private}]})
    with pytest.raises(PeError) as caught:
        load_suite(tmp_path, "mine")
    assert private not in json.dumps(caught.value.to_json())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("examples: examples.jsonl", "examples: ../../etc/passwd.jsonl"), "examples: String should match pattern"),
        (("examples: examples.jsonl", "examples: null"), "a held_out suite has examples: null"),
        (("kind: crisis", "kind: crisis\nstratify_by: [mood]"), "stratify_by names unknown fields: mood"),
        (
            ("kind: crisis", "kind: crisis\ncluster_by: source_key"),
            "cluster_by is for held_out suites; examples of other kinds have",
        ),
        (("name: mine", "name: yours"), "name is 'yours', the folder is 'mine' (make them equal)"),
        (("version: 1.0.0", "version: 1.0.0\nmin_cel_n: 3"), "unknown key 'min_cel_n' (did you mean 'min_cell_n'?)"),
    ],
)
def test_a_wrong_suite_file_is_an_error_with_its_place(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    write(tmp_path, CRISIS, yaml=YAML.replace(*change))
    with pytest.raises(PeError) as caught:
        load_suite(tmp_path, "mine")
    assert complaint.lower() in str(caught.value).lower()
    assert "suite.yaml" in str(caught.value.where)


def test_a_part_of_a_suite_keeps_the_mix_and_the_order_and_repeats() -> None:
    suite = load_suite(SUITES, "safety")
    chosen, use = select(suite, max_examples=86, seed=17)
    assert (use.available, use.used, len(chosen), use.digest) == (284, 86, 86, suite.digest)
    kinds = Counter(example.kind for example in chosen if isinstance(example, CrisisExample))
    assert kinds == {"crisis": 40, "hard_negative": 20, "safe": 11, "boundary_probe": 15}
    types = Counter(example.crisis_type for example in chosen if isinstance(example, CrisisExample) and example.crisis_type)
    assert set(types.values()) <= {3, 4, 5}
    places = [suite.examples.index(example) for example in chosen]
    assert places == sorted(places)
    assert select(suite, max_examples=86, seed=17) == (chosen, use)
    assert select(suite, max_examples=86, seed=18)[1].selection != use.selection
    assert select(suite, max_examples=None, seed=17)[0] == suite.examples


def test_fairness_selects_whole_scenarios_of_every_dimension() -> None:
    chosen, use = select(load_suite(SUITES, "fairness"), max_examples=20, seed=1)
    assert use.used == 20
    dimensions = Counter(example.dimension for example in chosen if isinstance(example, Scenario))
    assert dimensions.keys() == Counter(e.dimension for e in load_suite(SUITES, "fairness").examples if isinstance(e, Scenario)).keys()
    assert len(prompts(chosen)) == sum(len(example.groups) for example in chosen if isinstance(example, Scenario))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 99))
def test_a_part_has_its_size_and_every_stratum_its_share(strata: list[str], size: int, seed: int) -> None:
    items = list(enumerate(strata))
    chosen = part(items, identity=lambda item: str(item[0]), stratum=lambda item: item[1], size=size, seed=seed)
    assert len(chosen) == min(size, len(items))
    assert chosen == sorted(chosen)
    for name, count in Counter(strata).items():
        exact = count * min(size, len(items)) / len(items)
        assert abs(sum(item[1] == name for item in chosen) - exact) < 1


def test_a_folder_of_suites_that_is_not_there_is_an_error_and_not_no_suites(tmp_path: Path) -> None:
    with pytest.raises(PeError, match="no such folder of evaluation suites"):
        suite_prompts(tmp_path / "typo")
