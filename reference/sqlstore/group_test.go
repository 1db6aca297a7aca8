package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/farmspec/farmspec/reference"
)

// together holds the writer until every call waits, so that all of them fall
// into one transaction, in their order, and returns what each was answered.
func together(t *testing.T, db *DB, calls ...func() error) []error {
	t.Helper()
	<-db.group.writer
	errs := make([]error, len(calls))
	var done sync.WaitGroup
	for i, call := range calls {
		done.Go(func() { errs[i] = call() })
		waitFor(db.group, i+1)
	}
	db.group.writer <- struct{}{}
	done.Wait()
	return errs
}

func waitFor(g *group, n int) {
	for {
		g.mu.Lock()
		waiting := len(g.waiting)
		g.mu.Unlock()
		if waiting == n {
			return
		}
		runtime.Gosched()
	}
}

func openWith(t *testing.T, sessions byte) *DB {
	t.Helper()
	db, err := Open(filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for n := range sessions {
		s := reference.SecuritySession{Ref: reference.ID{1, n}, User: "ada", AuthenticatedAt: 1000, Current: tokenOf(n, 0)}
		if err := db.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func tokenOf(session, i byte) reference.Token {
	return reference.Token{ID: reference.ID{2, session, i}, Timestamp: 1000}
}

func current(t *testing.T, db *DB, session byte) reference.Token {
	t.Helper()
	s, err := db.Load(t.Context(), reference.ID{1, session})
	if err != nil {
		t.Fatal(err)
	}
	return s.Current
}

func replace(db *DB, old, next reference.Token) func() error {
	return func() error { return db.Replace(context.Background(), old, next) }
}

func TestEachChangeIsDecidedAlone(t *testing.T) {
	db := openWith(t, 3)
	failed := errors.New("failed")
	rows := []struct {
		call func() error
		want error // failed stands for any that is no outcome of the contract
		why  string
	}{
		{replace(db, tokenOf(0, 0), tokenOf(0, 1)), nil, "the first with a token wins"},
		{replace(db, tokenOf(0, 0), tokenOf(0, 2)), reference.ErrSpent, "the second with it has lost to its neighbour"},
		{func() error {
			return db.change(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec(`UPDATE sessions SET user = 'mallory'`)
				return errors.Join(err, failed)
			})
		}, failed, "a change half made is taken back"},
		{replace(db, tokenOf(9, 0), tokenOf(9, 1)), reference.ErrUnknown, "there is no such session"},
		{replace(db, tokenOf(1, 0), tokenOf(1, 1)), nil, "refusals before it do not concern it"},
		{replace(db, tokenOf(2, 0), tokenOf(1, 1)), failed, "that the new ID is taken shows after the session was written"},
		{replace(db, tokenOf(0, 1), tokenOf(0, 3)), nil, "a chain goes on within a group"},
	}
	calls := make([]func() error, len(rows))
	for i, row := range rows {
		calls[i] = row.call
	}
	for i, err := range together(t, db, calls...) {
		row := rows[i]
		if row.want == failed && err != nil && !errors.Is(err, reference.ErrSpent) && !errors.Is(err, reference.ErrUnknown) {
			continue
		}
		if !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
			t.Errorf("change %d = %v, want %v (%s)", i, err, row.want, row.why)
		}
	}
	for session, want := range []reference.Token{tokenOf(0, 3), tokenOf(1, 1), tokenOf(2, 0)} {
		if got := current(t, db, byte(session)); got != want {
			t.Errorf("session %d has %v, want %v", session, got, want)
		}
	}
	if s, err := db.List(t.Context(), "mallory"); err != nil || len(s) > 0 {
		t.Errorf("what a failed change wrote is in %d sessions, %v", len(s), err)
	}
}

// Where the transaction fails nothing in it has happened, and a refusal that
// rested on a neighbour's change must not be answered either.
func TestFailedTransactionFailsAll(t *testing.T) {
	for _, tc := range []struct {
		name  string
		broke func(*sql.Tx) error
	}{
		{"at the commit", func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO child VALUES (1)`)
			return err
		}},
		{"before", func(tx *sql.Tx) error {
			_, err := tx.Exec(`ROLLBACK`)
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := openWith(t, 1)
			// A constraint that is looked at when the transaction commits.
			if _, err := db.write.Exec(`PRAGMA foreign_keys = ON; CREATE TABLE parent (id INTEGER PRIMARY KEY);
				CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`); err != nil {
				t.Fatal(err)
			}
			for i, err := range together(t, db,
				replace(db, tokenOf(0, 0), tokenOf(0, 1)),
				replace(db, tokenOf(0, 0), tokenOf(0, 2)),
				func() error { return db.change(t.Context(), tc.broke) },
			) {
				if err == nil || errors.Is(err, reference.ErrSpent) {
					t.Errorf("change %d = %v, want a failure of the system", i, err)
				}
			}
			if got := current(t, db, 0); got != tokenOf(0, 0) {
				t.Errorf("the session has %v, want what it had", got)
			}
			if err := db.Replace(t.Context(), tokenOf(0, 0), tokenOf(0, 3)); err != nil {
				t.Errorf("Replace afterwards = %v: consume if, and only if, committed", err)
			}
		})
	}
}

func TestGivenUpWhileWaiting(t *testing.T) {
	db := openWith(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	<-db.group.writer
	var done sync.WaitGroup
	var gaveUp, stayed error
	done.Go(func() { gaveUp = db.Replace(ctx, tokenOf(0, 0), tokenOf(0, 1)) })
	waitFor(db.group, 1)
	done.Go(func() { stayed = db.Replace(t.Context(), tokenOf(1, 0), tokenOf(1, 1)) })
	waitFor(db.group, 2)
	cancel()
	waitFor(db.group, 1)
	db.group.writer <- struct{}{}
	done.Wait()
	if !errors.Is(gaveUp, context.Canceled) || stayed != nil {
		t.Errorf("the one who gave up got %v, the one who stayed %v", gaveUp, stayed)
	}
	if got := current(t, db, 0); got != tokenOf(0, 0) {
		t.Errorf("what was given up has made %v current", got)
	}
}

func TestClosedWhileWaiting(t *testing.T) {
	db := openWith(t, 2)
	<-db.group.writer
	var done sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		n := byte(i)
		done.Go(func() { errs[n] = db.Replace(context.Background(), tokenOf(n, 0), tokenOf(n, 1)) })
	}
	waitFor(db.group, 2)
	close(db.group.writer) // as Close does, who had the turn before them
	done.Wait()
	for _, err := range errs {
		if !errors.Is(err, sql.ErrConnDone) {
			t.Errorf("Replace while the database closes = %v, want %v", err, sql.ErrConnDone)
		}
	}
	db.group = newGroup() // for the clean-up
}

// Everybody commits, whoever leads: no call is left without an answer.
func TestManyCallers(t *testing.T) {
	const callers, each = 64, 20
	db := openWith(t, callers)
	var done sync.WaitGroup
	for n := range byte(callers) {
		done.Go(func() {
			for i := range byte(each) {
				if err := db.Replace(t.Context(), tokenOf(n, i), tokenOf(n, i+1)); err != nil {
					t.Errorf("caller %d, change %d: %v", n, i, err)
					return
				}
			}
		})
	}
	done.Wait()
	for n := range byte(callers) {
		if got := current(t, db, n); got != tokenOf(n, each) {
			t.Errorf("session %d has %v, want its last", n, got)
		}
	}
}
