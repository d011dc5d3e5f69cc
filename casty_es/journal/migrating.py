"""Changing the journal's schema, by alembic.

Every function here is synchronous. From asyncio call them in a thread: ``await asyncio.to_thread(upgrade, url)``.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from casty_es.errors import CastyError, SchemaError
from casty_es.journal.driver_errors import driver_error, said
from casty_es.journal.schema import (
    EXPECTED_REVISION,
    checked_slots,
    current,
    is_older,
    migrations_path,
    other_schema,
    refuse_running_loop,
)
from casty_es.journal.urls import database_url, shown

# alembic.context and alembic.op are globals: two migrations in two threads would write to each other's database.
_one_at_a_time: Final = threading.Lock()


def alembic_config(url: str, *, slots: int | None = None) -> Config:
    """Return alembic's configuration for a journal, for its own commands.

    Parameters
    ----------
    url : str
        See :func:`database_url`.
    slots : int | None
        The number of slots, 1 to 8,192, that the first migration writes down; ``None`` means 256, or what is there.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.attributes["database_url"] = database_url(url)
    config.attributes["slots"] = None if slots is None else checked_slots(slots)
    return config


def upgrade(url: str, *, slots: int | None = None) -> None:
    """Bring the schema to the newest revision in one transaction; a failing revision leaves nothing behind.

    Several processes may do this at once: they wait for each other, and the later ones find nothing left to do.

    Parameters
    ----------
    url : str
        See :func:`database_url`. An SQLite file is created if it is missing, its folder is not.
    slots : int | None
        The number of slots of a new journal, 1 to 8,192, default 256. It never changes afterwards.

    Raises
    ------
    InvalidArgumentError
        The URL or the number of slots cannot be used.
    JournalUnavailableError
        The database cannot be reached or opened.
    ConfigurationError
        The journal has another number of slots, or the SQLite file belongs to another program.
    SchemaError
        The schema is newer than this code, or a revision failed.
    """
    config = alembic_config(url, slots=slots)
    with _migrating(url, "upgrade"):
        command.upgrade(config, "head")


def downgrade(url: str, revision: str = "base") -> None:
    """Take the schema back to ``revision``. ``"base"`` drops every table and the journal with them."""
    config = alembic_config(url)
    with _migrating(url, "downgrade"):
        command.downgrade(config, revision)


def sql(url: str, *, slots: int | None = None) -> str:
    """Return the SQL of a whole upgrade, for a database administrator to read and run. Connects to nothing."""
    config = alembic_config(url, slots=slots)
    config.output_buffer = buffer = io.StringIO()
    with _migrating(url, "upgrade"):
        command.upgrade(config, "head", sql=True)
    return buffer.getvalue()


@cache
def head() -> str:
    """Return the newest revision in :func:`migrations_path`. Connects to nothing."""
    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    revision = ScriptDirectory.from_config(config).get_current_head()
    if revision is None:
        raise SchemaError(f"{migrations_path()} holds no revision. Install casty-es again.")
    return revision


@contextmanager
def _migrating(url: str, what: str) -> Iterator[None]:
    """Run one alembic command: alone in this process, outside of any event loop, with the library's errors."""
    refuse_running_loop()
    with _one_at_a_time:
        try:
            yield
        except CommandError as error:
            if isinstance(error.__cause__, CastyError):
                raise error.__cause__ from error.__cause__.__cause__
            if "Can't locate revision" in str(error):
                revision = current(url)
                if revision is not None and revision != EXPECTED_REVISION and not is_older(revision):
                    raise other_schema(url, revision) from error
            raise SchemaError(f"the {what} of {shown(url)} was refused: {error}. Nothing was changed.") from error
        except SQLAlchemyError as error:
            reason = driver_error(error)
            raise SchemaError(
                f"the {what} of {shown(url)} failed and was rolled back as a whole: {said(reason)}. Nothing was "
                "changed. Mend the cause and run it again."
            ) from reason
