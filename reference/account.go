package reference

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// The service's half of what users do for their own account. To look takes an
// open session; every change takes the password again, with the request that
// makes it: whoever sits down at a browser left open changes nothing (ASVS
// 7.5.1 to 7.5.3). A password given so is good for that request and prolongs
// no session.

// Confirmed names a security session, and brings the password of its user.
type Confirmed struct {
	Session  ID     `json:"session"`
	Password string `json:"password"`
}

// Confirm implements Sessions.
func (s *Service) Confirm(ctx context.Context, c Confirmed) error {
	_, err := s.confirmed(ctx, c)
	if err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	return nil
}

// Own implements Sessions.
func (s *Service) Own(ctx context.Context, session ID) ([]SecuritySession, error) {
	sess, err := s.live(ctx, session)
	if err != nil {
		return nil, fmt.Errorf("list own sessions: %w", err)
	}
	all, err := s.List(ctx, sess.User)
	if err != nil {
		return nil, fmt.Errorf("list own sessions: %w", err)
	}
	all = slices.DeleteFunc(all, func(other SecuritySession) bool { return !other.Open() })
	for i := range all {
		for j := range all[i].HTTP {
			all[i].HTTP[j].Attributes = nil
		}
	}
	return all, nil
}

// EndOwn implements Sessions.
func (s *Service) EndOwn(ctx context.Context, c Confirmed, which ID) (int, error) {
	sess, err := s.confirmed(ctx, c)
	n := 0
	if err == nil {
		n, err = s.endOwn(ctx, sess, which)
	}
	if err != nil {
		return n, fmt.Errorf("end own sessions: %w", err)
	}
	return n, nil
}

// endOwn ends one session of the user, or all but the one given for the zero ID.
func (s *Service) endOwn(ctx context.Context, sess SecuritySession, which ID) (n int, err error) {
	all, err := s.openSessions(ctx, sess.User)
	if err != nil {
		return 0, err
	}
	for _, other := range all {
		if other.Ref != which && (!which.IsZero() || other.Ref == sess.Ref) {
			continue
		}
		closed, failed := s.close(ctx, other.Ref, ByUser, s.now())
		if closed {
			n++
		}
		err = errors.Join(err, failed)
	}
	if n == 0 && !which.IsZero() && err == nil {
		err = ErrUnknown
	}
	return n, err
}

// ChangePassword implements Sessions. The directory has to be an Accounts.
func (s *Service) ChangePassword(ctx context.Context, c Confirmed, next string, endOthers bool) error {
	accounts, can := s.o.Users.(Accounts)
	if !can {
		return errors.New("change password: the directory's passwords cannot be changed")
	}
	sess, err := s.confirmed(ctx, c)
	if err == nil {
		err = accounts.SetPassword(ctx, sess.User, next)
	}
	if err == nil && endOthers {
		_, err = s.endOwn(ctx, sess, ID{})
	}
	if err != nil {
		return fmt.Errorf("change password: %w", err)
	}
	return nil
}

// confirmed returns the open session if the password is that of its user.
func (s *Service) confirmed(ctx context.Context, c Confirmed) (SecuritySession, error) {
	sess, err := s.live(ctx, c.Session)
	if err == nil && s.o.Users == nil {
		err = ErrCredentials
	}
	if err == nil {
		err = s.o.Users.Authenticate(ctx, sess.User, c.Password)
	}
	if err != nil {
		return SecuritySession{}, err
	}
	return sess, nil
}

// live returns the session of that reference if it is open; what has timed out
// is closed on the way.
func (s *Service) live(ctx context.Context, ref ID) (SecuritySession, error) {
	sess, err := s.store.Load(ctx, ref)
	s.event(ctx, database, "lookup", "security session", err)
	if err == nil && !sess.Open() {
		err = ErrClosed
	}
	if err != nil {
		return SecuritySession{}, err
	}
	now := s.now()
	if err := s.checkElapsed(ctx, &sess, now); err != nil {
		return SecuritySession{}, err
	}
	if closed, err := s.expireHTTP(ctx, &sess, now); err != nil {
		return SecuritySession{}, err
	} else if closed {
		return SecuritySession{}, ErrExpired
	}
	return sess, nil
}
