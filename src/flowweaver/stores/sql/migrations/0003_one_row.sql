-- Of a task that starts once and completes with a small result its own row says everything. It tells of its first attempt
-- while that runs and when it has completed, and such an attempt has no row of its own any more. `noted_attempts` has all
-- other attempts, `large_results` all other results; `attempts` and `results` are views that have them all.
ALTER TABLE attempts RENAME TO noted_attempts;

-- 1: the attempts that it counts came with its state, from another generation or from outside, so that nothing is known
-- here of the first one.
ALTER TABLE task_runs ADD COLUMN given INTEGER NOT NULL DEFAULT 0;

UPDATE task_runs SET given = 1
WHERE attempts > 0 AND NOT EXISTS (SELECT 1 FROM noted_attempts WHERE noted_attempts.task = task_runs.key);

-- Both halves have the same types, casts and all: only so does SQLite look for a task in each instead of making the
-- whole first.
CREATE VIEW attempts AS
SELECT task, number, status, started_at, ended_at, reason, message, error_type, pid, pid_started FROM noted_attempts
UNION ALL
SELECT
  key, attempts, status, started_at, finished_at, CAST('' AS TEXT), CAST('' AS TEXT), CAST('' AS TEXT),
  CAST(NULL AS INTEGER), CAST(NULL AS INTEGER)
FROM task_runs
WHERE attempts = 1 AND status IN ('running', 'completed') AND NOT given
  AND NOT EXISTS (SELECT 1 FROM noted_attempts WHERE noted_attempts.task = task_runs.key);

ALTER TABLE results RENAME TO large_results;

ALTER TABLE task_runs ADD COLUMN small_result BLOB;

CREATE VIEW results AS
SELECT key AS task, small_result AS result FROM task_runs WHERE small_result IS NOT NULL
UNION ALL
SELECT task, result FROM large_results;
