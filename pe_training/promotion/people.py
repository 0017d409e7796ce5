"""Who may speak in which role, and what proves that it is them: a file that lies outside the registry, as trusted keys do.

Whoever can write to the registry can write any name into it. So a name alone approves nothing: a statement counts where a key of this
file has signed it, or where the identity provider of this file vouches for the login (see seals.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pe_training.core.config import load_config
from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen
from pe_training.promotion.policy import RoleName
from pe_training.settings import Settings
from pe_training.storage.keys import public_key

PEOPLE = "PE_PEOPLE"
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="a file beside this one")]
PersonName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$", description="as the audit trail names them (PE_ACTOR)")]


class Person(Frozen):
    """Somebody who may speak for one or more roles."""

    name: PersonName
    roles: list[RoleName] = Field(min_length=1)
    keys: list[FileName] = Field(default=[], description="public keys (PEM), any of which signs for them")
    subject: str | None = Field(default=None, min_length=1, description="`sub` of their tokens from the identity provider")

    @model_validator(mode="after")
    def _provable(self) -> Self:
        if not self.keys and self.subject is None:
            raise ValueError(f"nothing proves who {self.name} is: give keys or a subject")
        return self


class IdentityProvider(Frozen):
    """Whose tokens (OpenID Connect) are believed."""

    issuer: str = Field(min_length=1, description="`iss` of its tokens")
    audience: str = Field(min_length=1, description="`aud` of tokens that are made for us")
    jwks: FileName = Field(description="its public keys (JSON Web Key Set); keep those that it no longer uses, or what they proved lapses")


class People(Frozen):
    """``apiVersion: pe-training/people-v1``."""

    apiVersion: Literal["pe-training/people-v1"]
    identity_provider: IdentityProvider | None = None
    people: list[Person] = Field(min_length=1)

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        for what, found in (
            ("names", [one.name for one in self.people]),
            ("subjects", [one.subject for one in self.people if one.subject]),
        ):
            if twice := sorted(name for name, count in Counter(found).items() if count > 1):
                raise ValueError(f"{what} are given twice: {', '.join(twice)}")
        if self.identity_provider is None and any(one.subject for one in self.people):
            raise ValueError("a subject proves nothing without an identity_provider")
        return self


@dataclass(frozen=True, kw_only=True)
class Register:
    """The people of a file with the keys that it names, read."""

    folder: Path
    content: People
    owners: dict[str, str]  # fingerprint of a key -> name
    files: dict[str, Path]  # fingerprint -> file

    @cached_property
    def by_name(self) -> dict[str, Person]:
        """Name -> person."""
        return {one.name: one for one in self.content.people}

    def holders(self, role: str) -> tuple[str, ...]:
        """Who may speak in a role."""
        return tuple(sorted(one.name for one in self.content.people if role in one.roles))

    def of_subject(self, subject: str) -> str | None:
        """Whose login it is."""
        return next((one.name for one in self.content.people if one.subject == subject), None)

    def key_set(self) -> Any:
        """The identity provider's keys. Raises input."""
        import json

        from jwt import PyJWKSet
        from jwt.exceptions import PyJWTError

        assert self.content.identity_provider is not None
        path = self.folder / self.content.identity_provider.jwks
        try:
            return PyJWKSet.from_dict(json.loads(path.read_bytes()))
        except OSError as error:
            message = f"{path} cannot be read ({error.strerror})"
        except (ValueError, TypeError, AttributeError, PyJWTError):
            message = f"{path} holds no JSON Web Key Set with a key that can be used"
        raise PeError(Kind.INPUT, message, where=PEOPLE, hint="save what the provider's jwks_uri answers")


def load_register(settings: Settings) -> Register | None:
    """Who may speak here; ``None`` where nobody is named. Raises input or not_found."""
    return read_register(settings.people) if settings.people is not None else None


def read_register(path: Path) -> Register:
    """The people in a file, with their keys. Raises input with ``file:line:column``, or not_found."""
    content = load_config(path, People)
    owners: dict[str, str] = {}
    files: dict[str, Path] = {}
    for person in content.people:
        for name in person.keys:
            key = public_key(path.parent / name, where=str(path))
            if owners.get(key.fingerprint, person.name) != person.name:
                message = f"one key is given to {owners[key.fingerprint]} and to {person.name}: it would not tell who signed"
                raise PeError(Kind.INPUT, message, where=str(path), hint="everybody has a key of their own")
            owners[key.fingerprint], files[key.fingerprint] = person.name, key.path
    return Register(folder=path.parent, content=content, owners=owners, files=files)


def require_register(settings: Settings) -> Register:
    """As :func:`load_register`, for somebody who wants to speak. Raises input where nobody is named."""
    register = load_register(settings)
    if register is None:
        raise PeError(
            Kind.INPUT, "nobody is named who may speak here", where=PEOPLE, hint="set it to a file of people (docs/ops/approvals.md)"
        )
    return register
