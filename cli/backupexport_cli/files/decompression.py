"""Reads a compressed file to its end, where this machine can."""

import gzip
import os
import shutil
import subprocess
import zlib
from typing import IO, Any

from backupexport_cli.files.dump_end import Kind

_PIECE_BYTES = 1024 * 1024
# What no other program needs.
_OWN_SETTINGS = "BACKUPEXPORT_"


class DamagedError(Exception):
    """What is compressed was cut, or changed."""


def decompressed_tail(kind: Kind, descriptor: int, most: int) -> bytes | None:
    """Return the last `most` bytes of what is in an open file; None where nothing can read it.

    Raises DamagedError, and OSError.
    """
    os.lseek(descriptor, 0, os.SEEK_SET)
    return _of_gzip(descriptor, most) if kind == "gz" else _of_zstd(descriptor, most)


def _of_gzip(descriptor: int, most: int) -> bytes:
    if not os.fstat(descriptor).st_size:
        # gzip takes it for nothing that was compressed.
        raise DamagedError
    with (
        open(descriptor, "rb", closefd=False) as compressed,
        gzip.GzipFile(fileobj=compressed) as stream,
    ):
        try:
            return _tail(stream, most)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise DamagedError from None


def _of_zstd(descriptor: int, most: int) -> bytes | None:
    """Python has no zstd of its own before 3.14."""
    program = shutil.which("zstd")
    if program is None:
        return None
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_OWN_SETTINGS)
    }
    with subprocess.Popen(
        [program, "-dcq"],
        stdin=descriptor,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            tail = _tail(process.stdout, most)
        except BaseException:
            process.kill()
            raise
    if process.returncode > 0:
        raise DamagedError
    # One that was killed has said nothing.
    return tail if process.returncode == 0 else None


def _tail(stream: IO[bytes] | Any, most: int) -> bytes:
    tail = b""
    while piece := stream.read(_PIECE_BYTES):
        tail = (tail + piece[-most:])[-most:]
    return tail
