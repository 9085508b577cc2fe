"""One pass over pg_dump's output: count, compress, encrypt, hash, write, in constant memory.

One thread does all of it but zstd's compression.  Hashing and writing take a few percent of
pg_dump's time (measured: a thread for reading and one for writing made it slower on two cores),
and so does encrypting: age asks for the next piece when it has written the last one.
"""

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backupexport_contract.runner_protocol import Progress

from backupexport_runner.export.compression import Chunk, Compressor
from backupexport_runner.export.encryption import encrypt

_BUFFER_BYTES = 1024 * 1024
# pg_dump writes 4 KiB at a time, and waking a waiting reader for each costs a fifth of its speed.
# A nap after a short read lets the pipe (1 MiB) fill.
_SHORT_READ_BYTES = 256 * 1024
_NAP_SECONDS = 0.001
_SECONDS_BETWEEN_PROGRESS = 1.0
_SECONDS_BEFORE_GUESSING = 2.0
# Of a tar's first table nothing is seen until pg_dump has spooled it.
_LEAST_PERCENT_BEFORE_GUESSING = 2
# pg_dump's first settings are within.
HEAD_BYTES = 4096
# The estimate may be too low: 100 is for a complete file.
_MOST_BEFORE_THE_END = 99


@dataclass(frozen=True, slots=True)
class Streamed:
    """Sizes in bytes of what came in and what went out, and the SHA-256 (hex) of the latter."""

    uncompressed_bytes: int
    size_bytes: int
    sha256: str


def stream(
    source: int,
    compressor: Compressor,
    write: Callable[[Chunk], None],
    recipients: Sequence[Any] = (),
    *,
    clean_head: Callable[[bytes], bytes],
    count: Callable[[int], None],
    at_end: Callable[[], None],
) -> Streamed:
    """Moves everything from the descriptor `source` through `compressor` to `write`.

    It is encrypted to the `recipients`, pyrage's, unless there are none.  What `clean_head` returns
    of the first `HEAD_BYTES` or more takes their place.  `count` gets the number of bytes read so
    far, after each read.  `at_end` is called between the end of `source` and the end of the file:
    if it raises, the file stays without its end.
    """
    sink, dump = _Sink(write), _Dump(source, compressor, clean_head, count, at_end)
    if recipients:
        encrypt(dump.pieces(), sink.put, recipients)
    else:
        for piece in dump.pieces():
            sink.put(piece)
    return Streamed(dump.read_bytes, sink.written_bytes, sink.digest.hexdigest())


@dataclass
class _Dump:
    """pg_dump's output in compressed pieces; the memory of one is used again for the next."""

    source: int
    compressor: Compressor
    clean_head: Callable[[bytes], bytes]
    count: Callable[[int], None]
    at_end: Callable[[], None]
    read_bytes: int = 0

    def pieces(self) -> Iterator[Chunk]:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        head = bytearray()
        while len(head) < HEAD_BYTES and (length := os.readv(self.source, [buffer])):
            head += buffer[:length]
        cleaned = self.clean_head(bytes(head))
        yield self.compressor.compress(cleaned)
        self.read_bytes = len(cleaned)
        self.count(self.read_bytes)
        while length := os.readv(self.source, [buffer]):
            yield self.compressor.compress(buffer[:length])
            self.read_bytes += length
            self.count(self.read_bytes)
            if length < _SHORT_READ_BYTES:
                time.sleep(_NAP_SECONDS)
        self.at_end()
        yield self.compressor.flush()


class _Sink:
    """Hashes and counts what is written."""

    def __init__(self, write: Callable[[Chunk], None]) -> None:
        self._write = write
        self.digest = hashlib.sha256()
        self.written_bytes = 0

    def put(self, piece: Chunk) -> None:
        if piece:
            self.digest.update(piece)
            self._write(piece)
            self.written_bytes += len(piece)


class ProgressMeter:
    """Turns byte counts into progress, at most once a second; the percentage never falls.

    What is left is guessed from the mean speed so far, which changes little, so that it falls.
    """

    def __init__(self, estimated_bytes: int, now: float) -> None:
        self._estimated = estimated_bytes
        self._began_at = self._told_at = now
        self._percent = 0

    def begin(self) -> Progress:
        """Returns the first progress, of a dump that begins."""
        return Progress(0, 0, self._estimated)

    def update(self, dumped_bytes: int, now: float) -> Progress | None:
        """Returns the progress at `now` (seconds of a monotonic clock); None if it is too early."""
        if now - self._told_at < _SECONDS_BETWEEN_PROGRESS:
            return None
        self._told_at = now
        if self._estimated > 0:
            percent = min(_MOST_BEFORE_THE_END, dumped_bytes * 100 // self._estimated)
            self._percent = max(self._percent, percent)
        left = self._seconds_left(dumped_bytes, now - self._began_at)
        return Progress(self._percent, dumped_bytes, self._estimated, left)

    def complete(self, dumped_bytes: int) -> Progress:
        """Returns the last progress, of a file that is complete under its final name."""
        return Progress(100, dumped_bytes, self._estimated, 0)

    def _seconds_left(self, dumped_bytes: int, seconds: float) -> int | None:
        # Nobody knows at the start, nor where there is more than was guessed.
        begun = self._estimated * _LEAST_PERCENT_BEFORE_GUESSING / 100
        if seconds < _SECONDS_BEFORE_GUESSING or not begun <= dumped_bytes < self._estimated:
            return None
        return math.ceil((self._estimated - dumped_bytes) * seconds / dumped_bytes)
