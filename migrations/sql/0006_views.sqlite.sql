CREATE VIEW casty_history AS
SELECT n.kind, n.name,
    CASE substr(n.key, 1, 2) WHEN 's:' THEN 'str' WHEN 'i:' THEN 'int' WHEN 'u:' THEN 'uuid' END AS key_type,
    CASE WHEN substr(n.key, 1, 2) IN ('s:', 'i:', 'u:') THEN substr(n.key, 3) END AS key,
    n.key AS stored_key, e.sequence, e.type,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'reason') = 1 THEN CASE WHEN json_type(e.metadata, '$.reason') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.reason') END END END AS reason,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'correlation_id') = 1 THEN CASE WHEN json_type(e.metadata, '$.correlation_id') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.correlation_id') END END END AS correlation_id,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN json_valid(l.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(l.payload) j WHERE j.key = 'node') = 1 THEN CASE WHEN json_type(l.payload, '$.node') = 'text' AND replace(l.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(l.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(l.payload, '$.node') END END END AS node,
    (e.payload GLOB '{"redacted":"*"}' AND length(e.payload) = 79 AND substr(e.payload, 14, 64) NOT GLOB '*[^0-9a-f]*') AS redacted,
    CASE WHEN e.command_id IS NOT NULL THEN substr(lower(hex(e.command_id)), 1, 8) || '-' || substr(lower(hex(e.command_id)), 9, 4) || '-' || substr(lower(hex(e.command_id)), 13, 4) || '-' || substr(lower(hex(e.command_id)), 17, 4) || '-' || substr(lower(hex(e.command_id)), 21, 12) END AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_events e
LEFT JOIN casty_entities n ON n.id = e.entity
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired';

CREATE VIEW casty_counter_history AS
SELECT n.name, e.sequence, e.type,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'amount') = 1 THEN CASE WHEN json_type(e.payload, '$.amount') = 'integer' THEN substr(json_extract(e.payload, '$.amount', '$.amount'), 2, (length(json_extract(e.payload, '$.amount', '$.amount')) - 3) / 2) END END END AS amount,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'value') = 1 THEN CASE WHEN json_type(e.payload, '$.value') = 'integer' THEN substr(json_extract(e.payload, '$.value', '$.value'), 2, (length(json_extract(e.payload, '$.value', '$.value')) - 3) / 2) END END END AS value,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'reason') = 1 THEN CASE WHEN json_type(e.metadata, '$.reason') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.reason') END END END AS reason,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'correlation_id') = 1 THEN CASE WHEN json_type(e.metadata, '$.correlation_id') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.correlation_id') END END END AS correlation_id,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN json_valid(l.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(l.payload) j WHERE j.key = 'node') = 1 THEN CASE WHEN json_type(l.payload, '$.node') = 'text' AND replace(l.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(l.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(l.payload, '$.node') END END END AS node,
    (e.payload GLOB '{"redacted":"*"}' AND length(e.payload) = 79 AND substr(e.payload, 14, 64) NOT GLOB '*[^0-9a-f]*') AS redacted,
    CASE WHEN e.command_id IS NOT NULL THEN substr(lower(hex(e.command_id)), 1, 8) || '-' || substr(lower(hex(e.command_id)), 9, 4) || '-' || substr(lower(hex(e.command_id)), 13, 4) || '-' || substr(lower(hex(e.command_id)), 17, 4) || '-' || substr(lower(hex(e.command_id)), 21, 12) END AS command_id,
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
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'value') = 1 THEN substr(json_extract(e.payload, '$.value', '$.value'), 2, (length(json_extract(e.payload, '$.value', '$.value')) - 3) / 2) END END AS value,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'previous') = 1 THEN substr(json_extract(e.payload, '$.previous', '$.previous'), 2, (length(json_extract(e.payload, '$.previous', '$.previous')) - 3) / 2) END END AS previous,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'reason') = 1 THEN CASE WHEN json_type(e.metadata, '$.reason') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.reason') END END END AS reason,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'correlation_id') = 1 THEN CASE WHEN json_type(e.metadata, '$.correlation_id') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.correlation_id') END END END AS correlation_id,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN json_valid(l.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(l.payload) j WHERE j.key = 'node') = 1 THEN CASE WHEN json_type(l.payload, '$.node') = 'text' AND replace(l.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(l.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(l.payload, '$.node') END END END AS node,
    (e.payload GLOB '{"redacted":"*"}' AND length(e.payload) = 79 AND substr(e.payload, 14, 64) NOT GLOB '*[^0-9a-f]*') AS redacted,
    CASE WHEN e.command_id IS NOT NULL THEN substr(lower(hex(e.command_id)), 1, 8) || '-' || substr(lower(hex(e.command_id)), 9, 4) || '-' || substr(lower(hex(e.command_id)), 13, 4) || '-' || substr(lower(hex(e.command_id)), 17, 4) || '-' || substr(lower(hex(e.command_id)), 21, 12) END AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'map';

CREATE VIEW casty_set_history AS
SELECT n.name, e.sequence, e.type,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'value') = 1 THEN substr(json_extract(e.payload, '$.value', '$.value'), 2, (length(json_extract(e.payload, '$.value', '$.value')) - 3) / 2) END END AS value,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'reason') = 1 THEN CASE WHEN json_type(e.metadata, '$.reason') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.reason') END END END AS reason,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'correlation_id') = 1 THEN CASE WHEN json_type(e.metadata, '$.correlation_id') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.correlation_id') END END END AS correlation_id,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN json_valid(l.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(l.payload) j WHERE j.key = 'node') = 1 THEN CASE WHEN json_type(l.payload, '$.node') = 'text' AND replace(l.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(l.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(l.payload, '$.node') END END END AS node,
    (e.payload GLOB '{"redacted":"*"}' AND length(e.payload) = 79 AND substr(e.payload, 14, 64) NOT GLOB '*[^0-9a-f]*') AS redacted,
    CASE WHEN e.command_id IS NOT NULL THEN substr(lower(hex(e.command_id)), 1, 8) || '-' || substr(lower(hex(e.command_id)), 9, 4) || '-' || substr(lower(hex(e.command_id)), 13, 4) || '-' || substr(lower(hex(e.command_id)), 17, 4) || '-' || substr(lower(hex(e.command_id)), 21, 12) END AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'set';

CREATE VIEW casty_queue_history AS
SELECT n.name, e.sequence, e.type,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'value') = 1 THEN substr(json_extract(e.payload, '$.value', '$.value'), 2, (length(json_extract(e.payload, '$.value', '$.value')) - 3) / 2) END END AS value,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'taken') = 1 THEN CASE WHEN json_type(e.payload, '$.taken') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.taken') END END END AS taken,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'reason') = 1 THEN CASE WHEN json_type(e.metadata, '$.reason') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.reason') END END END AS reason,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'correlation_id') = 1 THEN CASE WHEN json_type(e.metadata, '$.correlation_id') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.correlation_id') END END END AS correlation_id,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN json_valid(l.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(l.payload) j WHERE j.key = 'node') = 1 THEN CASE WHEN json_type(l.payload, '$.node') = 'text' AND replace(l.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(l.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(l.payload, '$.node') END END END AS node,
    (e.payload GLOB '{"redacted":"*"}' AND length(e.payload) = 79 AND substr(e.payload, 14, 64) NOT GLOB '*[^0-9a-f]*') AS redacted,
    CASE WHEN e.command_id IS NOT NULL THEN substr(lower(hex(e.command_id)), 1, 8) || '-' || substr(lower(hex(e.command_id)), 9, 4) || '-' || substr(lower(hex(e.command_id)), 13, 4) || '-' || substr(lower(hex(e.command_id)), 17, 4) || '-' || substr(lower(hex(e.command_id)), 21, 12) END AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'queue';

