"""What tests compile to, made once for all test processes of a run.

Where the code may keep no bytecode, they share a folder for it. And pytest writes each file's assertions anew before
it compiles it, which takes as long as all else that a file needs to be read: in a fresh clone, four processes would do
that four times.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

_TESTS = Path(__file__).parent
_FOLDER = pytest.StashKey[str]()


def share(config: pytest.Config, folder_of_tests: str | None) -> None:
    """Let test processes, and the programs that they start, share what they compile, where the code may not keep it."""
    if hasattr(config, "workerinput"):
        return
    if sys.dont_write_bytecode:
        folder = config.stash[_FOLDER] = tempfile.mkdtemp(prefix="casty-pyc-", dir=folder_of_tests)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or it was -B
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        sys.pycache_prefix = folder
    others_read_them_too = config.getoption("tx", None)
    if others_read_them_too and rewrite.assertstate_key in config.stash:
        _rewrite(config)


def end(config: pytest.Config) -> None:
    """Take that away again."""
    if folder := config.stash.get(_FOLDER, ""):
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        del os.environ["PYTHONPYCACHEPREFIX"]
        sys.pycache_prefix = None
        shutil.rmtree(folder, ignore_errors=True)


def _rewrite(config: pytest.Config) -> None:
    """Rewrite and compile the files that are asked for, on all processors, as pytest would when it reads them."""
    asked_for = [config.invocation_params.dir / argument.split("::")[0] for argument in config.args]
    ours = (*_TESTS.rglob("test_*.py"), *_TESTS.rglob("conftest.py"))
    files = [file for file in ours if any(file.is_relative_to(one) for one in asked_for)]
    with get_context("fork").Pool(initializer=_begin, initargs=(config,)) as processes:
        processes.map(_rewrite_one, files, chunksize=4)


def _begin(config: pytest.Config) -> None:
    global _config  # noqa: PLW0603 - what a forked process was begun with
    _config = config


def _rewrite_one(file: Path) -> None:
    with suppress(Exception):  # whatever is wrong with a file, pytest says when it reads it
        _compile(file)


def _compile(file: Path) -> None:
    folder = rewrite.get_cache_dir(file)
    compiled = folder / (file.stem + rewrite.PYC_TAIL)
    if rewrite._read_pyc(file, compiled) is None and rewrite.try_makedirs(folder):
        source, code = rewrite._rewrite_test(file, _config)
        rewrite._write_pyc(_config.stash[rewrite.assertstate_key], code, source, compiled)
