-- name: insert_pending_task
INSERT INTO task_runs (key, run, task_name, status, attempts, failures, crashes, reason, message, error_type)
VALUES (?, ?, ?, 'pending', 0, 0, 0, '', '', '')
ON CONFLICT (key) DO NOTHING;

-- name: insert_task
INSERT INTO task_runs (
  status, attempts, failures, crashes, not_before, started_at, finished_at, reason, message, error_type, key, run,
  task_name
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: copy_task
INSERT INTO task_runs (
  key, run, task_name, status, attempts, failures, crashes, not_before, started_at, finished_at, reason, message,
  error_type
) SELECT
  ?, ?, ?, status, attempts, failures, crashes, not_before, started_at, finished_at, reason, message, error_type
FROM task_runs WHERE key = ? AND status = 'completed';

-- name: replace_tasks
UPDATE task_runs SET status = 'cancelled', reason = 'Replaced', not_before = NULL, finished_at = ?
WHERE key >= ? AND key < ? AND status IN ('pending', 'running', 'waiting');

-- name: update_task
UPDATE task_runs SET
  status = ?, attempts = ?, failures = ?, crashes = ?, not_before = ?, started_at = ?, finished_at = ?, reason = ?,
  message = ?, error_type = ?
WHERE key = ?;

-- A row that is as it was inserted says nothing: its task is plainly pending.
-- name: read_tasks
SELECT
  status, attempts, failures, crashes, not_before, started_at, finished_at, reason, message, error_type, key
FROM task_runs WHERE key >= ? AND key < ? AND (
  status <> 'pending' OR attempts OR failures OR crashes OR not_before IS NOT NULL OR started_at IS NOT NULL
  OR finished_at IS NOT NULL OR reason <> '' OR message <> '' OR error_type <> ''
) ORDER BY key;

-- name: count_tasks
SELECT count(*) FROM task_runs WHERE key >= ? AND key < ?;

-- name: task_named
SELECT key FROM task_runs WHERE task_name = ? ORDER BY key DESC LIMIT 1;

-- name: copy_result
INSERT INTO results (task, result) SELECT ?, result FROM results WHERE task = ?;

-- name: upsert_result
INSERT INTO results (task, result) VALUES (?, ?)
ON CONFLICT (task) DO UPDATE SET result = excluded.result;

-- name: read_result
SELECT task, result FROM results WHERE task = ?;
