"""Nothing of what is chained can be changed, deleted, added or moved without being found, and by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file
from pe_training.lineage import ledger
from pe_training.lineage.anchors import anchors, check_anchors, put_anchor
from pe_training.lineage.audit import audit, check_ledger
from pe_training.lineage.check import Check
from pe_training.lineage.held_proof import parse_held, verify_held
from pe_training.lineage.ledger import START, walk
from pe_training.lineage.verify import verify_all
from pe_training.settings import Settings
from pe_training.storage import tables as t
from pe_training.storage.ledger import Head, entry, key_text, row_digest
from pe_training.storage.state import State
from pe_training.training.events import record_event
from pe_training_tests.e2e.chain import pe
from pe_training_tests.homes import copy_home
from pe_training_tests.lineage.proven import Proven, columns, database, flip, proven, restore, rows
from pe_training_tests.postgres_server import PostgresServer
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.storage.test_signatures import key_pair
from pe_training_tests.tampering import past_the_ledger

CHAINED = sorted(t.CHAINED)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    """One home for the tests that lay it back as it was."""
    folder = tmp_path_factory.mktemp("proven")
    return proven(promotion.new_state(folder / "home"), folder)


@pytest.fixture
def whole(shared: Proven) -> Iterator[Proven]:
    """That home, found whole before and after."""
    assert walk(shared.state).findings == ()
    yield shared
    assert walk(shared.state).findings == ()


@pytest.fixture
def own(shared: Proven, tmp_path: Path) -> Proven:
    """A copy of it for a test that leaves it damaged."""
    shared.state.registry.close()
    return replace(shared, state=promotion.new_state(copy_home(shared.state.settings.root, tmp_path / "home")))


def found(state: State) -> list[Check]:
    return list(walk(state).findings)


def sql(state: State, text: str, **values: Any) -> None:
    with past_the_ledger(state.registry) as connection:
        assert connection.execute(sa.text(text), values).rowcount >= 1


def test_every_chained_table_has_rows_here(whole: Proven) -> None:
    with database(whole.state) as connection:
        assert {name for name in CHAINED if not rows(connection, name)} == set()
        entries = rows(connection, "ledger")
    walked = walk(whole.state)
    assert (walked.ok, walked.since, walked.entries) == (True, 0, len(entries))
    assert walked.rows == sum(len(rows_of(whole, name)) for name in CHAINED)


def rows_of(whole: Proven, name: str) -> list[tuple[Any, ...]]:
    with database(whole.state) as connection:
        return rows(connection, name)


def primary(name: str) -> list[str]:
    return [column.name for column in t.metadata.tables[name].primary_key]


def keys_of(name: str, kept: list[tuple[Any, ...]]) -> set[str]:
    """How findings name rows: a record by its id, others by their key."""
    places = [columns(name).index("id" if name == "records" else column) + 1 for column in primary(name)]
    return {row[places[0]] if name == "records" else key_text([row[place] for place in places]) for row in kept}


@pytest.mark.parametrize("name", CHAINED)
def test_a_bit_in_any_column_of_any_row_is_found_in_that_row(whole: Proven, name: str) -> None:
    """A column at a time, in all rows at once: each row is compared with its own entry, and each must be named."""
    with database(whole.state) as connection:
        kept = rows(connection, name)
        for place, column in enumerate(columns(name), start=1):
            if column in primary(name):
                continue
            for row in kept:
                flip(connection, name, row[0], column, row[place])
            checks = found(whole.state)
            assert {(check.what, check.name, check.place) for check in checks} == {("row", name, name)}, column
            assert len(checks) == len(kept)
            assert {check.record_id for check in checks} == keys_of(name, rows(connection, name)), column
            assert all("was changed after entry" in str(check) for check in checks)
            restore(connection, name, kept)


@pytest.mark.parametrize("name", CHAINED)
def test_a_bit_in_the_key_of_any_row_is_found_from_both_sides(whole: Proven, name: str) -> None:
    with database(whole.state) as connection:
        kept = rows(connection, name)
        for column in primary(name):
            place = columns(name).index(column) + 1
            for row in kept:
                flip(connection, name, row[0], column, row[place])
                problems = [str(check) for check in found(whole.state)]
                assert len(problems) == 2, problems
                assert "is gone or cannot be read" in problems[0]
                assert "was not written by this code" in problems[1]
                restore(connection, name, kept)


@pytest.mark.parametrize("name", CHAINED)
def test_one_bit_in_one_row_among_many_names_that_row_alone(whole: Proven, name: str) -> None:
    with database(whole.state) as connection:
        kept = rows(connection, name)
        column = columns(name)[-1]
        flip(connection, name, kept[-1][0], column, kept[-1][-1])
        checks = found(whole.state)
        assert len(checks) == (2 if column in primary(name) else 1), checks  # under another key it is another row
        restore(connection, name, kept)


@pytest.mark.parametrize("name", CHAINED)
def test_any_row_that_is_gone_is_found_and_named(whole: Proven, name: str) -> None:
    with database(whole.state) as connection:
        kept = rows(connection, name)
        connection.execute(f"DELETE FROM {name} WHERE rowid = ?", (kept[0][0],))  # noqa: S608
        (check,) = found(whole.state)
        assert (check.what, check.name, check.place) == ("row", name, name)
        connection.execute(f"DELETE FROM {name}")  # noqa: S608
        checks = found(whole.state)
        assert {check.name for check in checks} == {name}
        assert len({check.record_id for check in checks}) == len(kept)
        assert all("is gone or cannot be read; entry " in str(check) for check in checks)
        restore(connection, name, kept)


@pytest.mark.parametrize("name", CHAINED)
def test_a_row_that_was_put_in_by_hand_is_found_and_named(whole: Proven, name: str) -> None:
    with database(whole.state) as connection:
        kept = rows(connection, name)
        new = {column: value for column, value in zip(columns(name), kept[-1][1:], strict=True) if column != "seq"}
        first = next(column for column in new if isinstance(new[column], str) and column not in {"kind", "body"})
        new |= {first: "another", **({"key": "another"} if name == "records" else {})}
        marks = ", ".join("?" * len(new))
        connection.execute(f"INSERT INTO {name} ({', '.join(new)}) VALUES ({marks})", tuple(new.values()))  # noqa: S608
        (check,) = found(whole.state)
        assert (check.what, check.name) == ("row", name)
        assert "was not written by this code" in str(check)
        restore(connection, name, kept)


def test_text_that_is_no_text_is_found_and_hides_nothing(whole: Proven) -> None:
    with database(whole.state) as connection:
        moves, charges, entries = (rows(connection, name) for name in ("stage_moves", "charges", "ledger"))
        connection.execute("UPDATE stage_moves SET reason = CAST(x'ff' AS TEXT) WHERE rowid = ?", (moves[0][0],))
        connection.execute("UPDATE charges SET cost_usd = x'00' WHERE rowid = ?", (charges[0][0],))
        connection.execute("UPDATE ledger SET key = CAST(x'ff' AS TEXT) WHERE rowid = 3")
        seen = {(check.what, check.name) for check in found(whole.state)}
        assert {("row", "stage_moves"), ("row", "charges"), ("entry", "3")} <= seen
        for name, kept in (("stage_moves", moves), ("charges", charges), ("ledger", entries)):
            restore(connection, name, kept)


def test_a_bit_in_any_column_of_any_entry_is_found_and_the_entry_named(whole: Proven) -> None:
    """A column at a time, in all entries at once: each entry's hash is of itself alone, and each must be named."""
    with database(whole.state) as connection:
        kept = rows(connection, "ledger")
        for place, column in enumerate(columns("ledger"), start=1):
            if column == "seq":
                continue  # an entry with another number is one that is gone, or two that changed places
            for row in kept:
                flip(connection, "ledger", row[0], column, row[place])
            changed = {check.name for check in found(whole.state) if check.problem == "was changed: its hash is not of what it says"}
            assert changed == {str(row[0]) for row in kept}, column
            restore(connection, "ledger", kept)
            flip(connection, "ledger", kept[5][0], column, kept[5][place])
            assert ("entry", str(kept[5][0])) in {(check.what, check.name) for check in found(whole.state)}
            restore(connection, "ledger", kept)


