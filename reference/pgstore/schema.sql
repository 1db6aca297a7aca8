-- Instants are milliseconds since 1970 by the session service's clock. Names
-- and values that strangers choose are bytes: text holds no NUL and nothing
-- that is not UTF-8.

-- A rotation rewrites a row of sessions and no index: the page has room for it.
CREATE TABLE sessions (
	ref              uuid PRIMARY KEY,
	username         bytea NOT NULL,
	authenticated_at bigint NOT NULL,
	current_id       uuid NOT NULL,   -- the stored session ID
	current_ts       bigint NOT NULL, -- and timestamp (claims 4 and 6)
	previous_id      uuid NOT NULL,
	previous_ts      bigint NOT NULL,
	closed_at        bigint NOT NULL, -- 0 while open, then a tombstone for good
	reason           text NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX sessions_by_user ON sessions (username);

-- Every session ID that was issued, so that a spent one is known as such.
CREATE TABLE tokens (
	id  uuid PRIMARY KEY,
	ref uuid NOT NULL,
	ts  bigint NOT NULL
);

-- The live HTTP sessions; closing a session deletes its rows. Who adds or
-- deletes one holds the row of sessions.
CREATE TABLE http_sessions (
	ref         uuid NOT NULL,
	application bytea NOT NULL,
	id          uuid NOT NULL UNIQUE,
	created_at  bigint NOT NULL,
	last_access bigint NOT NULL,
	idle        bigint NOT NULL,
	version     bigint NOT NULL,
	attributes  bytea[], -- name, value, name, value ...
	PRIMARY KEY (ref, application)
);

CREATE TABLE disabled_users (username bytea PRIMARY KEY);

-- Each change is one call, hence one transaction and one round trip. The
-- functions are volatile and run at READ COMMITTED, where each statement sees
-- what was committed before it began: what follows a wait for a row's lock
-- sees what its holder did. They return the outcome's name.

CREATE FUNCTION replace_token(old_id uuid, old_ts bigint, next_id uuid, next_ts bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	s sessions;
BEGIN
	UPDATE sessions SET previous_id = current_id, previous_ts = current_ts, current_id = next_id, current_ts = next_ts
		WHERE sessions.ref = (SELECT t.ref FROM tokens t WHERE t.id = old_id)
			AND current_id = old_id AND current_ts = old_ts AND closed_at = 0
		RETURNING * INTO s;
	IF FOUND THEN
		INSERT INTO tokens (id, ref, ts) VALUES (next_id, s.ref, next_ts);
		RETURN 'done';
	END IF;
	SELECT * INTO s FROM sessions WHERE sessions.ref = (SELECT t.ref FROM tokens t WHERE t.id = old_id);
	RETURN CASE
		WHEN NOT FOUND THEN 'unknown'
		WHEN s.closed_at <> 0 THEN 'closed'
		WHEN s.current_id = old_id THEN 'mismatch'
		ELSE 'spent'
	END;
END $$;

CREATE FUNCTION close_session(session uuid, why text, at bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE sessions SET closed_at = at, reason = why WHERE ref = session AND closed_at = 0;
	IF FOUND THEN
		DELETE FROM http_sessions WHERE ref = session;
		RETURN 'done';
	END IF;
	RETURN CASE WHEN EXISTS (SELECT 1 FROM sessions WHERE ref = session) THEN 'closed' ELSE 'unknown' END;
END $$;

-- hold_session locks the session's row for the rest of the transaction.
CREATE FUNCTION hold_session(session uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	since bigint;
BEGIN
	SELECT closed_at INTO since FROM sessions WHERE ref = session FOR NO KEY UPDATE;
	RETURN CASE WHEN NOT FOUND THEN 'unknown' WHEN since <> 0 THEN 'closed' ELSE 'open' END;
END $$;

-- live is the HTTP session there is afterwards.
CREATE FUNCTION open_http(session uuid, given http_sessions, OUT outcome text, OUT created boolean, OUT live http_sessions) LANGUAGE plpgsql AS $$
BEGIN
	outcome := hold_session(session);
	created := false;
	IF outcome = 'open' THEN
		INSERT INTO http_sessions SELECT given.* ON CONFLICT (ref, application) DO NOTHING;
		created := FOUND;
		SELECT * INTO live FROM http_sessions h WHERE h.ref = session AND h.application = given.application;
		outcome := 'done';
	END IF;
END $$;

-- Null attributes only record the access. A live HTTP session has an open
-- security session: closing ends all.
CREATE FUNCTION save_http(session uuid, app bytea, read_version bigint, changed bytea[], at bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	since bigint;
BEGIN
	UPDATE http_sessions SET last_access = greatest(last_access, at),
			version = version + CASE WHEN changed IS NULL THEN 0 ELSE 1 END,
			attributes = coalesce(changed, attributes)
		WHERE ref = session AND application = app AND (changed IS NULL OR version = read_version);
	IF FOUND THEN
		RETURN 'done';
	END IF;
	IF EXISTS (SELECT 1 FROM http_sessions WHERE ref = session AND application = app) THEN
		RETURN 'conflict';
	END IF;
	SELECT closed_at INTO since FROM sessions WHERE ref = session;
	RETURN CASE WHEN since <> 0 THEN 'closed' ELSE 'unknown' END;
END $$;

CREATE FUNCTION end_http(session uuid, app bytea, why text, at bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM hold_session(session);
	DELETE FROM http_sessions WHERE ref = session AND application = app;
	IF NOT FOUND THEN
		RETURN 'unknown';
	END IF;
	IF EXISTS (SELECT 1 FROM http_sessions WHERE ref = session) THEN
		RETURN 'done';
	END IF;
	PERFORM close_session(session, why, at);
	RETURN 'last';
END $$;

CREATE FUNCTION prune(before bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	forgotten bigint;
BEGIN
	-- One at a time: two would take the same rows in different orders.
	PERFORM pg_advisory_xact_lock('prune'::regproc::oid::bigint);
	DELETE FROM sessions WHERE closed_at <> 0 AND closed_at < before;
	GET DIAGNOSTICS forgotten = ROW_COUNT;
	DELETE FROM tokens t WHERE NOT EXISTS (SELECT 1 FROM sessions s WHERE s.ref = t.ref)
		OR ts < before AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.ref = t.ref AND t.id IN (s.current_id, s.previous_id));
	RETURN forgotten;
END $$;
