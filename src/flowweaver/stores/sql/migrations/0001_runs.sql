-- The first layout. Times are seconds since the epoch; values are lower case; "" says "nothing".

-- One row: which volume, which life of an engine on it, which commit.
CREATE TABLE meta (
  key      INTEGER PRIMARY KEY CHECK (key = 1),
  id       TEXT NOT NULL,
  epoch    INTEGER NOT NULL,
  sequence INTEGER NOT NULL
) STRICT;

-- AUTOINCREMENT: the key of a run that was deleted is never given again, so that what comes late can be told apart.
CREATE TABLE runs (
  key         INTEGER PRIMARY KEY AUTOINCREMENT,
  workflow    TEXT NOT NULL,
  run_id      TEXT NOT NULL,
  generation  INTEGER NOT NULL,
  phase       TEXT NOT NULL,
  reason      TEXT NOT NULL,
  message     TEXT NOT NULL,
  created_at  REAL NOT NULL,
  started_at  REAL,
  finished_at REAL,
  deadline    REAL,
  shutdown    TEXT,
  failed_fast INTEGER NOT NULL,
  suspended   INTEGER NOT NULL,
  priority    INTEGER NOT NULL,
  parallelism INTEGER,
  rerun_token TEXT NOT NULL,
  UNIQUE (workflow, run_id, generation)
) STRICT;

CREATE INDEX runs_unfinished ON runs (key) WHERE phase IN ('pending', 'running', 'suspended');

-- Apart from `runs`: a plan may be megabytes and never changes, a head is small and does.
CREATE TABLE plans (
  run  INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
  plan TEXT NOT NULL
) STRICT;

-- key = run << 24 | position in the plan, so that the rows of a run lie side by side.
CREATE TABLE task_runs (
  key         INTEGER PRIMARY KEY,
  run         INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  task_name   TEXT NOT NULL,
  status      TEXT NOT NULL,
  attempts    INTEGER NOT NULL,
  failures    INTEGER NOT NULL,
  crashes     INTEGER NOT NULL,
  not_before  REAL,
  started_at  REAL,
  finished_at REAL,
  reason      TEXT NOT NULL,
  message     TEXT NOT NULL,
  error_type  TEXT NOT NULL
) STRICT;

-- For the foreign key: without it, deleting a run would look at the tasks of all others.
CREATE INDEX task_runs_of_run ON task_runs (run);

CREATE TABLE attempts (
  task        INTEGER NOT NULL REFERENCES task_runs ON DELETE CASCADE,
  number      INTEGER NOT NULL,
  status      TEXT NOT NULL,
  started_at  REAL NOT NULL,
  ended_at    REAL,
  reason      TEXT NOT NULL DEFAULT '',
  message     TEXT NOT NULL DEFAULT '',
  error_type  TEXT NOT NULL DEFAULT '',
  pid         INTEGER,
  pid_started INTEGER,
  PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_in_processes ON attempts (task) WHERE status = 'running' AND pid IS NOT NULL;

-- Apart from `task_runs`, so that scans of tasks stay short.
CREATE TABLE results (
  task   INTEGER PRIMARY KEY REFERENCES task_runs ON DELETE CASCADE,
  result BLOB NOT NULL
) STRICT;

-- The newest run of each workflow, without the tasks that are ours, which have their names in parentheses.
CREATE VIEW tasks AS
SELECT
  runs.workflow, runs.run_id, runs.generation, task_runs.task_name, task_runs.status, task_runs.reason,
  task_runs.message, task_runs.error_type, task_runs.attempts, task_runs.failures, task_runs.crashes,
  task_runs.not_before, task_runs.started_at, task_runs.finished_at
FROM runs JOIN task_runs
  ON task_runs.key >= runs.key << 24 AND task_runs.key < (runs.key + 1) << 24
WHERE runs.key IN (SELECT max(key) FROM runs GROUP BY workflow)
  AND task_runs.task_name NOT LIKE '(%';