def test_any_entry_that_is_gone_is_found_and_named(whole: Proven) -> None:
    with database(whole.state) as connection:
        kept = rows(connection, "ledger")
        for rowid, *_ in kept[:-1]:
            connection.execute("DELETE FROM ledger WHERE rowid = ?", (rowid,))
            checks = [check for check in found(whole.state) if check.what == "entry"]
            assert [(check.name, check.problem) for check in checks] == [(str(rowid), "is not in the ledger")]
            restore(connection, "ledger", kept)
        connection.execute("DELETE FROM ledger WHERE rowid = ?", (kept[-1][0],))
        (row, head) = found(whole.state)
        assert (row.name, head.problem) == ("recalls", f"it ends with entry {len(kept) - 1}, and its head names {len(kept)}")
        connection.execute("DELETE FROM ledger")
        assert {check.what for check in found(whole.state)} == {"head", "row"}
        restore(connection, "ledger", kept)


def test_two_entries_that_changed_places_are_found(whole: Proven) -> None:
    with database(whole.state) as connection:
        kept = rows(connection, "ledger")
        for number in range(1, len(kept)):
            other = number + 1 if number > 1 else len(kept)
            for one, to in ((number, -1), (other, number), (-1, other)):
                connection.execute("UPDATE ledger SET seq = ? WHERE seq = ?", (to, one))
            changed = {check.name for check in found(whole.state) if check.problem == "was changed: its hash is not of what it says"}
            assert changed == {str(number), str(other)}
            restore(connection, "ledger", kept)


