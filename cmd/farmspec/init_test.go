package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/targetfile"
)

// From nothing to a judged farm: init by flags, then the doctor, then a run.
func TestInitDoctorRun(t *testing.T) {
	t.Setenv("MY_PASSWORD", shopPassword)
	s := openShop(t, nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "mine.yaml")
	code, out, errs := command(t, "init", path, "--product", "My: shop", "--url", s.Members[0], "--url", s.Members[1], "--cookie", "shop",
		"--user", "user1", "--user", "user2", "--user", "user3", "--user", "user4", "--password", "env:MY_PASSWORD")
	if code != 0 || !strings.Contains(out, "farmspec doctor "+path) {
		t.Fatalf("init: exit code %d\n%s%s", code, out, errs)
	}
	if code, out, errs := command(t, "doctor", path); code != 0 {
		t.Fatalf("doctor: exit code %d\n%s%s", code, out, errs)
	}
	code, out, errs = command(t, "run", path, "--out", filepath.Join(dir, "report"), "--run", "logout.*", "--run", "login.*", "--run", "common.*")
	if code != 0 {
		t.Errorf("run: exit code %d\n%s%s", code, out, errs)
	}
	if !strings.Contains(out, path+" describes its farm") {
		t.Errorf("run did not call the doctor first:\n%s", out)
	}
	r := results(t, filepath.Join(dir, "report"))
	if len(r.Targets) != 1 || r.Targets[0].Product != "My: shop" {
		t.Errorf("the report is of %+v", r.Targets)
	}
	for _, c := range r.Results {
		if !strings.HasPrefix(c.Repeat, "farmspec run '"+path+"' --run '") {
			t.Errorf("%s is repeated by %q", c.Scenario, c.Repeat)
		}
	}
	for name, text := range entries(t, filepath.Join(dir, "report")) {
		if strings.Contains(text, shopPassword) {
			t.Errorf("%s has the password", name)
		}
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.yaml")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := command(t, "init", path)
	if text, _ := os.ReadFile(path); code != farmspec.ExitUsage || string(text) != "mine" || !strings.Contains(errs, "--force") {
		t.Errorf("exit code %d, the file is %q: %s", code, text, errs)
	}
	if code, _, errs := command(t, "init", path, "--force"); code != 0 {
		t.Errorf("--force: exit code %d: %s", code, errs)
	}
	if text, _ := os.ReadFile(path); string(text) != string(targetfile.Example) {
		t.Error("without flags the file is not the example")
	}
}

func TestInitRefusesWhatCannotBe(t *testing.T) {
	for _, args := range [][]string{
		{"--url", "127.0.0.1:80"}, {"--login", "login"}, {"--idle", "30"}, {"--echo", "Hello"}, {"--password", "hunter2"},
		{"--login-kind", "xml"}, {"--logout-kind", "put"},
	} {
		path := filepath.Join(t.TempDir(), "t.yaml")
		code, _, errs := command(t, append([]string{"init", path}, args...)...)
		if _, err := os.Stat(path); code != farmspec.ExitUsage || err == nil || strings.Contains(errs, "hunter2") {
			t.Errorf("%v: exit code %d, file written: %v, %s", args, code, err == nil, errs)
		}
	}
}

func TestInitAsks(t *testing.T) {
	s := targetfile.Sketch{Cookie: "known"}
	var out strings.Builder
	answers := bufio.NewScanner(strings.NewReader("\"Quoted\" & odd: shop\nhttp://a.shop.example:1 http://b.shop.example:1\nx y\nenv:P\n\n\n\n\nHello {user}\n\n\n45m\n"))
	if err := ask(answers, &out, s.Basics()); err != nil {
		t.Fatal(err)
	}
	if s.Product == "" || s.Password != "env:P" || s.Echo != "" {
		t.Errorf("the basic questions made %+v", s)
	}
	if err := ask(answers, &out, s.Questions()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "Session cookie") {
		t.Error("what a flag said is asked for")
	}
	content, err := s.Write()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("P", "p")
	path := filepath.Join(t.TempDir(), "t.yaml")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	target, err := targetfile.Load(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	if target.Product != `"Quoted" & odd: shop` || target.Members[1].URL != "http://b.shop.example:1" || target.Carrier.Name != "known" || target.UserEcho != "Hello {user}" {
		t.Errorf("the answers became %+v", target)
	}
	if err := ask(bufio.NewScanner(strings.NewReader("only one\n")), &out, new(targetfile.Sketch).Basics()); err == nil {
		t.Error("answers that end too early make a file")
	}
}

// The doctor stops a run that would prove nothing, before any report.
func TestRunNeedsAReadyTarget(t *testing.T) {
	s := openShop(t, nil)
	path := s.file(t, "url: "+s.Members[1], "url: "+unused(t))
	dir := filepath.Join(t.TempDir(), "report")
	code, out, errs := command(t, "run", path, "--out", dir)
	if code != farmspec.ExitNotReady || !strings.Contains(out, "ill  "+path+":6: server-2 cannot be reached") || !strings.Contains(errs, "1 line to mend") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("a run that never began left %q", left)
	}
	code, _, _ = command(t, "run", path, "--out", dir, "--no-doctor", "--run", "rotate.honest-user")
	if code == 0 || code == farmspec.ExitNotReady {
		t.Errorf("--no-doctor: exit code %d", code)
	}
	if code, _, errs := command(t, "run", path, "--mode", "sealed"); code != farmspec.ExitUsage || !strings.Contains(errs, "profiles of the reference") {
		t.Errorf("--mode with a target file: exit code %d: %s", code, errs)
	}
}

// With addresses and an account alone init finds the rest, and the doctor
// finds nothing to mend.
func TestInitLooksAtTheFarm(t *testing.T) {
	t.Setenv("MY_PASSWORD", shopPassword)
	s := openShop(t, nil)
	path := filepath.Join(t.TempDir(), "mine.yaml")
	args := []string{"init", path, "--product", "Mine", "--url", s.Members[0], "--url", s.Members[1] + "/",
		"--user", "user1", "--user", "user2", "--user", "user3", "--user", "user4", "--user", "user5", "--password", "env:MY_PASSWORD", "--idle", "30m"}
	code, out, errs := command(t, append(args, "--offline")...)
	if code != 0 || strings.Contains(out, "Log-in form") {
		t.Fatalf("init --offline: exit code %d\n%s%s", code, out, errs)
	}
	code, out, errs = command(t, append(args, "--force")...)
	if code != 0 {
		t.Fatalf("init: exit code %d\n%s%s", code, out, errs)
	}
	for _, found := range []string{
		"Log-in form: /login.", "Its field for the user: username.", "Its field for the password: password.",
		"Protected page: /account.", "What it shows of the user: Signed in as {user}", "by {member}", "Session cookie: shop.",
	} {
		if !strings.Contains(out, found) {
			t.Errorf("init does not say %q\n%s", found, out)
		}
	}
	if strings.Contains(out, shopPassword) {
		t.Error("init tells the password")
	}
	if code, out, errs := command(t, "doctor", path); code != 0 {
		text, _ := os.ReadFile(path)
		t.Errorf("doctor: exit code %d\n%s%s\n%s", code, out, errs, text)
	}

	code, out, errs = command(t, "init", filepath.Join(t.TempDir(), "x.yaml"), "--url", unused(t))
	if code != 0 || !strings.Contains(out, "does not answer") {
		t.Errorf("a farm that is down: exit code %d\n%s%s", code, out, errs)
	}
}

// What a farm does in another way than the reference is found as well: the
// doctor proves what init wrote, line by line.
func TestInitFindsOtherWays(t *testing.T) {
	t.Setenv("MY_PASSWORD", shopPassword)
	counting := func(_ int, next http.Handler) http.Handler {
		var visits atomic.Int64
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := httptest.NewRecorder()
			next.ServeHTTP(a, r)
			for k, v := range a.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(a.Code)
			if r.URL.Path == "/account" && a.Code == http.StatusOK {
				fmt.Fprintf(w, "<p>Seen %d times</p>", visits.Add(1))
			}
			_, _ = io.Copy(w, a.Body)
		})
	}
	// The account page has the log-out's form, after another, and nobody else has.
	onPage := func(_ int, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/logout" && r.Method != http.MethodPost:
				w.WriteHeader(http.StatusMethodNotAllowed)
			case r.URL.Path == "/account" && isIn(next, r):
				next.ServeHTTP(w, r)
				page, _ := io.ReadAll(inner(next, r, http.MethodGet, "/logout", nil).Body)
				fmt.Fprintf(w, `<form method="post" action="/search"><input name="q"></form>
					<form id="out" method="post" action="/logout"><input type="hidden" name="csrf" value="%s"></form>`, csrfField.FindSubmatch(page)[1])
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
	for _, tc := range []struct {
		name  string
		front func(int, http.Handler) http.Handler
		flags []string
		lines []string // of the file
	}{
		{"a counter is no member's name", counting, nil, []string{`  - name: "server-2"`, `    marker: "Your account, by {member}"`}},
		{"log-out by a link", plainLogOut(http.MethodGet), nil, []string{"  path: /logout\n  kind: get\n"}},
		{"log-out on the protected page", onPage, nil, []string{"  path: /account\n  kind: form\n  form: \"out\"\n"}},
		{"log-in by JSON", apiRefusals(http.StatusUnauthorized), []string{"--login-kind", "json", "--login", "/login"}, []string{"  kind: json\n  path: /login\n"}},
		{"log-in by HTTP Basic", basicLogIn, []string{"--login", "/account"}, []string{"  kind: basic\n  path: /account\n\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := openShop(t, func(s *shop) { s.front = tc.front })
			path := filepath.Join(t.TempDir(), "mine.yaml")
			code, out, errs := command(t, append([]string{"init", path, "--url", s.Members[0], "--url", s.Members[1], "--user", "user{n}", "--password", "env:MY_PASSWORD"}, tc.flags...)...)
			if code != 0 || !strings.Contains(out, "yours to correct: product.name, limits.idle.\n") {
				t.Errorf("init: exit code %d\n%s%s", code, out, errs)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range append(tc.lines, `  pattern: "user{n}"`) {
				if !strings.Contains(string(text), line) {
					t.Errorf("the file has no %q\n%s\n%s", line, out, text)
				}
			}
			if code, out, errs := command(t, "doctor", path); code != 0 {
				t.Errorf("doctor: exit code %d\n%s%s", code, out, errs)
			}
		})
	}
}
