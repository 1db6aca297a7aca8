package web_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
)

func eachShape(t *testing.T, do func(t *testing.T, f *farm)) {
	t.Helper()
	for _, topology := range topologies {
		for _, handoff := range handoffs {
			s := shape{topology, handoff, reference.Strict, reference.RevokeFamily}
			t.Run(s.String(), func(t *testing.T) { do(t, newFarm(t, s)) })
		}
	}
}

func TestHonestChain(t *testing.T) {
	eachShape(t, func(t *testing.T, f *farm) {
		b := f.signedIn("ada")
		at := 1
		for _, to := range []int{2, 1, 3, 1, 2} {
			path := fmt.Sprintf("/server-%d/welcome.html", to)
			before := b.token(at)
			way := b.click(http.MethodGet, f.url(at, path+"?q=a+b&x=%2F%3D"), "")
			if len(way) != 2 {
				t.Fatalf("server-%d -> server-%d took %d exchanges, want redirect and page", at, to, len(way))
			}
			hop, page := way[0], way[1]
			if hop.StatusCode != http.StatusSeeOther || hop.Header.Get("Cache-Control") != "no-store" || hop.token(f) != "" {
				t.Errorf("hop: status %d, Cache-Control %q, token cookie %v; want 303, no-store and none", hop.StatusCode, hop.Header.Get("Cache-Control"), hop.token(f) != "")
			}
			if want := f.url(to, path+"?q=a+b&x=%2F%3D&"); !strings.HasPrefix(hop.Header.Get("Location"), want) {
				t.Errorf("Location = %s, want %s...", hop.Header.Get("Location"), want)
			}
			if !shows(page, path, "ada") {
				t.Fatalf("server-%d -> server-%d ended with %d: %s", at, to, page.StatusCode, page.body)
			}
			if fresh := page.token(f); fresh == "" || fresh == before {
				t.Error("the page came without a new token")
			}
			if page.Header.Get("Cache-Control") != "no-store" || page.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Error("the page may be cached or tell its address")
			}
			at = to
		}
	})
}

// A person types addresses: each member is asked although the session went on
// elsewhere. In the split-domain farm the members pass the request round.
func TestReturnTrips(t *testing.T) {
	eachShape(t, func(t *testing.T, f *farm) {
		b := f.signedIn("ada")
		for _, ask := range [][2]int{{1, 2}, {1, 3}, {2, 2}, {1, 1}, {3, 2}, {3, 3}, {2, 1}, {1, 1}, {2, 3}} {
			path := fmt.Sprintf("/server-%d/report.jsp", ask[1])
			way := b.click(http.MethodGet, f.url(ask[0], path), "")
			if a := way[len(way)-1]; !shows(a, path, "ada") {
				t.Fatalf("server-%d asked for %s: %d after %d exchanges", ask[0], path, a.StatusCode, len(way))
			}
		}
		away := f.url(2, "/server-3/welcome.html")
		b.visit(away)
		page := b.visit(f.url(2, "/logout"))
		at := strings.TrimSuffix(page.Request().String()[:strings.Index(page.Request().String(), "/logout")], "/")
		b.click(http.MethodPost, at+"/logout", "csrf="+csrf(page))
		for i := 1; i <= 3; i++ {
			if a := b.visit(f.url(i, "/whoami")); !refused(a) {
				t.Errorf("after log-out server-%d answers %d", i, a.StatusCode)
			}
		}
	})
}

