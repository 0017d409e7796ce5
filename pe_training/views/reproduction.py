"""How exactly a run was done again, for the terminal and for Dagster; and what is known of a run beside its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pe_training.training.compare import Comparison, Pair
from pe_training.training.reproduction import NOT_MEASURED, Reproduction
from pe_training.views import numbers
from pe_training.views.layout import BLANK, MARKS, STYLES, facts, plain, table
from pe_training.views.lists import changed
from pe_training.views.markdown import cell, lines_table

SHOWN_EVENTS = 20


def reproduction_view(outcome: Reproduction, *, determinism: str) -> RenderableType:
    """The answer first, then where and how far the runs differ, then what around them changed. ``determinism``: the run's class now."""
    style = STYLES["pass"] if outcome.identical else STYLES["fail"]
    sign = MARKS["pass"] if outcome.identical else MARKS["fail"]
    parts: list[RenderableType] = [Text(f"{sign} {headline(outcome)}", f"bold {style}")]
    if not outcome.identical:
        parts.append(facts(_differences(outcome.comparison)))
    parts.append(facts({"determinism": determinism}))
    code = changed(outcome.differs, "trained with other code or on other hardware than today's:")
    return Group(*parts, *code, *changed(outcome.environment, "the environment is not the one that the run was trained in:"))


def reproduction_markdown(outcome: Reproduction, *, determinism: str) -> str:
    """The same for Dagster, under the 1,000 characters that it shows inline."""
    head = f"**{cell(headline(outcome), 200)}**; determinism class: {determinism}"
    rows = [] if outcome.identical else [[cell(name), cell(str(text), 120)] for name, text in _differences(outcome.comparison).items()]
    return lines_table(head, ("what", "found"), rows)


def headline(outcome: Reproduction) -> str:
    """One sentence."""
    found = outcome.comparison
    steps = numbers.count(found.steps, "step")
    ended = "" if outcome.ended == "finished" else f" (the reproduction: {outcome.ended})"
    if outcome.identical:
        what = "weights, history and gradients" if found.weights else "history and gradients"
        return f"identical to the bit: {what} of {numbers.count(found.tensors, 'tensor')} over {steps}{ended}"
    where = f" from step {found.first_step:,} on" if found.first_step else ""
    return f"differs{where}, of {steps} compared{ended}"


def run_facts(data: Mapping[str, Any]) -> RenderableType:
    """What happened to a run, what it was trained in, how exactly it can be repeated. ``data``: determinism, environment, events."""
    events = table("at (UTC)", "what", "more")
    shown: Sequence[Mapping[str, Any]] = data["events"][-SHOWN_EVENTS:]
    for event in shown:
        more = ", ".join(f"{key} {value}" for key, value in event["body"].items() if isinstance(value, str | int | float))
        events.add_row(plain(event["at"][:16].replace("T", " ")), plain(event["kind"]), plain(more))
    parts: list[RenderableType] = [BLANK, facts({"determinism": data["determinism"]}), *((events,) if shown else ())]
    if data["environment"]:
        parts += [BLANK, facts(_environment(data["environment"]))]
    return Group(*parts)


def _environment(environment: Mapping[str, Any]) -> dict[str, object]:
    packages, git, machine = environment["packages"], environment.get("git"), environment["machine"]
    state = f"{git['commit'][:12]}{', with changes in ' + ', '.join(git['changed'][:5]) if git['dirty'] else ''}" if git else "no checkout"
    gpus = ", ".join(machine["gpus"]) or "none"
    return {
        "trained in": f"{environment['python']} on {environment['os']}",
        "code": f"{environment['code'][:19]}, git {state}",
        "image": environment.get("image", "not told"),
        "machine": f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; GPU: {gpus}",
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items() if name in _SHOWN_PACKAGES)
        + f" and {len(packages) - len(_SHOWN_PACKAGES & packages.keys()):,} more (--json lists them)",
    }


_SHOWN_PACKAGES = frozenset({"torch", "lightning", "transformers", "peft", "tokenizers", "numpy"})


def _differences(found: Comparison) -> dict[str, object]:
    named: dict[str, object] = {}
    if found.loss:
        named[f"loss at step {found.first_step:,}"] = _pair(found.loss)
    if found.tensor:
        others = f"; {found.tensor.of - 1:,} more tensors differ there" if found.tensor.of > 1 else ""
        named[f"tensor at step {found.first_step:,}"] = f"{found.tensor.name}: gradient norm {_pair(found.tensor.gradient_norm)}{others}"
    if found.history:
        named[f"history at step {found.history.step:,}"] = f"{found.history.key}: {_pair(found.history.value)}"
    if not found.rollbacks_identical:
        named["rollbacks"] = "not the same"
    named["loss apart"] = f"at most {found.largest_loss_difference:.2g}, at the end {found.last_loss_difference:.2g} (relative)"
    if found.weights and not found.weights.identical:
        named["weights apart"] = f"at most {found.weights.relative:.2g} (relative), in {found.weights.tensor}"
    return named


def _pair(pair: Pair) -> str:
    return f"recorded {pair.recorded}, reproduced {pair.reproduced}"


def determinism_text(determinism: str | None) -> str:
    """A class, or that there is none."""
    return determinism or NOT_MEASURED
