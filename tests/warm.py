"""The command line in processes that start in milliseconds: they are forked from one that has loaded everything.

To start an interpreter and to load the library is most of what a command costs, and tests run hundreds of commands in
processes of their own. ``python tests/warm.py ADDRESS`` is the process that they are forked from, and ``python -IS
tests/warm.py ADDRESS COMMAND`` stands where ``python -m casty_es COMMAND`` would: its files, environment and folder are
the command's, SIGTERM and SIGINT are passed on to it, and as the command ends, so does it. Whoever kills it kills the
command. That ``python -m casty_es`` itself starts is shown by ``tests/integration/test_cli.py`` and others. A command
that begins with ``-m MODULE`` is that program instead; ``forked.py`` asks for those, and has their own process id.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from selectors import BaseSelector

_BYTES = 1024 * 1024
_READ = 1  # as selectors.EVENT_READ, which is slow to import


def ask(address: str, words: list[str]) -> int:
    """Let a command run with this process's files; give how it ended, a signal as a negative number."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BYTES)
        socket.send_fds(connection, [repr((words, os.getcwd(), dict(os.environ))).encode()], [0, 1, 2])  # noqa: PTH109
        pid = int(connection.recv(_BYTES))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        return int(connection.recv(_BYTES))


def serve(listener: socket.socket) -> None:
    """Fork a process for each command that is asked for, until the standard input ends; return in those processes."""
    import selectors

    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        for one in (listener, woken, sys.stdin):
            selector.register(one, _READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    sys.exit()
                elif key.fileobj is listener:
                    if _forked(listener, running, selector, (woken, wake)):
                        return
                elif key.fileobj is woken:
                    woken.recv(_BYTES)
                    _reap(running, selector)
                elif key.data in running:  # whoever asked for it is gone
                    selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)


def _forked(
    listener: socket.socket,
    running: dict[int, socket.socket],
    selector: BaseSelector,
    others: tuple[socket.socket, ...],
) -> bool:
    """Fork a process for whoever asks next; tell whether this is that process."""
    import ast

    connection, _ = listener.accept()
    request, files, _, _ = socket.recv_fds(connection, _BYTES, 3)
    if (pid := os.fork()) == 0:
        for one in (listener, connection, *others, *running.values()):
            one.close()
        _become(*ast.literal_eval(request.decode()), files)
        return True
    connection.send(str(pid).encode())
    running[pid] = connection
    selector.register(connection, _READ, pid)
    for file in files:
        os.close(file)
    return False


def _reap(running: dict[int, socket.socket], selector: BaseSelector) -> None:
    while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
        with running.pop(ended[0]) as connection:
            try:
                selector.unregister(connection)
                connection.send(str(os.waitstatus_to_exitcode(ended[1])).encode())
            except (KeyError, OSError):
                continue  # whoever asked for it is gone


def _become(words: list[str], folder: str, environment: dict[str, str], files: list[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # Whether they can be sought in, and how they buffer, is settled when they are opened.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = words


def _load() -> None:
    """Load what commands load, at their start or late."""
    import contextlib
    import gc
    import io

    import aiosqlite  # noqa: F401 - as a migration does
    import sqlalchemy.ext.asyncio  # noqa: F401 - likewise

    import casty_es.connecting
    import casty_es.journal.migrating  # noqa: F401
    from casty_es.cli import walking
    from casty_es.cli.app import loaded, run
    from casty_es.cli.contents import COMMANDS

    for name in COMMANDS:
        loaded(name)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run(["--help"])
        run(["counter", "get"])
    walking.CORES = 1  # more processes are interpreters that start; that they walk alike has tests of its own
    gc.freeze()  # otherwise the end of each process touches all of it, and copies every page


def main() -> None:
    """Be one or the other."""
    _, address, *words = sys.argv
    if words:
        code = ask(address, words)
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        sys.exit(code)
    del sys.path[0]  # this folder's modules are none of the program's
    _load()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)  # noqa: T201 - whoever started this waits for it
    serve(listener)
    if sys.argv[1] == "-m":
        import runpy

        module = sys.argv[2]
        del sys.argv[1:3]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    from casty_es.cli import main as command

    command()


if __name__ == "__main__":
    main()
