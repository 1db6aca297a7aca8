package sqlstore_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/sqlstore"
	"github.com/farmspec/farmspec/reference/storetest"
)

func TestContractInMemory(t *testing.T) {
	storetest.Check(t, func() (reference.Store, error) { return sqlstore.Open(":memory:") })
}

func TestContractInFile(t *testing.T) {
	dir, n := t.TempDir(), 0
	storetest.Check(t, func() (reference.Store, error) {
		n++
		return sqlstore.Open(filepath.Join(dir, fmt.Sprint(n, ".db")))
	})
}

func TestDurable(t *testing.T) {
	dir := t.TempDir()
	if err := storetest.TestDurable(func(name string) (reference.Store, error) {
		return sqlstore.Open(filepath.Join(dir, name+".db"))
	}); err != nil {
		t.Error(err)
	}
}

func TestDatabasesInMemoryAreApart(t *testing.T) {
	a, b := mustOpen(t, ":memory:"), mustOpen(t, ":memory:")
	if err := a.Create(t.Context(), session(1)); err != nil {
		t.Fatal(err)
	}
	if list, err := b.List(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("a second database lists %d sessions of the first, %v", len(list), err)
	}
}

func TestAnyFileName(t *testing.T) {
	for _, name := range []string{"plain.db", "with space.db", "question?mode=ro.db", "hash#1.db", "percent%41.db", "Ἀδα.db", "file:x.db"} {
		path := filepath.Join(t.TempDir(), name)
		db := mustOpen(t, path)
		if err := db.Create(t.Context(), session(1)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Errorf("%q: the database is in another file: %v", name, err)
		} else if info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("%q: mode %v and %d bytes, want a file for its owner alone", name, info.Mode(), info.Size())
		}
	}
	t.Chdir(t.TempDir())
	mustOpen(t, "relative.db")
	if _, err := os.Stat("relative.db"); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	execute := func(name string, statements ...string) string {
		path := filepath.Join(dir, name)
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, s := range statements {
			if _, err := db.Exec(s); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	newer := filepath.Join(dir, "newer.db")
	mustOpen(t, newer).Close()
	execute("newer.db", "PRAGMA user_version = 7")
	for _, tc := range []struct{ name, path, want, why string }{
		{"a directory", dir, "is a directory", "the path is named and the reason"},
		{"no such folder", filepath.Join(dir, "none", "x.db"), "no such file or directory", "folders are not made"},
		{"no path", "", "no such file", "an empty path is no database"},
		{"no database", write("text.db", strings.Repeat("not a database at all\n", 100)), "file is not a database", "somebody's file stays as it is"},
		{"another program's", execute("other.db", "CREATE TABLE cats (name TEXT)"), "another program", "somebody's database stays as it is"},
		{"newer", newer, "version 7, this program knows 2", "the cure is said"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, _ := os.ReadFile(tc.path)
			db, err := sqlstore.Open(tc.path)
			if err == nil {
				db.Close()
				t.Fatalf("Open succeeded (%s)", tc.why)
			}
			if !strings.HasPrefix(err.Error(), "open session database "+tc.path+": ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open = %q, want the path and %q (%s)", err, tc.want, tc.why)
			}
			if after, _ := os.ReadFile(tc.path); string(after) != string(before) {
				t.Errorf("the file was changed (%s)", tc.why)
			}
		})
	}
	t.Run("without permission", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Skip("nothing is forbidden to this user")
		}
		path := write("secret.db", "")
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := sqlstore.Open(path); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Open = %v, want permission denied", err)
		}
	})
}

func TestOlderDatabaseIsUpgraded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "older.db")
	mustOpen(t, path).Close()
	older, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := older.Exec("DROP TABLE disabled_users; PRAGMA user_version = 1"); err != nil {
		t.Fatal(err)
	}
	older.Close()
	for range 2 {
		db := mustOpen(t, path)
		if err := db.SetDisabled(t.Context(), "mallory", true); err != nil {
			t.Errorf("SetDisabled in a database of version 1 = %v", err)
		}
		db.Close()
	}
}

func TestClosedDatabase(t *testing.T) {
	for _, path := range []string{":memory:", filepath.Join(t.TempDir(), "x.db")} {
		db := mustOpen(t, path)
		for range 2 {
			if err := db.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		}
		if err := db.Create(t.Context(), session(1)); err == nil {
			t.Error("Create after Close succeeded")
		}
		if _, err := db.Load(t.Context(), reference.ID{1}); err == nil || errors.Is(err, reference.ErrUnknown) {
			t.Errorf("Load after Close = %v, want a failure: nobody looked", err)
		}
	}
}

