"""Numbers as people read them, in one place, so that the terminal, Dagster and the page never disagree."""

from __future__ import annotations

from decimal import Decimal

from pe_training.evaluation.record import Comparison, Estimate

VERDICT_WORDS = {"pass": "PASS", "fail": "FAIL", "inconclusive": "INCONCLUSIVE", "not_applicable": "not applicable"}


def value(number: float, unit: str) -> str:
    """One value in its unit: ``41 %``, ``3.53 nats``, ``34.0``."""
    if unit == "proportion":
        return f"{percent(number)} %"
    if unit == "nats":
        return f"{number:.2f} nats"
    return f"{number:.1f}" if unit in ("perplexity", "tokens") else f"{number:.2f}"


def percent(share: float) -> str:
    """A share as a number of percent, with a decimal only where whole numbers would round to 0 or 100 or hide a half."""
    scaled = share * 100
    return f"{scaled:.0f}" if abs(scaled - round(scaled)) < 0.05 or 1 <= abs(scaled) <= 99 else f"{scaled:.1f}"


def interval(low: float, high: float, unit: str) -> str:
    """``29 to 54`` in percent, or ``3.40 to 3.64``."""
    if unit == "proportion":
        return f"{percent(low)} to {percent(high)}"
    digits = 1 if unit in ("perplexity", "tokens") else 2
    return f"{low:.{digits}f} to {high:.{digits}f}"


def estimate(found: Estimate | None, unit: str) -> str:
    """``41 % (29 to 54)``, or a dash where there is no evidence."""
    return "-" if found is None else f"{value(found.value, unit)} ({interval(found.low, found.high, unit)})"


def difference(found: Comparison | None, unit: str) -> str:
    """``+12 points (1 to 26)``: tuned minus base on the same examples."""
    if found is None:
        return "-"
    if unit == "proportion":
        return f"{found.value * 100:+.0f} points ({interval(found.low, found.high, unit)})"
    digits = 1 if unit in ("perplexity", "tokens") else 2
    return f"{found.value:+.{digits}f} ({interval(found.low, found.high, unit)})"


def usd(amount: Decimal | float) -> str:
    """Dollars; four decimals below a dollar, because a laptop run costs tenths of a cent."""
    return f"{amount:.2f} USD" if amount >= 1 else f"{amount:.4f} USD"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``11 h 30 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def bytes_(count: int) -> str:
    """``1.2 MB`` in decimal units."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
