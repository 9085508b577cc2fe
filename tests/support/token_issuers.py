"""Issuers of tokens, good and bad: whatever header, claims and key a test wants."""

import base64
import json
import time
from dataclasses import dataclass, replace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER, AUDIENCE = "https://issuer.example", "exports"


@dataclass(frozen=True)
class Issuer:
    """Signs with one key; `key` is bytes for HS algorithms, else a private key."""

    algorithm: str
    key: Any
    key_id: str | None = None

    @classmethod
    def of(cls, algorithm: str, key_id: str | None = None) -> "Issuer":
        """Make an issuer with a new key."""
        return cls(algorithm, new_key(algorithm), key_id)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Good claims with `changes`; a claim given as None is left out."""
        good = {
            "sub": "alice",
            "exp": int(time.time()) + 600,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "projects": ["*"],
            **changes,
        }
        return {name: value for name, value in good.items() if value is not None}

    def header(self, **changes: Any) -> dict[str, Any]:
        """A good header with `changes`."""
        named = {} if self.key_id is None else {"kid": self.key_id}
        return {"alg": self.algorithm, "typ": "JWT", **named, **changes}

    def token(self, header: Any = None, claims: Any = None) -> str:
        """Sign whatever is given, by the issuer's own algorithm whatever the header says."""
        signed = f"{segment(header or self.header())}.{segment(claims or self.claims())}"
        signature = jwt.get_algorithm_by_name(self.algorithm).sign(signed.encode(), self.key)
        return f"{signed}.{segment(signature)}"

    def by(self, **changes: Any) -> "Issuer":
        """Another issuer, such as one with another algorithm for the same key."""
        return replace(self, **changes)

    def pem(self) -> str:
        """The public key."""
        public = self.key.public_key()
        return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())

    def der(self) -> bytes:
        """The public key."""
        public = self.key.public_key()
        return bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key with `changes`; a member given as None is left out."""
        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.key.public_key(), as_dict=True)
        made.pop("key_ops", None)
        members = {**made, "kid": self.key_id, "use": "sig", "alg": self.algorithm, **changes}
        return {name: value for name, value in members.items() if value is not None}


def new_key(algorithm: str, rsa_bits: int = 2048) -> Any:
    """A key that fits."""
    curves: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
    if algorithm.startswith("HS"):
        return f"the-secret-of-an-{algorithm}-issuer-".encode() + b"0123456789abcdef" * 3
    if algorithm in curves:
        return ec.generate_private_key(curves[algorithm]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)


def jwks(*keys: Any) -> bytes:
    """A JWK set."""
    return json.dumps({"keys": keys}).encode()


def segment(value: Any) -> str:
    """A part of a token: bytes as they are, anything else as JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
