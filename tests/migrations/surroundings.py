"""Everything that the migrations make, from a journal that was just upgraded.

``python -m tests.migrations.surroundings`` writes ``casty_es/journal/surroundings.json`` anew, after a migration was
added.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from casty_es.audit.verify.surroundings_postgres import looking, quoted, schema_path, there
from casty_es.journal.expected_surroundings import FILE, SQLITE_OBJECTS, Thing, plain
from casty_es.journal.migrating import upgrade
from casty_es.journal.revisions import VERSION_TABLE
from casty_es.journal.urls import is_sqlite, sqlite_file
from casty_es.journal.views import VIEWS
from tests.conftest import embedded

_ORDER = ("view", "function", "trigger", "table", "column", "constraint", "index")


def made(url: str) -> dict[Thing, str]:
    """Upgrade an empty database; return what is in it then."""
    upgrade(url)
    if is_sqlite(url):
        with closing(sqlite3.connect(sqlite_file(url))) as connection:
            rows = connection.execute(SQLITE_OBJECTS).fetchall()
        # Alembic writes its own table, and not every version of it with the same text.
        texts = {Thing(type_, name, of): plain(text or "") for type_, name, of, text in rows}
        found = {thing: "" if thing.name == VERSION_TABLE else text for thing, text in texts.items()}
    else:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            found = runner.run(_on_postgres(url))
    return dict(sorted(found.items(), key=_place))


async def _on_postgres(url: str) -> dict[Thing, str]:
    async with looking(url) as connection:
        path = await schema_path(connection)
        assert path.schema is not None
        return await there(connection, await quoted(connection, path.schema))


def _place(item: tuple[Thing, str]) -> tuple[int, int, str, str]:
    """Views stand behind those that they read, and columns, in the order of sorting, as they are."""
    thing = item[0]
    view = VIEWS.index(thing.name) if thing.kind == "view" else 0
    return _ORDER.index(thing.kind), view, thing.of, "" if thing.kind == "column" else thing.name


def main() -> None:
    """Write the file anew."""
    with tempfile.TemporaryDirectory() as folder:
        server = embedded().get_server(Path(folder) / "postgres")
        try:
            found = {"sqlite": made(f"sqlite:///{folder}/casty.db"), "postgresql": made(server.get_uri())}
        finally:
            server.cleanup()
    rows = {name: [[*thing, text] for thing, text in things.items()] for name, things in found.items()}
    FILE.write_text(_written(rows))


def _written(rows: dict[str, list[list[str]]]) -> str:
    """Return the file: an object on each line, so that a change can be read."""
    lines = {name: ",\n".join(json.dumps(row, ensure_ascii=False) for row in of) for name, of in rows.items()}
    parts = [f'"{name}": [\n{text}\n]' for name, text in lines.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