func TestRequestSurvivesTheHop(t *testing.T) {
	for _, handoff := range handoffs {
		f := newFarm(t, shape{web.SharedDomain, handoff, reference.Strict, ""})
		b := f.signedIn("ada")
		for _, tc := range []struct{ path, query, want, why string }{
			{"/server-2/welcome.html", "", "", "nothing to keep"},
			{"/server-2/welcome.html", "id=a%2Bb%2Fc%3D%26d%25", "id=a%2Bb%2Fc%3D%26d%25", "an ID with + / = & and % stays as it was written"},
			{"/server-2/welcome.html", "b=2&a=1&b=3&flag&&=", "b=2&a=1&b=3&flag&&=", "order, repetition and emptiness are the page's business"},
			{"/server-2/welcome.html", "bad=%zz&x", "bad=%zz&x", "what does not decode is passed on"},
			{"/server-2/welcome.html", "x=1&handoff=old&sid=1&ts=2&ref=3&h%61ndoff=z", "", "a hand-off from outside is dropped"},
			{"/server-2/report.jsp;jsessionid=ABC", "x=1", "x=1", "path parameters stay"},
			{"/server-2/welcome.html", "long=" + strings.Repeat("x", 4000), "long=" + strings.Repeat("x", 4000), "long queries stay"},
		} {
			to := f.url(1, tc.path)
			if tc.query != "" {
				to += "?" + tc.query
			}
			way := b.click(http.MethodGet, to, "")
			loc, err := url.Parse(way[0].Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			p := handoff.Params()
			var kept []string
			counts := make(map[string]int)
			for pair := range strings.SplitSeq(loc.RawQuery, "&") {
				name, _, _ := strings.Cut(pair, "=")
				if name != "" && (name == p.ID || name == p.Timestamp || name == p.Sealed) {
					counts[name]++
					continue
				}
				kept = append(kept, pair)
			}
			got := strings.Join(kept, "&")
			if strings.HasPrefix(tc.query, "x=1&handoff") {
				for _, bad := range []string{"old", "=z"} {
					if handoff == web.Sealed && strings.Contains(got, bad) {
						t.Errorf("%s: a planted hand-off was passed on: %s", handoff, got)
					}
				}
			} else if got != tc.want {
				t.Errorf("%s: query = %q, want %q (%s)", handoff, got, tc.want, tc.why)
			}
			if loc.EscapedPath() != tc.path {
				t.Errorf("%s: path = %q, want %q (%s)", handoff, loc.EscapedPath(), tc.path, tc.why)
			}
			for name, n := range counts {
				if n != 1 {
					t.Errorf("%s: %s given %d times", handoff, name, n)
				}
			}
			if a := way[len(way)-1]; !strings.Contains(a.body, "Signed in as ada") {
				t.Errorf("%s: %s?%.40s ended with %d (%s)", handoff, tc.path, tc.query, a.StatusCode, tc.why)
			}
		}
	}
}

// looks is what an outsider can tell one refusal from another by.
func looks(a *answer) string {
	h := maps.Clone(a.Header)
	delete(h, "Date")
	return fmt.Sprintf("%d %v %q", a.StatusCode, h, a.body)
}

func TestRefusalsLookAlike(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
	tokens := map[string]string{"": ""}
	timedOut := f.signedIn("ada").token(1)
	f.advance(idle + 1e9)
	if a := holding(f, timedOut).ask(http.MethodGet, f.url(1, "/whoami"), ""); !refused(a) {
		t.Fatalf("timed-out token answered %d", a.StatusCode)
	}
	spender := f.signedIn("ada")
	spent := spender.token(1)
	if a := spender.visit(f.url(1, "/whoami")); !shows(a, "/whoami", "ada") {
		t.Fatalf("witness refused: %d", a.StatusCode)
	}
	closer := f.signedIn("bob")
	closed := closer.token(1)
	form := closer.ask(http.MethodGet, f.url(1, "/logout"), "")
	closer.click(http.MethodPost, f.url(1, "/logout"), "csrf="+csrf(form))

	live := f.signedIn("ada")
	good := live.token(1)
	flipped := []byte(good)
	flipped[len(flipped)/2] ^= 1
	unknown, err := f.codec.Seal(reference.Token{ID: reference.ID{1}, Timestamp: f.now().UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(tokens, map[string]string{
		"timed out": timedOut, "spent": spent, "closed": closed, "unknown": unknown, "tampered": string(flipped),
		"truncated": good[:len(good)-4], "oversized": strings.Repeat("A", 8<<10), "rubbish": "!\"\x7f", "quoted": `"` + good + `"`,
		"twice": good + "; " + f.farm.CookieName() + "=" + good,
	})
	for _, accept := range []string{"text/html", "*/*"} {
		for _, path := range []string{"/server-1/welcome.html", "/server-1/chart.jar", "/server-1/cart", "/whoami"} {
			want := ""
			for _, name := range slices.Sorted(maps.Keys(tokens)) {
				b := holding(f, tokens[name])
				b.header.Set("Accept", accept)
				a := b.ask(http.MethodGet, f.url(1, path), "")
				if !refused(a) || len(a.Cookies()) > 0 {
					t.Errorf("%s token for %s: %d with %d cookies", name, path, a.StatusCode, len(a.Cookies()))
				}
				if got := looks(a); want == "" {
					want = got
				} else if got != want {
					t.Errorf("%s token for %s looks different (-others +this):\n%s", name, path, cmp.Diff(want, got))
				}
			}
		}
	}
	// The first server refuses what it cannot open, and transmits nothing.
	for _, name := range []string{"", "tampered", "truncated", "oversized", "rubbish", "quoted", "twice"} {
		if a := holding(f, tokens[name]).ask(http.MethodGet, f.url(1, "/server-2/welcome.html"), ""); !refused(a) {
			t.Errorf("%s token was handed off: %d %s", name, a.StatusCode, a.Header.Get("Location"))
		}
	}
	if a := live.visit(f.url(1, "/server-2/welcome.html")); !shows(a, "/server-2/welcome.html", "ada") {
		t.Errorf("survivor got %d", a.StatusCode)
	}
}

func holding(f *farm, sealed string) *browser {
	b := f.browser()
	if sealed != "" {
		b.hold(1, sealed)
		b.hold(2, sealed)
		b.hold(3, sealed)
	}
	return b
}

// handoffURL is where server-1 sends the browser for server-2's page.
func handoffURL(t *testing.T, b *browser) string {
	t.Helper()
	a := b.ask(http.MethodGet, b.f.url(1, "/server-2/welcome.html"), "")
	if a.StatusCode != http.StatusSeeOther || refused(a) {
		t.Fatalf("no hand-off: %d %s", a.StatusCode, a.Header.Get("Location"))
	}
	return a.Header.Get("Location")
}

func TestHandoffIsChecked(t *testing.T) {
	eachShape(t, func(t *testing.T, f *farm) {
		p := f.shape.handoff.Params()
		edit := func(to string, change func(url.Values)) string {
			u, _ := url.Parse(to)
			q := u.Query()
			change(q)
			u.RawQuery = q.Encode()
			return u.String()
		}
		rejected := func(why string, b *browser, to string) {
			t.Helper()
			if a := b.ask(http.MethodGet, to, ""); !refused(a) || a.token(f) != "" {
				t.Errorf("%s: answered %d", why, a.StatusCode)
			}
		}
		ada, bob := f.signedIn("ada"), f.signedIn("bob")
		to := handoffURL(t, ada)
		switch f.shape.handoff {
		case web.Claimed:
			rejected("other ID", ada, edit(to, func(q url.Values) { q.Set(p.ID, strings.Repeat("0", 31)+"1") }))
			rejected("ID in capitals", ada, edit(to, func(q url.Values) { q.Set(p.ID, strings.ToUpper(q.Get(p.ID))) }))
			rejected("timestamp with a sign", ada, edit(to, func(q url.Values) { q.Set(p.Timestamp, "+"+q.Get(p.Timestamp)) }))
			rejected("no timestamp", ada, edit(to, func(q url.Values) { q.Del(p.Timestamp) }))
			rejected("ID given twice", ada, edit(to, func(q url.Values) { q.Add(p.ID, q.Get(p.ID)) }))
			rejected("a hand-off of another session than the cookie's", holding(f, bob.token(1)), to)
		case web.Sealed:
			rejected("altered", ada, edit(to, func(q url.Values) {
				b := []byte(q.Get(p.Sealed))
				b[40] ^= 1
				q.Set(p.Sealed, string(b))
			}))
			rejected("given twice", ada, edit(to, func(q url.Values) { q.Add(p.Sealed, q.Get(p.Sealed)) }))
			rejected("empty", f.browser(), edit(to, func(q url.Values) { q.Set(p.Sealed, "") }))
			rejected("sealed for another member", ada, strings.Replace(strings.Replace(to, f.url(2, ""), f.url(3, ""), 1), "/server-2/", "/server-3/", 1))
			rejected("the cookie's token as hand-off", f.browser(), edit(to, func(q url.Values) { q.Set(p.Sealed, ada.token(1)) }))
			rejected("a hand-off of another session than the cookie's", holding(f, bob.token(1)), to)
			rejected("the same hand-off after that, from a browser without a token", f.browser(), to)
			to = handoffURL(t, ada) // she asks the first member again
		case web.Direct:
			rejected("no reference", f.browser(), f.url(2, "/server-2/welcome.html"))
			rejected("guessed reference", f.browser(), edit(to, func(q url.Values) { q.Set(p.Sealed, strings.Repeat("0", 32)) }))
			rejected("a hand-off of another session than the cookie's", holding(f, bob.token(1)), to)
			if f.shape.topology != web.SplitDomain {
				rejected("reference without the browser's token", f.browser(), to)
			}
		}
		if a := ada.ask(http.MethodGet, to, ""); !shows(a, "/server-2/welcome.html", "ada") {
			t.Fatalf("the honest browser got %d after all this", a.StatusCode)
		}
		rejected("a spent hand-off from a browser without a token", f.browser(), to)
	})
}

func TestSpentHandoffWithLiveCookie(t *testing.T) {
	eachShape(t, func(t *testing.T, f *farm) {
		b := f.signedIn("ada")
		to := handoffURL(t, b)
		for try := range 3 {
			if a := b.ask(http.MethodGet, to, ""); !shows(a, "/server-2/welcome.html", "ada") || a.token(f) == "" {
				t.Fatalf("load %d of a page at its hand-off address: %d", try+1, a.StatusCode)
			}
			f.advance(reference.Limits{}.Handoff + 40e9)
		}
	})
}

func TestAgedHandoffIsRefused(t *testing.T) {
	for _, handoff := range []web.Handoff{web.Sealed, web.Direct} {
		f := newFarm(t, shape{web.SplitDomain, handoff, reference.Strict, ""})
		b := f.signedIn("ada")
		to := handoffURL(t, b)
		f.advance(40e9)
		if a := b.ask(http.MethodGet, to, ""); !refused(a) {
			t.Errorf("%s: a hand-off 40 s old answered %d", handoff, a.StatusCode)
		}
		if a := b.visit(f.url(1, "/server-2/welcome.html")); !shows(a, "/server-2/welcome.html", "ada") {
			t.Errorf("%s: the next honest hop ended with %d", handoff, a.StatusCode)
		}
	}
}

func TestPostThroughTheHop(t *testing.T) {
	eachShape(t, func(t *testing.T, f *farm) {
		b := f.signedIn("ada")
		page := b.visit(f.url(1, "/server-2/cart"))
		b.visit(f.url(2, "/server-1/welcome.html"))
		form := url.Values{"csrf": {csrf(page)}, "item": {"three <b>pears</b>"}}.Encode()
		way := b.click(http.MethodPost, f.url(1, "/server-2/cart"), form)
		if way[0].StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("post was passed on with %d, want 307", way[0].StatusCode)
		}
		a := way[len(way)-1]
		if !shows(a, "/server-2/cart", "ada") || !strings.Contains(a.body, "three &lt;b&gt;pears&lt;/b&gt;") {
			t.Errorf("the item is not in the cart: %d %s", a.StatusCode, a.body)
		}
		a = b.click(http.MethodPost, f.url(2, "/server-2/cart"), "item=apple&csrf="+f.signedInElsewhere(t))[0]
		if a.StatusCode != http.StatusForbidden || strings.Contains(a.body, "apple") || a.token(f) == "" {
			t.Errorf("a form made for someone else answered %d", a.StatusCode)
		}
	})
}

func (f *farm) signedInElsewhere(t *testing.T) string {
	t.Helper()
	return url.QueryEscape(csrf(f.signedIn("bob").visit(f.url(1, "/server-2/cart"))))
}

func TestApplications(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
	b := f.signedIn("ada")
	post := func(i int, path, field, value string) *answer {
		t.Helper()
		page := b.visit(f.url(i, path))
		return b.ask(http.MethodPost, f.url(i, path), url.Values{"csrf": {csrf(page)}, field: {value}}.Encode())
	}
	for _, item := range []string{"one", "two", "ünï \"quoted\" \\ <x>"} {
		if a := post(2, "/server-2/cart", "item", item); !shows(a, "/server-2/cart", "ada") {
			t.Fatalf("add %q: %d", item, a.StatusCode)
		}
	}
	// Somebody else changes the HTTP session between read and save.
	f.at("before-save", func() {
		all, err := f.svc.List(t.Context(), "ada")
		if err != nil {
			t.Fatal(err)
		}
		h, err := f.svc.OpenHTTP(t.Context(), all[0].Ref, "server-2/cart")
		if err != nil {
			t.Fatal(err)
		}
		h.Attributes = map[string]string{"values": `["one","two","meanwhile"]`}
		if err := f.svc.SaveHTTP(t.Context(), all[0].Ref, h); err != nil {
			t.Fatal(err)
		}
	})
	if a := post(2, "/server-2/cart", "item", "three"); !strings.Contains(a.body, "meanwhile") || !strings.Contains(a.body, "<li>three") {
		t.Errorf("a concurrent change was lost: %s", a.body)
	}
	for _, bad := range []string{"", " ", "two\nlines", strings.Repeat("x", 121), "\xff"} {
		if a := post(2, "/server-2/cart", "item", bad); a.StatusCode != http.StatusBadRequest {
			t.Errorf("item %.12q answered %d", bad, a.StatusCode)
		}
	}
	for range 2 {
		post(2, "/server-2/counter", "word", "sheep")
	}
	if a := b.visit(f.url(1, "/server-2/counter")); !strings.Contains(a.body, "<dt>sheep</dt><dd>2</dd>") {
		t.Errorf("counter shows %s", a.body)
	}
	// The end of an HTTP session while its page is being made: no resurrection.
	page := b.visit(f.url(2, "/server-2/counter"))
	f.at("before-save", func() {
		all, _ := f.svc.List(t.Context(), "ada")
		if err := f.svc.EndHTTP(t.Context(), all[0].Ref, "server-2/counter"); err != nil {
			t.Error(err)
		}
	})
	a := b.ask(http.MethodPost, f.url(2, "/server-2/counter"), "word=sheep&csrf="+url.QueryEscape(csrf(page)))
	if a.StatusCode != http.StatusConflict || a.token(f) == "" {
		t.Errorf("save after the end answered %d", a.StatusCode)
	}
	if a := b.visit(f.url(2, "/server-2/counter")); strings.Contains(a.body, "sheep") || !shows(a, "/server-2/counter", "ada") {
		t.Errorf("the ended counter came back: %d %s", a.StatusCode, a.body)
	}
	// Ending one leaves the others; ending the last ends the security session (AJ-3.3).
	for i, app := range []string{"counter", "cart"} {
		path := "/server-2/" + app + "/end"
		form := b.visit(f.url(2, path))
		a := b.ask(http.MethodPost, f.url(2, path), "csrf="+url.QueryEscape(csrf(form)))
		if !shows(a, path, "ada") || !strings.Contains(a.body, "Nothing is remembered") {
			t.Errorf("end %s: %d", app, a.StatusCode)
		}
		alive := shows(b.visit(f.url(1, "/whoami")), "/whoami", "ada")
		if want := i == 0; alive != want {
			t.Errorf("after ending %s: signed in = %v, want %v", app, alive, want)
		}
	}
}

// A log-out while a page is being made leaves nothing alive (F39).
func TestLogoutDuringRequest(t *testing.T) {
	for _, point := range []string{"in-handler", "before-save", "before-respond", "after-redirect"} {
		f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
		b := f.signedIn("ada")
		page := b.visit(f.url(1, "/server-2/cart"))
		f.at(point, func() {
			if _, err := f.svc.Terminate(t.Context(), reference.Selection{User: "ada"}); err != nil {
				t.Error(err)
			}
		})
		b.click(http.MethodPost, f.url(1, "/server-2/cart"), "item=late&csrf="+url.QueryEscape(csrf(page)))
		for i := 1; i <= 3; i++ {
			if a := b.visit(f.url(i, "/whoami")); !refused(a) {
				t.Errorf("closed at %s, and server-%d answers %d", point, i, a.StatusCode)
			}
		}
	}
}

func TestApplet(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
	b := f.signedIn("ada")
	b.header.Set("Accept", "*/*")
	full := b.visit(f.url(1, "/server-2/chart.jar"))
	if full.StatusCode != http.StatusOK || full.Header.Get("Content-Type") != "application/java-archive" ||
		!strings.HasPrefix(full.body, "PK\x03\x04") || !strings.Contains(full.body, "farm-page:/server-2/chart.jar") || full.token(f) == "" {
		t.Fatalf("applet: %d %v", full.StatusCode, full.Header)
	}
	tag := full.Header.Get("Etag")
	for _, tc := range []struct {
		name, method string
		header       [2]string
		status       int
		body         string
	}{
		{"head", http.MethodHead, [2]string{}, 200, ""},
		{"range", http.MethodGet, [2]string{"Range", "bytes=0-3"}, 206, "PK\x03\x04"},
		{"conditional", http.MethodGet, [2]string{"If-None-Match", tag}, 304, ""},
		{"no such range", http.MethodGet, [2]string{"Range", "bytes=999999-"}, 416, "invalid range: failed to overlap\n"},
	} {
		ask := func(b *browser) *answer {
			b.header = http.Header{"Accept": {"*/*"}}
			if tc.header[0] != "" {
				b.header.Set(tc.header[0], tc.header[1])
			}
			return b.ask(tc.method, f.url(2, "/server-2/chart.jar"), "")
		}
		a := ask(b)
		if a.StatusCode != tc.status || a.body != tc.body || a.token(f) == "" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q, token %v, Cache-Control %q", tc.name, a.StatusCode, a.body, a.token(f) != "", a.Header.Get("Cache-Control"))
		}
		if a := ask(f.browser()); a.StatusCode != http.StatusUnauthorized || a.Header.Get("Etag") != "" {
			t.Errorf("%s without a session: %d", tc.name, a.StatusCode)
		}
	}
}

func TestReadVerify(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.ReadVerify, ""})
	b := f.signedIn("ada")
	for _, tc := range []struct {
		accept, dest string
		renews       bool
	}{
		{"text/html", "", true}, {"*/*", "", false}, {"*/*", "document", true}, {"text/html", "image", false}, {"text/html", "empty", false},
	} {
		b.header = http.Header{"Accept": {tc.accept}}
		if tc.dest != "" {
			b.header.Set("Sec-Fetch-Dest", tc.dest)
		}
		for _, path := range []string{"/server-2/chart.jar", "/server-1/chart.jar"} {
			before := b.token(1)
			a := b.visit(f.url(1, path))
			if a.StatusCode != http.StatusOK {
				t.Fatalf("%+v: %s answered %d", tc, path, a.StatusCode)
			}
			if renewed := b.token(1) != before; renewed != tc.renews {
				t.Errorf("%+v: %s renewed = %v", tc, path, renewed)
			}
		}
	}
}

