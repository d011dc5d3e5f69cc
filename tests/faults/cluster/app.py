"""A web backend of a few lines, for ``uvicorn --workers``: each worker is a node."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import casty_es

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    """The five lines of the README, for as long as the worker lives."""
    async with casty_es.connect(os.environ["CASTY_ES_DATABASE_URL"]) as d:
        yield {"hits": d.counter("page-views")}


async def hit(request: Request) -> JSONResponse:
    """Count."""
    return JSONResponse({"value": await request.state.hits.increment(), "worker": os.getpid()})


async def read(request: Request) -> JSONResponse:
    """Read."""
    return JSONResponse({"value": await request.state.hits.get(), "worker": os.getpid()})


app = Starlette(routes=[Route("/", hit, methods=["POST"]), Route("/", read)], lifespan=lifespan)
