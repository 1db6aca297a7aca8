package main

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/targetfile"
)

// Farms differ in manners that no requirement speaks of; none is a fault.
func TestMannersOfFixedCookieFarms(t *testing.T) {
	for _, tc := range []struct {
		name  string
		plant func(*shop)
		why   string
	}{
		{"strangers get an anonymous session", anonymous, "PHP and Express name it by the same cookie; it opens nothing"},
		{"the log-in form stands in place of the page", inPlace, "form log-in by the Servlet specification answers 200 with it"},
		{"headers have a bound", bounded, "httpd refuses a field of more than 8190 bytes whatever is in it"},
		{"forms are judged by Origin", byOrigin, "ASVS 3.5.1 leaves it to the farm how it knows its own forms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target, err := targetfile.Load(openShop(t, tc.plant).file(t))
			if err != nil {
				t.Fatal(err)
			}
			report, err := features.Judge(t.Context(), features.Options{Seed: 1,
				Run: []string{"hostile.*", "login.*", "logout.*", "http.*"}}, target)
			if err != nil {
				t.Fatal(err)
			}
			passed := 0
			for _, r := range report.Results {
				switch r.Verdict {
				case farmspec.Pass:
					passed++
				case farmspec.Fail, farmspec.Inconclusive, farmspec.Error:
					t.Errorf("%s is %s: %s (%s)", r.Scenario, r.Verdict, r.Reason, tc.why)
				}
			}
			if passed < 10 {
				t.Errorf("%d scenarios passed; want most of them", passed)
			}
		})
	}
}

// A token that a stranger gets and that opens pages is no anonymous session.
func TestTokenForStrangersIsConvicted(t *testing.T) {
	plant := func(s *shop) {
		s.front = func(n int, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.mu.Lock()
				for id := range s.stores[n] { // anybody's
					http.SetCookie(w, &http.Cookie{Name: "shop", Value: id, Path: "/"})
					break
				}
				s.mu.Unlock()
				next.ServeHTTP(w, r)
			})
		}
	}
	target, err := targetfile.Load(openShop(t, plant).file(t))
	if err != nil {
		t.Fatal(err)
	}
	report, err := features.Judge(t.Context(), features.Options{Seed: 1, Run: []string{"hostile.methods"}}, target)
	if err != nil {
		t.Fatal(err)
	}
	if r := report.Results[0]; r.Verdict != farmspec.Fail {
		t.Errorf("%s is %s: %s; want a failure", r.Scenario, r.Verdict, r.Reason)
	}
}

// A log-out is forged at the address its form sends to, wherever the form is.
func TestForgedLogOutAtAnotherAddress(t *testing.T) {
	plant := func(s *shop) {
		s.front = func(n int, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/logout" && r.Method == http.MethodGet:
					w.Header().Set("Content-Type", "text/html")
					_, _ = w.Write([]byte(`<form method="post" action="/bye"><button>Log out</button></form>`))
				case r.URL.Path == "/bye" && r.Method == http.MethodPost:
					if c, err := r.Cookie("shop"); err == nil {
						s.mu.Lock()
						delete(s.stores[n], c.Value)
						s.mu.Unlock()
					}
					http.Redirect(w, r, "/about", http.StatusSeeOther)
				default:
					next.ServeHTTP(w, r)
				}
			})
		}
	}
	target, err := targetfile.Load(openShop(t, plant).file(t))
	if err != nil {
		t.Fatal(err)
	}
	report, err := features.Judge(t.Context(), features.Options{Seed: 1, Run: []string{"logout.forged"}}, target)
	if err != nil {
		t.Fatal(err)
	}
	if r := report.Results[0]; r.Verdict != farmspec.Fail {
		t.Errorf("%s is %s: %s; want a failure", r.Scenario, r.Verdict, r.Reason)
	}
}

// knows reports whether the request's cookie names a session.
func (s *shop) knows(n int, r *http.Request) bool {
	c, err := r.Cookie("shop")
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stores[n][c.Value] != nil
}

func anonymous(s *shop) {
	s.front = func(n int, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !s.knows(n, r) {
				http.SetCookie(w, &http.Cookie{Name: "shop", Value: rand.Text(), Path: "/"})
			}
			next.ServeHTTP(w, r)
		})
	}
}

func inPlace(s *shop) {
	s.front = func(n int, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/account", "/cart", "/wishes":
				if !s.knows(n, r) {
					form := r.Clone(r.Context())
					form.URL = &url.URL{Path: "/login", RawQuery: url.Values{"next": {r.URL.Path}}.Encode()}
					form.Method, form.Body = http.MethodGet, http.NoBody
					r = form
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

func bounded(s *shop) {
	s.front = func(_ int, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(r.Header.Get("Cookie")) > 8190 {
				http.Error(w, "a header is too large", http.StatusBadRequest)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func byOrigin(s *shop) {
	s.front = func(_ int, next http.Handler) http.Handler {
		return http.NewCrossOriginProtection().Handler(next)
	}
}
