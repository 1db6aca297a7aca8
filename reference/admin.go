package reference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

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
	// Why is the reason recorded for Session. Empty means ByAdmin; it is the
	// service's own to give, so no caller over HTTP sets it.
	Why Reason `json:"-"`
}

// List returns the sessions of a user, or of everybody for "", with their
// session IDs blanked: an administrator needs no credentials. What has timed
// out is closed first.
func (s *Service) List(ctx context.Context, user string) ([]SecuritySession, error) {
	if _, err := s.expire(ctx, user); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	sessions, err := s.store.List(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	for i := range sessions {
		sessions[i].Current.ID, sessions[i].Previous.ID = ID{}, ID{}
	}
	return sessions, nil
}

// Terminate ends what is selected and nothing else, and returns how many
// sessions this call ended. ErrUnknown where the one session named does not
// exist or has ended already.
func (s *Service) Terminate(ctx context.Context, sel Selection) (int, error) {
	set := 0
	for _, is := range []bool{!sel.HTTPSession.IsZero(), !sel.Session.IsZero(), sel.User != "", sel.All} {
		if is {
			set++
		}
	}
	if set != 1 {
		return 0, fmt.Errorf("terminate sessions: the selection names %d things, want exactly one", set)
	}
	var n int
	var err error
	switch {
	case !sel.HTTPSession.IsZero():
		n, err = s.terminateHTTP(ctx, sel.HTTPSession)
	case !sel.Session.IsZero():
		var closed bool
		closed, err = s.close(ctx, sel.Session, cmp.Or(sel.Why, ByAdmin), s.now())
		switch {
		case closed:
			n = 1
		case err == nil:
			err = ErrUnknown
		}
	default:
		n, err = s.terminateUser(ctx, sel.User)
	}
	if err != nil {
		return n, fmt.Errorf("terminate sessions: %w", err)
	}
	return n, nil
}

func (s *Service) terminateHTTP(ctx context.Context, id ID) (int, error) {
	sessions, err := s.openSessions(ctx, "")
	if err != nil {
		return 0, err
	}
	for _, sess := range sessions {
		for _, h := range sess.HTTP {
			if h.ID != id {
				continue
			}
			if _, err := s.endHTTP(ctx, sess.Ref, h.Application, ByAdmin, s.now()); err != nil {
				return 0, err
			}
			return 1, nil
		}
	}
	return 0, ErrUnknown
}

// terminateUser ends the open sessions of one user, or of all for "". A
// failure at one does not spare the others.
func (s *Service) terminateUser(ctx context.Context, user string) (n int, err error) {
	sessions, err := s.openSessions(ctx, user)
	for _, sess := range sessions {
		closed, failed := s.close(ctx, sess.Ref, ByAdmin, s.now())
		if closed {
			n++
		}
		err = errors.Join(err, failed)
	}
	return n, err
}

// DisableUser ends all sessions of the user and refuses him new ones until
// EnableUser (ASVS 7.4.2). The store remembers it.
func (s *Service) DisableUser(ctx context.Context, user string) error {
	if user == "" {
		return errors.New("disable user: the name is empty")
	}
	if err := s.store.SetDisabled(ctx, user, true); err != nil { // before listing: see Login
		return fmt.Errorf("disable user %q: %w", user, err)
	}
	if _, err := s.terminateUser(ctx, user); err != nil {
		return fmt.Errorf("disable user %q: %w", user, err)
	}
	return nil
}

// EnableUser undoes DisableUser; sessions that were ended stay ended.
func (s *Service) EnableUser(ctx context.Context, user string) error {
	if err := s.store.SetDisabled(ctx, user, false); err != nil {
		return fmt.Errorf("enable user %q: %w", user, err)
	}
	return nil
}

// admitted returns ErrCredentials for a user who is disabled.
func (s *Service) admitted(ctx context.Context, user string) error {
	switch is, err := s.store.Disabled(ctx, user); {
	case err != nil:
		return fmt.Errorf("look whether the user is disabled: %w", err)
	case is:
		return ErrCredentials
	}
	return nil
}

// Sweep closes every session that has timed out and lets the store forget what
// is older than the absolute limit: a spent token of that age belongs to no
// open session. It returns how many security sessions it closed.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	closed, err := s.expire(ctx, "")
	if err != nil {
		return closed, fmt.Errorf("sweep sessions: %w", err)
	}
	if _, err := s.store.Prune(ctx, s.now()-s.o.Limits.Absolute.Milliseconds()); err != nil {
		return closed, fmt.Errorf("sweep sessions: prune: %w", err)
	}
	return closed, nil
}

// expire closes what has timed out of a user's sessions, or of all for "".
func (s *Service) expire(ctx context.Context, user string) (n int, err error) {
	sessions, err := s.openSessions(ctx, user)
	if err != nil {
		return 0, err
	}
	now := s.now()
	for i := range sessions {
		sess := &sessions[i]
		var closed bool
		var err error
		if why := s.timedOut(sess, now); why != "" {
			closed, err = s.close(ctx, sess.Ref, why, now)
		} else {
			closed, err = s.expireHTTP(ctx, sess, now)
		}
		if err != nil && !errors.Is(err, ErrUnknown) {
			return n, err
		}
		if closed {
			n++
		}
	}
	return n, nil
}

func (s *Service) openSessions(ctx context.Context, user string) ([]SecuritySession, error) {
	sessions, err := s.store.List(ctx, user)
	return slices.DeleteFunc(sessions, func(sess SecuritySession) bool { return !sess.Open() }), err
}
