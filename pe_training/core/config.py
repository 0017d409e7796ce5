"""YAML files that people write, read into strict models with errors that point at the place.

A typo in a training manifest once cost a night on eight GPUs because the key was silently ignored. So: YAML 1.2 (``1e-4``
is a number, ``no`` is a string, a duplicate key is an error), no tags, no aliases beyond a small budget, and every
complaint as ``file:line:column: message`` with the closest allowed key. What JSON cannot hold exactly is refused here, where
it has a line number, because records are named by their canonical JSON.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.tokens import AliasToken, DirectiveToken, TagToken

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import MAX_INTEGER

MAX_FILE_BYTES = 1_000_000
MAX_ALIASES = 20
MAX_DEPTH = 40
MAX_VALUES = 100_000  # after aliases are written out: twenty of them can multiply a file a thousandfold
ModelT = TypeVar("ModelT", bound=BaseModel)


def load_config(path: Path, model: type[ModelT]) -> ModelT:
    """Read ``path`` as one ``model``. Raises :class:`PeError` (input) naming ``file:line:column``."""
    return parse_config(read_text(path), model, name=str(path))


def read_text(path: Path) -> str:
    """Text of a small UTF-8 file, or a :class:`PeError` that says what is wrong with it."""
    if not path.exists():
        raise PeError(Kind.NOT_FOUND, "no such file", where=str(path), hint=_neighbours(path))
    if not path.is_file():
        raise PeError(Kind.INPUT, "is not a file", where=str(path), hint="give the path of a YAML file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise PeError(Kind.INPUT, f"is larger than {MAX_FILE_BYTES:,} bytes", where=str(path), hint="is this really a config file?")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PeError(Kind.INPUT, f"is not UTF-8 text (byte {error.start})", where=str(path), hint="save it as UTF-8") from None


def parse_config(text: str, model: type[ModelT], *, name: str) -> ModelT:
    """Read YAML ``text`` as one ``model``; ``name`` stands for the file in errors."""
    tree = _parse_yaml(text, name)
    if not isinstance(tree, CommentedMap):
        raise PeError(Kind.INPUT, "must be a mapping of keys to values", where=f"{name}:1:1", hint="see `pe schema --help`")
    try:
        return model.model_validate(_plain(tree, name=name, budget=iter(range(MAX_VALUES))))
    except ValidationError as error:
        raise _located(error, tree, model, name) from None


def place_in(text: str, steps: Sequence[str | int], *, name: str) -> str:
    """``file:line:column`` of the value at ``steps`` of a YAML ``text`` that was read before; of what holds it, where it is not there."""
    tree = _parse_yaml(text, name)
    line, column = _position(tree, _real_path(tree, tuple(steps)), at_key=False)
    return f"{name}:{line}:{column}"


class _Constructor(RoundTripConstructor):
    """Says where a value stands that cannot be read, or that would not survive as JSON."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, AttributeError) as error:  # e.g. 2026-02-30; ruamel's own slip on a mapping merged into itself
            reason = "not a date" if node.tag.endswith(":timestamp") else "not a value that can be read"
            raise ConstructorError(None, None, reason, node.start_mark) from error
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise ConstructorError(None, None, f"an integer beyond {MAX_INTEGER:,} is not exact in JSON", node.start_mark)
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ConstructorError(None, None, "half of a surrogate pair is not text", node.start_mark)
        return value

    def construct_mapping(self, node: Any, maptyp: Any, deep: bool = False) -> Any:  # type: ignore[override]  # as its parent does
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise ConstructorError(None, None, "a key must be a plain word", key.start_mark)
        return super().construct_mapping(node, maptyp, deep=deep)


def _parse_yaml(text: str, name: str) -> Any:
    yaml = YAML(typ="rt", pure=True)
    yaml.Constructor = _Constructor
    yaml.composer.warn_double_anchors = False
    try:
        aliases = depth = 0
        for token in yaml.scan(StringIO(text)):
            aliases += isinstance(token, AliasToken)
            kind = type(token).__name__
            depth += kind.endswith(("MappingStartToken", "SequenceStartToken")) - kind.endswith(
                ("BlockEndToken", "FlowMappingEndToken", "FlowSequenceEndToken")
            )
            if isinstance(token, TagToken):
                raise _at(name, token.start_mark, "YAML tags are not allowed", "write plain values")
            if isinstance(token, DirectiveToken) and (token.name, token.value) != ("YAML", (1, 2)):
                raise _at(name, token.start_mark, "YAML directives are not allowed", "remove this line; files are read as YAML 1.2")
            if aliases > MAX_ALIASES or depth > MAX_DEPTH:
                raise _at(name, token.start_mark, "too deeply nested or too many aliases", "write the values out")
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = (error.problem or error.context or "not valid YAML").splitlines()[0]
        raise _at(name, mark, message, "fix the YAML syntax here") from None
    except YAMLError as error:
        raise PeError(Kind.INPUT, str(error).splitlines()[0], where=name, hint="fix the YAML syntax") from None
    except (ValueError, OverflowError):  # chr() inside ruamel's scanner
        raise PeError(Kind.INPUT, "an escape stands for no character", where=name, hint="fix the \\U escape") from None


