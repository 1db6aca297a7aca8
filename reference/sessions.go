package reference

import (
	"context"
	"time"
)

// Sessions is what the session management service offers to a web server.
// Service implements it, and so does the web client that reaches a Service
// over HTTP. All methods are safe for concurrent use. The error of a refusal
// is, or wraps, one of the package's sentinels; any other error is a failure
// of the system, on which a server fails closed.
type Sessions interface {
	// Login checks the credentials and creates a security session with its
	// first token (AJ-3.2). A presented session that is still open is closed
	// first (ASVS 7.2.4).
	Login(ctx context.Context, r LoginRequest) (Grant, error)
	// Renew verifies the presented token and replaces it, in one step (claims
	// 2 to 8 and 10). What timed out is closed and refused.
	Renew(ctx context.Context, r Presented) (Grant, error)
	// Verify compares without replacing; it renews nothing (D21).
	Verify(ctx context.Context, r Presented) (Grant, error)
	// Logout closes the presented session and its HTTP sessions (AJ-6.1).
	// ErrClosed and ErrUnknown mean there was nothing left to close.
	Logout(ctx context.Context, r Presented) error

	// OpenHTTP returns or creates the application's HTTP session (AJ-4.3) and records the access.
	OpenHTTP(ctx context.Context, session ID, application string) (HTTPSession, error)
	// SaveHTTP stores its attributes if nothing changed meanwhile; see Store.SaveHTTP.
	SaveHTTP(ctx context.Context, session ID, h HTTPSession) error
	// EndHTTP ends it (AJ-2.7); it may have been the last (AJ-3.3).
	EndHTTP(ctx context.Context, session ID, application string) error

	// Confirm checks the password of the session's user once more, for what an
	// open session is not enough for (ASVS 7.5.3). It prolongs nothing.
	Confirm(ctx context.Context, c Confirmed) error
	// Own returns the open sessions of the session's user, oldest first, with
	// neither session IDs nor attributes (ASVS 7.5.2).
	Own(ctx context.Context, session ID) ([]SecuritySession, error)
	// EndOwn ends the user's open session of that reference, or for the zero ID
	// every one but c.Session, and returns how many it ended. ErrUnknown where
	// the user has no such open session.
	EndOwn(ctx context.Context, c Confirmed, which ID) (int, error)
	// ChangePassword gives the session's user a new password (ASVS 7.5.1), and
	// ends the user's other sessions if that is wanted (ASVS 7.4.3). Where only
	// the latter fails, the password has changed.
	ChangePassword(ctx context.Context, c Confirmed, next string, endOthers bool) error

	// Time is the service's clock.
	Time(ctx context.Context) (time.Time, error)
}

// Presented is a token that a browser brought.
type Presented struct {
	Token Token `json:"token"`
	// HandedOffAt is when the first server sealed the hand-off, by the
	// service's clock in milliseconds; zero where the token came another way.
	// The service refuses a hand-off that is too old, so that no web
	// server's clock decides anything.
	HandedOffAt int64 `json:"handed_off_at,omitempty"`
}

// LoginRequest is an attempt to log in.
type LoginRequest struct {
	User     string `json:"user"`
	Password string `json:"password"`
	// Discard is the token the browser held before, zero for none.
	Discard Token `json:"discard,omitzero"`
}

// Grant is the service's yes.
type Grant struct {
	// Token is the one to give the browser: a new one, or after Verify the presented one.
	Token Token `json:"token"`
	// Session is the security session's reference.
	Session ID     `json:"session"`
	User    string `json:"user"`
}

// Rotation is the policy by which tokens are replaced (D3).
type Rotation string

// The policies.
const (
	Strict     Rotation = "strict"
	Coalesce   Rotation = "coalesce"
	ReadVerify Rotation = "read-verify"
)

// Replay is the answer to a spent token (D5).
type Replay string

// The answers.
const (
	Reject       Replay = "reject"
	RevokeFamily Replay = "revoke-family"
)

// Limits are the time-outs of one session type (AJ-0.3). A session is timed
// out when the elapsed time is over the limit; at the limit it is not (D7).
type Limits struct {
	// Idle bounds the elapsed time since the token's timestamp (claim 7). Zero means 30 minutes.
	Idle time.Duration
	// Absolute bounds the time since log-in (ASVS 7.3.2). Zero means 12 hours.
	Absolute time.Duration
	// HTTPIdle bounds the time since the last access of an HTTP session. Zero
	// means 20 minutes.
	HTTPIdle time.Duration
	// AppIdle overrides HTTPIdle by application name.
	AppIdle map[string]time.Duration
	// Tolerance is how far in the future a timestamp may lie (D8). Zero is none.
	Tolerance time.Duration
	// Handoff bounds the age of a sealed hand-off. Zero means 30 seconds.
	Handoff time.Duration
}

// Event is something a part of the farm did, told to an Observer.
type Event struct {
	// Part is who did it: a member's name, "service" or "database"; Peer is
	// whom it addressed, or the same name for its own act.
	Part, Peer string
	// Op is a farm operation: receive, decrypt, redirect, handoff, renew,
	// verify, compare, elapsed, generate, lookup, replace, close, encrypt,
	// respond, login, logout, account, create or http.
	Op string
	// Detail is for people. It never holds a token in clear.
	Detail string
	// Err is why it refused or failed; nil where it went well.
	Err error
	// Began is when an act began during which others acted, such as a call.
	// Zero means that it took no time to speak of.
	Began time.Time
}

// Observer watches a farm's parts and may hold them: Event and Point are
// called in the request's goroutine, and a part goes on when they return. The
// context carries the request's trace (see TraceFrom).
type Observer interface {
	Event(ctx context.Context, e Event)
	// Point is a place to wait at in a played-out race. Its names are
	// after-decrypt, after-redirect, before-verify, between-verify-replace,
	// after-replace, before-respond, in-handler, before-save, in-register,
	// in-logout and after-close.
	Point(ctx context.Context, name string)
}

// Silent observes nothing.
type Silent struct{}

// Event does nothing.
func (Silent) Event(context.Context, Event) {}

// Point does nothing.
func (Silent) Point(context.Context, string) {}

type traceKey struct{}

// WithTrace returns a context that carries a W3C trace ID (32 hex digits).
func WithTrace(ctx context.Context, trace string) context.Context {
	return context.WithValue(ctx, traceKey{}, trace)
}

// TraceFrom returns the context's trace ID, or "".
func TraceFrom(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}
