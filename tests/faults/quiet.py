"""What asyncio says of tasks and futures whose errors nobody looked at: a whole library gives it no reason to."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class _Heard(logging.Handler):
    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        """Note what was said."""
        self._complaints.append(record.getMessage())


@asynccontextmanager
async def no_complaints() -> AsyncIterator[None]:
    """Fail when asyncio complains within the block: a lost exception, a destroyed task, an error in a callback."""
    complaints: list[str] = []

    def complained(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(f"{context['message']}: {context.get('exception')!r} in {context.get('future')!r}")

    loop, logger, heard = asyncio.get_running_loop(), logging.getLogger("asyncio"), _Heard(complaints)
    before = loop.get_exception_handler()
    loop.set_exception_handler(complained)
    logger.addHandler(heard)
    try:
        yield
        for _ in range(3):  # what is collected may let go of the next
            await asyncio.sleep(0)
            gc.collect()
    finally:
        loop.set_exception_handler(before)
        logger.removeHandler(heard)
    assert not complaints, "\n".join(complaints)
