"""The migrations are found, and run, in a clone, in an editable install and in an installed wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("casty_es", "migrations", "pyproject.toml", "README.md", "LICENSE")

SCRIPT = """
import sys
import casty_es.journal.schema as schema
import casty_es.journal.migrating as migrating
migrating.upgrade(sys.argv[1])
schema.check(sys.argv[1])
print(schema.__file__, schema.migrations_path(), sep="\\n")
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the sources, so that nothing that is built here lands in the repository."""
    copy = tmp_path / "clone"
    copy.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copyfile(source, copy / name)
    return copy


def run(*arguments: str | Path, cwd: Path, path: Path | None = None) -> str:
    """Run a program to its good end and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def found(python: str | Path, cwd: Path, path: Path | None = None) -> list[Path]:
    """Migrate a new file with that Python, and return where it found the code and the migrations."""
    output = run(python, "-c", SCRIPT, f"sqlite:///{cwd / 'found.db'}", cwd=cwd, path=path)
    return [Path(line) for line in output.splitlines()]


def test_clone(clone: Path) -> None:
    """Given a clone that is on the path, then its migrations are the ones at its top."""
    code, migrations = found(sys.executable, clone)
    assert code == clone / "casty_es" / "journal" / "schema.py"
    assert migrations == clone / "migrations"


@pytest.mark.ci
def test_editable_install(clone: Path, tmp_path: Path) -> None:
    """Given an editable install, then the migrations are the clone's, and no copy of them was installed."""
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    # The dependencies, and the backend that builds, are the ones of the environment that runs this test.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--no-build-isolation", "--ignore-installed", "--editable", clone, cwd=tmp_path)
    code, migrations = found(python, tmp_path)
    assert code == clone / "casty_es" / "journal" / "schema.py"
    assert migrations == clone / "migrations"
    assert not (site / "casty_es").exists()


@pytest.mark.ci
def test_wheel(clone: Path, tmp_path: Path) -> None:
    """Given an installed wheel, then the migrations are inside the package, and nothing else came with them."""
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, clone, cwd=tmp_path)
    (wheel,) = tmp_path.glob("casty_es-*.whl")
    site = tmp_path / "site"
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel),
        cwd=tmp_path,
    )
    code, migrations = found(sys.executable, tmp_path, path=site)
    assert code == site / "casty_es" / "journal" / "schema.py"
    assert migrations == site / "casty_es" / "migrations"
    assert (migrations / "versions" / "0001_journal.py").is_file()
    assert (migrations / "script.py.mako").is_file()
    assert {entry.name for entry in site.iterdir() if not entry.name.endswith(".dist-info")} <= {"casty_es", "bin"}


def test_installation_without_migrations(clone: Path) -> None:
    """Given a clone that lost its migrations, then the error names both places and what to do."""
    shutil.rmtree(clone / "migrations")
    script = "import casty_es.journal.schema as schema; schema.migrations_path()"
    done = subprocess.run([sys.executable, "-c", script], cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"neither in {clone / 'casty_es' / 'migrations'} nor in {clone / 'migrations'}" in done.stderr
    assert "Install casty-es again" in done.stderr
