package simfarm_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm"
)

// guest is somebody with a browser at a farm that takes part in single sign-on.
type guest struct {
	t      *testing.T
	target *farmspec.Target
	circle farmspec.Circle
	user   farmspec.User
	*farmspec.Browser
}

func newGuest(t *testing.T, target *farmspec.Target) *guest {
	t.Helper()
	user, err := target.Hooks.Accounts.New(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	return &guest{t, target, target.Hooks.Federation.Circle(), user, farmspec.NewBrowser(farmspec.BrowserOptions{Name: "Ada", Target: target})}
}

// enter opens an address and does what the pages on the way ask for.
func (g *guest) enter(address string) string {
	g.t.Helper()
	visit, err := g.Open(g.t.Context(), address)
	for range 5 {
		if err != nil {
			g.t.Fatalf("open %s: %v", address, err)
		}
		forms := farmspec.Forms(visit.Final())
		switch {
		case len(forms) == 1 && forms[0].Has("password"):
			visit, err = g.Submit(g.t.Context(), visit, "", map[string]string{"user": g.user.Name, "password": g.user.Password})
		case len(forms) == 1 && (forms[0].Has("SAMLResponse") || strings.Contains(visit.Final().URL, g.circle.SignOn)):
			visit, err = g.Submit(g.t.Context(), visit, "", nil)
		default:
			return string(visit.Final().Body)
		}
	}
	g.t.Fatalf("open %s: there is no end of forms", address)
	return ""
}

// logOut submits the log-out form of a site and returns the last page.
func (g *guest) logOut(address string) string {
	g.t.Helper()
	visit, err := g.Open(g.t.Context(), address)
	if err == nil {
		visit, err = g.Submit(g.t.Context(), visit, "", nil)
	}
	for err == nil && slices.ContainsFunc(farmspec.Forms(visit.Final()), func(f farmspec.Form) bool { return f.Has("SAMLRequest") || f.Has("SAMLResponse") }) {
		visit, err = g.Submit(g.t.Context(), visit, "", nil)
	}
	if err != nil {
		g.t.Fatalf("log out at %s: %v", address, err)
	}
	return string(visit.Final().Body)
}

// everywhere are the addresses that a session opens.
func (g *guest) everywhere() map[string]string {
	m := g.target.Members[0]
	all := map[string]string{"farm": m.At("/")}
	for _, s := range append([]farmspec.Site{g.circle.Provider}, g.circle.Participants...) {
		all[s.Name] = s.URL + "/"
	}
	return all
}

func (g *guest) signInEverywhere() {
	g.t.Helper()
	if page := g.enter(g.target.Members[0].At(g.circle.SignOn)); !strings.Contains(page, g.target.Echo(g.user.Name)) {
		g.t.Fatalf("single sign-on at the farm ends with %s", page)
	}
	for name, address := range g.everywhere() {
		if page := g.enter(address); !strings.Contains(page, g.target.Echo(g.user.Name)) {
			g.t.Fatalf("at %s, signed in, the page is %s", name, page)
		}
	}
}

// alive are the parties at which the cookies of the browser alone open a page:
// each is asked with what it has set itself, so that none leads back in.
func (g *guest) alive() map[string]bool {
	g.t.Helper()
	all := make(map[string]bool)
	for name, address := range g.everywhere() {
		x := g.Send(g.t.Context(), farmspec.Request{URL: address, Dest: "document", Cookies: farmspec.JarCookies, KeepCookies: true})
		all[name] = x.Err == nil && x.Status == 200 && strings.Contains(string(x.Body), g.target.Echo(g.user.Name))
	}
	return all
}

func (g *guest) mustBeOut(copied *guest) {
	g.t.Helper()
	for name, in := range copied.alive() {
		if in {
			g.t.Errorf("after the log-out the session at %s still lives", name)
		}
	}
}

func (g *guest) copy() *guest {
	c := *g
	c.Browser = g.Clone("Mallory")
	return &c
}

func openCircle(t *testing.T, o simfarm.Options) *farmspec.Target {
	t.Helper()
	o.Participants = 3
	farm, err := simfarm.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = farm.Close() })
	return farm.Target()
}

