// Package pgstore is the common session database in PostgreSQL, for session
// services on many machines. Each change is one call of a function in the
// database: one round trip, one transaction, on the disk before the answer.
//
// What was answered outlives the end of the server and of its machine, unless
// the server was set up with fsync off; the loss of its disk where
// synchronous_standby_names has a standby that is taken over from then. No
// call goes to a standby, which would lag behind.
//
// The schema is made by the first to open it, who needs CREATE on the
// database, or by an administrator for a user who then owns it. Session IDs are
// stored in clear: whoever may read the tables can be anybody.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/farmspec/farmspec/reference"
)

// DB is a reference.Store and reference.Editor in a PostgreSQL database. It is
// safe for concurrent use, also by several processes.
//
// Every call ends within its context and within five seconds in any case. Where
// that or a lost connection is what ended a change, nobody knows whether it
// happened; what the database refused or never heard of has not. Connections
// that broke are replaced, and those that rested for a second are tried before
// they are used.
type DB struct {
	pool *pgxpool.Pool
	name string
}

var (
	_ reference.Store  = (*DB)(nil)
	_ reference.Editor = (*DB)(nil)
)

// String says where the database is, without user and password.
func (db *DB) String() string { return db.name }

// Close ends the connections, after the calls under way. Later calls fail; a
// second Close does nothing.
func (db *DB) Close() error {
	db.pool.Close()
	return nil
}

// outcomes are what the functions of the database return.
var outcomes = map[string]error{
	"done":     nil,
	"last":     nil, // and it ended the session
	"unknown":  reference.ErrUnknown,
	"closed":   reference.ErrClosed,
	"spent":    reference.ErrSpent,
	"mismatch": reference.ErrMismatch,
	"conflict": reference.ErrConflict,
}

// call asks for one row, of which the first column is the outcome.
func (db *DB) call(ctx context.Context, sql string, args []any, more ...any) (outcome string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := db.pool.QueryRow(ctx, sql, args...).Scan(append([]any{&outcome}, more...)...); err != nil {
		return "", err
	}
	err, known := outcomes[outcome]
	if !known {
		return "", fmt.Errorf("the database returned outcome %q", outcome)
	}
	return outcome, err
}

// Create implements reference.Store.
func (db *DB) Create(ctx context.Context, s reference.SecuritySession) error {
	_, err := db.call(ctx, `WITH session AS (INSERT INTO sessions VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)),
		token AS (INSERT INTO tokens (id, ref, ts) VALUES ($4, $1, $5)) SELECT 'done'`,
		[]any{uuid(s.Ref), []byte(s.User), s.AuthenticatedAt, uuid(s.Current.ID), s.Current.Timestamp,
			uuid(s.Previous.ID), s.Previous.Timestamp, s.ClosedAt, string(s.Reason)})
	return said("create session", err)
}

const sessionColumns = `SELECT s.ref, s.username, s.authenticated_at, s.current_id, s.current_ts, s.previous_id, s.previous_ts,
	s.closed_at, s.reason, h.id, h.application, h.created_at, h.last_access, h.idle, h.version, h.attributes
	FROM sessions s LEFT JOIN http_sessions h ON h.ref = s.ref `

// Find implements reference.Store.
func (db *DB) Find(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
	return db.one(ctx, sessionColumns+`WHERE s.ref = (SELECT ref FROM tokens WHERE id = $1) ORDER BY h.application`, id)
}

// Load implements reference.Store.
func (db *DB) Load(ctx context.Context, ref reference.ID) (reference.SecuritySession, error) {
	return db.one(ctx, sessionColumns+`WHERE s.ref = $1 ORDER BY h.application`, ref)
}

func (db *DB) one(ctx context.Context, sql string, by reference.ID) (reference.SecuritySession, error) {
	sessions, err := db.read(ctx, sql, uuid(by))
	if err == nil && len(sessions) == 0 {
		err = reference.ErrUnknown
	}
	if err != nil {
		return reference.SecuritySession{}, said("find session", err)
	}
	return sessions[0], nil
}

