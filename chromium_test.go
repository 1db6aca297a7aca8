package farmspec

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// driver is a browser that the comparison can drive: ours or Chromium.
type driver interface {
	open(address string) error
	click(address string) error
	submit() error
	// stored lists the cookies of the store, sorted.
	stored() ([]string, error)
	clear() error
}

// world is two servers, http and https, that answer to every name and note
// what they are asked. What they do is in the query, so that both browsers
// walk the same paths:
//
//	/set?c=LINE&c=…         sets cookies
//	/go?code=302&to=URL     redirects; policy=… adds a Referrer-Policy, c=… cookies
//	/link?to=URL            has a link; attr=… are its attributes
//	/form?to=URL&method=…   has a form
//	/page?img=URL&script=…  asks for resources
//
// Nothing may be stored unless cc=… is another Cache-Control, or "none".
type world struct {
	plain, secure *httptest.Server
	mu            sync.Mutex
	seen          []string
}

func newWorld(t *testing.T) *world {
	w := new(world)
	w.plain = httptest.NewServer(w)
	t.Cleanup(w.plain.Close)
	w.secure = httptest.NewTLSServer(w)
	t.Cleanup(w.secure.Close)
	return w
}

// at is the address of a path at a place: A and B are two servers of one
// site on http localhost names, X another site of this kind, P one without
// the privilege of localhost; S before it means https.
func (w *world) at(place, path string) string {
	scheme, server := "http", w.plain
	if rest, ok := strings.CutPrefix(place, "S"); ok {
		scheme, server, place = "https", w.secure, rest
	}
	host := map[string]string{"A": "s1.farm.localhost", "B": "s2.farm.localhost", "X": "other.localhost", "P": "www.plain.test", "Q": "api.plain.test", "L": "localhost"}[place]
	u, _ := url.Parse(server.URL)
	return scheme + "://" + host + ":" + u.Port() + path
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/favicon.ico" {
		return
	}
	line := r.Method + " " + map[bool]string{false: "http", true: "https"}[r.TLS != nil] + "://" + r.Host + r.URL.RequestURI()
	for _, name := range []string{"Cookie", "Referer", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User", "Upgrade-Insecure-Requests", "Content-Type"} {
		if v := r.Header.Values(name); len(v) > 0 {
			line += "\n\t" + name + ": " + strings.Join(v, " | ")
		}
	}
	w.mu.Lock()
	w.seen = append(w.seen, line)
	w.mu.Unlock()

	q := r.URL.Query()
	if cc := q.Get("cc"); cc != "none" {
		rw.Header().Set("Cache-Control", or(cc, "no-store"))
	}
	if p := q.Get("policy"); p != "" {
		rw.Header().Set("Referrer-Policy", p)
	}
	for _, c := range q["c"] {
		rw.Header().Add("Set-Cookie", c)
	}
	if r.URL.Path == "/go" {
		rw.Header().Set("Location", q.Get("to"))
		var code int
		fmt.Sscan(q.Get("code"), &code)
		rw.WriteHeader(code)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(rw, `<!doctype html><link rel=icon href="data:,">`)
	if m := q.Get("meta"); m != "" {
		fmt.Fprintf(rw, `<meta name=referrer content="%s">`, m)
	}
	to := strings.ReplaceAll(q.Get("to"), "&", "&amp;")
	switch r.URL.Path {
	case "/link":
		fmt.Fprintf(rw, `<a id=go href="%s" %s>go</a>`, to, q.Get("attr"))
	case "/form":
		fmt.Fprintf(rw, `<form method="%s" action="%s"><input type=hidden name=csrf value="a b&amp;c*~é"><input type=checkbox name=box><textarea name=t>
one
two</textarea><button id=go name=b value=1>go</button></form>`, q.Get("method"), to)
	case "/page":
		for tag, format := range map[string]string{
			"img": `<img src="%s">`, "script": `<script src="%s"></script>`, "css": `<link rel=stylesheet href="%s">`,
			"iframe": `<iframe src="%s"></iframe>`, "object": `<object data="%s"></object>`, "embed": `<embed src="%s">`,
			"anon": `<img crossorigin src="%s">`, "module": `<script type=module src="%s"></script>`,
			"imgno": `<img referrerpolicy=no-referrer src="%s">`,
		} {
			for _, ref := range q[tag] {
				fmt.Fprintf(rw, format, strings.ReplaceAll(ref, "&", "&amp;"))
			}
		}
	}
}

