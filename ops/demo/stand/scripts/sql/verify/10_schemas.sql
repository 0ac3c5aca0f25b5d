-- Every schema that the code relies on is there.
DO $$
DECLARE
    missing text;
BEGIN
    SELECT string_agg(wanted, ', ' ORDER BY wanted) INTO missing
    FROM unnest(ARRAY['app', 'crm', 'planner', 'analytics', 'devfactory', 'ops']) AS wanted
    WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = wanted);

    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'MISSING_DB_SCHEMAS: %', missing;
    END IF;
END
$$;
