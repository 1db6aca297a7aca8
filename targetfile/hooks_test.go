package targetfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec"
)

// withHooks reads the small file with hooks at its end.
func withHooks(t *testing.T, dir, hooks string) *farmspec.Target {
	t.Helper()
	path := filepath.Join(dir, "t.yaml")
	if err := os.WriteFile(path, []byte(small+"hooks:\n"+hooks), 0o600); err != nil {
		t.Fatal(err)
	}
	target, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// Whatever a value is, it becomes no part of a command, and stays one part of
// an address.
func TestValuesStayValues(t *testing.T) {
	const user = `ada'; touch broken; "$(touch broken)" & /../?x=1#`
	asked := ""
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.URL.EscapedPath() + " " + r.URL.RawQuery + " " + r.Header.Get("Authorization") + " " + string(body)
	}))
	defer srv.Close()
	dir := t.TempDir()
	h := withHooks(t, dir, `
  credential: text:opensesame
  admin:
    end_user: 'printf "%s" "$FARMSPEC_USER" > user; cat > input; echo {user} > line'
    end_session: 'DELETE `+srv.URL+`/sessions/{ref}'
`).Hooks.Admin
	if err := h.EndUser(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	in, _ := json.Marshal(map[string]string{"user": user})
	for name, want := range map[string]string{"user": user, "input": string(in), "line": "{user}\n"} {
		if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "broken")); err == nil {
		t.Error("a user's name was carried out")
	}
	if err := h.EndSession(t.Context(), "a/b c?d"); err != nil {
		t.Fatal(err)
	}
	if want := `DELETE /sessions/a%2Fb%20c%3Fd  Bearer opensesame {"ref":"a/b c?d"}`; asked != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
	if err := h.EndAll(t.Context()); !errors.Is(err, farmspec.ErrNoHook) {
		t.Errorf("what the file does not say: %v", err)
	}
}

// How a hook says no, and how it fails.
func TestAnswersOfHooks(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := 0
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, r.URL.Query().Get("body"))
	}))
	defer srv.Close()
	for _, tc := range []struct {
		line    string
		refused bool
		want    string // of the error; "" is none
		why     string
	}{
		{"POST " + srv.URL + `/200?body={"sessions":[{"ref":"r","user":"u","closed_at":5}]}`, false, "", "a list"},
		{"POST " + srv.URL + "/200?body=nonsense", false, "it is not the JSON", "another answer"},
		{"POST " + srv.URL + "/409", true, "the answer is 409", "a conflict is a no"},
		{"POST " + srv.URL + `/404?body={"error":"path"}`, false, "the answer is 404 (path)", "no such route is no refusal"},
		{"POST " + srv.URL + "/500?token=verysecret", false, "the answer is 500", "a failure"},
		{"POST " + srv.URL + "/302", false, "the answer is 302", "no redirect is followed"},
		{"POST http://127.0.0.1:1/?token=verysecret", false, "connection refused", "nobody there"},
		{"echo '{}'", false, "", "an empty list"},
		{"echo verysecret; exit 1", false, "run the command: exit status 1: ", "what it printed may be secret"},
		{"echo why >&2; exit 1", false, "exit status 1: why", "what it complained of is told"},
		{"yes", false, "context deadline exceeded", "an endless one is ended"},
	} {
		bound := time.Minute // a machine may be busy
		if tc.line == "yes" {
			bound = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		all, err := recipeAdmin{newDoor(&farmspec.Target{}, "", ""), Admin{Sessions: tc.line}}.Sessions(ctx, "")
		cancel()
		switch {
		case tc.want == "":
			if err != nil || len(all) == 1 && all[0].Open {
				t.Errorf("%s: %v %v (%s)", tc.line, all, err, tc.why)
			}
		case err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, farmspec.ErrRefused) != tc.refused || strings.Contains(err.Error(), "verysecret"):
			t.Errorf("%s: %v, want %q, refused: %v (%s)", tc.line, err, tc.want, tc.refused, tc.why)
		}
	}
}

