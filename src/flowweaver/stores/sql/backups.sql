-- What a backup says of itself. The table is in backups alone, and in no layout of a store.

-- name: forget_origin
DROP TABLE IF EXISTS backup_origin;

-- name: make_origin
CREATE TABLE backup_origin (
  made_at  REAL NOT NULL,
  store    TEXT NOT NULL,
  epoch    INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  source   TEXT NOT NULL
) STRICT;

-- name: insert_origin
INSERT INTO backup_origin (made_at, store, epoch, sequence, source) VALUES (?, ?, ?, ?, ?);

-- name: read_origin
SELECT made_at, store, epoch, sequence, source FROM backup_origin;

-- What differs between two states of one store where no commit of an engine does: runs that were made or deleted.
-- name: read_standing
SELECT (SELECT count(*) FROM runs), (SELECT seq FROM sqlite_sequence WHERE name = 'runs');
