package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reports"
)

// loadFile loads the farm of a target file and returns the report.
func loadFile(t *testing.T, want int, args ...string) (*farmspec.LoadReport, string) {
	t.Helper()
	dir := t.TempDir()
	args = append([]string{"load"}, args...)
	args = append(args, "--rate", "100", "--browsers", "8", "--warm-up", "100ms", "--duration", "600ms", "--out", dir)
	code, out, errs := command(t, args...)
	if code != want {
		t.Fatalf("exit code %d, want %d\n%s%s", code, want, out, errs)
	}
	if want != farmspec.ExitConformant && want != farmspec.ExitNonconformant {
		return nil, errs
	}
	r, err := reports.ReadLoad(filepath.Join(dir, reports.LoadFile))
	if err != nil {
		t.Fatal(err)
	}
	return r, out
}

// Farms of every recipe and carrier that target files have: each is loaded,
// and none of its answers is called wrong.
func TestLoadOfTargetFiles(t *testing.T) {
	const mix = "view=10,hop=10,state=5,login=3,logout=5,tabs=2"
	inAddress := func(kind string) func(int, http.Handler) http.Handler {
		return func(_ int, next http.Handler) http.Handler {
			return inAddresses(farmspec.Carrier{Kind: kind, Name: "shop"}, next)
		}
	}
	for _, tc := range []struct {
		name  string
		front func(int, http.Handler) http.Handler
		edits []string
	}{
		{"cookie", nil, nil},
		{"path", inAddress("path"), []string{"  name: shop", "  name: shop\n  kind: path"}},
		{"query", inAddress("query"), []string{"  name: shop", "  name: shop\n  kind: query"}},
		{"log-in by JSON", jsonLogIn, []string{"  path: /login", "  kind: json\n  path: /login"}},
		{"log-in by JSON without a page", apiRefusals(http.StatusUnauthorized), []string{"  path: /login", "  kind: json\n  path: /login"}},
		{"log-in by HTTP Basic", basicLogIn, []string{"  path: /login\n  user: username\n  password: password\n", "  kind: basic\n  path: /account\n"}},
		{"log-out by GET", plainLogOut(http.MethodGet), []string{"  path: /logout", "  path: /logout\n  kind: get"}},
		{"log-out by POST", plainLogOut(http.MethodPost), []string{"  path: /logout", "  path: /logout\n  kind: post"}},
	} {
		for _, engine := range engineNames {
			t.Run(tc.name+"/"+engine, func(t *testing.T) {
				path := openShop(t, func(s *shop) { s.front = tc.front }).file(t, tc.edits...)
				r, _ := loadFile(t, 0, path, "--engine", engine, "--mix", mix)
				if r.Truth.Verdict != farmspec.Pass || r.Truth.WrongRefusals+r.Truth.WrongAccepts+r.Truth.Doubtful > 0 {
					t.Errorf("%s: %+v", r.Truth.Reason, r.Truth)
				}
				for name, n := range r.Outcomes {
					if name != farmspec.LoadAccepted {
						t.Errorf("%d times %q", n, name)
					}
				}
				if len(r.Actions) < 5 || r.Truth.Probes == 0 || len(r.Members) != 2 {
					t.Errorf("%d actions and %d members with %d closed tokens presented; want most of 6, 2 and some", len(r.Actions), len(r.Members), r.Truth.Probes)
				}
			})
		}
	}
}

// A farm whose log-out forgets nothing but the cookie is convicted.
func TestLoadConvictsTargetFile(t *testing.T) {
	path := openShop(t, func(s *shop) { s.cookieOnlyLogOut = true }).file(t)
	if r, _ := loadFile(t, farmspec.ExitNonconformant, path, "--mix", "view=5,logout=5"); r.Truth.WrongAccepts == 0 {
		t.Errorf("closed tokens were accepted and none is counted: %+v", r.Truth)
	}
}

// What a target file bounds is kept, and what it lacks is said before anything is done.
func TestLoadWithinBounds(t *testing.T) {
	s := openShop(t, nil)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, tc := range []struct {
		name, want string
		args       []string
	}{
		{"too fast", "the target allows 50/s at most; the load asks for 100/s", []string{s.file(t, "carrier:", "load: {max_rate: 50}\ncarrier:")}},
		{"not its own", "farm.example is not on this machine: load it only if you are allowed to", []string{s.file(t, "carrier:", "resolve: {farm.example: 192.0.2.1}\ncarrier:", s.Members[0], "http://farm.example:81", s.Members[1], "http://farm.example:82")}},
		{"of another farm", "--mode configures the reference farm", []string{s.file(t), "--mode", "sealed"}},
		{"with an unknown engine", `--engine "fasst": want vegeta or fast`, []string{s.file(t), "--engine", "fasst"}},
		{"with a part from nowhere", "the environment's FARMSPEC_NO_INDEX is", []string{s.file(t), "--shard", "env:FARMSPEC_NO_INDEX/2"}},
	} {
		if _, errs := loadFile(t, farmspec.ExitUsage, tc.args...); !strings.Contains(errs, tc.want) {
			t.Errorf("%s: %s; want %q", tc.name, errs, tc.want)
		}
	}
	r, _ := loadFile(t, 0, s.file(t, "carrier:", "load: {max_rate: 120}\ncarrier:"), "--probe", "0.2")
	if r.Truth.Verdict != farmspec.Pass {
		t.Errorf("within the bound: %s", r.Truth.Reason)
	}
	t.Setenv("FARMSPEC_INDEX", "1")
	if r, _ := loadFile(t, 0, s.file(t), "--shard", "env:FARMSPEC_INDEX/2"); len(r.Plan.Shards) != 1 || r.Plan.Shards[0] != 2 {
		t.Errorf("index 1 from 0 on is shard %v, want 2", r.Plan.Shards)
	}
}

// Whoever says to own a farm on other machines says it once.
func TestOwnedOnce(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	target := &farmspec.Target{Members: []farmspec.Member{{Name: "one", URL: "http://127.0.0.1:1"}, {Name: "two", URL: "https://two.example"}}}
	if ok, err := owned(target, false); ok || err == nil || !strings.Contains(err.Error(), "two.example is not on this machine") {
		t.Errorf("before: %v, %v", ok, err)
	}
	for _, flag := range []bool{true, false} {
		if ok, err := owned(target, flag); !ok || err != nil {
			t.Errorf("with the flag %v: %v, %v", flag, ok, err)
		}
	}
	if content, err := os.ReadFile(filepath.Join(dir, "farmspec", "owned-hosts")); err != nil || string(content) != "two.example\n" {
		t.Errorf("remembered %q, %v", content, err)
	}
	target.Members = target.Members[:1]
	if ok, err := owned(target, false); ok || err != nil {
		t.Errorf("a farm on this machine: %v, %v; nothing need be said", ok, err)
	}
}
