"""What is changed around the records, and what the finding must name: for each database a table."""

from __future__ import annotations

FUNCTION = "CREATE FUNCTION {0}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
ROW = "FOR EACH ROW EXECUTE FUNCTION {0}()"

# By what is changed: how, and what the finding must name.
ON_POSTGRES: dict[str, tuple[str, list[str]]] = {
    "a trigger that drops rows": (
        f"{FUNCTION.format('hide')}; CREATE TRIGGER hide BEFORE INSERT ON casty_events {ROW.format('hide')}",
        ["trigger hide of casty_events was added"],
    ),
    "a trigger on a view": (
        f"{FUNCTION.format('hide')}; CREATE TRIGGER hide INSTEAD OF INSERT ON casty_history {ROW.format('hide')}",
        ["trigger hide of casty_history was added"],
    ),
    "a guard that is off": (
        "ALTER TABLE casty_events DISABLE TRIGGER casty_events_append_only",
        ["trigger casty_events_append_only of casty_events was changed"],
    ),
    "a guard for replicas only": (
        "ALTER TABLE casty_meta ENABLE REPLICA TRIGGER casty_meta_refuse_slots",
        ["trigger casty_meta_refuse_slots of casty_meta was changed"],
    ),
    "a guard that is gone": (
        "DROP TRIGGER casty_meta_refuse_slots ON casty_meta",
        ["trigger casty_meta_refuse_slots of casty_meta is gone"],
    ),
    "a guard's function": (
        "CREATE OR REPLACE FUNCTION casty_meta_refuse_slots() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        ["function casty_meta_refuse_slots() was changed"],
    ),
    "a function that runs as its owner": (
        "ALTER FUNCTION casty_member(text, text, text) SECURITY DEFINER",
        ["function casty_member(text, text, text) was changed"],
    ),
    "the views' function": (
        (
            "CREATE OR REPLACE FUNCTION casty_member(payload text, name text, form text) RETURNS text LANGUAGE plpgsql "
            "IMMUTABLE STRICT SET search_path = pg_catalog AS 'BEGIN RETURN NULL; END'"
        ),
        ["function casty_member(text, text, text) was changed"],
    ),
    "a function beside it": (
        "CREATE FUNCTION casty_member(payload text, name text) RETURNS text LANGUAGE sql AS 'SELECT name'",
        ["function casty_member(text, text) was added"],
    ),
    "a rule that drops rows": (
        "CREATE RULE hide AS ON INSERT TO casty_snapshots DO INSTEAD NOTHING",
        ["rule hide of casty_snapshots was added"],
    ),
    "a rule that turns deletes away": (
        "CREATE RULE hide AS ON DELETE TO casty_events DO INSTEAD NOTHING",
        ["rule hide of casty_events was added"],
    ),
    "row security": (
        "ALTER TABLE casty_events ENABLE ROW LEVEL SECURITY; CREATE POLICY hide ON casty_events USING (slot <> 7)",
        ["policy hide of casty_events was added", "table casty_events was changed, it is: ROW LEVEL SECURITY"],
    ),
    "row security for owners too": (
        "ALTER TABLE casty_entities FORCE ROW LEVEL SECURITY",
        ["table casty_entities was changed, it is: FORCE ROW LEVEL SECURITY"],
    ),
    "a table that inherits": (
        "CREATE TABLE more () INHERITS (casty_events)",
        ["inheritance public.more from public.casty_events of casty_events was added"],
    ),
    "a table that is inherited": (
        "CREATE TABLE less (LIKE casty_events); ALTER TABLE casty_events INHERIT less",
        ["inheritance public.casty_events from public.less of casty_events was added"],
    ),
    "UPDATE for somebody": (
        "GRANT UPDATE ON casty_events TO {role}",
        ["role {role} was granted UPDATE on casty_events"],
    ),
    "UPDATE of a column": (
        "GRANT UPDATE (payload) ON casty_events TO {role}",
        ["role {role} was granted UPDATE (payload) on casty_events"],
    ),
    "DELETE for everybody": (
        "GRANT DELETE ON casty_seals TO PUBLIC",
        ["Everybody (PUBLIC) was granted DELETE on casty_seals"],
    ),
    "a grant that may be passed on": (
        "GRANT INSERT ON casty_events TO {role} WITH GRANT OPTION",
        ["role {role} may grant INSERT on casty_events to others"],
    ),
    "a view that hides a name": (
        "CREATE OR REPLACE VIEW casty_leases AS SELECT * FROM ({casty_leases}) l WHERE l.node <> 'n'",
        ["view casty_leases was changed"],
    ),
    "a view that hides a name, behind a function that says what views are": (
        (
            "CREATE OR REPLACE VIEW casty_leases AS SELECT * FROM ({casty_leases}) l WHERE l.node <> 'n'; "
            "CREATE FUNCTION pg_get_viewdef(regclass) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$"
        ),
        ["view casty_leases was changed"],
    ),
    "a view that hides a name, behind an operator that says which view it is": (
        (
            "CREATE OR REPLACE VIEW casty_leases AS SELECT * FROM ({casty_leases}) l WHERE l.node <> 'n'; "
            "CREATE FUNCTION no(oid, regclass) RETURNS boolean LANGUAGE sql AS 'SELECT false'; "
            "CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = no)"
        ),
        ["view casty_leases was changed"],
    ),
    "a view with other columns": (
        "DROP VIEW casty_cuts; CREATE VIEW casty_cuts AS SELECT 1 AS through",
        ["view casty_cuts was changed"],
    ),
    "how a view is asked": (
        "ALTER VIEW casty_history SET (security_barrier)",
        ["view casty_history was changed, it is: security_barrier=true"],
    ),
    "a view that is gone": ("DROP VIEW casty_holders", ["view casty_holders is gone"]),
    "a view that was added": ("CREATE VIEW casty_all AS SELECT 1", ["view casty_all was added"]),
    "a table that was added": ("CREATE TABLE casty_more (id int PRIMARY KEY)", ["table casty_more was added"]),
    "a table that became a view": (
        (
            "ALTER TABLE casty_structures RENAME TO hidden; "
            "CREATE VIEW casty_structures AS SELECT * FROM hidden WHERE name <> 'n'"
        ),
        ["table casty_structures is gone", "view casty_structures was added"],
    ),
    "a table that a crash empties": (
        "ALTER TABLE casty_snapshots SET UNLOGGED",
        ["table casty_snapshots was changed, it is: UNLOGGED"],
    ),
    "a check that is gone": (
        "ALTER TABLE casty_events DROP CONSTRAINT ck_casty_events_hash",
        ["constraint ck_casty_events_hash of casty_events is gone"],
    ),
    "a check that was loosened": (
        (
            "ALTER TABLE casty_events DROP CONSTRAINT ck_casty_events_epoch; "
            "ALTER TABLE casty_events ADD CONSTRAINT ck_casty_events_epoch CHECK (epoch >= 0)"
        ),
        ["constraint ck_casty_events_epoch of casty_events was changed"],
    ),
    "a check that was not looked at": (
        (
            "ALTER TABLE casty_events DROP CONSTRAINT ck_casty_events_slot; "
            "ALTER TABLE casty_events ADD CONSTRAINT ck_casty_events_slot CHECK (slot >= 0) NOT VALID"
        ),
        ["constraint ck_casty_events_slot of casty_events was changed"],
    ),
    "a check that was added": (
        "ALTER TABLE casty_entities ADD CONSTRAINT no CHECK (name <> 'n')",
        ["constraint no of casty_entities was added"],
    ),
    "a primary key": (
        "ALTER TABLE casty_snapshots DROP CONSTRAINT pk_casty_snapshots",
        ["constraint pk_casty_snapshots of casty_snapshots is gone"],
    ),
    "a key that is looked at later": (
        (
            "ALTER TABLE casty_events DROP CONSTRAINT uq_casty_events_entity_sequence; "
            "ALTER TABLE casty_events ADD CONSTRAINT uq_casty_events_entity_sequence "
            "UNIQUE (entity, sequence) DEFERRABLE"
        ),
        ["constraint uq_casty_events_entity_sequence of casty_events was changed"],
    ),
    "an index": (
        "DROP INDEX uq_casty_events_idempotency_key",
        ["index uq_casty_events_idempotency_key of casty_events is gone"],
    ),
    "an index that was added": (
        "CREATE UNIQUE INDEX block ON casty_events (type)",
        ["index block of casty_events was added"],
    ),
    "a column that may be empty": (
        "ALTER TABLE casty_events ALTER hash DROP NOT NULL",
        ["column hash of casty_events was changed"],
    ),
    "a column that fills itself": (
        "ALTER TABLE casty_events ALTER payload SET DEFAULT '{{}}'",
        ["column payload of casty_events was changed"],
    ),
    "a column that was added": (
        "ALTER TABLE casty_events ADD note text",
        ["column note of casty_events was added"],
    ),
    "a second row of casty_meta": (
        (
            "ALTER TABLE casty_meta DROP CONSTRAINT ck_casty_meta_one_row; "
            "INSERT INTO casty_meta (id, slots, hash_algorithm, created_at) VALUES (2, 256, 'sha256', 1)"
        ),
        ["constraint ck_casty_meta_one_row of casty_meta is gone", "casty_meta must have one row"],
    ),
}

