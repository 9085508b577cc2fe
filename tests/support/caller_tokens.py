"""Tokens for callers, signed here: `backupexport-token` is a process in the API's pod."""

import base64
import functools
import secrets
import time

import jwt
from playground.release import Release
from playground.tools import get


def caller_token(key: str, *projects: str, subject: str | None = None) -> str:
    """A token for `projects`, of a subject of its own unless one is named."""
    claims = {
        "sub": subject or f"test-{secrets.token_hex(4)}",
        "exp": int(time.time()) + 24 * 3600,
        "projects": list(projects),
    }
    return jwt.encode(claims, key, "HS256")


@functools.cache
def signing_key(release: Release) -> str:
    """What an installation's API knows its tokens by."""
    data = get("-n", release.namespace, "secret", f"{release.name}-jwt")["data"]
    return base64.b64decode(data["jwt-secret"]).decode()
