package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
)

// argsForChild makes this test binary the command itself.
const argsForChild = "FARMSPEC_TEST_ARGS"

func init() {
	if args, ok := os.LookupEnv(argsForChild); ok {
		os.Args = append([]string{"farmspec"}, strings.Split(args, "\n")...)
		main()
	}
}

// served is a running `farmspec serve`.
type served struct {
	cmd       *exec.Cmd
	out       *bufio.Reader
	members   []farmspec.Member
	passwords map[string]string
	ready     time.Duration
}

var (
	memberLine = regexp.MustCompile(`^\s+(server-\d+)\s+(https?://\S+)/$`)
	userLine   = regexp.MustCompile(`^\s+(?:Sign in as|Administrator)?\s+(ada|grace|alan|admin)\s+(\w+)`)
)

// serve starts a child and returns when it has said that it is ready.
func serve(t testing.TB, args ...string) *served {
	t.Helper()
	s := &served{cmd: exec.Command(os.Args[0]), passwords: make(map[string]string)}
	s.cmd.Env = append(os.Environ(), argsForChild+"="+strings.Join(append([]string{"serve", "--port", "0"}, args...), "\n"))
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
	})
	s.out = bufio.NewReader(out)
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			t.Fatalf("serve ended before it was ready: %v", err)
		}
		line = strings.TrimRight(line, "\n")
		if m := memberLine.FindStringSubmatch(line); m != nil {
			s.members = append(s.members, farmspec.Member{Name: m[1], URL: m[2]})
		}
		if m := userLine.FindStringSubmatch(line); m != nil {
			s.passwords[m[1]] = m[2]
		}
		if strings.HasPrefix(line, "Stop with") {
			s.ready = time.Since(began)
			return s
		}
	}
}

// end signals the child and returns its exit code, -1 for death by signal.
func (s *served) end(t *testing.T, sig os.Signal) int {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, s.out)
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}

func browser(t *testing.T, name string) *farmspec.Browser {
	t.Helper()
	resolve := map[string]string{"farm.localhost": "127.0.0.1"}
	for _, m := range []string{"server-1", "server-2", "server-3"} {
		resolve[m+".farm.localhost"] = "127.0.0.1"
	}
	b := farmspec.NewBrowser(farmspec.BrowserOptions{Name: name, Resolve: resolve})
	t.Cleanup(b.Close)
	return b
}

