"""The file beside an unfinished export that says how much of it is written for good, to go on behind it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from casty_es.audit.transfer.places import Cut, Filter, Place
from casty_es.errors import ConfigurationError
from casty_es.journal.port import Meta
from casty_es.private_files import replace

_FORMAT: Final = "casty_es export progress 1"


class Written(msgspec.Struct, frozen=True):
    """What is on the disk: so many bytes, or files, of the output, up to this place."""

    size: int = 0
    place: Place = Place()


class State(msgspec.Struct):
    """What the file says."""

    cut: Cut
    output: str
    written: Written = Written()  # what is on the disk
    # What was when the present slot was begun: where to go back to if it has to be read again.
    before: Written = Written()
    format: str = _FORMAT


class Progress:
    """The file: ``NAME.progress`` beside the target, which is called ``NAME.part`` until it is complete."""

    def __init__(self, target: Path) -> None:
        self._file = target.with_name(target.name + ".progress")

    def load(self, meta: Meta, output: str, wanted: Filter | None) -> State | None:
        """Read what an interrupted export left; ``None`` if there was none. Refuses that of another one."""
        try:
            state = msgspec.json.decode(self._file.read_bytes(), type=State)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise self._refused(f"cannot be read ({error})") from error
        if state.format != _FORMAT:
            raise self._refused(f"has the format {state.format[:40]!r}, not {_FORMAT!r}")
        line = state.cut.journal
        if (line.slots, line.created_at) != (meta.slots, meta.created_at):
            raise self._refused("is of an export of another journal")
        if (state.output, state.cut.filter) != (output, wanted):
            raise self._refused("is of an export with other options")
        return state

    def save(self, state: State) -> None:
        """Write it, so that it is whole whatever happens."""
        replace(self._file, msgspec.json.encode(state))
        sync_folder(self._file.parent)

    def remove(self) -> None:
        """Take it away: the export is complete."""
        self._file.unlink(missing_ok=True)

    def _refused(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"An export was begun here, and {self._file} {why}. Nothing was written. Export to another name, or remove "
            f"that file and the one that ends with .part."
        )


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
