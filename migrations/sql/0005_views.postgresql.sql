CREATE VIEW casty_queue_history AS
SELECT n.name, e.sequence, e.type,
    casty_member(e.payload, 'value', 'json') AS value,
    casty_member(e.payload, 'taken', 'text') AS taken,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN to_timestamp(0) + e.recorded_at * interval '1 microsecond' END AS recorded_at,
    casty_member(e.metadata, 'actor', 'text') AS actor,
    casty_member(e.metadata, 'reason', 'text') AS reason,
    casty_member(e.metadata, 'correlation_id', 'text') AS correlation_id,
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
    casty_member(l.payload, 'node', 'text') AS node,
    e.payload ~ '^\{"redacted":"[0-9a-f]{64}"\}$' AS redacted,
    regexp_replace(encode(e.command_id, 'hex'), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5') AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'barrier';
