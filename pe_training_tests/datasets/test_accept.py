"""Accepting: once per release, all or nothing, and found again by name, version and id."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets import accept as accepting
from pe_training.datasets.accept import accept, find_release, origins, preview, resolve_version
from pe_training.datasets.checks import judge
from pe_training.datasets.policy import ReleasePolicy
from pe_training.datasets.read import verify_dataset
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.release import Release, release_digest
from pe_training.datasets.report import ValidationReport
from pe_training.lineage.trace import trace_up
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training_tests.datasets.samples import CANARY, NAME, SUITES, fresh_state, sample_release, sample_rows
from pe_training_tests.datasets.test_seal import flip_a_byte, stored


def known_facts(state: State) -> tuple[int, int, int]:
    with state.registry.reading() as connection:
        tables = (t.releases, t.records, t.attachments)
        releases, records, attachments = (
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables
        )
    return releases, records, attachments


def refused_release(folder: Path, **options: str) -> Path:
    rows = sample_rows()
    rows[0]["metadata"]["license_tag"] = "custom"
    return sample_release(folder, rows, **options)


def changed_release(folder: Path, **options: str) -> Path:
    return sample_release(folder, sample_rows()[1:], **options)


def test_a_correct_release_becomes_a_dataset_version(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    folder = sample_release(tmp_path)
    acceptance = accept(folder, suites=SUITES, state=state)
    dataset = acceptance.sealed()
    assert state.registry.get(dataset.id, type(dataset)) == dataset
    assert [file.path for file in state.registry.attachments(dataset.id)] == sorted(shard.path for shard in dataset.shards)
    known = find_release(state, release_digest(folder))
    assert known is not None
    assert (known.name, known.version, known.outcome, known.dataset_id) == (NAME, "v1.0.0", "accepted", dataset.id)
    assert acceptance.release_digest == known.digest
    assert verify_dataset(dataset, state=state) == 26


def test_a_refused_release_leaves_its_report_and_no_dataset(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    acceptance = accept(refused_release(tmp_path), suites=SUITES, state=state)
    assert acceptance.dataset is None
    assert known_facts(state) == (1, 0, 0)
    with pytest.raises(PeError) as caught:
        acceptance.sealed()
    assert caught.value.to_json() == {
        "kind": "refused",
        "message": "release sample-dialogues v1.0.0 refused: 1 of 25 checks failed: licences (1 row)",
        "where": "train/part-00000.jsonl:1:metadata.license_tag",
        "hint": "this licence is not allowed",
    }


def test_the_same_bytes_again_give_the_stored_outcome_without_validating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = fresh_state(tmp_path / "home")
    folders = (sample_release(tmp_path), refused_release(tmp_path, version="v1.0.1"))
    first = [accept(folder, suites=SUITES, state=state) for folder in folders]
    facts = known_facts(state)
    monkeypatch.setattr(accepting, "judge", None)
    assert [accept(shutil.copytree(folder, tmp_path / "copies" / folder.name), suites=SUITES, state=state) for folder in folders] == first
    assert known_facts(state) == facts


def test_two_at_once_accept_it_once(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    folder = sample_release(tmp_path)
    state.registry.close()
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(accept, folder, suites=SUITES, state=fresh_state(tmp_path / "home")) for _ in range(2)]
        ids = {future.result().sealed().id for future in found}
    assert len(ids) == 1
    assert known_facts(state) == (1, 1, 3)


def test_a_write_that_fails_leaves_the_registry_as_it_was_and_can_be_repeated(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    dataset = accept(folder, suites=SUITES, state=fresh_state(tmp_path / "elsewhere")).sealed()
    for shard in dataset.shards:
        state = fresh_state(tmp_path / f"home-{shard.split}")
        in_the_way = state.settings.root / "artifacts" / "sha256" / shard.digest[7:9]
        in_the_way.parent.mkdir(parents=True)
        in_the_way.touch()
        with pytest.raises(PeError) as caught:
            accept(folder, suites=SUITES, state=state)
        assert caught.value.kind == Kind.INFRASTRUCTURE
        assert known_facts(state) == (0, 0, 0)
        in_the_way.unlink()
        assert accept(folder, suites=SUITES, state=state).sealed() == dataset


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_stored_shard_that_is_not_whole_is_told_when_it_is_accepted_again(tmp_path: Path, damage: str) -> None:
    state = fresh_state(tmp_path / "home")
    folder = sample_release(tmp_path)
    dataset = accept(folder, suites=SUITES, state=state).sealed()
    path = stored(state, dataset.shards[1])
    if damage == "missing":
        path.unlink()
    else:
        flip_a_byte(path)
    with pytest.raises(PeError) as caught:
        accept(folder, suites=SUITES, state=state)
    reason = "is missing" if damage == "missing" else "does not match its digest"
    assert caught.value.kind == Kind.CORRUPT
    shard = dataset.shards[1]
    whole = f"{short(dataset.id)} is registered, but its data/val-00000.parquet is not whole"
    assert caught.value.message == f"{whole}: artifact {short(shard.digest)} {reason}"


def test_an_accepted_version_cannot_come_to_mean_other_rows(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    dataset = accept(sample_release(tmp_path / "a"), suites=SUITES, state=state).sealed()
    facts = known_facts(state)
    with pytest.raises(PeError) as caught:
        accept(changed_release(tmp_path / "b"), suites=SUITES, state=state)
    assert caught.value.kind == Kind.CONFLICT
    assert caught.value.message == f"sample-dialogues v1.0.0 was already accepted with other rows ({short(dataset.id)})"
    assert known_facts(state) == facts


def test_a_refused_version_can_be_released_again_and_other_files_of_the_same_rows_are_the_same_dataset(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    accept(refused_release(tmp_path / "a"), suites=SUITES, state=state)
    dataset = accept(sample_release(tmp_path / "b"), suites=SUITES, state=state).sealed()
    assert accept(sample_release(tmp_path / "c", format="parquet"), suites=SUITES, state=state).sealed().id == dataset.id
    assert known_facts(state) == (3, 1, 3)


def test_a_version_is_found_by_latest_by_name_and_by_id(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    old = accept(sample_release(tmp_path), suites=SUITES, state=state).sealed()
    new = accept(changed_release(tmp_path, version="v1.1.0"), suites=SUITES, state=state).sealed()
    accept(refused_release(tmp_path, version="v1.2.0"), suites=SUITES, state=state)
    accept(sample_release(tmp_path / "again", format="jsonl.gz"), suites=SUITES, state=state)  # the old rows do not become the latest
    wanted = {"latest": new, "v1.1.0": new, "v1.0.0": old, old.id: old, short(old.id): old}
    assert {version: resolve_version(state, name=NAME, version=version).id for version in wanted} == {v: d.id for v, d in wanted.items()}


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    with pytest.raises(PeError) as caught:
        resolve_version(state, name=NAME, version="latest")
    assert str(caught.value) == "no accepted version of dataset 'sample-dialogues' (none is accepted yet: `pe dataset add PATH`)"
    dataset = accept(sample_release(tmp_path), suites=SUITES, state=state).sealed()
    accept(refused_release(tmp_path, version="v1.2.0"), suites=SUITES, state=state)
    told = {
        ("sample-dialogs", "latest"): "no accepted version of dataset 'sample-dialogs' (did you mean 'sample-dialogues'?)",
        (NAME, "v1.0"): "no accepted version 'v1.0' of dataset 'sample-dialogues' (did you mean 'v1.0.0'?)",
        (NAME, "v1.2.0"): "no accepted version 'v1.2.0' of dataset 'sample-dialogues' (it was refused) (did you mean 'v1.0.0'?)",
        (NAME, "ds_0000"): "no dataset version ds_0000 (`pe ls ds` lists those there are)",
        ("other", dataset.id): f"{short(dataset.id)} is a version of 'sample-dialogues', not of 'other' (check the name)",
    }
    for (name, version), text in told.items():
        with pytest.raises(PeError) as caught:
            resolve_version(state, name=name, version=version)
        assert str(caught.value) == text


def test_no_word_of_a_dialogue_reaches_the_registry_or_a_report(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    accept(sample_release(tmp_path), suites=SUITES, state=state)
    acceptance = accept(refused_release(tmp_path, version="v1.0.1"), suites=SUITES, state=state)
    state.registry.close()
    assert CANARY not in acceptance.report.model_dump_json()
    for path in (tmp_path / "home").glob("registry.sqlite*"):
        assert CANARY.encode() not in path.read_bytes()


def test_a_version_knows_its_release_and_the_version_before_it_for_ever(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    rows = sample_rows()
    first = accept(sample_release(tmp_path / "a", rows), suites=SUITES, state=state)
    second = accept(sample_release(tmp_path / "b", rows[1:], version="v1.1.0"), suites=SUITES, state=state)
    again = accept(sample_release(tmp_path / "c", rows, version="v1.2.0"), suites=SUITES, state=state)
    one, two = first.sealed().id, second.sealed().id
    assert again.sealed().id == one
    assert origins(state, one) == {"release": again.release_digest}  # a later release of the same rows makes no circle
    assert origins(state, two) == {"release": second.release_digest, "previous": one}
    tree = trace_up(state, two)
    assert [(child.kind, child.id, child.label) for child in tree.children] == [
        ("release", second.release_digest, f"{NAME} v1.1.0 (accepted)"),
        ("ds", one, f"{NAME} (the version before)"),
    ]


def test_a_release_that_is_judged_again_is_compared_with_what_was_there_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = fresh_state(tmp_path / "home")
    rows, compared = sample_rows(), []
    paths = [sample_release(tmp_path / version, rows[n:], version=version) for n, version in enumerate(("v1.0.0", "v1.1.0", "v1.2.0"))]
    made = [accept(path, suites=SUITES, state=state).sealed().id for path in paths]

    def noted(release: Release, policy: ReleasePolicy, *, previous: DatasetVersion | None) -> ValidationReport:
        compared.append(previous.id if previous else None)
        return judge(release, policy, previous=previous)

    monkeypatch.setattr("pe_training.datasets.accept.judge", noted)
    for path in paths:
        preview(path, suites=SUITES, state=state)
    assert compared == [None, made[0], made[1]]
