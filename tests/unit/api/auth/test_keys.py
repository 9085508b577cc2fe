"""Which key is good for which algorithm."""

from typing import Any, get_args

import jwt
import pytest
from backupexport_api.auth.keys import (
    MOST_KEYS_TRIED,
    KeySet,
    PublicKeyAlgorithm,
    SecretAlgorithm,
    UnusableKeysError,
    keys_of_jwks,
    keys_of_pem,
    keys_of_secret,
)
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from token_issuers import Issuer, jwks, new_key

RSA, P256, P384, ED = (Issuer.of(name) for name in ("RS256", "ES256", "ES384", "EdDSA"))
SHORT_RSA = Issuer("RS256", new_key("RS256", rsa_bits=1024))
ED448 = Issuer("EdDSA", ed448.Ed448PrivateKey.generate())
K256 = Issuer("ES256", ec.generate_private_key(ec.SECP256K1()))


def private_pem(issuer: Issuer, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return str(issuer.key.private_bytes(Encoding.PEM, form, NoEncryption()).decode())


def private_jwk(issuer: Issuer) -> dict[str, Any]:
    made: dict[str, Any] = jwt.get_algorithm_by_name(issuer.algorithm).to_jwk(
        issuer.key, as_dict=True
    )
    return {**made, "key_ops": ["sign", "verify"]}


def algorithms_of(keys: Any) -> list[str]:
    return [key.algorithm for key in keys]


@pytest.mark.parametrize("algorithm", get_args(SecretAlgorithm) + get_args(PublicKeyAlgorithm))
def test_every_algorithm_checks_its_own_tokens(algorithm: str) -> None:
    issuer, other = Issuer.of(algorithm), Issuer.of(algorithm)
    if algorithm.startswith("HS"):
        (key,) = keys_of_secret(issuer.key.decode(), [algorithm])
        other = issuer.by(key=b"o" * 64)
    else:
        (key,) = keys_of_pem(issuer.pem(), [algorithm])
        (from_jwk,) = keys_of_jwks(jwks(issuer.jwk()), [algorithm])
        assert from_jwk.algorithm == algorithm
    options: Any = {"verify_aud": False}
    jwt.decode(issuer.token(), key.jwk, algorithms=[algorithm], options=options)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(other.token(), key.jwk, algorithms=[algorithm], options=options)


def test_a_key_is_bound_to_its_algorithm() -> None:
    (key,) = keys_of_pem(RSA.pem(), ["RS256"])
    with pytest.raises(jwt.InvalidAlgorithmError):
        jwt.decode(RSA.by(algorithm="RS512").token({"alg": "RS512"}), key.jwk, algorithms=["RS512"])


@pytest.mark.parametrize(
    ("issuers", "algorithms", "bound"),
    [
        ([RSA], ["RS256"], ["RS256"]),
        ([RSA], ["RS256", "PS256"], ["RS256", "PS256"]),
        ([RSA, P256, ED], ["EdDSA", "RS256", "ES256"], ["RS256", "ES256", "EdDSA"]),
        ([P256, P256], ["ES256"], ["ES256", "ES256"]),
        ([P256, P384], ["ES256", "ES384"], ["ES256", "ES384"]),
    ],
)
def test_keys_in_one_pem(issuers: list[Issuer], algorithms: list[str], bound: list[str]) -> None:
    text = "a comment\n" + "\n".join(issuer.pem() for issuer in issuers)
    assert algorithms_of(keys_of_pem(text, algorithms)) == bound


def test_pkcs_1() -> None:
    public = RSA.key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()
    assert public.startswith("-----BEGIN RSA PUBLIC KEY-----")
    assert algorithms_of(keys_of_pem(public, ["RS256"])) == ["RS256"]


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("text", "algorithms", "words"),
    [
        ("hunter2", ["RS256"], "must be whole public keys in PEM"),
        (RSA.pem()[:-20], ["RS256"], "must be whole public keys in PEM"),
        (RSA.pem() + RSA.pem()[:60], ["RS256"], "must be whole public keys in PEM"),
        (RSA.pem().replace("MII", "XXX", 1), ["RS256"], "key 1 can't be read"),
        (private_pem(RSA), ["RS256"], "key 1 is a private key"),
        (private_pem(RSA, PrivateFormat.TraditionalOpenSSL), ["RS256"], "key 1 is a private key"),
        (private_pem(P256, PrivateFormat.TraditionalOpenSSL), ["ES256"], "key 1 is a private key"),
        (P256.pem() + private_pem(P256), ["ES256"], "key 2 is a private key"),
        (CERTIFICATE, ["RS256"], "key 1 is no public key but a CERTIFICATE"),
        (SHORT_RSA.pem(), ["RS256"], "key 1 is too short: 1024 bits"),
        (P384.pem(), ["ES256"], r"key 1 \(EC, secp384r1\) fits none"),
        (K256.pem(), ["ES256"], r"key 1 \(EC, secp256k1\) fits none"),
        (ED448.pem(), ["EdDSA"], r"key 1 \(Ed448\) fits none"),
        (RSA.pem() + P256.pem(), ["RS256"], r"key 2 \(EC, secp256r1\) fits none"),
        (P256.pem(), ["RS256"], "key 1 .* fits none"),
        (RSA.pem(), ["RS256", "ES256"], "holds no key for ES256"),
        (P256.pem() * (MOST_KEYS_TRIED + 1), ["ES256"], "more than 10"),
    ],
)
def test_a_pem_that_is_no_good(text: str, algorithms: list[str], words: str) -> None:
    with pytest.raises(UnusableKeysError, match=words) as caught:
        keys_of_pem(text, algorithms)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