ON_SQLITE: dict[str, tuple[str, list[str]]] = {
    "a trigger that drops rows": (
        "CREATE TRIGGER hide BEFORE INSERT ON casty_events BEGIN SELECT RAISE(IGNORE); END",
        ["trigger hide of casty_events was added"],
    ),
    "a trigger that rewrites rows": (
        "CREATE TRIGGER hide AFTER INSERT ON casty_snapshots BEGIN UPDATE casty_snapshots SET state = ''; END",
        ["trigger hide of casty_snapshots was added"],
    ),
    "a trigger on a view": (
        "CREATE TRIGGER hide INSTEAD OF INSERT ON casty_history BEGIN SELECT 1; END",
        ["trigger hide of casty_history was added"],
    ),
    "a guard that is gone": (
        "DROP TRIGGER casty_meta_refuse_slots",
        ["trigger casty_meta_refuse_slots of casty_meta is gone"],
    ),
    "a guard that lets through": (
        (
            "DROP TRIGGER casty_events_refuse_delete; "
            "CREATE TRIGGER casty_events_refuse_delete BEFORE DELETE ON casty_events BEGIN SELECT 1; END"
        ),
        ["trigger casty_events_refuse_delete of casty_events was changed"],
    ),
    "a view that hides a name": (
        "DROP VIEW casty_holders; CREATE VIEW casty_holders AS SELECT * FROM casty_claims WHERE name <> 'n'",
        ["view casty_holders was changed"],
    ),
    "a view that is gone": ("DROP VIEW casty_cuts", ["view casty_cuts is gone"]),
    "a view that was added": ("CREATE VIEW casty_all AS SELECT 1", ["view casty_all was added"]),
    "a table that was added": ("CREATE TABLE Casty_more (id INTEGER)", ["table Casty_more was added"]),
    "a table that became a view": (
        (
            "ALTER TABLE casty_structures RENAME TO hidden; "
            "CREATE VIEW casty_structures AS SELECT * FROM hidden WHERE name <> 'n'"
        ),
        ["table casty_structures is gone", "view casty_structures was added"],
    ),
    "a table without its checks": (
        (
            "DROP TABLE casty_closed_slots; CREATE TABLE casty_closed_slots (slot INTEGER NOT NULL, "
            "incarnation INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL, found INTEGER "
            "NOT NULL, node_id TEXT NOT NULL, closed_at INTEGER NOT NULL)"
        ),
        ["table casty_closed_slots was changed", "sqlite_autoindex_casty_closed_slots_1 of casty_closed_slots is gone"],
    ),
    "a column that was added": (
        "ALTER TABLE casty_events ADD COLUMN note TEXT",
        ["table casty_events was changed"],
    ),
    "an index": (
        "DROP INDEX uq_casty_events_idempotency_key",
        ["index uq_casty_events_idempotency_key of casty_events is gone"],
    ),
    "an index that was added": (
        "CREATE UNIQUE INDEX block ON casty_events (type)",
        ["index block of casty_events was added"],
    ),
    "a second row of casty_meta": (
        (
            "PRAGMA ignore_check_constraints = ON; "
            "INSERT INTO casty_meta (id, slots, hash_algorithm, created_at) VALUES (2, 256, 'sha256', 1)"
        ),
        ["casty_meta must have one row"],
    ),
}
