"""Logins: a token of the identity provider seals a statement only if it was made for exactly these words, by this provider, for us."""

from __future__ import annotations

import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.gate import attempts
from pe_training.promotion.approvals import approve_sealed, digest_of, draft_approval
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.standing import standing_of
from pe_training.promotion.statements import TokenSeal, add_statement_in
from pe_training.storage.tables import statements
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.people import FILE, WHY, Provider, World, asking, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def decision(world: World) -> PromotionDecision:
    return factory.judged(world.state, factory.make_chain(world.state, text=asking()))


def nonce(world: World, decision: PromotionDecision, *, person: str = "bob", reason: str = WHY) -> str:
    """What `pe approve --dry-run` shows."""
    return digest_of(draft_approval(decision.id, person=person, role="clinical_safety", reason=reason, state=world.state))


def hand_in(world: World, decision: PromotionDecision, token: str = "", *, reason: str = WHY, key: str = "", signature: str = "") -> int:
    return approve_sealed(
        decision.id, role="clinical_safety", reason=reason, key=key, signature=signature, token=token, state=world.state
    )  # fmt: skip


def refused(world: World, decision: PromotionDecision, token: str = "", **given: Any) -> str:
    """The message; the attempt is remembered, without the token."""
    before = len(attempts(world.state))
    with pytest.raises(PeError) as caught:
        hand_in(world, decision, token, **given)
    assert caught.value.kind == Kind.REFUSED
    remembered = attempts(world.state)
    assert (len(remembered) - before, remembered[0].route, remembered[0].message) == (1, "approval", caught.value.message)
    assert not token or token not in str(caught.value)
    with world.state.registry.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(statements)).scalar() == 0
    return caught.value.message


