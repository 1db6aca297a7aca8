package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/targetfile"
)

func TestDoctorProvesEveryLine(t *testing.T) {
	s := openShop(t, nil)
	path := s.file(t)
	code, out, errs := command(t, "doctor", path)
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	for _, want := range []string{
		"server-1 answers in", "server-2 answers in", "each member has the log-in at /login", "without a token every protected page is refused",
		"user1 logs in at server-1", "2 of 2 protected pages are served", "cookie shop carries the session by itself", "server-2 knows a token from server-1",
		"a page keeps the token", "/cart at server-1 remembers a value", "/wishes at server-2 remembers", "user2 logs in", "/about is shown to anybody",
		"log-out ends the session", "the hook moves the time", path + " describes its farm:",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "odd") || strings.Contains(out, "ill  ") || strings.Contains(out, shopPassword) {
		t.Errorf("an honest farm and a right file have symptoms, or a password is shown:\n%s", out)
	}
}

// Each wrong line is told with its place and remedy, and exit code 3.
func TestDoctorFindsWrongLines(t *testing.T) {
	nobody := unused(t)
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	accounts := ""
	for i := range 5 {
		accounts += fmt.Sprintf("    - {user: user%d, password: env:SHOP_PASSWORD}\n", i)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	s := openShop(t, nil)
	for _, tc := range []struct {
		name, old, new string
		line           string // whose number is told
		want           []string
	}{
		{"another farm's member", "url: " + s.Members[1], "url: " + other.URL, "url: " + other.URL, []string{"/login answers with 404", "server-1 has the log-in there", "a member of the same farm?"}},
		{"member down", "url: " + s.Members[1], "url: " + nobody, "url: " + nobody, []string{"server-2 cannot be reached: the connection is refused", "start the farm"}},
		{"host unknown", "url: " + s.Members[1], "url: http://server-2.invalid:1\ntopology: shared-domain", "url: http://server-2.invalid", []string{"its host name is not known", "resolve"}},
		{"TLS where there is none", "url: http://" + s.Members[1][7:], "url: https://" + s.Members[1][7:], "url: https", []string{"does not speak TLS", "write http://"}},
		{"certificate not trusted", "url: " + s.Members[1], "url: " + tls.URL, "url: " + tls.URL, []string{"authority that is not trusted", "under ca"}},
		{"HTTP where there is TLS", "url: " + s.Members[1], "url: http" + tls.URL[5:], "url: http" + tls.URL[5:], []string{"speaks HTTPS", "write https://"}},
		{"log-in elsewhere", "path: /login", "path: /signin", "path: /signin", []string{"/signin answers with 404", "correct it"}},
		{"no form there", "path: /login", "path: /about", "path: /about", []string{"/about answers with 200 and has no form"}},
		{"user's field", "user: username", "user: usrname", "user: usrname", []string{`no field "usrname"`, "did you mean username?"}},
		{"password's field", "password: password", "password: secret", "password: secret", []string{`no field "secret"`, "its fields are username, password"}},
		{"wrong password", "password: env:SHOP_PASSWORD", "password: text:wrong", "password: text:wrong", []string{"user1 logs in at server-1 and is asked to log in again", "correct the password"}},
		{"more names than users", "  pattern: \"user{n}\"\n  password: env:SHOP_PASSWORD\n", "  list:\n" + accounts + "    - {user: nobody, password: text:wrong}\n", "user: nobody", []string{"nobody logs in at server-1 and is asked to log in again", "accounts.count"}},
		{"unknown users", `pattern: "user{n}"`, `pattern: "guest{n}"`, "password: env:", []string{"guest1 logs in at server-1 and is asked to log in again"}},
		{"cookie's name", "name: shop\n", "name: shp\n", "name: shp", []string{`the browser has no cookie "shp"`, "did you mean shop?"}},
		{"the wrong cookie", "name: shop\ncompanions: [shop-form]", "name: shop-form", "name: shop-form", []string{"a browser with shop-form alone is not served"}},
		{"marker of everybody", "marker: \"Your account, by {member}\"", "marker: \"by server\"", "marker: \"by server\"", []string{"without a token, leads to the log-in, which shows the marker too"}},
		{"page of everybody", "path: /account\n    marker: \"Your account, by {member}\"", "path: /about\n    marker: \"About the shop\"", "marker: \"About the shop", []string{"shows its marker without a token", "signed-in"}},
		{"marker of nobody", "marker: \"Your account, by {member}\"", "marker: \"My account\"", "marker: \"My account\"", []string{`shows the right user and not the marker "My account"`}},
		{"JSON elsewhere", "path: /login\n", "path: /log-in\n  kind: json\n", "path: /log-in", []string{"/log-in is answered with 404", "login.kind"}},
		{"page elsewhere", "path: /account", "path: /home", "path: /home", []string{"/home at server-1 answers with 404"}},
		{"echo", "Signed in as {user}", "Hello {user}", "echo:", []string{`does not show "Hello user1"`}},
		{"application's field", "field: item", "field: itm", "field: itm", []string{`has no form with the field "itm"`}},
		{"application's marker", "marker: \"Your cart\"", "marker: \"Basket\"", "marker: \"Basket\"", []string{`/cart at server-1, logged in, is refused`}},
		{"open page", "path: /about", "path: /account", "marker: \"About the shop", []string{"/account answers with 200 and without the marker"}},
		{"log-out elsewhere", "path: /logout", "path: /bye", "path: /bye", []string{"the log-out at server-", "cannot be made"}},
		{"a log-out that is none", "path: /logout", "path: /cart", "logout:", []string{", answered with 200, the same browser is still served"}},
		{"rotation that is none", "limits:", "rotation: {policy: strict}\nlimits:", "rotation:", []string{"did not change the value of shop"}},
		{"clock's command", "advance: POST " + s.Control, "advance: POST " + nobody, "advance: POST", []string{"advance the clock: post to 127.0.0.1:"}},
		{"clock that stands", "advance: POST " + s.Control + "/advance?seconds={seconds}", "advance: true {seconds}", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := s.file(t, tc.old, tc.new)
			code, out, errs := command(t, "doctor", path)
			if tc.want == nil { // odd only
				if code != 0 || !strings.Contains(out, "odd  "+path) {
					t.Errorf("exit code %d, want 0 and something odd\n%s%s", code, out, errs)
				}
				return
			}
			if code != farmspec.ExitNotReady {
				t.Errorf("exit code %d, want %d\n%s%s", code, farmspec.ExitNotReady, out, errs)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			before, _, found := strings.Cut(string(text), tc.line)
			if !found {
				t.Fatalf("no line %q", tc.line)
			}
			place := path + ":" + strconv.Itoa(strings.Count(before, "\n")+1) + ": "
			var ill string
			for line := range strings.Lines(out) {
				if strings.HasPrefix(line, "ill  "+place) {
					ill += line
				}
			}
			for _, want := range tc.want {
				if !strings.Contains(ill, want) {
					t.Errorf("no %q at %s\n%s", want, place, out)
				}
			}
			if strings.Contains(out+errs, shopPassword) {
				t.Error("a password is shown")
			}
		})
	}
}

// A marker that changes from visit to visit is one line to mend, and nothing
// is said of what builds on it.
func TestDoctorSeesCounters(t *testing.T) {
	var visits atomic.Int64
	s := openShop(t, func(s *shop) {
		s.front = func(_ int, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if next.ServeHTTP(w, r); r.URL.Path == "/account" && isIn(next, r) {
					fmt.Fprintf(w, "<p>Visit %d</p>", visits.Add(1))
				}
			})
		}
	})
	path := s.file(t, `marker: "Your account, by {member}"`, `marker: "Visit 2<"`)
	code, out, errs := command(t, "doctor", path)
	if code != farmspec.ExitNotReady || strings.Count(out, "\nill ") != 1 || !strings.Contains(out, `showed the marker "Visit 2<" once and does not again; choose a text that stays`) {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// An application's page that does not say whose it is, as other pages do, is
// told as such.
func TestDoctorSeesPagesWithoutEcho(t *testing.T) {
	s := openShop(t, func(s *shop) {
		s.front = func(_ int, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a := httptest.NewRecorder()
				next.ServeHTTP(a, r)
				body := a.Body.String()
				if r.URL.Path == "/cart" {
					body = strings.Replace(body, "Signed in as", "Cart of", 1)
				}
				for k, v := range a.Header() {
					w.Header()[k] = v
				}
				w.WriteHeader(a.Code)
				_, _ = io.WriteString(w, body)
			})
		}
	})
	path := s.file(t)
	_, out, errs := command(t, "doctor", path)
	if !strings.Contains(out, `/cart at server-1 has its marker, and does not show "Signed in as user1"`) {
		t.Errorf("nothing says so\n%s%s", out, errs)
	}
}