// A control answers nobody without its credential, and says what it cannot do.
func TestControl(t *testing.T) {
	srv := httptest.NewServer(Control(farmspec.Hooks{Clock: stillClock{}}, "opensesame"))
	defer srv.Close()
	h := ControlHooks(farmspec.Hooks{Clock: stillClock{}}, srv.URL, nil)
	for credential, want := range map[string]error{"": farmspec.ErrRefused, "wrong": farmspec.ErrRefused, "opensesame": nil} {
		c := &clock{door: newDoor(&farmspec.Target{}, "", credential), Clock: h.Clock}
		now, err := c.Now(t.Context())
		if !errors.Is(err, want) || want == nil && !now.Equal(time.UnixMilli(42)) {
			t.Errorf("with %q: %v %v, want %v", credential, now, err, want)
		}
		if err := c.Skew(t.Context(), "one", time.Second); want == nil && !errors.Is(err, farmspec.ErrNoHook) {
			t.Errorf("what it cannot do: %v", err)
		}
	}
	if h.Database.Rows != "" || h.Keys.Open != "" || h.Processes != nil {
		t.Errorf("lines for what is not there: %+v", h)
	}
	resp, err := http.Post(srv.URL+"/clock/now", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a credential: %d", resp.StatusCode)
	}
}

type stillClock struct{}

func (stillClock) Now(context.Context) (time.Time, error)            { return time.UnixMilli(42), nil }
func (stillClock) Advance(context.Context, time.Duration) error      { return nil }
func (stillClock) Skew(context.Context, string, time.Duration) error { return farmspec.ErrNoHook }

func TestLogsAreRead(t *testing.T) {
	h := withHooks(t, t.TempDir(), "  logs: {one: 'echo first; echo second', two: 'exit 1'}\n").Hooks.Logs
	if _, err := h.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "read the log of two: run the command") {
		t.Errorf("a log that cannot be read: %v", err)
	}
	h = withHooks(t, t.TempDir(), "  logs: {one: 'echo first; echo second'}\n").Hooks.Logs
	if all, err := h.Read(t.Context()); err != nil || all["one"] != "first\nsecond\n" {
		t.Errorf("read %q, %v", all, err)
	}
}

func TestFaultsOfHooks(t *testing.T) {
	for _, tc := range []struct{ hooks, want string }{
		{"service: {url: nowhere, credentials: {one: text:a, two: text:b}}", "hooks.service.url is no address of a service"},
		{"service: {url: 'http://s', credentials: {one: text:a}}", "hooks.service.credentials has none of two; add two: env:NAME"},
		{"service: {url: 'http://s', credentials: {one: text:a, two: text:b, three: text:c}}", `has the unknown member "three"; known are one, two`},
		{"service: {url: 'http://s', credentials: {one: secret, two: text:b}}", "does not say where the password comes from"},
		{"admin: {url: 'http://s'}", "hooks.admin.credential is missing"},
		{"admin: {url: 'http://s', credential: text:a, end_all: 'true'}", "hooks.admin has a url and recipes; keep one"},
		{"admin: {credential: text:a}", "hooks.admin does not say what an administrator does"},
		{"admin: {end_al: 'true'}", `unknown field "end_al" in hooks.admin; did you mean end_all?`},
		{"database: {remove: 'true'}", "rows is missing in hooks.database"},
		{"keys: {open: POST nowhere}", "hooks.keys.open has no address to send to"},
		{"clock: {advance: 'true'}", "hooks.clock.advance does not say how far"},
	} {
		_, err := parse("t.yaml", []byte(small+"hooks:\n  "+tc.hooks+"\n"))
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "t.yaml:") {
			t.Errorf("%s:\n got %v\nwant %s", tc.hooks, err, tc.want)
		}
	}
}

// A file that is described and read again is the same target.
func TestDescribe(t *testing.T) {
	for name, text := range map[string]string{"small": small, "example": string(Example)} {
		t.Setenv("SHOP_PASSWORD", "hunter2")
		s, err := parse("t.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		f := Describe(s.Target)
		f.Accounts = Accounts{Pattern: "user{n}", Password: "text:" + "a \"quoted\": #secret"}
		again, err := parse("t.yaml", f.YAML())
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, f.YAML())
		}
		want, got := *s.Target, *again.Target
		want.Hooks, got.Hooks = farmspec.Hooks{}, farmspec.Hooks{}
		for i := range want.Apps { // each member's has a name of its own
			want.Apps[i].Name, got.Apps[i].Name = "", ""
		}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(want, got))
		}
	}
}
