"""Files of JSON Lines, plain or gzip (RFC 1952): written in chunks, read line by line with a bound on each.

A chunk of a ``.gz`` file is a gzip member of its own, without a time or a name in it, so that the same lines give the
same bytes and a file that was cut off between two members can be gone on with.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from casty_es.audit.lines import Line, decode_line, encode_lines
from casty_es.audit.transfer.export_state import sync_folder
from casty_es.errors import InvalidValueError
from casty_es.private_files import append_to, create_anew

_CHUNK: Final = 8 * 1024 * 1024  # bytes of text: what is written again, at most, after a crash
_LEVEL: Final = 1  # higher ones take the time of a whole core for a fifth less
_LONGEST: Final = 64 * 1024 * 1024  # bytes, of a snapshot: a state holds many values
# Of every other line. A record has two values of 1 MiB at most, with each character escaped; older versions took more.
_LONGEST_RECORD: Final = 16 * 1024 * 1024
_SNAPSHOT: Final = b'{"row":"snapshot"'
_GZIP_MAGIC: Final = b"\x1f\x8b"


class JsonLinesWriter:
    """Writes ``NAME.part``, and gives it its name in the end. If that ends with ``.gz`` it is compressed."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._gzip = target.suffix == ".gz"
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._size = 0

    def open(self, size: int) -> None:
        """Begin behind so many bytes that are there; what stands behind them is cut off."""
        self._buffer, self._buffered, self._size = [], 0, size
        with append_to(self._part) if size else create_anew(self._part) as stream:
            stream.truncate(size)

    @property
    def there(self) -> int:
        """How many bytes are there of an interrupted export."""
        return self._part.stat().st_size if self._part.exists() else 0

    @property
    def due(self) -> bool:
        """Whether there is enough for a chunk."""
        return self._buffered >= _CHUNK

    def add(self, lines: list[Line]) -> None:
        """Take lines for the next chunk."""
        if lines:
            text = encode_lines(lines)
            self._buffer.append(text)
            self._buffered += len(text)

    def take(self) -> bytes:
        """Return the lines taken so far, and begin the next chunk."""
        chunk = b"".join(self._buffer)
        self._buffer, self._buffered = [], 0
        return chunk

    def write(self, chunk: bytes) -> int:
        """Write a chunk for good; return the size."""
        if chunk:
            if self._gzip:
                chunk = gzip.compress(chunk, _LEVEL, mtime=0)
            with append_to(self._part) as stream:
                stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            self._size += len(chunk)
        return self._size

    def finish(self) -> None:
        """Give the file its name."""
        self._part.replace(self._target)
        sync_folder(self._target.parent)


def read_json_lines(file: Path) -> Iterator[tuple[int, Line]]:
    """Yield the lines of a file with their numbers, from 1; what refuses one names it by its number."""
    number = 0
    try:
        with _opened(file) as stream:
            while text := stream.readline(_LONGEST_RECORD + 1):
                number += 1
                longest = _LONGEST if text.startswith(_SNAPSHOT) else _LONGEST_RECORD
                if len(text) > _LONGEST_RECORD and not text.endswith(b"\n"):
                    text += stream.readline(longest + 1 - len(text))
                if len(text) > longest:
                    raise _refused(file, number, f"it is longer than {longest:,} bytes.")
                if not text.endswith(b"\n"):
                    raise _refused(file, number, "the file ends within it.")
                try:
                    line = decode_line(text)
                except InvalidValueError as error:
                    raise _refused(file, number, str(error)) from error
                del text  # it is in the line once more
                yield number, line
                del line
    except (OSError, EOFError, zlib.error) as error:  # gzip's own errors are an OSError
        raise InvalidValueError(
            f"{file} cannot be read behind line {number}: {error}. The lines before it were read. Is it whole?"
        ) from error


def _opened(file: Path) -> BinaryIO:
    with file.open("rb") as stream:
        compressed = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    if file.suffix == ".gz" and not compressed and file.stat().st_size:
        raise InvalidValueError(f"{file} is not a gzip file, although its name says so. Nothing was read.")
    return cast("BinaryIO", gzip.open(file, "rb") if compressed else file.open("rb"))


def _refused(file: Path, number: int, why: str) -> InvalidValueError:
    return InvalidValueError(f"Line {number} of {file} cannot be taken: {why} The lines before it were read.")
