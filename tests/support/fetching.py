"""A download from a file server of a test, and what is left of it."""

import io
import random
from pathlib import Path
from typing import Any

import pyrage
from backupexport_cli.files.download import download
from backupexport_cli.output.console import Output
from backupexport_cli.service.rest import RestExports
from file_server import FILE_NAME, JOB_ID, FileServer, job_of

CONTENT = random.Random(19).randbytes(3_000_000)


class Words:
    """What a person was told."""

    def __init__(self) -> None:
        self.err = io.StringIO()
        self.output = Output(out=io.StringIO(), err=self.err, environment={})


def fetched(rest: RestExports, to: Path | None, **options: Any) -> Path:
    options = {"connections": None, "identities": [], "output": Words().output} | options
    return download(rest, rest.job(JOB_ID), to, **options)


def encrypted_file(files: FileServer, folder: Path) -> tuple[Any, Path]:
    """Have the server send an encrypted file; its identity, and the file with that."""
    key = pyrage.x25519.Identity.generate()
    files.content = pyrage.encrypt(CONTENT, [key.to_public()])
    files.job = job_of(files.content, f"{FILE_NAME}.age")
    identity = folder / "key"
    identity.write_text(str(key))
    return key, identity


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