def _at(name: str, mark: Any, message: str, hint: str) -> PeError:
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark is not None else name
    return PeError(Kind.INPUT, message, where=where, hint=hint)


def _plain(node: Any, *, name: str, budget: Iterator[int]) -> Any:
    """ruamel's annotated tree as plain Python values, so that strict pydantic accepts them; aliases are written out."""
    if next(budget, None) is None:
        raise PeError(Kind.INPUT, f"holds more than {MAX_VALUES:,} values", where=name, hint="is this really a config file?")
    if isinstance(node, CommentedMap):
        return {_scalar(key): _plain(value, name=name, budget=budget) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value, name=name, budget=budget) for value in node]
    return _scalar(node)


def _scalar(value: Any) -> Any:
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    return value


def _located(error: ValidationError, tree: CommentedMap, model: type[BaseModel], name: str) -> PeError:
    """The first complaint of ``error`` as one located line; the number of further ones goes into the hint."""
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]  # an unknown key explains the missing one that it was meant to be
    path = _real_path(tree, first["loc"])
    line, column = _position(tree, path, at_key=first["type"] == "extra_forbidden")
    dotted = ".".join(str(part) for part in path) or "(top level)"
    more = f"; {len(problems) - 1} more after this one" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        message, hint = f"unknown key '{dotted}'", _did_you_mean(str(path[-1]), _allowed(model, path[:-1]))
    elif first["type"] == "missing":
        message, hint = f"missing key '{'.'.join(str(part) for part in first['loc'])}'", "add it"
    else:
        reason = first["msg"].removeprefix("Value error, ")
        message, hint = f"{dotted}: {reason[:1].lower()}{reason[1:]}", _shown(first.get("input"))
    return PeError(Kind.INPUT, message, where=f"{name}:{line}:{column}", hint=f"{hint}{more}")


def _real_path(tree: Any, loc: tuple[Any, ...]) -> list[Any]:
    """The steps of a pydantic location that are real keys; union branches add synthetic ones."""
    node, path = tree, []
    for step in loc:
        known = step in node if isinstance(node, CommentedMap) else isinstance(node, CommentedSeq) and step in range(len(node))
        if known:
            path.append(step)
            node = node[step]
    return path


def _position(tree: Any, path: list[Any], *, at_key: bool) -> tuple[int, int]:
    """1-based line and column of the value at ``path`` (of its key with ``at_key``, or where that is all there is)."""
    node, position = tree, (tree.lc.line + 1, tree.lc.col + 1)
    for index, part in enumerate(path):
        last = index == len(path) - 1
        if isinstance(node, CommentedMap) and part not in node.lc.data:
            return position  # merged in by `<<`: the mapping that it was merged into is where it stands
        if isinstance(node, CommentedMap):
            line, column = node.lc.key(part) if at_key and last else node.lc.value(part)
        else:
            line, column = node.lc.item(part)
        position, node = (line + 1, column + 1), node[part]
    return position


def _allowed(model: Any, path: list[Any]) -> Iterable[str]:
    """Field names allowed at ``path`` below ``model``."""
    models = [model]
    for part in path:
        found = []
        for candidate in models:
            field = candidate.model_fields.get(part) if isinstance(part, str) else None
            found += list(_models_in(field.annotation)) if field else [candidate]
        models = found
    return [name for candidate in models for name in candidate.model_fields]


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _did_you_mean(word: str, allowed: Iterable[str]) -> str:
    names = sorted(set(allowed))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"allowed here: {', '.join(names)}"


def suggest(word: str, known: Iterable[str]) -> str:
    """A hint for a name that does not exist: the closest known one, or all of them."""
    names = sorted(set(known))
    return _did_you_mean(word, names) if names else "there are none yet"


def _shown(value: Any) -> str:
    text = repr(value)
    return f"got {text[:60]}{'...' if len(text) > 60 else ''}"


def _neighbours(path: Path) -> str:
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    return f"did you mean '{path.parent / close[0]}'?" if close else "check the path"


def api_version(text: str, *, name: str) -> str:
    """The ``apiVersion`` that a YAML text declares. Raises input where there is none."""
    tree = _parse_yaml(text, name)
    found = tree.get("apiVersion") if isinstance(tree, CommentedMap) else None
    if not isinstance(found, str):
        raise PeError(Kind.INPUT, "missing key 'apiVersion'", where=f"{name}:1:1", hint="its value says what kind of file this is")
    return found