@pytest.mark.parametrize("column", columns("ledger_head"))
def test_a_bit_in_the_head_is_found(whole: Proven, column: str) -> None:
    with database(whole.state) as connection:
        ((rowid, *values),) = kept = rows(connection, "ledger_head")
        flip(connection, "ledger_head", rowid, column, dict(zip(columns("ledger_head"), values, strict=True))[column])
        assert [check.what for check in found(whole.state)] == ["head"]
        restore_head(connection, kept)
        connection.execute("DELETE FROM ledger_head")
        assert [check.what for check in found(whole.state)] == ["head"]
        restore_head(connection, kept)


def restore_head(connection: Any, kept: list[tuple[Any, ...]]) -> None:
    connection.execute("DELETE FROM ledger_head")
    connection.execute("INSERT INTO ledger_head (id, seq, hash) VALUES (?, ?, ?)", kept[0][1:])


def forge(connection: Any, *, what: str, key: str, digest: str) -> None:
    """An entry as this code makes it, head and all."""
    seq, last = connection.execute("SELECT seq, hash FROM ledger_head").fetchone()
    made = entry(Head(seq=seq, hash=last), what=what, key=key, digest=digest)
    connection.execute("INSERT INTO ledger (seq, previous, what, key, digest, hash) VALUES (?, ?, ?, ?, ?, ?)", tuple(made.values()))
    connection.execute("UPDATE ledger_head SET seq = ?, hash = ?", (made["seq"], made["hash"]))


@pytest.mark.parametrize(
    ("what", "key", "said"),
    [
        ("charges", "[99]", "is gone or cannot be read"),
        ("charges", '["1"]', "is gone or cannot be read"),
        ("charges", "[1", "is gone or cannot be read"),
        ("charges", f"[{2**70}]", "is gone or cannot be read"),
        ("stages", '["empathy","production"]', "was changed after entry"),
        ("answers", '["x"]', "is about 'answers', which is no chained table"),
        ("begun", "{}", "is about 'begun', which is no chained table"),
    ],
)
def test_a_forged_entry_that_fits_the_chain_is_found(whole: Proven, what: str, key: str, said: str) -> None:
    with database(whole.state) as connection:
        kept, head = rows(connection, "ledger"), rows(connection, "ledger_head")
        forge(connection, what=what, key=key, digest="sha256:" + "0" * 64)
        (check,) = found(whole.state)
        assert said in str(check)
        restore(connection, "ledger", kept)
        restore_head(connection, head)


def cut(state: State, last: int) -> None:
    """Take back everything after an entry so well that only an audit can know: entries, their rows, the head."""
    with past_the_ledger(state.registry) as connection:
        for row in connection.execute(sa.text("SELECT what, key FROM ledger WHERE seq > :last"), {"last": last}).all():
            table = t.metadata.tables[row.what]
            where = [column == value for column, value in zip(table.primary_key, json.loads(row.key), strict=True)]
            connection.execute(sa.delete(table).where(*where))
        connection.execute(sa.text("DELETE FROM ledger WHERE seq > :last"), {"last": last})
        connection.execute(
            sa.text("UPDATE ledger_head SET seq = :last, hash = (SELECT hash FROM ledger WHERE seq = :last)"), {"last": last}
        )


