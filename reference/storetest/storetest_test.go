package storetest_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/storetest"
)

// whole is a correct store whose methods a broken one overrides.
type whole struct{ *memstore.Store }

// yield lets others go first until the race is lost, or nobody comes.
func (s whole) yield(ref reference.ID, lost func(reference.SecuritySession) bool) {
	for range 1000 {
		if sess, err := s.Store.Load(ctx, ref); err != nil || lost(sess) {
			return
		}
		runtime.Gosched()
	}
}

var ctx = context.Background()

type ignoresTimestamp struct{ whole }

func (s ignoresTimestamp) Replace(_ context.Context, old, next reference.Token) error {
	if sess, err := s.Find(ctx, old.ID); err == nil && sess.Current.ID == old.ID {
		old = sess.Current
	}
	return s.whole.Replace(ctx, old, next)
}

type checksThenSets struct{ whole }

func (s checksThenSets) Replace(_ context.Context, old, next reference.Token) error {
	sess, err := s.Find(ctx, old.ID)
	if err != nil || !sess.Open() || sess.Current != old {
		return s.whole.Replace(ctx, old, next)
	}
	s.yield(sess.Ref, func(now reference.SecuritySession) bool { return now.Current != old })
	return s.SetCurrent(ctx, sess.Ref, next)
}

type takesSpent struct{ whole }

func (s takesSpent) Replace(_ context.Context, old, next reference.Token) error {
	err := s.whole.Replace(ctx, old, next)
	if errors.Is(err, reference.ErrSpent) {
		sess, _ := s.Find(ctx, old.ID)
		return s.SetCurrent(ctx, sess.Ref, next)
	}
	return err
}

type consumesOnFailure struct{ whole }

func (s consumesOnFailure) Replace(_ context.Context, old, next reference.Token) error {
	err := s.whole.Replace(ctx, old, next)
	if sess, found := s.Find(ctx, old.ID); err != nil && found == nil && sess.Current == old && sess.Open() {
		_ = s.SetCurrent(ctx, sess.Ref, reference.Token{ID: reference.ID{0xff, 1}, Timestamp: 1})
	}
	return err
}

type forgetsSpent struct{ whole }

func (s forgetsSpent) Find(_ context.Context, id reference.ID) (reference.SecuritySession, error) {
	sess, err := s.whole.Find(ctx, id)
	if err == nil && id != sess.Current.ID {
		return reference.SecuritySession{}, reference.ErrUnknown
	}
	return sess, err
}

type findsByReference struct{ whole }

func (s findsByReference) Find(_ context.Context, id reference.ID) (reference.SecuritySession, error) {
	if sess, err := s.Load(ctx, id); err == nil {
		return sess, nil
	}
	return s.whole.Find(ctx, id)
}

type overwrites struct{ whole }

func (s overwrites) Create(_ context.Context, sess reference.SecuritySession) error {
	_ = s.Remove(ctx, sess.Ref)
	return s.whole.Create(ctx, sess)
}

type closesTwice struct{ whole }

func (s closesTwice) CloseSession(_ context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
	_, err := s.whole.CloseSession(ctx, ref, why, at)
	return err == nil, err
}

type closesByDeleting struct{ whole }

func (s closesByDeleting) CloseSession(_ context.Context, ref reference.ID, _ reference.Reason, _ int64) (bool, error) {
	return true, s.Remove(ctx, ref)
}

// revives lets a replacement in flight undo a close.
type revives struct{ whole }

func (s revives) Replace(_ context.Context, old, next reference.Token) error {
	sess, err := s.Find(ctx, old.ID)
	if err != nil || !sess.Open() || sess.Current != old {
		return s.whole.Replace(ctx, old, next)
	}
	s.yield(sess.Ref, func(now reference.SecuritySession) bool { return !now.Open() })
	if err := s.whole.Replace(ctx, old, next); !errors.Is(err, reference.ErrClosed) {
		return err
	}
	sess.Current, sess.Previous, sess.HTTP = next, old, nil
	_ = s.Remove(ctx, sess.Ref)
	return s.Create(ctx, sess)
}