func TestServiceDown(t *testing.T) {
	eachShape(t, func(t *testing.T, f *farm) {
		b := f.signedIn("ada")
		f.wire.set(serviceHost, nil)
		for _, path := range []string{"/whoami", "/server-2/welcome.html", "/server-1/chart.jar", "/server-1/cart", "/login"} {
			method, body := http.MethodGet, ""
			if path == "/login" {
				method, body = http.MethodPost, "user=ada&password=x&csrf="+url.QueryEscape(csrf(f.browser().ask(http.MethodGet, f.url(1, path), "")))
			}
			way := b.click(method, f.url(1, path), body)
			a := way[len(way)-1]
			if want := http.StatusServiceUnavailable; a.StatusCode != want && path != "/login" {
				t.Errorf("%s with the service down: %d, want %d", path, a.StatusCode, want)
			}
			if strings.Contains(a.body, "Signed in as") || strings.Contains(a.body, "farm-page:/server") || a.token(f) != "" {
				t.Errorf("%s with the service down served something: %s", path, a.body)
			}
		}
		if a := b.visit(f.url(1, "/about")); a.StatusCode != http.StatusOK {
			t.Errorf("/about needs no service, got %d", a.StatusCode)
		}
		f.wire.set(serviceHost, f.api)
		if a := b.visit(f.url(1, "/server-2/welcome.html")); !shows(a, "/server-2/welcome.html", "ada") {
			t.Errorf("after the service came back: %d", a.StatusCode)
		}
	})
}

