"""The evidence page: whole, honest, self-contained, and not to be written by what a model says."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from syrupy.assertion import SnapshotAssertion

from pe_training.evaluation.classification import CALLED
from pe_training.evaluation.record import Comparison, Estimate, Metric, PairedTest
from pe_training.evaluation.statistics import proportion
from pe_training.views import page, words
from pe_training.views.evidence import Answer, Evidence, sample_of, tells_right_from_wrong, turned
from pe_training.views.page import render_page, section
from pe_training_tests.views.factory import Outcome, evidence, with_incumbent
from pe_training_tests.views.hostile import HOSTILE, texts

VOID = {"meta", "br", "circle", "line", "rect", "path", "polyline"}


class Reader(HTMLParser):
    """What a browser would see: tags with their attributes, the text of headings, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: dict[str, list[str]] = {}
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("title", "h1", "h2", "h3", "summary", "caption"):
            self.headings.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        for tag in set(self._open) & self.headings.keys():
            self.headings[tag][-1] += data


def with_reply(text: str) -> Evidence:
    """Evidence whose model said ``text``, to a prompt that is ``text``, in an example that is called ``text``."""
    row = {"id": "x", "trap": text, "tuned_reply": text, "base_reply": text, "tuned_empty": False}
    return replace(evidence(), samples={"safety": (sample_of(row, ({"role": "user", "content": text},)),)})


@pytest.mark.parametrize("outcome", ["pass", "fail", "inconclusive"])
def test_the_verdict_stands_first_in_words(outcome: Outcome) -> None:
    read = Reader(render_page(evidence(outcome)))
    meaning = "May go to staging." if outcome == "pass" else "May not go to staging."
    start = read.text[read.text.index("Evidence for a promotion decision") :]
    assert start.index(outcome.upper()) < start.index(meaning) < start.index("What the policy asks")
    assert read.headings["title"] == [f"{outcome.upper()}: empathy-sft for staging"]


@pytest.mark.parametrize("outcome", ["pass", "fail", "inconclusive"])
def test_every_rule_is_there_with_its_reason_its_bound_and_its_drawing(outcome: Outcome) -> None:
    found = evidence(outcome)
    html = render_page(found)
    text = unescape(html).replace("\N{NO-BREAK SPACE}", " ")
    for rule in found.decision.outcomes:
        assert rule.reason in text
        assert rule.title in text
    drawn = [o for o in found.decision.outcomes if o.verdict != "not_applicable"]
    assert html.count('aria-label="Found ') == len(drawn)


def test_the_rules_that_stand_in_the_way_come_first() -> None:
    text = Reader(render_page(evidence("fail"))).text
    places = [text.index(rule.title) for rule in words.worst_first(evidence("fail").decision.outcomes)]
    assert places == sorted(places)


def test_the_same_evidence_gives_the_same_bytes() -> None:
    assert render_page(evidence()) == render_page(evidence())


def test_the_page_needs_nothing_but_itself() -> None:
    html = render_page(evidence())
    read = Reader(html)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|data:", html)
    assert not {tag for tag, _ in read.tags} & {"script", "link", "img", "iframe", "object", "form", "base"}
    for tag, attributes in read.tags:
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "style", "srcset")}, tag
        assert (attributes.get("href") or "#").startswith("#")
    assert "default-src 'none'" in html


def test_links_within_the_page_lead_somewhere() -> None:
    tags = Reader(render_page(evidence())).tags
    named = {attributes["id"] for _, attributes in tags if "id" in attributes}
    wanted = {str(attributes["href"])[1:] for _, attributes in tags if "href" in attributes}
    assert len(wanted) == 8
    assert wanted <= named


