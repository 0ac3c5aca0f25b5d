-- Daily numbers, and a materialized view that is out of date on purpose: rows came after its last refresh, and
-- nothing refreshes it. A restore refreshes every view it restores, so its content is not the source's.
SELECT to_regclass('analytics.order_totals') IS NULL AS first_time \gset

BEGIN;

CREATE TABLE IF NOT EXISTS analytics.devfactory_daily (
    day    date NOT NULL,
    status text NOT NULL,
    orders bigint NOT NULL,
    PRIMARY KEY (day, status)
);

\if :first_time
CREATE MATERIALIZED VIEW analytics.order_totals AS
SELECT status, count(*) AS orders, max(id) AS newest FROM devfactory.orders GROUP BY status;

INSERT INTO devfactory.orders (title, status, note) VALUES ('after the refresh', 'late', 'not in order_totals');
\endif

COMMIT;
