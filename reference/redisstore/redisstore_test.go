package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/redisstore"
	"github.com/farmspec/farmspec/reference/storetest"
	"github.com/farmspec/farmspec/reference/storetest/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Run(m)) }

func TestContract(t *testing.T) {
	for _, parts := range []string{"parts=1", "parts=7"} {
		t.Run(parts, func(t *testing.T) { holds(t, dbtest.Redis(t), parts) })
	}
}

// holds checks the whole contract, by two stores as two processes have them.
func holds(t *testing.T, server string, more ...string) {
	t.Helper()
	storetest.Check(t, func() (reference.Store, error) {
		address := fresh(t, server, more...)
		return storetest.TakingTurns(mustOpen(t, address), mustOpen(t, address)), nil
	})
	address := fresh(t, server, more...)
	if err := storetest.TestDurable(func(string) (reference.Store, error) {
		return redisstore.Open(t.Context(), address)
	}); err != nil {
		t.Error(err)
	}
}

// The members of a farm start at once, on a server that has nothing yet.
func TestOpenAtOnce(t *testing.T) {
	address := fresh(t, dbtest.Redis(t), "parts=3")
	stores := make([]*redisstore.Store, 6)
	errs := make([]error, len(stores))
	var done sync.WaitGroup
	for i := range stores {
		done.Go(func() { stores[i], errs[i] = redisstore.Open(t.Context(), address) })
	}
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, s := range stores {
		created(t, s, byte(i))
	}
	for _, s := range stores {
		if list, err := s.List(t.Context(), ""); err != nil || len(list) != len(stores) {
			t.Errorf("List = %d sessions, %v; want %d", len(list), err, len(stores))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPrefixesAreApart(t *testing.T) {
	server := dbtest.Redis(t)
	a, b := mustOpen(t, fresh(t, server)), mustOpen(t, fresh(t, server))
	created(t, a, 1)
	if list, err := b.List(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("a second store lists %d sessions of the first, %v", len(list), err)
	}
	created(t, b, 1)
}

func TestRemoveLeavesNothing(t *testing.T) {
	server := dbtest.Redis(t)
	for _, parts := range []string{"parts=1", "parts=3"} {
		address := fresh(t, server, parts)
		s := mustOpen(t, address)
		sess := created(t, s, 1)
		_, _, err := s.OpenHTTP(t.Context(), sess.Ref, reference.HTTPSession{ID: reference.ID{3}, Application: "shop", Attributes: map[string]string{"cart": "2 pears"}})
		if err := errors.Join(err, s.SetDisabled(t.Context(), "mallory", true)); err != nil {
			t.Fatal(err)
		}
		if len(keys(t, address)) == 0 {
			t.Fatal("a store with a session has no keys")
		}
		if err := redisstore.Remove(t.Context(), address); err != nil {
			t.Fatal(err)
		}
		if left := keys(t, address); len(left) > 0 {
			t.Errorf("Remove leaves %v", left)
		}
	}
}

// More than a page of everything.
func TestManySessions(t *testing.T) {
	for _, parts := range []string{"parts=1", "parts=3"} {
		t.Run(parts, func(t *testing.T) {
			s := mustOpen(t, fresh(t, dbtest.Redis(t), parts))
			const n = 700
			for i := range n {
				sess := reference.SecuritySession{Ref: numbered(1, i), User: fmt.Sprint("user-", i%2), AuthenticatedAt: int64(1000 + i),
					Current: reference.Token{ID: numbered(2, i), Timestamp: int64(1000 + i)}}
				if err := s.Create(t.Context(), sess); err != nil {
					t.Fatal(err)
				}
				if i%7 == 0 {
					if _, err := s.CloseSession(t.Context(), sess.Ref, reference.ByLogout, sess.AuthenticatedAt+1); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, user := range []string{"", "user-0"} {
				list, err := s.List(t.Context(), user)
				want := n
				if user != "" {
					want = n / 2
				}
				if err != nil || len(list) != want {
					t.Errorf("List(%q) = %d sessions, %v; want %d", user, len(list), err, want)
				}
				if !slices.IsSortedFunc(list, func(a, b reference.SecuritySession) int { return int(a.AuthenticatedAt - b.AuthenticatedAt) }) {
					t.Errorf("List(%q) is not in the order of log-ins", user)
				}
			}
			forgotten, err := s.Prune(t.Context(), 10_000)
			if err != nil || forgotten != n/7 {
				t.Errorf("Prune = %d, %v; want %d", forgotten, err, n/7)
			}
			if list, err := s.List(t.Context(), ""); err != nil || len(list) != n-n/7 {
				t.Errorf("List after Prune = %d sessions, %v; want %d", len(list), err, n-n/7)
			}
			if _, err := s.Find(t.Context(), numbered(2, 7)); !errors.Is(err, reference.ErrUnknown) {
				t.Errorf("Find of a forgotten session = %v", err)
			}
			if _, err := s.Find(t.Context(), numbered(2, 8)); err != nil {
				t.Errorf("Find of an open session, however old = %v", err)
			}
		})
	}
}

// What a process leaves behind that ended between the steps of a store in
// parts changes nothing, and Prune takes it away.
func TestCrashBetweenSteps(t *testing.T) {
	address := fresh(t, dbtest.Redis(t), "parts=4")
	s, raw := mustOpen(t, address), connect(t, address)
	sess, never, claimed := created(t, s, 1), token(200, 0), token(201, 0)
	leads := func(tok reference.Token, ref reference.ID) {
		t.Helper()
		// As the store writes it: reference, then the timestamp with the sign bit turned.
		value := append(slices.Clone(ref[:]), 0x80, 0, 0, 0, 0, 0, byte(tok.Timestamp>>8), byte(tok.Timestamp))
		if err := raw.HSet(t.Context(), keyOf(t, address, "ids", tok.ID), tok.ID[:], value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	leads(never, reference.ID{9, 9}) // Create, before the record
	leads(claimed, sess.Ref)         // Replace, before the record
	if _, err := s.Find(t.Context(), never.ID); !errors.Is(err, reference.ErrUnknown) {
		t.Errorf("Find of a session that was never made = %v, want ErrUnknown", err)
	}
	if err := s.Replace(t.Context(), claimed, token(202, 0)); !errors.Is(err, reference.ErrSpent) {
		t.Errorf("Replace of a token that never became current = %v, want it refused", err)
	}
	next := token(203, 0)
	if err := s.Replace(t.Context(), sess.Current, next); err != nil {
		t.Errorf("Replace of the current token = %v: what did not happen must not consume it", err)
	}
	if _, err := s.Prune(t.Context(), 5000); err != nil {
		t.Fatal(err)
	}
	for _, tok := range []reference.Token{never, claimed} {
		if _, err := s.Find(t.Context(), tok.ID); !errors.Is(err, reference.ErrUnknown) {
			t.Errorf("Find after Prune = %v, want ErrUnknown", err)
		}
	}
	if got, err := s.Find(t.Context(), next.ID); err != nil || got.Current != next {
		t.Errorf("Find of the current token after Prune = %v, %v", got.Current, err)
	}
}

func TestClosedStore(t *testing.T) {
	s := mustOpen(t, fresh(t, dbtest.Redis(t)))
	sess := created(t, s, 1)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	_, err := s.Load(t.Context(), sess.Ref)
	failure(t, "Load after Close", err)
}

func TestGivenUp(t *testing.T) {
	s := mustOpen(t, fresh(t, dbtest.Redis(t)))
	sess := created(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Replace(ctx, sess.Current, token(9, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("Replace in an ended context = %v, want its error", err)
	}
	if err := s.Replace(t.Context(), sess.Current, token(9, 0)); err != nil {
		t.Errorf("Replace afterwards = %v: what was given up must not consume", err)
	}
}

// Somebody else's bytes under our names are a failure, never an answer.
func TestDamage(t *testing.T) {
	for _, tc := range []struct{ name, key, value string }{
		{"no record", "sessions", "cats"},
		{"half a record", "sessions", strings.Repeat("\x80", 70)},
		{"empty record", "sessions", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address := fresh(t, dbtest.Redis(t))
			s, raw := mustOpen(t, address), connect(t, address)
			sess := created(t, s, 1)
			if err := raw.HSet(t.Context(), keyOf(t, address, tc.key, sess.Ref), sess.Ref[:], tc.value).Err(); err != nil {
				t.Fatal(err)
			}
			_, err := s.Load(t.Context(), sess.Ref)
			failure(t, "Load", err)
			_, err = s.Find(t.Context(), sess.Current.ID)
			failure(t, "Find", err)
			_, err = s.List(t.Context(), "")
			failure(t, "List", err)
			_, err = s.Prune(t.Context(), 1)
			failure(t, "Prune", err)
		})
	}
	t.Run("another type", func(t *testing.T) {
		address := fresh(t, dbtest.Redis(t))
		s, raw := mustOpen(t, address), connect(t, address)
		sess := created(t, s, 1)
		key := keyOf(t, address, "sessions", sess.Ref)
		if err := errors.Join(raw.Del(t.Context(), key).Err(), raw.Set(t.Context(), key, "cats", 0).Err()); err != nil {
			t.Fatal(err)
		}
		failure(t, "Replace", s.Replace(t.Context(), sess.Current, token(9, 0)))
		if _, err := redisstore.Open(t.Context(), address); err == nil || !strings.Contains(err.Error(), "another program") {
			t.Errorf("Open = %v, want it refused", err)
		}
		if err := raw.Del(t.Context(), key).Err(); err != nil { // so that the rest can be removed
			t.Fatal(err)
		}
	})
}

var prefixes atomic.Int64

// fresh is the address of a store that is nobody's yet, removed after the test.
func fresh(t testing.TB, server string, more ...string) string {
	t.Helper()
	query := append([]string{fmt.Sprintf("prefix=test-%d-%d", os.Getpid(), prefixes.Add(1))}, more...)
	address := server + "?" + strings.Join(query, "&")
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if err := redisstore.Remove(ctx, address); err != nil && !t.Failed() {
			t.Errorf("remove what the test has stored: %v", err)
		}
	})
	return address
}

func mustOpen(t testing.TB, address string) *redisstore.Store {
	t.Helper()
	s, err := redisstore.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func created(t testing.TB, s *redisstore.Store, n byte) reference.SecuritySession {
	t.Helper()
	sess := reference.SecuritySession{Ref: reference.ID{1, n}, User: "ada", AuthenticatedAt: 1000, Current: reference.Token{ID: reference.ID{2, n}, Timestamp: 1000}}
	if err := s.Create(t.Context(), sess); err != nil {
		t.Fatal(err)
	}
	return sess
}

func token(round, i byte) reference.Token {
	return reference.Token{ID: reference.ID{3, round, i}, Timestamp: 2000}
}

func numbered(kind byte, i int) reference.ID {
	return reference.ID{kind, byte(i), byte(i >> 8)}
}

// failure wants an error that is no answer of the contract.
func failure(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded, want a failure", what)
	}
	for _, answer := range []error{reference.ErrUnknown, reference.ErrSpent, reference.ErrClosed, reference.ErrMismatch, reference.ErrConflict} {
		if errors.Is(err, answer) {
			t.Errorf("%s = %v, want a failure: nobody knows", what, err)
		}
	}
}

// connect is a plain client of the address's server.
func connect(t testing.TB, address string) *redis.Client {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = ""
	o, err := redis.ParseURL(u.String())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// keys are the keys of the address's prefix.
func keys(t testing.TB, address string) []string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	all, err := connect(t, address).Keys(t.Context(), "{"+u.Query().Get("prefix")+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(key string) bool {
		return !strings.HasPrefix(key, "{"+u.Query().Get("prefix")+"}") && !strings.HasPrefix(key, "{"+u.Query().Get("prefix")+":")
	})
}

// keyOf is the key of that name in which the store keeps what belongs to the ID.
func keyOf(t testing.TB, address, name string, id reference.ID) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return redisstore.KeyOf(u.Query().Get("prefix"), u.Query().Get("parts"), name, id)
}
