-- The settings of the database reached it as they were meant: the search path is a list of two schemas.
DO $$
DECLARE
    now_set text;
BEGIN
    SELECT setting INTO now_set
    FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
    WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND s.setrole = 0 AND setting LIKE 'search_path=%';

    IF now_set IS DISTINCT FROM 'search_path=app, public' THEN
        RAISE EXCEPTION 'DATABASE_SETTINGS: search_path=app, public expected, found %', coalesce(now_set, 'none');
    END IF;
END
$$;
