package farmspec

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Level is a level of observation: what the judge may look at.
type Level string

// The levels, each including the ones before it.
const (
	// Black sees HTTP only.
	Black Level = "B"
	// Grey also reaches the session service, the administrator and the
	// processes, and sees the messages inside the farm.
	Grey Level = "G"
	// White also reaches the database, the keys and the clocks.
	White Level = "W"
)

// Hooks are the doors into a farm beside HTTP. A nil hook is absent, and what
// needs it is unobservable. All are safe for concurrent use.
type Hooks struct {
	Accounts  Accounts
	Service   ServiceHook
	Admin     AdminHook
	Processes ProcessHook
	Trace     TraceHook
	Holds     HoldHook
	Clock     ClockHook
	Database  DatabaseHook
	Keys      KeyHook
	// Federation is the circle of single sign-on that the farm takes part in.
	Federation FederationHook
	Logs       LogHook
	// Fork opens a private farm of the same configuration, for what would
	// disturb others. Nil: such a scenario runs alone on the shared farm.
	Fork func(ctx context.Context, v Variation) (*Target, func() error, error)
}

// Hook names, as used in @needs: tags and target files.
const (
	HookService   = "service"
	HookAdmin     = "admin"
	HookProcesses = "processes"
	HookTrace     = "trace"
	HookHolds     = "holds"
	HookClock     = "clock"
	HookDatabase  = "database"
	HookKeys      = "keys"
	HookFork      = "fork"

	HookFederation = "federation"
	HookLogs       = "logs"
)

// HookLevel is the level of observation each hook belongs to.
var HookLevel = map[string]Level{
	HookService: Grey, HookAdmin: Grey, HookProcesses: Grey, HookTrace: Grey, HookHolds: Grey,
	HookClock: White, HookDatabase: White, HookKeys: White, HookLogs: White, HookFork: Grey,
	HookFederation: Grey,
}

// Has reports whether the named hook is offered.
func (h Hooks) Has(name string) bool {
	switch name {
	case HookService:
		return h.Service != nil
	case HookAdmin:
		return h.Admin != nil
	case HookProcesses:
		return h.Processes != nil
	case HookTrace:
		return h.Trace != nil
	case HookHolds:
		return h.Holds != nil
	case HookClock:
		return h.Clock != nil
	case HookDatabase:
		return h.Database != nil
	case HookKeys:
		return h.Keys != nil
	case HookLogs:
		return h.Logs != nil
	case HookFederation:
		return h.Federation != nil
	case HookFork:
		return h.Fork != nil
	}
	return false
}

// Variation asks a fork for a difference from its parent. Zero fields keep
// the parent's setting.
type Variation struct {
	// Durable asks for a session database that outlives its processes.
	Durable bool
	// MaxSessions limits a user's concurrent sessions.
	MaxSessions int
	// Limits replaces the time-outs of security sessions.
	Limits *Limits
	// Replay replaces the answer to spent tokens.
	Replay Replay
	// FrontChannel lets a user's log-out go to the identity provider by way of
	// the browser.
	FrontChannel bool
	// Unlimited names an application that is to have no idle time-out.
	Unlimited string
}

// User is an account of the farm.
type User struct{ Name, Password string }

// Accounts hands out accounts that no other scenario uses.
type Accounts interface {
	// New returns an account; the hint (a first name) may become part of its name.
	New(ctx context.Context, hint string) (User, error)
}

// ErrRefused is what a hook returns when the farm answered and said no.
var ErrRefused = errors.New("refused by the farm")

// ServiceHook speaks to the session management web service (claim 10) as a
// member would. The member's name chooses the credential; "" sends none.
type ServiceHook interface {
	// Verify compares without consuming. ErrRefused: not verified, or the caller is not authenticated.
	Verify(ctx context.Context, member string, t PlainToken) error
	// Renew verifies and replaces in one step.
	Renew(ctx context.Context, member string, t PlainToken) (PlainToken, error)
	// CreateHTTPSession creates an HTTP session without a page (AJ-2.5).
	CreateHTTPSession(ctx context.Context, member string, t PlainToken, app string) error
	// Endpoint is the base URL, for hostile requests.
	Endpoint() string
	// Authorize gives a raw request's header the member's credential.
	Authorize(h http.Header, member string) error
}

// SessionInfo is what an administrator sees of a security session.
type SessionInfo struct {
	// Ref names the session; it is no credential and does not change when the token does.
	Ref  string
	User string
	Open bool
	// Reason says why a closed session was closed.
	Reason string
	// CreatedAt and ClosedAt are in milliseconds since 1970; ClosedAt is zero while open.
	CreatedAt, ClosedAt int64
	HTTPSessions        []HTTPSessionInfo
}

// HTTPSessionInfo is what an administrator sees of an HTTP session.
type HTTPSessionInfo struct {
	ID, App               string
	CreatedAt, LastAccess int64
	Attributes            map[string]string
}

// AdminHook is the administrator (AJ-6.6).
type AdminHook interface {
	// Sessions lists the sessions of a user, or of everybody for "": open
	// ones with their live HTTP sessions, closed ones as far as remembered.
	Sessions(ctx context.Context, user string) ([]SessionInfo, error)
	EndHTTPSession(ctx context.Context, id string) error
	EndSession(ctx context.Context, ref string) error
	EndUser(ctx context.Context, user string) error
	EndAll(ctx context.Context) error
	// DisableUser ends all sessions of a user and keeps him out (ASVS 7.4.2).
	DisableUser(ctx context.Context, user string) error
	// EnableUser lets him in again; sessions that were ended stay ended.
	EnableUser(ctx context.Context, user string) error
}

