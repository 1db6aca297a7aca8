package farmspec

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// farm serves handler under every *.localhost name; at gives the addresses.
func farm(t *testing.T, handler http.HandlerFunc) (at func(host, path string) string) {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	return func(host, path string) string { return "http://" + host + ".farm.localhost:" + port + path }
}

func browser(t *testing.T, opts BrowserOptions) *Browser {
	t.Helper()
	b := NewBrowser(opts)
	t.Cleanup(b.Close)
	return b
}

func TestResolve(t *testing.T) {
	const base = "http://a.test/p/q?x=1#f"
	for _, tc := range []struct{ ref, want, why string }{
		{"", "", "RFC 9110 10.2.2: no Location, nowhere"},
		{"/r", "http://a.test/r#f", "10.2.2: the fragment is inherited"},
		{"r#g", "http://a.test/p/r#g", "10.2.2: unless there is one"},
		{"?y=2", "http://a.test/p/q?y=2#f", "RFC 3986 5.2"},
		{"//b.test/r", "http://b.test/r#f", "RFC 3986 5.2"},
		{" \t/r\n", "http://a.test/r#f", "URL Standard: blanks around are dropped"},
		{"/r\t\n/s", "http://a.test/r/s#f", "URL Standard: tabs and breaks anywhere are dropped"},
		{`/\b.test\r`, "http://b.test/r#f", "URL Standard: a backslash is a slash, so this leaves the site"},
		{"///b.test/r", "http://b.test/r#f", "URL Standard: more slashes than two are two"},
		{`http:\\b.test/a/%2e%2E/c`, "http://b.test/c#f", "URL Standard: escaped dots are dots"},
		{`/r?a=b c"<é>&t=\x`, `http://a.test/r?a=b%20c%22%3C%C3%A9%3E&t=\x#f`, "URL Standard: a query never breaks the request line"},
		{"/%zz", "http://a.test/%25zz#f", "a stray percent sign does not lose the redirect"},
		{"javascript:alert(1)", "javascript:alert(1)#f", "absolute, and nothing a browser follows"},
		{"http://[::1", "", "not an address"},
	} {
		if got := resolve(base, tc.ref); got != tc.want {
			t.Errorf("resolve(%q) = %q, want %q (%s)", tc.ref, got, tc.want, tc.why)
		}
	}
}

func TestRedirectsKeepOrChangeTheMethod(t *testing.T) {
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		if code := r.URL.Query().Get("code"); code != "" {
			var n int
			fmt.Sscan(code, &n)
			w.Header().Set("Location", "/end")
			w.WriteHeader(n)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `%s %s %s<form method=post action="%s"><input name=a value=1></form>`, r.Method, body, r.Header.Get("Content-Type"), r.URL.Query().Get("action"))
	})
	for _, tc := range []struct {
		code   int
		method string
		want   string
		hops   int
		why    string
	}{
		{301, "POST", "GET  <", 2, "RFC 9110 15.4.2: browsers turn POST into GET"},
		{302, "POST", "GET  <", 2, "15.4.3: likewise"},
		{303, "POST", "GET  <", 2, "15.4.4"},
		{307, "POST", "POST a=1 application/x-www-form-urlencoded<", 2, "15.4.8: method and body stay"},
		{308, "POST", "POST a=1 application/x-www-form-urlencoded<", 2, "15.4.9"},
		{302, "GET", "GET  <", 2, "15.4.3"},
		{300, "GET", "", 1, "15.4.1: browsers do not choose"},
		{304, "GET", "", 1, "15.4.5: no redirect"},
		{305, "GET", "", 1, "15.4.6: deprecated, not followed"},
	} {
		b := browser(t, BrowserOptions{})
		target := at("s1", fmt.Sprintf("/go?code=%d", tc.code))
		var v *Visit
		var err error
		if tc.method == "GET" {
			v, err = b.Open(t.Context(), target)
		} else {
			var form *Visit
			if form, err = b.Open(t.Context(), at("s1", "/form?action="+url.QueryEscape(target))); err == nil {
				v, err = b.Submit(t.Context(), form, "", nil)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := string(v.Final().Body); len(v.Exchanges) != tc.hops || !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s, %d: %d exchanges, ends with %q, want %d and %q (%s)", tc.method, tc.code, len(v.Exchanges), got, tc.hops, tc.want, tc.why)
		}
	}
}

