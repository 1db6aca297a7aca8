package targetfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec"
)

// small is a file with nothing left out that must be there.
const small = `product:
  name: Shop
members:
  - name: one
    url: http://127.0.0.1:8081
  - name: two
    url: http://127.0.0.1:8082
carrier:
  name: sid
login:
  path: /login
  user: name
  password: pass
logout:
  path: /logout
echo: "I am {user}"
pages:
  - path: /account
    marker: "Account at {member}"
apps:
  - name: cart
    path: /cart
    marker: Cart
    field: item
limits:
  idle: 30m
accounts:
  pattern: "u{nn}"
  password: text:demo
`

func TestExampleDescribesAFarm(t *testing.T) {
	t.Setenv("SHOP_PASSWORD", "secret")
	s, err := parse("example.yaml", Example)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Target.Name, "example-shop-1.0"; got != want {
		t.Errorf("the target is named %q, want %q", got, want)
	}
	if s.Target.Topology != farmspec.SingleHost {
		t.Errorf("members of one host are %s", s.Target.Topology)
	}
	if got, want := s.Place("login.user"), "example.yaml:"; !strings.HasPrefix(got, want) {
		t.Errorf("login.user is at %s", got)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.yaml")
	if err := os.WriteFile(path, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	first, err := got.Hooks.Accounts.New(t.Context(), "ada")
	if want := (farmspec.User{Name: "u01", Password: "demo"}); err != nil || first != want {
		t.Errorf("the first account is %v, %v; want %v", first, err, want)
	}
	got.Hooks.Accounts = nil
	want := &farmspec.Target{
		Name: "shop", Product: "Shop", Topology: farmspec.SingleHost, Handoff: farmspec.NoHandoff, Rotation: farmspec.NoRotation,
		Members: []farmspec.Member{{Name: "one", URL: "http://127.0.0.1:8081"}, {Name: "two", URL: "http://127.0.0.1:8082"}},
		Resolve: map[string]string{}, Carrier: farmspec.Carrier{Kind: "cookie", Name: "sid"},
		Login:  farmspec.LoginRecipe{Kind: farmspec.FormLogin, Path: "/login", UserField: "name", PassField: "pass"},
		Logout: farmspec.LogoutRecipe{Kind: farmspec.FormLogout, Path: "/logout"},
		Pages: []farmspec.Page{
			{Member: "one", Kind: farmspec.HTML, Path: "/account", Marker: "Account at one", Echo: true},
			{Member: "two", Kind: farmspec.HTML, Path: "/account", Marker: "Account at two", Echo: true},
		},
		Apps: []farmspec.App{
			{Name: "cart at one", Member: "one", Path: "/cart", Marker: "Cart", Field: "item", Idle: 30 * time.Minute},
			{Name: "cart at two", Member: "two", Path: "/cart", Marker: "Cart", Field: "item", Idle: 30 * time.Minute},
		},
		UserEcho: "I am {user}", Features: map[string]farmspec.Support{},
		Limits: farmspec.Limits{Idle: 30 * time.Minute, Tolerance: time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

// Every fault has its line and its remedy, and nothing else is said.
func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		name, old, new string
		want           []string // each a whole line
		schemaToo      bool     // an editor sees it by the schema
	}{
		{"unknown field", "  path: /login", "  paht: /login", []string{
			`t.yaml:10: path is missing in login; add path: path of the log-in`,
			`t.yaml:11: unknown field "paht" in login; did you mean path?`}, true},
		{"unknown field at the top", "echo:", "whoami: /me\necho:", []string{
			`t.yaml:16: unknown field "whoami"; known are name, product,`}, true},
		{"wrong type", "idle: 30m", "idle: [30m]", []string{`t.yaml:26: limits.idle is a list, not a length of time; write it like 90s, 30m or 12h`}, true},
		{"number for a length of time", "idle: 30m", "idle: 30", []string{`t.yaml:26: limits.idle is "30", not a length of time; write it like 90s, 30m or 12h`}, true},
		{"group for a text", "path: /logout", "path: {a: b}", []string{`t.yaml:15: logout.path is a group of fields, not a text; write it in quotes`}, true},
		{"text for a list", "members:\n  - name: one\n    url: http://127.0.0.1:8081\n  - name: two\n    url: http://127.0.0.1:8082\n", "members: one\n", []string{
			`t.yaml:3: members is "one", not a list; begin each entry with a dash`}, true},
		{"no value", "echo: \"I am {user}\"", "echo:", []string{`t.yaml:16: echo has no value; give it a value or delete the line`}, true},
		{"unknown word", "  name: sid", "  name: sid\n  kind: cokie", []string{`t.yaml:10: carrier.kind is "cokie"; choose cookie, path or query (did you mean cookie?)`}, true},
		{"field twice", "  user: name", "  user: name\n  user: nam", []string{`t.yaml:13: login.user is given twice, first on line 12; delete one of them`}, false},
		{"member twice", "name: two", "name: one", []string{`t.yaml:6: member "one" is already on line 4; give each member its own name`,
			`t.yaml:18: /account is on one already, by line 18; delete one of them`}, false},
		{"address twice", "8082", "8081", []string{`t.yaml:7: member two has the same url as one; give each member its own address, behind the balancer`}, false},
		{"no host", "http://127.0.0.1:8082", "http:///x", []string{`t.yaml:7: member two: the url "http:///x" has no host; write it like https://one.example.com:8443`}, false},
		{"no scheme", "http://127.0.0.1:8082", "127.0.0.1", []string{`t.yaml:7: member two: the url "127.0.0.1" has no http:// or https://; write it like https://one.example.com:8443`}, false},
		{"page of an unknown member", "    marker: \"Account at {member}\"", "    marker: Account\n    member: tow", []string{
			`t.yaml:4: member one has no html page; add a page with kind html and member one, or without a member`,
			`t.yaml:6: member two has no html page; add a page with kind html and member two, or without a member`,
			`t.yaml:20: pages[0] is of the unknown member "tow"; did you mean two?`}, false},
		{"member without page", "    marker: \"Account at {member}\"", "    marker: Account\n    member: two", []string{
			`t.yaml:4: member one has no html page; add a page with kind html and member one, or without a member`}, false},
		{"path without slash", "path: /logout", "path: logout", []string{`t.yaml:15: logout.path is "logout", which does not begin with a slash; write it like /login, below the member's address`}, false},
		{"echo of nobody", "I am {user}", "Hello", []string{`t.yaml:16: echo does not say where the user's name is; write {user} where the page shows the user's name`}, false},
		{"no fields of the log-in", "  user: name\n", "", []string{`t.yaml:10: login.user is missing for kind form; add user: the name of that field`}, false},
		{"secret in clear", "text:demo", "hunter2", []string{`t.yaml:29: accounts.password does not say where the password comes from; write env:NAME, file:PATH or, for an account that is worth nothing, text:PASSWORD`}, true},
		{"secret not there", "text:demo", "env:FARMSPEC_NOT_SET", []string{`t.yaml:29: accounts.password: the environment has no FARMSPEC_NOT_SET; export FARMSPEC_NOT_SET=… before you run farmspec`}, false},
		{"pattern without number", "u{nn}", "u", []string{`t.yaml:28: accounts.pattern "u" makes the same name each time; write {n} where the number goes`}, false},
		{"coalesce without grace", "echo:", "rotation: {policy: coalesce}\necho:", []string{`t.yaml:16: rotation.grace is missing for coalesce; add grace: how long the predecessor stays good`}, false},
		{"replay of nothing", "echo:", "replay: reject\necho:", []string{`t.yaml:16: replay has no meaning without a rotation: no token is ever spent; delete it, or say which rotation there is`}, false},
		{"claimed hand-off without names", "echo:", "handoff: {mode: claimed, id: sid}\necho:", []string{
			`t.yaml:16: handoff.timestamp is missing for the mode claimed; add timestamp: the query parameter in the redirect's address`}, false},
		{"absolute below idle", "idle: 30m", "idle: 30m\n  absolute: 29m", []string{`t.yaml:27: limits.absolute 29m0s is below limits.idle 30m0s; it cannot be the shorter one`}, false},
		{"unknown feature", "limits:", "features: {log-out: yes, teleport: no}\nlimits:", []string{`t.yaml:25: unknown entry "teleport" in features; known are log-out,`}, true},
		{"hook of nobody", "limits:", "hooks: {processes: {three: {stop: a, start: b}}}\nlimits:", []string{`t.yaml:25: hooks.processes has the unknown part "three"; known are one, two, service, database`}, false},
		{"numbers at no address", "limits:", "metrics: [\"/metrics\"]\nlimits:", []string{`t.yaml:25: metrics has "/metrics", which is no address; write it like http://127.0.0.1:8081/metrics`}, false},
		{"rate in words", "limits:", "load: {max_rate: few}\nlimits:", []string{`t.yaml:25: load.max_rate is "few", not a whole number; write it in digits`}, true},
		{"alias", "path: /logout", "path: &x /logout", []string{`t.yaml:15: logout.path is an anchor, an alias or a tag; write the value itself`}, false},
		{"several at once", "  path: /logout\necho: \"I am {user}\"", "  path: out\necho: \"I am\"", []string{
			`t.yaml:15: logout.path is "out", which does not begin`, `t.yaml:16: echo does not say`}, false},
		{"no YAML", "members:", "members: [", []string{`t.yaml:`}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.Replace(small, tc.old, tc.new, 1)
			if text == small {
				t.Fatal("nothing was changed")
			}
			_, err := parse("t.yaml", []byte(text))
			var found Problems
			if !errors.As(err, &found) {
				t.Fatalf("got %v, want problems", err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tc.want) {
				t.Errorf("got %d problems, want %d", len(lines), len(tc.want))
			}
			for i, line := range lines {
				if i >= len(tc.want) || !strings.HasPrefix(line, tc.want[i]) {
					t.Errorf("problem %d: %s", i, line)
				}
				if strings.Contains(line, "hunter2") {
					t.Errorf("a password is shown: %s", line)
				}
			}
			if tc.schemaToo {
				if err := compiled(t).Validate(plain(t, []byte(text))); err == nil {
					t.Error("the schema accepts it")
				}
			}
		})
	}
	if err := compiled(t).Validate(plain(t, []byte(small))); err != nil {
		t.Errorf("the schema refuses a good file: %v", err)
	}
}

func TestNoFileAndEmptyFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "farmspec init") {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, text := range []string{"", "\n\n", "# nothing\n"} {
		if _, err := parse("t.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "t.yaml:1: the file is empty; `farmspec init`") || strings.Contains(err.Error(), "\n") {
			t.Errorf("an empty file: %v", err)
		}
	}
}

// The file that README.md shows is one.
func TestReadmeShowsAFile(t *testing.T) {
	t.Setenv("SHOP_PASSWORD", "secret")
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Your own farm")
	_, block, _ := strings.Cut(section, "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	if _, err := parse("README.md", []byte(block)); err != nil {
		t.Error(err)
	}
}

// The files under targets/ are in order.
func TestShippedTargets(t *testing.T) {
	paths, err := filepath.Glob("../targets/*/target.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err != nil {
			t.Error(err)
		}
		if err := compiled(t).Validate(plain(t, content)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestPoolLendsEachAccountOnce(t *testing.T) {
	p := newPool([]farmspec.User{{Name: "a"}, {Name: "b"}})
	a, _ := p.New(t.Context(), "")
	b, _ := p.New(t.Context(), "")
	if a == b {
		t.Fatal("one account was lent twice")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.New(gone, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("all are lent and New says %v", err)
	}
	got := make(chan farmspec.User)
	go func() {
		u, _ := p.New(t.Context(), "")
		got <- u
	}()
	p.Return(b)
	if u := <-got; u != b {
		t.Errorf("who waited got %v, want %v", u, b)
	}
}

func TestHooksAct(t *testing.T) {
	dir := t.TempDir()
	text := small + "hooks:\n  processes:\n    one: {stop: 'echo down > state', start: 'echo up > state; echo oops >&2; exit 3'}\n  clock: {advance: 'echo {seconds} > moved'}\n"
	path := filepath.Join(dir, "t.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	target, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Hooks.Processes.Stop(t.Context(), "one"); err != nil {
		t.Error(err)
	}
	if err := target.Hooks.Processes.Start(t.Context(), "one"); err == nil || !strings.Contains(err.Error(), "start one: run the command: exit status 3: oops") {
		t.Errorf("a command that failed: %v", err)
	}
	if err := target.Hooks.Processes.Stop(t.Context(), "two"); !errors.Is(err, farmspec.ErrNoHook) {
		t.Errorf("a part without commands: %v", err)
	}
	if err := target.Hooks.Clock.Advance(t.Context(), 1500*time.Millisecond); err != nil {
		t.Error(err)
	}
	if err := target.Hooks.Clock.Advance(t.Context(), -time.Second); !errors.Is(err, farmspec.ErrNoHook) {
		t.Errorf("backwards: %v", err)
	}
	for name, want := range map[string]string{"state": "up\n", "moved": "2\n"} {
		if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add(Example)
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := parse("f.yaml", text); err == nil && (len(s.Target.Members) == 0 || len(s.Target.Pages) == 0 || s.Target.Hooks.Accounts == nil) {
			t.Error("a farm that cannot be judged was accepted")
		}
	})
}