// fromPage matches what a page asked for, told by destination or path.
var fromPage = regexp.MustCompile(`Sec-Fetch-Dest: |^GET https?://[^/]+/sub`)

// take returns what was asked since the last call; what a page asked for
// itself is sorted, for it comes in any order.
func (w *world) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	first := slices.IndexFunc(seen, func(s string) bool {
		return fromPage.MatchString(s) && !strings.Contains(s, "Sec-Fetch-Dest: document")
	})
	if first >= 0 {
		slices.Sort(seen[first:])
	}
	return seen
}

// ours drives our browser.
type ours struct {
	ctx  context.Context
	b    *Browser
	last *Visit
}

func (o *ours) keep(v *Visit, err error) error {
	if o.last = v; err != nil {
		return err
	}
	return o.b.Load(o.ctx, v)
}
func (o *ours) open(address string) error  { return o.keep(o.b.Open(o.ctx, address)) }
func (o *ours) click(address string) error { return o.keep(o.b.Follow(o.ctx, o.last, address)) }
func (o *ours) submit() error              { return o.keep(o.b.Submit(o.ctx, o.last, "", nil)) }
func (o *ours) clear() error               { o.b.ClearCookies(); return nil }
func (o *ours) stored() ([]string, error) {
	var out []string
	for _, c := range o.b.AllCookies() {
		domain := c.Domain
		if !c.HostOnly {
			domain = "." + domain
		}
		out = append(out, fmt.Sprintf("%s=%s %s %s secure=%v http=%v %s session=%v", c.Name, short(c.Value), domain, c.Path, c.Secure, c.HTTPOnly, c.SameSite, c.Expires.IsZero()))
	}
	slices.Sort(out)
	return out, nil
}

// chromium drives the real one.
type chromium struct{ ctx context.Context }

func (c chromium) open(address string) error {
	_, err := chromedp.RunResponse(c.ctx, chromedp.Navigate(address))
	return err
}
func (c chromium) click(string) error { return c.submit() }

// submit presses what the page has to press, as a user's gesture.
func (c chromium) submit() error {
	gesture := true
	_, err := chromedp.RunResponse(c.ctx, func(ctx context.Context, _ *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: `document.getElementById("go").click()`, UserGesture: &gesture})
		return chromedp.Void{}, err
	})
	return err
}
func (c chromium) clear() error {
	return chromedp.Do(c.ctx, func(ctx context.Context, _ *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Call(ctx, network.ClearBrowserCookies, cdp.Empty{})
		return chromedp.Void{}, err
	})
}
func (c chromium) stored() ([]string, error) {
	res, err := chromedp.Run(c.ctx, func(ctx context.Context, _ *chromedp.Target) (storage.GetCookiesResult, error) {
		return chromedp.Call(ctx, storage.GetCookies, storage.GetCookiesParams{})
	})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, k := range res.Cookies {
		out = append(out, fmt.Sprintf("%s=%s %s %s secure=%v http=%v %s session=%v", k.Name, short(k.Value), k.Domain, k.Path, k.Secure, k.HTTPOnly, k.SameSite, k.Session))
	}
	slices.Sort(out)
	return out, nil
}

func short(value string) string {
	if len(value) > 20 {
		return fmt.Sprintf("%s… (%d)", value[:10], len(value))
	}
	return value
}

