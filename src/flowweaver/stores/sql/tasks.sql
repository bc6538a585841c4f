-- name: insert_pending_task
INSERT INTO task_runs (key, run, task_name, status, attempts, failures, crashes, reason, message, error_type)
VALUES (?, ?, ?, 'pending', 0, 0, 0, '', '', '')
ON CONFLICT (key) DO NOTHING;

-- name: update_task
UPDATE task_runs SET
  status = ?, attempts = ?, failures = ?, crashes = ?, not_before = ?, started_at = ?, finished_at = ?, reason = ?,
  message = ?, error_type = ?
WHERE key = ?;

-- name: read_tasks
SELECT
  status, attempts, failures, crashes, not_before, started_at, finished_at, reason, message, error_type, key
FROM task_runs WHERE key >= ? AND key < ? ORDER BY key;

-- name: upsert_result
INSERT INTO results (task, result) VALUES (?, ?)
ON CONFLICT (task) DO UPDATE SET result = excluded.result;

-- name: read_result
SELECT task, result FROM results WHERE task = ?;
