"""What keeps ``alembic revision --autogenerate`` of your own away from a journal in the same database.

A database that is compared with the tables of a program has some that the program does not know, and alembic writes
``drop_table`` for each. With :func:`include_name` it does not look at what belongs to the journal::

    context.configure(connection=connection, target_metadata=metadata, include_name=casty_es.alembic.include_name)

All names that begin with ``casty_`` are the journal's, also those that a later version adds. It needs no alembic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["include_name", "include_object"]

_PREFIX: Final = "casty_"


def include_name(name: str | None, type_: str, parent_names: Mapping[Any, str | None]) -> bool:
    """Tell alembic whether to look at something in the database: not if it is the journal's.

    Use it as ``include_name`` of alembic's ``context.configure``. Where you have such a function already, let both
    decide: ``lambda *about: mine(*about) and include_name(*about)``.

    Parameters
    ----------
    name : str | None
        The name, with its schema and arguments or without.
    type_ : str
        ``schema``, ``table``, ``column``, ``index``, or whatever else alembic and its extensions compare.
    parent_names : Mapping[Any, str | None]
        Where it is, by ``schema_name`` and ``table_name``.

    Returns
    -------
    bool
        Whether it is none of the journal's.

    Examples
    --------
    >>> include_name("casty_events", "table", {"schema_name": None})
    False
    >>> include_name("orders", "table", {"schema_name": None})
    True
    """
    table = parent_names.get("table_name")
    if table is not None:
        return not table.startswith(_PREFIX)
    if name is None or type_ == "schema":
        return True
    return not name.partition("(")[0].rpartition(".")[2].startswith(_PREFIX)


def include_object(object_: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:  # noqa: ARG001, FBT001 - alembic's
    """Tell alembic whether to compare something: not if it is the journal's and in the database.

    Use it as ``include_object`` of alembic's ``context.configure``, where :func:`include_name` cannot be used. That one
    is faster, because alembic does not even read what it leaves out.

    Parameters
    ----------
    object_ : Any
        A table, or what belongs to one.
    name : str | None
        Its name.
    type_ : str
        ``table``, ``column``, ``index``, or whatever else alembic and its extensions compare.
    reflected : bool
        Whether it was read from the database.
    compare_to : Any
        What it is compared with.

    Returns
    -------
    bool
        Whether it is none of the journal's.

    Examples
    --------
    >>> from sqlalchemy import MetaData, Table
    >>> include_object(Table("casty_events", MetaData()), "casty_events", "table", True, None)
    False
    """
    if not reflected:
        return True
    table = getattr(object_, "table", None)
    return include_name(name, type_, {} if table is None else {"table_name": table.name})