func TestGivenUpBeforeItsTurn(t *testing.T) {
	db := mustOpen(t, ":memory:")
	s := session(1)
	if err := db.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	next := reference.Token{ID: reference.ID{9}, Timestamp: 2000}
	if err := db.Replace(ctx, s.Current, next); !errors.Is(err, context.Canceled) {
		t.Errorf("Replace in an ended context = %v, want its error", err)
	}
	if err := db.Replace(t.Context(), s.Current, next); err != nil {
		t.Errorf("Replace afterwards = %v: what was given up must not consume", err)
	}
}

// The contract holds for two handles on one file, as two processes have them
// (WF-4.3, WF-11.1).
func TestTwoHandles(t *testing.T) {
	dir, n := t.TempDir(), 0
	storetest.Check(t, func() (reference.Store, error) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n, ".db"))
		return storetest.TakingTurns(mustOpen(t, path), mustOpen(t, path)), nil
	})
}

// What a process has acknowledged before it is killed is there afterwards
// (WF-4.4), several callers sharing commits included, and what it has closed
// stays closed.
func TestKill(t *testing.T) {
	if path := os.Getenv("SQLSTORE_TEST_KILL"); path != "" {
		rotateForever(path)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "SQLSTORE_TEST_KILL="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last [killed]int
	total := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n byte
		var i int
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d of %d", &i, &n); err != nil || n >= killed {
			continue
		}
		last[n] = i
		if total++; total == 40*killed {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if total < 40*killed {
		t.Fatalf("the process ended after %d rotations", total)
	}
	db := mustOpen(t, path)
	for n := range byte(killed) {
		s, err := db.Load(t.Context(), session(n).Ref)
		if err != nil {
			t.Fatal(err)
		}
		if s.Current != rotated(n, last[n]) && s.Previous != rotated(n, last[n]) {
			t.Errorf("after the kill neither the current token of session %d nor its predecessor is number %d, which was acknowledged", n, last[n])
		}
		if err := db.Replace(t.Context(), session(n).Current, rotated(n, -1)); !errors.Is(err, reference.ErrSpent) {
			t.Errorf("Replace of a token spent before the kill = %v, want ErrSpent (F19)", err)
		}
		if err := db.Replace(t.Context(), s.Current, rotated(n, -1)); err != nil {
			t.Errorf("Replace of the current token after the kill = %v", err)
		}
	}
	if closed, err := db.Load(t.Context(), session(killed).Ref); err != nil || closed.Open() {
		t.Errorf("a session closed before the kill is open: %v, %v", closed.Open(), err)
	}
}

// killed is how many sessions are rotated until the process is killed.
const killed = 8

func rotateForever(path string) {
	ctx := context.Background()
	db, err := sqlstore.Open(path)
	for n := byte(0); n <= killed && err == nil; n++ {
		err = db.Create(ctx, session(n))
	}
	if err == nil {
		_, err = db.CloseSession(ctx, session(killed).Ref, reference.ByLogout, 1500)
	}
	if err == nil {
		failed := make(chan error)
		for n := range byte(killed) {
			go func() {
				current := session(n).Current
				for i := 0; ; i++ {
					if err := db.Replace(ctx, current, rotated(n, i)); err != nil {
						failed <- err
						return
					}
					current = rotated(n, i)
					fmt.Printf("acknowledged %d of %d\n", i, n)
				}
			}()
		}
		err = <-failed
	}
	fmt.Println(err)
	os.Exit(1)
}

func rotated(session byte, i int) reference.Token {
	return reference.Token{ID: reference.ID{3, session, byte(i >> 16), byte(i >> 8), byte(i)}, Timestamp: 2000}
}

func session(n byte) reference.SecuritySession {
	return reference.SecuritySession{Ref: reference.ID{1, n}, User: "ada", AuthenticatedAt: 1000, Current: reference.Token{ID: reference.ID{2, n}, Timestamp: 1000}}
}

func mustOpen(t testing.TB, path string) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func BenchmarkOpen(b *testing.B) {
	dir, n := b.TempDir(), 0
	mustOpen(b, filepath.Join(dir, "0.db")).Close()
	for _, name := range []string{"new", "existing"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if name == "new" {
					n++
				}
				db := mustOpen(b, filepath.Join(dir, fmt.Sprint(n, ".db")))
				b.StopTimer()
				db.Close()
				b.StartTimer()
			}
		})
	}
}
