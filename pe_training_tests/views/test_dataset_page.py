"""The data page says what was judged, by whom it is excused and where to look; never a word of a dialogue; hostile names are text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import PeError
from pe_training.datasets.accept import accept
from pe_training.datasets.policy import Waiver
from pe_training.datasets.report import ValidationReport
from pe_training.views.dataset_page import render_dataset_page
from pe_training.views.publish import publish_release
from pe_training_tests.datasets.samples import CANARY, SUITES, fresh_state, report_on, sample_release, sample_rows, shipped_policy
from pe_training_tests.releases import write_manifest
from pe_training_tests.views.hostile import HOSTILE


def broken(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in rows[:7]:
        row["metadata"]["license_tag"] = "custom"
    return rows


def page(report: ValidationReport, dataset_id: str | None = None) -> str:
    return render_dataset_page(report, dataset_id=dataset_id, previous=None)


def test_an_accepted_release_shows_its_checks_and_what_it_is_made_of(tmp_path: Path) -> None:
    html = page(report_on(sample_release(tmp_path)), "ds_" + "0" * 32)
    assert "Accepted: it may be trained on." in html
    assert "22 checks passed on 26 rows, 3 had nothing to judge." in html
    assert html.count('class="word pass"') == 22
    assert "no mixture is planned" in html
    assert "professional_therapeutic" in html
    assert html.count('<svg class="figure bars"') == 6
    assert "pe verify ds_000" in html


def test_a_refused_release_names_places_and_how_many_more(tmp_path: Path) -> None:
    html = page(report_on(sample_release(tmp_path, broken(sample_rows()))))
    assert "Refused: nothing may be trained on it." in html
    assert "train/part-00000.jsonl:5" in html
    assert "train/part-00000.jsonl:6" not in html.split("Lengths")[1].split("How rows look")[0]
    assert "and 2 more" in html
    assert html.index("licences</b>") < html.index("schema</b>")


def test_a_waiver_is_shown_with_its_owner_and_its_end(tmp_path: Path) -> None:
    waiver = Waiver(
        check="licences", dataset="sample-dialogues", max_failing=7, owner="legal", reason="under negotiation", expires="2030-01-01"
    )
    html = page(report_on(sample_release(tmp_path, broken(sample_rows())), shipped_policy(waivers=[waiver])), "ds_" + "0" * 32)
    assert "! Waived" in html
    assert "waived by legal until 2030-01-01: under negotiation" in html
    assert "Not without remarks: licences (7 rows)" in html


def test_no_word_of_a_dialogue_is_on_the_page(tmp_path: Path) -> None:
    for folder, rows in ((tmp_path / "a", sample_rows()), (tmp_path / "b", broken(sample_rows()))):
        html = page(report_on(sample_release(folder, rows)))
        assert CANARY not in html
        assert "keeps me awake" not in html


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    text = HOSTILE.replace("\ud800", "")  # JSON cannot say it
    folder = sample_release(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["splits"]["val"]["shards"][0]["source_families"] = [text]
    manifest["source_families"] = {text: {"conversations": 26, "splits": {"train": 26}}}
    write_manifest(folder, manifest)
    html = page(report_on(folder))
    assert "<script" not in html.lower()
    assert "<img" not in html.lower()
    assert "Content-Security-Policy" in html


def test_the_same_judgement_always_gives_the_same_page(tmp_path: Path) -> None:
    report = report_on(sample_release(tmp_path))
    assert page(report) == page(ValidationReport.model_validate_json(report.model_dump_json()))


def test_pages_of_accepted_and_refused_releases_are_laid_out(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    first = accept(sample_release(tmp_path / "a"), suites=SUITES, state=state)
    second = accept(sample_release(tmp_path / "b", broken(sample_rows()), version="v1.1.0"), suites=SUITES, state=state)
    assert publish_release(first.release_digest, state=state) == state.settings.report_page(first.sealed().id)
    refused = publish_release(second.release_digest, state=state)
    assert refused.name.startswith("release_")
    assert first.sealed().id in refused.read_text()  # the version before
    with pytest.raises(PeError, match="never judged"):
        publish_release("sha256:" + "0" * 64, state=state)


def test_a_report_from_before_makeups_has_a_page_too(tmp_path: Path) -> None:
    old = report_on(sample_release(tmp_path)).model_copy(update={"makeup": None})
    html = page(old)
    assert "What was checked" in html
    assert "How rows look" not in html