// A session of two cookies needs both: the doctor tells of the second, and
// with it a thief's copy is a whole one.
func TestCompanions(t *testing.T) {
	s := openShop(t, func(s *shop) {
		s.cookieOnlyLogOut = true
		s.front = paired
	})
	code, out, _ := command(t, "doctor", s.file(t))
	if code != farmspec.ExitNotReady || !strings.Contains(out, "a browser with shop and shop-form alone is not served") || !strings.Contains(out, "the farm sets shop-pair") {
		t.Errorf("exit code %d without the companion\n%s", code, out)
	}
	path := s.file(t, "companions: [shop-form]", "companions: [shop-form, shop-pair]")
	if code, out, errs := command(t, "doctor", path); code != 0 {
		t.Errorf("exit code %d with the companion\n%s%s", code, out, errs)
	}
	wantVerdict(t, path, "logout.copies-refused", farmspec.Fail)
}

// paired is a front that gives each session a second cookie and serves
// nothing protected without it.
func paired(_ int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := r.Cookie("shop")
		pair, errPair := r.Cookie("shop-pair")
		if err == nil && (errPair != nil || pair.Value != "of-"+id.Value) {
			r.Header.Del("Cookie")
		}
		next.ServeHTTP(pairing{w}, r)
	})
}

type pairing struct{ http.ResponseWriter }

