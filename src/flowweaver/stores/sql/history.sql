-- name: read_history
-- A task without an attempt tells of itself: its state was given, or it never came to an attempt. So does one whose
-- first attempt has no row of its own: what the view `attempts` would say of it, of which SQLite would make the whole.
SELECT
  runs.key, runs.workflow, runs.run_id, runs.generation,
  coalesce(noted.number, task_runs.attempts), coalesce(noted.status, task_runs.status),
  iif(noted.number IS NULL, task_runs.started_at, noted.started_at),
  iif(noted.number IS NULL, task_runs.finished_at, noted.ended_at),
  coalesce(noted.reason, iif(task_runs.attempts, '', task_runs.reason)),
  coalesce(noted.message, iif(task_runs.attempts, '', task_runs.message)),
  coalesce(noted.error_type, iif(task_runs.attempts, '', task_runs.error_type)),
  coalesce(task_runs.small_result, large_results.result)
FROM task_runs
  JOIN runs ON runs.key = task_runs.run
  LEFT JOIN noted_attempts AS noted ON noted.task = task_runs.key
  LEFT JOIN large_results ON large_results.task = task_runs.key
WHERE task_runs.task_name = ? AND (
  noted.number IS NOT NULL
  OR task_runs.attempts = 0 AND task_runs.finished_at IS NOT NULL
  OR task_runs.attempts = 1 AND task_runs.status IN ('running', 'completed') AND NOT task_runs.given
)
ORDER BY task_runs.key DESC, noted.number DESC LIMIT ?;

-- name: keys_of_workflow
SELECT key, workflow, run_id, generation FROM runs WHERE workflow = ? ORDER BY key;
