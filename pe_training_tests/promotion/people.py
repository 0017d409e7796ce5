"""People with real keys and real tokens: a file of them, their private keys, and an identity provider that signs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from pe_training.promotion.approvals import draft_approval, draft_revocation, give
from pe_training.promotion.people import read_register
from pe_training.promotion.seals import sign, speaker_of_key
from pe_training.promotion.statements import Statement
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.promotion import factory
from pe_training_tests.storage.test_signatures import key_pair

WHY = "read the page and every reply of it"
ISSUER, AUDIENCE = "https://login.example/realms/care", "pe-training"
FILE = """apiVersion: pe-training/people-v1
identity_provider: {issuer: "https://login.example/realms/care", audience: pe-training, jwks: jwks.json}
people:
  - {name: ada, roles: [clinical_safety, privacy], keys: [ada.pem]}
  - {name: bob, roles: [clinical_safety], keys: [bob.pem], subject: "login-7"}
  - {name: cleo, roles: [privacy], subject: "login-8"}
"""
ASKED = """approvals:
  - {role: clinical_safety, valid_days: 30}
  - {role: privacy, valid_days: 10}
"""
ONE = "approvals:\n  - {role: clinical_safety, valid_days: 30}\n"


@dataclass(frozen=True)
class Provider:
    """An identity provider with one key."""

    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    kid: str = "k1"

    @property
    def jwk(self) -> dict[str, Any]:
        """Its public key."""
        public = self.private.public_key()
        made = (
            RSAAlgorithm.to_jwk(public, as_dict=True) if isinstance(public, rsa.RSAPublicKey) else ECAlgorithm.to_jwk(public, as_dict=True)
        )
        return {**made, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def algorithm(self) -> str:
        """How it signs."""
        return "RS256" if isinstance(self.private, rsa.RSAPrivateKey) else "ES256"

    def token(self, subject: str, nonce: str | None, **changed: Any) -> str:
        """A token that is valid for five minutes, or whatever is changed; a claim that is ``None`` is left out."""
        began = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": began, "exp": began + 300, "nonce": nonce} | changed
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers={"kid": self.kid})


@dataclass(frozen=True)
class World:
    """A home, its people, and where their keys are."""

    state: State
    folder: Path
    provider: Provider

    def file(self, text: str) -> None:
        """Write the file of people anew."""
        (self.folder / "people.yaml").write_text(text)

    def key(self, person: str) -> Path:
        """Somebody's private key."""
        return self.folder / f"{person}.key"

    def approve(self, decision_id: str, person: str, role: str = "clinical_safety", reason: str = WHY) -> int:
        """An approval with the person's own key."""
        return self.say(draft_approval(decision_id, person=person, role=role, reason=reason, state=self.state))

    def revoke(self, seq: int, person: str, reason: str = "a reply was overlooked") -> int:
        """A revocation with the person's own key."""
        return self.say(draft_revocation(seq, person=person, reason=reason, state=self.state))

    def say(self, statement: Statement, *, key: str | None = None) -> int:
        """Seal with the speaker's key (or somebody else's) and hand in."""
        _, private = speaker_of_key(self.key(key or statement.person), register=read_register(self.folder / "people.yaml"))
        return give(statement, sign(statement, private), state=self.state)


def make_world(folder: Path, **settings: Any) -> World:
    """A new home with ada, bob and cleo."""
    keys = folder / "people"
    keys.mkdir(parents=True)
    for name in ("ada", "bob", "mallory"):
        key_pair(keys, name)
    provider = Provider(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    (keys / "jwks.json").write_text(json.dumps({"keys": [provider.jwk]}))
    made = World(State(Settings(home=folder / "home", people=keys / "people.yaml", **settings)), keys, provider)
    made.file(FILE)
    return made


def asking(extra: str = ONE, policy: str = "staging") -> str:
    """A shipped policy that asks for people, or whatever else is added."""
    return factory.shipped(policy) + extra
