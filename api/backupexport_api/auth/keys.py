"""Which keys check which tokens: every key is bound to one algorithm before a token is seen."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SecretAlgorithm = Literal["HS256", "HS384", "HS512"]
PublicKeyAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
Algorithm = SecretAlgorithm | PublicKeyAlgorithm

# RFC 7518, 3.2: a secret has at least the size of the hash.
SHORTEST_SECRET_BYTES: dict[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
_SHORTEST_RSA_BITS = 2048

# A token that doesn't name its key costs a check with each; more overlap than that is no rotation.
MOST_KEYS_TRIED = 10

_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_PEM_LABELS = ("PUBLIC KEY", "RSA PUBLIC KEY")


class UnusableKeysError(ValueError):
    """The keys can't be used; the text says why and holds nothing of them."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What checks signatures of one algorithm; `key_id` is how tokens name it."""

    algorithm: str
    jwk: jwt.PyJWK
    key_id: str | None = None


class KeySet:
    """Some keys, which are also the source of keys that don't change."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys = list(keys)
        self._have_ids = any(key.key_id is not None for key in self._keys)

    def matching(self, algorithm: str, key_id: str | None) -> Sequence[SigningKey]:
        """Return the keys that may have signed a token with this header."""
        # Where no key has an id, as in PEM, the header's is ignored.
        found = [key for key in self._keys if key.algorithm == algorithm]
        if key_id is not None and self._have_ids:
            found = [key for key in found if key.key_id == key_id]
        return found[:MOST_KEYS_TRIED]

    def current(self) -> "KeySet":
        """Return itself."""
        return self

    async def refreshed(self) -> bool:
        """Return False: there is nothing to read."""
        return False

    def __len__(self) -> int:
        return len(self._keys)


class KeysUnavailableError(Exception):
    """There are no keys to check a token with, through no fault of the token."""


def by_kind_of_key(algorithms: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return those of `algorithms` that check with a shared secret, and those with a public key."""
    with_secret = [name for name in algorithms if name in get_args(SecretAlgorithm)]
    return with_secret, [name for name in algorithms if name not in with_secret]


def keys_of_secret(secret: str, algorithms: Iterable[str]) -> list[SigningKey]:
    """Bind `secret` to each of `algorithms`; raises UnusableKeysError where it is unfit for one."""
    try:
        raw = secret.encode()
    except UnicodeEncodeError:
        raise UnusableKeysError("must be UTF-8") from None
    encoded = base64.urlsafe_b64encode(raw).decode()
    keys = []
    for name in algorithms:
        if len(raw) < SHORTEST_SECRET_BYTES[name]:
            raise UnusableKeysError(
                f"is too short: {len(raw)} bytes, and {name} asks for at least "
                f"{SHORTEST_SECRET_BYTES[name]} (openssl rand -base64 64 makes a good one)"
            )
        try:
            jwt.get_algorithm_by_name(name).prepare_key(secret)
        except jwt.InvalidKeyError:
            raise UnusableKeysError("must be a random text, not a key or certificate") from None
        keys.append(SigningKey(name, jwt.PyJWK({"kty": "oct", "k": encoded}, name)))
    return keys


def keys_of_pem(text: str, algorithms: Sequence[str]) -> list[SigningKey]:
    """Bind the keys in `text` to `algorithms`; raises UnusableKeysError where one fits none."""
    keys = [
        key
        for number, block in enumerate(_pem_blocks(text), start=1)
        for key in _keys_of_block(block, number, algorithms)
    ]
    for name in algorithms:
        if not any(key.algorithm == name for key in keys):
            raise UnusableKeysError(f"holds no key for {name}, which is configured")
    return keys


