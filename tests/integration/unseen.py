"""Characters that nobody sees, or that do something to a terminal, and commands that are to show them."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["COMMANDS", "UNSEEN", "name_with"]

# Default_Ignorable_Code_Point of Unicode beyond the categories below, and characters whose glyph is blank.
_IGNORED: Final = {
    *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x1D159),
    *(0x180B, 0x180C, 0x180D, 0x180F),
    *range(0xFE00, 0xFE10),
    *range(0xE0100, 0xE01F0),
}

UNSEEN: Final = tuple(
    character
    for character in map(chr, (*range(0x20000), *range(0xE0000, 0xE1000)))  # in no other plane are any
    if (unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Zs"} or ord(character) in _IGNORED)
    and character != " "
)
"""Every control, format and separating character, and what renders as nothing although it is none of them."""


def name_with(characters: str) -> str:
    """Return a name that would begin a line of its own, if the characters did what they can."""
    return f"ok{characters}2026-11-27 FORGED"


COMMANDS: Final = (
    "counter increment NAME",
    "counter get NAME",
    "counter decrement NAME",
    "counter set NAME 3",
    "counter compare-and-set NAME 3 4",
    "map put NAME NAME --text NAME",
    "map put-if-absent NAME NAME --text NAME",
    "map replace NAME NAME --text NAME NAME",
    "map get NAME NAME",
    "map contains NAME NAME",
    "map keys NAME",
    "map keys NAME --json",
    "set add NAME --text NAME",
    "set contains NAME --text NAME",
    "set size NAME",
    "set remove NAME --text other",
    "queue enqueue NAME --text NAME",
    "queue size NAME",
    "queue peek NAME",
    "queue peek NAME --json",
    "lock status NAME",
    "semaphore status NAME",
    "lock run NAME -- true",
    "semaphore run NAME --permits 3 -- true",
    "log counter/NAME",
    "log map/NAME --key NAME",
    "log --kind map --name NAME --json",
    "show counter NAME",
    "show map NAME --key NAME",
    "show map NAME --key NAME --json",
    "show set NAME",
    "show queue NAME",
    "who lock NAME",
    "who semaphore NAME --json",
    "who queue NAME --text --job NAME",
    "who queue NAME --text --job NAME --json",
    "timeline lock NAME",
    "timeline queue NAME",
    "timeline queue NAME --json",
    "check-replay --name NAME --processes 1",
    "retention set counter NAME --keep 1",
    "export --name NAME FOLDER/NAME.jsonl",
    # what is not there, or cannot be used
    "map get NAME missing",
    "map get NAME missing --json",
    "queue dequeue MISSING",
    "log counter/MISSING",
    "log NAME",
    "log --after NAME",
    "show NAME NAME",
    "who NAME NAME",
    "timeline lock MISSING",
    "map put NAME key NAME",
    "map get NAME NAME --key-type int",
    "NAME",
    "log --NAME",
    "log --NAME --json",
    "retention set counter NAME --keep NAME",
    "db grants --application NAME --url postgresql://localhost/x",
    "anchor --key FOLDER/NAME",
    "verify --anchor FOLDER/NAME",
    "verify --slots NAME",
    "import FOLDER/NAME.jsonl",
    "slots --owner NAME",
    # what is told of the whole journal
    "log",
    "log --json",
    "nodes",
    "nodes --json",
    "slots",
    "slots --json",
    "doctor",
    "doctor --json",
    "doctor --repair",
    "verify --processes 1",
    "verify --processes 1 --json",
    "check-replay --processes 1",
    "check-replay --processes 1 --json",
    "retention show",
    "retention show --json",
    "retention run --archive FOLDER --pace 0",
    "retention check ARCHIVE",
    "export FOLDER/NAME.all.jsonl",
    "export FOLDER/NAME.all.json",
    "import FOLDER/NAME.all.jsonl --url sqlite:///FOLDER/NAME.import.db",
    "copy URL sqlite:///FOLDER/NAME.copy.db",
    "db upgrade --url sqlite:///FOLDER/NAME.new.db",
    "db current",
    "db check",
    "db sql",
    "anchor",
    "anchor --out FOLDER/NAME.anchor",
    "accept-loss --yes",
    "secret",
    "secret rotate",
    "token create --name NAME --read",
    "token create --name wall --read-of counter/NAME",
    "token list",
    "token list --json",
    "token revoke NAME",
    # what ends it
    "redact map NAME --key NAME --reason NAME --yes --without-archives",
    "redact --finish",
    "map pop NAME NAME",
    "map delete NAME NAME",
    "queue dequeue NAME",
    "counter destroy NAME",
    "set destroy NAME",
    "queue destroy NAME",
    "lock destroy NAME",
    "semaphore destroy NAME",
)
"""Every command; in NAME, a name with such a character stands. The tests hold this list to the command line's."""
