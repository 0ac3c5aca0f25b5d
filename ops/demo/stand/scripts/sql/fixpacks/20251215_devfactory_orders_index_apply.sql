-- No transaction: CREATE INDEX CONCURRENTLY refuses to run in one. An index that an interrupted run left behind
-- is invalid and would be taken for the finished one, so it goes first.
SELECT EXISTS (
    SELECT FROM pg_index WHERE indexrelid = to_regclass('devfactory.orders_status_created') AND NOT indisvalid
) AS broken \gset
\if :broken
DROP INDEX CONCURRENTLY devfactory.orders_status_created;
\endif

CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_status_created ON devfactory.orders (status, created_at);
