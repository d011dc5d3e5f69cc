CREATE VIEW casty_history AS
SELECT n.kind, n.name,
    CASE substr(n.key, 1, 2) WHEN 's:' THEN 'str' WHEN 'i:' THEN 'int' WHEN 'u:' THEN 'uuid' END AS key_type,
    CASE WHEN substr(n.key, 1, 2) IN ('s:', 'i:', 'u:') THEN substr(n.key, 3) END AS key,
    n.key AS stored_key, e.sequence, e.type,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'correlation_id', 'text') AS correlation_id,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    casty_member(l.payload, 'node', 'text') AS node,
    e.payload ~ '^\{"redacted":"[0-9a-f]{64}"\}$' AS redacted,
    regexp_replace(encode(e.command_id, 'hex'), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_events e
LEFT JOIN casty_entities n ON n.id = e.entity
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired';

CREATE VIEW casty_counter_history AS
SELECT n.name, e.sequence, e.type,
    casty_member(e.payload, 'amount', 'digits') AS amount,
    casty_member(e.payload, 'value', 'digits') AS value,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'correlation_id', 'text') AS correlation_id,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    casty_member(l.payload, 'node', 'text') AS node,
    e.payload ~ '^\{"redacted":"[0-9a-f]{64}"\}$' AS redacted,
    regexp_replace(encode(e.command_id, 'hex'), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'counter';

CREATE VIEW casty_map_history AS
SELECT n.name,
    CASE substr(n.key, 1, 2) WHEN 's:' THEN 'str' WHEN 'i:' THEN 'int' WHEN 'u:' THEN 'uuid' END AS key_type,
    CASE WHEN substr(n.key, 1, 2) IN ('s:', 'i:', 'u:') THEN substr(n.key, 3) END AS key,
    n.key AS stored_key, e.sequence, e.type,
    casty_member(e.payload, 'value', 'json') AS value,
    casty_member(e.payload, 'previous', 'json') AS previous,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'correlation_id', 'text') AS correlation_id,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    casty_member(l.payload, 'node', 'text') AS node,
    e.payload ~ '^\{"redacted":"[0-9a-f]{64}"\}$' AS redacted,
    regexp_replace(encode(e.command_id, 'hex'), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'map';

CREATE VIEW casty_set_history AS
SELECT n.name, e.sequence, e.type,
    casty_member(e.payload, 'value', 'json') AS value,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'correlation_id', 'text') AS correlation_id,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    casty_member(l.payload, 'node', 'text') AS node,
    e.payload ~ '^\{"redacted":"[0-9a-f]{64}"\}$' AS redacted,
    regexp_replace(encode(e.command_id, 'hex'), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'set';

CREATE VIEW casty_queue_history AS
SELECT n.name, e.sequence, e.type,
    casty_member(e.payload, 'value', 'json') AS value,
    casty_member(e.payload, 'taken', 'text') AS taken,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'correlation_id', 'text') AS correlation_id,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    casty_member(l.payload, 'node', 'text') AS node,
    e.payload ~ '^\{"redacted":"[0-9a-f]{64}"\}$' AS redacted,
    regexp_replace(encode(e.command_id, 'hex'), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'queue';

CREATE VIEW casty_lock_history AS
SELECT n.name, e.sequence, e.type,
    casty_member(e.payload, 'owner', 'text') AS owner,
    casty_member(e.payload, 'request', 'text') AS request,
    casty_member(e.payload, 'token', 'number')::bigint AS token,
    casty_member(e.payload, 'process', 'text') AS process,
    casty_member(e.payload, 'quarters', 'number')::bigint AS quarters,
    casty_member(e.payload, 'cause', 'text') AS cause,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'correlation_id', 'text') AS correlation_id,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    casty_member(l.payload, 'node', 'text') AS node,
    e.payload ~ '^\{"redacted":"[0-9a-f]{64}"\}$' AS redacted,
    regexp_replace(encode(e.command_id, 'hex'), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'lock';

CREATE VIEW casty_semaphore_history AS
SELECT n.name, e.sequence, e.type,
    casty_member(e.payload, 'owner', 'text') AS owner,
    casty_member(e.payload, 'request', 'text') AS request,
    casty_member(e.payload, 'token', 'number')::bigint AS token,
    casty_member(e.payload, 'permits', 'number')::bigint AS permits,
    casty_member(e.payload, 'process', 'text') AS process,
    casty_member(e.payload, 'quarters', 'number')::bigint AS quarters,
    casty_member(e.payload, 'cause', 'text') AS cause,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'correlation_id', 'text') AS correlation_id,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    casty_member(l.payload, 'node', 'text') AS node,
    e.payload ~ '^\{"redacted":"[0-9a-f]{64}"\}$' AS redacted,
    regexp_replace(encode(e.command_id, 'hex'), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'semaphore';

CREATE VIEW casty_barrier_history AS
SELECT n.name, e.sequence, e.type,
    casty_member(e.payload, 'participant', 'text') AS participant,
    casty_member(e.payload, 'request', 'text') AS request,
    casty_member(e.payload, 'expected', 'number')::bigint AS expected,
    casty_member(e.payload, 'generation', 'number')::bigint AS generation,
    casty_member(e.payload, 'process', 'text') AS process,
    casty_member(e.payload, 'quarters', 'number')::bigint AS quarters,
    casty_member(e.payload, 'cause', 'text') AS cause,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'correlation_id', 'text') AS correlation_id,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    casty_member(l.payload, 'node', 'text') AS node,
    e.payload ~ '^\{"redacted":"[0-9a-f]{64}"\}$' AS redacted,
    regexp_replace(encode(e.command_id, 'hex'), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'barrier';

CREATE VIEW casty_claims AS
SELECT c.kind, c.name, c.owner, c.request, c.token, c.permits,
    CASE WHEN c.granted IS NULL THEN CASE WHEN c.ended IS NULL THEN 'waits' ELSE 'left' END
        ELSE CASE WHEN c.ended IS NULL THEN 'holds' ELSE 'held' END END AS state,
    casty_member(r.metadata, 'actor', 'text') AS actor,
    casty_member(r.metadata, 'principal', 'text') AS principal,
    CASE WHEN r.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + r.recorded_at * interval '1 microsecond' END AS requested_at,
    CASE WHEN g.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + g.recorded_at * interval '1 microsecond' END AS granted_at,
    CASE WHEN x.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + x.recorded_at * interval '1 microsecond' END AS ended_at,
    substr(x.type, length(c.kind) + 2) AS ended_by,
    g.recorded_at - r.recorded_at AS waited_us,
    x.recorded_at - g.recorded_at AS held_us,
    c.granted AS granted_sequence, c.ended AS ended_sequence, c.kept_from, c.entity
FROM (
    SELECT o.kind, o.name, o.owner, o.request, o.token, o.permits, o.granted, o.entity, o.kept_from,
        coalesce(o.requested, CASE WHEN o.kept_from = 1 THEN o.granted END) AS asked,
        coalesce(o.ended, (SELECT min(d.sequence) FROM casty_events d WHERE d.entity = o.entity
            AND d.sequence > coalesce(o.granted, o.requested) AND d.type = o.kind || '.destroyed')) AS ended
    FROM (
        SELECT q.kind, q.name, q.entity, q.request, max(q.owner) AS owner, max(q.token) AS token,
            max(q.permits) AS permits,
            min(CASE WHEN q.type = q.kind || '.requested' THEN q.sequence END) AS requested,
            min(CASE WHEN q.type = q.kind || '.granted' THEN q.sequence END) AS granted,
            min(CASE WHEN q.type NOT IN (q.kind || '.requested', q.kind || '.granted') THEN q.sequence END) AS ended,
            (SELECT min(f.sequence) FROM casty_events f WHERE f.entity = q.entity) AS kept_from
        FROM (
            SELECT n.kind, n.name, e.entity, e.sequence, e.type,
                casty_member(e.payload, 'request', 'text') AS request,
                casty_member(e.payload, 'owner', 'text') AS owner,
                casty_member(e.payload, 'token', 'number')::bigint AS token,
                casty_member(e.payload, 'permits', 'number')::bigint AS permits
            FROM casty_entities n
            JOIN casty_events e ON e.entity = n.id
            WHERE n.kind IN ('lock', 'semaphore') AND e.type IN (
                n.kind || '.requested', n.kind || '.granted',
                n.kind || '.released', n.kind || '.withdrawn', n.kind || '.expired')
        ) q
        GROUP BY q.kind, q.name, q.entity, q.request
    ) o
    WHERE o.request IS NOT NULL AND (o.requested IS NOT NULL OR o.granted IS NOT NULL)
) c
LEFT JOIN casty_events r ON r.entity = c.entity AND r.sequence = c.asked
LEFT JOIN casty_events g ON g.entity = c.entity AND g.sequence = c.granted
LEFT JOIN casty_events x ON x.entity = c.entity AND x.sequence = c.ended;

CREATE VIEW casty_holders AS
SELECT kind, name, owner, request, token, permits, actor, principal, requested_at, granted_at, waited_us,
    granted_sequence, kept_from, entity
FROM casty_claims
WHERE state = 'holds';

CREATE VIEW casty_redactions AS
SELECT n.kind, n.name,
    CASE substr(n.key, 1, 2) WHEN 's:' THEN 'str' WHEN 'i:' THEN 'int' WHEN 'u:' THEN 'uuid' END AS key_type,
    CASE WHEN substr(n.key, 1, 2) IN ('s:', 'i:', 'u:') THEN substr(n.key, 3) END AS key,
    n.key AS stored_key, e.sequence,
    casty_member(e.payload, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    NOT EXISTS (SELECT 1 FROM casty_retired_salts r WHERE r.entity = e.entity AND r.through <= e.sequence) AS finished,
    e.slot, e.position, e.entity, e.recorded_at AS recorded_at_us
FROM casty_entities n
CROSS JOIN casty_events e
WHERE n.salted_from > 0 AND e.entity = n.id AND e.type = 'entity.redacted';

CREATE VIEW casty_cuts AS
SELECT n.kind, n.name,
    CASE substr(n.key, 1, 2) WHEN 's:' THEN 'str' WHEN 'i:' THEN 'int' WHEN 'u:' THEN 'uuid' END AS key_type,
    CASE WHEN substr(n.key, 1, 2) IN ('s:', 'i:', 'u:') THEN substr(n.key, 3) END AS key,
    n.key AS stored_key, e.sequence,
    casty_member(e.payload, 'through', 'number')::bigint AS through,
    casty_member(e.payload, 'events', 'number')::bigint AS events,
    casty_member(e.payload, 'archive', 'text') AS archive,
    casty_member(e.payload, 'archive_sha256', 'text') AS archive_sha256,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'principal', 'text') AS principal,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    e.slot, e.position, e.entity, e.recorded_at AS recorded_at_us
FROM (SELECT DISTINCT entity FROM casty_seals) s
CROSS JOIN casty_entities n
CROSS JOIN casty_events e
WHERE n.id = s.entity AND e.entity = s.entity AND e.type = 'entity.sealed';
