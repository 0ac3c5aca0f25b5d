-- Orders of the development factory, read and written by the API.
BEGIN;

CREATE TABLE IF NOT EXISTS devfactory.orders (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title      text NOT NULL,
    status     text NOT NULL DEFAULT 'new',
    note       text NOT NULL DEFAULT '',
    result     jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Seeded only while empty: orders have no natural key to recognise a seed by.
INSERT INTO devfactory.orders (title, status, note)
SELECT 'order ' || n, CASE WHEN n % 4 = 0 THEN 'done' ELSE 'new' END, 'seed ' || n
FROM generate_series(1, 40) AS n
WHERE NOT EXISTS (SELECT FROM devfactory.orders);

COMMIT;
