"""Identities and recipients of age, and age itself as Debian has it."""

import subprocess
from base64 import b64encode
from pathlib import Path

from debian_programs import require_programs


def ssh_line(*fields: bytes) -> str:
    """The public key of ssh that has these."""
    blob = b"".join(len(field).to_bytes(4) + field for field in fields)
    return f"{fields[0].decode()} {b64encode(blob).decode()}"


# Nobody has their identities any more.
AGE = "age1yvkl2sjkq8q2rven7ffnhumyy6xfwg9y7hz3sh6ygvfh6ckqpqpstf8luc"
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDaSy1Qo9LLMgMe1CbswESXe12OGq13+neJJeT8IYRdV a b@c"
# Of the right shape, with a letter mistyped.
MISTYPED = AGE[:-1] + "q"

# X25519 with what everybody has in common.
OF_LOW_ORDER = (
    "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z",
    "age1qyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqj7vrya",
    "age1anlllllllllllllllllllllllllllllllllllllllllllllllals4n2t7m",
    "age1ahlllllllllllllllllllllllllllllllllllllllllllllllalsn46ayy",
    "age1amlllllllllllllllllllllllllllllllllllllllllllllllalselrwrv",
    "age1ur4h5lpmgxu2u9jku0a0r87ydtdqnr0tnsetrlvxvgz3vh6fhqqqzyt4v9",
    "age1t7wft09r2zxzfvwsk92eeql0tvzyghxytqwgapkcyf8dm5ylz9ts6wm9s8",
    "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqzqqsuwj9m",
    "age1qyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqzqqk67yly",
)

# The same of Ed25519, canonical or not, with either sign: https://eprint.iacr.org/2020/1244.
OF_LOW_ORDER_SSH = tuple(
    ssh_line(b"ssh-ed25519", bytes.fromhex(point))
    for point in (
        "00" * 32,
        "00" * 31 + "80",
        "01" + "00" * 31,
        "01" + "00" * 30 + "80",
        "ec" + "ff" * 30 + "7f",
        "ec" + "ff" * 31,
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    )
)

# pyrage panics at a number that is zero.
ZERO_RSA = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAABAAAAAAEA",
    ssh_line(b"ssh-rsa", b"\1\0\1", bytes(256)),
)


def require_age() -> None:
    """Have age and ssh-keygen."""
    require_programs(age="age", openssh_client="ssh-keygen")


def age_key(directory: Path) -> tuple[Path, str]:
    """A new identity's file, and its recipient."""
    require_age()
    identity = directory / "key.txt"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    recipient = subprocess.check_output(["age-keygen", "-y", identity], text=True).strip()
    return identity, recipient


def ssh_key(directory: Path, kind: str, *options: str) -> tuple[Path, str]:
    """A new private key's file, and its public key with a comment."""
    require_age()
    identity = directory / f"id_{kind}"
    command = ["ssh-keygen", "-q", "-t", kind, *options, "-N", "", "-C", "a comment"]
    subprocess.run([*command, "-f", str(identity)], check=True)
    return identity, Path(f"{identity}.pub").read_text().strip()


def decrypted(identity: Path, content: bytes) -> bytes:
    """What stock age makes of it; raises CalledProcessError where it refuses."""
    command = ["age", "-d", "-i", str(identity)]
    return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout
