package loadtest

import (
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
)

func arrivals(t *testing.T, pacer string, rate float64, over time.Duration, shard Shard) []Arrival {
	t.Helper()
	p, err := ParsePace(pacer, rate, over)
	if err != nil {
		t.Fatal(err)
	}
	s := schedule{pacer: p.Pacer, end: over, shard: shard}
	var all []Arrival
	for {
		a, ok := s.next()
		if !ok {
			return all
		}
		all = append(all, a)
	}
}

// Each pacer asks for as many arrivals as its rate comes to.
func TestPacers(t *testing.T) {
	for _, tc := range []struct {
		pacer string
		rate  float64
		want  float64
		why   string
	}{
		{"constant", 100, 1000, "100/s for 10 s"},
		{"constant", 0.5, 4, "one each 2 s, the one at 10 s is over"},
		{"ramp:300", 100, 2000, "200/s on average"},
		{"sine:50/10s", 100, 1000, "a whole wave averages out"},
		{"steps:100/5s", 100, 1500, "5 s of 100/s and 5 s of 200/s"},
		{"burst:50/4s", 100, 1100, "two bursts of 50"},
	} {
		all := arrivals(t, tc.pacer, tc.rate, 10*time.Second, Shard{})
		if got := float64(len(all)); math.Abs(got-tc.want) > 2 {
			t.Errorf("%s at %v/s: %v arrivals in 10 s, want %v (%s)", tc.pacer, tc.rate, got, tc.want, tc.why)
		}
		for i := 1; i < len(all); i++ {
			if all[i].Due < all[i-1].Due {
				t.Errorf("%s: arrival %d is due before %d", tc.pacer, i, i-1)
			}
		}
	}
	burst := arrivals(t, "burst:50/4s", 1, 5*time.Second, Shard{})
	if at := burst[10].Due; at != burst[40].Due || at != 4*time.Second {
		t.Errorf("the burst is due from %v to %v, want at 4s", at, burst[40].Due)
	}
}

// Shards have the whole plan's arrivals, each once.
func TestShards(t *testing.T) {
	whole := arrivals(t, "sine:50/3s", 100, 5*time.Second, Shard{})
	byN := make(map[uint64]time.Duration)
	browsers := 0
	for i := range 3 {
		s := Shard{i + 1, 3}
		browsers += s.share(50)
		for _, a := range arrivals(t, "sine:50/3s", 100, 5*time.Second, s) {
			if _, twice := byN[a.N]; twice {
				t.Fatalf("arrival %d is in two shards", a.N)
			}
			byN[a.N] = a.Due
		}
	}
	if len(byN) != len(whole) || browsers != 50 {
		t.Errorf("3 shards have %d of %d arrivals and %d of 50 browsers", len(byN), len(whole), browsers)
	}
	for _, a := range whole {
		if byN[a.N] != a.Due {
			t.Fatalf("arrival %d is due at %v in its shard, %v in the whole", a.N, byN[a.N], a.Due)
		}
	}
}

func TestWrongWords(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{errorOf(ParsePace("constnat", 1, 1)), "did you mean constant?"},
		{errorOf(ParsePace("ramp:fast", 1, 1)), "ramp:TO"},
		{errorOf(ParsePace("sine:200/1s", 100, 1)), "below the rate"},
		{errorOf(ParsePace("burst:5", 1, 1)), "burst:N/EVERY"},
		{errorOf(ParsePace("constant", 0, 1)), "want 0.001 to"},
		{errorOf(ParsePace("constant", math.NaN(), 1)), "want 0.001 to"},
	} {
		if !strings.Contains(tc.got, tc.want) {
			t.Errorf("error %q does not say %q", tc.got, tc.want)
		}
	}
	for mix, want := range map[string]string{"veiw=1": "did you mean view?", "view=0": "nothing would be done", "view": "weights", "view=1,view=2": "twice", "hop=-1": "weights"} {
		if _, err := ParseMix(mix); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseMix(%q) = %v, want it to say %q", mix, err, want)
		}
	}
	for _, shard := range []string{"0/2", "3/2", "1", "a/b", "1/0"} {
		if _, err := ParseShard(shard); err == nil {
			t.Errorf("ParseShard(%q) has no error", shard)
		}
	}
}

func errorOf(_ Pace, err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// The jar sends what farmspec.Browser sends, whatever was set.
func TestJarAgreesWithBrowser(t *testing.T) {
	lines := []string{
		"__Host-a=1; Secure; Path=/", "__Host-b=1; Secure; Path=/; Domain=farm.localhost", "__Secure-c=1; Secure; Domain=farm.localhost; Path=/",
		"d=1", "d=2; Path=/", "e=1; Path=/shop", "e=2; Path=/shop/cart; Max-Age=60", "f=1; Max-Age=0", "d=; Max-Age=0", "g=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
		"e=3; Path=/shop", "h=1; Domain=other.localhost", "i=1; Domain=localhost", "j", "k=a=b; HttpOnly; SameSite=Lax", "__Secure-c=9; Secure; Domain=farm.localhost; Path=/; HttpOnly",
		"__Secure-c=; Secure; Domain=farm.localhost; Path=/; Max-Age=-1", "=x", "l=1; SameSite=None", "m=1; Path=relative", "d=3; Path=/; Expires=Fri, 31 Dec 2055 23:59:59 GMT",
	}
	setAt := []string{"http://server-1.farm.localhost:81/shop/cart", "http://server-2.farm.localhost:82/", "http://farm.localhost:83/1/shop"}
	sentTo := append(setAt, "http://server-1.farm.localhost:81/shopping", "http://server-1.farm.localhost:81/shop/cart/x", "http://server-3.farm.localhost:9/")
	truth := farmspec.NewBrowser(farmspec.BrowserOptions{})
	rs := newRules()
	var j jar
	for i, line := range lines {
		from := setAt[i%len(setAt)]
		u, err := url.Parse(from)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		err = truth.SetCookie(from, line)
		if _, _, ok := j.set(rs, originOf(u), u, line, now.UnixNano()); ok != (err == nil) {
			t.Errorf("%q from %s: kept %v, the browser says %v", line, from, ok, err)
		}
		for _, to := range sentTo {
			u, err := url.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, c := range truth.Cookies(to) {
				if c.Name != "" {
					c.Value = c.Name + "=" + c.Value
				}
				want = append(want, c.Value)
			}
			if got := j.header(originOf(u), u, time.Now().UnixNano()); got != strings.Join(want, "; ") {
				t.Errorf("after %q from %s, to %s: sent %q, want %q", line, from, to, got, strings.Join(want, "; "))
			}
		}
	}
}

func TestJarIsBounded(t *testing.T) {
	var j jar
	rs := newRules()
	u := &url.URL{Scheme: "http", Host: "farm.localhost", Path: "/"}
	for i := range 10_000 {
		j.set(rs, originOf(u), u, "n"+strings.Repeat("x", i%50)+string(rune('a'+i%26))+strings.Repeat("y", i/500)+"=1", 1)
	}
	if len(j.cookies) > maxCookies || len(rs.known) > maxRules {
		t.Errorf("%d cookies and %d rules are kept", len(j.cookies), len(rs.known))
	}
}
