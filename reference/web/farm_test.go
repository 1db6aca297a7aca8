package web_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/web"
)

// wire carries requests to handlers by host name, without sockets.
type wire struct {
	mu    sync.Mutex
	hosts map[string]http.Handler
}

var errDown = errors.New("connection refused")

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	h := w.hosts[r.URL.Host]
	w.mu.Unlock()
	if h == nil {
		return nil, errDown
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.Host = r.URL.RequestURI(), r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, in)
	return rec.Result(), nil
}

func (w *wire) set(host string, h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[host] = h
}

const (
	serviceHost = "service.localhost"
	adminSecret = "secret of the administrator"
)

// shape is a combination of the farm's options.
type shape struct {
	topology web.Topology
	handoff  web.Handoff
	rotation reference.Rotation
	replay   reference.Replay
}

func (s shape) String() string {
	return fmt.Sprintf("%s,%s,%s,%s", s.topology, s.handoff, s.rotation, s.replay)
}

var (
	topologies = []web.Topology{web.SingleHost, web.SharedDomain, web.SplitDomain}
	handoffs   = []web.Handoff{web.Sealed, web.Claimed, web.Direct}
)

// farm is three members and a session service on one wire.
type farm struct {
	t       testing.TB
	shape   shape
	wire    *wire
	svc     *reference.Service
	api     http.Handler
	codec   *reference.Codec
	dir     web.Directory
	farm    web.Farm
	servers map[string]*web.Server

	mu     sync.Mutex
	offset time.Duration
	events []reference.Event
	points map[string]func()
}

func (f *farm) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Add(f.offset)
}

func (f *farm) advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offset += d
}

func (f *farm) Event(_ context.Context, e reference.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
}

// Point calls what the test planted there, once.
func (f *farm) Point(_ context.Context, name string) {
	f.mu.Lock()
	do := f.points[name]
	delete(f.points, name)
	f.mu.Unlock()
	if do != nil {
		do()
	}
}

func (f *farm) at(point string, do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.points[point] = do
}

const idle = 10 * time.Minute

func newFarm(t testing.TB, s shape, change ...func(*web.ServerConfig)) *farm {
	t.Helper()
	return newFarmAt(t, "8080", s, change...)
}

func newFarmAt(t testing.TB, port string, s shape, change ...func(*web.ServerConfig)) *farm {
	t.Helper()
	f := &farm{t: t, shape: s, wire: &wire{hosts: make(map[string]http.Handler)}, servers: make(map[string]*web.Server), points: make(map[string]func())}
	users := &reference.Users{Iterations: 1}
	for _, name := range []string{"ada", "bob"} {
		if err := users.Add(name, name+"'s password"); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	f.svc, err = reference.NewService(reference.Options{Store: memstore.Open(), Now: f.now, Rotation: s.rotation, Replay: s.replay,
		Limits: reference.Limits{Idle: idle}, Users: users})
	if err != nil {
		t.Fatal(err)
	}
	key, err := reference.NewKey(1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f.codec = reference.NewCodec(reference.NewKeyRing(key), rand.Reader)
	var members []web.Member
	secrets := make(map[string]string)
	for i := 1; i <= 3; i++ {
		m := web.Member{Name: fmt.Sprintf("server-%d", i)}
		switch s.topology {
		case web.SingleHost:
			m.URL = fmt.Sprintf("http://farm.localhost:%s/%d", port, i)
		case web.SplitDomain:
			m.URL = fmt.Sprintf("http://server-%d.localhost:%s", i, port)
		default:
			m.URL = fmt.Sprintf("http://s%d.farm.localhost:%s", i, port)
		}
		members = append(members, m)
		secrets[m.Name] = "secret of " + m.Name
	}
	if f.dir, err = web.NewDirectory(members...); err != nil {
		t.Fatal(err)
	}
	f.api = web.NewAPI(f.svc, web.APIOptions{Credentials: secrets, AdminSecret: adminSecret})
	f.wire.set(serviceHost, f.api)
	f.farm = web.Farm{Directory: f.dir, Topology: s.topology, Domain: "farm.localhost", Handoff: s.handoff, Rotation: s.rotation}
	for _, m := range members {
		c := web.ServerConfig{
			Name: m.Name, Farm: f.farm, Sealer: f.codec, Observer: f, Now: f.now,
			Sessions:    web.NewClient(web.ClientOptions{URL: "http://" + serviceHost, Member: m.Name, Secret: secrets[m.Name], Transport: f.wire, Observer: f}),
			Peers:       web.Peers{Secret: secrets[m.Name], Credentials: secrets, Transport: f.wire},
			Admin:       web.NewAdminClient(web.ClientOptions{URL: "http://" + serviceHost, Secret: adminSecret, Transport: f.wire}),
			AdminSecret: adminSecret,
		}
		for _, do := range change {
			do(&c)
		}
		srv, err := web.NewServer(c)
		if err != nil {
			t.Fatal(err)
		}
		f.servers[m.Name] = srv
		u, _ := url.Parse(m.URL)
		f.wire.set(u.Host, srv)
	}
	if s.topology == web.SingleHost {
		f.wire.set("farm.localhost:"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if srv := f.servers["server-"+strings.SplitN(r.URL.Path, "/", 3)[1]]; srv != nil {
				srv.ServeHTTP(w, r)
				return
			}
			http.NotFound(w, r)
		}))
	}
	return f
}

// url is where member i is asked for the path.
func (f *farm) url(i int, path string) string { return f.dir.Members()[i-1].URL + path }

