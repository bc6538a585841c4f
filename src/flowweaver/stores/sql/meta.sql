-- name: read_position
SELECT id, epoch, sequence FROM position;

-- name: read_older_position
-- Of a file that has a layout before 4.
SELECT id, epoch, sequence FROM meta;

-- name: insert_meta
INSERT INTO meta (key, id, epoch, sequence) VALUES (1, ?, 0, 0);

-- name: next_epoch
UPDATE meta SET epoch = epoch + 1;

-- name: note_sequence
-- In each transaction but those that write rows of unfinished runs alone, which have the number themselves.
UPDATE meta SET sequence = ?;
