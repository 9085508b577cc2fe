"""S3 servers on loopback, the programs that S3_IMAGE and OTHER_S3_IMAGE hold.

What the other, gofakes3, has not: a bucket's policy, so its user may do nothing; a disk, so its
objects end with it and have to fit into memory; a look at whether a body is the one that was signed
for, but where there is a Content-MD5.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from local_cluster.build import build_other_s3_server, build_s3_server
from local_cluster.layout import cache_directory
from local_cluster.locking import turn
from playground.forward import free_port
from playground.s3_server import REGION, KeyPair
from playground.tools import wait_for
from s3_client import S3Client

KINDS = {"versitygw": build_s3_server, "gofakes3": build_other_s3_server}
_LOCK = Path("/run/lock/backupexport-s3-server.lock")
_START_SECONDS = 30
_END_SECONDS = 15


@dataclass(frozen=True)
class S3Server:
    """Where it is, and who may ask it: `owner` for all, `user` for what a policy allows."""

    kind: str
    url: str
    region: str
    owner: KeyPair
    user: KeyPair
    # The PEM that a client has to trust; None where it has no TLS.
    authority: str | None

    @contextmanager
    def client(self) -> Iterator[S3Client]:
        """Its owner."""
        with S3Client(self.url, self.owner, self.region, self.authority) as client:
            yield client


@contextmanager
def s3_server(
    directory: Path,
    kind: str = "versitygw",
    *,
    certificate: Path | None = None,
    authority: str | None = None,
) -> Iterator[S3Server]:
    """A server of one of the KINDS over `directory`, which ends with the context.

    `certificate` is a file with a key and a certificate for 127.0.0.1, of that `authority`.
    """
    port = free_port()
    address = f"127.0.0.1:{port}"
    owner, user = _key_pair("owner"), _key_pair("user")
    command = [
        str(_program(kind)), f"--listen={address}", f"--directory={directory}", f"--region={REGION}"
    ]  # fmt: skip
    if certificate is not None:
        command += [f"--tls-cert={certificate}", f"--tls-key={certificate}"]
    log = directory.with_name(f"{directory.name}.log")
    server = S3Server(
        kind=kind,
        url=f"{'http' if certificate is None else 'https'}://{address}",
        region=REGION,
        owner=owner,
        user=user,
        authority=authority,
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | _variables("OWNER", owner) | _variables("USER", user),
            # A Ctrl-C is for this process, which then ends it.
            start_new_session=True,
        )
    try:
        wait_for(lambda: _is_ready(process, server, log), "the S3 server", _START_SECONDS)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program(kind: str) -> Path:
    cache = cache_directory()
    with turn(_LOCK, "S3 server"):
        return KINDS[kind](cache, cache / "logs")


def _key_pair(whose: str) -> KeyPair:
    return KeyPair(f"{whose}-{secrets.token_hex(6)}", secrets.token_urlsafe(30))


def _variables(whose: str, keys: KeyPair) -> dict[str, str]:
    return {
        f"{whose}_ACCESS_KEY_ID": keys.access_key_id,
        f"{whose}_SECRET_ACCESS_KEY": keys.secret_access_key,
    }


def _is_ready(process: subprocess.Popen[bytes], server: S3Server, log: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"the S3 server has ended:\n{log.read_text()}")
    # Ready or not: nothing here is about who vouches for it.
    try:
        return httpx.get(f"{server.url}/readyz", verify=False, trust_env=False).is_success
    except httpx.TransportError:
        return False
