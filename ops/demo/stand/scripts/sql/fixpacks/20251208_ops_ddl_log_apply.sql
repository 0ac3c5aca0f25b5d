-- An event trigger that writes down every schema change. It can come back before the materialized views are refreshed:
-- a restore that lets it fire may end with more rows here than the source has.
BEGIN;

CREATE TABLE IF NOT EXISTS ops.ddl_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    tag     text NOT NULL,
    objects text
);

CREATE OR REPLACE FUNCTION ops.log_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO ops.ddl_log (tag, objects)
    SELECT tg_tag, string_agg(object_identity, ', ') FROM pg_event_trigger_ddl_commands();
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'ff_log_ddl') THEN
        CREATE EVENT TRIGGER ff_log_ddl ON ddl_command_end EXECUTE FUNCTION ops.log_ddl();
    END IF;
END
$$;

COMMIT;
