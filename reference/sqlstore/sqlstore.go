// Package sqlstore is the common session database in SQLite, without cgo. A
// database in a file outlives its processes: what a call has acknowledged is
// on the disk, a kill -9 or a power cut notwithstanding.
package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	_ "embed"
	"encoding/gob"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver

	"github.com/farmspec/farmspec/reference"
)

//go:embed schema.sql
var schema string

// upgrades lead from each schema version, the PRAGMA user_version, to the next.
var upgrades = []string{
	schema,
	`CREATE TABLE disabled_users (user TEXT PRIMARY KEY) STRICT, WITHOUT ROWID`,
}

// applicationID is the PRAGMA application_id by which the file is known as ours ("fspc").
const applicationID = 0x66737063

// DB is a reference.Store and reference.Editor in an SQLite database. It is
// safe for concurrent use, also by several processes on one machine. Writes go
// one at a time through one connection, and those that wait for their turn share
// a commit; reads go beside them.
//
// A write that has begun is carried through even where its context ends
// meanwhile, so that it has one outcome.
type DB struct {
	write, read *sql.DB
	group       *group
	closing     sync.Once

	create, find, load, readHTTP, list, listUser     *sql.Stmt
	replace, addToken, addCurrent                    *sql.Stmt
	closeSession, endAllHTTP                         *sql.Stmt
	openHTTP, saveHTTP, touchHTTP, endHTTP, lastHTTP *sql.Stmt
	stateOf, stateOfToken, setCurrent                *sql.Stmt
	savepoint, rollbackTo, release                   *sql.Stmt
}

var (
	_ reference.Store  = (*DB)(nil)
	_ reference.Editor = (*DB)(nil)
)

// Open opens the database file, or makes it, readable by its owner alone, in a
// folder that exists. ":memory:" is a private database that ends with Close.
// It fails, and leaves the file as it is, where that is a directory, no SQLite
// database, another program's, or of a newer schema.
func Open(path string) (*DB, error) {
	db, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open session database %s: %w", path, err)
	}
	return db, nil
}

func open(path string) (_ *DB, err error) {
	db := &DB{group: newGroup()}
	defer func() {
		if err != nil {
			_ = db.Close()
		}
	}()
	if path == ":memory:" {
		// One connection is one database: it must neither be doubled nor dropped.
		if db.write, err = sql.Open("sqlite", ":memory:?_txlock=immediate"); err != nil {
			return nil, err
		}
		db.write.SetMaxOpenConns(1)
		db.read = db.write
	} else if err = db.openFile(path); err != nil {
		return nil, err
	}
	if err = db.migrate(context.Background()); err != nil {
		return nil, err
	}
	return db, db.prepare()
}

func (db *DB) openFile(path string) (err error) {
	// SQLite says no more than "unable to open database file"; the system
	// says why.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	options := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "synchronous(FULL)"}}
	dsn := (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: options.Encode()}).String()
	if db.write, err = sql.Open("sqlite", dsn); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	// Write-ahead logging is a property of the file: before it is set, the
	// file has to be known as ours or nobody's.
	if _, err := inspect(db.write); err != nil {
		return err
	}
	if _, err := db.write.Exec("PRAGMA journal_mode = WAL"); err != nil {
		return err
	}
	if db.read, err = sql.Open("sqlite", dsn); err != nil {
		return err
	}
	db.read.SetMaxOpenConns(4)
	db.read.SetMaxIdleConns(4)
	return nil
}

// migrate brings an empty or older database to the schema.
func (db *DB) migrate(ctx context.Context) error {
	return db.change(ctx, func(tx *sql.Tx) error {
		version, err := inspect(tx)
		if err != nil || version == len(upgrades) {
			return err
		}
		_, err = tx.Exec(fmt.Sprintf("%s;\nPRAGMA application_id = %d; PRAGMA user_version = %d",
			strings.Join(upgrades[version:], ";\n"), applicationID, len(upgrades)))
		return err
	})
}