func TestLogin(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
	b := f.signedIn("ada")
	before := b.token(1)
	b.signIn(2, "bob", "/whoami")
	if a := holding(f, before).ask(http.MethodGet, f.url(1, "/whoami"), ""); !refused(a) {
		t.Errorf("the session before log-in lives on: %d", a.StatusCode)
	}
	for _, tc := range []struct{ next, want, why string }{
		{"/server-3/welcome.html?a=b", "/server-3/welcome.html?a=b", "a page of the farm"},
		{"/whoami", "/whoami", "a page of each member"},
		{"/server-3/welcome.html?handoff=x&a=b", "/server-3/welcome.html?a=b", "a hand-off is not kept"},
		{"//evil.test/whoami", "/", "another host"},
		{"https://evil.test/whoami", "/", "another address"},
		{`/\evil.test`, "/", "a backslash, which browsers take for a slash"},
		{"/nowhere", "/", "no page"},
		{"whoami", "/", "not a path"},
		{"/login", "/", "round in circles"},
		{"/whoami\r\nX: y", "/", "a header of its own"},
		{"", "/", "none"},
	} {
		b := f.browser()
		form := b.ask(http.MethodGet, f.url(1, "/login?next="+url.QueryEscape(tc.next)), "")
		a := b.ask(http.MethodPost, f.url(1, "/login"), url.Values{"user": {"ada"}, "password": {"ada's password"}, "csrf": {csrf(form)}, "next": {tc.next}}.Encode())
		if got := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || got != f.url(1, tc.want) {
			t.Errorf("next %q leads to %q, want %q (%s)", tc.next, got, f.url(1, tc.want), tc.why)
		}
	}
	wrong := f.browser()
	form := wrong.ask(http.MethodGet, f.url(1, "/login"), "")
	for _, fields := range []url.Values{
		{"user": {"ada"}, "password": {"no"}, "csrf": {csrf(form)}},
		{"user": {"nobody"}, "password": {"no"}, "csrf": {csrf(form)}},
		{"user": {"ada"}, "password": {"ada's password"}, "csrf": {""}},
		{"user": {"ada"}, "password": {"ada's password"}},
		{"user": {"ada"}, "password": {"ada's password"}, "csrf": {strings.Repeat("0", 32)}},
	} {
		if a := wrong.ask(http.MethodPost, f.url(1, "/login"), fields.Encode()); a.StatusCode != http.StatusForbidden || a.token(f) != "" {
			t.Errorf("log-in with %v: %d", slices.Sorted(maps.Keys(fields)), a.StatusCode)
		}
	}
	cookieless := f.browser()
	if a := cookieless.ask(http.MethodPost, f.url(1, "/login"), url.Values{"user": {"ada"}, "password": {"ada's password"}, "csrf": {csrf(form)}}.Encode()); a.StatusCode != http.StatusForbidden {
		t.Errorf("log-in without the form's cookie: %d", a.StatusCode)
	}
}