// List implements reference.Store.
func (db *DB) List(ctx context.Context, user string) ([]reference.SecuritySession, error) {
	sessions, err := db.read(ctx, sessionColumns+`WHERE $1 = ''::bytea OR s.username = $1
		ORDER BY s.authenticated_at, s.ref, h.application`, []byte(user))
	return sessions, said("list sessions", err)
}

// Replace implements reference.Store: one round trip.
func (db *DB) Replace(ctx context.Context, old, next reference.Token) error {
	_, err := db.call(ctx, `SELECT replace_token($1, $2, $3, $4)`, []any{uuid(old.ID), old.Timestamp, uuid(next.ID), next.Timestamp})
	return said("replace token", err)
}

// CloseSession implements reference.Store.
func (db *DB) CloseSession(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (closed bool, err error) {
	_, err = db.call(ctx, `SELECT close_session($1, $2, $3)`, []any{uuid(ref), string(why), instant(at)})
	if errors.Is(err, reference.ErrClosed) {
		return false, nil
	}
	return err == nil, said("close session", err)
}

// instant is when something closed; zero would mean open.
func instant(at int64) int64 { return max(at, 1) }

// OpenHTTP implements reference.Store.
func (db *DB) OpenHTTP(ctx context.Context, ref reference.ID, h reference.HTTPSession) (got reference.HTTPSession, created bool, err error) {
	var row httpRow
	_, err = db.call(ctx, `SELECT outcome, created, (live).id, (live).application, (live).created_at, (live).last_access, (live).idle, (live).version, (live).attributes
		FROM open_http($1, ROW($1, $2, $3, $4, $5, $6, $7, $8)::http_sessions)`,
		[]any{uuid(ref), []byte(h.Application), uuid(h.ID), h.CreatedAt, h.LastAccess, h.Idle, h.Version, pairs(h.Attributes)},
		append([]any{&created}, row.columns()...)...)
	if err != nil {
		return reference.HTTPSession{}, false, said("open HTTP session", err)
	}
	got, err = row.session()
	return got, created && err == nil, said("open HTTP session", err)
}

// SaveHTTP implements reference.Store.
func (db *DB) SaveHTTP(ctx context.Context, ref reference.ID, application string, version int64, attributes map[string]string, at int64) error {
	_, err := db.call(ctx, `SELECT save_http($1, $2, $3, $4, $5)`, []any{uuid(ref), []byte(application), version, pairs(attributes), at})
	return said("save HTTP session", err)
}

// EndHTTP implements reference.Store.
func (db *DB) EndHTTP(ctx context.Context, ref reference.ID, application string, _ reference.Reason, at int64) (closed bool, err error) {
	outcome, err := db.call(ctx, `SELECT end_http($1, $2, $3, $4)`, []any{uuid(ref), []byte(application), string(reference.ByLastHTTP), instant(at)})
	return outcome == "last" && err == nil, said("end HTTP session", err)
}

// SetDisabled implements reference.Store.
func (db *DB) SetDisabled(ctx context.Context, user string, disabled bool) error {
	change := `DELETE FROM disabled_users WHERE username = $1`
	if disabled {
		change = `INSERT INTO disabled_users VALUES ($1) ON CONFLICT DO NOTHING`
	}
	_, err := db.call(ctx, `WITH change AS (`+change+`) SELECT 'done'`, []any{[]byte(user)})
	return said("mark user", err)
}

// Disabled implements reference.Store.
func (db *DB) Disabled(ctx context.Context, user string) (is bool, err error) {
	_, err = db.call(ctx, `SELECT 'done', EXISTS (SELECT 1 FROM disabled_users WHERE username = $1)`, []any{[]byte(user)}, &is)
	return is, said("look up user", err)
}

// Prune implements reference.Store.
func (db *DB) Prune(ctx context.Context, before int64) (n int, err error) {
	_, err = db.call(ctx, `SELECT 'done', prune($1)`, []any{before}, &n)
	return n, said("prune sessions", err)
}

// SetCurrent implements reference.Editor.
func (db *DB) SetCurrent(ctx context.Context, ref reference.ID, t reference.Token) error {
	return said("set stored token", db.edit(ctx, ref, []any{uuid(t.ID), t.Timestamp},
		`UPDATE sessions SET current_id = $2, current_ts = $3 WHERE ref = $1`,
		`DELETE FROM tokens WHERE id = $2 AND ref = $1 AND $3::bigint IS NOT NULL`,
		`INSERT INTO tokens (id, ref, ts) VALUES ($2, $1, $3)`))
}

// Remove implements reference.Editor.
func (db *DB) Remove(ctx context.Context, ref reference.ID) error {
	return said("remove session", db.edit(ctx, ref, nil,
		`DELETE FROM sessions WHERE ref = $1`,
		`DELETE FROM http_sessions WHERE ref = $1`,
		`DELETE FROM tokens WHERE ref = $1`))
}

// edit runs statements of which the first has to find the session.
func (db *DB) edit(ctx context.Context, ref reference.ID, args []any, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	args = append([]any{uuid(ref)}, args...)
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		for i, sql := range statements {
			done, err := tx.Exec(ctx, sql, args...)
			if err != nil {
				return err
			}
			if i == 0 && done.RowsAffected() == 0 {
				return reference.ErrUnknown
			}
		}
		return nil
	})
}

