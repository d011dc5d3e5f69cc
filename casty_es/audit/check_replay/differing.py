"""Where two states differ first, for whoever has to find out why."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["first_difference"]

_LONGEST: Final = 60  # characters of a value: a state may hold a user's


def first_difference(stored: str, folded: str) -> str:
    """Return where the text of a stored state differs first from that of a folded one.

    Examples
    --------
    >>> first_difference('{"value":5,"exists":true}', '{"value":6,"exists":true}')
    'value: stored 5, folded 6'
    >>> first_difference('{"line":[["a",1]]}', '{"line":[["a",1],["b",2]]}')
    'line[1]: stored nothing, folded ["b",2]'
    >>> first_difference('{"value": 5}', '{"value":5}')
    'the same values, written differently from byte 9 on'
    """
    try:
        found = _compared(msgspec.json.decode(stored), msgspec.json.decode(folded), "")
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return "the stored text is not JSON that can be read"
    if found is None:
        pairs = zip(stored.encode(), folded.encode(), strict=False)
        same = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(stored), len(folded)))
        return f"the same values, written differently from byte {same} on"
    return found


_NOTHING: Final = msgspec.UNSET


def _compared(stored: Any, folded: Any, path: str) -> str | None:
    if isinstance(stored, dict) and isinstance(folded, dict):
        for key in [*stored, *(key for key in folded if key not in stored)]:
            below = f"{path}.{key}" if path else str(key)
            found = _compared(stored.get(key, _NOTHING), folded.get(key, _NOTHING), below)
            if found is not None:
                return found
        return None
    if isinstance(stored, list) and isinstance(folded, list):
        for index in range(max(len(stored), len(folded))):
            one = stored[index] if index < len(stored) else _NOTHING
            other = folded[index] if index < len(folded) else _NOTHING
            found = _compared(one, other, f"{path}[{index}]")
            if found is not None:
                return found
        return None
    if type(stored) is type(folded) and stored == folded:
        return None
    return f"{path or 'the state'}: stored {_shown(stored)}, folded {_shown(folded)}"


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
