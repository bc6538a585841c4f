-- name: insert_attempt
INSERT INTO attempts (task, number, status, started_at) VALUES (?, ?, 'running', ?)
ON CONFLICT (task, number) DO UPDATE SET status = 'running', started_at = excluded.started_at;

-- name: close_attempt
UPDATE attempts SET status = ?, ended_at = ?, reason = ?, message = ?, error_type = ? WHERE task = ? AND number = ?;

-- name: replace_attempts
UPDATE attempts SET status = 'crashed', ended_at = ? WHERE task >= ? AND task < ? AND status = 'running';

-- name: note_process
UPDATE attempts SET pid = ?, pid_started = ? WHERE task = ? AND number = ?;

-- name: read_processes
SELECT task, number, pid, pid_started FROM attempts WHERE status = 'running' AND pid IS NOT NULL;

-- name: read_attempts
SELECT task, number, status, started_at, ended_at, reason, message, error_type
FROM attempts WHERE task >= ? AND task < ? ORDER BY task, number;
