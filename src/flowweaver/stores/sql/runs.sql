-- name: insert_run
INSERT INTO runs (
  phase, reason, message, created_at, started_at, finished_at, deadline, shutdown, failed_fast, suspended, priority,
  parallelism, rerun_token, workflow, run_id, generation
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_plan
INSERT INTO plans (run, plan) VALUES (?, ?);

-- name: update_run
UPDATE runs SET
  phase = ?, reason = ?, message = ?, created_at = ?, started_at = ?, finished_at = ?, deadline = ?, shutdown = ?,
  failed_fast = ?, suspended = ?, priority = ?, parallelism = ?, rerun_token = ?
WHERE key = ?;

-- name: delete_run
DELETE FROM runs WHERE key = ?;

-- name: find_run
SELECT key FROM runs WHERE workflow = ? AND run_id = ? AND generation = ?;

-- name: unfinished_runs
SELECT key FROM runs WHERE phase IN ('pending', 'running', 'suspended') ORDER BY key;

-- name: read_head
SELECT
  phase, reason, message, created_at, started_at, finished_at, deadline, shutdown, failed_fast, suspended, priority,
  parallelism, rerun_token, workflow, run_id, generation, key
FROM runs WHERE key = ?;

-- name: list_heads
SELECT
  phase, reason, message, created_at, started_at, finished_at, deadline, shutdown, failed_fast, suspended, priority,
  parallelism, rerun_token, workflow, run_id, generation, key
FROM runs WHERE key > ? ORDER BY key LIMIT ?;

-- name: read_plan
SELECT plan FROM plans WHERE run = ?;
