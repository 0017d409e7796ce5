"""Text that tries to be more than text."""

from __future__ import annotations

from hypothesis import strategies as st

HOSTILE = (
    "</dd><script>alert(1)</script><img src=https://example.org/x onerror=alert(2)>\"'`{{ 7*7 }}[bold red]|**x**\x1b[31m\x00\u202e\ud800"
)
LINES = "one\r\ntwo\tthree\x07"
texts = st.text(st.characters(blacklist_categories=()), max_size=400) | st.just(HOSTILE) | st.just(HOSTILE * 40)