def anchored(state: State) -> Path:
    made = audit(state, ledger="new")
    assert made.findings == ()
    assert made.anchor is not None
    return made.anchor


def test_an_end_that_was_cut_off_after_an_audit_is_found(own: Proven) -> None:
    anchor = anchored(own.state)
    last = walk(own.state).head.seq
    with past_the_ledger(own.state.registry) as connection:  # of these rows nothing was changed since they were written
        assert connection.execute(sa.text("SELECT what FROM ledger WHERE seq = :seq"), {"seq": last}).scalar() == "recalls"
    own.state.registry.put(own.decision.model_copy(update={"evidence": "sha256:" + "1" * 64}))
    cut(own.state, last)
    assert [check.problem for check in check_anchors(own.state)] == [None]  # what no audit saw can be taken back, and only that
    sql(own.state, "DELETE FROM ledger WHERE seq = :seq", seq=last)
    sql(own.state, "UPDATE ledger_head SET seq = :seq, hash = (SELECT hash FROM ledger WHERE seq = :seq)", seq=last - 1)
    (check,) = check_anchors(own.state)
    assert (check.name, check.place) == (anchor.name, str(anchor))
    assert check.problem == f"it saw {last} entries, and the ledger has no entry of that number: its end is gone"


def test_a_chain_that_was_written_anew_is_found_by_what_an_audit_saw(own: Proven) -> None:
    anchored(own.state)
    sql(own.state, "UPDATE charges SET cost_usd = '0.00'")
    with past_the_ledger(own.state.registry) as connection:
        old = connection.execute(sa.select(t.ledger).order_by(t.ledger.c.seq)).mappings().all()
        charge = dict(connection.execute(sa.select(t.charges)).mappings().one())
        connection.execute(sa.delete(t.ledger))
        head = START
        for row in old:
            digest = row_digest(charge) if row["what"] == "charges" else row["digest"]
            made = entry(head, what=row["what"], key=row["key"], digest=digest)
            connection.execute(sa.insert(t.ledger), [made])
            head = Head(seq=made["seq"], hash=made["hash"])
        connection.execute(sa.update(t.ledger_head).values(hash=head.hash))
    assert found(own.state) == []
    (check,) = check_anchors(own.state)
    assert check.problem == f"it saw another entry {head.seq}: the ledger was written anew"


@pytest.mark.slow
def test_on_postgres_the_same_changes_are_found(postgres: PostgresServer, tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path / "home", artifacts_url="", database_url=postgres.new_database(tmp_path.name)))
    made = proven(state, tmp_path)
    assert walk(state).ok
    assert verify_held(state, "empathy", "production").ok
    assert audit(state, ledger="new").findings == ()
    changes = {
        "UPDATE charges SET cost_usd = '0'": "was changed after entry",
        "DELETE FROM refused_attempts": "is gone or cannot be read",
        "UPDATE edges SET role = 'x' WHERE role = 'dataset' AND child LIKE 'run%'": "was not written by this code",
        "DELETE FROM ledger WHERE seq = 7": "7: is not in the ledger",
        "UPDATE ledger_head SET seq = 3": "its head names 3",
    }
    for change, said in changes.items():
        sql(state, change)
        assert any(said in str(check) for check in found(state)), change
    state.registry.close()
    assert made.production.verdict == "pass"


def test_every_bit_of_an_anchor_counts_and_so_does_its_copy_and_the_one_before(own: Proven) -> None:
    first = anchored(own.state)
    own.state.registry.put(own.decision.model_copy(update={"evidence": "sha256:" + "1" * 64}))
    second = put_anchor(own.state, walk(own.state).head, records=1, files=1)
    data = second.read_bytes()
    second.chmod(0o644)
    for position in range(len(data)):
        second.write_bytes(data[:position] + bytes([data[position] ^ (1 << position % 8)]) + data[position + 1 :])
        assert [check.name for check in check_anchors(own.state) if check.problem] == [second.name]
    second.write_bytes(data)
    digest = digest_file(second).removeprefix("sha256:")
    copy = own.state.settings.root / "artifacts" / "sha256" / digest[:2] / digest
    copy.unlink()
    assert [(check.name, (check.problem or "")[:22]) for check in check_anchors(own.state) if check.problem] == [
        (second.name, "its copy in the store:")
    ]
    assert own.state.artifacts.put_bytes(data).endswith(digest)
    first.unlink()
    assert [check.problem for check in check_anchors(own.state)] == ["the anchor before it is not the one that it names"]


