"""What people said about a decision and what it waits for, for the terminal and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pe_training.core.ids import short
from pe_training.promotion.lapses import Lapse, Waiting
from pe_training.promotion.standing import Need, Standing, Word, waiting_words, waiver_words
from pe_training.promotion.statements import KeySeal, Seal, Statement
from pe_training.views.layout import BLANK, MARKS, STYLES, facts, mark, plain, table, under


def standing_data(standing: Standing) -> dict[str, Any]:
    """For programs. Tokens are not in it."""
    return {
        "opens": standing.opens,
        "needs": [{"role": need.role, "given_by": _by(need), "until": _until(need), "may": list(need.may)} for need in standing.needs],
        "waits_for": [need.role for need in standing.waits_for],
        "waived": {rule: word.said.seq for rule, word in standing.waived.items()},
        "statements": [word_data(word) for word in standing.words],
    }


def word_data(word: Word) -> dict[str, Any]:
    """One statement, with what it is worth."""
    s = word.said.statement
    named = {"rule": s.rule, "owner": s.owner, "revokes": s.revokes}
    return {
        "seq": word.said.seq, "act": s.act, "person": s.person, "role": s.role, "reason": s.reason, "on": s.on, "at": word.said.at,
        "until": word.until and word.until.isoformat(), "counts": word.lapse is None, "lapse": word.lapse,
        **{name: value for name, value in named.items() if value}, "sealed_with": seal_name(word.said.seal),
    }  # fmt: skip


def standing_view(standing: Standing) -> list[RenderableType]:
    """Who must approve, who has, what is waived, and everything that was said. Nothing where nobody is asked and nobody spoke."""
    parts: list[RenderableType] = []
    if standing.needs:
        needs = table("approved", "role", "by", "until", "who may")
        for need in standing.needs:
            needs.add_row(mark(holds=need.given is not None), plain(need.role), plain(_by(need) or "-"), _until(need) or "-", _may(need))
        parts.append(under("whose approval it needs", needs))
    if standing.words:
        said = table(">no", "counts", "what", "who", "until", "reason")
        for word in standing.words:
            s = word.said.statement
            why = f"{s.reason} ({word.lapse})" if word.lapse else s.reason
            what = f"{s.act} {s.rule}" if s.rule else s.act
            last = word.until.isoformat() if word.until else "-"
            said.add_row(str(word.said.seq), mark(holds=not word.lapse), plain(what), plain(f"{s.person} ({s.role})"), last, plain(why))
        parts.append(under("what was said", said))
    parts += [plain(f"{MARKS['inconclusive']} {text}", STYLES["inconclusive"]) for text in waiver_words(standing)]
    if text := waiting_words(standing):
        parts.append(plain(f"{MARKS['inconclusive']} {text}", STYLES["inconclusive"]))
    return parts


def waiting_data(found: Sequence[Waiting]) -> list[dict[str, Any]]:
    """For programs."""
    return [
        {"decision": one.decision_id, "line": one.line, "stage": one.stage, "words": one.words}
        | (standing_data(one.standing) if one.standing else {})
        for one in found
    ]


def waiting_view(found: Sequence[Waiting]) -> list[RenderableType]:
    """Decisions that wait for people."""
    if not found:
        return []
    made = table("decision", "line", "stage", "what it waits for")
    for one in found:
        made.add_row(plain(short(one.decision_id)), plain(one.line), plain(one.stage), plain(one.words))
    return [BLANK, under("what waits for whom", made)]


def lapses_view(found: Sequence[Lapse]) -> list[RenderableType]:
    """What no longer covers a stage that is held, or soon will not."""
    shown = [
        plain(f"{MARKS['fail' if one.over else 'inconclusive']} {one}", STYLES["fail" if one.over else "inconclusive"]) for one in found
    ]
    return [BLANK, *shown] if shown else []


def draft_view(statement: Statement, data: Mapping[str, Any]) -> RenderableType:
    """What was said, or would be, as it is sealed."""
    tense = "said" if data["applied"] else "would say"
    named = {"rule": statement.rule, "owner": statement.owner, "until": statement.expires, "revokes": statement.revokes}
    lines = {
        tense: f"{statement.act} {short(statement.about.decision)}", "who": f"{statement.person} ({statement.role})",
        **{name: value for name, value in named.items() if value}, "reason": statement.reason, "on": statement.on,
        "nonce": data["nonce"], **({"statement": data["seq"]} if data["seq"] else {}),
    }  # fmt: skip
    sealed = {f"seal {name}": value for name, value in (data["seal"] or {}).items() if name != "kind"}
    return Group(facts(lines | sealed), *((BLANK, Text(data["next"])) if data["next"] else ()))


def seal_name(seal: Seal) -> str:
    """What a statement was sealed with, without the seal."""
    return f"key {seal.key[:16]}" if isinstance(seal, KeySeal) else "a token"


def _by(need: Need) -> str | None:
    return need.given.said.statement.person if need.given else None


def _until(need: Need) -> str | None:
    return need.given.until.isoformat() if need.given and need.given.until else None


def _may(need: Need) -> Text:
    return plain("-" if need.given else " or ".join(need.may) or "nobody else is named for it")