func TestOpenRecords(t *testing.T) {
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "seen"+strings.ReplaceAll(r.URL.Path, "/", "-")+"=1; Path=/")
		if r.URL.Path == "/in" {
			http.Redirect(w, r, "http://s2."+strings.SplitN(r.Host, ".", 2)[1]+"/page?token=t", http.StatusFound)
		}
	})
	var told []*Exchange
	b := browser(t, BrowserOptions{Name: "ada", OnExchange: func(x *Exchange) { told = append(told, x) }})
	v, err := b.Open(t.Context(), at("s1", "/in#top"))
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Exchanges) != 2 || !cmp.Equal(v.Exchanges, told, cmp.Comparer(func(a, b *Exchange) bool { return a == b })) {
		t.Fatalf("%d exchanges, %d told, want the same two", len(v.Exchanges), len(told))
	}
	first, last := v.Exchanges[0], v.Final()
	if first.Status != 302 || first.Location() != last.URL || last.URL != at("s2", "/page?token=t#top") {
		t.Errorf("%d to %s, then %s", first.Status, first.Location(), last.URL)
	}
	if last.Browser != "ada" || last.Trace != b.Trace() || last.Start.IsZero() || last.Took <= 0 || last.Method != "GET" {
		t.Errorf("recorded %+v", last)
	}
	if ref := last.RequestHeader.Get("Referer"); ref != "" {
		t.Errorf("a typed address that redirects tells the referrer %q", ref)
	}
	parent := regexp.MustCompile(`^00-` + b.Trace() + `-[0-9a-f]{16}-01$`)
	a, z := first.RequestHeader.Get("Traceparent"), last.RequestHeader.Get("Traceparent")
	if !parent.MatchString(a) || !parent.MatchString(z) || a == z {
		t.Errorf("traceparent %q then %q, want one trace and two spans", a, z)
	}
	if b.Cookies(at("s1", "/"))[0].Name != "seen-in" || b.Cookies(at("s2", "/"))[0].Name != "seen-page" {
		t.Errorf("cookies %v", b.AllCookies())
	}
}

func TestMisuse(t *testing.T) {
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/pool?token=secret", http.StatusFound)
		case "/pool":
			http.Redirect(w, r, "/loop;jsessionid=secret?token=secret", http.StatusFound)
		case "/loop;jsessionid=secret":
			http.Redirect(w, r, "/pool?token=secret", http.StatusFound)
		case "/out":
			w.Header().Set("Location", "javascript:secret")
			w.WriteHeader(http.StatusFound)
		}
	})
	b := browser(t, BrowserOptions{})
	for _, tc := range []struct {
		address, want string
		hops          int
		why           string
	}{
		{"ftp://secret.test/", `its scheme is "ftp"`, 0, "not an address for a browser"},
		{"http://[secret", "parse address", 0, "not an address; the message must not quote it"},
		{"http://", "no host", 0, "nowhere to go"},
		{at("s1", "/out?token=secret"), `its scheme is "javascript"`, 1, "browsers do not follow there"},
		{at("s1", "/loop?token=secret"), "/loop -> " + at("s1", "/pool") + " -> " + at("s1", "/loop"), 21, "twenty redirects, and the loop is named without its queries"},
	} {
		v, err := b.Open(t.Context(), tc.address)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open = %v, want %q (%s)", err, tc.want, tc.why)
		}
		got := 0
		if v != nil {
			got = len(v.Exchanges)
		}
		if got != tc.hops {
			t.Errorf("%d exchanges, want %d (%s)", got, tc.hops, tc.why)
		}
	}
	var loop *RedirectError
	if _, err := b.Open(t.Context(), at("s1", "/loop")); !errors.As(err, &loop) || loop.Hops != 20 || len(loop.Loop) != 3 {
		t.Errorf("Open = %#v, want a RedirectError", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := b.Open(ended, at("s1", "/")); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with an ended context = %v", err)
	}
	for _, v := range []*Visit{nil, {}, {Exchanges: []*Exchange{{Err: io.EOF}}}} {
		if _, err := b.Follow(t.Context(), v, "/"); err == nil {
			t.Error("followed a link on no page")
		}
		if err := b.Load(t.Context(), v); err == nil {
			t.Error("loaded no page")
		}
	}
}

