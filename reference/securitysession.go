package reference

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// The service's half of the HTTP sessions that hang under a security session.
// AJ-4.3 maps each to the existing security session; the store's conditions
// keep it that way.

// OpenHTTP implements Sessions. An HTTP session over its own idle limit is
// ended first; if it was the last, that closes the security session (AJ-3.3)
// and the answer is ErrExpired.
func (s *Service) OpenHTTP(ctx context.Context, session ID, application string) (HTTPSession, error) {
	h, err := s.openHTTP(ctx, session, application)
	if err != nil {
		return HTTPSession{}, fmt.Errorf("open HTTP session of %q: %w", application, err)
	}
	return h, nil
}

func (s *Service) openHTTP(ctx context.Context, session ID, application string) (HTTPSession, error) {
	if application == "" {
		return HTTPSession{}, errors.New("the application has no name")
	}
	if _, err := s.live(ctx, session); err != nil {
		return HTTPSession{}, err
	}
	now := s.now()
	id, err := NewID(s.o.Rand)
	if err != nil {
		return HTTPSession{}, err
	}
	s.point(ctx, "in-register")
	h, created, err := s.store.OpenHTTP(ctx, session, HTTPSession{
		ID: id, Application: application, CreatedAt: now, LastAccess: now,
		Idle: s.httpIdle(application),
		// Counting from a place of its own, so that a save meant for an ended
		// HTTP session never fits the one that came after it.
		Version: int64(binary.BigEndian.Uint64(id[8:]) >> 16),
	})
	s.event(ctx, database, "http", "open for "+application, err)
	if err != nil || created {
		return h, err
	}
	if err := s.store.SaveHTTP(ctx, session, application, h.Version, nil, now); err != nil {
		return HTTPSession{}, fmt.Errorf("record the access: %w", err)
	}
	h.LastAccess = max(h.LastAccess, now)
	return h, nil
}

// CreateHTTP creates the application's HTTP session, or returns the live one,
// without a page being asked for (AJ-2.5). It verifies the token and does not
// replace it.
func (s *Service) CreateHTTP(ctx context.Context, r Presented, application string) (HTTPSession, error) {
	g, err := s.Verify(ctx, r)
	if err != nil {
		return HTTPSession{}, err
	}
	return s.OpenHTTP(ctx, g.Session, application)
}

// SaveHTTP implements Sessions. Nil attributes only record the access.
func (s *Service) SaveHTTP(ctx context.Context, session ID, h HTTPSession) error {
	err := s.store.SaveHTTP(ctx, session, h.Application, h.Version, h.Attributes, s.now())
	s.event(ctx, database, "http", "save for "+h.Application, err)
	if err != nil {
		return fmt.Errorf("save HTTP session of %q: %w", h.Application, err)
	}
	return nil
}

// EndHTTP implements Sessions.
func (s *Service) EndHTTP(ctx context.Context, session ID, application string) error {
	if _, err := s.endHTTP(ctx, session, application, ByApplication, s.now()); err != nil {
		return fmt.Errorf("end HTTP session of %q: %w", application, err)
	}
	return nil
}

// expireHTTP ends the HTTP sessions that are over their own idle limit
// (AJ-2.8) and reports whether the security session closed with the last one.
// Access to one of them extends no other.
func (s *Service) expireHTTP(ctx context.Context, sess *SecuritySession, now int64) (closed bool, err error) {
	for i := range sess.HTTP {
		h := &sess.HTTP[i]
		if !h.timedOut(now) {
			continue
		}
		switch ended, err := s.endHTTP(ctx, sess.Ref, h.Application, ByIdle, now); {
		case errors.Is(err, ErrUnknown): // somebody else has ended it
		case err != nil:
			return false, fmt.Errorf("end timed-out HTTP session of %q: %w", h.Application, err)
		case ended:
			return true, nil
		}
	}
	return false, nil
}

func (h *HTTPSession) timedOut(now int64) bool {
	return h.Idle > 0 && now > h.LastAccess && now-h.LastAccess > h.Idle
}

func (s *Service) endHTTP(ctx context.Context, session ID, application string, why Reason, at int64) (closed bool, err error) {
	closed, err = s.store.EndHTTP(ctx, session, application, why, at)
	s.event(ctx, database, "http", "end for "+application+": "+string(why), err)
	if closed {
		s.event(ctx, database, "close", string(ByLastHTTP), nil)
	}
	return closed, err
}

// httpIdle is the application's idle limit in milliseconds; zero is none.
func (s *Service) httpIdle(application string) int64 {
	idle, own := s.o.Limits.AppIdle[application]
	if !own {
		idle = s.o.Limits.HTTPIdle
	}
	return max(0, idle.Milliseconds())
}
