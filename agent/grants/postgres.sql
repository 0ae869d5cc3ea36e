-- What the agent may do in PostgreSQL (15 or later). Run as a superuser, once in every database that is to be protected, and
-- again after an upgrade of the agent; running it again changes nothing:
--
--     psql -X -v ON_ERROR_STOP=1 -d shop -f postgres.sql
--
-- and let the role in. Over the unix socket without a password, for an agent that runs as root (or as containment):
--     pg_hba.conf, above the other lines:  local  all  agent  peer  map=agent
--     pg_ident.conf:                       agent  root  agent
-- then SELECT pg_reload_conf(). Elsewhere by certificate or password (\password agent; agent.yaml: password_file).
--
-- At worst, somebody who has stolen this login can
--   * see what pg_monitor sees: every session and its statement, every setting; no row of any table;
--   * stop the service: end sessions, make new transactions read-only, hold SHARE locks on all tables, take the login away
--     from roles, pause subscriptions. A superuser takes all of that back: ALTER SYSTEM RESET, ROLLBACK PREPARED, ALTER ROLE.
-- and cannot
--   * read or write a row, or change any setting but the two below, or grant anything to anybody;
--   * touch superusers' or replication's logins, end replication, or end the vacuum that prevents wraparound;
--   * give a login to a role, or start a subscription, that it did not itself take away or pause (containment.taken).

BEGIN;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agent') THEN
    CREATE ROLE agent;
  END IF;
  -- Whoever made a schema of this name before could put functions of his own into it.
  IF EXISTS (SELECT FROM pg_namespace n JOIN pg_roles r ON r.oid = nspowner WHERE nspname = 'containment' AND NOT rolsuper) THEN
    RAISE EXCEPTION 'the schema containment belongs to a role that is no superuser; look at what is in it, and drop it';
  END IF;
END $$;

ALTER ROLE agent NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS INHERIT LOGIN CONNECTION LIMIT 8;
ALTER ROLE agent SET search_path = pg_catalog;
ALTER ROLE agent SET idle_in_transaction_session_timeout = '30s';  -- a lock that it forgot does not stay

GRANT pg_monitor TO agent;
GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only, lock_timeout TO agent;

-- Functions and views of the catalogue have their rights per database.
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf(), pg_catalog.pg_current_logfile(text),
  pg_catalog.pg_create_restore_point(text), pg_catalog.pg_switch_wal() TO agent;
GRANT SELECT ON pg_catalog.pg_file_settings, pg_catalog.pg_hba_file_rules, pg_catalog.pg_ident_file_mappings TO agent;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings(), pg_catalog.pg_hba_file_rules(),
  pg_catalog.pg_ident_file_mappings() TO agent;

CREATE SCHEMA IF NOT EXISTS containment;
REVOKE ALL ON SCHEMA containment FROM PUBLIC;
GRANT USAGE ON SCHEMA containment TO agent;

-- What was taken away, so that exactly that can be given back: kind is `role` or `subscription`, id its oid.
CREATE TABLE IF NOT EXISTS containment.taken (
  kind text NOT NULL,
  id oid NOT NULL,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (kind, id)
);
REVOKE ALL ON containment.taken FROM PUBLIC;
GRANT SELECT ON containment.taken TO agent;

-- Stays empty: containment.try_write tries to put a row here, and takes it back.
CREATE TABLE IF NOT EXISTS containment.canary ();
REVOKE ALL ON containment.canary FROM PUBLIC;

