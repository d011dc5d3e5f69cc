"""What tests compile to is made once for all processes of a run, and is only a cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.assertion import rewrite

from tests import bytecode


def test_a_file_is_compiled_and_a_broken_one_ends_nothing(
    tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a good file and a broken one, when they are compiled, then one is, and pytest tells of the other."""
    monkeypatch.setattr("sys.pycache_prefix", None)
    monkeypatch.setattr(bytecode, "_config", pytestconfig, raising=False)
    for name, text in (("good", "assert 1\n"), ("broken", "def (\n")):
        (tmp_path / f"test_{name}.py").write_text(text)
        bytecode._rewrite_one(tmp_path / f"test_{name}.py")

    made = [file.name for file in rewrite.get_cache_dir(tmp_path / "x.py").iterdir()]
    assert made == [f"test_good{rewrite.PYC_TAIL}"]
