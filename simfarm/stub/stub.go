// Package stub opens farms that do nothing: servers that answer every request
// alike. They share the reference farm's description and none of its
// behaviour, so a judge that gives one of them a pass for a MUST has been
// fooled.
package stub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
)

// Kind names a way of doing nothing.
type Kind string

// The kinds.
const (
	// DenyAll answers 401 to everything.
	DenyAll Kind = "deny-all"
	// AcceptAll answers 200 with every marker of the farm, every name that
	// ever logged in, every value ever sent, every form and a new cookie.
	AcceptAll Kind = "accept-all"
	// NotFound answers 404 to everything.
	NotFound Kind = "404-all"
	// HangUp closes every connection without an answer.
	HangUp Kind = "hang-up"
	// LoginPage answers 200 with the log-in form to everything.
	LoginPage Kind = "login-page-with-200"
)

// Kinds lists every kind.
func Kinds() []Kind { return []Kind{DenyAll, AcceptAll, NotFound, HangUp, LoginPage} }

// Open starts a farm of three servers of that kind on loopback, described as
// the reference farm is and offering no hook but accounts. The returned
// function stops it and waits for its requests.
func Open(ctx context.Context, kind Kind) (*farmspec.Target, func() error, error) {
	if !slices.Contains(Kinds(), kind) {
		return nil, nil, fmt.Errorf("open stub farm: no kind %q; there are %v", kind, Kinds())
	}
	var listeners []net.Listener
	var ports []string
	for i := range 3 {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return nil, nil, fmt.Errorf("open stub farm: listen for server %d: %w", i+1, err)
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		listeners, ports = append(listeners, ln), append(ports, port)
	}
	t := describe(kind, ports)

	srv := &http.Server{
		Handler:           handler(kind, t),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	var serving sync.WaitGroup
	for _, ln := range listeners {
		serving.Go(func() { _ = srv.Serve(ln) })
	}
	return t, func() error {
		err := srv.Close()
		for _, ln := range listeners { // those that Serve had not taken yet
			_ = ln.Close()
		}
		serving.Wait()
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("close stub farm: %w", err)
		}
		return nil
	}, nil
}

// domain is the members' common domain, and the cookie's.
const domain = "farm.localhost"

// describe promises what the reference farm promises by default.
func describe(kind Kind, ports []string) *farmspec.Target {
	t := &farmspec.Target{
		Name: "stub/" + string(kind), Product: "farmspec stub farm", Version: "devel",
		Topology: farmspec.SharedDomain, Handoff: farmspec.Sealed, Rotation: farmspec.Strict, Replay: farmspec.Reject,
		Resolve:       make(map[string]string),
		Carrier:       farmspec.Carrier{Kind: "cookie", Name: "__Secure-farm"},
		HandoffParams: farmspec.HandoffParams{Sealed: "handoff"},
		Login:         farmspec.LoginRecipe{Path: "/login", UserField: "user", PassField: "password"},
		Logout:        farmspec.LogoutRecipe{Path: "/logout"},
		Open:          &farmspec.Page{Member: "server-1", Kind: farmspec.HTML, Path: "/about", Marker: "farm-page:/about"},
		UserEcho:      "Signed in as {user}",
		Limits:        farmspec.Limits{Idle: 30 * time.Minute, Absolute: 12 * time.Hour},
		Hooks:         farmspec.Hooks{Accounts: new(accounts)},
	}
	for i, port := range ports {
		name := fmt.Sprintf("server-%d", i+1)
		host := name + "." + domain
		t.Members = append(t.Members, farmspec.Member{Name: name, URL: "http://" + host + ":" + port})
		t.Resolve[host] = "127.0.0.1"
		page := func(kind farmspec.Kind, file string) farmspec.Page {
			path := "/" + name + "/" + file
			return farmspec.Page{Member: name, Kind: kind, Path: path, Marker: "farm-page:" + path, Echo: kind != farmspec.Applet}
		}
		t.Pages = append(t.Pages, page(farmspec.HTML, "welcome.html"), page(farmspec.JSP, "report.jsp"),
			page(farmspec.ASP, "orders.asp"), page(farmspec.HTML, "chart.html"), page(farmspec.Applet, "chart.jar"))
		for app, field := range map[string]string{"cart": "item", "counter": "word"} {
			p := page(farmspec.HTML, app)
			t.Apps = append(t.Apps, farmspec.App{Name: name + "/" + app, Member: name, Path: p.Path, Marker: p.Marker,
				Field: field, EndPath: p.Path + "/end", Idle: 20 * time.Minute})
		}
		if i == 1 {
			slow := page(farmspec.HTML, "slow.html")
			t.Slow = &slow
		}
	}
	slices.SortFunc(t.Apps, func(a, b farmspec.App) int { return strings.Compare(a.Name, b.Name) })
	return t
}

