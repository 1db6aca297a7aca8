// Package memstore is the common session database in memory. Nothing in it
// outlives the process.
package memstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/farmspec/farmspec/reference"
)

// Store is a reference.Store and reference.Editor in memory. It is safe for
// concurrent use: each session has a lock of its own, and the indices are
// split by ID, so that callers of different sessions seldom meet.
type Store struct {
	sessions roster
	tokens   *index // every session ID, current or spent
	refs     *index
	users    userIndex

	disabled sync.Map // user name to struct{}
}

var (
	_ reference.Store  = (*Store)(nil)
	_ reference.Editor = (*Store)(nil)
)

// Open returns an empty store.
func Open() *Store {
	s := new(Store)
	s.tokens, s.refs = newIndex(&s.sessions), newIndex(&s.sessions)
	s.users.m = make(map[string]map[*entry]struct{})
	return s
}

// entry is one session. Locks are taken in the order entry, index.
type entry struct {
	number uint32 // by the roster
	mu     sync.Mutex
	s      reference.SecuritySession // HTTP sorted by application
	// gone is set, with mu held, when the session is forgotten; what the
	// indices still hold of it is rubbish from then on.
	gone atomic.Bool
}

// Create implements reference.Store.
func (s *Store) Create(_ context.Context, sess reference.SecuritySession) error {
	e := &entry{s: sess}
	e.s.HTTP = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	s.sessions.add(e)
	if !s.refs.claim(sess.Ref, e, math.MaxInt64) {
		e.gone.Store(true)
		s.sessions.remove(e)
		return errors.New("create session: the reference is taken")
	}
	if !s.tokens.claim(sess.Current.ID, e, sess.Current.Timestamp) {
		e.gone.Store(true)
		s.refs.drop(sess.Ref, e)
		s.sessions.remove(e)
		return errors.New("create session: the session ID is taken")
	}
	s.users.add(sess.User, e)
	return nil
}

// Find implements reference.Store.
func (s *Store) Find(_ context.Context, id reference.ID) (reference.SecuritySession, error) {
	return s.tokens.find(id).copy()
}

// Load implements reference.Store.
func (s *Store) Load(_ context.Context, ref reference.ID) (reference.SecuritySession, error) {
	return s.refs.find(ref).copy()
}

// Replace implements reference.Store.
func (s *Store) Replace(_ context.Context, old, next reference.Token) error {
	e := s.tokens.find(old.ID)
	if !e.lock() {
		return reference.ErrUnknown
	}
	defer e.mu.Unlock()
	switch {
	case !e.s.Open():
		return reference.ErrClosed
	case old.ID != e.s.Current.ID:
		return reference.ErrSpent
	case !old.SameAs(e.s.Current):
		return reference.ErrMismatch
	}
	if !s.tokens.claim(next.ID, e, next.Timestamp) {
		return errors.New("replace token: the new session ID is taken")
	}
	e.s.Previous, e.s.Current = old, next
	return nil
}

// CloseSession implements reference.Store.
func (s *Store) CloseSession(_ context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
	e := s.refs.find(ref)
	if !e.lock() {
		return false, reference.ErrUnknown
	}
	defer e.mu.Unlock()
	return e.close(why, at), nil
}

// OpenHTTP implements reference.Store.
func (s *Store) OpenHTTP(_ context.Context, ref reference.ID, h reference.HTTPSession) (reference.HTTPSession, bool, error) {
	e := s.refs.find(ref)
	if !e.lock() {
		return reference.HTTPSession{}, false, reference.ErrUnknown
	}
	defer e.mu.Unlock()
	if !e.s.Open() {
		return reference.HTTPSession{}, false, reference.ErrClosed
	}
	i, live := e.http(h.Application)
	if !live {
		e.s.HTTP = slices.Insert(e.s.HTTP, i, copyHTTP(h))
	}
	return copyHTTP(e.s.HTTP[i]), !live, nil
}

// SaveHTTP implements reference.Store.
func (s *Store) SaveHTTP(_ context.Context, ref reference.ID, application string, version int64, attributes map[string]string, at int64) error {
	e := s.refs.find(ref)
	if !e.lock() {
		return reference.ErrUnknown
	}
	defer e.mu.Unlock()
	if !e.s.Open() {
		return reference.ErrClosed
	}
	i, live := e.http(application)
	if !live {
		return reference.ErrUnknown
	}
	h := &e.s.HTTP[i]
	if attributes != nil {
		if h.Version != version {
			return reference.ErrConflict
		}
		h.Version++
		h.Attributes = maps.Clone(attributes)
	}
	h.LastAccess = max(h.LastAccess, at)
	return nil
}

// EndHTTP implements reference.Store.
func (s *Store) EndHTTP(_ context.Context, ref reference.ID, application string, _ reference.Reason, at int64) (bool, error) {
	e := s.refs.find(ref)
	if !e.lock() {
		return false, reference.ErrUnknown
	}
	defer e.mu.Unlock()
	i, live := e.http(application)
	if !live {
		return false, reference.ErrUnknown
	}
	e.s.HTTP = slices.Delete(e.s.HTTP, i, i+1)
	return len(e.s.HTTP) == 0 && e.close(reference.ByLastHTTP, at), nil
}