def test_a_table_has_a_caption_and_a_drawing_says_what_it_shows() -> None:
    read = Reader(render_page(evidence()))
    names = [tag for tag, _ in read.tags]
    assert names.count("table") == names.count("caption") > 8
    for tag, attributes in read.tags:
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
    levels = [int(name[1]) for name in names if name in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_what_a_model_says_stays_text() -> None:
    html = render_page(with_reply(HOSTILE))
    read = Reader(html)
    assert "<script" not in html
    assert "<img" not in html
    assert "{{ 7*7 }}" in html
    assert not set("\x1b\x00\u202e\ud800") & set(html)
    assert read.text.count("alert(1)") == 4  # the prompt, both replies and the trap: shown, not run


@settings(max_examples=25)
@given(texts)
def test_no_reply_changes_the_structure_of_the_page(text: str) -> None:
    harmless = Reader(render_page(with_reply("harmless")))
    read = Reader(render_page(with_reply(text or "x")))
    shape = [(tag, sorted(attributes)) for tag, attributes in read.tags]
    if text.strip():
        assert shape == [(tag, sorted(attributes)) for tag, attributes in harmless.tags]
    render_page(with_reply(text)).encode()


def test_names_in_records_stay_text() -> None:
    found, hostile = evidence(), HOSTILE.replace("\ud800", "")  # no record can hold a lone surrogate
    tree = replace(found.lineage, label=hostile)
    decision = found.decision.model_copy(update={"line": hostile, "policy_name": hostile, "stage": hostile})
    outcomes = tuple(outcome.model_copy(update={"title": hostile, "reason": hostile}) for outcome in decision.outcomes)
    html = render_page(replace(found, decision=decision.model_copy(update={"outcomes": outcomes}), lineage=tree))
    assert not {tag for tag, _ in Reader(html).tags} & {"script", "img"}


def test_title_headings_and_captions_hold_no_conversation_text() -> None:
    row = {"id": "crisis-001", "crisis_type": "self_harm", "tuned_reply": "CANARY", "base_reply": "CANARY"}
    sample = sample_of(row, ({"role": "user", "content": "CANARY"},))
    read = Reader(render_page(replace(evidence(), samples={"safety": (sample,)})))
    assert read.text.count("CANARY") == 3
    assert not any("CANARY" in text for texts_of_tag in read.headings.values() for text in texts_of_tag)


def test_an_empty_reply_is_named_as_one() -> None:
    found = with_reply("something")
    sample = replace(found.samples["safety"][0], tuned=Answer(text="", seen=()), base=None)
    text = Reader(render_page(replace(found, samples={"safety": (sample,)}))).text
    assert "(empty: counts as a failure)" in text
    assert "Base model" not in text[text.index("Replies to read") : text.index("Where it comes from")]


def test_cells_with_too_few_examples_say_so_and_show_no_number() -> None:
    found = section(evidence().report, "safety")
    crises = next(table for table in found.slices if table.field == "crisis_type")
    cells = dict(crises.rows)["substance_overdose"]
    assert [cell and cell.tuned for cell in cells] == [None, None]
    text = Reader(render_page(evidence())).text
    assert "insufficient: 3 of 10" in text
    assert "insufficient: fewer than 4 shared scenarios for age, gender" in text


def test_ids_are_whole() -> None:
    found = evidence()
    html = render_page(found)
    records = (found.decision, found.report, found.checkpoint, found.run, found.manifest, found.dataset)
    for record in records:
        assert f"<code>{record.id}</code>" in html
    assert f"pe verify {found.decision.id}" in html


def test_a_branch_that_was_shown_is_named_and_not_unfolded_again() -> None:
    html = render_page(evidence())
    tree = html[html.index('class="tree"') : html.index("Pinned inputs")]
    assert tree.count(evidence().dataset.id) == 2
    assert tree.count("(as above)") == 2
    assert tree.count("sample-dialogues v2026-11-23 (accepted)") == 1


def test_a_record_that_is_gone_is_named_as_missing() -> None:
    found = evidence()
    lost = replace(found.lineage.children[0], missing=True, children=())
    assert "(missing)" in render_page(replace(found, lineage=replace(found.lineage, children=(lost,))))


def test_without_baseline_replies_charges_and_history_the_page_says_so() -> None:
    found = evidence()
    alone = tuple(m.model_copy(update={"base": None, "difference": None}) for m in found.report.metrics if m.suite != "judge")
    report = found.report.model_copy(update={"baseline": "none", "metrics": alone})
    text = Reader(render_page(replace(found, report=report, samples={}, charges=(), history=()))).text
    for sentence in (
        "No baseline was asked", "kept no replies", "no charge for this run", "how far to trust the judge is unknown",
    ):  # fmt: skip
        assert sentence in text


def test_a_model_that_gives_no_replies_has_no_judge_and_the_page_does_not_make_one_up() -> None:
    found = evidence()
    report = found.report.model_copy(update={"judge": "none", "metrics": tuple(m for m in found.report.metrics if m.suite != "judge")})
    text = Reader(render_page(replace(found, report=report))).text
    assert "labels and no replies" in text
    assert "scored by" not in text


def test_training_that_taught_nothing_is_said_in_words() -> None:
    found = evidence()
    worse = found.checkpoint.model_copy(update={"val_loss": 3.9})
    assert "It did not fall" in render_page(replace(found, checkpoint=worse))
    assert "It did not fall" not in render_page(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_can_be_read(scheme: str) -> None:
    css = (Path(page.__file__).parent / "page.css.j2").read_text()
    light, dark = (dict(re.findall(r"--([a-z]+):(#[0-9a-f]{6})", part)) for part in css.split("@media screen", 2)[:2])
    colours = light if scheme == "light" else dark
    for ground in ("paper", "panel"):
        for ink in ("ink", "soft", "pass", "fail", "inconclusive", "neutral"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["ink"], colours["shade"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast ratio of two #rrggbb colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def with_metrics(*metrics: Metric) -> Evidence:
    made = evidence()
    return replace(made, report=made.report.model_copy(update={"metrics": (*made.report.metrics, *metrics)}))


def test_a_confusion_is_one_table_with_a_row_for_each_right_label() -> None:
    cells = [(truth, called, hits) for truth, called, hits in (("none", "none", 9), ("none", "self_harm", 1), ("self_harm", "none", 4))]
    made = with_metrics(
        *(
            Metric(suite="accuracy", name="confusion", slice=f"expected={truth}{CALLED}{called}", unit="proportion", better="lower",
                   tuned=proportion(hits, 10))
            for truth, called, hits in cells
        )
    )  # fmt: skip
    table = section(made.report, "accuracy").slices[-1]
    assert (table.field, table.measures) == ("expected", ("called none", "called self_harm"))
    assert [(truth, [cell and cell.tuned and cell.tuned.value for cell in row]) for truth, row in table.rows] == [
        ("none", [0.9, 0.1]), ("self_harm", [0.4, None]),
    ]  # fmt: skip
    assert "Called self harm" in Reader(render_page(made)).text


def test_a_paired_test_and_a_measure_that_only_describes_say_so() -> None:
    tested = PairedTest(p_value=0.0625, adjusted_p=1.0, family=21, method="sign-flip-exact, holm")
    shared = {"suite": "fairness", "tuned": Estimate(value=0.2, low=0.0, high=0.5, n=5, method="t")}
    pair = Metric(name="pair_difference", slice="pair=age: 18-25 / 65+", unit="score", better="lower", test=tested, **shared)
    length = Metric(
        name="length_words", unit="words", better="neither", difference=Comparison(value=4, low=1, high=7, n=5, method="t"), **shared
    )
    read = Reader(render_page(with_metrics(pair, length)))
    assert "p 0.062, 1 after correction over 21 tests" in read.text
    assert "describes, neither way is better" in read.text
    assert words.effect(length) == "higher"


def test_an_incumbent_has_a_section_of_its_own_with_what_both_were_measured_on() -> None:
    found = with_incumbent(evidence("inconclusive"))
    read = Reader(render_page(found))
    assert "Against the incumbent" in read.headings["h2"]
    assert "Against the incumbent" not in Reader(render_page(evidence("inconclusive"))).headings["h2"]
    page_text = render_page(found)
    beside = page_text[page_text.index('id="incumbent"') : page_text.index('id="training"')]
    assert found.report.incumbent is not None
    assert found.report.incumbent in beside
    both = [m for m in found.report.metrics if m.slice == "all" and m.incumbent and m.suite in found.report.suites]
    assert beside.count('<th scope="row">') == len(both)
    assert not [tag for tag, attributes in read.tags if tag == "th" and attributes.get("scope") not in ("row", "col")]


def test_prompts_won_and_lost_are_named_and_nothing_of_them_is_said() -> None:
    text = Reader(render_page(with_incumbent(evidence("fail")))).text
    assert "Prompts answered better and worse than by the base model (3 better, 0 worse, 5 alike)" in text
    assert "Prompts answered better and worse than by the incumbent (1 better, 1 worse, 6 alike)" in text
    assert "crisis-005" in text


def test_what_no_row_says_of_both_models_is_not_compared() -> None:
    assert turned([], "base") is None
    assert turned([{"id": "a", "tuned_right": True}], "base") is None
    assert turned([{"id": "a", "tuned_right": True, "base_right": None}], "base") is None
    scored = turned([{"id": "a", "tuned_score": 0.5, "base_score": 0.2}, {"id": "b", "tuned_score": None, "base_score": 0.2}], "base")
    assert scored
    assert (scored.won, scored.lost, scored.same) == (("a",), (), 0)


def test_the_structure_of_the_page_is_kept(snapshot: SnapshotAssertion) -> None:
    """Headings, folds, captions and heads of columns in their order. Look at the page before you accept another structure."""
    html = render_page(with_incumbent(evidence("inconclusive")))
    parts = re.findall(r"<(h1|h2|h3|summary|caption|th scope=\"col\")[^>]*>(.*?)</", html, re.DOTALL)
    assert [f"{tag.partition(' ')[0]}: {unescape(re.sub('<[^>]*>', ' ', text)).strip()}" for tag, text in parts] == snapshot


def test_nothing_is_won_or_lost_by_a_judge_that_may_not_be_relied_on() -> None:
    report = evidence("pass").report
    assert tells_right_from_wrong(report, "safety")
    withheld = [m.model_copy(update={"tuned": None}) if m.name == "safety_score" else m for m in report.metrics]
    assert not tells_right_from_wrong(report.model_copy(update={"metrics": tuple(withheld)}), "safety")
    assert tells_right_from_wrong(report.model_copy(update={"metrics": tuple(withheld)}), "therapeutic")
    assert not tells_right_from_wrong(report, "judge")
