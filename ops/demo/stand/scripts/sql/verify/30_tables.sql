-- Every table that the API and the tasks use is there.
DO $$
DECLARE
    missing text;
BEGIN
    SELECT string_agg(wanted, ', ' ORDER BY wanted) INTO missing
    FROM unnest(ARRAY[
        'devfactory.orders', 'ops.heartbeat', 'ops.ddl_log', 'planner.kpi_snapshots', 'planner.kpi_daily',
        'analytics.devfactory_daily', 'analytics.order_totals'
    ]) AS wanted
    WHERE to_regclass(wanted) IS NULL;

    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'MISSING_DB_TABLES: %', missing;
    END IF;
END
$$;