// List implements reference.Store.
func (s *Store) List(_ context.Context, user string) ([]reference.SecuritySession, error) {
	var entries []*entry
	if user == "" {
		entries = s.sessions.all()
	} else {
		entries = s.users.entries(user)
	}
	list := make([]reference.SecuritySession, 0, len(entries))
	for _, e := range entries {
		if sess, err := e.copy(); err == nil {
			list = append(list, sess)
		}
	}
	slices.SortFunc(list, reference.InOrder)
	return list, nil
}

// SetDisabled implements reference.Store.
func (s *Store) SetDisabled(_ context.Context, user string, disabled bool) error {
	if disabled {
		s.disabled.Store(user, struct{}{})
	} else {
		s.disabled.Delete(user)
	}
	return nil
}

// Disabled implements reference.Store.
func (s *Store) Disabled(_ context.Context, user string) (bool, error) {
	_, is := s.disabled.Load(user)
	return is, nil
}

// Prune implements reference.Store.
func (s *Store) Prune(_ context.Context, before int64) (int, error) {
	n := 0
	var gone []*entry
	for _, e := range s.sessions.all() {
		if !e.lock() {
			gone = append(gone, e)
			continue
		}
		if !e.s.Open() && e.s.ClosedAt < before {
			s.forget(e)
			gone = append(gone, e)
			n++
		}
		e.mu.Unlock()
	}
	s.tokens.prune(before)
	for _, e := range gone {
		s.sessions.remove(e)
	}
	return n, nil
}

// SetCurrent implements reference.Editor.
func (s *Store) SetCurrent(_ context.Context, ref reference.ID, t reference.Token) error {
	e := s.refs.find(ref)
	if !e.lock() {
		return reference.ErrUnknown
	}
	defer e.mu.Unlock()
	if s.tokens.find(t.ID) == e {
		s.tokens.drop(t.ID, e)
	}
	if !s.tokens.claim(t.ID, e, t.Timestamp) {
		return errors.New("set stored token: the session ID is another session's")
	}
	e.s.Current = t
	return nil
}

// Remove implements reference.Editor.
func (s *Store) Remove(_ context.Context, ref reference.ID) error {
	e := s.refs.find(ref)
	if !e.lock() {
		return reference.ErrUnknown
	}
	defer e.mu.Unlock()
	s.forget(e)
	return nil
}

// String says how much is stored, and nothing of what.
func (s *Store) String() string {
	n := 0
	for _, e := range s.sessions.all() {
		if !e.gone.Load() {
			n++
		}
	}
	return fmt.Sprintf("memory, %d sessions", n)
}

// forget takes a locked session out. Its tokens stay in their index, unseen,
// until the next Prune.
func (s *Store) forget(e *entry) {
	e.gone.Store(true)
	s.refs.drop(e.s.Ref, e)
	s.users.drop(e.s.User, e)
}

// lock locks a session, unless there is none (nil) or it is forgotten.
func (e *entry) lock() bool {
	if e == nil {
		return false
	}
	e.mu.Lock()
	if e.gone.Load() {
		e.mu.Unlock()
		return false
	}
	return true
}

func (e *entry) copy() (sess reference.SecuritySession, err error) {
	if !e.lock() {
		return sess, reference.ErrUnknown
	}
	sess = e.s
	if len(e.s.HTTP) > 0 {
		sess.HTTP = slices.Clone(sess.HTTP)
		for i := range sess.HTTP {
			sess.HTTP[i] = copyHTTP(sess.HTTP[i])
		}
	}
	e.mu.Unlock()
	return sess, nil
}

func (e *entry) close(why reference.Reason, at int64) bool {
	if !e.s.Open() {
		return false
	}
	// Zero would mean open.
	e.s.ClosedAt, e.s.Reason, e.s.HTTP = max(at, 1), why, nil
	return true
}

func (e *entry) http(application string) (int, bool) {
	return slices.BinarySearchFunc(e.s.HTTP, application, func(h reference.HTTPSession, name string) int {
		return cmp.Compare(h.Application, name)
	})
}

func copyHTTP(h reference.HTTPSession) reference.HTTPSession {
	h.Attributes = maps.Clone(h.Attributes)
	return h
}

// userIndex finds sessions by their user.
type userIndex struct {
	mu sync.RWMutex
	m  map[string]map[*entry]struct{}
}

func (x *userIndex) add(user string, e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.m[user] == nil {
		x.m[user] = make(map[*entry]struct{})
	}
	x.m[user][e] = struct{}{}
}

func (x *userIndex) drop(user string, e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.m[user], e)
	if len(x.m[user]) == 0 {
		delete(x.m, user)
	}
}

func (x *userIndex) entries(user string) []*entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Collect(maps.Keys(x.m[user]))
}