func TestLogout(t *testing.T) {
	eachShape(t, func(t *testing.T, f *farm) {
		b := f.signedIn("ada")
		saved := b.token(1)
		form := b.ask(http.MethodGet, f.url(1, "/logout"), "")
		for _, bad := range []string{"", "csrf=", "csrf=" + strings.Repeat("0", 32)} {
			if a := b.ask(http.MethodPost, f.url(1, "/logout"), bad); a.StatusCode != http.StatusForbidden {
				t.Errorf("log-out with form %q: %d", bad, a.StatusCode)
			}
		}
		if !shows(b.visit(f.url(1, "/whoami")), "/whoami", "ada") {
			t.Fatal("a forged log-out worked")
		}
		saved2 := b.token(1)
		for range 2 {
			a := b.ask(http.MethodPost, f.url(1, "/logout"), "csrf="+csrf(form))
			if a.StatusCode != http.StatusOK || b.token(1) != "" || a.Header.Get("Clear-Site-Data") == "" {
				t.Errorf("log-out: %d, token left %v", a.StatusCode, b.token(1) != "")
			}
		}
		for _, sealed := range []string{saved, saved2} {
			for i := 1; i <= 3; i++ {
				if a := holding(f, sealed).ask(http.MethodGet, f.url(i, "/whoami"), ""); !refused(a) {
					t.Errorf("a token from before log-out answers %d at server-%d", a.StatusCode, i)
				}
			}
		}
	})
}

