-- What belongs to the database itself and not to anything in it: a restore into a new database, and a rename,
-- lose these unless they are replayed. The name of the database is asked, never written here.
SELECT current_database() AS db \gset

BEGIN;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ff_reader') THEN
        CREATE ROLE ff_reader NOLOGIN;
    END IF;
END
$$;

-- Privileges inside the database: granted, and promised for tables that do not exist yet.
GRANT USAGE ON SCHEMA app, crm, analytics TO ff_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA app, crm, analytics TO ff_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA app, crm, analytics GRANT SELECT ON TABLES TO ff_reader;

-- Properties of the database. Two schemas in one setting: a list, not one name with a comma in it.
REVOKE CONNECT ON DATABASE :"db" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"db" TO ff_reader;
ALTER DATABASE :"db" SET search_path = app, public;
ALTER DATABASE :"db" SET lock_timeout = '30s';
ALTER ROLE ff_reader IN DATABASE :"db" SET search_path = crm, app, public;
ALTER ROLE ff_reader IN DATABASE :"db" SET statement_timeout = '15s';
COMMENT ON DATABASE :"db" IS 'FoxProFlow''s sample stand; "main", база';

COMMIT;