type opensUnderClosed struct{ whole }

func (s opensUnderClosed) OpenHTTP(_ context.Context, ref reference.ID, h reference.HTTPSession) (reference.HTTPSession, bool, error) {
	got, created, err := s.whole.OpenHTTP(ctx, ref, h)
	if errors.Is(err, reference.ErrClosed) {
		return h, true, nil
	}
	return got, created, err
}

type createsTwice struct{ whole }

func (s createsTwice) OpenHTTP(_ context.Context, ref reference.ID, h reference.HTTPSession) (reference.HTTPSession, bool, error) {
	sess, err := s.Load(ctx, ref)
	s.yield(ref, func(now reference.SecuritySession) bool { return len(now.HTTP) > 0 })
	got, created, openErr := s.whole.OpenHTTP(ctx, ref, h)
	if err == nil && openErr == nil && len(sess.HTTP) == 0 {
		created, got = true, h
	}
	return got, created, openErr
}

type savesAnyVersion struct{ whole }

func (s savesAnyVersion) SaveHTTP(_ context.Context, ref reference.ID, app string, version int64, attributes map[string]string, at int64) error {
	if sess, err := s.Load(ctx, ref); err == nil {
		for _, h := range sess.HTTP {
			if h.Application == app {
				version = h.Version
			}
		}
	}
	return s.whole.SaveHTTP(ctx, ref, app, version, attributes, at)
}

type savesAfterClose struct{ whole }

func (s savesAfterClose) SaveHTTP(_ context.Context, ref reference.ID, app string, version int64, attributes map[string]string, at int64) error {
	err := s.whole.SaveHTTP(ctx, ref, app, version, attributes, at)
	if errors.Is(err, reference.ErrClosed) {
		return nil
	}
	return err
}

type touchConflicts struct{ whole }

func (s touchConflicts) SaveHTTP(_ context.Context, ref reference.ID, app string, version int64, attributes map[string]string, at int64) error {
	sess, _ := s.Load(ctx, ref)
	for _, h := range sess.HTTP {
		if h.Application == app && h.Version != version {
			return reference.ErrConflict
		}
	}
	return s.whole.SaveHTTP(ctx, ref, app, version, attributes, at)
}

type lastDoesNotClose struct{ whole }

func (s lastDoesNotClose) EndHTTP(_ context.Context, ref reference.ID, app string, why reference.Reason, at int64) (bool, error) {
	_, err := s.whole.EndHTTP(ctx, ref, app, why, at)
	return false, err
}

type dyingAtBirth struct{ whole }

func (s dyingAtBirth) EndHTTP(_ context.Context, ref reference.ID, app string, why reference.Reason, at int64) (bool, error) {
	closed, err := s.whole.EndHTTP(ctx, ref, app, why, at)
	if sess, found := s.Load(ctx, ref); found == nil && len(sess.HTTP) == 0 && sess.Open() {
		return s.CloseSession(ctx, ref, reference.ByLastHTTP, at)
	}
	return closed, err
}

// closesInTwoSteps counts first and closes later.
type closesInTwoSteps struct{ whole }

func (s closesInTwoSteps) EndHTTP(_ context.Context, ref reference.ID, app string, why reference.Reason, at int64) (bool, error) {
	sess, err := s.Load(ctx, ref)
	if err != nil || len(sess.HTTP) != 1 || sess.HTTP[0].Application != app {
		return s.whole.EndHTTP(ctx, ref, app, why, at)
	}
	s.yield(ref, func(now reference.SecuritySession) bool { return len(now.HTTP) != 1 })
	return s.CloseSession(ctx, ref, reference.ByLastHTTP, at)
}

type shares struct {
	whole
	mu    *sync.Mutex
	given map[reference.ID]map[string]string
}

func (s shares) OpenHTTP(_ context.Context, ref reference.ID, h reference.HTTPSession) (reference.HTTPSession, bool, error) {
	s.mu.Lock()
	s.given[ref] = h.Attributes
	s.mu.Unlock()
	return s.whole.OpenHTTP(ctx, ref, h)
}