func TestHostileRequests(t *testing.T) {
	f := newFarm(t, shape{web.SingleHost, web.Direct, reference.Strict, ""})
	b := f.signedIn("ada")
	for _, tc := range []struct {
		method, url string
		host        string
		status      int
	}{
		{"GET", f.url(1, "/nowhere"), "", 404},
		{"GET", f.url(1, "/server-2/../server-2/welcome.html"), "", 404},
		{"GET", f.url(1, "//server-2/welcome.html"), "", 404},
		{"GET", f.url(1, "/server-2/welcome.html/"), "", 404},
		{"GET", f.url(1, "/server-2/welcome%2ehtml;x=y"), "", 303},
		{"GET", "http://farm.localhost:8080/%31/whoami", "", 404},
		{"GET", f.url(1, "/whoami;jsessionid=1;x"), "", 200},
		{"PUT", f.url(1, "/whoami"), "", 405},
		{"POST", f.url(1, "/server-2/welcome.html"), "", 405},
		{"TRACE", f.url(1, "/login"), "", 405},
		{"GET", f.url(1, "/internal/handoff"), "", 405},
		{"POST", f.url(1, "/internal/handoff"), "", 401},
		{"GET", f.url(1, "/whoami"), "evil.test", 421},
		{"GET", f.url(1, "/whoami"), "FARM.localhost:8080", 200},
		{"GET", f.url(1, "/static/farm.css"), "", 200},
		{"GET", f.url(1, "/static/"), "", 404},
		{"GET", f.url(1, "/server-1/slow.html?ms=1"), "", 200},
		{"GET", f.url(1, "/server-1/slow.html?ms=-1"), "", 200},
		{"GET", f.url(1, "/about;jsessionid=1"), "", 200},
	} {
		var a *answer
		if tc.host != "" {
			r, _ := http.NewRequest(tc.method, tc.url, nil)
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Cookie", f.farm.CookieName()+"="+b.token(1))
			w := &recorder{header: make(http.Header)}
			r.Host = tc.host
			f.servers["server-1"].ServeHTTP(w, r)
			a = &answer{Response: &http.Response{StatusCode: w.status, Header: w.header}}
			if sealed := a.token(f); sealed != "" {
				b.hold(1, sealed)
			}
		} else {
			a = b.ask(tc.method, tc.url, "")
		}
		if a.StatusCode != tc.status {
			t.Errorf("%s %s (host %q) = %d, want %d", tc.method, tc.url, tc.host, a.StatusCode, tc.status)
		}
		for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy"} {
			if a.Header.Get(name) == "" {
				t.Errorf("%s %s: no %s", tc.method, tc.url, name)
			}
		}
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(s int)   { r.status = s }
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = 200
	}
	return len(b), nil
}

