-- One row for each tick of beat that a worker carried out.
BEGIN;

CREATE TABLE IF NOT EXISTS ops.heartbeat (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    worker  text NOT NULL,
    version text NOT NULL
);

COMMIT;
