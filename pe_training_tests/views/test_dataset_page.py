"""The data page says what was judged, by whom it is excused and where to look; never a word of a dialogue; hostile names are text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.core.errors import PeError
from pe_training.datasets.accept import accept
from pe_training.datasets.makeup import Makeup, makeup_of
from pe_training.datasets.policy import Waiver
from pe_training.datasets.report import CHECKS, MAX_EXAMPLES, Check, Problem, ValidationReport, check_result
from pe_training.views import words
from pe_training.views.dataset_page import MAX_LINES, SHARES, Faults, faults_of, histograms, render_dataset_page
from pe_training.views.publish import publish_release
from pe_training_tests.datasets.samples import CANARY, SUITES, fresh_state, read, report_on, sample_release, sample_rows, shipped_policy
from pe_training_tests.releases import make_row, write_manifest
from pe_training_tests.views.hostile import HOSTILE


def broken(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in rows[:7]:
        row["metadata"]["license_tag"] = "custom"
    return rows


def failing(problems: list[tuple[str, str]], *, of: int) -> Check:
    """A check with these problems among ``of``, numbered in their places."""
    found = [Problem(check="schema", where=where % at, field="f", message=message) for at, (where, message) in enumerate(problems)]
    return check_result("schema", found, unit="row", failing=of)


def found_makeup(folder: Path, rows: list[dict[str, Any]]) -> Makeup:
    return makeup_of(read(sample_release(folder, rows)).rows)


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
    assert "1 of 25 checks failed on 26 rows:" in html
    found = " ".join(html.split('id="check-licences"')[1].split("</tr>")[0].split())
    assert '<b>The licence of every dialogue must be allowed</b> <code class="name">licences</code>' in found
    assert found.count("this licence is not allowed") == 1
    assert [f"train/part-00000.jsonl:{line}</code>" in found for line in range(1, 8)] == [True] * 5 + [False] * 2
    assert '<li class="soft">and 2 more</li>' in found
    assert ">7 rows</td>" in found
    assert html.index('<code class="name">licences</code>') < html.index('<code class="name">schema</code>')


def test_every_check_has_a_title_in_plain_words() -> None:
    assert tuple(words.CHECKS) == CHECKS
    assert len(set(words.CHECKS.values())) == len(CHECKS)
    assert all("_" not in title for title in words.CHECKS.values())
    assert words.check("one_of_tomorrow") == "One of tomorrow"
    assert set(SHARES) < set(CHECKS)


def test_equal_faults_are_one_line_and_what_is_not_listed_is_counted_apart() -> None:
    one = faults_of(failing([("row:%d", "wrong")] * 20, of=37))
    assert [(len(line.where), line.more) for line in one.lines] == [(5, 0)]
    assert one.more == 32
    two = faults_of(failing([("row:%d", "wrong"), ("row:%d", "missing")] * 7, of=30))
    assert [(line.message, line.where[:2], line.more) for line in two.lines] == [
        ("wrong", ("row:0", "row:2"), 2),
        ("missing", ("row:1", "row:3"), 2),
    ]
    assert two.more == 16
    assert faults_of(failing([], of=0)) == Faults(lines=(), more=0)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=MAX_EXAMPLES), st.integers(0, 50))
def test_every_fault_is_in_a_line_or_counted(messages: list[str], unlisted: int) -> None:
    found = faults_of(failing([("row:%d", message) for message in messages], of=len(messages) + unlisted))
    assert sum(len(line.where) + line.more for line in found.lines) + found.more == len(messages) + unlisted
    assert len({line.message for line in found.lines}) == len(found.lines) <= MAX_LINES
    assert found.more >= unlisted


@pytest.mark.parametrize(
    ("observed", "threshold", "shown"),
    [(0.904, 0.9, ("90.4 %", "at least 90 %")), (0.8999, 0.9, ("89.99 %", "at least 90 %")), (1.0, 0.975, ("100 %", "at least 97.5 %"))],
)
def test_a_share_never_reads_as_its_bound_unless_it_is(tmp_path: Path, observed: float, threshold: float, shown: tuple[str, str]) -> None:
    report = report_on(sample_release(tmp_path))
    figures = {"observed": observed, "threshold": threshold}
    checks = tuple(check.model_copy(update=figures) if check.name == "distinct_content" else check for check in report.checks)
    row = page(report.model_copy(update={"checks": checks})).split('id="check-distinct_content"')[1].split("</tr>")[0]
    assert all(text.replace(" %", "\N{NO-BREAK SPACE}%") in row for text in shown)


def test_bars_of_all_splits_are_drawn_on_one_scale(tmp_path: Path) -> None:
    rows = sample_rows()
    for row in rows[:11]:
        row["metadata"]["split"] = "test"
    rows += [make_row([("user", "word " * 90), ("assistant", "so")], split="val")]
    lengths = found_makeup(tmp_path, rows).words
    heights = {}
    for split, found, drawing in histograms(lengths, "words"):
        bars = [(float(x), float(tall)) for x, tall in re.findall(r'class="bar" x="([0-9.]+)" .*? height="([0-9.]+)"', drawing)]
        heights[split] = bars
        total = sum(each.rows for each in found.bins)
        for each, (_, tall) in zip(found.bins, bars, strict=True):
            assert tall == pytest.approx(106 * each.rows / total, abs=0.06)  # 106: of a bar of the highest share, which is 1 here
    assert len({tuple(x for x, _ in bars) for bars in heights.values()}) == 1


def test_a_waiver_is_shown_with_its_owner_and_its_end(tmp_path: Path) -> None:
    waiver = Waiver(
        check="licences", dataset="sample-dialogues", max_failing=7, owner="legal", reason="under negotiation", expires="2030-01-01"
    )
    html = page(report_on(sample_release(tmp_path, broken(sample_rows())), shipped_policy(waivers=[waiver])), "ds_" + "0" * 32)
    assert "! Waived" in html
    assert "waived by legal until 2030-01-01: under negotiation" in html
    assert "Not without remarks" in html
    assert '<a href="#check-licences">The licence of every dialogue must be allowed</a> <span class="soft">(7 rows)</span>' in html


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
