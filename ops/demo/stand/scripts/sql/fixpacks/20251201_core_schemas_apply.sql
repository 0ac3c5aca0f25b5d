-- Schemas, and the two bookkeeping tables that the gate suite wants to see exactly once.
BEGIN;

CREATE SCHEMA IF NOT EXISTS app;
CREATE SCHEMA IF NOT EXISTS crm;
CREATE SCHEMA IF NOT EXISTS planner;
CREATE SCHEMA IF NOT EXISTS analytics;
CREATE SCHEMA IF NOT EXISTS devfactory;
CREATE SCHEMA IF NOT EXISTS ops;

CREATE TABLE IF NOT EXISTS public.alembic_version (
    version_num varchar(32) PRIMARY KEY
);
INSERT INTO public.alembic_version VALUES ('20251201_core') ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS public.schema_migrations (
    version    text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO public.schema_migrations (version) VALUES ('20251201_core_schemas') ON CONFLICT DO NOTHING;

COMMIT;