func (s *served) signIn(t *testing.T, user string) *farmspec.Browser {
	t.Helper()
	b := browser(t, user)
	form, err := b.Open(t.Context(), s.members[0].At("/login"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.Submit(t.Context(), form, "", map[string]string{"user": user, "password": s.passwords[user]})
	if err != nil {
		t.Fatal(err)
	}
	if x := in.Final(); !strings.Contains(string(x.Body), "Signed in as "+user) {
		t.Fatalf("log in as %s: %d %v", user, x.Status, x.Err)
	}
	return b
}

// knows reports whether the farm shows the browser a page of the second
// server, asked for at the first, as the user's.
func (s *served) knows(t *testing.T, b *farmspec.Browser) bool {
	t.Helper()
	v, err := b.Open(t.Context(), s.members[0].At("/server-2/welcome.html"))
	if err != nil {
		t.Fatal(err)
	}
	x := v.Final()
	return x.Status == http.StatusOK && strings.Contains(string(x.Body), "Signed in as "+b.Name())
}

func TestServeKeepsItsStateInTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "farm.db")
	args := []string{"--store", "sqlite:" + file, "--policy", "strict"}
	first := serve(t, args...)
	ada, grace := first.signIn(t, "ada"), first.signIn(t, "grace")
	closed := grace.Clone("grace")
	t.Cleanup(closed.Close)
	out, err := grace.Open(t.Context(), first.members[0].At("/logout"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grace.Submit(t.Context(), out, "", nil); err != nil {
		t.Fatal(err)
	}
	if !first.knows(t, ada) || first.knows(t, closed) {
		t.Fatal("ada is not known, or grace is after her log-out")
	}

	for _, tc := range []struct {
		how  string
		sig  os.Signal
		code int
	}{
		{"kill -9", syscall.SIGKILL, -1},
		{"Ctrl-C", os.Interrupt, farmspec.ExitConformant},
		{"SIGTERM", syscall.SIGTERM, farmspec.ExitConformant},
	} {
		if code := first.end(t, tc.sig); code != tc.code {
			t.Errorf("after %s the exit code is %d, want %d", tc.how, code, tc.code)
		}
		next := serve(t, args...)
		if next.passwords["ada"] != first.passwords["ada"] {
			t.Errorf("after %s ada has another password", tc.how)
		}
		if !next.knows(t, ada) {
			t.Errorf("after %s the open session is forgotten", tc.how)
		}
		if next.knows(t, closed) {
			t.Errorf("after %s the closed session is open", tc.how)
		}
		first = next
	}
	first.end(t, os.Interrupt)
	info, err := os.Stat(file + ".keys")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v, want mode 0600", info.Mode(), err)
	}
}

func TestServeShowsTheAdministratorHisPage(t *testing.T) {
	s := serve(t, "--admin", "--topology", "single-host", "--mode", "claimed")
	b := s.signIn(t, "ada")
	if !s.knows(t, b) {
		t.Error("ada is not known on a single host")
	}
	for _, tc := range []struct {
		password string
		want     int
	}{{s.passwords["admin"], http.StatusOK}, {"wrong", http.StatusUnauthorized}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.members[0].At("/admin"), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("admin", tc.password)
		r.Host = r.URL.Host
		r.URL.Host = net.JoinHostPort("127.0.0.1", r.URL.Port())
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("/admin with password %q answers %d, want %d", tc.password, resp.StatusCode, tc.want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if code := s.end(t, os.Interrupt); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestServeRefusesBadInput(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	_, port, _ := net.SplitHostPort(busy.Addr().String())
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := file("notes.txt", strings.Repeat("This is no database. ", 100), 0o600)
	file("open.db.keys", `{"format":"farmspec.keys/v1","keys":[],"users":[]}`, 0o640)
	file("bad.db.keys", `{"format":"farmspec.keys/v1","keys":[{"id":1,"secret":"c2hvcnQ="}],"users":[]}`, 0o600)
	file("json.db.keys", `secret-looking-nonsense`, 0o600)
	if err := os.Mkdir(filepath.Join(dir, "folder.db.keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	readOnly := filepath.Join(dir, "read-only")
	if err := os.Mkdir(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}

	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"busy port", []string{"--port", port}, []string{port, "address already in use", "--port"}},
		{"unknown store", []string{"--store", "memry"}, []string{`"memry"`, "did you mean memory?"}},
		{"unknown scheme", []string{"--store", "mysql://x"}, []string{"memory, sqlite:FILE"}},
		{"a folder", []string{"--store", "sqlite:" + dir}, []string{dir, "is a folder", "sqlite:" + dir + "/farm.db"}},
		{"not a database", []string{"--store", "sqlite:" + text}, []string{"open session database " + text, "choose a file"}},
		{"no such folder", []string{"--store", "sqlite:" + dir + "/none/farm.db"}, []string{"open session database", "no such file or directory"}},
		{"read-only folder", []string{"--store", "sqlite:" + readOnly + "/farm.db"}, []string{"open session database", "permission denied"}},
		{"keys others may read", []string{"--store", "sqlite:" + dir + "/open.db"}, []string{"may be read by others (mode 0640)", "chmod 600"}},
		{"a short key", []string{"--store", "sqlite:" + dir + "/bad.db"}, []string{"bad.db.keys", "32 bytes", "move it away"}},
		{"no key file", []string{"--store", "sqlite:" + dir + "/json.db"}, []string{"json.db.keys: not a key file"}},
		{"keys in a folder", []string{"--store", "sqlite:" + dir + "/folder.db"}, []string{"not a regular file"}},
		{"no server", []string{"--servers", "0"}, []string{"--servers 0"}},
		{"too many servers", []string{"--servers", "100000"}, []string{"100000"}},
		{"negative time-out", []string{"--idle", "-5m"}, []string{"--idle -5m0s"}},
		{"no time-out", []string{"--absolute", "0"}, []string{"--absolute 0s"}},
		{"unknown mode", []string{"--mode", "claimd"}, []string{"claimd", "claimed"}},
		{"unknown address", []string{"--listen", "example.org"}, []string{"example.org", "127.0.0.1"}},
		{"somebody else's address", []string{"--listen", "192.0.2.1"}, []string{"192.0.2.1", "--listen"}},
		{"argument", []string{"now"}, []string{"now"}},
		{"unknown flag", []string{"--sevrers", "3"}, []string{"--servers"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "read-only folder" && os.Getuid() == 0 {
				t.Skip("nothing is read-only to root")
			}
			var out, errs bytes.Buffer
			root := newRoot()
			root.SetOut(&out)
			root.SetErr(&errs)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			args := append([]string{"serve"}, tc.args...)
			if tc.name != "busy port" {
				args = append(args, "--port", "0")
			}
			code := execute(ctx, root, args)
			if code != farmspec.ExitUsage {
				t.Errorf("exit code %d, want %d; it says\n%s%s", code, farmspec.ExitUsage, out.String(), errs.String())
			}
			for _, w := range tc.want {
				if !strings.Contains(errs.String(), w) {
					t.Errorf("no %q in\n%s", w, errs.String())
				}
			}
			if strings.Contains(errs.String(), "secret-looking") {
				t.Error("the message quotes the key file")
			}
		})
	}
	if got, err := os.ReadFile(text); err != nil || !strings.HasPrefix(string(got), "This is no database.") {
		t.Errorf("the file that is no database was changed: %v", err)
	}
	if _, err := os.Stat(text + ".keys"); err == nil {
		t.Error("a key file was made for what is no database")
	}
}

func TestKeyFileIsWrittenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "farm.db.keys")
	first, err := createServeState(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := createServeState(path) // as a second process that came too late
	if err != nil {
		t.Fatal(err)
	}
	if len(first.keys) != 1 || first.keys[0] != second.keys[0] || first.users[0] != second.users[0] {
		t.Error("the second to create the key file has other keys or users than the first")
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files in the folder, want the key file alone (%v)", len(left), err)
	}
}

func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(`{"format":"farmspec.keys/v1","keys":[{"id":1,"secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}],"users":[{"name":"ada","password":"x"}]}`))
	f.Add([]byte(`{"format":"farmspec.keys/v1"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseKeyFile(text)
		if err == nil && (len(s.keys) == 0 || len(s.users) == 0) {
			t.Error("accepted a file without a key or without a user")
		}
	})
}

// BenchmarkServe is the time from starting the process to its last line.
func BenchmarkServe(b *testing.B) {
	for b.Loop() {
		s := serve(b)
		b.ReportMetric(float64(s.ready.Milliseconds()), "ms/ready")
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}