// startChromium starts a headless Chromium with a fresh profile, or skips.
func startChromium(t *testing.T) chromium {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: nothing to compare our browser with")
	}
	if testing.Short() {
		t.Skip("comparing with Chromium takes seconds")
	}
	profile := t.TempDir()
	if err := os.MkdirAll(filepath.Join(profile, "Default"), 0o700); err != nil {
		t.Fatal(err)
	}
	// Third-party cookies are allowed: blocking them is a user's choice, and
	// the harder case for a farm is the browser that sends more.
	if err := os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(`{"profile":{"cookie_controls_mode":0,"block_third_party_cookies":false}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile), chromedp.IgnoreCertErrors,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1"),
		chromedp.Flag("disable-features", "Translate,HttpsUpgrades,HttpsFirstBalancedMode,LocalNetworkAccessChecks"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Skipf("chromium does not start here: %v", err)
	}
	return chromium{ctx}
}

var update = flag.Bool("update", false, "write what Chromium sends into testdata/chromium")

// TestChromiumSendsTheSame walks our browser and Chromium through the same
// pages of the same servers, and compares what the servers were sent and
// what the cookie stores hold. With -update, that of Chromium is written down
// for TestSendsWhatChromiumSent.
func TestChromiumSendsTheSame(t *testing.T) {
	theirs := startChromium(t)
	w := newWorld(t)
	our := newOurs(t)
	for _, walk := range walks(w) {
		t.Run(walk.name, func(t *testing.T) {
			want := w.walk(t, theirs, walk)
			if diff := cmp.Diff(want, w.walk(t, our, walk)); diff != "" {
				t.Errorf("our browser differs from Chromium (-chromium +ours); %s\n%s", walk.why, diff)
			}
			if *update {
				if err := os.WriteFile(walk.golden(), []byte(strings.Join(want, "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestSendsWhatChromiumSent compares our browser with what Chromium sent when
// the two were last compared, for machines that have no Chromium.
func TestSendsWhatChromiumSent(t *testing.T) {
	w := newWorld(t)
	our := newOurs(t)
	for _, walk := range walks(w) {
		t.Run(walk.name, func(t *testing.T) {
			want, err := os.ReadFile(walk.golden())
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(w.walk(t, our, walk), "\n") + "\n"
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("our browser differs from Chromium (-chromium +ours); %s\n%s", walk.why, diff)
			}
		})
	}
}

func newOurs(t *testing.T) *ours {
	transport := NewTransport(map[string]string{"www.plain.test": "127.0.0.1", "api.plain.test": "127.0.0.1"})
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the test server's certificate has other names
	t.Cleanup(transport.CloseIdleConnections)
	return &ours{ctx: t.Context(), b: NewBrowser(BrowserOptions{Name: "ours", Transport: transport})}
}

// walk takes one path with one browser. It returns what the servers were sent
// and then the cookies left, with the ports named and long runs shortened.
func (w *world) walk(t *testing.T, d driver, walk walk) []string {
	t.Helper()
	if err := d.clear(); err != nil {
		t.Fatalf("clear cookies: %v", err)
	}
	w.take()
	var out []string
	for i, step := range walk.steps {
		var err error
		switch {
		case step == "submit":
			err = d.submit()
		case strings.HasPrefix(step, "click "):
			err = d.click(strings.TrimPrefix(step, "click "))
		default:
			err = d.open(step)
		}
		if err != nil {
			t.Fatalf("%T: step %d, %s: %v", d, i, step, err)
		}
		out = append(out, w.take()...)
	}
	stored, err := d.stored()
	if err != nil {
		t.Fatalf("read cookies: %v", err)
	}
	out = append(out, stored...)
	for i, line := range out {
		for server, name := range map[*httptest.Server]string{w.plain: "PORT", w.secure: "TLSPORT"} {
			_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
			line = strings.ReplaceAll(line, port, name)
		}
		out[i] = longRun.ReplaceAllString(line, "$1…")
	}
	return out
}

var longRun = regexp.MustCompile(`([pv])[pv]{50,}`)

type walk struct {
	name, why string
	steps     []string
}

// golden is the file with what Chromium sent.
func (w walk) golden() string {
	return filepath.Join("testdata", "chromium", strings.NewReplacer(" ", "-", ",", "").Replace(w.name)+".txt")
}

// query builds a query from pairs of name and value.
func query(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%c%s=%s", "?&"[min(i, 1)], pairs[i], url.QueryEscape(pairs[i+1]))
	}
	return b.String()
}

func set(lines ...string) string {
	var pairs []string
	for _, l := range lines {
		pairs = append(pairs, "c", l)
	}
	return "/set" + query(pairs...)
}

// walks are the paths both browsers take.
func walks(w *world) []walk {
	matrix := []string{
		"plain=1", "secure=1; Secure", "http=1; HttpOnly", "pathed=1; Path=/set", "other=1; Path=/elsewhere", "relative=1; Path=set",
		"wide=1; Domain=farm.localhost", "dotted=1; Domain=.FARM.localhost", "deep=1; Domain=s1.farm.localhost", "sibling=1; Domain=s2.farm.localhost",
		"suffix=1; Domain=localhost", "alien=1; Domain=example.com", "nodomain=1; Domain=", "lastdomain=1; Domain=farm.localhost; Domain=",
		"__Host-good=1; Secure; Path=/", "__Host-insecure=1; Path=/", "__Host-nopath=1; Secure", "__Host-deep=1; Secure; Path=/set",
		"__Host-wide=1; Secure; Path=/; Domain=farm.localhost", "__host-case=1; Path=/", "__HOST-caseok=1; Path=/; Secure",
		"__Secure-good=1; Secure", "__Secure-bad=1", "__secure-case=1", "__Secure-wide=1; Secure; Domain=farm.localhost",
		"__Http-good=1; Secure; HttpOnly", "__Http-bad=1; Secure", "__Host-Http-good=1; Secure; HttpOnly; Path=/", "__Host-Http-bad=1; Secure; Path=/",
		"__Host-Http-nopath=1; Secure; HttpOnly",
		"lax=1; SameSite=Lax", "strict=1; SameSite=Strict", "none=1; SameSite=None; Secure", "barenone=1; SameSite=None", "odd=1; SameSite=Odd", "two=1; SameSite=Strict; SameSite=Lax",
		"nameless", "=alsonameless", "=", "=__Host-sneaky", "__Secure-sneaky", "spaced name = spaced value ", `quoted="1"`, "equals=a=b",
		"aged=1; Max-Age=100", "gone=1; Max-Age=0", "minus=1; Max-Age=-1", "oddage=1; Max-Age=1x", "ages=1; Max-Age=100; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
		"expires=1; Expires=Fri, 01-Jan-2038 00:00:00 GMT", "expired=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "odddate=1; Expires=tomorrow", "shortdate=1; Expires=1 jan 38 1:2:3",
		"big=" + strings.Repeat("v", 4096-3), "toobig=" + strings.Repeat("v", 4096-5), "longpath=1; Path=/" + strings.Repeat("p", 1024), "tab=a\tb", "tabedge=\ta\t", "tabname\t=1", "tabattr=1;\tPath=/;\tSecure", "high=é",
	}
	many := make([]string, 185)
	for i := range many {
		many[i] = fmt.Sprintf("c%03d=1", i)
		if i%6 == 0 {
			many[i] += "; Secure"
		}
	}
	sites := []string{"none=1; SameSite=None; Secure; Path=/", "lax=1; SameSite=Lax; Path=/", "strict=1; SameSite=Strict; Path=/", "default=1; Path=/", "wide=1; Domain=farm.localhost; Path=/"}
	from := func(place, path, to string, more ...string) string {
		return w.at(place, path+query(append([]string{"to", to, "secret", "s"}, more...)...))
	}
	hop := func(place, code, to string, more ...string) string {
		return w.at(place, "/go"+query(append([]string{"code", code, "to", to}, more...)...))
	}
	show := func(place string) string { return w.at(place, "/show?secret=t") }

	ws := []walk{
		{"cookie matrix", "every storing rule at once, on http *.localhost", []string{w.at("A", set(matrix...)), w.at("A", "/set"), w.at("A", "/set/below"), w.at("A", "/settle"), show("A"), show("B"), show("X"), show("SA"), show("SB"), w.at("L", "/show")}},
		{"cookie matrix over https", "the same rules where Secure needs no favour", []string{w.at("SA", set(matrix...)), show("SA"), show("A"), w.at("A", "/set/x")}},
		{"cookie matrix without trust", "plain http on a name that is not localhost", []string{w.at("P", set("plain=1", "secure=1; Secure", "__Secure-x=1; Secure", "none=1; SameSite=None; Secure", "wide=1; Domain=plain.test", "suffix=1; Domain=test")), show("P"), show("Q"), show("SP")}},
		{"on localhost itself", "a public suffix may name itself only", []string{w.at("L", set("a=1; Domain=localhost", "__Host-b=1; Secure; Path=/")), w.at("L", "/show"), show("A")}},
		{"leave secure cookies alone", "an insecure connection cannot overlay", []string{w.at("SP", set("s=1; Secure; Path=/", "p=1; Secure; Path=/set")), w.at("P", set("s=2", "s=3; Path=/", "p=2; Path=/", "p=3; Path=/set/x", "s=4; Domain=plain.test")), show("SP"), w.at("SP", "/set/x")}},
		{"leave secure cookies alone, localhost", "http localhost counts as secure", []string{w.at("SA", set("s=1; Secure; Path=/")), w.at("A", set("s=2; Path=/")), show("A"), show("SA")}},
		{"no port isolation", "the two servers have two ports", []string{w.at("A", set("a=1; Path=/")), show("SA")}},
		{"order", "replacing keeps the place; longer paths first", []string{w.at("A", set("a=1; Path=/", "b=1; Path=/", "c=1; Path=/show", "d=1; Path=/")), w.at("A", set("a=1; Path=/")), show("A"), w.at("A", set("b=2; Path=/")), show("A")}},
		{"eviction", "more than 180 cookies of a site", []string{w.at("A", set(many[:90]...)), w.at("A", set(many[90:180]...)), w.at("B", set(many[180:]...)), w.at("A", "/set")}},
		{"links", "referrer and SameSite of clicks", []string{
			w.at("A", set(sites...)), w.at("X", set("x=1; SameSite=Lax")),
			from("A", "/link", show("A")), "click " + show("A"), from("A", "/link", show("B")), "click " + show("B"),
			from("X", "/link", show("A")), "click " + show("A"), from("X", "/link", show("SA")), "click " + show("SA"),
			from("A", "/link", show("SA")), "click " + show("SA"), from("SA", "/link", show("A")), "click " + show("A"),
			from("P", "/link", show("A")), "click " + show("A"), from("A", "/link", show("P")), "click " + show("P"),
			from("SP", "/link", show("P")), "click " + show("P"),
		}},
		{"link attributes", "rel and referrerpolicy", []string{
			from("A", "/link", show("A"), "attr", "rel=noreferrer"), "click " + show("A"),
			from("A", "/link", show("X"), "attr", "referrerpolicy=unsafe-url"), "click " + show("X"),
			from("A", "/link", show("A"), "meta", "origin"), "click " + show("A"),
			from("A", "/link", show("A"), "policy", "unsafe-url", "meta", "never"), "click " + show("A"),
			from("A", "/link", show("X"), "policy", "no-referrer, unsafe-url, nonsense"), "click " + show("X"),
		}},
		{"forms", "method, encoding, Origin and SameSite of submissions", []string{
			w.at("A", set(sites...)),
			from("A", "/form", show("A"), "method", "post"), "submit", from("A", "/form", show("B"), "method", "post"), "submit",
			from("X", "/form", show("A"), "method", "post"), "submit", from("X", "/form", show("A"), "method", "get"), "submit",
			from("A", "/form", show("A"), "method", "post", "policy", "no-referrer"), "submit",
			from("A", "/form", show("B"), "method", "post", "policy", "same-origin"), "submit",
			from("SA", "/form", show("A"), "method", "post"), "submit",
			from("A", "/form", "", "method", "post"), "submit",
		}},
		{"typed redirects", "no referrer, every cookie", []string{
			w.at("A", set(sites...)), w.at("X", set("x=1; SameSite=Strict; Path=/")),
			hop("A", "302", show("B")), hop("A", "307", show("X")), hop("X", "303", show("A")), hop("X", "302", hop("A", "302", show("X"))),
			hop("A", "302", show("B"), "c", "new=1; SameSite=Strict; Path=/"), hop("A", "302", "/show?relative"), hop("A", "302", strings.ReplaceAll(show("X"), "/", `\`)), hop("A", "302", "/"+`\/`+strings.TrimPrefix(show("X"), "http://")), hop("A", "302", show("B")+" <'>\"é|^\x60{}[]"), hop("A", "302", w.at("B", "/a/../b/./%2e%2e/c d'é|{}^")),
		}},
		{"clicked redirects", "the chain's sites, referrer and cookies", []string{
			w.at("A", set(sites...)), w.at("X", set("x=1; SameSite=Strict; Path=/", "y=1; SameSite=Lax; Path=/")),
			from("A", "/link", hop("A", "302", show("B"))), "click " + hop("A", "302", show("B")),
			from("A", "/link", hop("X", "302", show("A"))), "click " + hop("X", "302", show("A")),
			from("X", "/link", hop("A", "302", show("B"))), "click " + hop("A", "302", show("B")),
			from("X", "/link", hop("A", "302", show("X"))), "click " + hop("A", "302", show("X")),
			from("A", "/link", hop("B", "302", show("X"), "policy", "no-referrer")), "click " + hop("B", "302", show("X"), "policy", "no-referrer"),
			from("A", "/link", hop("A", "302", show("X"), "policy", "unsafe-url")), "click " + hop("A", "302", show("X"), "policy", "unsafe-url"),
		}},
		{"posted redirects", "which statuses keep the method, and whose Origin it is", []string{
			w.at("A", set(sites...)),
			from("A", "/form", hop("A", "301", show("B")), "method", "post"), "submit", from("A", "/form", hop("A", "302", show("B")), "method", "post"), "submit",
			from("A", "/form", hop("A", "303", show("B")), "method", "post"), "submit", from("A", "/form", hop("A", "307", show("B")), "method", "post"), "submit",
			from("A", "/form", hop("A", "308", show("X")), "method", "post"), "submit", from("X", "/form", hop("A", "307", show("B")), "method", "post"), "submit",
			from("A", "/form", hop("B", "307", show("X")), "method", "post"), "submit", from("X", "/form", hop("A", "302", show("B")), "method", "post"), "submit",
			from("A", "/form", hop("X", "307", show("A")), "method", "post"), "submit",
		}},
		{"cached redirects", "which ones are asked for again", []string{
			hop("A", "301", show("A"), "cc", "none"), hop("A", "301", show("A"), "cc", "none"), hop("A", "308", show("B"), "cc", "none"), hop("A", "308", show("B"), "cc", "none"),
			hop("A", "302", show("A"), "cc", "none"), hop("A", "302", show("A"), "cc", "none"), hop("A", "302", show("A"), "cc", "max-age=60"), hop("A", "302", show("A"), "cc", "max-age=60"),
			hop("A", "301", show("A")), hop("A", "301", show("A")), hop("A", "301", show("B"), "cc", "no-cache"), hop("A", "301", show("B"), "cc", "no-cache"),
			from("X", "/link", hop("A", "301", show("A"), "cc", "none")), "click " + hop("A", "301", show("A"), "cc", "none"),
		}},
		{"fragments", "they stay at home", []string{from("A", "/link", show("A")+"#f"), "click " + show("A") + "#f", hop("A", "302", show("B")) + "#frag"}},
	}
	sub := func(place, kind string) string { return w.at(place, "/sub"+query("kind", kind)) }
	setter := func(place, kind string) string {
		return w.at("A", "/page"+query(kind, w.at(place, "/sub"+query("c", "d-"+kind+"="+place+"; Path=/", "c", "l-"+kind+"="+place+"; SameSite=Lax; Path=/", "c", "n-"+kind+"="+place+"; SameSite=None; Secure; Path=/"))))
	}
	var resources []string
	for _, kind := range []string{"img", "script", "css", "iframe", "object", "embed", "anon", "module", "imgno"} {
		for _, place := range []string{"A", "B", "X"} {
			resources = append(resources, kind, sub(place, kind))
		}
	}
	resources = append(resources, "img", sub("P", "img"), "img", hop("A", "302", sub("X", "redirected")), "iframe", hop("X", "302", sub("A", "redirected")), "script", hop("A", "302", sub("B", "redirected")))
	ws = append(ws,
		walk{"sub-resources", "what a page asks for itself", []string{w.at("A", set(sites...)), w.at("X", set("x=1; SameSite=None; Secure", "y=1", "z=1; SameSite=Strict; Path=/")), w.at("A", "/page"+query(resources...))}},
		walk{"cookies of sub-resources", "who may set what within a page", []string{setter("A", "img"), setter("B", "script"), setter("X", "img"), setter("X", "iframe"), setter("X", "anon"), setter("B", "anon"), setter("A", "module"), setter("B", "module"), setter("P", "img"), show("A"), show("B"), show("X")}},
		walk{"sub-resources under a policy", "the page's policy counts for what it asks", []string{w.at("A", "/page"+query("policy", "no-referrer", "img", sub("A", "img"), "script", sub("X", "script"), "iframe", sub("B", "iframe")))}},
		walk{"token in the address", "claim 9 in the open: a page whose address has the token, and no policy", []string{w.at("A", "/page"+query("token", "t", "policy", "unsafe-url", "img", sub("X", "img"), "css", sub("A", "css")))}},
	)
	return ws
}
