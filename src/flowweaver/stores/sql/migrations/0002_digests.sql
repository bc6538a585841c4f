-- What a plan's tasks are, in short (`core.plan.digest`), so that a run is gone on with without reading its plan. NULL
-- where an older version wrote the plan.
ALTER TABLE plans ADD COLUMN digest BLOB;
