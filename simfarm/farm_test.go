package simfarm_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/storetest/dbtest"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// A visitor is a person at a farm, in a test.
type visitor struct {
	t      testing.TB
	target *farmspec.Target
	*farmspec.Browser
	user farmspec.User
}

func open(t testing.TB, o simfarm.Options) *farmspec.Target {
	t.Helper()
	farm, err := simfarm.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := farm.Close(); err != nil {
			t.Error(err)
		}
	})
	return farm.Target()
}

// signIn logs a new user in at the first member.
func signIn(t testing.TB, target *farmspec.Target) *visitor {
	t.Helper()
	user, err := target.Hooks.Accounts.New(t.Context(), "Ada")
	if err != nil {
		t.Fatal(err)
	}
	return signInAs(t, target, user)
}

func signInAs(t testing.TB, target *farmspec.Target, user farmspec.User) *visitor {
	t.Helper()
	v := &visitor{t: t, target: target, user: user, Browser: farmspec.NewBrowser(farmspec.BrowserOptions{Name: user.Name, Target: target})}
	t.Cleanup(v.Close)
	form, err := v.Open(t.Context(), target.Members[0].At(target.Login.Path))
	if err != nil {
		t.Fatal(err)
	}
	in, err := v.Submit(t.Context(), form, "", map[string]string{target.Login.UserField: user.Name, target.Login.PassField: user.Password})
	if err != nil {
		t.Fatal(err)
	}
	if x := in.Final(); x.Err != nil || x.Status != http.StatusOK || !strings.Contains(string(x.Body), target.Echo(user.Name)) {
		t.Fatalf("log in at %s: %d %v, and no %q", target.Members[0].Name, x.Status, x.Err, target.Echo(user.Name))
	}
	return v
}

// asks goes to the page at the member and judges the answer.
func (v *visitor) asks(member farmspec.Member, page farmspec.Page) (farmspec.Outcome, *farmspec.Visit) {
	v.t.Helper()
	visit, err := v.Open(v.t.Context(), member.At(page.Path))
	if err != nil {
		v.t.Fatalf("%s asks %s for %s: %v", v.user.Name, member.Name, page.Path, err)
	}
	return v.target.Judge(visit.Final(), page, v.user.Name), visit
}

func (v *visitor) mustSee(member farmspec.Member, page farmspec.Page) *farmspec.Visit {
	v.t.Helper()
	got, visit := v.asks(member, page)
	if got != farmspec.Accepted {
		v.t.Fatalf("%s asks %s for %s: %s with %d after %d exchange(s), want accepted", v.user.Name, member.Name, page.Path, got, visit.Final().Status, len(visit.Exchanges))
	}
	return visit
}

func (v *visitor) mustNotSee(member farmspec.Member, page farmspec.Page, why string) {
	v.t.Helper()
	if got, _ := v.asks(member, page); got != farmspec.Refused {
		v.t.Errorf("%s asks %s for %s: %s, want refused (%s)", v.user.Name, member.Name, page.Path, got, why)
	}
}

// carried is the sealed token the browser has for the member.
func (v *visitor) carried(member farmspec.Member) string {
	v.t.Helper()
	c, ok := v.Cookie(member.URL+"/", v.target.Carrier.Name)
	if !ok {
		v.t.Fatalf("%s has no token for %s", v.user.Name, member.Name)
	}
	return c.Value
}

// token is what it decrypts to.
func (v *visitor) token(member farmspec.Member) farmspec.PlainToken {
	v.t.Helper()
	p, err := v.target.Hooks.Keys.Open(v.carried(member))
	if err != nil {
		v.t.Fatal(err)
	}
	return p
}