// raw is a server that answers every connection with what serve writes.
func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); serve(c) })
		}
	})
	return "http://" + l.Addr().String() + "/"
}

func TestHostileServers(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 8 {
		_, _ = z.Write(make([]byte, 1<<20))
	}
	_ = z.Close()
	answer := func(head, body string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s\r\n\r\n%s", head, body)
		}
	}
	for _, tc := range []struct {
		name      string
		serve     func(net.Conn)
		status    int
		body      int
		truncated bool
		wrong     string
		why       string
	}{
		{"hangs up", func(net.Conn) {}, 0, 0, false, "send request", "nobody knows what happened: no answer"},
		{"speaks nonsense", func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); fmt.Fprint(c, "SSH-2.0\r\n") }, 0, 0, false, "send request", "not HTTP"},
		{"says nothing", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, 0, 0, false, "deadline", "the time-out ends it"},
		{"stops half-way", func(c net.Conn) {
			answer("Content-Length: 100", "half")(c)
			_, _ = io.Copy(io.Discard, c)
		}, 200, 4, false, "read answer", "what was read is kept"},
		{"breaks off", answer("Content-Length: 100", "half"), 200, 4, false, "unexpected EOF", "what was read is kept"},
		{"never ends", func(c net.Conn) {
			answer("Connection: close", "")(c)
			for {
				if _, err := c.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, 200, MaxBody, true, "", "bounded"},
		{"has a huge header", answer("X: "+strings.Repeat("x", 300<<10), ""), 0, 0, false, "header", "bounded"},
		{"sends a bomb", answer(fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d", bomb.Len()), bomb.String()), 200, MaxBody, true, "", "8 MiB in 8 KiB: bounded"},
		{"lies about gzip", answer("Content-Encoding: gzip\r\nContent-Length: 5", "plain"), 200, 5, false, "decode answer", "browsers show an error page"},
		{"uses what was not asked for", answer("Content-Encoding: br\r\nContent-Length: 5", "plain"), 200, 5, false, "not asked for", "unread content is no refusal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := browser(t, BrowserOptions{Timeout: 300 * time.Millisecond})
			v, err := b.Open(t.Context(), raw(t, tc.serve))
			if err != nil {
				t.Fatalf("Open = %v, want the failure in the exchange (%s)", err, tc.why)
			}
			x := v.Final()
			if x.Status != tc.status || len(x.Body) != tc.body || x.Truncated != tc.truncated || (x.Err != nil) != (tc.wrong != "") {
				t.Errorf("status %d, %d bytes, truncated %v, %v (%s)", x.Status, len(x.Body), x.Truncated, x.Err, tc.why)
			}
			if x.Err != nil && !strings.Contains(x.Err.Error(), tc.wrong) {
				t.Errorf("%v, want %q (%s)", x.Err, tc.wrong, tc.why)
			}
		})
	}
}

func TestGzipIsDecoded(t *testing.T) {
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			fmt.Fprint(w, "plain")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, "coded")
		_ = z.Close()
	})
	b := browser(t, BrowserOptions{})
	if v, _ := b.Open(t.Context(), at("s1", "/")); string(v.Final().Body) != "coded" || v.Final().Err != nil {
		t.Errorf("page %q, %v", v.Final().Body, v.Final().Err)
	}
	if x := b.Send(t.Context(), Request{URL: at("s1", "/"), Header: http.Header{"Range": {"bytes=0-3"}}}); string(x.Body) != "plain" {
		t.Errorf("part %q, want no coding where parts are asked for", x.Body)
	}
}