// browser keeps cookies as browsers do, by host or domain, and sends what a
// navigation sends.
type browser struct {
	f       *farm
	cookies map[string]map[string]string // by host, or "."+domain
	header  http.Header
}

func (f *farm) browser() *browser {
	return &browser{f: f, cookies: make(map[string]map[string]string), header: http.Header{"Accept": {"text/html,*/*"}}}
}

// answer is one response, with its body read.
type answer struct {
	*http.Response
	url  string
	body string
}

func (a *answer) token(f *farm) string {
	for _, c := range a.Cookies() {
		if c.Name == f.farm.CookieName() {
			return c.Value
		}
	}
	return ""
}

func scopes(host string) []string {
	all := []string{host}
	for h := host; strings.Contains(h, "."); _, h, _ = strings.Cut(h, ".") {
		all = append(all, "."+h)
	}
	return all
}

// ask makes one exchange.
func (b *browser) ask(method, to, body string) *answer {
	b.f.t.Helper()
	r, err := http.NewRequest(method, to, strings.NewReader(body))
	if err != nil {
		b.f.t.Fatal(err)
	}
	maps.Copy(r.Header, b.header)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	host := r.URL.Hostname()
	var cookies []string
	for _, scope := range scopes(host) {
		for _, name := range slices.Sorted(maps.Keys(b.cookies[scope])) {
			cookies = append(cookies, name+"="+b.cookies[scope][name])
		}
	}
	if len(cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	resp, err := b.f.wire.RoundTrip(r)
	if err != nil {
		b.f.t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		b.f.t.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		scope := host
		if c.Domain != "" {
			scope = "." + c.Domain
		}
		if !c.Secure || !c.HttpOnly || c.SameSite == 0 || c.Path != "/" || strings.HasPrefix(c.Name, "__Host-") && c.Domain != "" {
			b.f.t.Errorf("cookie %s has weak attributes: %s", c.Name, c)
		}
		if b.cookies[scope] == nil {
			b.cookies[scope] = make(map[string]string)
		}
		if c.MaxAge < 0 {
			delete(b.cookies[scope], c.Name)
		} else {
			b.cookies[scope][c.Name] = c.Value
		}
	}
	return &answer{resp, to, string(got)}
}

// click follows redirects and returns every answer on the way.
func (b *browser) click(method, to, body string) []*answer {
	b.f.t.Helper()
	var way []*answer
	for range 8 {
		a := b.ask(method, to, body)
		way = append(way, a)
		if a.StatusCode/100 != 3 || a.StatusCode == http.StatusNotModified {
			return way
		}
		if a.StatusCode == http.StatusSeeOther {
			method, body = http.MethodGet, ""
		}
		next, err := a.Request().Parse(a.Header.Get("Location"))
		if err != nil {
			b.f.t.Fatal(err)
		}
		to = next.String()
	}
	b.f.t.Fatalf("redirected without end: %s", to)
	return nil
}

func (a *answer) Request() *url.URL {
	u, _ := url.Parse(a.url)
	return u
}

// visit opens a page as a navigation and returns where that ended.
func (b *browser) visit(to string) *answer {
	b.f.t.Helper()
	way := b.click(http.MethodGet, to, "")
	return way[len(way)-1]
}

var hidden = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

func csrf(a *answer) string {
	if m := hidden.FindStringSubmatch(a.body); m != nil {
		return m[1]
	}
	return ""
}

// signIn logs in at member i and returns where that led.
func (b *browser) signIn(i int, user, next string) *answer {
	b.f.t.Helper()
	form := b.ask(http.MethodGet, b.f.url(i, "/login?next="+url.QueryEscape(next)), "")
	way := b.click(http.MethodPost, b.f.url(i, "/login"), url.Values{"user": {user}, "password": {user + "'s password"},
		"csrf": {csrf(form)}, "next": {next}}.Encode())
	return way[len(way)-1]
}

func (f *farm) signedIn(user string) *browser {
	f.t.Helper()
	b := f.browser()
	if a := b.signIn(1, user, "/whoami"); !shows(a, "/whoami", user) {
		f.t.Fatalf("log in as %s led to %d: %s", user, a.StatusCode, a.body)
	}
	return b
}

// token is the cookie the browser would show member i.
func (b *browser) token(i int) string {
	u, _ := url.Parse(b.f.url(i, "/"))
	for _, scope := range scopes(u.Hostname()) {
		if v := b.cookies[scope][b.f.farm.CookieName()]; v != "" {
			return v
		}
	}
	return ""
}

// hold makes the browser hold that token for member i.
func (b *browser) hold(i int, sealed string) {
	u, _ := url.Parse(b.f.url(i, "/"))
	scope := u.Hostname()
	if b.f.shape.topology == web.SharedDomain {
		scope = ".farm.localhost"
	}
	if b.cookies[scope] == nil {
		b.cookies[scope] = make(map[string]string)
	}
	b.cookies[scope][b.f.farm.CookieName()] = sealed
}

// shows reports whether the answer is the protected page, for that user.
func shows(a *answer, path, user string) bool {
	return a.StatusCode == http.StatusOK && strings.Contains(a.body, "farm-page:"+path) &&
		strings.Contains(a.body, "Signed in as "+user)
}

// refused reports whether the answer is a refusal: log-in page or 401.
func refused(a *answer) bool {
	return a.StatusCode == http.StatusUnauthorized ||
		a.StatusCode == http.StatusSeeOther && strings.Contains(a.Header.Get("Location"), "/login?") ||
		a.StatusCode == http.StatusOK && strings.Contains(a.body, "farm-page:/login")
}
