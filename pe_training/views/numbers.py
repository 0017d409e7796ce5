"""Numbers as people read them, in one place, so that the terminal, Dagster and the page never disagree.

Rounding must not lie: 89.6 % against a bound of 90 % never reads "90 %", and what is not zero never reads "0 %".
"""

from __future__ import annotations

from decimal import Decimal

from pe_training.evaluation.record import Comparison, Estimate
from pe_training.promotion.record import Outcome
from pe_training.promotion.sentences import percent_of

VERDICT_WORDS = {"pass": "PASS", "fail": "FAIL", "inconclusive": "INCONCLUSIVE", "not_applicable": "not applicable"}
NO_EVIDENCE = "no evidence"
MAX_DECIMALS = 6
_USUAL = 0.95  # of intervals of which nothing else is said
_DECIMALS = {
    "proportion": 0,
    "nats": 2,
    "perplexity": 1,
    "score": 2,
    "tokens": 0,
    "words": 1,
    "ratio": 2,
    "rows": 0,
    "records": 0,
    "tries": 0,
}


_NAMED = ("nats", "tokens", "words", "rows", "records", "tries")  # units that are said beside the number


def value(number: float, unit: str) -> str:
    """One value in its unit: ``41 %``, ``3.53 nats``, ``34.0``."""
    return percent(number) + " %" if unit == "proportion" else _number(number, unit) + _suffix(unit)


def percent(share: float) -> str:
    """A share as a number of percent, with decimals only where whole numbers would read as 0 or 100 and it is neither."""
    scaled = share * 100
    if 1 <= abs(scaled) <= 99 or scaled in (0, 100, -100):
        return f"{scaled + 0.0:.0f}"
    decimals = next((d for d in range(1, MAX_DECIMALS) if abs(round(scaled, d)) not in (0, 100)), MAX_DECIMALS)
    return f"{scaled:.{decimals}f}"


def interval(low: float, high: float, unit: str) -> str:
    """``29 to 54`` in percent, or ``3.40 to 3.64``."""
    return f"{percent(low)} to {percent(high)}" if unit == "proportion" else f"{_number(low, unit)} to {_number(high, unit)}"


def estimate(found: Estimate | None, unit: str) -> str:
    """``41 % (29 to 54)``, or a dash where there is no evidence."""
    return "-" if found is None else f"{value(found.value, unit)} ({interval(found.low, found.high, unit)})"


def difference(found: Comparison | None, unit: str) -> str:
    """``+12 points (1 to 26)``: tuned minus base on the same examples."""
    return "-" if found is None else f"{change(found, unit)} ({interval(found.low, found.high, unit)})"


def change(found: Comparison, unit: str) -> str:
    """The value of a difference: ``+12 points``."""
    text = percent(found.value) if unit == "proportion" else _number(found.value, unit)
    return _signed(text) + _suffix(unit, points=" points")


def found(outcome: Outcome) -> str:
    """What a rule found: ``89.6 % (85 to 93)``."""
    parts = found_parts(outcome)
    return f"{parts[0]} ({parts[1]})" if parts else NO_EVIDENCE


def found_parts(outcome: Outcome) -> tuple[str, str] | None:
    """Value and interval of a rule, each number with as many decimals as it takes to tell it from the threshold."""
    if outcome.value is None or outcome.low is None or outcome.high is None:
        return None
    middle, low, high = (apart(number, outcome.unit, bound=outcome.threshold) for number in (outcome.value, outcome.low, outcome.high))
    middle = _signed(middle) if outcome.of == "difference" else middle
    level = "" if outcome.confidence == _USUAL else f" at {percent_of(outcome.confidence)}"
    return middle + _outcome_suffix(outcome), f"{low} to {high}{level}"


def needed(outcome: Outcome) -> str:
    """What a rule asks for: ``at least 90 %``."""
    return f"{outcome.bound.replace('_', ' ')} {threshold(outcome)}"


def threshold(outcome: Outcome) -> str:
    """The bound as the policy has it: ``90 %``, ``0.5 %``, ``0 points``."""
    return exact(outcome.threshold, outcome.unit) + _outcome_suffix(outcome)


def exact(number: float, unit: str) -> str:
    """A number that a person chose, with all its decimals and without its unit: ``2.5`` for a share of 0.025."""
    scaled = _scaled(number, unit)
    decimals = next((d for d in range(MAX_DECIMALS) if abs(round(scaled, d) - scaled) < 1e-9), MAX_DECIMALS)
    return _fixed(number, unit, decimals)


def apart(number: float, unit: str, *, bound: float) -> str:
    """The shortest text that reads neither as the bound nor as an end of a share's scale, unless the number is just that."""
    others = {bound, *((0.0, 1.0, -1.0) if unit == "proportion" else ())} - {number}
    for decimals in range(_DECIMALS.get(unit, 2), MAX_DECIMALS):
        text = _fixed(number, unit, decimals)
        if text not in {_fixed(other, unit, decimals) for other in others}:
            return text
    return _fixed(number, unit, MAX_DECIMALS)


def usd(amount: Decimal | float) -> str:
    """Dollars; four decimals below a dollar, because a laptop run costs tenths of a cent."""
    dollars = Decimal(str(amount))
    if dollars == 0:
        return "0.00 USD"
    if 0 < dollars < Decimal("0.0001"):
        return "under 0.0001 USD"
    return f"{dollars:,.2f} USD" if abs(dollars) >= 1 else f"{dollars:.4f} USD"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``11 h 30 min``."""
    if 0 < seconds < 1:
        return "under 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def units(found: Estimate) -> str:
    """What stands behind an estimate: ``60``, or ``12 clusters of 60`` where examples hang together."""
    return f"{found.n:,}" if found.examples is None else f"{count(found.n, 'cluster')} of {found.examples:,}"


def count(number: int, noun: str) -> str:
    """``1 example``, ``1,204 examples``, ``2 replies``."""
    plural = noun if number == 1 else f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {plural}"


def bytes_(size_bytes: int) -> str:
    """``1.2 MB`` in decimal units."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes} B"


def _number(number: float, unit: str) -> str:
    decimals = _DECIMALS[unit]
    return f"{round(number, decimals) + 0.0:.{decimals}f}"


def _signed(text: str) -> str:
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def _suffix(unit: str, *, points: str = " %") -> str:
    return points if unit == "proportion" else f" {unit}" if unit in _NAMED else ""


def _outcome_suffix(outcome: Outcome) -> str:
    return _suffix(outcome.unit, points=" points" if outcome.of == "difference" else " %")


def _scaled(number: float, unit: str) -> float:
    return number * 100 if unit == "proportion" else number


def _fixed(number: float, unit: str, decimals: int) -> str:
    return f"{round(_scaled(number, unit), decimals) + 0.0:.{decimals}f}"