func said(action string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}

// read returns sessions joined with their HTTP sessions, a row each.
func (db *DB) read(ctx context.Context, sql string, arg any) ([]reference.SecuritySession, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows, err := db.pool.Query(ctx, sql, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var sessions []reference.SecuritySession
	for rows.Next() {
		var s reference.SecuritySession
		var user []byte
		var h httpRow
		if err := rows.Scan(append([]any{(*[16]byte)(&s.Ref), &user, &s.AuthenticatedAt, (*[16]byte)(&s.Current.ID), &s.Current.Timestamp,
			(*[16]byte)(&s.Previous.ID), &s.Previous.Timestamp, &s.ClosedAt, (*string)(&s.Reason)}, h.columns()...)...); err != nil {
			return nil, err
		}
		s.User = string(user)
		if n := len(sessions); n == 0 || sessions[n-1].Ref != s.Ref {
			sessions = append(sessions, s)
		}
		if h.id == nil {
			continue
		}
		live, err := h.session()
		if err != nil {
			return nil, err
		}
		last := &sessions[len(sessions)-1]
		last.HTTP = append(last.HTTP, live)
	}
	return sessions, rows.Err()
}

// httpRow is a row of http_sessions, all null where there is none.
type httpRow struct {
	id                             *[16]byte
	application                    []byte
	created, access, idle, version *int64
	attributes                     [][]byte
}

func (r *httpRow) columns() []any {
	return []any{&r.id, &r.application, &r.created, &r.access, &r.idle, &r.version, &r.attributes}
}

func (r *httpRow) session() (reference.HTTPSession, error) {
	if r.id == nil || len(r.attributes)%2 != 0 {
		return reference.HTTPSession{}, errors.New("the stored HTTP session is malformed")
	}
	h := reference.HTTPSession{ID: *r.id, Application: string(r.application), CreatedAt: *r.created, LastAccess: *r.access, Idle: *r.idle, Version: *r.version}
	if r.attributes != nil {
		h.Attributes = make(map[string]string, len(r.attributes)/2)
	}
	for i := 0; i < len(r.attributes); i += 2 {
		h.Attributes[string(r.attributes[i])] = string(r.attributes[i+1])
	}
	return h, nil
}

// pairs are names and values in turn, by name; nil for no attributes at all.
func pairs(attributes map[string]string) [][]byte {
	if attributes == nil {
		return nil
	}
	list := make([][]byte, 0, 2*len(attributes))
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		list = append(list, []byte(name), []byte(attributes[name]))
	}
	return list
}

// uuid is the ID as the driver knows one; the ID would be sent as its text.
func uuid(id reference.ID) [16]byte { return id }