func TestSend(t *testing.T) {
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "token=new; Path=/")
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%s %s %q %s", r.Method, r.RequestURI, r.Header["Cookie"], r.Header.Get("Sec-Fetch-Mode"))
	})
	for _, tc := range []struct {
		name string
		r    Request
		want string
		kept string
		why  string
	}{
		{"jar", Request{URL: "/a/../b"}, `GET /a/../b ["token=old"] `, "old", "the zero value sends what the browser has, stores nothing and keeps the path"},
		{"none", Request{URL: "/", Cookies: NoCookies, RawCookie: "x", Header: http.Header{"Cookie": {"y"}}}, `GET / [] `, "old", "none means none"},
		{"given", Request{URL: "/", Cookies: GivenCookies, RawCookie: `token=a;;=; "`, Header: http.Header{"cookie": {"token=1", "token=2"}}}, `GET / ["token=1" "token=2" "token=a;;=; \""] `, "old", "several lines, malformed ones too, as they are"},
		{"jar and given", Request{URL: "/", RawCookie: "token=stolen"}, `GET / ["token=old" "token=stolen"] `, "old", "a duplicate"},
		{"keep", Request{Method: "POST", URL: "/", Body: "a=1", KeepCookies: true}, `POST / ["token=old"] `, "new", "as a browser does"},
		{"head", Request{Method: "HEAD", URL: "/"}, "", "old", "no body comes"},
		{"document", Request{URL: "/", Dest: "document"}, `GET / ["token=old"] navigate`, "old", "looks like a navigation"},
	} {
		b := browser(t, BrowserOptions{})
		if err := b.SetCookie(at("s1", "/"), "token=old; Path=/"); err != nil {
			t.Fatal(err)
		}
		tc.r.URL = at("s1", tc.r.URL)
		x := b.Send(t.Context(), tc.r)
		if x.Err != nil || string(x.Body) != tc.want {
			t.Errorf("%s: %q, %v, want %q (%s)", tc.name, x.Body, x.Err, tc.want, tc.why)
		}
		if c, _ := b.Cookie(at("s1", "/"), "token"); c.Value != tc.kept {
			t.Errorf("%s: the browser keeps %q, want %q (%s)", tc.name, c.Value, tc.kept, tc.why)
		}
	}
	told := 0
	b := browser(t, BrowserOptions{OnExchange: func(*Exchange) { told++ }})
	if x := b.Send(t.Context(), Request{URL: "http://[secret"}); x.Err == nil || strings.Contains(x.Err.Error(), "secret") || told != 1 {
		t.Errorf("Send to no address: %v, told %d times", x.Err, told)
	}
	if x := b.Send(t.Context(), Request{URL: at("s1", "/"), RawCookie: "a=\r\nEvil: 1"}); x.Err == nil || x.Status != 0 {
		t.Errorf("a line break in a header was sent: %d", x.Status)
	}
}

// AJ-2.1: the connection remembers nothing, the cookie all.
func TestConnectionsCanBeTold(t *testing.T) {
	var connections sync.Map
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		connections.Store(r.RemoteAddr, true)
		fmt.Fprint(w, r.RemoteAddr, r.Header.Get("Cookie"))
	})
	b := browser(t, BrowserOptions{})
	if err := b.SetCookie(at("s1", "/"), "token=t; Path=/"); err != nil {
		t.Fatal(err)
	}
	d := b.Dedicated()
	t.Cleanup(d.Close)
	first := d.Send(t.Context(), Request{URL: at("s1", "/")})
	bare := d.Send(t.Context(), Request{URL: at("s1", "/"), Cookies: NoCookies})
	fresh := d.Send(t.Context(), Request{URL: at("s1", "/"), NewConn: true})
	again := d.Send(t.Context(), Request{URL: at("s1", "/")})
	if first.Reused || !bare.Reused || fresh.Reused || !again.Reused {
		t.Errorf("reused %v %v %v %v, want false true false true", first.Reused, bare.Reused, fresh.Reused, again.Reused)
	}
	if string(first.Body) != string(bare.Body)+"token=t" || string(first.Body) != string(again.Body) || string(fresh.Body) == string(first.Body) {
		t.Errorf("connections %s, %s, %s, %s", first.Body, bare.Body, fresh.Body, again.Body)
	}
	n := 0
	connections.Range(func(any, any) bool { n++; return true })
	if n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A kept connection that dies under a request: a page is asked for again and