// inspect returns the schema version of the database, zero for an empty one,
// and refuses any that is neither empty nor ours.
func inspect(q interface {
	QueryRow(query string, args ...any) *sql.Row
}) (version int, err error) {
	var application, objects int
	err = q.QueryRow(`SELECT (SELECT user_version FROM pragma_user_version),
		(SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)`).
		Scan(&version, &application, &objects)
	switch {
	case err != nil:
		return 0, err
	case application == 0 && version == 0 && objects == 0:
		return 0, nil
	case application != applicationID:
		return 0, errors.New("the database belongs to another program")
	case version > len(upgrades):
		return 0, fmt.Errorf("its schema is version %d, this program knows %d: use a newer farmspec or another file", version, len(upgrades))
	case version < 1:
		return 0, fmt.Errorf("its schema version %d was never released", version)
	}
	return version, nil
}

// Close closes the database, after the write under way. Later calls fail; a
// second Close does nothing.
func (db *DB) Close() (err error) {
	db.closing.Do(func() {
		<-db.group.writer
		close(db.group.writer)
		if db.read != nil && db.read != db.write {
			err = db.read.Close()
		}
		if db.write != nil {
			err = errors.Join(err, db.write.Close())
		}
	})
	return err
}

const sessionColumns = `SELECT s.ref, s.user, s.authenticated_at, s.current_id, s.current_ts, s.previous_id, s.previous_ts,
	s.closed_at, s.reason, h.id, h.application, h.created_at, h.last_access, h.idle, h.version, h.attributes
	FROM sessions s LEFT JOIN http_sessions h ON h.ref = s.ref `