CREATE VIEW casty_lock_history AS
SELECT n.name, e.sequence, e.type,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'owner') = 1 THEN CASE WHEN json_type(e.payload, '$.owner') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.owner') END END END AS owner,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'request') = 1 THEN CASE WHEN json_type(e.payload, '$.request') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.request') END END END AS request,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'token') = 1 THEN CASE WHEN json_type(e.payload, '$.token') = 'integer' AND json_extract(e.payload, '$.token') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.token') END END END AS token,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'process') = 1 THEN CASE WHEN json_type(e.payload, '$.process') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.process') END END END AS process,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'quarters') = 1 THEN CASE WHEN json_type(e.payload, '$.quarters') = 'integer' AND json_extract(e.payload, '$.quarters') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.quarters') END END END AS quarters,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'cause') = 1 THEN CASE WHEN json_type(e.payload, '$.cause') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.cause') END END END AS cause,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'reason') = 1 THEN CASE WHEN json_type(e.metadata, '$.reason') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.reason') END END END AS reason,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'correlation_id') = 1 THEN CASE WHEN json_type(e.metadata, '$.correlation_id') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.correlation_id') END END END AS correlation_id,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN json_valid(l.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(l.payload) j WHERE j.key = 'node') = 1 THEN CASE WHEN json_type(l.payload, '$.node') = 'text' AND replace(l.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(l.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(l.payload, '$.node') END END END AS node,
    (e.payload GLOB '{"redacted":"*"}' AND length(e.payload) = 79 AND substr(e.payload, 14, 64) NOT GLOB '*[^0-9a-f]*') AS redacted,
    CASE WHEN e.command_id IS NOT NULL THEN substr(lower(hex(e.command_id)), 1, 8) || '-' || substr(lower(hex(e.command_id)), 9, 4) || '-' || substr(lower(hex(e.command_id)), 13, 4) || '-' || substr(lower(hex(e.command_id)), 17, 4) || '-' || substr(lower(hex(e.command_id)), 21, 12) END AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'lock';

CREATE VIEW casty_semaphore_history AS
SELECT n.name, e.sequence, e.type,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'owner') = 1 THEN CASE WHEN json_type(e.payload, '$.owner') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.owner') END END END AS owner,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'request') = 1 THEN CASE WHEN json_type(e.payload, '$.request') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.request') END END END AS request,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'token') = 1 THEN CASE WHEN json_type(e.payload, '$.token') = 'integer' AND json_extract(e.payload, '$.token') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.token') END END END AS token,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'permits') = 1 THEN CASE WHEN json_type(e.payload, '$.permits') = 'integer' AND json_extract(e.payload, '$.permits') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.permits') END END END AS permits,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'process') = 1 THEN CASE WHEN json_type(e.payload, '$.process') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.process') END END END AS process,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'quarters') = 1 THEN CASE WHEN json_type(e.payload, '$.quarters') = 'integer' AND json_extract(e.payload, '$.quarters') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.quarters') END END END AS quarters,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'cause') = 1 THEN CASE WHEN json_type(e.payload, '$.cause') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.cause') END END END AS cause,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'reason') = 1 THEN CASE WHEN json_type(e.metadata, '$.reason') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.reason') END END END AS reason,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'correlation_id') = 1 THEN CASE WHEN json_type(e.metadata, '$.correlation_id') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.correlation_id') END END END AS correlation_id,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN json_valid(l.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(l.payload) j WHERE j.key = 'node') = 1 THEN CASE WHEN json_type(l.payload, '$.node') = 'text' AND replace(l.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(l.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(l.payload, '$.node') END END END AS node,
    (e.payload GLOB '{"redacted":"*"}' AND length(e.payload) = 79 AND substr(e.payload, 14, 64) NOT GLOB '*[^0-9a-f]*') AS redacted,
    CASE WHEN e.command_id IS NOT NULL THEN substr(lower(hex(e.command_id)), 1, 8) || '-' || substr(lower(hex(e.command_id)), 9, 4) || '-' || substr(lower(hex(e.command_id)), 13, 4) || '-' || substr(lower(hex(e.command_id)), 17, 4) || '-' || substr(lower(hex(e.command_id)), 21, 12) END AS command_id,
    e.idempotency_key, e.slot, e.position, e.epoch, e.entity, e.version, e.payload,
    e.recorded_at AS recorded_at_us