func (p pairing) WriteHeader(status int) {
	for _, c := range (&http.Response{Header: p.Header()}).Cookies() {
		if c.Name == "shop" {
			http.SetCookie(p, &http.Cookie{Name: "shop-pair", Value: "of-" + c.Value, Path: "/", MaxAge: c.MaxAge})
		}
	}
	p.ResponseWriter.WriteHeader(status)
}

// A copied cookie goes where the farm's own goes, over plain HTTP and on a
// path too: a copy that is never sent would be refused by any farm.
func TestCopiesReachTheFarm(t *testing.T) {
	s := openShop(t, func(s *shop) { s.cookieOnlyLogOut = true })
	host := strings.NewReplacer("http://127.0.0.1", "http://shop.example")
	path := s.file(t, "members:\n  - name: server-1\n    url: "+s.Members[0]+"\n  - name: server-2\n    url: "+s.Members[1]+"\n",
		"resolve: {shop.example: 127.0.0.1}\nmembers:\n  - name: server-1\n    url: "+host.Replace(s.Members[0])+"\n  - name: server-2\n    url: "+host.Replace(s.Members[1])+"\n")
	if code, out, errs := command(t, "doctor", path); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	wantVerdict(t, path, "logout.copies-refused", farmspec.Fail)
	wantVerdict(t, path, "login.fresh-token", farmspec.Pass)
}

// wantVerdict runs one scenario on the farm of a target file.
func wantVerdict(t *testing.T, path, scenario string, want farmspec.Verdict) {
	t.Helper()
	target, err := targetfile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	report, err := features.Judge(t.Context(), features.Options{Seed: 1, Run: []string{scenario}}, target)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Verdict != want {
			t.Errorf("%s is %s: %s; want %s", r.Scenario, r.Verdict, r.Reason, want)
		}
	}
}

// A farm of five accounts is judged by all scenarios but the one that needs a
// crowd; accounts go from one scenario to the next.
func TestFewAccounts(t *testing.T) {
	path := openShop(t, nil).file(t, "password: env:SHOP_PASSWORD", "password: env:SHOP_PASSWORD\n  count: 5")
	target, err := targetfile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	report, err := features.Judge(t.Context(), features.Options{Seed: 1}, target)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		switch r.Verdict {
		case farmspec.Fail, farmspec.Error, farmspec.Inconclusive:
			t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
		case farmspec.Unobservable:
			if strings.Contains(r.Reason, "accounts") && r.Scenario != "state.many-browsers" {
				t.Errorf("%s: %s", r.Scenario, r.Reason)
			}
		}
	}
}

// What a farm does wrong is not the file's fault: the doctor tells of it and
// leaves the verdict to the scenarios.
func TestDoctorLeavesVerdictsToTheJudge(t *testing.T) {
	for name, plant := range map[string]func(*shop){
		"a copy of its token is still served":          func(s *shop) { s.cookieOnlyLogOut = true },
		"server-2 does not know a token from server-1": func(s *shop) { s.apart = true },
	} {
		code, out, errs := command(t, "doctor", openShop(t, plant).file(t))
		if code != 0 || !strings.Contains(out, name) {
			t.Errorf("exit code %d, want 0 and %q\n%s%s", code, name, out, errs)
		}
	}
}

func TestDoctorOfAFaultyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.yaml")
	if err := os.WriteFile(path, []byte("produkt: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"doctor", "run"} {
		code, out, errs := command(t, sub, path)
		if code != farmspec.ExitUsage || out != "" || !strings.Contains(errs, path+`:1: unknown field "produkt"; did you mean product?`) {
			t.Errorf("%s: exit code %d\n%s%s", sub, code, out, errs)
		}
	}
}
