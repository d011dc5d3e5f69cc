"""A web backend whose page views, sessions and rate limits outlive the process.

Run it::

    uvicorn app:app --app-dir docs/examples/pageviews

Settings come from the environment:

``CASTY_ES_DATABASE_URL``
    Where the journal is; default ``sqlite:///pageviews.db``, which is made by itself.
``PAGEVIEWS_LIMIT``, ``PAGEVIEWS_WINDOW``
    A client may make this many changes (default 100) in a window of this many seconds (default 60).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import casty_es

URL = os.environ.get("CASTY_ES_DATABASE_URL", "sqlite:///pageviews.db")
LIMIT = int(os.environ.get("PAGEVIEWS_LIMIT", "100"))
WINDOW = int(os.environ.get("PAGEVIEWS_WINDOW", "60"))


@dataclass
class Session:
    """Who is logged in, and since when."""

    user: str
    since: datetime


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    """Open the journal once, when the server starts, and close it when the server stops."""
    async with casty_es.connect(URL) as d:
        yield {"d": d, "sessions": d.map[str, Session]("sessions")}


async def within_limit(request: Request) -> None:
    """Count this request against its client, and refuse it beyond the limit.

    One counter per client and window: ``increment`` is atomic and gives the new value, so there is no gap between
    looking and counting, however many requests come at once. A window that is over is never looked at again.
    """
    now = time.time()
    client = request.client.host if request.client else "unknown"
    count = await request.state.d.counter(f"requests/{client}/{int(now // WINDOW)}").increment()
    if count > LIMIT:
        wait = WINDOW - int(now % WINDOW)
        raise HTTPException(429, f"more than {LIMIT} changes in {WINDOW} s", {"Retry-After": str(wait)})


async def add_view(request: Request) -> Response:
    """``POST /pages/{page}/views``: count a view. The answer leaves when the view is in the journal."""
    await within_limit(request)
    page = request.path_params["page"]
    return JSONResponse({"page": page, "views": await request.state.d.counter(f"views/{page}").increment()}, 201)


async def get_views(request: Request) -> Response:
    """``GET /pages/{page}/views``: how often the page was seen."""
    page = request.path_params["page"]
    return JSONResponse({"page": page, "views": await request.state.d.counter(f"views/{page}").get()})


async def log_in(request: Request) -> Response:
    """``POST /sessions`` with ``{"user": "alice"}``: begin a session."""
    await within_limit(request)
    try:
        user = (await request.json())["user"]
    except (ValueError, TypeError, KeyError):
        raise HTTPException(400, 'send JSON such as {"user": "alice"}') from None
    session_id = secrets.token_urlsafe(16)
    session = Session(user, datetime.now(UTC))
    await request.state.sessions.put(session_id, session)
    return JSONResponse({"id": session_id}, 201)


async def get_session(request: Request) -> Response:
    """``GET /sessions/{id}``: who that is."""
    session = await request.state.sessions.get(request.path_params["id"])
    if session is None:
        raise HTTPException(404, "there is no such session")
    return JSONResponse({**asdict(session), "since": session.since.isoformat()})


async def log_out(request: Request) -> Response:
    """``DELETE /sessions/{id}``: end a session."""
    await within_limit(request)
    existed = await request.state.sessions.delete(request.path_params["id"])
    return Response(status_code=204 if existed else 404)


def bad_request(_: Request, error: Exception) -> Response:
    """Nothing was sent to the journal: the client has to send something else."""
    return JSONResponse({"error": str(error)}, 400)


def not_done(_: Request, error: Exception) -> Response:
    """Answer that it certainly did not happen: the client may simply try again."""
    return JSONResponse({"error": str(error), "happened": "no"}, 503, {"Retry-After": "1"})


def outcome_unknown(_: Request, error: Exception) -> Response:
    """Answer that it may have happened: the client has to look before it tries again."""
    return JSONResponse({"error": str(error), "happened": "perhaps"}, 503, {"Retry-After": "1"})


def http_error(_: Request, error: Exception) -> Response:
    """Answer in JSON, as everything else here."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for nothing else
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/pages/{page}/views", add_view, methods=["POST"]),
        Route("/pages/{page}/views", get_views, methods=["GET"]),
        Route("/sessions", log_in, methods=["POST"]),
        Route("/sessions/{id}", get_session, methods=["GET"]),
        Route("/sessions/{id}", log_out, methods=["DELETE"]),
    ],
    exception_handlers={
        HTTPException: http_error,
        casty_es.InvalidArgumentError: bad_request,
        casty_es.InvalidTypeError: bad_request,
        casty_es.NotDoneError: not_done,
        casty_es.OverloadedError: not_done,
        casty_es.JournalError: not_done,
        casty_es.OutcomeUnknownError: outcome_unknown,
    },
)
