"""Running a command while something is held, as flock(1) does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Final

import typer

from casty_es.cli.common import Json, dumps, say
from casty_es.cli.reaching import change
from casty_es.cli.where import Where
from casty_es.errors import LeaseLostError
from casty_es.handles.distributed import Distributed
from casty_es.handles.lock import Lock
from casty_es.handles.semaphore import Semaphore
from casty_es.names import check_timeout

TOKEN_VARIABLE: Final = "CASTY_ES_TOKEN"  # noqa: S105 - a fencing token is a number, not a secret

# What shells give for a command that is not there, that may not be run, or that a signal ended.
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126
_BY_SIGNAL: Final = 128

# Long enough to write a file, short enough that two holders do not overlap for long.
_GRACE_SECONDS: Final = 3.0

_PASSED_ON: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def run_command(
    what: str, name: str, held: type[Lock] | int, command: list[str], *, timeout: float, where: Where, json: Json
) -> None:
    """Acquire, run, release, and exit with the command's code.

    ``what`` names it in the output; ``held`` is ``Lock``, or a semaphore's permits.
    """
    seconds = check_timeout(timeout)

    async def work(d: Distributed) -> tuple[int, int | None]:
        handle = d.semaphore(name, held, timeout=seconds) if isinstance(held, int) else d.lock(name, timeout=seconds)
        async with handle:
            return await run_while_held(handle, command, output_to_stderr=json), handle.token

    code, token = change(where, work)
    if json:
        say(dumps({what: name, "token": token, "exit_code": code}))
    raise typer.Exit(code)


async def run_while_held(handle: Lock | Semaphore, command: list[str], *, output_to_stderr: bool = False) -> int:
    """Run a command until it ends, and return its exit code; ``LeaseLostError`` stops it."""
    with _signals_caught() as caught:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=os.environ | {TOKEN_VARIABLE: str(handle.token)},
                stdout=sys.stderr if output_to_stderr else None,
            )
        except (FileNotFoundError, NotADirectoryError):
            say(f"casty-es: the command {command[0]!r} was not found. Nothing was run.", err=True)
            return _NOT_FOUND
        except OSError as error:
            say(f"casty-es: the command {command[0]!r} cannot be run: {error}. Nothing was run.", err=True)
            return _NOT_EXECUTABLE
        return await _watch(handle, process, command[0], caught)


async def _watch(
    handle: Lock | Semaphore, process: asyncio.subprocess.Process, called: str, caught: asyncio.Queue[signal.Signals]
) -> int:
    ended = asyncio.ensure_future(process.wait())
    lost = asyncio.ensure_future(handle.lost.wait())
    passing_on = asyncio.ensure_future(_pass_on(process, caught))
    try:
        await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            await _stop(process)
            raise LeaseLostError(
                f"The lease of {handle.name!r} ran out while {called!r} ran, so another may hold it now. The command "
                f"was stopped; what it had done by then is done. Check that, and run it again."
            )
    finally:
        lost.cancel()
        passing_on.cancel()
        if process.returncode is None:
            process.kill()
        await ended
    code = ended.result()
    return code if code >= 0 else _BY_SIGNAL - code


@contextlib.contextmanager
def _signals_caught() -> Iterator[asyncio.Queue[signal.Signals]]:
    """Keep signals from ending this process: they are for the command, which may not even have begun."""
    loop = asyncio.get_running_loop()
    caught: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in _PASSED_ON:
        loop.add_signal_handler(number, caught.put_nowait, number)
    try:
        yield caught
    finally:
        for number in _PASSED_ON:
            loop.remove_signal_handler(number)


async def _pass_on(process: asyncio.subprocess.Process, caught: asyncio.Queue[signal.Signals]) -> None:
    while True:
        number = await caught.get()
        # Control-C at a terminal goes to the command as well as to us: it is not to get it twice.
        if number != signal.SIGINT or not sys.stdin.isatty():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