def test_an_anchor_is_signed_where_this_machine_signs_and_must_be_where_keys_are_trusted(own: Proven, tmp_path: Path) -> None:
    secret, public = key_pair(tmp_path / "keys", "ours")
    settings = own.state.settings.model_copy(update={"signing_key": secret, "trusted_keys": public})
    state = State(Settings(**settings.model_dump()))
    path = put_anchor(state, walk(state).head, records=1, files=1)
    assert [check.problem for check in check_anchors(state)] == [None]
    envelope = path.with_suffix(".dsse.json")
    said = json.loads(envelope.read_text())
    envelope.chmod(0o644)
    for name, value in (("payload", "e30="), ("payloadType", "text/plain"), ("signatures", []), ("signatures", None)):
        envelope.write_text(json.dumps(said | {name: value}))
        assert "its signature:" in str(check_anchors(state)[0])
    envelope.write_text(json.dumps(said | {"signatures": [said["signatures"][0] | {"sig": "MAYCAQECAQE="}]}))
    assert "its signature is not valid" in str(check_anchors(state)[0])
    envelope.unlink()
    assert "no trusted key has signed it" in str(check_anchors(state)[0])


def test_an_audit_reads_what_is_new_and_all_of_it_where_rows_do_not_add_up(own: Proven) -> None:
    anchored(own.state)
    before = walk(own.state).head
    assert audit(own.state, ledger="new").walked.entries == 0
    assert len(anchors(own.state)) == 1  # nothing was written since: the anchor there is says it already
    own.state.registry.put(own.decision.model_copy(update={"line": "another", "evidence": "sha256:" + "1" * 64}))
    walked, _ = check_ledger(own.state, reach="new")
    assert (walked.since, walked.ok) == (before.seq, True)
    assert walked.rows == walked.entries
    sql(own.state, "DELETE FROM charges")
    walked, _ = check_ledger(own.state, reach="new")
    assert [(check.what, check.name) for check in walked.findings] == [("row", "charges")]


def test_an_audit_that_finds_damage_anchors_nothing_and_says_how_much_it_reached(own: Proven) -> None:
    sql(
        own.state, "UPDATE attachments SET record_id = 'ck_gone' WHERE path = 'config.json' AND record_id = :id", id=own.chain.checkpoint.id
    )
    made = audit(own.state, ledger="whole")
    assert made.anchor is None
    assert anchors(own.state) == []
    assert {check.what for check in made.findings} == {"row", "listing"}
    assert made.completeness == 1  # its bytes were read: the record itself names them
    sql(own.state, "UPDATE attachments SET digest = :digest WHERE record_id = 'ck_gone'", digest="sha256:" + "5" * 64)
    assert audit(own.state, ledger="whole").completeness < 1  # nobody owns that file any more, and nobody has read it