func html(t testing.TB, target *farmspec.Target, member farmspec.Member) farmspec.Page {
	t.Helper()
	p, ok := target.Page(member.Name, farmspec.HTML)
	if !ok {
		t.Fatalf("%s has no HTML page", member.Name)
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnHonestUserIsServedInEveryProfile(t *testing.T) {
	for _, h := range []farmspec.Handoff{farmspec.Sealed, farmspec.Claimed, farmspec.Direct} {
		for _, r := range []farmspec.Rotation{farmspec.Strict, farmspec.Coalesce, farmspec.ReadVerify} {
			for _, top := range []farmspec.Topology{farmspec.SharedDomain, farmspec.SingleHost, farmspec.SplitDomain} {
				o := simfarm.Options{Handoff: h, Rotation: r, Topology: top}
				t.Run(strings.TrimPrefix(o.ProfileName(), "reference/"), func(t *testing.T) {
					t.Parallel()
					target := open(t, o)
					if target.Name != o.ProfileName() {
						t.Errorf("target is named %q, the options say %q", target.Name, o.ProfileName())
					}
					v := signIn(t, target)
					v.walk()
				})
			}
		}
	}
}

// walk goes everywhere, uses an application, and logs out.
func (v *visitor) walk() {
	t, target := v.t, v.target
	t.Helper()
	at := target.Members[0]
	for _, next := range []int{1, 0, 2, 1, 2, 0, 0} { // every ordered pair
		visit := v.mustSee(at, html(t, target, target.Members[next]))
		if m, _ := target.MemberOf(visit.Final().URL); m.Name != target.Members[next].Name {
			t.Errorf("the page of %s was served by %s", target.Members[next].Name, m.Name)
		}
		at = target.Members[next]
	}
	for _, kind := range []farmspec.Kind{farmspec.JSP, farmspec.ASP, farmspec.Applet} {
		p, ok := target.Page(target.Members[1].Name, kind)
		if !ok {
			t.Fatalf("no %s page", kind)
		}
		v.mustSee(at, p)
		at = target.Members[1]
	}
	app := target.Apps[0]
	page := farmspec.Page{Member: app.Member, Path: app.Path, Marker: app.Marker, Echo: true}
	form := v.mustSee(at, page)
	kept, err := v.Submit(t.Context(), form, "", map[string]string{app.Field: "canary"})
	must(t, err)
	if got := target.Judge(kept.Final(), page, v.user.Name); got != farmspec.Accepted || !strings.Contains(string(kept.Final().Body), "canary") {
		t.Errorf("%s after %q was sent: %s, and shows it: %t", app.Name, "canary", got, strings.Contains(string(kept.Final().Body), "canary"))
	}
	at, _ = target.Member(app.Member)
	if target.Slow != nil {
		v.mustSee(at, *target.Slow)
		at, _ = target.Member(target.Slow.Member)
	}
	out, err := v.Open(t.Context(), at.At(target.Logout.Path))
	must(t, err)
	done, err := v.Submit(t.Context(), out, "", nil)
	must(t, err)
	if done.Final().Status != http.StatusOK {
		t.Errorf("log out at %s answered %d", at.Name, done.Final().Status)
	}
	for _, m := range target.Members {
		v.mustNotSee(m, html(t, target, m), "after log-out")
	}
}

func TestTargetIsTruthful(t *testing.T) {
	target := open(t, simfarm.Options{Servers: 2, Limits: reference.Limits{Idle: time.Minute, AppIdle: map[string]time.Duration{"server-1/cart": time.Hour}}})
	for _, name := range []string{farmspec.HookService, farmspec.HookAdmin, farmspec.HookProcesses, farmspec.HookTrace, farmspec.HookHolds,
		farmspec.HookClock, farmspec.HookDatabase, farmspec.HookKeys, farmspec.HookFork} {
		if !target.Hooks.Has(name) {
			t.Errorf("no %s hook", name)
		}
	}
	if target.Hooks.Accounts == nil || target.Slow == nil || target.Open == nil || target.Artefact == "" {
		t.Error("accounts, slow page, open page or artefact missing")
	}
	if cart, _ := target.App("server-1/cart"); cart.Idle != time.Hour {
		t.Errorf("server-1/cart times out after %v, want its own hour", cart.Idle)
	}
	if counter, _ := target.App("server-2/counter"); counter.Idle != 20*time.Minute || counter.EndPath == "" {
		t.Errorf("server-2/counter = %+v, want the default of 20 minutes and an end page", counter)
	}
	if target.Limits.Idle != time.Minute || target.Limits.Absolute != 12*time.Hour {
		t.Errorf("limits = %+v", target.Limits)
	}
	b := farmspec.NewBrowser(farmspec.BrowserOptions{Target: target})
	defer b.Close()
	v, err := b.Open(t.Context(), target.Members[1].At(target.Open.Path))
	must(t, err)
	if !strings.Contains(string(v.Final().Body), target.Open.Marker) || v.Final().Status != http.StatusOK {
		t.Errorf("the open page answers %d without its marker to somebody unknown", v.Final().Status)
	}
}

func TestClockHook(t *testing.T) {
	for _, tc := range []struct {
		name    string
		advance time.Duration
		skew    map[string]time.Duration
		want    farmspec.Outcome
		why     string
	}{
		{"inside the idle limit", 10*time.Minute - 10*time.Second, nil, farmspec.Accepted, "time has not run out"},
		{"past the idle limit", 10*time.Minute + 10*time.Second, nil, farmspec.Refused, "claim 7"},
		{"members ahead", 0, map[string]time.Duration{"server-1": time.Hour, "server-2": time.Hour}, farmspec.Accepted, "no web server's clock decides (SY-19.1)"},
		{"service ahead", 0, map[string]time.Duration{"service": time.Hour}, farmspec.Refused, "the service's clock decides"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := open(t, simfarm.Options{Limits: reference.Limits{Idle: 10 * time.Minute}})
			v := signIn(t, target)
			v.mustSee(target.Members[0], html(t, target, target.Members[1]))
			clock := target.Hooks.Clock
			before, err := clock.Now(t.Context())
			must(t, err)
			must(t, clock.Advance(t.Context(), tc.advance))
			for p, d := range tc.skew {
				must(t, clock.Skew(t.Context(), p, d))
			}
			after, err := clock.Now(t.Context())
			must(t, err)
			if passed := after.Sub(before); passed < tc.advance+tc.skew["service"] {
				t.Errorf("the service's clock moved by %v, want %v at least", passed, tc.advance+tc.skew["service"])
			}
			if got, _ := v.asks(target.Members[1], html(t, target, target.Members[0])); got != tc.want {
				t.Errorf("%s, want %s (%s)", got, tc.want, tc.why)
			}
		})
	}
	target := open(t, simfarm.Options{})
	if err := target.Hooks.Clock.Skew(t.Context(), "server-9", time.Hour); err == nil {
		t.Error("Skew of a process that does not exist succeeded")
	}
}

// A body that the browser's side broke is no failure of a server.
func TestFrontAnswersForBrokenBodies(t *testing.T) {
	target := open(t, simfarm.Options{Topology: farmspec.SingleHost})
	u, err := url.Parse(target.Members[0].URL)
	must(t, err)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+u.Port())
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST /1/login HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n", u.Host)
	must(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode/100 != 4 {
		t.Errorf("answered with status %d, want one that blames the request", answer.StatusCode)
	}
}

func TestServiceHook(t *testing.T) {
	target := open(t, simfarm.Options{})
	v := signIn(t, target)
	svc, tok := target.Hooks.Service, v.token(target.Members[0])
	ctx := t.Context()
	must(t, svc.Verify(ctx, "server-1", tok))
	must(t, svc.Verify(ctx, "server-3", tok)) // consumed nothing
	must(t, svc.CreateHTTPSession(ctx, "server-2", tok, "server-2/cart"))
	for name, err := range map[string]error{
		"no credential":  svc.Verify(ctx, "", tok),
		"wrong time":     svc.Verify(ctx, "server-1", farmspec.PlainToken{ID: tok.ID, Timestamp: tok.Timestamp + 1}),
		"never issued":   svc.Verify(ctx, "server-1", farmspec.PlainToken{ID: strings.Repeat("ab", 16), Timestamp: tok.Timestamp}),
		"no page for it": svc.CreateHTTPSession(ctx, "server-1", farmspec.PlainToken{ID: strings.Repeat("ab", 16)}, "x"),
	} {
		if !errors.Is(err, farmspec.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
	}
	if err := svc.Verify(ctx, "server-9", tok); err == nil || errors.Is(err, farmspec.ErrRefused) {
		t.Errorf("a member that does not exist: %v, want a failure and no refusal", err)
	}
	h := http.Header{}
	must(t, svc.Authorize(h, "server-2"))
	if h.Get("Authorization") == "" {
		t.Error("Authorize gave the header no credential")
	}
	if err := svc.Authorize(h, "server-9"); err == nil {
		t.Error("Authorize knows a member that does not exist")
	}
	next, err := svc.Renew(ctx, "server-2", tok)
	must(t, err)
	must(t, svc.Verify(ctx, "server-1", next))
	if _, err := svc.Renew(ctx, "server-1", tok); !errors.Is(err, farmspec.ErrRefused) {
		t.Errorf("Renew of a spent token: %v, want ErrRefused", err)
	}
}

func TestAdminHook(t *testing.T) {
	target := open(t, simfarm.Options{})
	ctx, admin, svc := t.Context(), target.Hooks.Admin, target.Hooks.Service
	a, b := signIn(t, target), signIn(t, target)
	again := signInAs(t, target, a.user)
	m := target.Members[0]
	for _, app := range []string{"server-1/cart", "server-2/cart"} {
		must(t, svc.CreateHTTPSession(ctx, "server-1", a.token(m), app))
	}
	all, err := admin.Sessions(ctx, "")
	must(t, err)
	his, err := admin.Sessions(ctx, a.user.Name)
	must(t, err)
	if len(all) != 3 || len(his) != 2 {
		t.Fatalf("%d sessions of all and %d of %s, want 3 and 2", len(all), len(his), a.user.Name)
	}
	var with farmspec.SessionInfo
	for _, s := range his {
		if len(s.HTTPSessions) == 2 {
			with = s
		}
	}
	if !with.Open || with.User != a.user.Name || len(with.HTTPSessions) != 2 {
		t.Fatalf("no session with two HTTP sessions among %+v", his)
	}
	must(t, admin.EndHTTPSession(ctx, with.HTTPSessions[0].ID))
	must(t, svc.Verify(ctx, "server-1", a.token(m)))
	must(t, admin.EndSession(ctx, with.Ref))
	if err := svc.Verify(ctx, "server-1", a.token(m)); !errors.Is(err, farmspec.ErrRefused) {
		t.Errorf("after EndSession: %v, want ErrRefused", err)
	}
	must(t, svc.Verify(ctx, "server-1", again.token(m)))
	must(t, admin.EndUser(ctx, a.user.Name))
	again.mustNotSee(m, html(t, target, m), "his sessions are ended")
	b.mustSee(m, html(t, target, m))
	must(t, admin.EndAll(ctx))
	b.mustNotSee(m, html(t, target, m), "everybody's are")
	if err := admin.EndSession(ctx, with.Ref); !errors.Is(err, farmspec.ErrRefused) {
		t.Errorf("EndSession of an ended one: %v, want ErrRefused", err)
	}
}

func TestProcessHook(t *testing.T) {
	for _, top := range []farmspec.Topology{farmspec.SharedDomain, farmspec.SingleHost} {
		t.Run(string(top), func(t *testing.T) {
			target := open(t, simfarm.Options{Topology: top})
			ctx, procs := t.Context(), target.Hooks.Processes
			v := signIn(t, target)
			first, second := target.Members[0], target.Members[1]
			page := html(t, target, second)
			v.mustSee(first, page)
			for _, part := range []string{farmspec.ServiceProcess, farmspec.DatabaseProcess} {
				must(t, procs.Stop(ctx, part))
				must(t, procs.Stop(ctx, part)) // stopped already
				got, visit := v.asks(second, page)
				if got != farmspec.Refused || visit.Final().Status != http.StatusServiceUnavailable {
					t.Errorf("without %s: %s with %d, want refused with 503", part, got, visit.Final().Status)
				}
				must(t, procs.Start(ctx, part))
				must(t, procs.Start(ctx, part))
				v.mustSee(second, page) // the failure cost no token
			}
			must(t, procs.Stop(ctx, second.Name))
			if got, visit := v.asks(first, page); got == farmspec.Accepted || visit.Final().Status == http.StatusOK {
				t.Errorf("the page of a stopped member: %s with %d", got, visit.Final().Status)
			}
			v.mustSee(first, html(t, target, first))
			must(t, procs.Start(ctx, second.Name))
			v.mustSee(first, page)
			if err := procs.Stop(ctx, "front"); err == nil {
				t.Error("Stop of a process that has no hook succeeded")
			}
		})
	}
}

// A service that is killed between verifying and replacing has not replaced,
// however long its code goes on.
func TestStopLosesWhatIsInFlight(t *testing.T) {
	target := open(t, simfarm.Options{})
	ctx := t.Context()
	v := signIn(t, target)
	m := target.Members[0]
	before := v.token(m)
	held, err := target.Hooks.Holds.Hold(ctx, v.Trace(), farmspec.BetweenVerify)
	must(t, err)
	var answer farmspec.Outcome
	var asking sync.WaitGroup
	asking.Go(func() { answer, _ = v.asks(m, html(t, target, m)) })
	must(t, held.Wait(ctx, 1))
	must(t, target.Hooks.Processes.Stop(ctx, farmspec.ServiceProcess))
	asking.Wait()
	held.Release()
	if answer != farmspec.Refused {
		t.Errorf("the request in flight: %s, want refused", answer)
	}
	must(t, target.Hooks.Processes.Start(ctx, farmspec.ServiceProcess))
	if got := v.token(m); got != before {
		t.Error("the browser got a new token from a service that was killed")
	}
	v.mustSee(m, html(t, target, m))
}

func TestDurableForkOutlivesItsDatabaseProcess(t *testing.T) {
	parent := open(t, simfarm.Options{Topology: farmspec.SingleHost})
	limits := farmspec.Limits{Idle: 5 * time.Minute}
	target, closeFork, err := parent.Hooks.Fork(t.Context(), farmspec.Variation{Durable: true, MaxSessions: 1, Limits: &limits, Replay: farmspec.RevokeFamily})
	must(t, err)
	defer func() { must(t, closeFork()) }()
	if target.MaxSessions != 1 || target.Limits.Idle != limits.Idle || target.Limits.Absolute != 12*time.Hour ||
		target.Replay != farmspec.RevokeFamily || target.Topology != farmspec.SingleHost {
		t.Errorf("the fork is %+v", target)
	}
	ctx, procs := t.Context(), target.Hooks.Processes
	m := target.Members[0]
	left := signIn(t, target)
	first := signInAs(t, target, left.user)
	left.mustNotSee(m, html(t, target, m), "the limit is one session")
	gone := signIn(t, target)
	must(t, target.Hooks.Admin.EndUser(ctx, gone.user.Name))
	for _, p := range []string{farmspec.DatabaseProcess, farmspec.ServiceProcess, "server-1"} {
		must(t, procs.Stop(ctx, p))
	}
	for _, p := range []string{"server-1", farmspec.ServiceProcess, farmspec.DatabaseProcess} {
		must(t, procs.Start(ctx, p))
	}
	first.mustSee(m, html(t, target, m))
	gone.mustNotSee(m, html(t, target, m), "a closed session stays closed over a restart")
}

func TestTraceHook(t *testing.T) {
	for _, h := range []farmspec.Handoff{farmspec.Sealed, farmspec.Claimed, farmspec.Direct} {
		t.Run(string(h), func(t *testing.T) {
			target := open(t, simfarm.Options{Handoff: h})
			v := signIn(t, target)
			v.SetTrace(farmspec.NewTrace())
			v.mustSee(target.Members[0], html(t, target, target.Members[1]))
			got, err := target.Hooks.Trace.Messages(t.Context(), v.Trace())
			must(t, err)
			var said []string
			for _, m := range got {
				said = append(said, m.From+" "+m.Op+" "+m.To)
				if !m.OK {
					t.Errorf("%s failed: %s", said[len(said)-1], m.Detail)
				}
			}
			rest := said
			want := []string{"server-1 decrypt server-1", "server-1 redirect browser", "server-2 renew service", "service compare service",
				"service generate service", "service replace database", "server-2 encrypt server-2", "server-2 respond browser"}
			if h == farmspec.Direct {
				want = append([]string{want[0], "server-1 handoff server-2"}, want[1:]...)
			}
			for _, w := range want {
				i := index(rest, w)
				if i < 0 {
					t.Fatalf("no %q, in its order, among\n%s", w, strings.Join(said, "\n"))
				}
				rest = rest[i+1:]
			}
			tok := v.token(target.Members[1])
			for _, m := range got {
				if strings.Contains(m.Detail, tok.ID) || strings.Contains(m.Detail, v.carried(target.Members[1])) {
					t.Errorf("%s shows a token", m.Op)
				}
			}
		})
	}
}

func index(all []string, want string) int {
	for i, s := range all {
		if s == want {
			return i
		}
	}
	return -1
}

func TestEveryHoldPointIsReached(t *testing.T) {
	target := open(t, simfarm.Options{})
	ctx := t.Context()
	first, second := target.Members[0], target.Members[1]
	app := target.Apps[0]
	appPage := farmspec.Page{Member: app.Member, Path: app.Path, Marker: app.Marker, Echo: true}
	hop := func(v *visitor) { v.asks(first, html(t, target, second)) }
	save := func(v *visitor) {
		form := v.mustSee(first, appPage)
		_, _ = v.Submit(ctx, form, "", map[string]string{app.Field: "x"})
	}
	logout := func(v *visitor) {
		form, err := v.Open(ctx, first.At(target.Logout.Path))
		if err == nil {
			_, _ = v.Submit(ctx, form, "", nil)
		}
	}
	for at, act := range map[farmspec.Point]func(*visitor){
		farmspec.AfterDecrypt: hop, farmspec.AfterRedirect: hop, farmspec.BeforeVerify: hop, farmspec.BetweenVerify: hop, farmspec.AfterReplace: hop,
		farmspec.BeforeRespond: hop, farmspec.InHandler: hop, farmspec.BeforeSave: save, farmspec.InRegister: save, farmspec.InLogout: logout, farmspec.AfterClose: logout,
	} {
		t.Run(string(at), func(t *testing.T) {
			v := signIn(t, target)
			v.SetTrace(farmspec.NewTrace())
			held, err := target.Hooks.Holds.Hold(ctx, v.Trace(), at)
			must(t, err)
			defer held.Release()
			var acting sync.WaitGroup
			acting.Go(func() { act(v) })
			bounded, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := held.Wait(bounded, 1); err != nil {
				t.Error(err)
			}
			other := signIn(t, target)
			other.mustSee(first, html(t, target, second)) // nobody else waits
			held.Release()
			acting.Wait()
		})
	}
}

func TestDatabaseHook(t *testing.T) {
	for name, store := range map[string]func(t testing.TB) string{
		"memory":           func(testing.TB) string { return "memory" },
		"SQLite in memory": func(testing.TB) string { return "sqlite::memory:" },
		"SQLite":           func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "farm.db") },
		"PostgreSQL":       dbtest.Postgres,
		"Redis":            dbtest.Redis,
	} {
		t.Run(name, func(t *testing.T) {
			target := open(t, simfarm.Options{Database: store(t), Apart: true})
			ctx, db, m := t.Context(), target.Hooks.Database, target.Members[0]
			v := signIn(t, target)
			row := func() farmspec.Row {
				t.Helper()
				rows, err := db.Rows(ctx, v.user.Name)
				must(t, err)
				if len(rows) != 1 {
					t.Fatalf("%d rows of %s, want one", len(rows), v.user.Name)
				}
				return rows[0]
			}
			if r := row(); r.Token != v.token(m) || !r.Open || r.User != v.user.Name {
				t.Fatalf("the row %+v does not hold what the browser's token decrypts to", r.SessionInfo)
			}

			before := v.token(m)
			must(t, db.FailNext(ctx, v.Trace()))
			if got, visit := v.asks(m, html(t, target, m)); got != farmspec.Refused || visit.Final().Status < 500 {
				t.Errorf("while a write fails: %s with %d, want refused with a server's error", got, visit.Final().Status)
			}
			if row().Token != before {
				t.Error("the failed write has changed the row")
			}
			v.mustSee(m, html(t, target, m)) // consumed if, and only if, committed

			must(t, db.SetToken(ctx, row().Ref, farmspec.PlainToken{ID: row().Token.ID, Timestamp: row().Token.Timestamp + 1}))
			v.mustNotSee(m, html(t, target, m), "the stored timestamp is another (claim 6)")

			w := signIn(t, target)
			rows, err := db.Rows(ctx, w.user.Name)
			must(t, err)
			must(t, db.Remove(ctx, rows[0].Ref))
			w.mustNotSee(m, html(t, target, m), "there is no row")
		})
	}
}

