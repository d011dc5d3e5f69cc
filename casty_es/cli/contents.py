"""Every command in a line, so that the list of them loads none; a test holds it to the commands themselves."""

from __future__ import annotations

from typing import Final, NamedTuple


class _Entry(NamedTuple):
    """Where a command is, as ``module:function``, or as the module of a group of commands; and what it is for."""

    place: str
    line: str


COMMANDS: Final = {
    "log": _Entry(
        "log:log", "Print what happened: to everything, to a structure, or to one key of a map: log counter/page-views."
    ),
    "show": _Entry(
        "show:show",
        "Show a structure, or one key of a map, as it is or was: show counter hits --at '2026-11-17 12:00'.",
    ),
    "node": _Entry(
        "node:node",
        "Run a node until SIGTERM or SIGINT; then it finishes what it began, hands its slots over and ends.",
    ),
    "nodes": _Entry(
        "nodes:nodes",
        "Show the nodes: who is alive, where it listens and whether it answers there, and how many slots it holds.",
    ),
    "slots": _Entry(
        "nodes:slots",
        "Show who holds which slot, under which epoch and since when. Slots that nobody ever took are left out.",
    ),
    "doctor": _Entry(
        "doctor:doctor",
        "Look at everything that a node rests on: schema, durability, leases, clock, limits, "
        "the secret, the directory.",
    ),
    "who": _Entry(
        "who:who",
        "Tell who held a lock or permit at a moment, who waited, who had arrived at a barrier; or where a job was.",
    ),
    "timeline": _Entry(
        "timeline:timeline_command",
        "Draw who held and who waited between two moments: a row for each request, or for each job of a queue.",
    ),
    "verify": _Entry(
        "verify:verify_command",
        "Walk through the journal and name what was edited, deleted, inserted or moved. Exits with 1 if anything was.",
    ),
    "anchor": _Entry(
        "anchor:anchor",
        "Print where the chains stand, as a small signed document. Keep it where the journal's "
        "writers cannot reach it.",
    ),
    "redact": _Entry(
        "redact:redact_command",
        "Forget every value that a set, a queue or a key of a map ever held. It cannot be undone.",
    ),
    "export": _Entry(
        "transfer:export",
        "Write the journal into a file or folder. Run it again after an interruption, and it goes on.",
    ),
    "import": _Entry(
        "transfer:import_command",
        "Make a journal of an export, in an empty database. Run it again after an interruption, and it goes on.",
    ),
    "copy": _Entry(
        "transfer:copy", "Copy a journal into another database. Run it again after an interruption, and it goes on."
    ),
    "check-replay": _Entry(
        "check_replay:check_replay_command",
        "Fold every stored log with the installed code, and name where it differs from what is stored. Exits "
        "with 1 if so.",
    ),
    "accept-loss": _Entry(
        "upkeep:accept_loss",
        "Open slots again that were closed because the database has lost records. Without --yes, only explain that.",
    ),
    "demo": _Entry(
        "demo.command:demo",
        "See it survive: three nodes under load, kill -9 of the one that owns the counter, then count what is there.",
    ),
    "db": _Entry("db", "Make, bring up to date and check the journal's tables."),
    "counter": _Entry("counter", "Exact integers within ±10**4000."),
    "map": _Entry("map_", "Values by key; each key has a history of its own."),
    "set": _Entry("set_", "Values that are in a set once, or not at all."),
    "queue": _Entry("queue", "First in, first out."),
    "lock": _Entry("lock", "One holder at a time, first come, first served."),
    "semaphore": _Entry("semaphore", "A fixed number of holders at a time, first come, first served."),
    "retention": _Entry("retention", "Say how long events are kept, and move older ones into archives."),
    "secret": _Entry("secret", "Print the cluster's secret, or replace it while the nodes run."),
    "token": _Entry("tokens", "Make, list and revoke tokens: what programs and people may do."),
}
