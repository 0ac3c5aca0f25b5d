-- The least that every other file relies on. May be applied again at any time.
\set ON_ERROR_STOP on
\echo '== bootstrap: schemas, roles, shapes =='
\ir fixpacks/20251201_core_schemas_apply.sql
\ir fixpacks/20251202_core_roles_apply.sql
\ir fixpacks/20251205_app_shapes_apply.sql
\echo '== bootstrap: done =='
