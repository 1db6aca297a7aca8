package reference

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
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
	// It has to be safe for concurrent use.
	Rand io.Reader
	// Rotation says when a token is replaced. Empty means Strict. ReadVerify
	// is Strict here: the web server chooses between Renew and Verify.
	Rotation Rotation
	// Grace is how long after a replacement, under Coalesce, the replaced
	// token still gets the current one. Zero means 5 seconds there.
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
// and the life of security sessions with their HTTP sessions. It implements
// Sessions and is the administrator too. All methods are safe for concurrent
// use; none holds a lock while it waits for the store.
//
// Its clock reads whole milliseconds, so that the timestamp in a token and the
// stored one are the same number (D8).
type Service struct {
	o     Options
	store Store
	// watched is false for Silent: then nothing is spent on details.
	watched bool
	latest  atomic.Int64 // the last instant the clock has shown
}

var _ Sessions = (*Service)(nil)

// ErrHandoff: the hand-off is older than its limit, or from the future. The
// token is not consumed and the session lives on.
var ErrHandoff = fmt.Errorf("hand-off out of time: %w", ErrExpired)

// The defaults of Options and Limits.
const (
	defaultGrace    = 5 * time.Second
	defaultIdle     = 30 * time.Minute
	defaultAbsolute = 12 * time.Hour
	defaultHTTPIdle = 20 * time.Minute
	defaultHandoff  = 30 * time.Second
)