func (s shares) Load(_ context.Context, ref reference.ID) (reference.SecuritySession, error) {
	sess, err := s.whole.Load(ctx, ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	if given, is := s.given[ref]; is && len(sess.HTTP) == 1 {
		sess.HTTP[0].Attributes = given
	}
	return sess, err
}

type listsBackwards struct{ whole }

func (s listsBackwards) List(_ context.Context, user string) ([]reference.SecuritySession, error) {
	list, err := s.whole.List(ctx, user)
	slices.Reverse(list)
	return list, err
}

type hidesClosed struct{ whole }

func (s hidesClosed) List(_ context.Context, user string) ([]reference.SecuritySession, error) {
	list, err := s.whole.List(ctx, user)
	return slices.DeleteFunc(list, func(s reference.SecuritySession) bool { return !s.Open() }), err
}

type listsByPrefix struct{ whole }

func (s listsByPrefix) List(_ context.Context, user string) ([]reference.SecuritySession, error) {
	list, err := s.whole.List(ctx, "")
	return slices.DeleteFunc(list, func(s reference.SecuritySession) bool { return !strings.HasPrefix(s.User, user) }), err
}

type forgetsMarks struct{ whole }

func (s forgetsMarks) Prune(_ context.Context, before int64) (int, error) {
	_ = s.SetDisabled(ctx, "ada", false)
	return s.whole.Prune(ctx, before)
}

type marksByPrefix struct{ whole }

func (s marksByPrefix) Disabled(_ context.Context, user string) (bool, error) {
	return s.whole.Disabled(ctx, user[:3])
}

type prunesAtTheInstant struct{ whole }

func (s prunesAtTheInstant) Prune(_ context.Context, before int64) (int, error) {
	return s.whole.Prune(ctx, before+1)
}

type prunesOpen struct{ whole }

func (s prunesOpen) Prune(_ context.Context, before int64) (int, error) {
	list, _ := s.List(ctx, "")
	n, err := s.whole.Prune(ctx, before)
	for _, sess := range list {
		if sess.Open() && sess.Current.Timestamp < before {
			_ = s.Remove(ctx, sess.Ref)
		}
	}
	return n, err
}

type prunesNothing struct{ whole }

func (s prunesNothing) Prune(context.Context, int64) (int, error) { return 0, nil }

type mangles struct{ whole }

func (s mangles) Create(_ context.Context, sess reference.SecuritySession) error {
	sess.User = strings.ToValidUTF8(sess.User, "?")
	return s.whole.Create(ctx, sess)
}

type removesByClosing struct{ whole }

func (s removesByClosing) Remove(_ context.Context, ref reference.ID) error {
	_, err := s.CloseSession(ctx, ref, reference.ByAdmin, 1)
	return err
}

type panics struct{ whole }

func (s panics) List(context.Context, string) ([]reference.SecuritySession, error) {
	panic("index out of range")
}

func TestEveryViolationIsReported(t *testing.T) {
	if err := storetest.TestStore(func() (reference.Store, error) { return whole{memstore.Open()}, nil }); err != nil {
		t.Fatalf("the store that the broken ones are made from has violations itself:\n%v", err)
	}
	for _, tc := range []struct {
		name  string
		store func(whole) reference.Store
		check string // that has to report it
	}{
		{"compares the ID only", func(w whole) reference.Store { return ignoresTimestamp{w} }, "replace refused"},
		{"check, then set", func(w whole) reference.Store { return checksThenSets{w} }, "replace race"},
		{"spent tokens are good", func(w whole) reference.Store { return takesSpent{w} }, "replace refused"},
		{"a failed replacement consumes", func(w whole) reference.Store { return consumesOnFailure{w} }, "replace refused"},
		{"spent IDs are forgotten", func(w whole) reference.Store { return forgetsSpent{w} }, "replace"},
		{"a reference works as session ID", func(w whole) reference.Store { return findsByReference{w} }, "unknown"},
		{"a second Create overwrites", func(w whole) reference.Store { return overwrites{w} }, "create"},
		{"every closer closed it", func(w whole) reference.Store { return closesTwice{w} }, "close race"},
		{"no tombstone", func(w whole) reference.Store { return closesByDeleting{w} }, "close"},
		{"a replacement in flight undoes a close", func(w whole) reference.Store { return revives{w} }, "replace against close"},
		{"HTTP sessions under a closed session", func(w whole) reference.Store { return opensUnderClosed{w} }, "open HTTP"},
		{"two HTTP sessions of one application", func(w whole) reference.Store { return createsTwice{w} }, "open HTTP race"},
		{"last save wins", func(w whole) reference.Store { return savesAnyVersion{w} }, "save HTTP race"},
		{"a save after the close", func(w whole) reference.Store { return savesAfterClose{w} }, "save HTTP after close"},
		{"an access conflicts", func(w whole) reference.Store { return touchConflicts{w} }, "save HTTP"},
		{"the last end goes unreported", func(w whole) reference.Store { return lastDoesNotClose{w} }, "end HTTP"},
		{"no HTTP session means closed", func(w whole) reference.Store { return dyingAtBirth{w} }, "end HTTP"},
		{"the last end in two steps", func(w whole) reference.Store { return closesInTwoSteps{w} }, "end HTTP against open HTTP"},
		{"shared attributes", func(w whole) reference.Store {
			return shares{w, new(sync.Mutex), map[reference.ID]map[string]string{}}
		}, "not shared"},
		{"list in another order", func(w whole) reference.Store { return listsBackwards{w} }, "list"},
		{"list without closed sessions", func(w whole) reference.Store { return hidesClosed{w} }, "list"},
		{"list by prefix", func(w whole) reference.Store { return listsByPrefix{w} }, "list"},
		{"a mark that prunes", func(w whole) reference.Store { return forgetsMarks{w} }, "disabled"},
		{"marks by prefix", func(w whole) reference.Store { return marksByPrefix{w} }, "disabled"},
		{"pruning at the instant", func(w whole) reference.Store { return prunesAtTheInstant{w} }, "prune"},
		{"pruning open sessions", func(w whole) reference.Store { return prunesOpen{w} }, "prune"},
		{"pruning nothing", func(w whole) reference.Store { return prunesNothing{w} }, "prune"},
		{"bytes mangled", func(w whole) reference.Store { return mangles{w} }, "values"},
		{"removed is closed", func(w whole) reference.Store { return removesByClosing{w} }, "editor"},
		{"a panic", func(w whole) reference.Store { return panics{w} }, "list"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := storetest.TestStore(func() (reference.Store, error) { return tc.store(whole{memstore.Open()}), nil })
			if err == nil {
				t.Fatal("no violation reported")
			}
			if !strings.Contains("\n"+err.Error(), "\n"+tc.check+": ") {
				t.Errorf("the check %q did not report it; reported:\n%v", tc.check, err)
			}
		})
	}
}

func TestStoreThatDoesNotOpen(t *testing.T) {
	broken := errors.New("disk on fire")
	if err := storetest.TestStore(func() (reference.Store, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("TestStore = %v, want the reason", err)
	}
}

type closable struct{ *memstore.Store }

func (closable) Close() error { return nil }

func TestForgetfulStoreIsNotDurable(t *testing.T) {
	err := storetest.TestDurable(func(string) (reference.Store, error) { return closable{memstore.Open()}, nil })
	if err == nil || !strings.Contains(err.Error(), "after reopening") {
		t.Errorf("TestDurable of a store that forgets = %v", err)
	}
	err = storetest.TestDurable(func(string) (reference.Store, error) { return memstore.Open(), nil })
	if err == nil || !strings.Contains(err.Error(), "no io.Closer") {
		t.Errorf("TestDurable of a store that cannot be closed = %v", err)
	}
}

func TestStoresThatShareNothing(t *testing.T) {
	if err := storetest.TestStore(func() (reference.Store, error) {
		return storetest.TakingTurns(memstore.Open(), memstore.Open()), nil
	}); err == nil {
		t.Error("two stores that share nothing pass for one")
	}
}
