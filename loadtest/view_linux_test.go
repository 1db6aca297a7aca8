package loadtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
)

// pages answers every request with the same page, and a token of its own.
type pages struct {
	answer []byte
	token  []byte // within the answer
	n      uint64
}

const pageMarker, pageToken = "farm-page:/server-1/welcome.html", "AQERpp1-fO4P0am01gMK4YZnMEPRCwC9P9DEaupUf5-hW8L7IwQyqX0UW7PPiFiz5JPKHNxq"

func newPages() *pages {
	body := fmt.Sprintf("<!doctype html><title>Welcome</title>%900s<p>Signed in as user-1</p><p>%s</p>", "", pageMarker)
	head := "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n" +
		"Content-Security-Policy: default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; frame-ancestors 'none'; form-action 'self' http://*.farm.localhost:*\r\n" +
		"Content-Type: text/html; charset=utf-8\r\nReferrer-Policy: no-referrer\r\nSet-Cookie: __Secure-farm="
	p := &pages{answer: []byte(head + pageToken + "; Path=/; Domain=farm.localhost; HttpOnly; Secure; SameSite=Lax\r\n" +
		"X-Content-Type-Options: nosniff\r\nDate: Sun, 22 Nov 2026 10:51:41 GMT\r\n\r\n" + body)}
	p.token = p.answer[len(head):][:len(pageToken)]
	return p
}

func (p *pages) get(context.Context, time.Time, string) (line, bool, error) { return p, true, nil }
func (p *pages) put(string, line)                                           {}
func (p *pages) close()                                                     {}

func (p *pages) carry(_ context.Context, _ time.Time, w *fastWire, a *response) error {
	p.n++
	for n, i := p.n, len(p.token)-1; n > 0; n, i = n>>4, i-1 {
		p.token[i] = 'a' + byte(n&15)
	}
	a.in.raw = append(a.in.raw, p.answer...)
	whole, err := a.in.read(len(p.answer), nil)
	if !whole && err == nil {
		err = errMalformed
	}
	return err
}

// signedIn is a stage whose browsers are signed in at the address, by a farm
// that is not asked.
func signedIn(t testing.TB, address string, browsers int) *stage {
	t.Helper()
	target := &farmspec.Target{Name: "pages", Members: []farmspec.Member{{Name: "server-1", URL: "http://" + address}},
		Carrier: farmspec.Carrier{Kind: "cookie", Name: "__Secure-farm"}, Login: farmspec.LoginRecipe{Path: "/login"}, Rotation: farmspec.Strict,
		Pages:    []farmspec.Page{{Member: "server-1", Path: "/server-1/welcome.html", Marker: pageMarker, Echo: true}},
		UserEcho: "Signed in as {user}", Hooks: farmspec.Hooks{Accounts: nobody{}}}
	pace, err := Constant(1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoad(Options{Target: target, Engine: Fast{}, Pace: pace, Browsers: browsers, Duration: time.Second, Probe: -1, MaxHistory: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range l.browsers {
		b.user.Name, b.in, b.token, b.session = "user-1", true, 1, l.history.newSession()
		l.free <- b
	}
	s := &stage{load: l, t: newTally(0, time.Second, l.members, nil), lend: t.Context(), views: t.Context()}
	s.t.started = time.Now()
	return s
}

// viewer makes page views one after the other, without a network.
func viewer(t testing.TB) (view func(n uint64)) {
	t.Helper()
	s := signedIn(t, "server-1.farm.localhost:8081", 1)
	s.wire.(*fastWire).slow = newPages()
	return func(n uint64) {
		j := s.job(Arrival{N: n})
		j.action, j.b = View, <-s.free
		if s.carryOut(s.views, &j); s.counts[0].Load() != n+1 {
			t.Fatalf("page view %d was not served", n)
		}
		if n%1000 == 999 {
			s.t.gather()
		}
	}
}

type nobody struct{}

func (nobody) New(context.Context, string) (farmspec.User, error) { return farmspec.User{}, nil }
