-- name: insert_run
INSERT INTO runs (
  phase, reason, message, created_at, started_at, finished_at, deadline, shutdown, failed_fast, suspended, priority,
  parallelism, rerun_token, workflow, run_id, generation
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_plan
INSERT INTO plans (run, plan, digest) VALUES (?, ?, ?);

-- name: update_run
UPDATE runs SET
  phase = ?, reason = ?, message = ?, created_at = ?, started_at = ?, finished_at = ?, deadline = ?, shutdown = ?,
  failed_fast = ?, suspended = ?, priority = ?, parallelism = ?, rerun_token = ?
WHERE key = ?;

-- name: replace_run
UPDATE runs SET phase = 'cancelled', reason = 'Replaced', finished_at = ?
WHERE key = ? AND phase IN ('pending', 'running', 'suspended');

-- name: delete_run
DELETE FROM runs WHERE key = ?;

-- name: find_run
SELECT key FROM runs WHERE workflow = ? AND run_id = ? AND generation = ?;

-- name: find_newest
SELECT key FROM runs WHERE workflow = ? AND run_id = ? ORDER BY generation DESC LIMIT 1;

-- name: unfinished_runs
SELECT key FROM runs WHERE phase IN ('pending', 'running', 'suspended') ORDER BY key;

-- name: is_unfinished
SELECT 1 FROM runs WHERE key = ? AND phase IN ('pending', 'running', 'suspended');

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

-- name: read_plan_unless
SELECT CASE WHEN digest IS ? THEN NULL ELSE plan END FROM plans WHERE run = ?;