// both tries are on record; a raw request is never sent twice.
func TestLostAnswers(t *testing.T) {
	var requests atomic.Int32
	address := raw(t, func(c net.Conn) {
		buf := make([]byte, 4096)
		for i := range 2 {
			if _, err := c.Read(buf); err != nil {
				return
			}
			requests.Add(1)
			if i == 0 {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	})
	b := browser(t, BrowserOptions{})
	for range 2 {
		v, err := b.Open(t.Context(), address)
		if err != nil || v.Final().Status != 200 {
			t.Fatalf("Open = %v, %v", v.Final().Err, err)
		}
		if requests.Load() > 1 && (len(v.Exchanges) != 2 || v.Exchanges[0].Err == nil || !v.Exchanges[0].Reused || v.Final().Reused) {
			t.Errorf("recorded %d exchanges, first error %v", len(v.Exchanges), v.Exchanges[0].Err)
		}
	}
	if n := requests.Load(); n != 3 {
		t.Fatalf("the server saw %d requests, want 3: one good, one lost, one again", n)
	}
	d := b.Dedicated()
	t.Cleanup(d.Close)
	if x := d.Send(t.Context(), Request{URL: address}); x.Err != nil {
		t.Fatal(x.Err)
	}
	if x := d.Send(t.Context(), Request{URL: address}); x.Err == nil || !x.Reused {
		t.Errorf("a lost answer to a raw request: %d, %v", x.Status, x.Err)
	}
	if n := requests.Load(); n != 5 {
		t.Errorf("the server saw %d requests, want 5: a raw request is sent once", n)
	}
}

func TestPageIsLoadedInParallel(t *testing.T) {
	var now, most atomic.Int32
	full := make(chan struct{})
	allAtOnce := sync.OnceFunc(func() { close(full) })
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.Header().Set("Content-Type", "text/html")
			for i := range 12 {
				fmt.Fprintf(w, "<img src=/i%02d>", i)
			}
			return
		}
		if n := now.Add(1); n == maxConnections {
			most.Store(n)
			allAtOnce() // some leave, and others make them as many again
		} else if n > maxConnections {
			most.Store(n)
		}
		<-full
		now.Add(-1)
	})
	b := browser(t, BrowserOptions{})
	v, err := b.OpenPage(t.Context(), at("s1", "/"))
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Exchanges) != 1 || len(v.Resources) != 12 || most.Load() != maxConnections {
		t.Errorf("%d resources, at most %d at once, want 12 and %d", len(v.Resources), most.Load(), maxConnections)
	}
	for i, x := range v.Resources {
		if want := at("s1", fmt.Sprintf("/i%02d", i)); x.URL != want || x.RequestHeader.Get("Sec-Fetch-Dest") != "image" {
			t.Errorf("resource %d is %s, want %s: the page's order", i, x.URL, want)
		}
	}
}

func TestCachedPages(t *testing.T) {
	asked := 0
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Cache-Control", r.URL.Query().Get("cc"))
		fmt.Fprint(w, "protected")
	})
	b := browser(t, BrowserOptions{})
	for _, tc := range []struct {
		cc          string
		shown, back bool
		why         string
	}{
		{"no-store", false, false, "RFC 9111 5.2.2.5"},
		{"no-cache", false, true, "5.2.2.4, and 6 for the back button"},
		{"max-age=60", true, true, "4.2"},
	} {
		page := at("s1", "/?cc="+tc.cc)
		for range 2 { // even a fresh page is asked for again: the farm is under test, not the cache
			if _, err := b.Open(t.Context(), page); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := b.CacheLookup(page); ok != tc.shown {
			t.Errorf("%s: shown without asking %v, want %v (%s)", tc.cc, ok, tc.shown, tc.why)
		}
		x, ok := b.BackForward(page)
		if ok != tc.back || ok && string(x.Body) != "protected" {
			t.Errorf("%s: the back button shows it %v, want %v (%s)", tc.cc, ok, tc.back, tc.why)
		}
	}
	if asked != 6 {
		t.Errorf("the farm was asked %d times, want 6", asked)
	}
	if _, ok := b.Clone("other").BackForward(at("s1", "/?cc=max-age=60")); ok {
		t.Error("a clone has the cache too")
	}
}

