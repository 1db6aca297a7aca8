-- Instants are milliseconds since 1970 by the session service's clock.

CREATE TABLE sessions (
	ref              BLOB PRIMARY KEY,
	user             TEXT NOT NULL,
	authenticated_at INTEGER NOT NULL,
	current_id       BLOB NOT NULL UNIQUE, -- the stored session ID
	current_ts       INTEGER NOT NULL,     -- and timestamp (claims 4 and 6)
	previous_id      BLOB NOT NULL,
	previous_ts      INTEGER NOT NULL,
	closed_at        INTEGER NOT NULL,     -- 0 while open, then a tombstone for good
	reason           TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user);

-- Every session ID that was issued, so that a spent one is known as such.
CREATE TABLE tokens (
	id  BLOB PRIMARY KEY,
	ref BLOB NOT NULL,
	ts  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The live HTTP sessions; closing a session deletes its rows.
CREATE TABLE http_sessions (
	ref         BLOB NOT NULL,
	application TEXT NOT NULL,
	id          BLOB NOT NULL UNIQUE,
	created_at  INTEGER NOT NULL,
	last_access INTEGER NOT NULL,
	idle        INTEGER NOT NULL,
	version     INTEGER NOT NULL,
	attributes  BLOB,
	PRIMARY KEY (ref, application)
) STRICT, WITHOUT ROWID