-- End one session, a superuser's too. A pid alone may be somebody else's by now; begun is its backend_start.
-- pg_signal_backend instead would reach replication, and fail on superusers.
CREATE OR REPLACE FUNCTION containment.kick(victim integer, begun timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM FROM pg_stat_activity
    WHERE pid = victim AND backend_start = begun AND usename IS DISTINCT FROM session_user
      AND (backend_type = 'client backend'
           OR backend_type = 'autovacuum worker' AND query NOT LIKE '%(to prevent wraparound)%');
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  RETURN pg_terminate_backend(victim);
END $$;

-- SHARE locks for the rest of the transaction: reading goes on; INSERT, UPDATE, DELETE, TRUNCATE, DDL and changes of roles
-- wait, a superuser's too. Returns the number of tables. The mode is always spelled out: plain LOCK is ACCESS EXCLUSIVE, and
-- that on these catalogues, in a prepared transaction, would lock out everybody.
CREATE OR REPLACE FUNCTION containment.lock_all(timeout_ms integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  listed text;
  number integer;
BEGIN
  PERFORM set_config('lock_timeout', least(greatest(timeout_ms, 10), 5000)::text, true);
  -- The catalogues first: no table can be made or dropped between the list and its locks.
  LOCK TABLE pg_class, pg_namespace, pg_proc, pg_authid, pg_auth_members, pg_db_role_setting, pg_database, pg_largeobject,
    pg_largeobject_metadata, pg_subscription, pg_event_trigger IN SHARE MODE;
  SELECT string_agg(format('ONLY %I.%I', nspname, relname), ', ' ORDER BY c.oid), count(*) INTO listed, number
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND c.oid >= 16384;
  EXECUTE 'LOCK TABLE ' || listed || ' IN SHARE MODE';
  RETURN number;
END $$;

-- The SQLSTATE that meets a write, made with all rights: 55P03 behind the locks, 25006 where the transaction is read-only,
-- and WROTE where it went through; its row is taken back.
CREATE OR REPLACE FUNCTION containment.try_write() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('lock_timeout', '100', true);
  INSERT INTO containment.canary DEFAULT VALUES;
  RAISE EXCEPTION USING ERRCODE = 'WROTE', MESSAGE = 'taken back';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;

-- Take the login away from a role; false where it has none.
CREATE OR REPLACE FUNCTION containment.lock_role(victim text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  role record;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('containment.taken'));
  SELECT oid, rolsuper, rolreplication, rolcanlogin INTO role FROM pg_authid WHERE rolname = victim;
  IF NOT FOUND OR NOT role.rolcanlogin THEN
    RETURN false;
  END IF;
  IF role.rolsuper OR role.rolreplication OR victim = session_user THEN
    RAISE EXCEPTION 'superusers, replication and the agent itself keep their login';
  END IF;
  DELETE FROM containment.taken WHERE kind = 'role' AND id NOT IN (SELECT oid FROM pg_authid);
  INSERT INTO containment.taken (kind, id) VALUES ('role', role.oid) ON CONFLICT DO NOTHING;
  EXECUTE format('ALTER ROLE %I NOLOGIN', victim);
  RETURN true;
END $$;

-- Give a login back that was taken here; false where none was, or somebody has changed the role since.
CREATE OR REPLACE FUNCTION containment.unlock_role(victim text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  role record;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('containment.taken'));
  SELECT oid, rolsuper OR rolreplication AS mighty, rolcanlogin INTO role FROM pg_authid WHERE rolname = victim;
  DELETE FROM containment.taken WHERE kind = 'role' AND id = role.oid;
  IF NOT FOUND OR role.rolcanlogin OR role.mighty THEN
    RETURN false;
  END IF;
  EXECUTE format('ALTER ROLE %I LOGIN', victim);
  RETURN true;
END $$;

-- Stop this database's subscription from applying changes; false where it does not.
CREATE OR REPLACE FUNCTION containment.pause_subscription(victim text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found_id oid;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('containment.taken'));
  SELECT s.oid INTO found_id FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid
    WHERE subname = victim AND subenabled AND datname = current_database();
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO containment.taken (kind, id) VALUES ('subscription', found_id) ON CONFLICT DO NOTHING;
  EXECUTE format('ALTER SUBSCRIPTION %I DISABLE', victim);
  RETURN true;
END $$;

-- Let a subscription go on that was paused here; false where none was.
CREATE OR REPLACE FUNCTION containment.resume_subscription(victim text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('containment.taken'));
  DELETE FROM containment.taken t USING pg_subscription s JOIN pg_database d ON d.oid = subdbid
    WHERE t.kind = 'subscription' AND t.id = s.oid AND subname = victim AND datname = current_database();
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  EXECUTE format('ALTER SUBSCRIPTION %I ENABLE', victim);
  RETURN true;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA containment FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA containment TO agent;

COMMIT;