func TestKeyHook(t *testing.T) {
	target := open(t, simfarm.Options{})
	ctx, k := t.Context(), target.Hooks.Keys
	v := signIn(t, target)
	tok := v.token(target.Members[0])
	sealed, err := k.Seal(tok)
	must(t, err)
	if got, err := k.Open(sealed); err != nil || got != tok {
		t.Errorf("Open of what Seal made: %v, %v", got, err)
	}
	foreign, err := k.SealForeign(tok)
	must(t, err)
	if _, err := k.Open(foreign); err == nil || len(foreign) != len(sealed) {
		t.Errorf("Open of a foreign seal: %v, of length %d where ours has %d", err, len(foreign), len(sealed))
	}
	at := target.Members[0]
	for round := range 2 {
		for members := range len(target.Members) + 1 {
			must(t, k.Rotate(ctx, members))
			for _, next := range []int{1, 0, 2, 1, 2, 0} {
				v.mustSee(at, html(t, target, target.Members[next]))
				at = target.Members[next]
			}
			if got, err := k.Open(sealed); err != nil || got != tok {
				t.Fatalf("round %d, %d members: what the old key sealed does not open: %v", round, members, err)
			}
			again, err := k.Seal(tok)
			must(t, err)
			if keyOf(t, again) != keyOf(t, v.carried(at)) {
				t.Errorf("round %d, %d members: the hook seals with another key than the first member", round, members)
			}
		}
	}
	now, err := k.Seal(tok)
	must(t, err)
	if keyOf(t, now) != keyOf(t, sealed)+2 {
		t.Errorf("after two rotations Seal uses key %d, and used %d before", keyOf(t, now), keyOf(t, sealed))
	}
	if err := k.Rotate(ctx, 4); err == nil {
		t.Error("Rotate over 4 of 3 members succeeded")
	}
}

