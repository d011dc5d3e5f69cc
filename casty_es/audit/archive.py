"""Archives: the files to which retention moves events before it cuts them.

An archive is a gzip file of lines of JSON (``lines.py``): one that says what it is, then for each entity its row in
the directory, without its salt, and its events in order. Nobody trusts it: its events are checked by the hash chain
against the seals in the journal (:func:`check_archive`), also after some of its values were redacted.
"""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from stat import S_IMODE, S_IRWXG
from typing import Final, TypeAlias

from casty_es.audit.lines import EntityLine, EventLine, JournalLine, Line, encode_line
from casty_es.audit.transfer.export_state import sync_folder
from casty_es.audit.transfer.jsonl import read_json_lines
from casty_es.errors import InvalidValueError
from casty_es.journal.port import DirectoryRow, EventRow, Meta
from casty_es.private_files import create_anew

FORMAT: Final = "casty_es archive 1"

Changeable: TypeAlias = EventLine | EntityLine
"""The lines of an archive that may be changed or taken out."""

_OPEN: Final = ".open"
_CHUNK: Final = 1024 * 1024


class ArchiveWriter:
    """Writes an archive that has its name only when it is whole, and overwrites none that is there."""

    def __init__(self, file: Path, meta: Meta) -> None:
        self.file = file
        self._part = file.with_name(file.name + ".part")
        try:
            self._raw = create_anew(self._part)
        except OSError as error:
            raise _unwritable(file, error) from error
        # Without a name and a time in it, the same rows give the same bytes.
        self._zip = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0, compresslevel=6)
        self.line(JournalLine(FORMAT, meta.slots, meta.incarnation, meta.created_at))

    def entity(self, row: DirectoryRow) -> None:
        """Begin an entity. Its salt stays in the database, where redaction can destroy it."""
        self.line(EntityLine.of(row._replace(salt=None)))

    def line(self, line: Line) -> None:
        """Add a line as it is, such as an event of the entity that was begun last."""
        try:
            self._zip.write(encode_line(line))
        except OSError as error:
            raise _unwritable(self.file, error) from error

    def finish(self, *, replace: bool = False) -> str:
        """Bring it to the disk under its name; return the SHA-256 of the file, hexadecimal."""
        try:
            self._zip.close()
            self._raw.flush()
            os.fsync(self._raw.fileno())
            self._raw.close()
            if replace:
                _give_mode_of(self.file, self._part)
            elif self.file.exists():
                raise FileExistsError(f"{self.file} exists")
            self._part.replace(self.file)
            sync_folder(self.file.parent)
        except OSError as error:
            raise _unwritable(self.file, error) from error
        return digest_of(self.file)

    def abandon(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):  # the disk may be full, and then it cannot be written to the end
            self._raw.close()
        self._part.unlink(missing_ok=True)


def _give_mode_of(file: Path, new: Path) -> None:
    """Let those read the new file who may read the old one; where its group cannot be given, no group."""
    found = file.stat()
    mode = S_IMODE(found.st_mode)
    if new.stat().st_gid != found.st_gid:
        try:
            os.chown(new, -1, found.st_gid)
        except OSError:
            mode &= ~S_IRWXG
    new.chmod(mode)


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    whole = sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            whole.update(chunk)
    return whole.hexdigest()


def read_archive(file: Path) -> Iterator[tuple[DirectoryRow, EventRow]]:
    """Yield the events of an archive, each with its entity's row; the salts are not in it.

    Raises ``InvalidValueError`` for a file that cannot be read, or is no archive that this version can read.
    """
    entity: DirectoryRow | None = None
    for line in _lines(file):
        if isinstance(line, EntityLine):
            entity = line.to_row()
        elif isinstance(line, EventLine) and entity is not None and line.entity == entity.id:
            try:
                row = line.to_row()
            except ValueError as error:
                raise _unreadable(file, f"an event has something that is not hexadecimal ({error})") from error
            yield entity, row
        elif not isinstance(line, JournalLine):
            raise _unreadable(file, "a line stands where none of its sort may stand")


def rewrite_archive(file: Path, change: Callable[[Changeable], Changeable | None]) -> int:
    """Write an archive anew with some lines changed, or left out; return how many. The old file is there until then.

    Whoever does this to one archive must be the only one (``SqlJournal.alone``).
    """
    file = file.resolve()  # behind a link stands the file that holds the values
    changed = 0
    writer: ArchiveWriter | None = None
    try:
        for line in _lines(file):
            if isinstance(line, JournalLine):
                writer = ArchiveWriter(file, Meta(line.slots, line.incarnation, line.created_at))
                continue
            assert writer is not None  # noqa: S101 - the first line is a JournalLine
            new = change(line) if isinstance(line, EventLine | EntityLine) else line
            changed += new is not line
            if new is not None:
                writer.line(new)
        assert writer is not None  # noqa: S101 - likewise
        if changed:
            writer.finish(replace=True)
        else:
            writer.abandon()
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    return changed


def opened(file: Path) -> Path:
    """Return the name of an archive of which not everything is cut yet."""
    return file.with_name(file.name + _OPEN)


def closed(file: Path) -> Path:
    """Return the name of an archive that was open."""
    return file.with_name(file.name.removesuffix(_OPEN))


def _lines(file: Path) -> Iterator[Line]:
    """Yield the lines, the first one checked."""
    number = 0
    for number, line in read_json_lines(file):
        if (number == 1) is not isinstance(line, JournalLine):
            raise _unreadable(file, "it does not begin as one")
        if isinstance(line, JournalLine) and line.format != FORMAT:
            raise _unreadable(file, f"its format is {line.format[:40]!r}, not {FORMAT!r}")
        yield line
    if not number:
        raise _unreadable(file, "it is empty")


def _unreadable(file: Path, why: str) -> InvalidValueError:
    return InvalidValueError(f"{file} is not an archive that can be read: {why}. Nothing was changed.")


def _unwritable(file: Path, error: OSError) -> InvalidValueError:
    return InvalidValueError(
        f"The archive {file} cannot be written: {error}. Nothing was cut. Make room or name another."
    )
