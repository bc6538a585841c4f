-- name: insert_pending_task
INSERT INTO task_runs (key, run, task_name, status, attempts, failures, crashes, reason, message, error_type)
VALUES (?, ?, ?, 'pending', 0, 0, 0, '', '', '')
ON CONFLICT (key) DO NOTHING;

-- name: insert_task
INSERT INTO task_runs (
  status, attempts, failures, crashes, not_before, started_at, finished_at, reason, message, error_type, key, run,
  task_name, given
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: copy_task
INSERT INTO task_runs (
  key, run, task_name, status, attempts, failures, crashes, not_before, started_at, finished_at, reason, message,
  error_type, given, small_result
) SELECT
  ?, ?, ?, status, attempts, failures, crashes, not_before, started_at, finished_at, reason, message, error_type,
  attempts > 0, small_result
FROM task_runs WHERE key = ?4 AND status = 'completed'
  AND (small_result IS NOT NULL OR EXISTS (SELECT 1 FROM large_results WHERE large_results.task = ?4));

-- name: replace_tasks
UPDATE task_runs SET status = 'cancelled', reason = 'Replaced', not_before = NULL, finished_at = ?
WHERE key >= ? AND key < ? AND status IN ('pending', 'running', 'waiting');

-- name: plain_task
-- One that is in its first attempt, or has completed with it.
UPDATE task_runs SET
  status = ?, attempts = 1, failures = 0, crashes = 0, not_before = NULL, started_at = ?, finished_at = ?,
  reason = '', message = '', error_type = '', small_result = ?, changed = ?
WHERE key = ?;

-- name: update_task
UPDATE task_runs SET
  status = ?, attempts = ?, failures = ?, crashes = ?, not_before = ?, started_at = ?, finished_at = ?, reason = ?,
  message = ?, error_type = ?, changed = ?
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

-- name: set_result
UPDATE task_runs SET small_result = ? WHERE key = ?;

-- name: insert_large_result
INSERT INTO large_results (task, result) VALUES (?, ?)
ON CONFLICT (task) DO UPDATE SET result = excluded.result;

-- name: copy_large_result
INSERT INTO large_results (task, result) SELECT ?, result FROM large_results WHERE task = ?;

-- name: delete_large_result
DELETE FROM large_results WHERE task = ?;

-- name: read_result
SELECT key, ifnull(small_result, (SELECT large_results.result FROM large_results WHERE task = key))
FROM task_runs WHERE key = ?;
