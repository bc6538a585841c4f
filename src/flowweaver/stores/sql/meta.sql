-- name: read_position
SELECT id, epoch, sequence FROM meta;

-- name: insert_meta
INSERT INTO meta (key, id, epoch, sequence) VALUES (1, ?, 0, 0);

-- name: next_epoch
UPDATE meta SET epoch = epoch + 1;

-- name: next_sequence
UPDATE meta SET sequence = sequence + 1;
