-- name: read_history
-- A task without an attempt tells of itself: its state was given, or it never came to an attempt.
SELECT
  runs.key, runs.workflow, runs.run_id, runs.generation,
  coalesce(attempts.number, 0), coalesce(attempts.status, task_runs.status),
  iif(attempts.number IS NULL, task_runs.started_at, attempts.started_at),
  iif(attempts.number IS NULL, task_runs.finished_at, attempts.ended_at),
  coalesce(attempts.reason, task_runs.reason), coalesce(attempts.message, task_runs.message),
  coalesce(attempts.error_type, task_runs.error_type), results.result
FROM task_runs
  JOIN runs ON runs.key = task_runs.run
  LEFT JOIN attempts ON attempts.task = task_runs.key
  LEFT JOIN results ON results.task = task_runs.key
WHERE task_runs.task_name = ?
  AND (attempts.number IS NOT NULL OR task_runs.attempts = 0 AND task_runs.finished_at IS NOT NULL)
ORDER BY task_runs.key DESC, attempts.number DESC LIMIT ?;

-- name: keys_of_workflow
SELECT key, workflow, run_id, generation FROM runs WHERE workflow = ? ORDER BY key;
