"""``casty-es anchor``: where the chains stand now, signed, to be kept elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from casty_es.audit.anchor import take_anchor
from casty_es.audit.signing import new_key, public_key_of, public_key_pem
from casty_es.cli.common import Json, say, show
from casty_es.cli.reaching import inspect
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.errors import InvalidValueError
from casty_es.private_files import create


def anchor(
    *,
    key: Annotated[Path | None, typer.Option("--key", help="The private key to sign with: a PEM file.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the anchor to this file, which must be new.")] = None,
    new_key_file: Annotated[
        Path | None, typer.Option("--new-key", help="Only make a key: write it here, and print its public part.")
    ] = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Print where the chains stand, as a small signed document. Keep it where the journal's writers cannot reach it.

    `casty-es verify --anchor FILE` then names whatever was changed or cut up to here.
    """
    if new_key_file is not None:
        _make_key(new_key_file, json=json)
        return
    try:
        secret = None if key is None else key.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"The key {key} cannot be read: {error}. Nothing was done.") from error
    taken = inspect(url, lambda journal: take_anchor(journal, key=secret))
    if out is None:
        say(*taken.to_json().removesuffix("\n").split("\n"))
        return
    _write_new(out, taken.to_json().encode())
    records = sum(chain.records[-1][0] for chain in taken.chains)
    told = f"{out} anchors {records:,} records in {len(taken.chains)} slots" + ("." if key else ", unsigned.")
    row = {"file": str(out), "slots": len(taken.chains), "records": records, "signed": key is not None}
    show(row, told, json=json)


def _make_key(file: Path, *, json: bool) -> None:
    made = new_key()
    _write_new(file, made)
    public = public_key_pem(public_key_of(made))
    show({"file": str(file), "public_key": public}, *public.removesuffix("\n").split("\n"), json=json)


def _write_new(file: Path, content: bytes) -> None:
    """Write a file that is not there yet: a key or an anchor that is overwritten cannot be had again."""
    try:
        stream = create(file)
    except OSError as error:
        raise InvalidValueError(f"The file {file} cannot be made: {error}. Nothing was written.") from error
    with stream:
        stream.write(content)
