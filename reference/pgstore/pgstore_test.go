package pgstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/pgstore"
	"github.com/farmspec/farmspec/reference/storetest"
	"github.com/farmspec/farmspec/reference/storetest/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Run(m)) }

// The contract holds for two session services on one database, each with its
// own connections; with one of them it holds the more.
func TestContract(t *testing.T) {
	server := dbtest.Postgres(t)
	storetest.Check(t, func() (reference.Store, error) {
		address := fresh(t, server, "pool_max_conns", "3")
		return storetest.TakingTurns(mustOpen(t, address), mustOpen(t, address)), nil
	})
}

func TestDurable(t *testing.T) {
	address := fresh(t, dbtest.Postgres(t))
	if err := storetest.TestDurable(func(string) (reference.Store, error) { return pgstore.Open(t.Context(), address) }); err != nil {
		t.Error(err)
	}
}

// The members of a farm start at once, on a database that has nothing yet.
func TestOpenAtOnce(t *testing.T) {
	address := fresh(t, dbtest.Postgres(t), "pool_max_conns", "1")
	stores := make([]*pgstore.DB, 6)
	errs := make([]error, len(stores))
	var done sync.WaitGroup
	for i := range stores {
		done.Go(func() { stores[i], errs[i] = pgstore.Open(t.Context(), address) })
	}
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	s := create(t, stores[0], 1)
	for _, db := range stores {
		if got, err := db.Find(t.Context(), s.Current.ID); err != nil || got.Ref != s.Ref {
			t.Errorf("Find = %v, %v", got.Ref, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	server := dbtest.Postgres(t)
	foreign, newer := fresh(t, server), fresh(t, server)
	mustOpen(t, newer)
	execute(t, newer, `UPDATE farmspec_schema SET version = 7`)
	execute(t, foreign, `CREATE SCHEMA `+schemaOf(t, foreign), `CREATE TABLE cats (name text)`)
	t.Cleanup(func() { // which Remove would not touch
		execute(t, foreign, `DROP SCHEMA `+schemaOf(t, foreign)+` CASCADE`)
		execute(t, newer, `UPDATE farmspec_schema SET version = 1`)
	})
	const password = "s3cret%2Fpw"
	for _, tc := range []struct{ name, address, want, why string }{
		{"no URL", "postgres://ada:s3cret%pw@127.0.0.1/x", "%XX", "the cure is said and no piece of the password"},
		{"unknown mode", edit(t, server, func(u *url.URL) { u.RawQuery = "sslmode=perhaps" }), "sslmode", "what is wrong is named"},
		{"several schemas", change(t, server, "search_path", "a,b"), "one schema", "the first would be chosen by chance"},
		{"no disk", change(t, server, "synchronous_commit", "off"), "synchronous_commit", "an answer rests on the disk"},
		{"nobody there", edit(t, server, func(u *url.URL) { u.Host = "127.0.0.1:1" }), "is PostgreSQL running there", "the cure is said"},
		{"no TLS", change(t, server, "sslmode", "require"), "sslmode=disable", "the cure is said"},
		{"no database", edit(t, server, func(u *url.URL) { u.Path = "/none" }), "createdb none", "the cure is said"},
		{"another program's", foreign, "belongs to another program", "somebody's tables stay as they are"},
		{"newer", newer, "version 7, this program knows 1", "the cure is said"},
		{"wrong password", edit(t, server, func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "s3cret/pw") }), "password is wrong", "the cure is said"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if (tc.name == "wrong password" || tc.name == "no TLS") && os.Getenv(dbtest.PostgresVariable) != "" {
				t.Skip("the server that was named may trust everybody, and speak TLS")
			}
			db, err := pgstore.Open(t.Context(), tc.address)
			if err == nil {
				db.Close()
				t.Fatalf("Open succeeded (%s)", tc.why)
			}
			if !strings.HasPrefix(err.Error(), "open session database") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open = %q, want %q (%s)", err, tc.want, tc.why)
			}
			for _, secret := range []string{password, "s3cret", secretOf(tc.address)} {
				if secret != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("Open = %q, which shows the password", err)
				}
			}
		})
	}
	if err := pgstore.Remove(t.Context(), foreign); err == nil {
		t.Error("Remove took another program's schema away")
	}
}

func TestErrorsShowNoToken(t *testing.T) {
	db := mustOpen(t, fresh(t, dbtest.Postgres(t)))
	s := create(t, db, 1)
	err := db.Create(t.Context(), s)
	failure(t, "Create of a session that is there", err)
	if text := strings.ReplaceAll(err.Error(), "-", ""); strings.Contains(text, s.Current.ID.String()) || strings.Contains(text, s.Ref.String()) {
		t.Errorf("the error %q shows an ID", err)
	}
}