func handler(kind Kind, t *farmspec.Target) http.Handler {
	switch kind {
	case DenyAll:
		return answer(http.StatusUnauthorized, "Unauthorized")
	case NotFound:
		return answer(http.StatusNotFound, "Not found")
	case LoginPage:
		return answer(http.StatusOK, page(loginForm(t)))
	case AcceptAll:
		return &acceptAll{t: t}
	default:
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}
}

func answer(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func page(body string) string {
	return "<!doctype html><title>Farm</title><body>" + body + "</body>"
}

func loginForm(t *farmspec.Target) string {
	return fmt.Sprintf(`<form method="post" action=%q><input name=%q><input type="password" name=%q><button>Log in</button></form>`,
		t.Login.Path, t.Login.UserField, t.Login.PassField)
}

// maxHeard bounds what an accept-all farm remembers.
const maxHeard = 4096

// acceptAll says yes to everything. It repeats whatever it ever heard, so
// that any content a check looks for is there.
type acceptAll struct {
	t *farmspec.Target

	mu    sync.Mutex
	heard []string
	known map[string]bool
}

func (a *acceptAll) hear(values ...string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil {
		a.known = make(map[string]bool)
	}
	for _, v := range values {
		if v != "" && len(v) < 256 && !a.known[v] && len(a.heard) < maxHeard {
			a.known[v] = true
			a.heard = append(a.heard, v)
		}
	}
	return slices.Clone(a.heard)
}

func (a *acceptAll) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	_ = r.ParseForm() // what cannot be parsed is not repeated
	var sent []string
	for _, values := range r.Form {
		sent = append(sent, values...)
	}
	t := a.t
	var b strings.Builder
	for _, p := range t.Pages {
		b.WriteString("<p>" + p.Marker + "</p>\n")
	}
	for _, p := range []*farmspec.Page{t.Slow, t.Open} {
		if p != nil {
			b.WriteString("<p>" + p.Marker + "</p>\n")
		}
	}
	forms := loginForm(t)
	form := `<form method="post" action=%q><input name=%q><button>Go</button></form>`
	for _, app := range t.Apps {
		b.WriteString("<p>" + app.Marker + "</p>\n")
		forms += fmt.Sprintf(form, app.Path, app.Field) + fmt.Sprintf(form, app.EndPath, "end")
	}
	forms += fmt.Sprintf(form, t.Logout.Path, "out")
	for _, v := range a.hear(sent...) {
		v = html.EscapeString(v)
		b.WriteString("<p>" + t.Echo(v) + "</p><p>" + v + "</p>\n")
	}
	http.SetCookie(w, &http.Cookie{ // looks like a token, and like a new one each time
		Name: t.Carrier.Name, Value: rand.Text() + rand.Text(), Path: "/",
		Domain: domain, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, page(forms+b.String()))
}

// accounts hands out names; a farm that checks nothing knows everybody.
type accounts struct{ n atomic.Int64 }

func (a *accounts) New(_ context.Context, hint string) (farmspec.User, error) {
	if hint == "" {
		hint = "user"
	}
	return farmspec.User{Name: fmt.Sprintf("%s-%d", strings.ToLower(hint), a.n.Add(1)), Password: rand.Text()}, nil
}
