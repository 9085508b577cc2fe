"""Secrets that are rotated while the API runs: no restart, and two at once while they overlap."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from backupexport_api.auth import secret_files
from backupexport_api.auth.authentication import Authenticator
from backupexport_api.auth.secret_files import SecretFiles, read_secret
from backupexport_api.http.problems import ProblemError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

OLD, NEW, NEWEST = "o" * 64, "n" * 64, "w" * 64


class MountedSecret:
    """A directory as the kubelet makes it: a change moves one link, and all files with it."""

    def __init__(self, root: Path) -> None:
        self._root, self._versions = root, 0

    def put(self, **files: str) -> None:
        """Have these files and no others."""
        self._versions += 1
        version = self._root / f"..{self._versions}"
        version.mkdir(parents=True)
        for name, text in files.items():
            (version / name).write_text(text)
        link = self._root / "..new"
        link.symlink_to(version.name)
        link.rename(self._root / "..data")

    def __getitem__(self, name: str) -> Path:
        return self._root / "..data" / name


@pytest.fixture(autouse=True)
def _look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_files, "LOOK_AGAIN_SECONDS", 0)


@pytest.fixture
def mounted(tmp_path: Path) -> MountedSecret:
    return MountedSecret(tmp_path / "secret")


def token(secret: str) -> str:
    claims = {"sub": "a", "exp": int(time.time()) + 600, "projects": ["p"]}
    return jwt.encode(claims, secret, "HS256")


async def is_good(authenticator: Authenticator, secret: str) -> bool:
    try:
        await authenticator.caller_of(token(secret))
    except ProblemError:
        return False
    return True


async def test_the_secret_of_tokens_is_rotated_without_a_restart(
    mounted: MountedSecret, make_settings: Callable[..., Any]
) -> None:
    mounted.put(secret=OLD)
    settings = make_settings(
        JWT_SECRET_FILE=str(mounted["secret"]), JWT_SECRET_PREVIOUS_FILE=str(mounted["previous"])
    )
    authenticator = Authenticator(settings)
    remembered = token(OLD)

    async def good() -> list[str]:
        return [one for one in (OLD, NEW, NEWEST) if await is_good(authenticator, one)]

    await authenticator.caller_of(remembered)
    assert await good() == [OLD]
    mounted.put(secret=NEW, previous=OLD)
    assert await good() == [OLD, NEW]
    await authenticator.caller_of(remembered)
    mounted.put(secret=NEW)
    assert await good() == [NEW]
    # A token that was found good before is none any more either.
    with pytest.raises(ProblemError):
        await authenticator.caller_of(remembered)
    mounted.put(secret=NEWEST, previous=NEW)
    assert await good() == [NEW, NEWEST]


async def test_public_keys_are_rotated_without_a_restart(
    mounted: MountedSecret, make_settings: Callable[..., Any]
) -> None:
    def pair() -> tuple[Any, str]:
        private = Ed25519PrivateKey.generate()
        pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return private, pem.decode()

    (old, old_pem), (new, new_pem) = pair(), pair()
    mounted.put(keys=old_pem)
    authenticator = Authenticator(
        make_settings(
            JWT_SECRET="",
            JWT_ALGORITHMS="EdDSA",
            JWT_PUBLIC_KEY_FILE=str(mounted["keys"]),
            JWT_ANY_AUDIENCE="true",
        )
    )

    async def good() -> list[Any]:
        found = []
        for private in (old, new):
            claims = {"sub": "a", "exp": int(time.time()) + 600, "projects": ["p"]}
            try:
                await authenticator.caller_of(jwt.encode(claims, private, "EdDSA"))
            except ProblemError:
                continue
            found.append(private)
        return found

    assert await good() == [old]
    mounted.put(keys=old_pem + new_pem)
    assert await good() == [old, new]
    mounted.put(keys=new_pem)
    assert await good() == [new]


@pytest.mark.parametrize("broken", [{}, {"secret": ""}, {"secret": "short"}])
async def test_what_can_not_be_used_replaces_nothing_and_is_not_repeated(
    mounted: MountedSecret,
    make_settings: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    broken: dict[str, str],
) -> None:
    mounted.put(secret=OLD)
    authenticator = Authenticator(make_settings(JWT_SECRET_FILE=str(mounted["secret"])))
    mounted.put(**broken)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await is_good(authenticator, OLD)
    (line,) = caplog.messages
    assert "can't be used" in line
    assert "short," not in line
    mounted.put(secret=NEW)
    assert await is_good(authenticator, NEW)


def test_a_previous_secret_that_is_unfit_stops_the_api_at_the_start(
    mounted: MountedSecret, make_settings: Callable[..., Any]
) -> None:
    mounted.put(secret=OLD, previous="short")
    for setting in ("JWT_SECRET_PREVIOUS_FILE", "LINK_SECRET_PREVIOUS_FILE"):
        with pytest.raises(ValidationError, match=setting.lower()):
            make_settings(**{setting: str(mounted["previous"])})
        make_settings(**{setting: str(mounted["nothing"])})


def test_files_are_looked_at_every_few_seconds_at_most(
    mounted: MountedSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_files, "LOOK_AGAIN_SECONDS", 2.0)
    looks: list[Any] = []
    stamp = secret_files._stamp

    def look(path: Path) -> Any:
        looks.append(path)
        return stamp(path)

    monkeypatch.setattr(secret_files, "_stamp", look)
    now = [0.0]
    mounted.put(secret="a")
    path = mounted["secret"]
    files = SecretFiles([path], lambda: read_secret(path), lambda: now[0])
    looks.clear()
    mounted.put(secret="b")
    for tick in range(20):
        now[0] = tick / 10
        assert files.current() == "a"
    assert looks == []
    now[0] = 2.0
    assert [files.current() for _ in range(10)] == ["b"] * 10
    assert looks == [path]