func TestClosedDatabase(t *testing.T) {
	db := mustOpen(t, fresh(t, dbtest.Postgres(t)))
	for range 2 {
		if err := db.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	failure(t, "Create after Close", db.Create(t.Context(), session(1)))
	_, err := db.Load(t.Context(), reference.ID{1})
	failure(t, "Load after Close", err)
}

// A server that is stopped refuses at once; started again it has every session
// as it was, and the pool finds back to it (WF-4.4, F19).
func TestRestart(t *testing.T) {
	server := dbtest.OwnPostgres(t)
	db := mustOpen(t, server.URL)
	s, gone := create(t, db, 1), create(t, db, 2)
	if err := db.Replace(t.Context(), s.Current, token(1, 1)); err != nil {
		t.Fatal(err)
	}
	if closed, err := db.CloseSession(t.Context(), gone.Ref, reference.ByLogout, 3000); !closed || err != nil {
		t.Fatal(closed, err)
	}
	server.Stop(t)
	failure(t, "Replace on a stopped server", db.Replace(t.Context(), token(1, 1), token(1, 2)))
	_, err := db.Find(t.Context(), gone.Current.ID)
	failure(t, "Find on a stopped server", err)
	_, err = db.List(t.Context(), "")
	failure(t, "List on a stopped server", err)
	server.Start(t)
	if err := db.Replace(t.Context(), s.Current, token(1, 2)); !errors.Is(err, reference.ErrSpent) {
		t.Errorf("Replace of a token spent before the stop = %v, want ErrSpent", err)
	}
	if err := db.Replace(t.Context(), token(1, 1), token(1, 2)); err != nil {
		t.Errorf("Replace of the current token after the stop = %v", err)
	}
	if err := db.Replace(t.Context(), gone.Current, token(2, 1)); !errors.Is(err, reference.ErrClosed) {
		t.Errorf("Replace under a session closed before the stop = %v, want ErrClosed", err)
	}

	// What was answered before a kill is there after it, several callers at once.
	var last [8]atomic.Int32
	var done sync.WaitGroup
	for n := range last {
		current := create(t, db, byte(10+n)).Current
		done.Go(func() {
			for i := 1; ; i++ {
				next := token(byte(10+n), i)
				if db.Replace(t.Context(), current, next) != nil {
					return
				}
				current = next
				last[n].Store(int32(i))
			}
		})
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		least := last[0].Load()
		for n := range last {
			least = min(least, last[n].Load())
		}
		if least >= 10 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("ten rotations of eight sessions took a minute")
		}
	}
	server.Kill(t)
	done.Wait()
	server.Start(t)
	for n := range last {
		got, err := eventually(t, func() (reference.SecuritySession, error) {
			return db.Load(t.Context(), session(byte(10+n)).Ref)
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := token(byte(10+n), int(last[n].Load())); got.Current != want && got.Previous != want {
			t.Errorf("after the kill neither the current token of session %d nor its predecessor is number %d, which was acknowledged", n, last[n].Load())
		}
	}
}

// eventually repeats a read while connections of before are used up: at most
// one failure for each.
func eventually[T any](t *testing.T, read func() (T, error)) (got T, err error) {
	t.Helper()
	for range 17 {
		if got, err = read(); err == nil {
			break
		}
	}
	return got, err
}

// A rotation is one round trip. A call whose answer is lost has happened and is
// not sent again; one that never reached the server has not happened.
func TestLostAnswer(t *testing.T) {
	p := dbtest.NewProxy(t)
	address := fresh(t, dbtest.Postgres(t), "pool_max_conns", "1")
	direct, db := mustOpen(t, address), mustOpen(t, p.Before(t, address))
	s := create(t, db, 1)
	least := int64(100)
	for i := 1; i <= 5; i++ { // where the machine is busy the connection may be tried before
		sent := p.Sent()
		if err := db.Replace(t.Context(), s.Current, token(1, i)); err != nil {
			t.Fatal(err)
		}
		s.Current = token(1, i)
		least = min(least, p.Sent()-sent)
	}
	if least != 1 {
		t.Errorf("a rotation sends %d times, want once", least)
	}
	for _, tc := range []struct {
		name    string
		fault   dbtest.Fault
		happens bool
	}{{"the answer is lost", dbtest.LoseAnswers, true}, {"the question is lost", dbtest.LoseQuestions, false}} {
		if _, err := db.Load(t.Context(), s.Ref); err != nil { // a connection that works
			t.Fatal(err)
		}
		next := reference.Token{ID: reference.ID{9, byte(tc.fault)}, Timestamp: 3000}
		p.Set(tc.fault)
		failure(t, "Replace while "+tc.name, db.Replace(t.Context(), s.Current, next))
		p.Set(dbtest.NoFault)
		if tc.happens {
			s.Current = next
		}
		got, err := direct.Load(t.Context(), s.Ref)
		if err != nil || got.Current != s.Current {
			t.Errorf("where %s the current token is %v, %v; want %v", tc.name, got.Current, err, s.Current)
		}
		if _, err := eventually(t, func() (any, error) { return db.Load(t.Context(), s.Ref) }); err != nil {
			t.Errorf("Load after %s = %v", tc.name, err)
		}
	}
}

// A server that stops answering refuses, in bounded time, and no later than
// the caller's deadline.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	p := dbtest.NewProxy(t)
	db := mustOpen(t, p.Before(t, fresh(t, dbtest.Postgres(t))))
	s := create(t, db, 1)
	p.Set(dbtest.Silence)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := db.Replace(ctx, s.Current, token(1, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Replace on a silent server = %v, want the context's error", err)
	}
	begun := time.Now()
	_, err := db.Find(context.Background(), s.Current.ID)
	failure(t, "Find on a silent server", err)
	if waited := time.Since(begun); waited > 30*time.Second {
		t.Errorf("Find on a silent server took %v", waited)
	}
	p.Set(dbtest.NoFault)
	got, err := eventually(t, func() (reference.SecuritySession, error) { return db.Load(t.Context(), s.Ref) })
	if err != nil || got.Current != s.Current && got.Current != token(1, 1) {
		t.Errorf("Load when it speaks again = %v, %v", got.Current, err)
	}
}

func TestGivenUp(t *testing.T) {
	db := mustOpen(t, fresh(t, dbtest.Postgres(t)))
	s := create(t, db, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Replace(ctx, s.Current, token(1, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Replace in an ended context = %v, want its error", err)
	}
	if err := db.Replace(t.Context(), s.Current, token(1, 1)); err != nil {
		t.Errorf("Replace afterwards = %v: what was given up must not consume", err)
	}
}

// fresh is the URL with a schema of its own, which the test's end removes, and
// with parameters, a name and a value each.
func fresh(t testing.TB, address string, parameters ...string) string {
	t.Helper()
	id, err := reference.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	address = change(t, address, append(parameters, "search_path", "farmspec_test_"+id.String())...)
	t.Cleanup(func() {
		if err := pgstore.Remove(context.Background(), address); err != nil && !strings.Contains(err.Error(), "another program") {
			t.Error(err)
		}
	})
	return address
}

func change(t testing.TB, address string, parameters ...string) string {
	t.Helper()
	return edit(t, address, func(u *url.URL) {
		q := u.Query()
		for i := 0; i < len(parameters); i += 2 {
			q.Set(parameters[i], parameters[i+1])
		}
		u.RawQuery = q.Encode()
	})
}

func edit(t testing.TB, address string, f func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	f(u)
	return u.String()
}

func secretOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

func schemaOf(t testing.TB, address string) (name string) {
	edit(t, address, func(u *url.URL) { name = u.Query().Get("search_path") })
	return name
}

// execute runs statements as somebody else would.
func execute(t testing.TB, address string, statements ...string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
}

func mustOpen(t testing.TB, address string) *pgstore.DB {
	t.Helper()
	db, err := pgstore.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func create(t testing.TB, db *pgstore.DB, n byte) reference.SecuritySession {
	t.Helper()
	s := session(n)
	if err := db.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func session(n byte) reference.SecuritySession {
	return reference.SecuritySession{Ref: reference.ID{1, n}, User: "ada", AuthenticatedAt: 1000, Current: token(n, 0)}
}

// token is the i-th of the session.
func token(n byte, i int) reference.Token {
	return reference.Token{ID: reference.ID{2, n, byte(i >> 16), byte(i >> 8), byte(i)}, Timestamp: 2000}
}

// failure wants a system failure: an outcome that nobody knows, or of a call
// that did not happen, must not look like an answer.
func failure(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded", what)
	}
	for _, outcome := range []error{reference.ErrUnknown, reference.ErrSpent, reference.ErrClosed, reference.ErrMismatch, reference.ErrConflict} {
		if errors.Is(err, outcome) {
			t.Errorf("%s = %v, want a system failure", what, err)
		}
	}
}
