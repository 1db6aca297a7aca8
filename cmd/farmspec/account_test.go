package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/targetfile"
)

// accountPages adds to the shop pages for one's own account: a form for each
// session at an address of its own, a password, an order.
func accountPages(s *shop) {
	s.passwords = map[string]string{}
	s.front = func(member int, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/me/") {
				next.ServeHTTP(w, r)
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			var in *shopSession
			c, err := r.Cookie("shop")
			if err == nil {
				in = s.stores[member][c.Value]
			}
			post := r.Method == http.MethodPost
			switch {
			case in == nil:
				http.Redirect(w, r, "/login", http.StatusSeeOther)
				return
			case post && r.PostFormValue("csrf") != in.csrf:
				http.Error(w, "Not from our form", http.StatusForbidden)
				return
			}
			right := s.trusting || r.PostFormValue("password") == cmp.Or(s.passwords[in.user], shopPassword)
			said := ""
			form := func(action, fields string) string {
				return `<form method="post" action="` + action + `"><input type="hidden" name="csrf" value="` + in.csrf + `">` + fields +
					`<input type="password" name="password"><button>Go</button></form>`
			}
			body := ""
			switch {
			case strings.HasPrefix(r.URL.Path, "/me/sessions"):
				chosen := strings.TrimPrefix(r.URL.Path, "/me/sessions/")
				var own []string
				for id, other := range s.stores[member] {
					if other.user == in.user && id != c.Value {
						own = append(own, id)
					}
				}
				slices.Sort(own)
				for _, id := range own {
					if handle := fmt.Sprintf("%.6x", sha256.Sum256([]byte(id))); post && right && handle == chosen {
						delete(s.stores[member], id)
					} else {
						body += "<li class=session>elsewhere" + form("/me/sessions/"+handle, "")
					}
				}
				body += "<li class=session>here"
			case r.URL.Path == "/me/password":
				if post && right && len(r.PostFormValue("new")) >= 8 && !(s.remembers && r.PostFormValue("new") == shopPassword) {
					s.passwords[in.user] = r.PostFormValue("new")
					for id, other := range s.stores[member] {
						if other.user == in.user && id != c.Value && r.PostFormValue("everywhere") == "1" {
							delete(s.stores[member], id)
						}
					}
				}
				body = form("/me/password", `<input type="password" name="new"><input type="checkbox" name="everywhere" value="1">`)
			case r.URL.Path == "/me/order":
				if post && right {
					said = "Ordered."
				}
				body = form("/me/order", `<input name="what">`)
			}
			fmt.Fprintf(w, "<!doctype html><p>%s<p>Signed in as %s%s", said, html.EscapeString(in.user), body)
		})
	}
}

const accountLines = `account:
  sessions: {path: /me/sessions, item: "<li class=session>", confirm: password}
  password: {path: /me/password, current: password, new: new, end_others: everywhere}
  transaction: {path: /me/order, values: {what: a kettle}, confirm: password, done: "Ordered."}
`

// A farm of one fixed cookie with such pages is judged by them, and its
// accounts have their passwords afterwards.
func TestAccountPagesOfATargetFile(t *testing.T) {
	s := openShop(t, accountPages)
	path := s.file(t, "limits:", accountLines+"limits:")
	if code, out, errs := command(t, "doctor", path); code != 0 || !strings.Contains(out, "/me/sessions lists the user's own sessions") ||
		!strings.Contains(out, "/me/password has the form") || !strings.Contains(out, "/me/order has the form") {
		t.Errorf("doctor: exit code %d\n%s%s", code, out, errs)
	}
	target, err := targetfile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	report, err := features.Judge(t.Context(), features.Options{Run: []string{"account.*"}, Seed: 1}, target)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, r := range report.Results {
		switch r.Verdict {
		case farmspec.Pass:
			passed++
		case farmspec.Unobservable: // the administrator's, and what takes accounts with passwords of their own
			if !strings.HasPrefix(r.Scenario, "account.disabled") && !strings.Contains(r.Reason, "share a password") {
				t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
			}
		default:
			t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
		}
	}
	if passed < 11 {
		t.Errorf("%d scenarios pass, want those of sessions, password, transaction and log-out", passed)
	}
	for user, password := range s.passwords {
		if password != shopPassword {
			t.Errorf("%s was left with another password", user)
		}
	}
	if len(s.passwords) == 0 {
		t.Error("nobody's password was ever changed")
	}
}

// A farm that takes no password again leaves accounts with new ones. The run
// goes on with those, judges as it would, and says whose they are.
func TestPasswordsThatAreNotTakenBack(t *testing.T) {
	s := openShop(t, func(s *shop) { accountPages(s); s.remembers = true })
	target, err := targetfile.Load(s.file(t, "limits:", accountLines+"limits:", `"user{n}"`, `"user{n}"`+"\n  count: 7"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := features.Judge(t.Context(), features.Options{Run: []string{"account.*", "login.*"}, Seed: 1}, target)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Verdict.Ran() && r.Verdict != farmspec.Pass {
			t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
		}
	}
	if len(s.passwords) == 0 {
		t.Fatal("nobody's password was ever changed")
	}
	told := strings.Join(report.Left, "\n")
	for user := range s.passwords {
		if !strings.Contains(told, "give account "+user+" its password back") {
			t.Errorf("nobody is told that %s has another password:\n%s", user, told)
		}
	}
}

// What a farm changes though it should not have is changed back as well, and
// the password that the account came with is in no report.
func TestPasswordsThatShouldNotHaveChanged(t *testing.T) {
	s := openShop(t, func(s *shop) { accountPages(s); s.trusting = true })
	target, err := targetfile.Load(s.file(t, "limits:", accountLines+"limits:"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := features.Judge(t.Context(), features.Options{Run: []string{"account.password-takes-password*"}, Seed: 1}, target)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, r := range report.Results {
		if r.Verdict == farmspec.Fail {
			failed++
		}
	}
	if failed == 0 || len(s.passwords) == 0 {
		t.Fatalf("%d scenarios fail and %d passwords were changed, want some of each", failed, len(s.passwords))
	}
	for user, password := range s.passwords {
		if password != shopPassword {
			t.Errorf("%s was left with another password", user)
		}
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{shopPassword, url.QueryEscape(shopPassword)} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the report has the password as %q", secret)
		}
	}
}

// The doctor finds the lines that are wrong.
func TestDoctorProvesAccountLines(t *testing.T) {
	s := openShop(t, accountPages)
	for _, tc := range []struct{ name, old, new, want string }{
		{"page of the sessions", "/me/sessions", "/me-sessions", "account.sessions"},
		{"what is there once for each", "<li class=session>", "<li class=row>", `has no "<li class=row>"`},
		{"field of the new password", "new: new", "new: next", "has no form with the fields password, next, everywhere"},
		{"field of the order", "what:", "which:", "has no form with the fields password, which"},
		{"what is there always", `done: "Ordered."`, `done: "Signed in"`, "before anything was done"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines := strings.Replace(accountLines, tc.old, tc.new, 1)
			code, out, errs := command(t, "doctor", s.file(t, "limits:", lines+"limits:"))
			if code != farmspec.ExitNotReady || tc.name != "page of the sessions" && !strings.Contains(out, tc.want) {
				t.Errorf("exit code %d, want %d and %q\n%s%s", code, farmspec.ExitNotReady, tc.want, out, errs)
			}
		})
	}
}
