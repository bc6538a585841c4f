-- Which commit has written a task's row last. So a commit that writes tasks alone need not count itself in `meta`, which would
-- be a page more for each: `meta.sequence` counts up to the last commit that changed a run as a whole, and rows of
-- unfinished runs may have later ones. `position` has both.
ALTER TABLE task_runs ADD COLUMN changed INTEGER;

CREATE VIEW position AS
SELECT id, epoch, max(sequence, coalesce((
  SELECT max(task_runs.changed)
  FROM runs JOIN task_runs ON task_runs.key >= runs.key << 24 AND task_runs.key < (runs.key + 1) << 24
  WHERE runs.phase IN ('pending', 'running', 'suspended')
), 0)) AS sequence
FROM meta;
