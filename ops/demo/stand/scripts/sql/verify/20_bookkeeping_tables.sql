-- Exactly one alembic_version and one schema_migrations outside the system schemas: two of them mean that two
-- tools, or two databases, have been mixed.
DO $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(format('%s=%s', wanted, tables), ', ' ORDER BY wanted) INTO wrong
    FROM (
        SELECT wanted, (
            SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relname = wanted AND c.relkind IN ('r', 'p')
              AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        ) AS tables
        FROM unnest(ARRAY['alembic_version', 'schema_migrations']) AS wanted
    ) AS counted
    WHERE tables <> 1;

    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'BOOKKEEPING_TABLES: exactly one of each expected, found %', wrong;
    END IF;
END
$$;
