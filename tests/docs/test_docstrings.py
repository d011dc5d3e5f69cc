"""Every example in a docstring runs and shows what it says it shows."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import casty_es

from .examples import names, run_doctest


def documented(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield the docstrings of a module, its classes and functions that have examples, by their full names."""
    parts: list[tuple[str, object]] = [(module.__name__, module)]
    for name, part in vars(module).items():
        if getattr(part, "__module__", None) != module.__name__:
            continue
        parts.append((f"{module.__name__}.{name}", part))
        if inspect.isclass(part):
            parts += [
                (f"{module.__name__}.{name}.{member}", value)
                for member, value in vars(part).items()
                if isinstance(value, property) or inspect.isroutine(value)
            ]
    for name, part in parts:
        text = part.__doc__
        if isinstance(text, str) and doctest.DocTestParser().get_examples(text):
            yield name, inspect.cleandoc(text)


def modules() -> Iterator[ModuleType]:
    """Import every module of the package."""
    for found in pkgutil.walk_packages(casty_es.__path__, "casty_es."):
        if not found.name.endswith("__main__") and ".migrations" not in found.name:
            yield importlib.import_module(found.name)


EXAMPLES = dict(example for module in modules() for example in documented(module))

# These run an event loop of their own, so there must be none around them.
WITHOUT_LOOP = {name: text for name, text in EXAMPLES.items() if "asyncio.run" in text}
WITH_LOOP = {name: text for name, text in EXAMPLES.items() if name not in WITHOUT_LOOP}


@pytest.mark.parametrize("name", WITH_LOOP)
async def test_example(name: str, sqlite_journal_url: str) -> None:
    """The example of a docstring runs on a fresh journal and shows what it says."""
    # Given the names that examples may use, and those of its own module
    async with names(sqlite_journal_url) as shared:
        namespace = {**vars(owner_of(name)), **shared}
        # When it runs, then what it shows is what stands below it
        assert await run_doctest(WITH_LOOP[name], namespace, name) > 0


@pytest.mark.parametrize("name", WITHOUT_LOOP)
def test_example_with_a_loop_of_its_own(name: str) -> None:
    """An example that is a whole program runs and shows what it says."""
    # Given a program in a docstring
    test = doctest.DocTestParser().get_doctest(WITHOUT_LOOP[name], dict(vars(owner_of(name))), name, None, None)
    # When it runs
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    # Then every line shows what stands below it
    assert result.failed == 0, "".join(report)


def owner_of(name: str) -> ModuleType:
    """Return the module in which a documented thing is."""
    while name:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            name = name.rpartition(".")[0]
    raise LookupError(name)


STRUCTURES = (
    casty_es.Barrier,
    casty_es.Counter,
    casty_es.Dict,
    casty_es.Distributed,
    casty_es.Lock,
    casty_es.Queue,
    casty_es.Semaphore,
    casty_es.Set,
)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_public_method_has_an_example(structure: type) -> None:
    """A structure and each of its public methods show how they are used."""
    # Given the public methods
    full_name = f"{structure.__module__}.{structure.__name__}"
    methods = [name for name, value in vars(structure).items() if inspect.isfunction(value) and name[0] != "_"]
    # When one looks for their examples, then there is one for each
    assert methods
    assert [
        name for name in (full_name, *(f"{full_name}.{method}" for method in methods)) if name not in EXAMPLES
    ] == []
