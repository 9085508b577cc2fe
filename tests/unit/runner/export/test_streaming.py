"""How far a dump is."""

import os
import tempfile
import threading
from collections.abc import Callable

import pyrage
import pytest
from backupexport_runner.export.compression import Chunk, compressor
from backupexport_runner.export.streaming import HEAD_BYTES, ProgressMeter, stream


def test_progress() -> None:
    meter = ProgressMeter(1000, now=0)
    assert meter.update(100, 0.9) is None
    told = [meter.update(count, now) for count, now in [(100, 1), (200, 1.5), (500, 2), (2000, 3)]]
    assert [progress and progress.percent for progress in told] == [10, None, 50, 99]
    assert meter.complete(2000).percent == 100


def test_progress_without_an_estimate() -> None:
    progress = ProgressMeter(0, now=0).update(100, 1)
    assert progress is not None
    assert (progress.percent, progress.dumped_bytes, progress.estimated_bytes) == (0, 100, 0)


def test_the_time_left_falls_with_a_steady_dump() -> None:
    meter = ProgressMeter(1000, now=0)
    told = [meter.update(100 * second, second) for second in range(1, 11)]
    left = [progress and progress.seconds_left for progress in told]
    # Too early to tell, then less each second, then more than was guessed.
    assert left == [None, 8, 7, 6, 5, 4, 3, 2, 1, None]
    assert meter.complete(1000).seconds_left == 0


def test_the_time_left_grows_with_a_dump_that_slows_down() -> None:
    meter = ProgressMeter(1000, now=0)
    assert meter.update(500, 5).seconds_left == 5  # type: ignore[union-attr]
    assert meter.update(510, 50).seconds_left == 49  # type: ignore[union-attr]


def test_nothing_is_guessed_without_bytes_or_an_estimate() -> None:
    assert ProgressMeter(1000, now=0).update(19, 9).seconds_left is None  # type: ignore[union-attr]
    assert ProgressMeter(1000, now=0).update(20, 9).seconds_left == 441  # type: ignore[union-attr]
    assert ProgressMeter(1000, now=0).update(0, 9).seconds_left is None  # type: ignore[union-attr]
    assert ProgressMeter(0, now=0).update(9, 9).seconds_left is None  # type: ignore[union-attr]


def pumped(parts: list[bytes], clean: Callable[[bytes], bytes] = bytes) -> tuple[bytes, int]:
    """What `stream` makes of writes to its pipe, and the bytes that it counted at last."""
    reader, writer = os.pipe()
    written, counts = bytearray(), [0]

    def send() -> None:
        with os.fdopen(writer, "wb", buffering=0) as file:
            for part in parts:
                file.write(part)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        told = stream(
            reader,
            compressor("none", 1),
            written.extend,
            clean_head=clean,
            count=counts.append,
            at_end=lambda: None,
        )
    finally:
        sender.join()
        os.close(reader)
    assert told.uncompressed_bytes == told.size_bytes == len(written)
    return bytes(written), counts[-1]


@pytest.mark.parametrize("size", [0, 1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, 3_000_000])
def test_all_of_a_dump_is_written(size: int) -> None:
    content = os.urandom(size)
    assert pumped([content[: size // 3], content[size // 3 :]]) == (content, size)


def test_what_fails_is_never_encrypted_to_an_end() -> None:
    identity = pyrage.x25519.Identity.generate()

    class CutError(Exception):
        pass

    def cut() -> None:
        raise CutError

    for size in (0, 100, 64 * 1024, 1_000_000):
        written = bytearray()
        with tempfile.TemporaryFile() as source:
            source.write(b"x" * size)
            source.seek(0)
            with pytest.raises(CutError):
                stream(
                    source.fileno(),
                    compressor("none", 1),
                    written.extend,
                    [identity.to_public()],
                    clean_head=bytes,
                    count=lambda _: None,
                    at_end=cut,
                )
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(bytes(written), [identity])


@pytest.mark.parametrize(
    ("size", "room"),
    # As the header, the first piece, and the last one is written.
    [(0, 0), (0, 100), (100_000, 0), (100_000, 300), (100_000, 66_000), (100_000, 100_000)],
)
def test_a_storage_that_fails_ends_an_encrypted_export_with_its_own_failure(
    size: int, room: int
) -> None:
    written = bytearray()

    def put(piece: Chunk) -> None:
        if len(written) + len(piece) > room:
            raise OSError(28, "full")
        written.extend(piece)

    with tempfile.TemporaryFile() as source:
        source.write(os.urandom(size))
        source.seek(0)
        with pytest.raises(OSError, match="full") as raised:
            stream(
                source.fileno(),
                compressor("zstd", 1),
                put,
                [pyrage.x25519.Identity.generate().to_public()],
                clean_head=bytes,
                count=lambda _: None,
                at_end=lambda: None,
            )
    assert raised.value.errno == 28


def test_only_the_head_is_cleaned() -> None:
    content = b"a" * HEAD_BYTES + b"a" * 100_000
    written, _ = pumped([b"a" * 10, content[10:]], lambda head: head.replace(b"a", b"", 1))
    assert len(written) == len(content) - 1
    assert pumped([b"ab"], lambda head: head[1:]) == (b"b", 1)