func (db *DB) prepare() error {
	for _, p := range []struct {
		on   *sql.DB
		stmt **sql.Stmt
		text string
	}{
		{db.write, &db.create, `INSERT INTO sessions (ref, user, authenticated_at, current_id, current_ts, previous_id, previous_ts, closed_at, reason)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{db.write, &db.addToken, `INSERT INTO tokens (id, ref, ts) VALUES (?, ?, ?)`},
		{db.read, &db.find, sessionColumns + `WHERE s.ref = (SELECT ref FROM tokens WHERE id = ?) ORDER BY h.application`},
		{db.read, &db.load, sessionColumns + `WHERE s.ref = ? ORDER BY h.application`},
		{db.read, &db.list, sessionColumns + `ORDER BY s.authenticated_at, s.ref, h.application`},
		{db.read, &db.listUser, sessionColumns + `WHERE s.user = ? ORDER BY s.authenticated_at, s.ref, h.application`},
		{db.write, &db.replace, `UPDATE sessions SET previous_id = current_id, previous_ts = current_ts, current_id = ?, current_ts = ?
			WHERE current_id = ? AND current_ts = ? AND closed_at = 0`},
		{db.write, &db.addCurrent, `INSERT INTO tokens (id, ref, ts) SELECT current_id, ref, current_ts FROM sessions WHERE current_id = ?`},
		{db.write, &db.stateOf, `SELECT closed_at FROM sessions WHERE ref = ?`},
		{db.write, &db.stateOfToken, `SELECT closed_at, current_id = ? FROM sessions WHERE ref = (SELECT ref FROM tokens WHERE id = ?)`},
		{db.write, &db.closeSession, `UPDATE sessions SET closed_at = ?, reason = ? WHERE ref = ? AND closed_at = 0`},
		{db.write, &db.endAllHTTP, `DELETE FROM http_sessions WHERE ref = ?`},
		{db.write, &db.openHTTP, `INSERT INTO http_sessions (ref, application, id, created_at, last_access, idle, version, attributes)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ref, application) DO NOTHING`},
		{db.write, &db.readHTTP, `SELECT id, created_at, last_access, idle, version, attributes FROM http_sessions WHERE ref = ? AND application = ?`},
		{db.write, &db.saveHTTP, `UPDATE http_sessions SET version = version + 1, attributes = ?, last_access = max(last_access, ?)
			WHERE ref = ? AND application = ? AND version = ?`},
		{db.write, &db.touchHTTP, `UPDATE http_sessions SET last_access = max(last_access, ?) WHERE ref = ? AND application = ?`},
		{db.write, &db.endHTTP, `DELETE FROM http_sessions WHERE ref = ? AND application = ?`},
		{db.write, &db.lastHTTP, `SELECT NOT EXISTS (SELECT 1 FROM http_sessions WHERE ref = ?)`},
		{db.write, &db.setCurrent, `UPDATE sessions SET current_id = ?, current_ts = ? WHERE ref = ?`},
		{db.write, &db.savepoint, `SAVEPOINT change`},
		{db.write, &db.rollbackTo, `ROLLBACK TO change`},
		{db.write, &db.release, `RELEASE change`},
	} {
		var err error
		if *p.stmt, err = p.on.Prepare(p.text); err != nil {
			return fmt.Errorf("prepare statement: %w", err)
		}
	}
	return nil
}

// Create implements reference.Store.
func (db *DB) Create(ctx context.Context, s reference.SecuritySession) error {
	err := db.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.Stmt(db.create).Exec(s.Ref[:], s.User, s.AuthenticatedAt, s.Current.ID[:], s.Current.Timestamp,
			s.Previous.ID[:], s.Previous.Timestamp, s.ClosedAt, s.Reason)
		if err != nil {
			return err
		}
		_, err = tx.Stmt(db.addToken).Exec(s.Current.ID[:], s.Ref[:], s.Current.Timestamp)
		return err
	})
	return said("create session", err)
}

// Find implements reference.Store.
func (db *DB) Find(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
	return one(ctx, db.find, id)
}

// Load implements reference.Store.
func (db *DB) Load(ctx context.Context, ref reference.ID) (reference.SecuritySession, error) {
	return one(ctx, db.load, ref)
}

// Replace implements reference.Store.
func (db *DB) Replace(ctx context.Context, old, next reference.Token) error {
	err := db.change(ctx, func(tx *sql.Tx) error {
		replaced, err := affected(tx.Stmt(db.replace).Exec(next.ID[:], next.Timestamp, old.ID[:], old.Timestamp))
		if err != nil {
			return err
		}
		if replaced {
			_, err = tx.Stmt(db.addCurrent).Exec(next.ID[:])
			return err
		}
		var closedAt int64
		var current bool
		switch err := tx.Stmt(db.stateOfToken).QueryRow(old.ID[:], old.ID[:]).Scan(&closedAt, &current); {
		case errors.Is(err, sql.ErrNoRows):
			return reference.ErrUnknown
		case err != nil:
			return err
		case closedAt != 0:
			return reference.ErrClosed
		case current:
			return reference.ErrMismatch
		}
		return reference.ErrSpent
	})
	return said("replace token", err)
}

// CloseSession implements reference.Store.
func (db *DB) CloseSession(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (closed bool, err error) {
	err = db.change(ctx, func(tx *sql.Tx) error {
		closed, err = db.close(tx, ref, why, at)
		if closed || err != nil {
			return err
		}
		_, err = db.open(tx, ref)
		return err
	})
	return closed && err == nil, said("close session", err)
}

func (db *DB) close(tx *sql.Tx, ref reference.ID, why reference.Reason, at int64) (bool, error) {
	// Zero would mean open.
	if closed, err := affected(tx.Stmt(db.closeSession).Exec(max(at, 1), why, ref[:])); !closed || err != nil {
		return false, err
	}
	_, err := tx.Stmt(db.endAllHTTP).Exec(ref[:])
	return true, err
}

// open reports whether the session is open; ErrUnknown where there is none.
func (db *DB) open(tx *sql.Tx, ref reference.ID) (bool, error) {
	var closedAt int64
	err := tx.Stmt(db.stateOf).QueryRow(ref[:]).Scan(&closedAt)
	if errors.Is(err, sql.ErrNoRows) {
		err = reference.ErrUnknown
	}
	return closedAt == 0, err
}

// OpenHTTP implements reference.Store.
func (db *DB) OpenHTTP(ctx context.Context, ref reference.ID, h reference.HTTPSession) (got reference.HTTPSession, created bool, err error) {
	err = db.change(ctx, func(tx *sql.Tx) error {
		if open, err := db.open(tx, ref); err != nil {
			return err
		} else if !open {
			return reference.ErrClosed
		}
		attributes, err := encode(h.Attributes)
		if err != nil {
			return err
		}
		created, err = affected(tx.Stmt(db.openHTTP).Exec(ref[:], h.Application, h.ID[:], h.CreatedAt, h.LastAccess, h.Idle, h.Version, attributes))
		if err != nil {
			return err
		}
		var id []byte
		got = reference.HTTPSession{Application: h.Application}
		err = tx.Stmt(db.readHTTP).QueryRow(ref[:], h.Application).Scan(&id, &got.CreatedAt, &got.LastAccess, &got.Idle, &got.Version, &attributes)
		if err != nil {
			return err
		}
		copy(got.ID[:], id)
		got.Attributes, err = decode(attributes)
		return err
	})
	if err != nil {
		return reference.HTTPSession{}, false, said("open HTTP session", err)
	}
	return got, created, nil
}

// SaveHTTP implements reference.Store.
func (db *DB) SaveHTTP(ctx context.Context, ref reference.ID, application string, version int64, attributes map[string]string, at int64) error {
	err := db.change(ctx, func(tx *sql.Tx) error {
		// A live HTTP session has an open security session: closing ends all.
		touched, err := affected(tx.Stmt(db.touchHTTP).Exec(at, ref[:], application))
		if err != nil {
			return err
		}
		if !touched {
			if open, err := db.open(tx, ref); err != nil {
				return err
			} else if !open {
				return reference.ErrClosed
			}
			return reference.ErrUnknown
		}
		if attributes == nil {
			return nil
		}
		encoded, err := encode(attributes)
		if err != nil {
			return err
		}
		saved, err := affected(tx.Stmt(db.saveHTTP).Exec(encoded, at, ref[:], application, version))
		if err == nil && !saved {
			err = reference.ErrConflict
		}
		return err
	})
	return said("save HTTP session", err)
}

// EndHTTP implements reference.Store.
func (db *DB) EndHTTP(ctx context.Context, ref reference.ID, application string, _ reference.Reason, at int64) (closed bool, err error) {
	err = db.change(ctx, func(tx *sql.Tx) error {
		ended, err := affected(tx.Stmt(db.endHTTP).Exec(ref[:], application))
		if err != nil {
			return err
		}
		if !ended {
			return reference.ErrUnknown
		}
		var last bool
		if err := tx.Stmt(db.lastHTTP).QueryRow(ref[:]).Scan(&last); err != nil || !last {
			return err
		}
		closed, err = db.close(tx, ref, reference.ByLastHTTP, at)
		return err
	})
	return closed && err == nil, said("end HTTP session", err)
}

// List implements reference.Store.
func (db *DB) List(ctx context.Context, user string) ([]reference.SecuritySession, error) {
	var sessions []reference.SecuritySession
	var err error
	if user == "" {
		sessions, err = scan(db.list.QueryContext(ctx))
	} else {
		sessions, err = scan(db.listUser.QueryContext(ctx, user))
	}
	return sessions, said("list sessions", err)
}

// Prune implements reference.Store.
func (db *DB) Prune(ctx context.Context, before int64) (n int, err error) {
	err = db.change(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec(`DELETE FROM sessions WHERE closed_at <> 0 AND closed_at < ?`, before)
		if err != nil {
			return err
		}
		forgotten, err := res.RowsAffected()
		if err != nil {
			return err
		}
		n = int(forgotten)
		_, err = tx.Exec(`DELETE FROM tokens WHERE ref NOT IN (SELECT ref FROM sessions)
			OR ts < ? AND id NOT IN (SELECT current_id FROM sessions UNION ALL SELECT previous_id FROM sessions)`, before)
		return err
	})
	if err != nil {
		return 0, said("prune sessions", err)
	}
	return n, nil
}

// SetCurrent implements reference.Editor.
func (db *DB) SetCurrent(ctx context.Context, ref reference.ID, t reference.Token) error {
	err := db.change(ctx, func(tx *sql.Tx) error {
		set, err := affected(tx.Stmt(db.setCurrent).Exec(t.ID[:], t.Timestamp, ref[:]))
		if err != nil {
			return err
		}
		if !set {
			return reference.ErrUnknown
		}
		if _, err := tx.Exec(`DELETE FROM tokens WHERE id = ? AND ref = ?`, t.ID[:], ref[:]); err != nil {
			return err
		}
		_, err = tx.Stmt(db.addToken).Exec(t.ID[:], ref[:], t.Timestamp)
		return err
	})
	return said("set stored token", err)
}

// Remove implements reference.Editor.
func (db *DB) Remove(ctx context.Context, ref reference.ID) error {
	err := db.change(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"tokens", "http_sessions", "sessions"} {
			removed, err := affected(tx.Exec(`DELETE FROM `+table+` WHERE ref = ?`, ref[:]))
			if err != nil {
				return err
			}
			if table == "sessions" && !removed {
				return reference.ErrUnknown
			}
		}
		return nil
	})
	return said("remove session", err)
}

func said(action string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}

func affected(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// one reads one session. It is not interrupted: to watch for the end of the
// context would take two goroutines and more time than the reading.
func one(ctx context.Context, find *sql.Stmt, by reference.ID) (reference.SecuritySession, error) {
	if err := ctx.Err(); err != nil {
		return reference.SecuritySession{}, said("find session", err)
	}
	sessions, err := scan(find.Query(by[:]))
	if err != nil {
		return reference.SecuritySession{}, said("find session", err)
	}
	if len(sessions) == 0 {
		return reference.SecuritySession{}, reference.ErrUnknown
	}
	return sessions[0], nil
}

// scan reads sessions joined with their HTTP sessions, a row each.
func scan(rows *sql.Rows, err error) ([]reference.SecuritySession, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var sessions []reference.SecuritySession
	for rows.Next() {
		var s reference.SecuritySession
		var ref, current, previous, httpID, attributes []byte
		var application sql.NullString
		var created, access, idle, version sql.NullInt64
		if err := rows.Scan(&ref, &s.User, &s.AuthenticatedAt, &current, &s.Current.Timestamp, &previous, &s.Previous.Timestamp,
			&s.ClosedAt, &s.Reason, &httpID, &application, &created, &access, &idle, &version, &attributes); err != nil {
			return nil, err
		}
		copy(s.Ref[:], ref)
		copy(s.Current.ID[:], current)
		copy(s.Previous.ID[:], previous)
		if n := len(sessions); n == 0 || sessions[n-1].Ref != s.Ref {
			sessions = append(sessions, s)
		}
		if !application.Valid {
			continue
		}
		h := reference.HTTPSession{Application: application.String, CreatedAt: created.Int64, LastAccess: access.Int64, Idle: idle.Int64, Version: version.Int64}
		copy(h.ID[:], httpID)
		if h.Attributes, err = decode(attributes); err != nil {
			return nil, err
		}
		last := &sessions[len(sessions)-1]
		last.HTTP = append(last.HTTP, h)
	}
	return sessions, rows.Err()
}

// Attributes are stored as a gob: strings of any bytes come back as they were,
// which JSON does not promise.
func encode(attributes map[string]string) ([]byte, error) {
	if attributes == nil {
		return nil, nil
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(attributes); err != nil {
		return nil, fmt.Errorf("encode attributes: %w", err)
	}
	return b.Bytes(), nil
}

func decode(b []byte) (attributes map[string]string, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&attributes); err != nil {
		return nil, fmt.Errorf("decode attributes: %w", err)
	}
	return attributes, nil
}