EVERY = [name for name in get_args(PublicKeyAlgorithm) if name != "ES512"]


@pytest.mark.parametrize(
    ("jwk", "algorithms", "bound"),
    [
        (RSA.jwk(), ["RS256", "RS512"], ["RS256"]),
        (RSA.jwk(alg=None), ["RS256", "PS512"], ["RS256", "PS512"]),
        (RSA.jwk(alg="RS512"), ["RS256"], []),
        (RSA.jwk(alg="RSA-OAEP"), EVERY, []),
        (RSA.jwk(alg="HS256"), EVERY, []),
        (RSA.jwk(alg=["RS256"]), EVERY, []),
        (RSA.jwk(use=None), ["RS256"], ["RS256"]),
        (RSA.jwk(use="enc"), ["RS256"], []),
        (RSA.jwk(use=["sig"]), ["RS256"], []),
        (RSA.jwk(key_ops=["verify"]), ["RS256"], ["RS256"]),
        (RSA.jwk(key_ops=["encrypt"]), ["RS256"], []),
        (RSA.jwk(key_ops="verify"), ["RS256"], []),
        (RSA.jwk(kid=7), ["RS256"], []),
        (RSA.jwk(kty=None), ["RS256"], []),
        (RSA.jwk(kty=["RSA"]), ["RS256"], []),
        (RSA.jwk(kty="EC"), EVERY, []),
        (RSA.jwk(n=None), ["RS256"], []),
        (RSA.jwk(n=7), ["RS256"], []),
        (RSA.jwk(n="!"), ["RS256"], []),
        (RSA.jwk(e="AA"), ["RS256"], []),
        (RSA.jwk(d="AQAB"), ["RS256"], []),
        *((private_jwk(issuer), EVERY, []) for issuer in (RSA, P256, ED)),
        (SHORT_RSA.jwk(), ["RS256"], []),
        (P256.jwk(), ["ES256"], ["ES256"]),
        (P256.jwk(alg=None), EVERY, ["ES256"]),
        (P256.jwk(alg="ES384"), EVERY, []),
        (P256.jwk(x=P384.jwk()["x"]), EVERY, []),
        (P256.jwk(y=P256.jwk()["x"]), EVERY, []),
        (P384.jwk(alg=None), ["ES256"], []),
        (P384.jwk(alg="ES256"), ["ES256"], []),
        (ED.jwk(), ["EdDSA"], ["EdDSA"]),
        (ED448.jwk(), ["EdDSA"], []),
        ({"kty": "oct", "k": "c2VjcmV0" * 8, "alg": "HS256"}, EVERY, []),
        ({"kty": "oct", "k": "c2VjcmV0" * 8, "alg": "RS256"}, EVERY, []),
        ("RSA", EVERY, []),
        (None, EVERY, []),
    ],
)
def test_what_a_jwk_is_good_for(jwk: Any, algorithms: list[str], bound: list[str]) -> None:
    """Beside one that is good for sure, for something else."""
    good = Issuer.of("ES512").jwk()
    keys = keys_of_jwks(jwks(jwk, good), [*algorithms, "ES512"])
    assert algorithms_of(keys) == [*bound, "ES512"]


@pytest.mark.parametrize("size", [0, 7, 31])
def test_a_short_secret(size: int) -> None:
    with pytest.raises(UnusableKeysError, match=f"is too short: {size} bytes"):
        keys_of_secret("x" * size, ["HS256"])


def test_an_id_is_looked_up_and_nothing_else() -> None:
    one, two = (Issuer.of("ES256", key_id) for key_id in ("one", "two"))
    keys = KeySet(keys_of_jwks(jwks(one.jwk(), two.jwk(), RSA.jwk(kid="one")), ["ES256", "RS256"]))
    assert len(keys) == 3
    assert [key.key_id for key in keys.matching("ES256", "two")] == ["two"]
    assert algorithms_of(keys.matching("RS256", "one")) == ["RS256"]
    assert keys.matching("RS256", "two") == []
    assert [key.key_id for key in keys.matching("ES256", None)] == ["one", "two"]
    for key_id in ("", "three", "../one", "one\0"):
        assert keys.matching("ES256", key_id) == []


def test_where_no_key_has_an_id_it_says_nothing() -> None:
    keys = KeySet(keys_of_pem(P256.pem(), ["ES256"]))
    assert algorithms_of(keys.matching("ES256", "anything")) == ["ES256"]
    assert keys.matching("HS256", None) == []


def test_few_keys_are_tried() -> None:
    members = [P256.jwk(kid=str(number)) for number in range(MOST_KEYS_TRIED + 5)]
    keys = KeySet(keys_of_jwks(jwks(*members), ["ES256"]))
    assert len(keys.matching("ES256", None)) == MOST_KEYS_TRIED
