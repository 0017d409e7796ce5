"""The lineage page and Mermaid text: every record once, hostile labels plain, and a drawing that crosses no box."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, sync_playwright

from pe_training.lineage.trace import Tree
from pe_training.views.layered import layered
from pe_training.views.lineage_page import render_lineage_page
from pe_training.views.mermaid import mermaid
from pe_training_tests.e2e.test_ui import CHROMIUM_FLAGS

HOSTILE = '<script>alert(1)</script>"]; click n0 "javascript:x" \u202e\x1b[31m'


def node(kind: str, digit: str, *children: Tree, role: str = "", label: str = "talks") -> Tree:
    return Tree(id=f"{kind}_{digit * 32}", kind=kind, label=label, role=role, children=children, made_at="2026-01-02T03:04:05Z")


def up_and_down(label: str = "talks") -> tuple[Tree, Tree]:
    """A tainted, promoted checkpoint with its past and its future."""
    data = replace(node("ds", "1", role="dataset", label=label), recalls=(3,))
    root = replace(node("ck", "3", node("run", "2", data, role="run")), recalls=(3,), stages=("staging",))
    decision = replace(node("pd", "6", role="checkpoint"), verdict="fail")
    report = node("ev", "5", replace(decision, role="report"), role="checkpoint")
    below = replace(root, children=(decision, report), truncated=True, hidden={"ev": 1200}, uncounted=True)
    return root, below


def page(label: str = "talks", *, at: str | None = None) -> str:
    return render_lineage_page(*up_and_down(label), at=at)


def test_every_record_is_drawn_and_listed_once_with_its_state() -> None:
    html = page()
    assert len(re.findall(r'<a class="box', html)) == len(re.findall(r'<tr id="r', html)) == 5
    assert html.count("tainted by recall 3") >= 2 * 3
    assert 'class="box asked tainted"' in html
    assert "holds staging" in html
    assert ">FAIL<" in html
    assert "1,200 evaluation reports, and even more" in html
    assert '<a href="#r3">checkpoint 3</a>' in html
    assert page() == html


def test_the_page_of_a_moment_says_so() -> None:
    assert "as it was at 2026-01-01T00:00:00Z" in page(at="2026-01-01T00:00:00Z")


def test_only_the_script_of_the_page_may_run_and_labels_are_plain() -> None:
    html = page(HOSTILE)
    assert html.count("<script>") == 1
    assert "&lt;script&gt;" in html
    assert not re.search("[\u202e\x1b]", html)
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", html)
    assert not re.search(r"(?:src|href)=\"(?!#)", html)


def test_mermaid_draws_each_record_once_and_data_flows_one_way() -> None:
    up, down = up_and_down(HOSTILE)
    text = mermaid(up, up=True)
    assert text.splitlines()[0] == "flowchart TD"
    assert len(re.findall(r"^  n\d+\[", text, re.MULTILINE)) == 3
    assert re.findall(r"n\d+ -->\|.*\| n\d+", text) == ["n2 -->|dataset| n1", "n1 -->|run| n0"]
    assert "<script" not in text
    assert '"]; click' not in text
    below = mermaid(down, up=False)
    assert len(re.findall(r"^  n\d+\[", below, re.MULTILINE)) == 3
    assert "not shown#58; 1,200 evaluation reports" in below.replace("not shown: ", "not shown#58; ")
    assert ":::tainted" in below
    assert ":::fail" in below


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=30))
def test_no_two_nodes_share_a_place_and_links_lead_on(pairs: list[tuple[int, int]]) -> None:
    nodes = [str(n) for n in range(12)]
    links = [(str(min(pair)), str(max(pair))) for pair in pairs if pair[0] != pair[1]]
    found = layered(nodes, links)
    assert found == layered(nodes, links)
    by_column: dict[int, list[float]] = {}
    for column, row in [*found.places.values(), *(place for way in found.ways.values() for place in way[1:-1])]:
        by_column.setdefault(column, []).append(row)
    for rows in by_column.values():
        ordered = sorted(rows)
        assert all(b - a >= 1 for a, b in pairwise(ordered))
        assert ordered[0] >= 0
    for first, second in links:
        assert found.places[first][0] < found.places[second][0]
    assert all(way[0] == found.places[a] and way[-1] == found.places[b] for (a, b), way in found.ways.items())


def test_a_circle_that_damage_made_is_drawn_all_the_same() -> None:
    found = layered(["a", "b"], [("a", "b"), ("b", "a")])
    assert set(found.places) == {"a", "b"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_FLAGS)
        yield found
        found.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_asks_for_nothing_complains_of_nothing_and_fits(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    path = tmp_path / "lineage.html"
    path.write_text(page(HOSTILE))
    shown = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    complaints: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(path.as_uri())
    assert (complaints, asked) == ([], [path.as_uri()])
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    red = int(shown.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").split(",")[0])
    assert (red > 200) == (scheme == "light")
    shown.close()


@pytest.mark.browser
def test_keys_and_buttons_zoom_and_move_and_a_box_leads_to_its_row(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "lineage.html"
    path.write_text(page())
    shown = browser.new_page(viewport={"width": 1200, "height": 900})
    shown.goto(path.as_uri())

    def seen() -> list[float]:
        return [float(part) for part in str(shown.locator("svg.lineage").get_attribute("viewBox")).split()]

    start = seen()
    shown.get_by_role("button", name="Zoom in").click()
    assert seen()[2] < start[2]
    shown.locator(".graph").focus()
    shown.keyboard.press("+")
    before = seen()
    shown.keyboard.press("ArrowRight")
    assert seen()[0] > before[0]
    shown.keyboard.press("0")
    assert seen() == start
    shown.keyboard.press("Tab")
    assert str(shown.evaluate("document.activeElement.getAttribute('aria-label')")).startswith("1: dataset version")
    shown.keyboard.press("Enter")
    shown.wait_for_function("location.hash === '#r1'", timeout=10_000)
    shown.close()


@pytest.mark.browser
def test_without_a_script_the_graph_is_whole_and_it_prints(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "lineage.html"
    path.write_text(page())
    context = browser.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto(path.as_uri())
    assert shown.locator("svg.lineage a.box").count() == 5
    assert shown.locator(".tools").is_hidden()
    shown.close()
    printed = browser.new_page()
    printed.goto(path.as_uri())
    assert printed.pdf(format="A4").startswith(b"%PDF")
    printed.close()
