package saml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// circle is a provider and two participants that reach each other without a
// network, and a clock.
type circle struct {
	t        *testing.T
	now      time.Time
	provider *Provider
	sites    map[string]*testSite
	down     map[string]bool
}

type testSite struct {
	*Participant
	mu    sync.Mutex
	alive map[string]string // ref to subject
}

func (s *testSite) end(_ context.Context, ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.alive, ref)
	return nil
}

// RoundTrip implements http.RoundTripper for the SOAP channel.
func (c *circle) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.down[r.URL.Host] {
		return nil, errors.New("connection refused")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w := Wire{Binding: SOAP, Body: body}
	var reply Reply
	if r.URL.Host == "provider.example" {
		reply, err = c.provider.Receive(r.Context(), w)
	} else {
		reply, err = c.sites[r.URL.Host].Receive(r.Context(), w)
	}
	resp := &http.Response{StatusCode: http.StatusBadRequest, Body: http.NoBody}
	if err == nil {
		resp.StatusCode, resp.Body = http.StatusOK, io.NopCloser(strings.NewReader(string(reply.Answer.Body)))
	}
	return resp, nil
}

func everyBinding(host string) map[Binding]string {
	at := "https://" + host + "/slo"
	return map[Binding]string{Redirect: at, Post: at, SOAP: at}
}

