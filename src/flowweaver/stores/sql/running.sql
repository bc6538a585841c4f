-- name: read_running
SELECT attempts.task, attempts.number, attempts.started_at
FROM runs JOIN attempts ON attempts.task >= runs.key << 24 AND attempts.task < (runs.key + 1) << 24
WHERE runs.phase IN ('pending', 'running', 'suspended') AND attempts.status = 'running';
