#!/usr/bin/env bash
# Guess:     who waits for an asyncio rate limiter is served in the order of asking, as with asyncio.Lock and Semaphore.
# Versions:  aiolimiter 1.3.0, Python 3.11 (2026-11-29)
# Behaviour: whoever finds room for its amount takes it, whoever asked before. A caller that needs five units of a
#            bucket of ten waits until all who need one, and came later, are done; with a steady stream of those it waits
#            for as long as they come.
# Seen:      ['small 0', 'small 1', 'small 2', 'small 3', 'small 4', 'small 5', 'small 6', 'small 7', 'large']
# Source:    https://aiolimiter.readthedocs.io/en/latest/ (acquire with an amount; no order is promised),
#            https://docs.python.org/3/library/asyncio-sync.html (asyncio.Lock: fair)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check aiolimiter==1.3.0
"$folder/venv/bin/python" - <<'PY'
import asyncio

from aiolimiter import AsyncLimiter


async def main() -> list[str]:
    limiter = AsyncLimiter(10, 1)
    for _ in range(10):  # the bucket is full now
        await limiter.acquire()
    served: list[str] = []

    async def ask(name: str, amount: int) -> None:
        await limiter.acquire(amount)
        served.append(name)

    asking = [asyncio.create_task(ask("large", 5))]
    await asyncio.sleep(0)  # it waits before the others come
    asking += [asyncio.create_task(ask(f"small {number}", 1)) for number in range(8)]
    await asyncio.gather(*asking)
    return served


served = asyncio.run(main())
print(served)
assert served[-1] == "large", "it is served in its turn now"
PY
