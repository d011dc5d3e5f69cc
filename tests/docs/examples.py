"""Running examples that use ``await`` at the top level, as ``python -m asyncio`` would."""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import linecache
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import casty_es
from casty_es import ClusteredActorSystem, Distributed, SqlJournal
from tests.own_kinds import own_kinds


@dataclass
class User:
    """What the examples keep in maps."""

    name: str
    age: int = 0


@dataclass
class Task:
    """What the examples keep in queues."""

    title: str


@contextlib.asynccontextmanager
async def names(url: str) -> AsyncIterator[dict[str, Any]]:
    """Yield what every example may use: a node on a fresh journal, how to reach it, its structures, two dataclasses."""
    journal = SqlJournal(url)
    with own_kinds():
        async with ClusteredActorSystem(journal=journal) as system:
            yield {
                "__name__": "__example__",
                "address": system.self_node,
                "casty_es": casty_es,
                "d": Distributed(system, journal=journal),
                "journal": journal,
                "secret": await journal.secret(),
                "system": system,
                "Task": Task,
                "User": User,
            }


class _Shown(ast.NodeTransformer):
    """Makes a program show the values of its expressions, as a prompt does; those within functions are not shown."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        """Wrap an expression."""
        call = ast.Call(ast.Name("__show__", ast.Load()), [node.value], [])
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Leave a function as it is."""
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        """Leave a function as it is."""
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Leave a class as it is."""
        return node


async def run(source: str, namespace: dict[str, Any], where: str, *, shown: bool = False) -> str:
    """Run statements and give what they print; ``shown`` also shows the values of expressions, as a prompt does."""
    linecache.cache[where] = (len(source), None, source.splitlines(keepends=True), where)
    printed = io.StringIO()

    def show(value: object) -> None:
        if value is not None:
            printed.write(f"{value!r}\n")

    # Nothing global is replaced: several examples may run at once.
    namespace |= {"print": partial(print, file=printed), "__show__": show}
    tree = ast.parse(source, where)
    code = compile(
        _Shown().visit(tree) if shown else tree, where, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    result = eval(code, namespace)  # noqa: S307 - our own examples
    if inspect.iscoroutine(result):
        await result
    return printed.getvalue()


async def run_doctest(text: str, namespace: dict[str, Any], where: str) -> int:
    """Run the ``>>>`` examples of a text in order, compare what they show, and return how many there were."""
    examples = doctest.DocTestParser().get_examples(text, where)
    checker = doctest.OutputChecker()
    for example in examples:
        flags = sum(flag for flag, wanted in example.options.items() if wanted)
        try:
            got = await run(example.source, namespace, f"<{where}:{example.lineno + 1}>", shown=True)
        except Exception as error:
            if example.exc_msg is None:
                raise
            got = f"{type(error).__qualname__}: {error}\n"
            assert checker.check_output(example.exc_msg, got, flags), f"{where}: {example.source}raised {got}"
            continue
        assert example.exc_msg is None, f"{where}: {example.source}did not raise {example.exc_msg}"
        assert checker.check_output(example.want, got, flags), (
            f"{where}, line {example.lineno + 1}: {example.source}shows {got!r}, and the text says {example.want!r}"
        )
    return len(examples)
