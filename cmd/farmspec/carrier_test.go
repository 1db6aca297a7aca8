package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/targetfile"
)

// A farm that writes its session into addresses is judged like one with a
// cookie, and log-out that only forgets it is convicted there too. That it does
// so is what ASVS 14.2.1 forbids, and no other of its scenarios fails.
func TestSessionsInAddresses(t *testing.T) {
	for _, kind := range []string{"path", "query"} {
		t.Run(kind, func(t *testing.T) {
			carrier := farmspec.Carrier{Kind: kind, Name: "shop"}
			plant := func(s *shop) {
				s.front = func(_ int, next http.Handler) http.Handler { return inAddresses(carrier, next) }
			}
			path := openShop(t, plant).file(t, "  name: shop", "  name: shop\n  kind: "+kind)
			if code, out, errs := command(t, "doctor", path); code != 0 {
				t.Fatalf("exit code %d\n%s%s", code, out, errs)
			}
			target, err := targetfile.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			report, err := features.Judge(t.Context(), features.Options{Seed: 1}, target)
			if err != nil {
				t.Fatal(err)
			}
			passed := 0
			for _, r := range report.Results {
				switch forbidden := slices.Contains(r.Requirements, "ASVS-14.2.1"); {
				case forbidden && r.Verdict != farmspec.Fail:
					t.Errorf("%s is %s: want fail, for the session is in addresses", r.Scenario, r.Verdict)
				case forbidden:
				case r.Verdict == farmspec.Pass:
					passed++
				case r.Verdict == farmspec.Fail, r.Verdict == farmspec.Error, r.Verdict == farmspec.Inconclusive:
					t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
				}
				for _, x := range r.Exchanges {
					if leaked.MatchString(x.URL) {
						t.Errorf("%s shows a token in %s", r.Scenario, x.URL)
					}
				}
			}
			if passed < 50 {
				t.Errorf("%d scenarios passed; want most of what is asked of such farms", passed)
			}
			faulty := openShop(t, func(s *shop) { plant(s); s.cookieOnlyLogOut = true }).file(t, "  name: shop", "  name: shop\n  kind: "+kind)
			wantVerdict(t, faulty, "logout.copies-refused", farmspec.Fail)
		})
	}
}

// leaked matches the shop's session IDs: 26 letters and digits.
var leaked = regexp.MustCompile(`shop=[A-Z2-7]{26}`)

var actions = regexp.MustCompile(`(action=")([^"]*)(")`)

// inAddresses turns the session's cookie into a part of addresses, both ways.
func inAddresses(c farmspec.Carrier, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var kept []string
		for _, k := range r.Cookies() {
			if k.Name != c.Name {
				kept = append(kept, k.String())
			}
		}
		id := c.In(r.URL)
		if id != "" {
			kept = append(kept, c.Name+"="+id)
		}
		r.Header.Set("Cookie", strings.Join(kept, "; "))
		r.URL.Path, _, _ = strings.Cut(r.URL.Path, ";")
		r.URL.RawPath = ""
		a := httptest.NewRecorder()
		next.ServeHTTP(a, r)
		answer := a.Result()
		var cookies []string
		for _, k := range answer.Cookies() {
			if k.Name != c.Name {
				cookies = append(cookies, k.Raw)
			} else {
				id = k.Value
			}
		}
		for k, v := range answer.Header {
			w.Header()[k] = v
		}
		w.Header()["Set-Cookie"] = cookies
		with := func(address string) string {
			if id == "" {
				return address
			}
			path, query, _ := strings.Cut(address, "?")
			if c.Kind == "path" {
				path += ";" + c.Name + "=" + id
			} else {
				query = strings.TrimPrefix(query+"&"+c.Name+"="+id, "&")
			}
			if query != "" {
				path += "?" + query
			}
			return path
		}
		if to := w.Header().Get("Location"); to != "" {
			w.Header().Set("Location", with(to))
		}
		body := actions.ReplaceAllFunc(a.Body.Bytes(), func(m []byte) []byte {
			p := actions.FindSubmatch(m)
			return bytes.Join([][]byte{p[1], []byte(strings.ReplaceAll(with(string(p[2])), "&", "&amp;")), p[3]}, nil)
		})
		w.Header().Del("Content-Length")
		w.WriteHeader(a.Code)
		_, _ = w.Write(body)
	})
}