def test_what_is_written_while_the_ledger_is_read_is_no_finding(own: Proven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pe_training.lineage.ledger.PAGE_ENTRIES", 20)
    other, count = promotion.new_state(own.state.settings.root), iter(range(100))
    compare = ledger._compare

    def write_and_compare(connection: sa.Connection, page: list[dict[str, Any]]) -> Any:
        record_event(other, own.chain.run.id, f"meanwhile {next(count)}")
        return compare(connection, page)

    before = walk(own.state).head.seq
    monkeypatch.setattr(ledger, "_compare", write_and_compare)
    walked = walk(own.state)
    assert (walked.findings, walked.head.seq) == ((), before)
    assert next(count) >= before // 20
    monkeypatch.undo()
    assert walk(own.state).head.seq > before


def test_a_whole_home_is_reached_whole(own: Proven) -> None:
    made = audit(own.state, ledger="whole")
    assert (made.completeness, made.records, made.files) == (1.0, made.verification.records, made.verification.objects)
    assert made.records == 13
    assert made.findings == ()


def test_what_holds_a_stage_is_proved_from_the_pointer_down_to_the_rows(whole: Proven) -> None:
    result = verify_held(whole.state, "empathy", "production")
    assert result.ok
    assert result.first is None
    whats = list(dict.fromkeys(check.what for check in result.checks))
    assert whats[0] == "pointer"
    assert {"pointer", "row", "content", "columns", "file", "listing", "link", "rows", "verdict"} <= set(whats)
    order = list(dict.fromkeys(check.record_id.partition("_")[0] for check in result.checks if "_" in check.record_id[:5]))
    assert order[0] == "pd"
    assert order.index("ck") < order.index("run") <= order.index("ds")


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ("UPDATE stages SET checkpoint_id = 'ck_other' WHERE stage = 'production'", "it names ck_other, and the newest move brought ck_"),
        ("UPDATE stages SET version = 7 WHERE stage = 'production'", "it says that it moved 7 times, and the log has 1 moves"),
        ("DELETE FROM stage_moves WHERE stage = 'production'", "and no move brought anything there"),
        ("UPDATE stage_moves SET reason = 'none' WHERE stage = 'production'", "was changed after entry"),
        ("UPDATE stages SET decision_id = NULL WHERE stage = 'production'", "and the newest move brought"),
        ("UPDATE records SET created_at = '1970' WHERE kind = 'run'", "was changed after entry"),
        ("UPDATE releases SET at = '1970'", "was changed after entry"),
        ("UPDATE edges SET role = 'x' WHERE role = 'dataset'", "the record cites ds_"),
    ],
)
def test_the_first_broken_link_below_a_pointer_is_named(own: Proven, change: str, first: str) -> None:
    sql(own.state, change)
    result = verify_held(own.state, "empathy", "production")
    assert result.first is not None
    assert first in str(result.first)


def test_a_decision_of_another_stage_does_not_hold_this_one(own: Proven) -> None:
    sql(own.state, "UPDATE stages SET decision_id = :id WHERE stage = 'production'", id=own.decision.id)
    sql(own.state, "UPDATE stage_moves SET decision_id = :id WHERE stage = 'production'", id=own.decision.id)
    assert "is another: pass of ck_" in "\n".join(map(str, verify_held(own.state, "empathy", "production").findings))


def test_a_flipped_bit_in_any_file_below_a_pointer_is_the_first_finding(own: Proven) -> None:
    records = (own.production, own.chain.checkpoint, own.chain.run, own.chain.manifest, own.chain.dataset, own.chain.report)
    files = [(record.id, file) for record in records for file in record.files()]
    assert len(files) >= 8
    for owner, file in files:
        if owner == own.chain.manifest.id:
            continue  # that manifest asked for staging; production's pins its own policy
        promotion.damage(own.state, file)
        result = verify_held(own.state, "empathy", "production")
        assert result.first is not None
        assert (result.first.what, result.first.name) == ("file", file.path)
        assert [check.name for check in verify_all(own.state).findings if check.what == "file"] != []
        promotion.damage(own.state, file)


@pytest.mark.parametrize("text", ["@production", "production", "empathy@"])
def test_what_names_no_stage_of_a_line_is_an_input_error(text: str) -> None:
    with pytest.raises(PeError) as caught:
        parse_held(text)
    assert caught.value.kind == Kind.INPUT


def test_a_stage_that_nothing_holds_is_not_found(whole: Proven) -> None:
    with pytest.raises(PeError) as caught:
        verify_held(whole.state, "nobody", "production")
    assert caught.value.kind == Kind.NOT_FOUND


def test_the_verb_walks_the_ledger_and_names_the_first_broken_link(own: Proven) -> None:
    home = own.state.settings.root
    whole = pe("verify", "--ledger", home=home)
    assert (whole.code, "everything holds: " in whole.stdout) == (0, True)
    held = pe("verify", "empathy@production", "--json", home=home)
    assert (held.code, held.json["ok"], held.json["first"]) == (0, True, None)
    sql(own.state, "UPDATE stages SET checkpoint_id = 'ck_other' WHERE stage = 'production'")
    broken = pe("verify", "empathy@production", "--json", home=home)
    assert (broken.code, broken.json["first"]["place"]) == (1, "stages")
    walked = pe("verify", "--ledger", "--json", home=home).json
    assert [(check["name"], check["problem"][:22]) for check in walked["checks"]] == [("stages", "was changed after entr")]
    assert pe("verify", "empathy@production", "--ledger", home=home).code == 2
    assert pe("verify", "empathy@nowhere", home=home).code == 2
    assert pe("verify", "nobody@production", "--json", home=home).json["error"]["kind"] == "not_found"
