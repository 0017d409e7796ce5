"""`pe check` and `pe schema`: the files that people write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, Verbs, answers
from pe_training.core.errors import Kind, PeError

if TYPE_CHECKING:
    from pydantic import BaseModel

_PREFIX = "pe-training/"


def _models() -> dict[str, tuple[str, type[BaseModel]]]:
    """Kind -> (apiVersion, model)."""
    from pe_training.costs.rates import Rates
    from pe_training.datasets.intake.source import DeclaredSource
    from pe_training.datasets.policy import ReleasePolicy
    from pe_training.evaluation.suites import SuiteConfig
    from pe_training.manifests.schema import Manifest
    from pe_training.promotion.people import People
    from pe_training.promotion.policy import Policy

    return {
        "manifest": ("pe-training/v1", Manifest),
        "policy": ("pe-training/policy-v1", Policy),
        "people": ("pe-training/people-v1", People),
        "release-policy": ("pe-training/release-policy-v1", ReleasePolicy),
        "source": ("pe-training/source-v1", DeclaredSource),
        "suite": ("pe-training/suite-v1", SuiteConfig),
        "rates": ("pe-training/rates-v1", Rates),
    }


@answers
def check(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="YAML files: manifests, policies, people, release policies, sources, suites, rates."),
    ],
    as_json: AsJson = False,
) -> Answer:
    """Validate files; says file:line:column and what was probably meant. Of a policy also which rules can never pass or never fail."""
    found: list[dict[str, Any]] = []
    errors: list[PeError] = []
    for path in paths:
        try:
            kind, notes = _parse(path)
            found.append({"file": str(path), "ok": True, "kind": kind, "notes": [note.to_json() for note in notes]})
        except PeError as error:
            found.append({"file": str(path), "ok": False, "error": error.to_json()})
            errors.append(error)
    if len(errors) == len(paths) == 1:
        raise errors[0]
    return Answer(
        data={"files": found, "ok": not errors}, show=lambda: [line for result in found for line in _lines(result)], yes=not errors
    )


def _parse(path: Path) -> tuple[str, list[PeError]]:
    """The kind of a file, and what there is to say about it though it is valid."""
    from pe_training.core.config import api_version, parse_config, read_text, suggest

    text = read_text(path)
    version = api_version(text, name=str(path))
    models = _models()
    found = next((kind for kind, (name, _) in models.items() if name == version), None)
    if found is None:
        hint = suggest(version, [name for name, _ in models.values()])
        raise PeError(Kind.INPUT, f"unknown apiVersion {version!r}", where=str(path), hint=hint)
    parsed = parse_config(text, models[found][1], name=str(path))
    if found == "manifest":
        _check_manifest(parsed, path)
    if found == "people":
        _check_people(path)
    return found, _check_policy(parsed, text, path) if found == "policy" else []


def _check_manifest(parsed: BaseModel, path: Path) -> None:
    """What the rates say against it."""
    from pe_training.costs.rates import load_rates
    from pe_training.manifests.needs import require_instance
    from pe_training.manifests.schema import Manifest
    from pe_training.settings import Settings

    assert isinstance(parsed, Manifest)
    try:
        require_instance(parsed, load_rates(Settings().rates_file))
    except PeError as error:
        raise PeError(error.kind, error.message, where=f"{path}: {error.where}", hint=error.hint) from None


def _check_policy(parsed: BaseModel, text: str, path: Path) -> list[PeError]:
    """What its rules cannot do. Raises input at the first that could never pass or never fail, whatever the evidence."""
    from pe_training.core.config import place_in
    from pe_training.datasets.policy import load_release_policy
    from pe_training.evaluation.calibration import meanings
    from pe_training.evaluation.suites import load_suite, suite_names
    from pe_training.promotion.policy import Policy
    from pe_training.promotion.soundness import doubts
    from pe_training.settings import Settings

    assert isinstance(parsed, Policy)
    settings = Settings()
    suites = {name: load_suite(settings.suite_folder, name) for name in suite_names(settings.suite_folder)}
    said = list(doubts(parsed, suites=suites, releases=load_release_policy(settings.release_policy_file), labels=list(meanings())))
    errors = [PeError(Kind.INPUT, one.message, where=place_in(text, one.steps, name=str(path)), hint=one.hint) for one in said]
    certain = [error for error, one in zip(errors, said, strict=True) if one.certain]
    if certain:
        first = certain[0]
        more = f"; {len(certain) - 1} more after this one" if len(certain) > 1 else ""
        raise PeError(first.kind, first.message, where=first.where, hint=f"{first.hint}{more}")
    return errors


def _check_people(path: Path) -> None:
    """The keys that it names."""
    from pe_training.promotion.people import read_register

    register = read_register(path)
    if register.content.identity_provider is not None:
        register.key_set()


def _lines(result: dict[str, Any]) -> list[str]:
    if not result["ok"]:
        return [_said(result["error"])]
    return [f"{result['file']}: a valid {result['kind']}", *(f"  {_said(note)}" for note in result["notes"])]


def _said(body: dict[str, str | None]) -> str:
    error = PeError.from_json(body)
    return f"{error.where}: {error.message} ({error.hint})"


@answers
def schema(
    kind: Annotated[str, typer.Argument(help="manifest, policy, people, release-policy, source, suite or rates")], as_json: AsJson = False
) -> Answer:
    """Print the JSON Schema of a kind of file, for editors."""
    from pe_training.core.config import suggest

    models = _models()
    if kind not in models:
        raise PeError(Kind.INPUT, f"unknown kind {kind!r}", hint=suggest(kind, models))
    version, model = models[kind]
    found = model.model_json_schema() | {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": version}
    return Answer(data=found, show=lambda: [json.dumps(found, indent=1)])


VERBS: Verbs = {"check": check, "schema": schema}