func TestSingleLogOut(t *testing.T) {
	for _, o := range []simfarm.Options{
		{},
		{FrontChannel: true},
		{TLS: true, Topology: farmspec.SplitDomain, Handoff: farmspec.Claimed, FrontChannel: true},
		{Topology: farmspec.SingleHost, Handoff: farmspec.Direct, Rotation: farmspec.Coalesce},
	} {
		target := openCircle(t, o)
		g := newGuest(t, target)
		begun := map[string]func() string{
			"the farm":     func() string { return g.logOut(target.Members[0].At(target.Logout.Path)) },
			"the provider": func() string { return g.logOut(g.circle.Provider.URL + "/logout") },
		}
		for _, s := range g.circle.Participants {
			begun[s.Name] = func() string { return g.logOut(s.URL + "/logout") }
		}
		for name, begin := range begun {
			t.Run(target.Name+" at "+name, func(t *testing.T) {
				g.t = t
				g.signInEverywhere()
				for party, in := range g.alive() {
					if !in {
						t.Fatalf("before the log-out there is no session at %s", party)
					}
				}
				copied := g.copy()
				if page := begin(); !strings.Contains(page, g.circle.Everywhere) {
					t.Errorf("the log-out ends with %s", page)
				}
				g.mustBeOut(copied)
			})
		}
		t.Run(target.Name+" by the administrator", func(t *testing.T) {
			g.t = t
			g.signInEverywhere()
			copied := g.copy()
			if err := target.Hooks.Admin.EndUser(t.Context(), g.user.Name); err != nil {
				t.Fatal(err)
			}
			g.mustBeOut(copied)
			messages, err := target.Hooks.Federation.LogoutMessages(t.Context(), g.user.Name)
			if err != nil {
				t.Fatal(err)
			}
			admin := 0
			for _, m := range messages {
				if m.Admin && m.Delivered && !m.Answer {
					admin++
				}
			}
			if admin != 1+len(g.circle.Participants) {
				t.Errorf("%d requests give the administrator as the reason, want one to the provider and one to each participant: %+v", admin, messages)
			}
		})
	}
}

// Every flaw is refused by every channel that can have it, at every party.
func TestComposed(t *testing.T) {
	target := openCircle(t, simfarm.Options{})
	ctx := t.Context()
	h := target.Hooks.Federation
	flaws := []farmspec.Flaw{"", farmspec.Unsigned, farmspec.ForeignKey, farmspec.OtherParty, farmspec.Changed, farmspec.UnknownIssuer,
		farmspec.Misdirected, farmspec.Expired, farmspec.Stale, farmspec.Wrapped, farmspec.DocType, farmspec.Untyped, farmspec.Eventless,
		farmspec.WithNonce, farmspec.Subjectless}
	made := 0
	for _, channel := range []farmspec.Channel{farmspec.RedirectChannel, farmspec.PostChannel, farmspec.SOAPChannel, farmspec.OpenIDChannel} {
		for _, flaw := range flaws {
			g := newGuest(t, target) // a true request covers the provider's session as long as it is valid
			r := farmspec.LogoutRequest{From: "provider", To: farmspec.FarmParty, Channel: channel, User: g.user.Name, Bait: "mallory", Flaw: flaw}
			d, err := h.Compose(ctx, r)
			if err != nil {
				continue // no such flaw in this channel
			}
			made++
			t.Run(string(channel)+" "+string(flaw), func(t *testing.T) {
				g.t = t
				g.signInEverywhere()
				x := deliver(ctx, g.Browser, d)
				if out := !g.alive()["farm"]; out != (flaw == "") {
					t.Errorf("delivered with flaw %q (answer %d): the session has ended: %v", flaw, x.Status, out)
				}
			})
		}
	}
	if made < 40 {
		t.Errorf("%d messages could be made, want at least 40", made)
	}
}

func deliver(ctx context.Context, b *farmspec.Browser, d farmspec.Delivery) *farmspec.Exchange {
	r := farmspec.Request{Method: d.Method, URL: d.URL, Body: d.Body, Dest: "document", Header: map[string][]string{}}
	if d.ContentType != "" {
		r.Header.Set("Content-Type", d.ContentType)
	}
	return b.Send(ctx, r)
}

// The provider's answer signs in the browser that asked for it, and no other:
// nobody gets somebody else's browser to act in his own name.
func TestAnswerIsForTheBrowserThatAsked(t *testing.T) {
	target := openCircle(t, simfarm.Options{})
	mallory := newGuest(t, target)
	start := target.Members[0].At(mallory.circle.SignOn)
	answer, err := mallory.Open(t.Context(), start)
	for _, values := range []map[string]string{nil, {"user": mallory.user.Name, "password": mallory.user.Password}} {
		if err == nil {
			answer, err = mallory.Submit(t.Context(), answer, "", values) // the farm's form, the provider's log-in
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	asked := newGuest(t, target) // whoever has begun to sign in has the cookie, with another secret
	if page, err := asked.Open(t.Context(), start); err != nil {
		t.Fatal(err)
	} else if _, err := asked.Submit(t.Context(), page, "", nil); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		by   *guest
		in   bool
	}{
		{"a browser that asked for none", newGuest(t, target), false},
		{"a browser that asked for another", asked, false},
		{"the browser that asked", mallory, true},
	} {
		visit, err := tc.by.Submit(t.Context(), answer, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		in := strings.Contains(string(visit.Final().Body), target.Echo(mallory.user.Name))
		if in != tc.in || !in && visit.Final().Status != 403 {
			t.Errorf("%s is signed in: %v, want %v (status %d)", tc.name, in, tc.in, visit.Final().Status)
		}
	}
}