func TestAdminPage(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
	ada, bob := f.signedIn("ada"), f.signedIn("bob")
	ada.visit(f.url(1, "/server-2/cart"))
	admin := f.browser()
	if a := admin.ask(http.MethodGet, f.url(1, "/admin"), ""); a.StatusCode != http.StatusUnauthorized {
		t.Fatalf("anybody is administrator: %d", a.StatusCode)
	}
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth("admin", adminSecret)
	admin.header.Set("Authorization", r.Header.Get("Authorization"))
	page := admin.ask(http.MethodGet, f.url(1, "/admin"), "")
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "server-2/cart") || strings.Contains(page.body, ada.token(1)) {
		t.Fatalf("admin page: %d %s", page.StatusCode, page.body)
	}
	if a := admin.ask(http.MethodPost, f.url(1, "/admin"), "end=all&csrf=x"); a.StatusCode != http.StatusForbidden {
		t.Errorf("a forged form ended everything: %d", a.StatusCode)
	}
	if a := admin.ask(http.MethodPost, f.url(1, "/admin"), "end=user&id=ada&csrf="+csrf(page)); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "Ended.") {
		t.Errorf("end ada: %d", a.StatusCode)
	}
	if a := ada.visit(f.url(1, "/whoami")); !refused(a) {
		t.Errorf("ada is still in: %d", a.StatusCode)
	}
	if a := bob.visit(f.url(1, "/whoami")); !shows(a, "/whoami", "bob") {
		t.Errorf("bob is out too: %d", a.StatusCode)
	}
}

func TestWhoamiJSON(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
	b := f.signedIn("ada")
	b.header.Set("Accept", "application/json")
	a := b.ask(http.MethodGet, f.url(1, "/whoami"), "")
	want := `{"user":"ada","member":"server-1","page":"farm-page:/whoami","message":"Signed in as ada"}`
	if a.Header.Get("Content-Type") != "application/json" || a.body != want {
		t.Errorf("whoami = %s, want %s", a.body, want)
	}
}

