"""The rules for names, keys and numbers, and with them the hashes that are made of names (``hashes.py``).

A name is any text of 1 to 512 bytes of UTF-8 without NUL. It is compared byte for byte: nothing is trimmed, folded
or normalised, so two spellings of "é" are two names.

A map key is a str, an int or a UUID. It travels and is stored as text with a tag in front
(``s:alice``, ``i:1``, ``u:01890a5d-ac96-774b-bcce-b302099a8057``), so ``1`` and ``"1"`` stay apart.

An idempotency key is any text of 1 to 255 bytes, by the rules of names. The entity and the key together give the id of
the command, so that whoever sends it, and however often, it is the same command.
"""

from __future__ import annotations

import math
from uuid import UUID

from casty_es.errors import InvalidArgumentError, InvalidTypeError
from casty_es.printing import printed

# Names are indexed: three columns of this size still fit the 2,704 bytes of a Postgres index entry.
MAX_NAME_BYTES = 512
# Of a system, a node or a client: two of them, the nonce and the numbers fit into a handshake message of 1 KiB.
MAX_NODE_NAME_BYTES = 400
# What other systems take, such as the HTTP header Idempotency-Key at Stripe.
MAX_IDEMPOTENCY_KEY_BYTES = 255
# Keeps the text of an integer key within the bytes of a name.
MAX_KEY_DIGITS = 500
MAX_COUNT = 2**31 - 1  # of shards, permits or participants: what an INTEGER column holds on Postgres
MAX_SEQUENCE = 2**63 - 1  # what a BIGINT column holds
_KEY_BOUND = 10**MAX_KEY_DIGITS


def check_name(name: object, what: str = "name") -> str:
    """Return ``name`` as a plain str: 1 to 512 bytes as UTF-8, without NUL and without lone surrogates.

    Examples
    --------
    >>> check_name("page-views")
    'page-views'
    """
    return check_text(name, what, MAX_NAME_BYTES)


def check_idempotency_key(key: object) -> str | None:
    """Return an idempotency key as a plain str, by the rules of names up to 255 bytes, or ``None`` for none.

    Examples
    --------
    >>> check_idempotency_key("order-4711")
    'order-4711'
    """
    return None if key is None else check_text(key, "idempotency_key", MAX_IDEMPOTENCY_KEY_BYTES)


def check_text(text: object, what: str, longest: int) -> str:
    """Return a text of 1 to ``longest`` bytes as a plain str; ``what`` is what an error calls it."""
    if not isinstance(text, str):
        raise InvalidTypeError(f"{what} must be a str, not {type(text).__name__}. Nothing was sent.")
    # Not str(text): an enum that is also a str would give its member's name there.
    plain = str.__str__(text)
    try:
        size = len(plain.encode())
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{what} holds a lone surrogate: it is not text. Nothing was sent.") from None
    if not 1 <= size <= longest:
        raise InvalidArgumentError(f"{what} must be 1 to {longest} bytes of UTF-8, not {size}. Nothing was sent.")
    if "\0" in plain:
        raise InvalidArgumentError(f"{what} holds a NUL character, which databases cannot store. Nothing was sent.")
    return plain


def encode_key(key: object) -> str:
    """Return the tagged text of a map key: ``s:``, ``i:`` or ``u:`` and the key.

    It is a str (the rules of names apply), an int of at most 500 digits (and no bool), or a UUID.

    Examples
    --------
    >>> encode_key("1"), encode_key(1)
    ('s:1', 'i:1')
    """
    if isinstance(key, str):
        return "s:" + check_name(key, "key")
    if isinstance(key, int) and not isinstance(key, bool):
        if not -_KEY_BOUND < key < _KEY_BOUND:
            raise InvalidArgumentError(f"an integer key has at most {MAX_KEY_DIGITS} digits. Nothing was sent.")
        return f"i:{int.__int__(key)}"
    if isinstance(key, UUID):
        return f"u:{key if type(key) is UUID else UUID(int=key.int)}"
    raise InvalidTypeError(f"a map key must be a str, an int or a UUID, not {type(key).__name__}. Nothing was sent.")


def decode_key(text: str) -> str | int | UUID:
    """Return the map key of a tagged text: the inverse of :func:`encode_key`.

    What that gives for no key is refused, a second spelling such as ``i:01`` too.

    Examples
    --------
    >>> decode_key("i:-7")
    -7
    """
    tag, body = text[:2], text[2:]
    key: str | int | UUID | None = None
    try:
        if tag == "s:":
            key = body
        elif tag == "i:":
            key = int(body)
        elif tag == "u:":
            key = UUID(body)
        if key is not None and encode_key(key) == text:
            return key
    except ValueError:  # InvalidArgumentError is one; the message below says more
        pass
    raise InvalidArgumentError(f"{text[:80]!a} is not the text of a map key.")


def check_timeout(seconds: object) -> float:
    """Return a timeout in seconds as a float: a number above zero, and finite.

    Examples
    --------
    >>> check_timeout(5)
    5.0
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidTypeError(f"timeout must be a number of seconds, not {type(seconds).__name__}. Nothing was sent.")
    try:
        # Not float(seconds): a subclass may have something else to say.
        timeout = float.__float__(seconds) if isinstance(seconds, float) else float(int.__int__(seconds))
    except OverflowError:  # an int beyond the largest float
        timeout = math.inf
    if not 0 < timeout < math.inf:  # NaN fails both
        raise InvalidArgumentError(f"timeout must be above zero and finite, not {timeout} s. Nothing was sent.")
    return timeout


def check_at_least_one(number: object, what: str) -> int:
    """Return a number of things of which there must be one: shards, permits, expected participants.

    It is an int (and no bool) up to 2**31 - 1, what a column of the journal holds. ``what`` is counted, for the
    message.

    Examples
    --------
    >>> check_at_least_one(100, "shards")
    100
    """
    count = _as_int(number, what)
    if count < 1:
        raise InvalidArgumentError(f"{what} must be 1 or more. Nothing was sent.")
    if count > MAX_COUNT:
        raise InvalidArgumentError(f"{what} must be at most {MAX_COUNT}. Nothing was sent.")
    return count


def check_amount(amount: object, what: str = "amount") -> int:
    """Return what a counter counts by, or is at: any int, and no bool; its size is the counter's to judge.

    Examples
    --------
    >>> check_amount(-3)
    -3
    """
    return amount if type(amount) is int else _as_int(amount, what)


def check_sequence(number: object, what: str) -> int:
    """Return the number of an event of an entity, an int up to 2**63 - 1; 0 stands before the first.

    Examples
    --------
    >>> check_sequence(3, "after")
    3
    """
    sequence = _as_int(number, what)
    if not 0 <= sequence <= MAX_SEQUENCE:
        raise InvalidArgumentError(
            f"{what} is {printed(sequence)}; the first event is 1, and none is beyond {MAX_SEQUENCE}. Nothing was read."
        )
    return sequence


def check_flag(flag: object, what: str) -> bool:
    """Return a yes or no; what is only taken for one, such as ``"no"``, is refused.

    Examples
    --------
    >>> check_flag(True, "local")
    True
    """
    if not isinstance(flag, bool):
        raise InvalidTypeError(f"{what} must be True or False, not {type(flag).__name__}. Nothing was done.")
    return flag


def _as_int(number: object, what: str) -> int:
    if type(number) is int:
        return number
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidTypeError(f"{what} must be an int, not {type(number).__name__}. Nothing was sent.")
    return int.__int__(number)  # not int(number): a subclass may have something else to say