// keyOf is the number of the key that sealed, the second byte of the frame.
func keyOf(t testing.TB, sealed string) byte {
	t.Helper()
	frame, err := base64.RawURLEncoding.DecodeString(sealed)
	must(t, err)
	return frame[1]
}

func TestWrapReachesEveryPart(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		seen[what]++
	}
	target := open(t, simfarm.Options{Wrap: simfarm.Wrap{
		Service: func(o *reference.Options) { note("service"); o.Store = countingStore{o.Store, note} },
		API:     func(s web.Service) web.Service { note("api"); return s },
		Member:  func(c *web.ServerConfig) { note("member " + c.Name) },
		Handler: func(p string, h http.Handler) http.Handler { note("handler " + p); return h },
	}})
	v := signIn(t, target)
	v.mustSee(target.Members[0], html(t, target, target.Members[1]))
	must(t, target.Hooks.Processes.Stop(t.Context(), farmspec.ServiceProcess))
	must(t, target.Hooks.Processes.Start(t.Context(), farmspec.ServiceProcess))
	for what, want := range map[string]int{"service": 2, "api": 2, "member server-1": 1, "member server-3": 1, "handler service": 2, "handler server-2": 1, "replace": 2} {
		if seen[what] != want {
			t.Errorf("%s: %d times, want %d", what, seen[what], want)
		}
	}
}

