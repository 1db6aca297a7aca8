package farmspec

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// noon is when these tests happen.
var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// clocked is a browser with a clock of its own.
func clocked() (*Browser, *time.Time) {
	now := noon
	return NewBrowser(BrowserOptions{Now: func() time.Time { return now }}), &now
}

const (
	s1     = "http://s1.farm.localhost/dir/page"
	s2     = "http://s2.farm.localhost/dir/page"
	plain  = "http://www.example.test/dir/page"
	sealed = "https://www.example.test/dir/page"
)

func TestCookieIsStored(t *testing.T) {
	for _, tc := range []struct {
		name, at, line string
		want           Cookie // Value, Created and LastAccess left out
		why            string
	}{
		{"host only", s1, "a=1", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir"}, "RFC 6265bis 5.7: no Domain, the host alone; 5.1.4: the path up to its last slash"},
		{"domain", s1, "a=1; Domain=farm.localhost", Cookie{Domain: "farm.localhost", Path: "/dir"}, "5.7: localhost is a public suffix, farm.localhost is not"},
		{"dotted domain", s1, "a=1; domain=.FARM.localhost", Cookie{Domain: "farm.localhost", Path: "/dir"}, "5.6.3: the leading dot goes, case does not count"},
		{"last domain empty", s1, "a=1; Domain=farm.localhost; Domain=", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir"}, "5.7: the last attribute counts, and empty is none"},
		{"suffix naming itself", "http://localhost/", "a=1; Domain=localhost", Cookie{Domain: "localhost", HostOnly: true, Path: "/"}, "5.7: a public suffix may set for itself, host only"},
		{"address naming itself", "http://127.0.0.1/", "a=1; Domain=127.0.0.1", Cookie{Domain: "127.0.0.1", HostOnly: true, Path: "/"}, "5.1.3: an address matches itself only"},
		{"path", s1, "a=1; Path=/x; Path=/y", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/y"}, "5.7: the last attribute counts"},
		{"relative path", s1, "a=1; Path=x", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir"}, "5.6.4: a path that is not absolute is no path"},
		{"secure on localhost", s1, "a=1; Secure; HttpOnly", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir", Secure: true, HTTPOnly: true}, "Secure Contexts 3.1: *.localhost is potentially trustworthy"},
		{"secure on loopback address", "http://[::1]:80/", "a=1; Secure", Cookie{Domain: "::1", HostOnly: true, Path: "/", Secure: true}, "Secure Contexts 3.1: so is ::1"},
		{"secure on https", sealed, "a=1; Secure", Cookie{Domain: "www.example.test", HostOnly: true, Path: "/dir", Secure: true}, "5.7"},
		{"host prefix", s1, "__Host-a=1; Secure; Path=/", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/", Secure: true}, "5.4.2"},
		{"host prefix in capitals", s1, "__HOST-a=1; Secure; Path=/", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/", Secure: true}, "5.4.2: the rule holds in any case"},
		{"secure prefix with domain", s1, "__Secure-a=1; Secure; Domain=farm.localhost", Cookie{Domain: "farm.localhost", Path: "/dir", Secure: true}, "5.4.1: __Secure- asks for Secure only"},
		{"http prefix", s1, "__Http-a=1; Secure; HttpOnly", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir", Secure: true, HTTPOnly: true}, "layered-cookies: Secure and HttpOnly"},
		{"strict", s1, "a=1; SameSite=sTRICT", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir", SameSite: SameSiteStrict}, "5.6.7: the value's case does not count"},
		{"odd samesite", s1, "a=1; SameSite=Strict; SameSite=Odd", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir"}, "5.6.7: an unknown value is the default, and the last counts"},
		{"none", s1, "a=1; SameSite=None; Secure", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir", Secure: true, SameSite: SameSiteNone}, "5.7"},
		{"max-age over expires", s1, "a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir", Expires: noon.Add(time.Minute)}, "5.7: Max-Age has precedence"},
		{"odd max-age", s1, "a=1; Max-Age=60s", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir"}, "5.6.2: not digits, no attribute"},
		{"enormous max-age", s1, "a=1; Max-Age=99999999999999999999", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir", Expires: noon.Add(400 * 24 * time.Hour)}, "5.5: at most 400 days"},
		{"expires", s1, "a=1; Expires=Sun, 01-Nov-26 12:30:00 GMT", Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir", Expires: noon.Add(30 * time.Minute)}, "5.1.1: two digits of year, any delimiter"},
		{"attribute too long", s1, "a=1; Path=/" + strings.Repeat("p", 1024), Cookie{Domain: "s1.farm.localhost", HostOnly: true, Path: "/dir"}, "5.6: over 1024 bytes, no attribute"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, _ := clocked()
			if err := b.SetCookie(tc.at, tc.line); err != nil {
				t.Fatalf("%v (%s)", err, tc.why)
			}
			all := b.AllCookies()
			if len(all) != 1 {
				t.Fatalf("%d cookies stored, want 1 (%s)", len(all), tc.why)
			}
			got := all[0]
			tc.want.Name, tc.want.Value, tc.want.Created, tc.want.LastAccess, tc.want.seq = got.Name, "1", noon, noon, got.seq
			if got != tc.want {
				t.Errorf("stored %v, want %v (%s)", got, tc.want, tc.why)
			}
			if got.Name != strings.SplitN(tc.line, "=", 2)[0] {
				t.Errorf("stored under %q", got.Name)
			}
		})
	}
}

func TestCookieIsRefused(t *testing.T) {
	for _, tc := range []struct{ at, line, reason, why string }{
		{s1, "a=\x00", "control character", "RFC 6265bis 5.6: a control character spoils the field"},
		{s1, "a=1; Path=/\x7f", "control character", "5.6: in attributes too"},
		{s1, "a=x\ty", "tab", "as Chromium; 5.6 lets a tab through"},
		{s1, "=", "neither name nor value", "5.7"},
		{s1, "", "neither name nor value", "5.7"},
		{s1, "a=" + strings.Repeat("v", 4096), "longer than 4096", "5.6: name and value together"},
		{s1, "a=1; Domain=localhost", "public suffix", "5.7: one farm must not set for all of localhost"},
		{s1, "a=1; Domain=s2.farm.localhost", "does not cover", "5.7: not for a sibling"},
		{s1, "a=1; Domain=x.s1.farm.localhost", "does not cover", "5.7: not for a child"},
		{s1, "a=1; Domain=ärger.farm.localhost", "ASCII", "5.7"},
		{"http://127.0.0.1/", "a=1; Domain=0.0.1", "does not cover", "5.1.3: addresses have no parents"},
		{plain, "a=1; Secure", "insecure connection", "5.7: http may not set Secure"},
		{plain, "a=1; SameSite=None", "needs Secure", "5.7"},
		{s1, "__Secure-a=1", "needs Secure", "5.4.1"},
		{s1, "__secure-a=1", "needs Secure", "5.4.1: in any case"},
		{s1, "__Host-a=1; Path=/", "needs Secure", "5.4.2"},
		{s1, "__Host-a=1; Secure", "needs Path=/", "5.4.2: the default path is not enough"},
		{"http://s1.farm.localhost/", "__Host-a=1; Secure", "needs Path=/", "5.4.2: not even where the default is /"},
		{s1, "__Host-a=1; Secure; Path=/; Domain=farm.localhost", "forbids Domain", "5.4.2"},
		{s1, "__Http-a=1; Secure", "needs HttpOnly", "layered-cookies"},
		{s1, "__Host-Http-a=1; Secure; HttpOnly", "needs Path=/", "layered-cookies"},
		{s1, "=__Host-a", "nameless", "5.7: it would be sent as if prefixed"},
	} {
		t.Run(tc.line[:min(len(tc.line), 40)], func(t *testing.T) {
			b, _ := clocked()
			err := b.SetCookie(tc.at+"?secret", tc.line)
			if err == nil || !strings.Contains(err.Error(), tc.reason) {
				t.Fatalf("SetCookie = %v, want an error about %q (%s)", err, tc.reason, tc.why)
			}
			if n := len(b.AllCookies()); n != 0 {
				t.Errorf("%d cookies stored (%s)", n, tc.why)
			}
			rejected := b.RejectedCookies()
			if len(rejected) != 1 || rejected[0].URL != tc.at || !strings.Contains(rejected[0].Reason, tc.reason) {
				t.Errorf("RejectedCookies = %+v", rejected)
			}
		})
	}
}

func TestCookieGoes(t *testing.T) {
	for _, tc := range []struct {
		set, line, to string
		how           sending
		want          bool
		why           string
	}{
		{s1, "a=1", s1, fromSameSite, true, "RFC 6265bis 5.8.3"},
		{s1, "a=1", s2, fromSameSite, false, "5.8.3: host only"},
		{s1, "a=1; Domain=farm.localhost", s2, fromSameSite, true, "5.8.3: the domain covers the sibling"},
		{s1, "a=1; Domain=farm.localhost", "http://notfarm.localhost/dir/", fromSameSite, false, "5.1.3: a dot must stand between"},
		{s1, "a=1", "http://s1.farm.localhost:8081/dir/", fromSameSite, true, "8.5: ports do not isolate"},
		{s1, "a=1", "https://s1.farm.localhost/dir/", fromSameSite, true, "8.5: nor do schemes"},
		{s1, "a=1", "http://S1.FARM.localhost./dir/", fromSameSite, true, "5.1.2: one canonical host"},
		{s1, "a=1; Path=/dir", "http://s1.farm.localhost/dir", fromSameSite, true, "5.1.4: the path itself"},
		{s1, "a=1; Path=/dir", "http://s1.farm.localhost/dir/x", fromSameSite, true, "5.1.4: below it"},
		{s1, "a=1; Path=/dir", "http://s1.farm.localhost/directory", fromSameSite, false, "5.1.4: a slash must follow"},
		{s1, "a=1; Path=/dir/", "http://s1.farm.localhost/dir", fromSameSite, false, "5.1.4"},
		{s1, "a=1; Path=/Dir", s1, fromSameSite, false, "5.1.4: case counts"},
		{sealed, "a=1; Secure", plain, fromSameSite, false, "5.8.3: Secure stays off http"},
		{s1, "a=1; Secure", s1, fromSameSite, true, "Secure Contexts 3.1: loopback names are trustworthy"},
		{s1, "a=1", s1, crossSiteVisit, true, "5.6.7: the default goes with a link"},
		{s1, "a=1", s1, crossSitePost, true, "5.6.7.2: and for two minutes with a POST"},
		{s1, "a=1", s1, crossSiteLoad, false, "5.8.3: not with a sub-resource"},
		{s1, "a=1; SameSite=Lax", s1, crossSiteVisit, true, "5.6.7.1"},
		{s1, "a=1; SameSite=Lax", s1, crossSitePost, false, "5.6.7.1: Lax said aloud has no two minutes"},
		{s1, "a=1; SameSite=Strict", s1, fromSameSite, true, "5.6.7.1"},
		{s1, "a=1; SameSite=Strict", s1, crossSiteVisit, false, "5.6.7.1"},
		{s1, "a=1; SameSite=None; Secure", s1, crossSiteLoad, true, "5.8.3"},
		{s1, "a=1; SameSite=None; Secure", s1, crossSitePost, true, "5.8.3"},
	} {
		b, _ := clocked()
		if err := b.SetCookie(tc.set, tc.line); err != nil {
			t.Fatal(err)
		}
		u, err := parseURL(tc.to)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.cookies.header(u, tc.how, noon) != ""; got != tc.want {
			t.Errorf("%q from %s goes to %s (%d): %v, want %v (%s)", tc.line, tc.set, tc.to, tc.how, got, tc.want, tc.why)
		}
	}
}

func TestCookieTime(t *testing.T) {
	b, now := clocked()
	for _, line := range []string{"session=1", "minute=1; Max-Age=60", "default=1"} {
		if err := b.SetCookie(s1, line); err != nil {
			t.Fatal(err)
		}
	}
	names := func(how sending) string {
		u, _ := parseURL(s1)
		return b.cookies.header(u, how, *now)
	}
	for _, tc := range []struct {
		after time.Duration
		how   sending
		want  string
		why   string
	}{
		{59 * time.Second, fromSameSite, "session=1; minute=1; default=1", "RFC 6265bis 5.6.2: a minute lasts a minute"},
		{60 * time.Second, fromSameSite, "session=1; default=1", "5.7: expired at its expiry"},
		{2*time.Minute - 1, crossSitePost, "session=1; default=1", "5.6.7.2: just inside two minutes"},
		{2 * time.Minute, crossSitePost, "", "5.6.7.2: over"},
		{24 * time.Hour, fromSameSite, "session=1; default=1", "5.7: a session cookie lasts with the browser"},
	} {
		*now = noon.Add(tc.after)
		if got := names(tc.how); got != tc.want {
			t.Errorf("after %v: %q, want %q (%s)", tc.after, got, tc.want, tc.why)
		}
	}
	for _, line := range []string{"session=; Max-Age=0", "default=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"} {
		if err := b.SetCookie(s1, line); err != nil {
			t.Fatal(err)
		}
	}
	if left := b.AllCookies(); len(left) != 0 {
		t.Errorf("still there after being deleted: %v", left)
	}
}

func TestCookieOrder(t *testing.T) {
	b, _ := clocked() // the clock stands: order of setting decides
	for _, line := range []string{"a=1; Path=/", "b=1; Path=/", "c=1; Path=/dir", "d=1; Path=/", "a=1; Path=/", "b=2; Path=/"} {
		if err := b.SetCookie(s1, line); err != nil {
			t.Fatal(err)
		}
	}
	u, _ := parseURL(s1)
	if got, want := b.cookies.header(u, fromSameSite, noon), "c=1; a=1; d=1; b=2"; got != want {
		t.Errorf("sent %q, want %q: longer paths first, then older; a new value makes a new cookie", got, want)
	}
}

func TestInsecureConnectionLeavesSecureCookiesAlone(t *testing.T) {
	for _, tc := range []struct {
		line string
		ok   bool
		why  string
	}{
		{"s=2; Path=/dir", false, "RFC 6265bis 5.7: it would stand before the Secure one"},
		{"s=2; Path=/dir/below", false, "5.7: below it too"},
		{"s=2; Path=/dir; Domain=example.test", false, "5.7: domains that overlap, either way"},
		{"s=2; Path=/", true, "5.7: above it does no harm"},
		{"t=2; Path=/dir", true, "5.7: another name"},
	} {
		b, _ := clocked()
		if err := b.SetCookie(sealed, "s=1; Secure; Path=/dir"); err != nil {
			t.Fatal(err)
		}
		if err := b.SetCookie(plain, tc.line); (err == nil) != tc.ok {
			t.Errorf("SetCookie(%q) = %v, want ok %v (%s)", tc.line, err, tc.ok, tc.why)
		}
	}
}

func TestTooManyCookies(t *testing.T) {
	b, now := clocked()
	for i := range 181 {
		*now = now.Add(time.Second)
		line := fmt.Sprintf("c%03d=1; Path=/", i)
		if i < 10 {
			line += "; Secure"
		}
		if i == 11 {
			b.Cookies(s1) // looking is not using
		}
		if i == 100 {
			u, _ := parseURL("http://s1.farm.localhost/")
			b.cookies.header(u, fromSameSite, *now) // uses the first hundred
		}
		if err := b.SetCookie([]string{s1, s2}[i/100], line); err != nil {
			t.Fatal(err)
		}
	}
	all := b.AllCookies()
	if len(all) != 150 {
		t.Fatalf("%d cookies left, want 150: Chromium makes room for thirty", len(all))
	}
	for _, c := range all {
		if n := c.Name; !c.Secure && n >= "c010" && n < "c041" {
			t.Errorf("%s is left; the least recently used without Secure go first (RFC 6265bis 5.7)", n)
		}
	}
}

func TestCookieDate(t *testing.T) {
	for _, tc := range []struct {
		in, want, why string
	}{
		{"Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z", "RFC 6265bis 5.1.1: the usual form"},
		{"Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37Z", "70 to 99 are of the last century"},
		{"Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37Z", "any order"},
		{"6 november 2026 8:9:7PM", "2026-11-06T08:09:07Z", "what follows the digits does not count"},
		{"1 jan 38 1:2:3", "2038-01-01T01:02:03Z", "0 to 69 are of this century"},
		{"1 Jan 1600 00:00:00", "", "before 1601"},
		{"30 Feb 2026 00:00:00", "", "no such day"},
		{"1 Jan 2026 24:00:00", "", "no such hour"},
		{"1 Jan 2026", "", "no time"},
		{"1 Jan 20266 00:00:00", "", "five digits are no year"},
		{"tomorrow", "", "no date at all"},
		{"", "", "nothing"},
	} {
		got, ok := cookieDate(tc.in)
		if s := got.Format(time.RFC3339); ok != (tc.want != "") || ok && s != tc.want {
			t.Errorf("cookieDate(%q) = %s, %v, want %q (%s)", tc.in, s, ok, tc.want, tc.why)
		}
	}
}

func TestCookieAPI(t *testing.T) {
	b, _ := clocked()
	for _, line := range []string{"token=secret-value; Path=/", "token=other; Path=/dir", "companion=1; Domain=farm.localhost; Path=/"} {
		if err := b.SetCookie(s1, line); err != nil {
			t.Fatal(err)
		}
	}
	before := b.Snapshot()
	if c, ok := b.Cookie(s1, "token"); !ok || c.Value != "other" {
		t.Errorf("Cookie = %v, %v, want the one sent first", c, ok)
	}
	clone := b.Clone("thief")
	if n := b.DeleteCookie(s1, "token"); n != 2 {
		t.Errorf("DeleteCookie removed %d, want 2", n)
	}
	if got := len(b.AllCookies()); got != 1 {
		t.Errorf("%d cookies left, want the companion", got)
	}
	if got := len(clone.AllCookies()); got != 3 {
		t.Errorf("the clone has %d cookies, want its own 3", got)
	}
	b.ClearCookies()
	b.Restore(before)
	if diff := cmp.Diff(fmt.Sprint(before), fmt.Sprint(b.Snapshot())); diff != "" {
		t.Errorf("Restore (-want +got):\n%s", diff)
	}
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s %q", before, before[0], before[0], before[0], before[0]), fmt.Sprint(&before[0])} {
		if strings.Contains(shown, "secret-value") {
			t.Errorf("a value shows: %s", shown)
		}
	}
	b.PutCookie(Cookie{Name: "__Host-planted", Value: "x", Domain: "s2.farm.localhost", Path: "/"})
	if _, ok := b.Cookie(s2, "__Host-planted"); !ok {
		t.Error("PutCookie applied a rule")
	}
}

// FuzzSetCookie checks that no Set-Cookie field breaks the store, and that
// what it lets in obeys the rules that protect the sender.
func FuzzSetCookie(f *testing.F) {
	for _, line := range []string{
		"a=1; Domain=farm.localhost; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=10; Expires=Sun, 06 Nov 1994 08:49:37 GMT",
		"__Host-a=1; Path=/; Secure", "=;", "a", ";;;=;", "a=\t1", "a=1; domain=.", "a=1;Expires=99999999999999999999", "=__hOst-x", "a=1; Max-Age=-",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		b, _ := clocked()
		err := b.SetCookie(s1, line)
		all := b.AllCookies()
		if err != nil && len(all) > 0 {
			t.Fatalf("refused (%v) and stored", err)
		}
		if (err != nil) != (len(b.RejectedCookies()) == 1) {
			t.Fatalf("error %v, %d rejected", err, len(b.RejectedCookies()))
		}
		for _, c := range all {
			name := strings.ToLower(c.Name)
			switch {
			case len(c.Name)+len(c.Value) > 4096, strings.ContainsAny(c.Name, "=;"), strings.ContainsRune(c.Value, ';'):
				t.Errorf("stored name %q", c.Name)
			case c.Domain != "s1.farm.localhost" && c.Domain != "farm.localhost":
				t.Errorf("stored for %s", c.Domain)
			case !strings.HasPrefix(c.Path, "/"):
				t.Errorf("stored for path %q", c.Path)
			case strings.HasPrefix(name, "__host-") && (!c.Secure || !c.HostOnly || c.Path != "/"):
				t.Errorf("prefix broken: %v", c)
			case c.SameSite == SameSiteNone && !c.Secure:
				t.Errorf("SameSite=None without Secure: %v", c)
			}
		}
		u, _ := parseURL("http://s1.farm.localhost/dir/x")
		if sent := b.cookies.header(u, fromSameSite, noon); sent != "" {
			req := http.Request{Header: http.Header{"Cookie": {sent}}}
			if strings.ContainsAny(sent, "\x00\r\n\x7f") || len(req.Cookies()) > 1 {
				t.Errorf("sends %q", sent)
			}
		}
	})
}
