"""Somebody else's alembic environment, in the same database as a journal: as ``alembic init -t async`` makes it."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config

from casty_es.journal.urls import database_url

__all__ = ["foreign_environment"]

_ENV = """
import asyncio
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table, pool
from sqlalchemy.ext.asyncio import create_async_engine
import casty_es.alembic

metadata = MetaData()
Table("orders", metadata, Column("id", Integer, primary_key=True), Column("casty_key", Integer, index=True))


def migrate(connection):
    context.configure(connection=connection, target_metadata=metadata{options})
    with context.begin_transaction():
        context.run_migrations()


async def main():
    engine = create_async_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(main())
"""

_TEMPLATE = '''
"""${message}."""
from alembic import op
import sqlalchemy as sa

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''


def foreign_environment(folder: Path, url: str, *options: str, versions: tuple[Path, ...] = ()) -> Config:
    """Write an environment with a table of its own, ``orders``.

    Parameters
    ----------
    folder : Path
        Where to.
    url : str
        The database.
    *options : str
        More arguments of ``context.configure``.
    versions : tuple[Path, ...]
        Folders of revisions beside its own.
    """
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(_ENV.format(options="".join(f", {option}" for option in options)))
    (folder / "script.py.mako").write_text(_TEMPLATE)
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("sqlalchemy.url", database_url(url).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", ":".join(str(path) for path in (folder / "versions", *versions)))
    return config