// The parts a person sees in a sequence diagram, in order, and never a token.
func TestEventsOfAHop(t *testing.T) {
	for handoff, want := range map[web.Handoff][]string{
		web.Sealed: {"server-1 receive server-1", "server-1 decrypt server-1", "server-1 redirect browser", "server-2 receive server-2", "server-2 decrypt server-2",
			"server-2 decrypt server-2", "server-2 renew service", "server-2 encrypt server-2", "server-2 respond browser"},
		web.Claimed: {"server-1 receive server-1", "server-1 decrypt server-1", "server-1 redirect browser", "server-2 receive server-2",
			"server-2 decrypt server-2", "server-2 renew service", "server-2 encrypt server-2", "server-2 respond browser"},
		web.Direct: {"server-1 receive server-1", "server-1 decrypt server-1", "server-1 handoff server-2", "server-1 redirect browser", "server-2 receive server-2",
			"server-2 decrypt server-2", "server-2 renew service", "server-2 encrypt server-2", "server-2 respond browser"},
	} {
		f := newFarm(t, shape{web.SharedDomain, handoff, reference.Strict, ""})
		b := f.signedIn("ada")
		f.events = nil
		b.visit(f.url(1, "/server-2/welcome.html"))
		var got []string
		for _, e := range f.events {
			got = append(got, e.Part+" "+e.Op+" "+e.Peer)
			if e.Err != nil {
				t.Errorf("%s: %v", handoff, e)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s hop (-want +got):\n%s", handoff, diff)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	dir := func(urls ...string) web.Directory {
		var members []web.Member
		for i, u := range urls {
			members = append(members, web.Member{Name: fmt.Sprintf("server-%d", i+1), URL: u})
		}
		d, err := web.NewDirectory(members...)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	good := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
	for _, tc := range []struct {
		why string
		c   web.ServerConfig
	}{
		{"not in the directory", web.ServerConfig{Name: "server-9", Farm: good.farm}},
		{"outside the shared domain", web.ServerConfig{Name: "server-1", Farm: web.Farm{Directory: dir("http://s1.test"), Domain: "farm.localhost"}}},
		{"one host, two cookies", web.ServerConfig{Name: "server-1", Farm: web.Farm{Directory: dir("http://s.test:1", "http://s.test:2"), Topology: web.SplitDomain}}},
		{"no path on a common host", web.ServerConfig{Name: "server-1", Farm: web.Farm{Directory: dir("http://s.test"), Topology: web.SingleHost}}},
		{"direct without peers", web.ServerConfig{Name: "server-1", Farm: web.Farm{Directory: dir("http://s.test"), Topology: web.SplitDomain, Handoff: web.Direct}}},
		{"unknown mode", web.ServerConfig{Name: "server-1", Farm: web.Farm{Directory: dir("http://s.test"), Topology: web.SplitDomain, Handoff: "pigeon"}}},
	} {
		tc.c.Sessions, tc.c.Sealer = good.svc, good.codec
		if _, err := web.NewServer(tc.c); err == nil {
			t.Errorf("a member that is %s was made", tc.why)
		}
	}
	for _, m := range []web.Member{{Name: "Server", URL: "http://x"}, {Name: "s", URL: "http://x/"}, {Name: "s", URL: "ftp://x"}, {Name: "s", URL: "http://u@x"}, {Name: "s", URL: "//x"}} {
		if _, err := web.NewDirectory(m); err == nil {
			t.Errorf("directory took member %+v", m)
		}
	}
}

// IPv6 hosts and path parameters come through a hop as they were (WF-9.2).
func TestHopToIPv6(t *testing.T) {
	f := newFarm(t, shape{web.SplitDomain, web.Claimed, reference.Strict, ""})
	dir, err := web.NewDirectory(web.Member{Name: "server-1", URL: "http://[::1]:8080"}, web.Member{Name: "server-2", URL: "http://[fe80::2]:8080"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := web.NewServer(web.ServerConfig{Name: "server-1", Sessions: f.svc, Sealer: f.codec, Farm: web.Farm{Directory: dir, Topology: web.SplitDomain, Handoff: web.Claimed}})
	if err != nil {
		t.Fatal(err)
	}
	f.wire.set("[::1]:8080", s)
	r, _ := http.NewRequest(http.MethodGet, "http://[::1]:8080/server-2/report.jsp;a=%3B?q=%5B::1%5D", nil)
	r.Header.Set("Cookie", "__Host-farm="+f.signedIn("ada").token(1))
	a, err := f.wire.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := "http://[fe80::2]:8080/server-2/report.jsp;a=%3B?q=%5B::1%5D&sid="; !strings.HasPrefix(a.Header.Get("Location"), want) {
		t.Errorf("Location = %d %q, want %s...", a.StatusCode, a.Header.Get("Location"), want)
	}
}

// A failing service is no refusal, whatever it says.
type brokenSessions struct{ reference.Sessions }

func (brokenSessions) Renew(context.Context, reference.Presented) (reference.Grant, error) {
	return reference.Grant{}, fmt.Errorf("renew session: %w", errors.Join(reference.ErrCaller))
}

func TestUnauthenticatedMemberFailsClosed(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""}, func(c *web.ServerConfig) {
		if c.Name == "server-2" {
			c.Sessions = brokenSessions{c.Sessions}
		}
	})
	if a := f.signedIn("ada").visit(f.url(1, "/server-2/welcome.html")); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answered %d", a.StatusCode)
	}
}
