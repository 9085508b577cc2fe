"""A server's certificate and the authority that signed it, made with openssl."""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_DAYS = "365"
# Python 3.13 refuses what leaves any of these out.
_CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {alternatives}
"""


@dataclass(frozen=True)
class ServerCertificate:
    """All in PEM; the authority's key is gone, so it signs nothing else."""

    authority: str
    certificate: str
    key: str


def server_certificate(hosts: Sequence[str]) -> ServerCertificate:
    """A certificate for DNS names, and for 127.0.0.1, where a port-forward ends."""
    alternatives = ", ".join(["IP:127.0.0.1", *(f"DNS:{host}" for host in hosts)])
    with tempfile.TemporaryDirectory(prefix="backupexport-certificate-") as folder:
        root = Path(folder)
        for name in ("authority", "server"):
            (root / f"{name}.cnf").write_text(
                _CONFIGURATION.format(name=f"backupexport {name}", alternatives=alternatives),
                encoding="ascii",
            )
        _make(root, "authority")
        _make(root, "server", "-CA", "authority.pem", "-CAkey", "authority.key")
        authority, certificate, key = (
            (root / file).read_text(encoding="ascii")
            for file in ("authority.pem", "server.pem", "server.key")
        )
    return ServerCertificate(authority, certificate, key)


def _make(root: Path, name: str, *signed_by: str) -> None:
    done = subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", _DAYS, "-config", f"{name}.cnf", "-extensions", name,
            "-keyout", f"{name}.key", "-out", f"{name}.pem", *signed_by,
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"openssl could not make the {name}'s certificate: {done.stderr}")