func newCircle(t *testing.T) *circle {
	t.Helper()
	c := &circle{t: t, now: noon, sites: map[string]*testSite{}, down: map[string]bool{}}
	clock := func() time.Time { return c.now }
	side := Party{
		Entity: "https://provider.example", Key: provider, Logout: everyBinding("provider.example"), Now: clock, Transport: c,
	}
	idp := Peer{Entity: side.Entity, Certificate: provider.Certificate, SignOn: []string{"https://provider.example/sso"}, Logout: side.Logout}
	var members []Member
	for _, host := range []string{"one.example", "two.example"} {
		key := mustKey(host)
		s := &testSite{alive: map[string]string{}}
		p, err := NewParticipant(ParticipantOptions{
			Party:    Party{Entity: "https://" + host, Key: key, Logout: everyBinding(host), Now: clock, Transport: c},
			Provider: idp, SignOn: []string{"https://" + host + "/acs"}, End: s.end,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Participant = p
		c.sites[host] = s
		members = append(members, Member{Peer: Peer{Entity: p.Entity, Certificate: key.Certificate, SignOn: p.ParticipantOptions.SignOn, Logout: p.Logout}})
	}
	var err error
	c.provider, err = NewProvider(ProviderOptions{Party: side, SignOn: idp.SignOn[0], Members: members, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answer lets a browser with a provider's session ask a site's way in, and
// returns the provider's answer.
func (c *circle) answer(session, host string) Wire {
	c.t.Helper()
	s := c.sites[host]
	to, err := s.SignIn(s.ParticipantOptions.SignOn[0], "/")
	if err != nil {
		c.t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := c.provider.Requested(Wire{Binding: Redirect, Query: u.RawQuery})
	if err != nil {
		c.t.Fatal(err)
	}
	w, err := c.provider.Respond(session, request)
	if err != nil {
		c.t.Fatal(err)
	}
	return w
}

// enter opens a session at a site by an answer.
func (c *circle) enter(host, ref string, w Wire) error {
	s := c.sites[host]
	id, err := s.Admit(w)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.alive[ref] = id.NameID
	s.mu.Unlock()
	return s.Enter(c.t.Context(), id, ref)
}

// signedIn has somebody signed in everywhere.
func (c *circle) signedIn(who string) string {
	c.t.Helper()
	session, err := c.provider.Begin(who)
	if err != nil {
		c.t.Fatal(err)
	}
	for host := range c.sites {
		if err := c.enter(host, who, c.answer(session, host)); err != nil {
			c.t.Fatalf("%s enters %s: %v", who, host, err)
		}
	}
	return session
}

// in lists where somebody has a session.
func (c *circle) in() string {
	var all []string
	for host, s := range c.sites {
		s.mu.Lock()
		for ref := range s.alive {
			all = append(all, ref+" at "+host)
		}
		s.mu.Unlock()
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestLogOutSpreads(t *testing.T) {
	for _, tc := range []struct {
		name  string
		begin func(c *circle, session string) error
	}{
		{"at the provider", func(c *circle, session string) error { return c.provider.SignOut(c.t.Context(), session, ByUser) }},
		{"at a participant, server to server", func(c *circle, _ string) error {
			delete(c.sites["one.example"].alive, "ada")
			return c.sites["one.example"].SignOut(c.t.Context(), "ada", ByUser)
		}},
		{"at a participant, by redirect", func(c *circle, _ string) error {
			one := c.sites["one.example"]
			delete(one.alive, "ada")
			w, err := one.SignOutBy(Redirect, "ada", ByUser)
			if err != nil {
				return err
			}
			reply, err := c.provider.Receive(c.t.Context(), Wire{Binding: Redirect, Query: w.Query})
			if err != nil {
				return err
			}
			back, err := one.Receive(c.t.Context(), Wire{Binding: Redirect, Query: reply.Answer.Query})
			if err == nil && (back.Answer != nil || back.Partial) {
				err = fmt.Errorf("the way back ends with %+v", back)
			}
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCircle(t)
			session := c.signedIn("ada")
			c.signedIn("ben")
			if err := tc.begin(c, session); err != nil {
				t.Fatal(err)
			}
			if got, want := c.in(), "ben at one.example, ben at two.example"; got != want {
				t.Errorf("signed in after Ada's log-out: %s; want %s", got, want)
			}
			if _, ok := c.provider.Who(session); ok {
				t.Error("her session at the provider lives")
			}
		})
	}
}

func TestPartialLogOut(t *testing.T) {
	c := newCircle(t)
	session := c.signedIn("ada")
	c.down["one.example"] = true
	if err := c.provider.SignOut(t.Context(), session, ByUser); !errors.Is(err, ErrPartial) {
		t.Errorf("SignOut with a participant down = %v, want %v", err, ErrPartial)
	}
	if got, want := c.in(), "ada at one.example"; got != want {
		t.Errorf("signed in: %s; want %s: the other is out all the same", got, want)
	}

	c = newCircle(t)
	c.signedIn("ada")
	c.down["one.example"] = true
	if err := c.sites["two.example"].SignOut(t.Context(), "ada", ByUser); !errors.Is(err, ErrPartial) {
		t.Errorf("SignOut at a participant with another down = %v, want %v: the provider's answer says so", err, ErrPartial)
	}
	c.down["provider.example"] = true
	if err := c.sites["one.example"].SignOut(t.Context(), "ada", ByUser); err == nil {
		t.Error("SignOut with the provider down = nil, want an error")
	}
	if err := c.sites["one.example"].SignOut(t.Context(), "nobody", ByUser); !errors.Is(err, ErrUnknownSession) {
		t.Errorf("SignOut of a session that is not tied = %v, want %v", err, ErrUnknownSession)
	}
}

func TestAdmit(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(c *circle, w Wire) // between the answer and its delivery
		want   error
		why    string
	}{
		{"in time", func(*circle, Wire) {}, nil, "the control"},
		{"twice", func(c *circle, w Wire) { _ = c.enter("one.example", "ada", w) }, ErrReplayed, "an assertion is good once"},
		{"late", func(c *circle, _ Wire) { c.now = c.now.Add(maxAge) }, ErrTime, "at NotOnOrAfter it is over"},
		{"logged out before", func(c *circle, _ Wire) {
			_ = c.sites["one.example"].EndAll(c.t.Context(), Ended{NameID: "ada", At: c.now, Until: c.now.Add(time.Minute)})
		}, ErrLoggedOut, "3.7.3.1: though it arrives later"},
		{"logged out by index", func(c *circle, w Wire) {
			m, err := Peek(w)
			if err != nil {
				c.t.Fatal(err)
			}
			_ = c.sites["one.example"].EndAll(c.t.Context(), Ended{Indexes: []string{m.Assertion.SessionIndex}, Until: c.now.Add(time.Minute)})
		}, ErrLoggedOut, "the index names it"},
		{"somebody else logged out", func(c *circle, _ Wire) {
			_ = c.sites["one.example"].EndAll(c.t.Context(), Ended{NameID: "ben", At: c.now, Until: c.now.Add(time.Minute)})
		}, nil, "not hers"},
		{"log-out forgotten", func(c *circle, _ Wire) {
			_ = c.sites["one.example"].EndAll(c.t.Context(), Ended{NameID: "ada", At: c.now, Until: c.now})
		}, nil, "the request has expired"},
		{"log-out of before she signed in", func(c *circle, _ Wire) {
			_ = c.sites["one.example"].EndAll(c.t.Context(), Ended{NameID: "ada", At: c.now.Add(-time.Second), Until: c.now.Add(time.Minute)})
		}, nil, "it was about an earlier session"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCircle(t)
			session, err := c.provider.Begin("ada")
			if err != nil {
				t.Fatal(err)
			}
			w := c.answer(session, "one.example")
			tc.before(c, w)
			if _, err := c.sites["one.example"].Admit(w); !errors.Is(err, tc.want) {
				t.Errorf("Admit = %v, want %v (%s)", err, tc.want, tc.why)
			}
			if _, err := c.sites["two.example"].Admit(w); err == nil {
				t.Error("another participant admits it too")
			}
		})
	}
}

// A log-out and a log-in that meet leave nothing alive, whichever comes first.
func TestEnterRacesLogOut(t *testing.T) {
	for range 50 {
		c := newCircle(t)
		session, err := c.provider.Begin("ada")
		if err != nil {
			t.Fatal(err)
		}
		w := c.answer(session, "one.example")
		var let atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() { let.Store(c.enter("one.example", "ada", w) == nil) })
		wg.Go(func() { _ = c.provider.SignOut(context.Background(), session, ByUser) })
		wg.Wait()
		if got := c.in(); got != "" {
			t.Fatalf("after the log-out %s; she was let in: %v", got, let.Load())
		}
	}
}

func TestReceive(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(c *circle, m *Message) Key
		want   error
	}{
		{"true", func(*circle, *Message) Key { return provider }, nil},
		{"without a limit", func(_ *circle, m *Message) Key { m.NotOnOrAfter = time.Time{}; return provider }, nil},
		{"foreign key", func(*circle, *Message) Key { return stranger }, ErrSignature},
		{"unknown issuer", func(_ *circle, m *Message) Key { m.Issuer = "https://else.example"; return stranger }, ErrIssuer},
		{"other destination", func(_ *circle, m *Message) Key { m.Destination = "https://two.example/slo"; return provider }, ErrDestination},
		{"at its limit", func(c *circle, m *Message) Key { m.NotOnOrAfter = c.now; return provider }, ErrTime},
		{"from the future", func(c *circle, m *Message) Key { m.IssueInstant = c.now.Add(skew + time.Second); return provider }, ErrTime},
		{"old with a far limit", func(c *circle, m *Message) Key {
			m.IssueInstant, m.NotOnOrAfter = c.now.Add(-time.Hour), c.now.Add(time.Hour)
			return provider
		}, ErrTime},
	} {
		for _, b := range []Binding{Redirect, Post, SOAP} {
			t.Run(tc.name+" "+string(b), func(t *testing.T) {
				c := newCircle(t)
				c.signedIn("ada")
				m, err := c.provider.Request("https://one.example", b, "ada", nil, ByUser)
				if err != nil {
					t.Fatal(err)
				}
				key := tc.change(c, &m)
				w, err := Seal(m, b, key)
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.sites["one.example"].Receive(t.Context(), w)
				if !errors.Is(err, tc.want) {
					t.Errorf("Receive = %v, want %v", err, tc.want)
				}
				want := "ada at one.example, ada at two.example"
				if tc.want == nil {
					want = "ada at two.example"
					if _, err := c.sites["one.example"].Receive(t.Context(), w); !errors.Is(err, ErrReplayed) {
						t.Errorf("Receive again = %v, want %v", err, ErrReplayed)
					}
				}
				if got := c.in(); got != want {
					t.Errorf("signed in: %s; want %s", got, want)
				}
			})
		}
	}
}

// A response to nothing that was asked ends no log-out.
func TestUnaskedResponse(t *testing.T) {
	c := newCircle(t)
	m, err := c.provider.message(LogoutResponse, "https://one.example/slo")
	if err != nil {
		t.Fatal(err)
	}
	m.InResponseTo, m.Status = "_never", Success
	w, err := Seal(m, Redirect, provider)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.sites["one.example"].Receive(t.Context(), w); !errors.Is(err, ErrUnasked) {
		t.Errorf("Receive = %v, want %v", err, ErrUnasked)
	}
}

// The provider's session ends by itself, and those that came of it with it.
func TestLifetime(t *testing.T) {
	c := newCircle(t)
	session := c.signedIn("ada")
	for _, tc := range []struct {
		at   time.Duration
		over bool
	}{{time.Hour - time.Millisecond, false}, {time.Hour, true}} {
		c.now = noon.Add(tc.at)
		if over := c.sites["one.example"].Over("ada"); over != tc.over {
			t.Errorf("after %v the session of here is over: %v, want %v", tc.at, over, tc.over)
		}
		if _, alive := c.provider.Who(session); alive == tc.over {
			t.Errorf("after %v the provider's session lives: %v, want %v", tc.at, alive, !tc.over)
		}
	}
}
