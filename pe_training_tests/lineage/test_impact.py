"""What contains this: every selector, models by the page, all stages, past lines that have nothing to do with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.recall import parse_selector
from pe_training.lineage import impact as room
from pe_training.lineage.impact import impact_of
from pe_training.lineage.recall import impact as would_recall
from pe_training.lineage.recall import recall
from pe_training_tests.lineage import recalling


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> recalling.World:
    return recalling.make_world(tmp_path_factory.mktemp("world"))


SELECTORS = {
    "a family": ("family:cptsd", ("one",)),
    "a licence": ("licence:reddit_cc", ("two",)),
    "a source key of one": ("source_key:s3://three/part.jsonl", ("three",)),
    "a source key of two": (f"source_key:{recalling.SHARED}", ("one", "two")),
    "a release": ("two@v1", ("two",)),
}


@pytest.mark.parametrize(("text", "names"), SELECTORS.values(), ids=SELECTORS)
def test_every_selector_of_a_recall_names_what_a_recall_would_taint(world: recalling.World, text: str, names: tuple[str, ...]) -> None:
    found = impact_of(world.state, text)
    assert set(found.holders) == {world.datasets[name].id for name in names}
    assert {model.id for model in found.models} == {model.chain.checkpoint.id for name in names for model in world.models[name]}
    tainted = would_recall(world.state, parse_selector(text, state=world.state), reason="none", actor="ada").tainted
    assert found.counts == {kind: len(ids) for kind, ids in tainted.items()}
    held = {(held.line, held.stage, held.checkpoint_id) for held in found.stages}
    assert held == {(name, stage, world.models[name][1].chain.checkpoint.id) for name in names for stage in ("training", "staging")}
    assert {model.id: model.stages for model in found.models}[world.models[names[0]][1].chain.checkpoint.id] == ("staging", "training")


def test_a_row_and_any_record_can_be_asked_about(world: recalling.World) -> None:
    assert impact_of(world.state, recalling.row_digest(world, "one")).holders == (world.datasets["one"].id,)
    model = world.models["two"][0]
    found = impact_of(world.state, model.chain.manifest.id[:14])
    assert (found.what, found.counts) == (f"manifest {model.chain.manifest.id[:13]}", {"mf": 1, "pd": 1})
    assert (found.models, found.stages) == ((), ())
    assert impact_of(world.state, model.chain.run.id).counts == {"run": 1, "ck": 1, "ev": 1, "pd": 1}


def test_models_come_by_the_page_newest_first_and_counts_and_stages_are_whole(
    world: recalling.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "STREAMED_ROWS", 3)
    whole = impact_of(world.state, f"source_key:{recalling.SHARED}")
    seqs = [model.seq for model in whole.models]
    assert seqs == sorted(seqs, reverse=True)
    pages, before = [], None
    for _ in range(3):
        page = impact_of(world.state, f"source_key:{recalling.SHARED}", before=before, limit=2)
        assert (page.counts, page.stages) == (whole.counts, whole.stages)
        pages.append(page.models)
        before = page.next_before
        if before is None:
            break
    assert tuple(model for page in pages for model in page) == whole.models
    assert len(pages) == 2


def test_a_tainted_model_is_told_as_such(tmp_path: Path) -> None:
    world = recalling.make_world(tmp_path)
    recall(world.state, parse_selector("family:cptsd", state=world.state), reason="consent", actor="ada")
    assert {model.recalls for model in impact_of(world.state, "family:cptsd").models} == {(1,)}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("family:nobody", Kind.NOT_FOUND),
        ("nonsense", Kind.INPUT),
        ("ck_00", Kind.NOT_FOUND),
        ("sha256:12", Kind.INPUT),
        ("one@v9", Kind.NOT_FOUND),
    ],
)
def test_what_names_nothing_is_an_error_with_a_hint(world: recalling.World, text: str, kind: Kind) -> None:
    with pytest.raises(PeError) as caught:
        impact_of(world.state, text)
    assert (caught.value.kind, bool(caught.value.hint)) == (kind, True)
