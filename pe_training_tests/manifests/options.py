"""Walks the schema of a manifest, so that tests can speak of every option and not of those that somebody remembered."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The nested models that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def options(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key that holds a value and not a section."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        nested = [option for inner in models_in(field.annotation) for option in options(inner, f"{prefix}{name}.")]
        found += nested or [f"{prefix}{name}"]
    return found


def changed(model: BaseModel, option: str, value: object) -> Any:
    """A copy of ``model`` in which one dotted key has another value, unchecked: some keys only make sense together."""
    head, _, rest = option.partition(".")
    return model.model_copy(update={head: changed(getattr(model, head), rest, value) if rest else value})
