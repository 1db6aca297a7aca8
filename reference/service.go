package reference

import (
	"context"
	"errors"
	"io"
	"time"
)

// Options configures a Service. Store is required; every other zero field has
// a default.
type Options struct {
	// Store is the common session database.
	Store Store
	// Now is the clock. Nil means time.Now. However it jumps, the service's
	// own time never goes back.
	Now func() time.Time
	// Rand is what session IDs are drawn from. Nil means crypto/rand.Reader.
	Rand io.Reader
	// Rotation says when a token is replaced. Empty means Strict.
	Rotation Rotation
	// Grace is how long, under Coalesce, the immediate predecessor of the
	// current token still gets the current one. Zero means 5 seconds there.
	Grace time.Duration
	// Replay is the answer to a spent token. Empty means Reject.
	Replay Replay
	// Limits are the time-outs.
	Limits Limits
	// MaxSessions bounds a user's open sessions: one more log-in ends the
	// oldest (AJ-6.5). Zero is no bound.
	MaxSessions int
	// Users knows who may log in. Nil knows nobody.
	Users Directory
	// Observer watches. Nil means Silent.
	Observer Observer
}

// Service is the session management web service of claim 10, apart from the
// web: its validation component (claims 4 to 8), its token generator (claim 2)
// and the life of security sessions and HTTP sessions. It implements Sessions
// and is the administrator too. All methods are safe for concurrent use; none
// holds a lock while it waits for the store.
type Service struct{ o Options }

var _ Sessions = (*Service)(nil)

// ErrHandoff: the hand-off is older than its limit, or from the future. The
// token is not consumed and the session lives on.
var ErrHandoff = errors.New("hand-off too old")

// NewService checks the options and returns a service. It starts nothing.
func NewService(o Options) (*Service, error) { return &Service{o}, nil }

var errTodo = errors.New("not written yet")

// Login implements Sessions.
func (s *Service) Login(ctx context.Context, r LoginRequest) (Grant, error) { return Grant{}, errTodo }

// Renew implements Sessions.
func (s *Service) Renew(ctx context.Context, r Presented) (Grant, error) { return Grant{}, errTodo }

// Verify implements Sessions.
func (s *Service) Verify(ctx context.Context, r Presented) (Grant, error) { return Grant{}, errTodo }

// Logout implements Sessions.
func (s *Service) Logout(ctx context.Context, r Presented) error { return errTodo }

// OpenHTTP implements Sessions.
func (s *Service) OpenHTTP(ctx context.Context, session ID, application string) (HTTPSession, error) {
	return HTTPSession{}, errTodo
}

// SaveHTTP implements Sessions.
func (s *Service) SaveHTTP(ctx context.Context, session ID, h HTTPSession) error { return errTodo }

// EndHTTP implements Sessions.
func (s *Service) EndHTTP(ctx context.Context, session ID, application string) error { return errTodo }

// Time implements Sessions.
func (s *Service) Time(ctx context.Context) (time.Time, error) { return time.Time{}, errTodo }

// CreateHTTP creates the application's HTTP session, or returns the live one,
// without a page being asked for (AJ-2.5). It verifies the token and does not
// replace it.
func (s *Service) CreateHTTP(ctx context.Context, r Presented, application string) (HTTPSession, error) {
	return HTTPSession{}, errTodo
}

// Selection says what an administrator ends (AJ-6.6). Exactly one field is set.
type Selection struct {
	// HTTPSession ends one HTTP session.
	HTTPSession ID `json:"http_session,omitzero"`
	// Session ends the security session of that reference.
	Session ID `json:"session,omitzero"`
	// User ends all sessions of one user.
	User string `json:"user,omitempty"`
	// All ends every session.
	All bool `json:"all,omitempty"`
}

// List returns the sessions of a user, or of everybody for "", with session
// IDs blanked. What has timed out is closed first.
func (s *Service) List(ctx context.Context, user string) ([]SecuritySession, error) {
	return nil, errTodo
}

// Terminate ends what is selected and nothing else, and returns how many
// sessions this call ended. ErrUnknown where the named session does not exist
// or has ended.
func (s *Service) Terminate(ctx context.Context, sel Selection) (int, error) { return 0, errTodo }

// DisableUser ends all sessions of the user and refuses new ones until EnableUser.
func (s *Service) DisableUser(ctx context.Context, user string) error { return errTodo }

// EnableUser undoes DisableUser; sessions ended stay ended.
func (s *Service) EnableUser(ctx context.Context, user string) error { return errTodo }

// Sweep closes every session that has timed out and lets the store forget what is
// too old to matter. It returns how many security sessions it closed.
func (s *Service) Sweep(ctx context.Context) (int, error) { return 0, errTodo }
