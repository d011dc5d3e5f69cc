"""The example backend under a real server, over real HTTP, killed while it works."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "pageviews"

PAGES = ("home", "about", "café & more")
CLIENTS = 20
VIEWS_BEFORE_THE_KILL = 150
ROUNDS = 3


class Server(NamedTuple):
    """A server process and a client that talks to it."""

    process: asyncio.subprocess.Process
    http: httpx.AsyncClient

    async def kill(self) -> None:
        """End the process with SIGKILL: it gets no chance to write anything."""
        self.process.kill()
        await self.process.wait()

    async def views(self, page: str) -> int:
        """Read how often a page was seen."""
        answer = await self.http.get(path_of(page))
        assert answer.status_code == 200, answer.text
        return int(answer.json()["views"])


Serve = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def serve(journal_url: str) -> Serve:
    """``serve(**environment)``: the example under uvicorn, on a port that the operating system chose."""

    @asynccontextmanager
    async def started(**environment: str) -> AsyncIterator[Server]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(EXAMPLE), "--port", "0"),
            env={**os.environ, "PYTHONPATH": str(ROOT), "CASTY_ES_DATABASE_URL": journal_url, **environment},
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert process.stderr is not None
        log = b""
        while (running := re.search(rb"running on (http://\S+)", log)) is None:
            line = await process.stderr.readline()
            assert line, f"the server ended before it was ready:\n{log.decode()}"
            log += line
        rest = asyncio.create_task(process.stderr.read())
        limits = httpx.Limits(max_connections=2 * CLIENTS)
        try:
            async with httpx.AsyncClient(base_url=running[1].decode(), timeout=30, limits=limits) as http:
                yield Server(process, http)
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.gather(process.wait(), rest)

    return started


def path_of(page: str) -> str:
    return str(httpx.URL(f"http://host/pages/{page}/views").raw_path, "ascii")


async def test_views_and_sessions_survive_kill(serve: Serve) -> None:
    """No acknowledged view is lost by SIGKILL, and none is counted that was not sent."""
    sent, acknowledged = Counter[str](), Counter[str]()
    told: dict[str, list[int]] = {page: [] for page in PAGES}
    sessions: dict[str, str] = {}

    async def visit(server: Server, number: int, enough: asyncio.Event) -> None:
        page = PAGES[number % len(PAGES)]
        while True:
            sent[page] += 1
            try:
                answer = await server.http.post(path_of(page))
            except httpx.TransportError:
                return
            assert answer.status_code == 201, answer.text
            acknowledged[page] += 1
            told[page].append(answer.json()["views"])
            if acknowledged.total() >= wanted:
                enough.set()

    for round_ in range(1, ROUNDS + 1):
        # Given a server that many clients use at once, with a session that was begun
        wanted = round_ * VIEWS_BEFORE_THE_KILL
        async with serve(PAGEVIEWS_LIMIT="1000000") as server:
            answer = await server.http.post("/sessions", json={"user": f"user {round_}"})
            sessions[answer.json()["id"]] = f"user {round_}"
            enough = asyncio.Event()
            visits = [asyncio.create_task(visit(server, number, enough)) for number in range(CLIENTS)]
            await asyncio.wait({asyncio.create_task(enough.wait()), *visits}, return_when=asyncio.FIRST_COMPLETED)
            # When it is killed in the middle of that
            await server.kill()
            await asyncio.gather(*visits)

        # Then another process on the same journal has every view that was acknowledged, and no view twice
        async with serve() as server:
            for page in PAGES:
                views = await server.views(page)
                assert acknowledged[page] <= views <= sent[page]
                assert len(set(told[page])) == len(told[page])
                assert max(told[page]) <= views
            for session_id, user in sessions.items():
                assert (await server.http.get(f"/sessions/{session_id}")).json()["user"] == user


async def test_concurrent_views_are_counted_once_each(serve: Serve) -> None:
    """Visitors who come at the same time each see a number of their own, without a gap."""
    # Given a server
    async with serve() as server:
        # When 50 requests come at once
        answers = await asyncio.gather(*(server.http.post(path_of("home")) for _ in range(50)))
        # Then each was told another number, and reading gives the last of them
        assert sorted(answer.json()["views"] for answer in answers) == list(range(1, 51))
        assert await server.views("home") == 50


async def test_rate_limit(serve: Serve) -> None:
    """Beyond the limit a client gets 429, and a new process remembers what it used up."""
    # Given a limit of 5 changes in a window of a day
    day = 86_400
    limits = {"PAGEVIEWS_LIMIT": "5", "PAGEVIEWS_WINDOW": str(day)}
    first_window = time.time() // day
    async with serve(**limits) as server:
        # When one client sends 12 at once
        answers = await asyncio.gather(*(server.http.post(path_of("home")) for _ in range(12)))
        statuses = Counter(answer.status_code for answer in answers)
        windows = int(time.time() // day - first_window) + 1  # 2 if midnight passed meanwhile
        # Then exactly the limit passed, and the others were told when to come back
        assert statuses == {201: 5 * windows, 429: 12 - 5 * windows}
        assert await server.views("home") == statuses[201]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert 1 <= int(refused.headers["Retry-After"]) <= day
        await server.kill()
    # And a server that starts after the kill refuses that client from its first request on
    async with serve(**limits) as server:
        again = await server.http.post("/sessions", json={"user": "alice"})
        windows = int(time.time() // day - first_window) + 1
        assert again.status_code == (429 if windows == 1 else 201)


async def test_sessions(serve: Serve) -> None:
    """A session can be begun, read and ended; after that it is gone."""
    async with serve() as server:
        # Given a session
        session_id = (await server.http.post("/sessions", json={"user": "alice"})).json()["id"]
        read = await server.http.get(f"/sessions/{session_id}")
        assert (read.status_code, read.json()["user"]) == (200, "alice")
        # When it is ended
        ended = await server.http.delete(f"/sessions/{session_id}")
        # Then it is not there any more, and ending it again says so
        assert ended.status_code == 204
        assert (await server.http.get(f"/sessions/{session_id}")).status_code == 404
        assert (await server.http.delete(f"/sessions/{session_id}")).status_code == 404


async def test_bad_input_is_the_clients_fault(serve: Serve) -> None:
    """What cannot be stored is answered with 400 and a reason, and the server goes on."""
    # Given requests that cannot be carried out
    bad: list[tuple[str, str, bytes | None]] = [
        ("POST", "/pages/a%00b/views", None),
        ("GET", f"/pages/{'x' * 600}/views", None),
        ("POST", "/sessions", b"no json"),
        ("POST", "/sessions", b'{"name": "alice"}'),
        ("POST", "/sessions", b'{"user": 5}'),
        ("POST", "/sessions", b"[]"),
    ]
    async with serve() as server:
        for method, path, body in bad:
            # When one comes
            answer = await server.http.request(method, path, content=body)
            # Then the client is told why
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"]
        # And the next good one works
        assert (await server.http.post(path_of("home"))).json()["views"] == 1


async def test_second_server_counts_too(serve: Serve) -> None:
    """Two processes on the same journal count the same views."""
    # Given two servers on one journal
    async with serve() as first, serve() as second:
        await first.http.post(path_of("home"))
        # When the second one is asked for a change
        counted = await second.http.post(path_of("home"))
        # Then it sees what the first one did, and the first one what it did
        assert counted.json()["views"] == 2
        assert await first.views("home") == await second.views("home") == 2
