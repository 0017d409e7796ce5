"""Many tests at once: p-values corrected so that the chance of even one false alarm stays where a single test has it."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the given order by the step-down method of Holm (1979, Scand. J. Stat. 6:65). Any dependence is allowed."""
    assert all(0 <= p <= 1 for p in p_values), "a p-value lies in 0 to 1"
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