// NewService checks the options and returns a service. It starts nothing.
func NewService(o Options) (*Service, error) {
	if o.Store == nil {
		return nil, errors.New("new service: no store")
	}
	for _, limit := range []struct {
		name    string
		value   *time.Duration
		instead time.Duration
	}{
		{"grace", &o.Grace, defaultGrace},
		{"idle limit", &o.Limits.Idle, defaultIdle},
		{"absolute limit", &o.Limits.Absolute, defaultAbsolute},
		{"HTTP session idle limit", &o.Limits.HTTPIdle, defaultHTTPIdle},
		{"hand-off limit", &o.Limits.Handoff, defaultHandoff},
		{"clock tolerance", &o.Limits.Tolerance, 0},
	} {
		switch {
		case *limit.value < 0:
			return nil, fmt.Errorf("new service: %s %v is negative", limit.name, *limit.value)
		case *limit.value == 0:
			*limit.value = limit.instead
		case *limit.value < time.Millisecond:
			return nil, fmt.Errorf("new service: %s %v is below the clock's millisecond", limit.name, *limit.value)
		}
	}
	switch o.Rotation {
	case "":
		o.Rotation = Strict
	case Strict, Coalesce, ReadVerify:
	default:
		return nil, fmt.Errorf("new service: no rotation policy %q", o.Rotation)
	}
	switch o.Replay {
	case "":
		o.Replay = Reject
	case Reject, RevokeFamily:
	default:
		return nil, fmt.Errorf("new service: no replay policy %q", o.Replay)
	}
	if o.MaxSessions < 0 {
		return nil, fmt.Errorf("new service: at most %d sessions a user", o.MaxSessions)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Observer == nil {
		o.Observer = Silent{}
	}
	_, silent := o.Observer.(Silent)
	return &Service{o: o, store: o.Store, watched: !silent}, nil
}

// Login implements Sessions. What it discards is a token that Renew would
// have accepted; any other discarded token changes nothing, unless it is spent
// and the policy is RevokeFamily.
func (s *Service) Login(ctx context.Context, r LoginRequest) (Grant, error) {
	if s.o.Users == nil {
		return Grant{}, fmt.Errorf("log in: %w", ErrCredentials)
	}
	if err := s.o.Users.Authenticate(ctx, r.User, r.Password); err != nil {
		return Grant{}, fmt.Errorf("log in: %w", err)
	}
	if err := s.admitted(ctx, r.User); err != nil {
		return Grant{}, fmt.Errorf("log in: %w", err)
	}
	if !r.Discard.IsZero() {
		if err := s.discard(ctx, r.Discard); err != nil {
			return Grant{}, fmt.Errorf("log in: discard presented session: %w", err)
		}
	}
	sess, err := s.create(ctx, r.User)
	if err != nil {
		return Grant{}, fmt.Errorf("log in: %w", err)
	}
	// A user disabled meanwhile: either DisableUser has listed this session,
	// or we see the mark it made before listing.
	if err := s.admitted(ctx, r.User); err != nil {
		_, failed := s.close(ctx, sess.Ref, ByAdmin, s.now())
		return Grant{}, fmt.Errorf("log in: %w", errors.Join(err, failed))
	}
	if err := s.evict(ctx, sess); err != nil {
		_, _ = s.close(ctx, sess.Ref, ByLimit, s.now()) // nobody will get its token
		return Grant{}, fmt.Errorf("log in: enforce session limit: %w", err)
	}
	return Grant{Token: sess.Current, Session: sess.Ref, User: sess.User}, nil
}

// discard closes the session of a token that is still good.
func (s *Service) discard(ctx context.Context, t Token) error {
	sess, err := s.verify(ctx, Presented{Token: t}, true)
	if err == nil {
		_, err = s.close(ctx, sess.Ref, ByLogin, s.now())
	}
	if refusal(err) {
		return nil
	}
	return err
}

// create makes a security session with its first token (AJ-3.2).
func (s *Service) create(ctx context.Context, user string) (SecuritySession, error) {
	ref, err := NewID(s.o.Rand)
	if err != nil {
		return SecuritySession{}, err
	}
	first, err := s.generate(ctx, Token{})
	if err != nil {
		return SecuritySession{}, err
	}
	sess := SecuritySession{Ref: ref, User: user, AuthenticatedAt: first.Timestamp, Current: first}
	if s.o.MaxSessions > 0 {
		// Two log-ins of one user in one millisecond still have an order, so
		// that "the oldest" means something.
		before, err := s.store.List(ctx, user)
		if err != nil {
			return SecuritySession{}, err
		}
		if n := len(before); n > 0 {
			sess.AuthenticatedAt = max(sess.AuthenticatedAt, before[n-1].AuthenticatedAt+1)
		}
	}
	err = s.store.Create(ctx, sess)
	s.event(ctx, database, "create", "security session of "+user, err)
	if err != nil {
		return SecuritySession{}, fmt.Errorf("create session: %w", err)
	}
	return sess, nil
}

// evict ends the user's oldest sessions until the limit is met. It runs after
// the new session was created: of concurrent log-ins the last to list sees
// them all, and all agree on which are the oldest.
func (s *Service) evict(ctx context.Context, created SecuritySession) error {
	if s.o.MaxSessions == 0 {
		return nil
	}
	sessions, err := s.openSessions(ctx, created.User)
	if err != nil {
		return err
	}
	for len(sessions) > s.o.MaxSessions {
		if _, err := s.close(ctx, sessions[0].Ref, ByLimit, s.now()); err != nil {
			return err
		}
		sessions = sessions[1:]
	}
	return nil
}

// Renew implements Sessions. Under Strict exactly one presenter of a token is
// granted its successor. Under Coalesce the others, if they come within the
// grace period, get the very same one.
func (s *Service) Renew(ctx context.Context, r Presented) (Grant, error) {
	s.point(ctx, "before-verify")
	// A lost race for the replacement is looked at once more: the token is
	// then a predecessor or a spent one, whichever the policy makes of it.
	for range 3 {
		sess, err := s.verify(ctx, r, true)
		if err != nil {
			return Grant{}, fmt.Errorf("renew session: %w", err)
		}
		if r.Token != sess.Current {
			return Grant{Token: sess.Current, Session: sess.Ref, User: sess.User}, nil
		}
		next, err := s.generate(ctx, sess.Current)
		if err != nil {
			return Grant{}, fmt.Errorf("renew session: %w", err)
		}
		s.point(ctx, "between-verify-replace")
		err = s.store.Replace(ctx, sess.Current, next)
		s.event(ctx, database, "replace", "stored session ID and timestamp", err)
		if err == nil {
			s.point(ctx, "after-replace")
			return Grant{Token: next, Session: sess.Ref, User: sess.User}, nil
		}
		if !errors.Is(err, ErrSpent) && !errors.Is(err, ErrMismatch) {
			return Grant{}, fmt.Errorf("renew session: replace token: %w", err)
		}
	}
	return Grant{}, fmt.Errorf("renew session: %w", ErrSpent)
}

// Verify implements Sessions. A session that timed out is closed here too; a
// spent token raises no alarm.
func (s *Service) Verify(ctx context.Context, r Presented) (Grant, error) {
	s.point(ctx, "before-verify")
	sess, err := s.verify(ctx, r, false)
	if err != nil {
		return Grant{}, fmt.Errorf("verify session: %w", err)
	}
	return Grant{Token: r.Token, Session: sess.Ref, User: sess.User}, nil
}

// Logout implements Sessions. It takes what Renew would take: the current
// token, and under Coalesce its predecessor within the grace period (D12).
func (s *Service) Logout(ctx context.Context, r Presented) error {
	sess, err := s.verify(ctx, r, true)
	if err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	s.point(ctx, "in-logout")
	closed, err := s.close(ctx, sess.Ref, ByLogout, s.now())
	s.point(ctx, "after-close")
	if err == nil && !closed {
		err = ErrClosed
	}
	if err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	return nil
}

// Time implements Sessions.
func (s *Service) Time(context.Context) (time.Time, error) { return time.UnixMilli(s.now()), nil }

// verify is the validation component. It returns the session of a token that
// is good: the current one, or under Coalesce the predecessor within the grace
// period. What has timed out is closed on the way (claim 8). With alarm, a
// spent token closes its session under RevokeFamily.
func (s *Service) verify(ctx context.Context, r Presented, alarm bool) (SecuritySession, error) {
	if err := s.checkHandoff(r); err != nil {
		s.event(ctx, service, "elapsed", "age of the hand-off", err)
		return SecuritySession{}, err
	}
	sess, err := s.store.Find(ctx, r.Token.ID)
	s.event(ctx, database, "lookup", "stored session data", err)
	if err != nil {
		return SecuritySession{}, fmt.Errorf("look up session: %w", err)
	}
	// The clock is read after the look-up: no stored timestamp of ours can be
	// ahead of it then.
	now := s.now()
	spent := s.compare(&sess, r.Token, now)
	s.event(ctx, service, "compare", "session ID and timestamp with the stored ones", spent)
	if errors.Is(spent, ErrMismatch) {
		return SecuritySession{}, spent
	}
	if !sess.Open() {
		return SecuritySession{}, ErrClosed
	}
	if err := s.checkElapsed(ctx, &sess, now); err != nil {
		return SecuritySession{}, err
	}
	if spent != nil {
		if alarm && s.o.Replay == RevokeFamily {
			if _, err := s.close(ctx, sess.Ref, ByReplay, now); err != nil {
				return SecuritySession{}, err
			}
		}
		return SecuritySession{}, spent
	}
	closed, err := s.expireHTTP(ctx, &sess, now)
	if err != nil {
		return SecuritySession{}, err
	}
	if closed {
		return SecuritySession{}, ErrExpired
	}
	return sess, nil
}

// checkHandoff refuses a hand-off that is over its limit, before anything is
// consumed.
func (s *Service) checkHandoff(r Presented) error {
	if r.HandedOffAt == 0 {
		return nil
	}
	now := s.now()
	if r.HandedOffAt < 0 || ahead(now, r.HandedOffAt, s.o.Limits.Tolerance) || over(now, r.HandedOffAt, s.o.Limits.Handoff) {
		return ErrHandoff
	}
	return nil
}

// compare compares session ID and timestamp, each, with the stored ones (claim 6).
func (s *Service) compare(sess *SecuritySession, t Token, now int64) error {
	switch {
	case t.SameAs(sess.Current):
		return nil
	case t.ID == sess.Current.ID:
		return ErrMismatch
	case s.o.Rotation == Coalesce && t.SameAs(sess.Previous) && !over(now, sess.Current.Timestamp, s.o.Grace):
		return nil
	}
	return ErrSpent
}

// checkElapsed compares the elapsed time with the limits by the service's
// clock (claim 7) and closes the session when it is over one (claim 8).
func (s *Service) checkElapsed(ctx context.Context, sess *SecuritySession, now int64) error {
	if ahead(now, sess.Current.Timestamp, s.o.Limits.Tolerance) {
		err := fmt.Errorf("timestamp is in the future: %w", ErrMismatch)
		s.event(ctx, service, "elapsed", "timestamp ahead of the clock", err)
		return err
	}
	why := s.timedOut(sess, now)
	if why == "" {
		s.event(ctx, service, "elapsed", "within the limits", nil)
		return nil
	}
	s.event(ctx, service, "elapsed", string(why), ErrExpired)
	if _, err := s.close(ctx, sess.Ref, why, now); err != nil {
		return fmt.Errorf("close timed-out session: %w", err)
	}
	return ErrExpired
}

// timedOut says which limit of its own an open session is over; "" for none.
func (s *Service) timedOut(sess *SecuritySession, now int64) Reason {
	switch {
	case over(now, sess.Current.Timestamp, s.o.Limits.Idle):
		return ByIdle
	case over(now, sess.AuthenticatedAt, s.o.Limits.Absolute):
		return ByAbsolute
	}
	return ""
}

// generate is the token generator: a new session ID, and the time, which never
// falls behind the timestamp it replaces (claims 3 and 5).
func (s *Service) generate(ctx context.Context, old Token) (Token, error) {
	id, err := NewID(s.o.Rand)
	s.event(ctx, service, "generate", "new session ID and timestamp", err)
	return Token{ID: id, Timestamp: max(s.now(), old.Timestamp)}, err
}

func (s *Service) close(ctx context.Context, ref ID, why Reason, at int64) (bool, error) {
	closed, err := s.store.CloseSession(ctx, ref, why, at)
	s.event(ctx, database, "close", string(why), err)
	if err != nil {
		return false, fmt.Errorf("close session: %w", err)
	}
	return closed, nil
}

// now is the service's clock: a wall clock stepped back makes it stand still,
// so that nothing timed out comes back to life.
func (s *Service) now() int64 {
	now := s.o.Now().UnixMilli()
	for {
		latest := s.latest.Load()
		if now <= latest {
			return latest
		}
		if s.latest.CompareAndSwap(latest, now) {
			return now
		}
	}
}

// over reports whether more than limit has passed since then. Exactly the
// limit is not over (D7).
func over(now, since int64, limit time.Duration) bool {
	return now > since && uint64(now-since) > uint64(limit.Milliseconds())
}

// ahead reports whether then lies more than the tolerance in the future (D8).
func ahead(now, then int64, tolerance time.Duration) bool { return over(then, now, tolerance) }

// refusal reports whether the error is an answer, not a failure of the system.
func refusal(err error) bool {
	for _, answer := range []error{ErrUnknown, ErrSpent, ErrExpired, ErrClosed, ErrMismatch} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// The parts the service speaks of to its observer.
const (
	service  = "service"
	database = "database"
)

func (s *Service) event(ctx context.Context, peer, op, detail string, err error) {
	if s.watched {
		s.o.Observer.Event(ctx, Event{Part: service, Peer: peer, Op: op, Detail: detail, Err: err})
	}
}

func (s *Service) point(ctx context.Context, name string) {
	if s.watched {
		s.o.Observer.Point(ctx, name)
	}
}
