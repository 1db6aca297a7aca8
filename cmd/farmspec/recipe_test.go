package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/targetfile"
)

// Log-in by JSON and by HTTP Basic, and log-out by a request instead of a
// form: the doctor proves each, and the judge finds nothing wrong with it.
func TestOtherRecipes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		front func(int, http.Handler) http.Handler
		edits []string
		wrong []string // what the doctor says of the recipe the farm does not have
		fails []string // scenarios that such a farm fails, and rightly
	}{
		{"log-in by JSON", jsonLogIn, []string{"  path: /login", "  kind: json\n  path: /login"}, []string{"/login answers with 200 and has no form", "login.kind"}, nil},
		{"log-in by HTTP Basic", basicLogIn, []string{"  path: /login\n  user: username\n  password: password\n", "  kind: basic\n  path: /account\n"}, nil, nil},
		{"log-out by GET", plainLogOut(http.MethodGet), []string{"  path: /logout", "  path: /logout\n  kind: get"}, []string{"the log-out at server-", "has no form"}, []string{"logout.looking-is-not-leaving", "logout.forged"}},
		{"log-out by POST", plainLogOut(http.MethodPost), []string{"  path: /logout", "  path: /logout\n  kind: post"}, []string{"the log-out at server-"}, []string{"logout.forged"}},
		{"log-in by JSON, and 401 without a word of it", apiRefusals(http.StatusUnauthorized), []string{"  path: /login", "  kind: json\n  path: /login"}, nil, nil},
		{"log-in by JSON, and 403 without a word of it", apiRefusals(http.StatusForbidden), []string{"  path: /login", "  kind: json\n  path: /login"}, nil, nil},
		{"a log-in that leads on who is in", leadsOn, nil, nil, nil},
		{"a log-out for none but who is in", logOutForMembers, nil, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := openShop(t, func(s *shop) { s.front = tc.front })
			if tc.wrong != nil {
				code, out, _ := command(t, "doctor", s.file(t))
				if code != farmspec.ExitNotReady {
					t.Errorf("with the recipe of a form: exit code %d\n%s", code, out)
				}
				for _, want := range tc.wrong {
					if !strings.Contains(out, want) {
						t.Errorf("nothing says %q in\n%s", want, out)
					}
				}
			}
			path := s.file(t, tc.edits...)
			if code, out, errs := command(t, "doctor", path); code != 0 {
				t.Fatalf("exit code %d\n%s%s", code, out, errs)
			}
			target, err := targetfile.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			report, err := features.Judge(t.Context(), features.Options{Seed: 1, Run: []string{"login.*", "logout.*", "state.*", "common.*", "verify.*", "http.malformed-*", "security.*"}}, target)
			if err != nil {
				t.Fatal(err)
			}
			passed := 0
			for _, r := range report.Results {
				switch fails := slices.Contains(tc.fails, r.Scenario); {
				case r.Verdict == farmspec.Pass && !fails:
					passed++
				case r.Verdict == farmspec.Fail && !fails, r.Verdict != farmspec.Fail && fails, r.Verdict == farmspec.Error, r.Verdict == farmspec.Inconclusive:
					t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
				}
			}
			if passed < 12 {
				t.Errorf("%d scenarios passed; want most", passed)
			}
		})
	}
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]*)"`)

// inner asks a handler for a path with the request's cookies and the given
// ones, as a front does.
func inner(next http.Handler, r *http.Request, method, path string, form url.Values, more ...*http.Cookie) *http.Response {
	q := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range r.Cookies() {
		if len(more) == 0 || c.Name != more[0].Name {
			q.AddCookie(c)
		}
	}
	for _, c := range more {
		q.AddCookie(c)
	}
	a := httptest.NewRecorder()
	next.ServeHTTP(a, q)
	return a.Result()
}

