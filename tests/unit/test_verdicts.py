"""Who denies knows: one module builds the errors that say that a command did not happen, from evidence."""

from __future__ import annotations

import ast
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import casty_es
from casty_es.errors import (
    CastyError,
    JournalUnavailableError,
    LeaseLostError,
    NotDoneError,
    NotOwnerError,
    OutcomeUnknownError,
    PeerLostError,
    UsageError,
)
from casty_es.verdicts import Evidence, closed, leaves_doubt, out_of_time, unsettled

ID = uuid4().bytes
SOURCE = Path(casty_es.__file__).parent


def evidence(*, in_doubt: bool, changes: bool) -> Evidence:
    """Return what is known of a command."""
    return Evidence("Increment", ID, in_doubt, changes, came_back="the link was lost")


@pytest.mark.parametrize(("in_doubt", "changes", "denied"), [(0, 1, True), (1, 1, False), (1, 0, True), (0, 0, True)])
def test_only_what_is_known_is_denied(in_doubt: int, changes: int, denied: bool) -> None:  # noqa: FBT001 - a case
    """Given a command in doubt that changes something, then nobody says that it did not happen; else they do."""
    known = evidence(in_doubt=bool(in_doubt), changes=bool(changes))
    late, shut = out_of_time(known), closed(known)
    assert type(late) is (NotDoneError if denied else OutcomeUnknownError)
    assert type(shut) is (UsageError if denied else OutcomeUnknownError)
    for error in (late, shut):
        assert ("did not happen" in str(error)) is denied
        if isinstance(error, OutcomeUnknownError):
            assert error.command_id == UUID(bytes=ID)
            assert str(error.command_id) in str(error)


def test_what_could_not_be_found_out_is_unknown() -> None:
    """Given an answer that nobody can read, then the caller is told the id, and what came back."""
    error = unsettled(evidence(in_doubt=True, changes=True))
    assert error.command_id == UUID(bytes=ID)
    assert "the link was lost" in str(error)


@pytest.mark.parametrize(
    ("error", "doubt"),
    [
        (PeerLostError("lost", sent=True), True),
        (PeerLostError("never left", sent=False), False),
        (NotOwnerError("elsewhere", slot=1), False),
        (LeaseLostError("taken"), True),
        (OutcomeUnknownError("who knows"), True),
        (JournalUnavailableError("away"), False),
        (NotDoneError("late"), False),
    ],
    ids=lambda one: type(one).__name__,
)
def test_which_endings_of_an_attempt_leave_doubt(error: CastyError, doubt: bool) -> None:  # noqa: FBT001 - a case
    """Given how an attempt ended, then it is in doubt unless somebody who knows refused it, or it never left."""
    assert leaves_doubt(error) is doubt


def test_no_other_module_denies() -> None:
    """Given the sources, then the sentence that a command did not happen stands in one of them."""
    denying = set()
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        if any("did not happen" in str(node.value) for node in texts if id(node) not in docs):
            denying.add(file.relative_to(SOURCE).as_posix())
    assert denying == {"verdicts.py"}