def _pem_blocks(text: str) -> list[str]:
    blocks = list(_PEM_BLOCK.finditer(text))
    for number, block in enumerate(blocks, start=1):
        label = block[1]
        if "PRIVATE" in label:
            raise UnusableKeysError(
                f"key {number} is a private key: give the public one (openssl pkey -pubout makes "
                "it), and take the private key out of here"
            )
        if label not in _PEM_LABELS:
            raise UnusableKeysError(
                f"key {number} is no public key but a {label} (of a certificate, "
                "openssl x509 -pubkey -noout shows the key)"
            )
    if not blocks or len(blocks) != text.count("-----BEGIN"):
        raise UnusableKeysError("must be whole public keys in PEM, -----BEGIN PUBLIC KEY----- …")
    if len(blocks) > MOST_KEYS_TRIED:
        raise UnusableKeysError(f"holds more than {MOST_KEYS_TRIED} keys")
    return [block[0] for block in blocks]


def _keys_of_block(block: str, number: int, algorithms: Iterable[str]) -> list[SigningKey]:
    try:
        key = load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeysError(f"key {number} can't be read") from None
    if isinstance(key, RSAPublicKey) and key.key_size < _SHORTEST_RSA_BITS:
        raise UnusableKeysError(
            f"key {number} is too short: {key.key_size} bits, and RSA asks for at least "
            f"{_SHORTEST_RSA_BITS}"
        )
    fitting = [name for name in algorithms if _FITS[name](key)]
    if not fitting:
        kind = _kind_of(key)
        raise UnusableKeysError(f"key {number} ({kind}) fits none of the configured algorithms")
    return [
        SigningKey(name, jwt.PyJWK(jwt.get_algorithm_by_name(name).to_jwk(key, as_dict=True), name))
        for name in fitting
    ]


def keys_of_jwks(document: bytes, algorithms: Sequence[str]) -> list[SigningKey]:
    """Bind the keys of a JWK set that fit any of `algorithms`; raises UnusableKeysError at none."""
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError):
        raise UnusableKeysError("is not JSON") from None
    members = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(members, list):
        raise UnusableKeysError("is not a JWK set")
    keys = [key for member in members for key in _keys_of_jwk(member, algorithms)]
    if not keys:
        raise UnusableKeysError("holds no key for the configured algorithms")
    return keys


def _keys_of_jwk(jwk: Any, algorithms: Iterable[str]) -> list[SigningKey]:
    if not isinstance(jwk, dict) or not _is_for_checking(jwk):
        return []
    keys = []
    for name in algorithms:
        # PyJWT's own errors, and what a JWK of the wrong types makes of it.
        with suppress(jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, OverflowError):
            key = jwt.PyJWK(jwk, name) if jwk.get("alg") in (None, name) else None
            if key is not None and _FITS[name](key.key):
                keys.append(SigningKey(name, key, jwk.get("kid")))
    return keys


def _is_for_checking(jwk: dict[str, Any]) -> bool:
    operations = jwk.get("key_ops")
    return (
        # `oct` is a secret, and one that everybody can read is none.
        jwk.get("kty") in ("RSA", "EC", "OKP")
        and jwk.get("use", "sig") == "sig"
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and isinstance(jwk.get("kid", ""), str)
    )


def _is_rsa(key: Any) -> bool:
    return isinstance(key, RSAPublicKey) and key.key_size >= _SHORTEST_RSA_BITS


def _is_on(curve: str) -> Callable[[Any], bool]:
    return lambda key: isinstance(key, EllipticCurvePublicKey) and key.curve.name == curve


# A private key, which nobody should have published, fits none of these.  PyJWT's EdDSA takes
# Ed448, too, which hardly anybody checks.
_FITS: dict[str, Callable[[Any], bool]] = {
    **{f"{family}{bits}": _is_rsa for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": _is_on("secp256r1"),
    "ES384": _is_on("secp384r1"),
    "ES512": _is_on("secp521r1"),
    "EdDSA": lambda key: isinstance(key, Ed25519PublicKey),
}


def _kind_of(key: Any) -> str:
    if isinstance(key, EllipticCurvePublicKey):
        return f"EC, {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")