// signIn logs in at a handler by its form.
func signIn(next http.Handler, r *http.Request, user, password string) *http.Response {
	page := inner(next, r, http.MethodGet, "/login", nil)
	body, _ := io.ReadAll(page.Body)
	field := csrfField.FindSubmatch(body)
	if field == nil || len(page.Cookies()) == 0 {
		return page
	}
	return inner(next, r, http.MethodPost, "/login", url.Values{"username": {user}, "password": {password}, "csrf": {string(field[1])}}, page.Cookies()[0])
}

func jsonLogIn(_ int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/login" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodPost {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<!doctype html><title>Log in</title><script src=login.js></script>")
			return
		}
		var in struct{ Username, Password string }
		if r.Header.Get("Content-Type") != "application/json" || json.NewDecoder(io.LimitReader(r.Body, 4096)).Decode(&in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer := signIn(next, r, in.Username, in.Password)
		if answer.StatusCode != http.StatusSeeOther {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header()["Set-Cookie"] = answer.Header["Set-Cookie"]
		_, _ = io.WriteString(w, "{}")
	})
}

func basicLogIn(_ int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); ok {
			answer := signIn(next, r, user, password)
			for _, c := range answer.Cookies() {
				if answer.StatusCode == http.StatusSeeOther && c.Name == "shop" {
					http.SetCookie(w, c)
					page := inner(next, r, http.MethodGet, r.URL.Path, nil, c)
					w.Header().Set("Content-Type", "text/html")
					w.Header().Set("Cache-Control", "no-store")
					_, _ = io.Copy(w, page.Body)
					return
				}
			}
		}
		a := httptest.NewRecorder()
		next.ServeHTTP(a, r)
		to := a.Result().Header.Get("Location")
		if strings.HasPrefix(to, "/login") || r.URL.Path == "/login" {
			w.Header().Set("WWW-Authenticate", `Basic realm="shop"`)
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		for k, v := range a.Result().Header {
			w.Header()[k] = v
		}
		w.WriteHeader(a.Code)
		_, _ = io.Copy(w, a.Body)
	})
}

// plainLogOut logs out by a request of that method alone.
func plainLogOut(method string) func(int, http.Handler) http.Handler {
	return func(_ int, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path != "/logout":
				next.ServeHTTP(w, r)
			case r.Method != method:
				w.WriteHeader(http.StatusMethodNotAllowed)
			default:
				page := inner(next, r, http.MethodGet, "/logout", nil)
				body, _ := io.ReadAll(page.Body)
				answer := inner(next, r, http.MethodPost, "/logout", url.Values{"csrf": {string(csrfField.FindSubmatch(body)[1])}})
				w.Header()["Set-Cookie"] = answer.Header["Set-Cookie"]
				w.Header().Set("Location", "/about")
				w.WriteHeader(http.StatusSeeOther)
			}
		})
	}
}

// apiRefusals is a log-in by JSON that has no page, and in place of a way to
// it a status.
func apiRefusals(status int) func(int, http.Handler) http.Handler {
	return func(member int, next http.Handler) http.Handler {
		byJSON := jsonLogIn(member, next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/login" && r.Method != http.MethodPost {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			a := httptest.NewRecorder()
			byJSON.ServeHTTP(a, r)
			if strings.HasPrefix(a.Header().Get("Location"), "/login") {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Cache-Control", "no-store")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, `{"error":"unauthorized"}`)
				return
			}
			for k, v := range a.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(a.Code)
			_, _ = io.Copy(w, a.Body)
		})
	}
}

func isIn(next http.Handler, r *http.Request) bool {
	return inner(next, r, http.MethodGet, "/account", nil).StatusCode == http.StatusOK
}

// leadsOn shows its log-in to nobody who is logged in, but the front page,
// which shows nothing of her.
func leadsOn(_ int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" && isIn(next, r) {
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, "/about", http.StatusFound)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// logOutForMembers leads to the log-in whoever asks for the log-out and is not in.
func logOutForMembers(_ int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/logout" && !isIn(next, r) {
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		}
		next.ServeHTTP(w, r)
	})
}
