-- What the planner's tasks write.
BEGIN;

CREATE TABLE IF NOT EXISTS planner.kpi_snapshots (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    taken_at     timestamptz NOT NULL DEFAULT now(),
    orders_total bigint NOT NULL,
    orders_open  bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS planner.kpi_daily (
    day        date PRIMARY KEY,
    snapshots  bigint NOT NULL,
    orders_max bigint NOT NULL
);

COMMIT;