FROM casty_entities n
JOIN casty_events e ON e.entity = n.id
LEFT JOIN casty_events l ON l.slot = e.slot AND l.position = e.epoch AND l.type = 'lease.acquired'
WHERE n.kind = 'semaphore';

CREATE VIEW casty_barrier_history AS
SELECT n.name, e.sequence, e.type,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'participant') = 1 THEN CASE WHEN json_type(e.payload, '$.participant') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.participant') END END END AS participant,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'request') = 1 THEN CASE WHEN json_type(e.payload, '$.request') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.request') END END END AS request,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'expected') = 1 THEN CASE WHEN json_type(e.payload, '$.expected') = 'integer' AND json_extract(e.payload, '$.expected') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.expected') END END END AS expected,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'generation') = 1 THEN CASE WHEN json_type(e.payload, '$.generation') = 'integer' AND json_extract(e.payload, '$.generation') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.generation') END END END AS generation,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'process') = 1 THEN CASE WHEN json_type(e.payload, '$.process') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.process') END END END AS process,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'quarters') = 1 THEN CASE WHEN json_type(e.payload, '$.quarters') = 'integer' AND json_extract(e.payload, '$.quarters') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.quarters') END END END AS quarters,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'cause') = 1 THEN CASE WHEN json_type(e.payload, '$.cause') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.cause') END END END AS cause,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'reason') = 1 THEN CASE WHEN json_type(e.metadata, '$.reason') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.reason') END END END AS reason,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'correlation_id') = 1 THEN CASE WHEN json_type(e.metadata, '$.correlation_id') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.correlation_id') END END END AS correlation_id,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN json_valid(l.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(l.payload) j WHERE j.key = 'node') = 1 THEN CASE WHEN json_type(l.payload, '$.node') = 'text' AND replace(l.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(l.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(l.payload, '$.node') END END END AS node,
    (e.payload GLOB '{"redacted":"*"}' AND length(e.payload) = 79 AND substr(e.payload, 14, 64) NOT GLOB '*[^0-9a-f]*') AS redacted,
    CASE WHEN e.command_id IS NOT NULL THEN substr(lower(hex(e.command_id)), 1, 8) || '-' || substr(lower(hex(e.command_id)), 9, 4) || '-' || substr(lower(hex(e.command_id)), 13, 4) || '-' || substr(lower(hex(e.command_id)), 17, 4) || '-' || substr(lower(hex(e.command_id)), 21, 12) END AS command_id,
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
    CASE WHEN json_valid(r.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(r.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(r.metadata, '$.actor') = 'text' AND replace(r.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(r.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(r.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(r.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(r.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(r.metadata, '$.principal') = 'text' AND replace(r.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(r.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(r.metadata, '$.principal') END END END AS principal,
    CASE WHEN r.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', r.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', r.recorded_at % 1000000) END AS requested_at,
    CASE WHEN g.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', g.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', g.recorded_at % 1000000) END AS granted_at,
    CASE WHEN x.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', x.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', x.recorded_at % 1000000) END AS ended_at,
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
                CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'request') = 1 THEN CASE WHEN json_type(e.payload, '$.request') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.request') END END END AS request,
                CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'owner') = 1 THEN CASE WHEN json_type(e.payload, '$.owner') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.owner') END END END AS owner,
                CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'token') = 1 THEN CASE WHEN json_type(e.payload, '$.token') = 'integer' AND json_extract(e.payload, '$.token') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.token') END END END AS token,
                CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'permits') = 1 THEN CASE WHEN json_type(e.payload, '$.permits') = 'integer' AND json_extract(e.payload, '$.permits') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.permits') END END END AS permits
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
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'reason') = 1 THEN CASE WHEN json_type(e.payload, '$.reason') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.reason') END END END AS reason,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
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
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'through') = 1 THEN CASE WHEN json_type(e.payload, '$.through') = 'integer' AND json_extract(e.payload, '$.through') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.through') END END END AS through,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'events') = 1 THEN CASE WHEN json_type(e.payload, '$.events') = 'integer' AND json_extract(e.payload, '$.events') BETWEEN 0 AND 999999999999999999 THEN json_extract(e.payload, '$.events') END END END AS events,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'archive') = 1 THEN CASE WHEN json_type(e.payload, '$.archive') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.archive') END END END AS archive,
    CASE WHEN json_valid(e.payload) THEN CASE WHEN (SELECT count(*) FROM json_each(e.payload) j WHERE j.key = 'archive_sha256') = 1 THEN CASE WHEN json_type(e.payload, '$.archive_sha256') = 'text' AND replace(e.payload, '\\', '') NOT GLOB '*\u0000*' AND replace(e.payload, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.payload, '$.archive_sha256') END END END AS archive_sha256,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'actor') = 1 THEN CASE WHEN json_type(e.metadata, '$.actor') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.actor') END END END AS actor,
    CASE WHEN json_valid(e.metadata) THEN CASE WHEN (SELECT count(*) FROM json_each(e.metadata) j WHERE j.key = 'principal') = 1 THEN CASE WHEN json_type(e.metadata, '$.principal') = 'text' AND replace(e.metadata, '\\', '') NOT GLOB '*\u0000*' AND replace(e.metadata, '\\', '') NOT GLOB '*\u[dD][89a-fA-F]*' THEN json_extract(e.metadata, '$.principal') END END END AS principal,
    CASE WHEN e.recorded_at BETWEEN 0 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', e.recorded_at % 1000000) END AS recorded_at,
    e.slot, e.position, e.entity, e.recorded_at AS recorded_at_us
FROM (SELECT DISTINCT entity FROM casty_seals) s
CROSS JOIN casty_entities n
CROSS JOIN casty_events e
WHERE n.id = s.entity AND e.entity = s.entity AND e.type = 'entity.sealed';
