"""The compressors.

zstd: level 1 with the frame's checksum.  On two cores that the server uses, too, only level 1
keeps up with pg_dump; level 2 makes files up to a twentieth smaller.  Measured on the text of
dumps, MB a CPU second and ratio:

    rows of          level 1     level 2     level 3
    mixed columns    623  3.81   412  3.81   260  3.69
    numbers          435  2.86   327  2.84   197  2.67
    JSON             374  3.29   345  3.46   267  3.62
    documents        753  7.37   654  7.86   515  8.48

gzip: ISA-L's level 3, which is six times as fast as `gzip -6` for a file five percent larger
(mixed columns: 421 MB/s and 3.41 against 70 MB/s and 3.57; zlib-ng's level 4: 172 MB/s and
3.60), so that it keeps pace with pg_dump in one thread.
"""

from typing import Protocol

_ZSTD_LEVEL = 1
_GZIP_LEVEL = 3
# zlib's way to say: a window of 32 KiB, and gzip's header and trailer.
_GZIP_WINDOW = 31
_DEFLATE = 8

Chunk = bytes | memoryview


class Compressor(Protocol):
    """Takes the stream in pieces, and returns the file in pieces."""

    def compress(self, data: Chunk, /) -> Chunk:
        """Takes a piece, whose memory may be used again afterwards; may return b"" yet."""
        ...

    def flush(self) -> bytes:
        """Returns the end of the file."""
        ...


class _Uncompressed:
    def compress(self, data: Chunk, /) -> Chunk:
        return data

    def flush(self) -> bytes:
        return b""


def compressor(compression: str, threads: int) -> Compressor:
    """Returns a new compressor of `none`, `zstd` or `gzip`; zstd uses so many threads."""
    if compression == "zstd":
        import zstandard  # noqa: PLC0415 - each export needs one of them at most

        parameters = zstandard.ZstdCompressionParameters.from_level(
            _ZSTD_LEVEL, threads=threads, write_checksum=True
        )
        return zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    if compression == "gzip":
        from isal import isal_zlib  # noqa: PLC0415

        stream: Compressor = isal_zlib.compressobj(_GZIP_LEVEL, _DEFLATE, _GZIP_WINDOW)
        return stream
    return _Uncompressed()