@pytest.mark.parametrize(
    "private", [rsa.generate_private_key(public_exponent=65537, key_size=2048), ec.generate_private_key(ec.SECP256R1())]
)
def test_a_login_approves_with_a_token_for_these_words(
    world: World, decision: PromotionDecision, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    provider = Provider(private, kid="k2")
    (world.folder / "jwks.json").write_text(json.dumps({"keys": [world.provider.jwk, provider.jwk]}))
    hand_in(world, decision, provider.token("login-7", nonce(world, decision)))
    standing = standing_of(decision, state=world.state)
    assert standing.opens
    assert standing.words[0].said.statement.person == "bob"


def test_the_token_is_still_believed_when_it_has_expired_and_no_longer_when_its_key_is_gone(
    world: World, decision: PromotionDecision
) -> None:
    hand_in(world, decision, world.provider.token("login-7", nonce(world, decision), iat=int(time.time()) - 3, exp=int(time.time()) + 1))
    time.sleep(2)
    assert standing_of(decision, state=world.state).opens
    (world.folder / "jwks.json").write_text(json.dumps({"keys": [Provider(ec.generate_private_key(ec.SECP256R1()), kid="k2").jwk]}))
    standing = standing_of(decision, state=world.state)
    assert (standing.opens, standing.words[0].lapse) == (False, "the token does not count: its key is not among those of the provider")


def test_a_token_that_only_says_who_is_logged_in_is_refused(world: World, decision: PromotionDecision) -> None:
    for token in (
        world.provider.token("login-7", "n-0S6_WzA2Mj"),
        world.provider.token("login-7", nonce(world, decision, reason="x" * 20)),
    ):
        assert refused(world, decision, token) == "nothing is approved: the token was not made for these words"
    bare = world.provider.token("login-7", None)
    assert refused(world, decision, bare) == "the token does not count: it is not a whole token with a nonce"


CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "made for others": ({"aud": "another-app"}, "the token does not count: it is made for others"),
    "of another issuer": ({"iss": "https://evil.example"}, "the token does not count: it is of another issuer"),
    "expired": ({"iat": 1_000_000, "exp": 1_000_300}, "the token is not valid at this time"),
    "to come": ({"iat": 9_000_000_000, "exp": 9_000_000_300}, "the token is not valid at this time"),
    "without an end": ({"exp": None}, "the token does not count: it is not a whole token with a nonce"),
    "without times": ({"iat": True}, "the token does not count: its times are no times"),
    "at no time": ({"exp": 10**30}, "the token does not count: its times are no times"),
    "of nobody here": ({"sub": "login-99"}, "the token is of nobody who is named here"),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_a_signed_token_whose_claims_do_not_fit_is_refused(world: World, decision: PromotionDecision, case: str) -> None:
    changed, message = CLAIMS[case]
    assert refused(world, decision, world.provider.token("login-7", nonce(world, decision), **changed)) == message


def test_somebody_of_another_role_cannot_use_their_own_token(world: World, decision: PromotionDecision) -> None:
    token = world.provider.token("login-8", nonce(world, decision))
    assert refused(world, decision, token) == "cleo does not hold the role clinical_safety here"


def test_a_token_that_the_provider_did_not_sign_is_refused(world: World, decision: PromotionDecision) -> None:
    good = world.provider.token("login-7", nonce(world, decision))
    head, body, signature = good.split(".")
    stranger = Provider(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    assert refused(world, decision, stranger.token("login-7", nonce(world, decision))).endswith("its signature is wrong")
    unknown = Provider(stranger.private, kid="k9").token("login-7", nonce(world, decision))
    assert refused(world, decision, unknown).endswith("its key is not among those of the provider")
    other = base64.urlsafe_b64encode(json.dumps({"sub": "login-8"}).encode()).decode().rstrip("=")
    assert refused(world, decision, f"{head}.{other}.{signature}").endswith("its signature is wrong")
    claims = jwt.decode(good, options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": "k1"})
    assert "does not count" in refused(world, decision, unsigned)
    public = world.provider.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    confused = _signed_with_the_public_key(claims, public)
    assert "does not count" in refused(world, decision, confused)
    assert "does not count" in refused(world, decision, "not.a.token")
    assert "does not count" in refused(world, decision, f"{head}.{body}.{_written_anew(signature)}")


def test_a_shared_secret_in_the_key_set_signs_nothing(world: World, decision: PromotionDecision) -> None:
    secret = b"a secret of thirty-two bytes or more"
    key = {"kty": "oct", "kid": "s1", "alg": "HS256", "k": base64.urlsafe_b64encode(secret).decode().rstrip("=")}
    (world.folder / "jwks.json").write_text(json.dumps({"keys": [world.provider.jwk, key]}))
    claims = jwt.decode(world.provider.token("login-7", nonce(world, decision)), options={"verify_signature": False})
    forged = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "s1"})
    assert refused(world, decision, forged).endswith("its key is not among those of the provider")


def test_a_name_without_a_seal_is_nobody(world: World, decision: PromotionDecision) -> None:
    message = "a name alone proves nothing: there is no seal"
    assert refused(world, decision) == message
    assert refused(world, decision, key="a" * 64) == message
    assert refused(world, decision, "x.y.z", key="a" * 64, signature="AAAA") == message
    assert refused(world, decision, key="not a fingerprint", signature="AAAA") == "this is no seal"
    assert refused(world, decision, key="a" * 64, signature="AAAA") == "this key is nobody's here"


def test_a_token_in_the_table_for_other_words_does_not_count(world: World, decision: PromotionDecision) -> None:
    token = world.provider.token("login-7", nonce(world, decision))
    statement = draft_approval(decision.id, person="bob", role="clinical_safety", reason="words of somebody else", state=world.state)
    with world.state.registry.writing() as connection:
        add_statement_in(connection, statement, TokenSeal(token=token))
    assert standing_of(decision, state=world.state).words[0].lapse == "the token was not made for these words"


def test_a_token_of_another_day_does_not_count(world: World, decision: PromotionDecision) -> None:
    statement = draft_approval(decision.id, person="bob", role="clinical_safety", reason=WHY, state=world.state)
    old = world.provider.token("login-7", digest_of(statement), iat=1_000_000, exp=1_000_300)
    with world.state.registry.writing() as connection:
        add_statement_in(connection, statement, TokenSeal(token=old))
    assert standing_of(decision, state=world.state).words[0].lapse == "the token was not valid on that day"


def test_without_a_provider_no_token_counts(world: World, decision: PromotionDecision) -> None:
    token = world.provider.token("login-7", nonce(world, decision))
    world.file(
        "\n".join(line for line in FILE.splitlines() if "identity_provider" not in line and "cleo" not in line).replace(
            ', subject: "login-7"', ""
        )
    )
    assert refused(world, decision, token) == "no identity provider is trusted here"


def _signed_with_the_public_key(claims: dict[str, Any], public: bytes) -> str:
    """As if the provider's public key were a secret that it shares with us; PyJWT itself refuses to make this."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256", "typ": "JWT", "kid": "k1"}, claims)
    ]
    made = hmac.new(public, ".".join(parts).encode(), "sha256").digest()
    return ".".join([*parts, base64.urlsafe_b64encode(made).decode().rstrip("=")])


def _written_anew(part: str) -> str:
    """The same bytes by another last letter."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4 == 2  # four bits of the last letter say nothing
    return part[:-1] + letters[letters.index(part[-1]) ^ 1]