// Process names besides those of the members.
const (
	ServiceProcess  = "service"
	DatabaseProcess = "database"
)

// ProcessHook stops and starts the farm's parts.
type ProcessHook interface {
	// Stop makes the process unreachable at once, in-flight work lost, as kill -9 would.
	Stop(ctx context.Context, name string) error
	// Start brings it back at its old address; what it kept only in memory is gone.
	Start(ctx context.Context, name string) error
}

// Message is one thing a farm's part did or said, for sequence diagrams and
// for scenarios that ask who did it. It never holds a token in clear.
type Message struct {
	// At is when, on the wall clock.
	At time.Time
	// From and To are "browser", a member's name, "service" or "database".
	// A part's own act has From == To.
	From, To string
	// Op is one of the Op constants; Detail is for people.
	Op, Detail string
	// OK is false where the part refused or failed.
	OK bool
}

// The operations a trace distinguishes.
const (
	OpReceive  = "receive"  // a member got a browser's request
	OpDecrypt  = "decrypt"  // a member opened the encrypted token
	OpRedirect = "redirect" // a member sent the browser to another
	OpHandoff  = "handoff"  // a member transmitted the token to another member directly
	OpRenew    = "renew"    // a member asked the service to verify and replace
	OpVerify   = "verify"   // a member asked the service to verify only
	OpCompare  = "compare"  // the service compared the token with the stored session data
	OpElapsed  = "elapsed"  // the service compared the elapsed time with the maximum
	OpGenerate = "generate" // the service generated a new token
	OpLookup   = "lookup"   // the service read the common session database
	OpReplace  = "replace"  // the service replaced the token in the database
	OpClose    = "close"    // the service closed a session in the database
	OpEncrypt  = "encrypt"  // a member encrypted a new token
	OpRespond  = "respond"  // a member answered the browser
	OpLogin    = "login"    // a member asked the service to log a user in
	OpLogout   = "logout"   // a member asked the service to log a user out
	OpCreate   = "create"   // the service created a security session in the database
	OpAccount  = "account"  // a member asked the service to do something for a user's own account
	OpHTTP     = "http"     // an HTTP session was opened, saved or ended
)

// TraceHook shows the messages a trace caused inside the farm, oldest first.
// The trace ID is the one the browser sent (W3C Trace Context).
type TraceHook interface {
	Messages(ctx context.Context, trace string) ([]Message, error)
}

// Point is a place in a request's way at which a farm can be made to wait, so
// that races are played out in a chosen order.
type Point string

// The hold points.
const (
	AfterDecrypt  Point = "after-decrypt"          // first server, token opened
	AfterRedirect Point = "after-redirect"         // first server, redirect decided, before it is sent
	BeforeVerify  Point = "before-verify"          // service, before looking the token up
	BetweenVerify Point = "between-verify-replace" // service, verified and not yet replaced
	AfterReplace  Point = "after-replace"          // service, replaced, before answering
	BeforeRespond Point = "before-respond"         // second server, before the page is sent
	InHandler     Point = "in-handler"             // second server, page being made
	BeforeSave    Point = "before-save"            // application, before its HTTP session is saved
	InRegister    Point = "in-register"            // service, HTTP session created and not yet mapped
	InLogout      Point = "in-logout"              // service, before a log-out closes its session
	AfterClose    Point = "after-close"            // service, session closed, before the log-out is answered
)

// HoldHook parks requests. Only requests of the given trace are parked.
type HoldHook interface {
	Hold(ctx context.Context, trace string, at Point) (Held, error)
}

// Held is an armed hold point.
type Held interface {
	// Wait returns when n requests are parked, or with the context's error.
	Wait(ctx context.Context, n int) error
	// Release lets all go and disarms the point. It may be called twice.
	Release()
}

// ClockHook moves the farm's time.
type ClockHook interface {
	// Now is the session service's time.
	Now(ctx context.Context) (time.Time, error)
	// Advance lets d pass for every part of the farm.
	Advance(ctx context.Context, d time.Duration) error
	// Skew sets one process's clock off from the farm's time, by its name.
	Skew(ctx context.Context, process string, d time.Duration) error
}

// Row is a stored security session as the common session database has it.
type Row struct {
	SessionInfo
	Token PlainToken
}

// DatabaseHook reads and edits the common session database (claim 11).
type DatabaseHook interface {
	Rows(ctx context.Context, user string) ([]Row, error)
	// SetToken overwrites the stored token of a session.
	SetToken(ctx context.Context, ref string, t PlainToken) error
	// Remove deletes the session's row without a trace.
	Remove(ctx context.Context, ref string) error
	// FailNext makes the next write of the given trace fail after it was begun and before it is committed.
	FailNext(ctx context.Context, trace string) error
}

// KeyHook holds the farm's keys.
type KeyHook interface {
	// Open decrypts what a browser carries. ErrRefused: the farm's keys do not open it.
	Open(sealed string) (PlainToken, error)
	// Seal encrypts a token as a member would.
	Seal(t PlainToken) (string, error)
	// SealForeign encrypts in the farm's format under a key that is not the farm's.
	SealForeign(t PlainToken) (string, error)
	// Rotate brings in a new key, one member at a time: after Rotate(i) the
	// first i members seal with the new key, and all open both.
	Rotate(ctx context.Context, members int) error
}

// CipherHook is what a [KeyHook] implements as well where the farm says what
// it seals tokens with.
type CipherHook interface {
	// Cipher names cipher, key length and mode, for example AES-256-GCM; ""
	// where nobody knows.
	Cipher() string
}

// LogHook reads what the farm's parts have written down for people.
type LogHook interface {
	// Read returns the text of each log, by the name of its part.
	Read(ctx context.Context) (map[string]string, error)
}
