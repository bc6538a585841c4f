-- name: read_running
-- Not from the view `attempts`, of which SQLite would make the whole; and without an index that it would make first.
SELECT task_runs.key, task_runs.attempts, coalesce(noted.started_at, task_runs.started_at)
FROM runs
  JOIN task_runs ON task_runs.key >= runs.key << 24 AND task_runs.key < (runs.key + 1) << 24
  LEFT JOIN noted_attempts AS noted ON noted.task = task_runs.key AND noted.number = task_runs.attempts
WHERE runs.phase IN ('pending', 'running', 'suspended') AND +task_runs.status = 'running'
  AND (noted.status = 'running' OR noted.status IS NULL AND task_runs.attempts = 1 AND NOT task_runs.given);
