package reference

import (
	"bytes"
	"cmp"
	"context"
	"errors"
)

// Outcomes that callers branch on. A store or service wraps them with what it
// was doing; everything else is a system failure, after which nobody knows
// whether the step happened.
var (
	// ErrUnknown: no such session or token was ever issued, or it is forgotten.
	ErrUnknown = errors.New("unknown session")
	// ErrSpent: the token was good once and has been replaced.
	ErrSpent = errors.New("token spent")
	// ErrExpired: a time-out has passed; a session that timed out is closed now.
	ErrExpired = errors.New("session timed out")
	// ErrClosed: the session has been closed.
	ErrClosed = errors.New("session closed")
	// ErrConflict: the HTTP session changed since it was read.
	ErrConflict = errors.New("HTTP session changed meanwhile")
	// ErrMismatch: the session ID is current but the timestamp is not the stored one (claim 6).
	ErrMismatch = errors.New("timestamp differs from the stored one")
	// ErrCredentials: wrong user name or password, or an account that is disabled.
	ErrCredentials = errors.New("wrong user name or password")
	// ErrCaller: the caller of the service is not an authenticated member.
	ErrCaller = errors.New("caller not authenticated")
)

// Reason says why a session was closed or an HTTP session ended.
type Reason string

// The reasons.
const (
	ByLogout   Reason = "log-out"
	ByIdle     Reason = "idle time-out"
	ByAbsolute Reason = "absolute time-out"
	ByLastHTTP Reason = "last HTTP session ended" // AJ-3.3
	ByAdmin    Reason = "administrator"
	ByUser     Reason = "the user, from another session" // ASVS 7.5.2
	ByLimit    Reason = "concurrent-session limit"       // AJ-6.5
	ByReplay   Reason = "spent token presented"          // D5
	ByLogin    Reason = "new log-in with this session"
	// BySingleLogout: logged out elsewhere, and told so (AS Java, step 6, note).
	BySingleLogout Reason = "single log-out"
	ByApplication  Reason = "application" // AJ-2.7, HTTP sessions only
)

// SecuritySession is the server-side object that holds a user's
// authentication (AJ-3.1), with the stored session data of claims 4 and 6.
// All instants are milliseconds since 1970 by the service's clock.
type SecuritySession struct {
	// Ref names the session for its whole life. It is no credential and does
	// not change when the token does.
	Ref  ID
	User string
	// AuthenticatedAt is the log-in, which rotation never moves (D6).
	AuthenticatedAt int64
	// Current is the stored session ID and timestamp.
	Current Token
	// Previous is the token that Current replaced; zero before the first replacement.
	Previous Token
	// ClosedAt is zero while the session is open. A closed session is a
	// tombstone: it never opens again (D9).
	ClosedAt int64
	Reason   Reason
	// HTTP are the live HTTP sessions mapped to it (AJ-4.4), by application name.
	HTTP []HTTPSession
}

// Open reports whether the session has not been closed.
func (s *SecuritySession) Open() bool { return s.ClosedAt == 0 }

// InOrder compares sessions as Store.List has them: by log-in, then by reference.
func InOrder(a, b SecuritySession) int {
	return cmp.Or(cmp.Compare(a.AuthenticatedAt, b.AuthenticatedAt), bytes.Compare(a.Ref[:], b.Ref[:]))
}

// HTTPSession is an application's state for one security session. There is at
// most one for each (security session, application).
type HTTPSession struct {
	ID          ID
	Application string
	CreatedAt   int64
	LastAccess  int64
	// Idle is the time-out in milliseconds; zero is none.
	Idle int64
	// Version counts saves; a save names the version it read.
	Version    int64
	Attributes map[string]string
}

// Store is the common session database (claims 4, 6 and 11). All methods are
// safe for concurrent use and each is atomic: it happens as a whole or not at
// all, and its effect is durable, to the store's declared degree, before it
// returns. The store owns no clock. Values passed and returned are not shared
// with the store. Package storetest checks the whole contract.
type Store interface {
	// Create adds an open session whose Ref, Current.ID, User and
	// AuthenticatedAt are set, with no HTTP sessions.
	Create(ctx context.Context, s SecuritySession) error

	// Find returns the session to which the session ID belongs or belonged:
	// as its current, previous or an older spent ID. It returns closed
	// sessions too, and ErrUnknown where there is none.
	Find(ctx context.Context, id ID) (SecuritySession, error)

	// Load returns the session of that reference, open or closed, or ErrUnknown.
	Load(ctx context.Context, ref ID) (SecuritySession, error)

	// Replace makes next the current token of the session if, and only if,
	// old is still its current token (same ID and same timestamp) and the
	// session is open. Of any number of concurrent calls with one old token,
	// exactly one succeeds. The others get ErrSpent, or ErrClosed, or
	// ErrMismatch where only the timestamp differs, or ErrUnknown. After a
	// system failure the caller cannot know whether the replacement happened,
	// but if it did not, old is still current (consume if, and only if, committed).
	Replace(ctx context.Context, old, next Token) error

	// CloseSession writes the tombstone and ends every HTTP session in one
	// step. It reports whether this call closed it: a session already closed
	// keeps its first instant and reason. ErrUnknown where there is none.
	CloseSession(ctx context.Context, ref ID, why Reason, at int64) (closed bool, err error)

	// OpenHTTP returns the live HTTP session of h.Application under ref, or
	// makes h it where there is none. Of concurrent calls exactly one
	// creates. ErrClosed where the security session is closed: an HTTP
	// session is never left unmapped (AJ-5.3).
	OpenHTTP(ctx context.Context, ref ID, h HTTPSession) (got HTTPSession, created bool, err error)

	// SaveHTTP stores attributes and the instant of access, if the security
	// session is open (else ErrClosed), the HTTP session live (else
	// ErrUnknown) and its version the given one (else ErrConflict). Nil
	// attributes leave the stored ones and the version, and are never a
	// conflict: the call only records the access. This condition is what
	// stops a session from rising again (D9).
	SaveHTTP(ctx context.Context, ref ID, application string, version int64, attributes map[string]string, at int64) error

	// EndHTTP ends one HTTP session. If it was the last live one, the
	// security session closes in the same step, with ByLastHTTP (AJ-3.3,
	// D15); closed says so. ErrUnknown where it was not live.
	EndHTTP(ctx context.Context, ref ID, application string, why Reason, at int64) (closed bool, err error)

	// List returns the sessions of a user, or of all for "", by
	// AuthenticatedAt and then Ref. Closed ones are included while remembered.
	List(ctx context.Context, user string) ([]SecuritySession, error)

	// SetDisabled marks a user as disabled, or takes the mark away. Both may be
	// repeated. The mark is as durable as a session, and Prune leaves it.
	SetDisabled(ctx context.Context, user string, disabled bool) error

	// Disabled reports whether the user is marked.
	Disabled(ctx context.Context, user string) (bool, error)

	// Prune forgets sessions closed before the instant, and spent IDs whose
	// timestamp is before it. It returns how many sessions it forgot.
	Prune(ctx context.Context, before int64) (int, error)
}

// Editor is the white-box door of a store, for tests that alter the stored
// data behind the service's back. No service calls it.
type Editor interface {
	// SetCurrent overwrites the stored token and nothing else.
	SetCurrent(ctx context.Context, ref ID, t Token) error
	// Remove deletes the session as if it had never been.
	Remove(ctx context.Context, ref ID) error
}
