-- What can not be true of a store, as rows: nothing is found where all is well. Each gives the key of a run and a sentence.

-- name: check_plans
SELECT key, 'has no plan' FROM runs WHERE key NOT IN (SELECT run FROM plans);

-- name: check_places
SELECT run, format('its task "%s" has the key of run %d', task_name, key >> 24) FROM task_runs WHERE key >> 24 <> run;

-- name: check_generations
SELECT older.key, format('is %s, though generation %d has taken its place', older.phase, max(newer.generation))
FROM runs AS older JOIN runs AS newer USING (workflow, run_id)
WHERE newer.generation > older.generation AND older.phase IN ('pending', 'running', 'suspended')
GROUP BY older.key;

-- name: check_attempt_numbers
SELECT run, format('attempt %d of its task "%s" is none of the %d that were started', number, task_name, task_runs.attempts)
FROM attempts JOIN task_runs ON task_runs.key = attempts.task
WHERE number < 1 OR number > task_runs.attempts;

-- name: check_running_tasks
SELECT run, format('its task "%s" is running without a running attempt', task_name)
FROM task_runs
WHERE status = 'running' AND NOT EXISTS (
  SELECT 1 FROM attempts
  WHERE attempts.task = task_runs.key AND number = task_runs.attempts AND attempts.status = 'running'
);