func TestTabsShareTheBrowser(t *testing.T) {
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "token="+r.URL.Path[1:]+"; Path=/")
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<form><input name=q></form><img src=/pixel>`)
	})
	b := browser(t, BrowserOptions{OnExchange: func(*Exchange) {}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v, err := b.OpenPage(t.Context(), at("s1", fmt.Sprintf("/%d", i)))
			if err != nil {
				t.Error(err)
				return
			}
			if _, err = b.Submit(t.Context(), v, "", map[string]string{"q": "x"}); err != nil {
				t.Error(err)
			}
			b.SetTrace(NewTrace())
			b.Restore(b.Snapshot())
			b.Clone("clone").ClearCookies()
			b.CacheLookup(v.Final().URL)
			b.DeleteCookie(v.Final().URL, "nothing")
			b.RejectedCookies()
		})
	}
	wg.Wait()
	if n := len(b.AllCookies()); n != 1 {
		t.Errorf("%d cookies, want one token", n)
	}
}

func TestDialer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	t.Cleanup(srv.Close)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	target := &Target{Resolve: map[string]string{"S1.farm.test": "127.0.0.1", "wrong.test": "127.0.0.1:80"}}
	b := browser(t, BrowserOptions{Target: target, Resolve: map[string]string{"s2.farm.test": "127.0.0.1"}})
	for _, host := range []string{"s1.farm.test", "s2.farm.test", "any.localhost", "localhost", "127.0.0.1"} {
		x := b.Send(t.Context(), Request{URL: "http://" + host + ":" + port + "/"})
		if string(x.Body) != host+":"+port {
			t.Errorf("%s: %q, %v", host, x.Body, x.Err)
		}
	}
	if x := b.Send(t.Context(), Request{URL: "http://wrong.test:" + port}); x.Err == nil || !strings.Contains(x.Err.Error(), "not an IP address") {
		t.Errorf("a name that resolves to no address: %v", x.Err)
	}
}

func BenchmarkOpen(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "__Host-token=abcdefghijklmnopqrstuvwxyz; Secure; HttpOnly; Path=/; SameSite=Lax")
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprint(w, "page")
	}))
	defer srv.Close()
	br := NewBrowser(BrowserOptions{})
	defer br.Close()
	b.ReportAllocs()
	for b.Loop() {
		if v, err := br.Open(b.Context(), srv.URL); err != nil || v.Final().Err != nil {
			b.Fatal(err, v.Final().Err)
		}
	}
}

func TestPostJSON(t *testing.T) {
	at := farm(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "the page")
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Set-Cookie", "sid=1; Path=/")
		fmt.Fprint(w, r.Header.Get("Content-Type"), " ", r.Header.Get("Origin") != "", " ", r.Header.Get("Sec-Fetch-Site"), " ", r.Header.Get("Sec-Fetch-Dest"), " ", string(body))
	})
	b := browser(t, BrowserOptions{})
	page, err := b.Open(t.Context(), at("s1", "/login"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := b.PostJSON(t.Context(), page, "/login", `{"name":"ada"}`)
	if err != nil {
		t.Fatal(err)
	}
	const want = `application/json true same-origin empty {"name":"ada"}`
	if got := string(v.Final().Body); got != want {
		t.Errorf("the server saw %q, want %q: what a script's fetch sends", got, want)
	}
	if _, ok := b.Cookie(page.Final().URL, "sid"); !ok {
		t.Error("the answer's cookie was not kept")
	}
	if _, err := b.PostJSON(t.Context(), page, "mailto:ada@farm.localhost", "{}"); err == nil {
		t.Error("JSON was posted to a mail address")
	}
}

// Who finds a request's header too long says so and hangs up with the rest
// unread. The answer is an answer, however soon the connection is gone.
func TestAnswersBeforeTheEndOfTheRequest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			_ = c.Close() // what is unread makes it a reset
		}
	}()
	b := browser(t, BrowserOptions{})
	for range 50 {
		x := b.Send(t.Context(), Request{URL: "http://" + l.Addr().String() + "/", Header: http.Header{"X-Long": {strings.Repeat("A", 8<<20)}}})
		if x.Err != nil || x.Status != http.StatusRequestHeaderFieldsTooLarge {
			t.Fatalf("the answer is %d, %v; want 431", x.Status, x.Err)
		}
	}
}