type countingStore struct {
	reference.Store
	note func(string)
}

func (c countingStore) Replace(ctx context.Context, old, next reference.Token) error {
	c.note("replace")
	return c.Store.Replace(ctx, old, next)
}

func TestSeedFixesTheChoices(t *testing.T) {
	first := func(seed uint64) farmspec.PlainToken {
		target := open(t, simfarm.Options{Seed: seed})
		return signIn(t, target).token(target.Members[0])
	}
	a, b, c := first(7), first(7), first(8)
	if a.ID != b.ID {
		t.Error("one seed drew two different session IDs")
	}
	if a.ID == c.ID {
		t.Error("two seeds drew the same session ID")
	}
}

func TestOpenRefusesBadOptions(t *testing.T) {
	for _, tc := range []struct {
		o    simfarm.Options
		want string
	}{
		{simfarm.Options{Servers: -1}, "1 to"},
		{simfarm.Options{Servers: 5000}, "1 to"},
		{simfarm.Options{Port: 65534}, "65535"},
		{simfarm.Options{Handoff: "seald"}, "seald"},
		{simfarm.Options{Topology: "one"}, "single-host"},
		{simfarm.Options{Rotation: "never"}, "never"},
		{simfarm.Options{Address: "localhost"}, "127.0.0.1"},
		{simfarm.Options{Database: "memry"}, "did you mean memory?"},
		{simfarm.Options{Database: "sqlite"}, "did you mean sqlite:farm.db?"},
		{simfarm.Options{Database: "sqlite3:x.db"}, "did you mean sqlite:x.db?"},
		{simfarm.Options{Database: "x.db"}, "did you mean sqlite:x.db?"},
		{simfarm.Options{Database: "sqlite:" + t.TempDir()}, "directory"},
		{simfarm.Options{Limits: reference.Limits{Idle: -time.Second}}, "negative"},
	} {
		farm, err := simfarm.Open(t.Context(), tc.o)
		if err == nil {
			_ = farm.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Open(%+v) = %v, want an error with %q", tc.o, err, tc.want)
		}
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := goroutines()
	for _, top := range []farmspec.Topology{farmspec.SharedDomain, farmspec.SingleHost} {
		farm, err := simfarm.Open(t.Context(), simfarm.Options{Topology: top, Database: "sqlite::memory:"})
		must(t, err)
		target := farm.Target()
		v := signIn(t, target)
		_, err = target.Hooks.Holds.Hold(t.Context(), v.Trace(), farmspec.InHandler)
		must(t, err)
		held, err := target.Hooks.Holds.Hold(t.Context(), v.Trace(), farmspec.BeforeVerify)
		must(t, err)
		var asking sync.WaitGroup
		asking.Go(func() { v.asks(target.Members[0], html(t, target, target.Members[1])) })
		must(t, held.Wait(t.Context(), 1))
		if err := farm.Close(); err != nil { // frees who is parked
			t.Error(err)
		}
		if err := farm.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		asking.Wait()
		v.Close()
		if err := target.Hooks.Processes.Start(t.Context(), "server-1"); err == nil {
			t.Error("a process of a closed farm started")
		}
	}
	// The last instructions of a connection's goroutine run after it is closed.
	deadline := time.Now().Add(time.Minute)
	for goroutines() != before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if left := goroutines(); left != before {
		buf := make([]byte, 1<<16)
		t.Errorf("goroutines of ours: %d before, %d after Close\n%s", before, left, buf[:runtime.Stack(buf, true)])
	}
}

// goroutines counts those that run code of a farm or of HTTP.
func goroutines() int {
	buf := make([]byte, 4<<20)
	n := 0
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "net/http") || strings.Contains(g, "simfarm.(") || strings.Contains(g, "database/sql") {
			n++
		}
	}
	return n
}

func BenchmarkOpen(b *testing.B) {
	for _, servers := range []int{3, 100} {
		b.Run(fmt.Sprintf("servers=%d", servers), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				farm, err := simfarm.Open(b.Context(), simfarm.Options{Servers: servers})
				if err != nil {
					b.Fatal(err)
				}
				if err := farm.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHop(b *testing.B) {
	for _, top := range []farmspec.Topology{farmspec.SharedDomain, farmspec.SingleHost} {
		b.Run(string(top), func(b *testing.B) {
			target := open(b, simfarm.Options{Topology: top})
			v := signIn(b, target)
			at := 0
			for b.Loop() {
				next := 1 - at
				v.mustSee(target.Members[at], html(b, target, target.Members[next]))
				at = next
			}
		})
	}
}
