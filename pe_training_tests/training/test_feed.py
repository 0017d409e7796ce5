"""The feed is read while it is written, and after its writer was killed in the middle of a line."""

from __future__ import annotations

from pathlib import Path

from pe_training.training.feed import Feed, read_feed


def test_a_line_that_is_not_whole_is_left_for_later_and_one_that_never_will_be_is_passed_over(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.emit("note", text="before")
    whole = feed.path.read_bytes()
    feed.path.write_bytes(whole + b'{"event": "note", "te')
    ((offset, first),) = read_feed(feed.path)
    assert (offset, first["text"]) == (len(whole), "before")

    after = Feed(tmp_path)  # the next process, after the first one was killed there
    after.emit("note", text="lost with the torn line")
    after.emit("note", text="behind")
    ((end, found),) = read_feed(feed.path, offset=offset)
    assert found["text"] == "behind"
    assert list(read_feed(feed.path, offset=end)) == []
    for opened in (feed, after):
        opened._file.close()
