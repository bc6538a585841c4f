-- Of a first attempt that runs, or has completed its task, the task's own row tells: `attempts` is a view that has it
-- too, and `noted_attempts` has the rows of all others.

-- name: insert_attempt
INSERT INTO noted_attempts (task, number, status, started_at) VALUES (?, ?, 'running', ?)
ON CONFLICT (task, number) DO UPDATE SET status = 'running', started_at = excluded.started_at;

-- name: note_attempt
-- Before its task's row says something else.
INSERT INTO noted_attempts (task, number, status, started_at, ended_at)
SELECT task, number, status, started_at, ended_at FROM attempts WHERE task = ?
ON CONFLICT (task, number) DO NOTHING;

-- name: close_attempt
UPDATE noted_attempts SET status = ?, ended_at = ?, reason = ?, message = ?, error_type = ? WHERE task = ? AND number = ?;

-- name: replace_attempts
INSERT INTO noted_attempts (task, number, status, started_at, ended_at)
SELECT task, number, 'crashed', started_at, ? FROM attempts WHERE task >= ? AND task < ? AND status = 'running'
ON CONFLICT (task, number) DO UPDATE SET status = excluded.status, ended_at = excluded.ended_at;

-- name: note_process
INSERT INTO noted_attempts (task, number, status, started_at, pid, pid_started)
SELECT task, number, status, started_at, ?, ? FROM attempts WHERE task = ? AND number = ? AND status = 'running'
ON CONFLICT (task, number) DO UPDATE SET pid = excluded.pid, pid_started = excluded.pid_started;

-- name: read_processes
SELECT task, number, pid, pid_started FROM noted_attempts WHERE status = 'running' AND pid IS NOT NULL;

-- name: read_attempts
SELECT task, number, status, started_at, ended_at, reason, message, error_type
FROM attempts WHERE task >= ? AND task < ? ORDER BY task, number;
