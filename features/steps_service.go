package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// The steps of the session management web service: what it answers to whom,
// what becomes of the farm while it or the database is away, and who is who.

type serviceScene struct {
	// tokens are opened tokens, by whose they are; asked is whose is asked about.
	tokens map[string]farmspec.PlainToken
	asked  string
	// answers are what the service said, by server and token.
	answers []verification
	// outage are the requests made while a part was stopped.
	outage []outageAttempt
	// offered are the service's calls that a server's credential opens.
	offered []serviceCall
	// turned are the calls of those who should be turned away.
	turned []strangersCall
}

// verification is one answer of the service.
type verification struct {
	member, what string
	good, yes    bool
}

// outageAttempt is a request made while a part was stopped; late says that
// no answer came in time.
type outageAttempt struct {
	*attempt
	late bool
}

// strangersCall is a call with a credential that must not open it.
type strangersCall struct {
	what string
	*farmspec.Exchange
	// optional says that the service need not have the call at all.
	optional bool
}

// inTime bounds how long a server may take to refuse while the part it needs
// is away: people wait no longer for a page.
const inTime = 5 * time.Second

const partPattern = `(server \d+|the session service|the database)`

func (w *world) registerService(s stepper) {
	s.step(`(\w+)'s token is read (from a hand-off|by the farm's key)`, w.tokenIsRead)
	s.step(`every server asks the service about that token, about altered ones and about one never issued`, w.everyServerAsks)
	s.step(`the service says yes to the good one and no to every other`, w.yesToTheGoodOne)
	s.step(`the service has said yes to that token, whichever server asked`, w.serviceHasSaidYes)
	s.step(`the service still says yes to that token`, w.serviceStillSaysYes)
	s.step(`the service says no to the token it had said yes to`, w.serviceSaysNo)
	s.step(`the stored session of that token is (changed|gone)`, w.storedSessionIs)
	s.step(`(\w+) signs in at server (\d+), goes to server (\d+) and back`, w.signsInGoesAndBack)
	s.step(`(\w+) signs in at server (\d+), goes to server (\d+) and to server (\d+)`, w.signsInAndGoes)

	s.step(partPattern+` stops`, w.partStops)
	s.step(partPattern+` is back`, w.partIsBack)
	s.step(`(\w+) has visited every page by way of every server`, w.hasVisitedEveryWay)
	s.step(`(\w+)'s token is presented for every page by way of every server`, w.presentedEveryWay)
	s.step(`every one of these requests is refused in time`, w.refusedInTime)
	s.step(`server (\d+) serves nobody`, w.serverServesNobody)
	s.step(`every server still answers`, w.everyServerAnswers)

	s.step(`every call of the service was answered for (\w+) with a server's credential`, w.callsAnsweredFor)
	s.step(`the same calls are made for (\w+) with no credential and with wrong ones`, w.strangersCallFor)
	s.step(`the administrator sees the session of (\w+)`, w.administratorSees)
	s.step(`the administrator's calls are made against (\w+) with each server's credential and with none`, w.serversCallAsAdministrator)
	s.step(`every one of these calls is turned away`, w.callsTurnedAway)
}

// tokenIsRead opens a person's current token: with the farm's key, or as a
// first server shows it in a hand-off that nobody follows.
func (w *world) tokenIsRead(ctx context.Context, name, how string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	var t farmspec.PlainToken
	if how == "by the farm's key" {
		if t, err = w.plain(p.current()); err != nil {
			return err
		}
	} else {
		for _, m := range w.target.Members {
			if m.Name == p.at.Name {
				continue
			}
			x := p.browser.Send(ctx, farmspec.Request{URL: p.at.At(w.home(m).Path), Dest: "document"})
			if t, err = w.target.TokenIn(x.Location()); err != nil {
				return &failedControl{fmt.Sprintf("%s shows no hand-off with %s's token: %v", p.at.Name, name, err)}
			}
			break
		}
	}
	w.keepSecret(t.ID)
	if w.service.tokens == nil {
		w.service.tokens = map[string]farmspec.PlainToken{}
	}
	w.service.tokens[name], w.service.asked = t, name
	return nil
}

// ask has every server ask the service about a token.
func (w *world) ask(ctx context.Context, what string, t farmspec.PlainToken, good bool) error {
	for _, m := range w.target.Members {
		err := w.hooks.Service.Verify(ctx, m.Name, t)
		if err != nil && !errors.Is(err, farmspec.ErrRefused) {
			return fmt.Errorf("ask the service as %s: %w", m.Name, err)
		}
		w.service.answers = append(w.service.answers, verification{m.Name, what, good, err == nil})
	}
	return nil
}

func (w *world) everyServerAsks(ctx context.Context) error {
	good := w.service.tokens[w.service.asked]
	never := w.neverIssued()
	w.keepSecret(never.ID)
	other := altered(good.ID, len(good.ID)-1)
	w.keepSecret(other)
	for _, q := range []struct {
		what string
		t    farmspec.PlainToken
	}{
		{"the good token", good},
		{"one with another session ID", farmspec.PlainToken{ID: other, Timestamp: good.Timestamp}},
		{"one a millisecond later", farmspec.PlainToken{ID: good.ID, Timestamp: good.Timestamp + 1}},
		{"one a millisecond earlier", farmspec.PlainToken{ID: good.ID, Timestamp: good.Timestamp - 1}},
		{"one never issued", never},
	} {
		if err := w.ask(ctx, q.what, q.t, q.t == good); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) yesToTheGoodOne() error {
	w.refusals++
	for _, a := range w.service.answers {
		expected := fmt.Sprintf("the service, asked by %s about %s, to say %s", a.member, a.what, yesNo(a.good))
		if err := w.expect(a.yes == a.good, nil, expected, yesNo(a.yes)); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) askAgain(ctx context.Context, good bool) error {
	w.service.answers = nil
	return w.ask(ctx, w.service.asked+"'s token", w.service.tokens[w.service.asked], good)
}

func (w *world) serviceHasSaidYes(ctx context.Context) error {
	if err := w.askAgain(ctx, true); err != nil {
		return err
	}
	for _, a := range w.service.answers {
		if !a.yes {
			return &failedControl{fmt.Sprintf("the service, asked by %s about %s, says no", a.member, a.what)}
		}
	}
	return nil
}

func (w *world) serviceStillSaysYes(ctx context.Context) error {
	if err := w.askAgain(ctx, true); err != nil {
		return err
	}
	return w.yesToTheGoodOne()
}

func (w *world) serviceSaysNo(ctx context.Context) error {
	if err := w.askAgain(ctx, false); err != nil {
		return err
	}
	return w.yesToTheGoodOne()
}

func (w *world) storedSessionIs(ctx context.Context, what string) error {
	p, err := w.person(ctx, w.service.asked)
	if err != nil {
		return err
	}
	rows, err := w.hooks.Database.Rows(ctx, p.user.Name)
	if err != nil {
		return fmt.Errorf("read the common session database: %w", err)
	}
	for _, r := range rows {
		if !r.Open {
			continue
		}
		if what == "gone" {
			err = w.hooks.Database.Remove(ctx, r.Ref)
		} else {
			err = w.hooks.Database.SetToken(ctx, r.Ref, farmspec.PlainToken{ID: r.Token.ID, Timestamp: r.Token.Timestamp - 1})
		}
		if err != nil {
			return fmt.Errorf("edit the common session database: %w", err)
		}
		return nil
	}
	return &failedControl{"the common session database has no open session of " + p.name}
}

func (w *world) signsInGoesAndBack(ctx context.Context, name string, first, second int) error {
	return w.signsInAndGoes(ctx, name, first, second, first)
}

// signsInAndGoes takes nothing for granted, not even the log-in.
func (w *world) signsInAndGoes(ctx context.Context, name string, first, second, third int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if p.at, err = w.member(first); err != nil {
		return err
	}
	if _, err := w.logIn(ctx, p, p.at, p.user.Password); err != nil {
		return w.expect(false, nil, fmt.Sprintf("%s can sign in at %s", name, p.at.Name), err.Error())
	}
	return w.walkTo(ctx, name, second-1, third-1)
}

// partStops stops a part; at the latest it is back when the scenario ends.
func (w *world) partStops(ctx context.Context, words string) error {
	name, err := w.part(words)
	if err != nil {
		return err
	}
	w.crashed = true
	if err := w.hooks.Processes.Stop(ctx, name); err != nil {
		return fmt.Errorf("stop %s: %w", words, err)
	}
	w.onEnd = append(w.onEnd, func() { _ = w.hooks.Processes.Start(context.WithoutCancel(ctx), name) })
	return nil
}

func (w *world) partIsBack(ctx context.Context, words string) error {
	name, err := w.part(words)
	if err != nil {
		return err
	}
	if err := w.hooks.Processes.Start(ctx, name); err != nil {
		return fmt.Errorf("start %s: %w", words, err)
	}
	return nil
}

// everyWay calls do for each server asked and each server that holds a page.
func (w *world) everyWay(do func(asked farmspec.Member, page farmspec.Page) error) error {
	members := w.target.Members[:min(3, len(w.target.Members))]
	for _, m := range members {
		for _, holder := range members {
			if err := do(m, w.home(holder)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) hasVisitedEveryWay(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.everyWay(func(m farmspec.Member, page farmspec.Page) error {
		if p.at.Name != m.Name { // where she has to be to ask it with her newest token
			if err := w.needServed(w.hop(ctx, p, w.home(m))); err != nil {
				return err
			}
		}
		return w.needServed(w.visit(ctx, p, m, page))
	})
}

func (w *world) presentedEveryWay(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.everyWay(func(m farmspec.Member, page farmspec.Page) error {
		if n := len(w.service.outage); n > 0 && w.service.outage[n-1].late {
			return nil // one is enough, and each would take its time
		}
		b := w.newBrowser(name)
		w.give(b, p.current(), m)
		waiting, cancel := context.WithTimeout(ctx, inTime)
		defer cancel()
		a := w.open(waiting, b, p, m.At(page.Path), page, asked(m, page))
		late := waiting.Err() != nil && ctx.Err() == nil
		w.service.outage = append(w.service.outage, outageAttempt{a, late})
		return ctx.Err()
	})
}

func (w *world) refusedInTime(ctx context.Context) error {
	for _, a := range w.service.outage {
		if a.late {
			return w.expect(false, a.final(), fmt.Sprintf("a refusal of %s within %v", a.page.Path, inTime), "no answer in that time")
		}
		if err := w.mustRefuse(ctx, a.attempt); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) serverServesNobody(ctx context.Context, server int) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	x := w.newBrowser("nobody").Send(ctx, farmspec.Request{URL: m.At(w.target.Login.Path), Dest: "document"})
	if answers(x) {
		return &failedControl{fmt.Sprintf("%s was stopped and answers with status %d", m.Name, x.Status)}
	}
	return nil
}

// answers reports whether a server itself has answered: 502 and 504 are what
// a gateway says of a server that did not.
func answers(x *farmspec.Exchange) bool {
	return x.Err == nil && x.Status != http.StatusBadGateway && x.Status != http.StatusGatewayTimeout
}

func (w *world) everyServerAnswers(ctx context.Context) error {
	b := w.newBrowser("nobody")
	for _, m := range w.target.Members {
		x := b.Send(ctx, farmspec.Request{URL: m.At(w.target.Login.Path), Dest: "document"})
		if err := w.expect(answers(x), x, "an answer of "+m.Name, describe(x)); err != nil {
			return err
		}
	}
	return nil
}

// describe says in words how something was answered.
func describe(x *farmspec.Exchange) string {
	if x.Err != nil {
		return "no answer: " + x.Err.Error()
	}
	return fmt.Sprintf("status %d", x.Status)
}

// serviceCall is a call of the service, as its OpenAPI document has it. In
// path and body {token}, {session}, {user}, {password} and {app} stand for
// those of the person it is made for.
type serviceCall struct{ what, method, path, body string }

// serviceCalls are in an order in which one person can make them all.
var serviceCalls = []serviceCall{
	{"verify", "POST", "/v1/verify", `{"token":{token}}`},
	{"renew", "POST", "/v1/renew", `{"token":{token}}`},
	{"ask for the time", "GET", "/v1/time", ``},
	{"create an HTTP session", "POST", "/v1/http-sessions/create", `{"token":{token},"application":"{app}"}`},
	{"open an HTTP session", "POST", "/v1/http-sessions/open", `{"session":"{session}","application":"{app} too"}`},
	{"save an HTTP session", "POST", "/v1/http-sessions/save", `{"session":"{session}","http_session":{"application":"{app}","version":0}}`},
	{"end an HTTP session", "POST", "/v1/http-sessions/end", `{"session":"{session}","application":"{app} too"}`},
	{"confirm a password", "POST", "/v1/account/confirm", `{"session":"{session}","password":"{password}"}`},
	{"list one's own sessions", "POST", "/v1/account/sessions", `{"session":"{session}"}`},
	{"end one's other sessions", "POST", "/v1/account/end", `{"session":"{session}","password":"{password}","others":true}`},
	{"change one's password", "POST", "/v1/account/password", `{"session":"{session}","password":"{password}","new_password":"{password}"}`},
	{"log out", "POST", "/v1/logout", `{"token":{token}}`},
	{"log in", "POST", "/v1/login", `{"user":"{user}","password":"{password}"}`},
}

var adminCalls = []serviceCall{
	{"list sessions", "GET", "/v1/admin/sessions?user={user}", ``},
	{"end a user's sessions", "POST", "/v1/admin/terminate", `{"user":"{user}"}`},
	{"disable a user", "POST", "/v1/admin/disable", `{"user":"{user}"}`},
	{"enable a user", "POST", "/v1/admin/enable", `{"user":"{user}"}`},
}

// caller fills calls in for a person and sends them.
type caller struct {
	w       *world
	browser *farmspec.Browser
	user    farmspec.User
	token   farmspec.PlainToken
	session string
}

func tokenJSON(t farmspec.PlainToken) string {
	return `{"id":"` + t.ID + `","timestamp":` + strconv.FormatInt(t.Timestamp, 10) + `}`
}

func (c *caller) send(ctx context.Context, call serviceCall, header http.Header) *farmspec.Exchange {
	app := "app"
	if len(c.w.target.Apps) > 0 {
		app = c.w.target.Apps[0].Name
	}
	fill := strings.NewReplacer("{token}", tokenJSON(c.token), "{session}", c.session, "{user}", c.user.Name, "{password}", c.user.Password, "{app}", app)
	r := farmspec.Request{
		Method: call.method, URL: c.w.hooks.Service.Endpoint() + fill.Replace(call.path), Body: fill.Replace(call.body),
		Header: header.Clone(), Cookies: farmspec.NoCookies,
	}
	if r.Body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return c.browser.Send(ctx, r)
}

// granted reads token and session reference from the service's yes.
func (w *world) granted(x *farmspec.Exchange) (t farmspec.PlainToken, session string) {
	var g struct {
		Token struct {
			ID        string `json:"id"`
			Timestamp int64  `json:"timestamp"`
		} `json:"token"`
		Session string `json:"session"`
	}
	if json.Unmarshal(x.Body, &g) != nil {
		return t, ""
	}
	t = farmspec.PlainToken{ID: g.Token.ID, Timestamp: g.Token.Timestamp}
	w.keepSecret(t.ID)
	return t, g.Session
}

func (w *world) asServer(server int) (http.Header, error) {
	h := http.Header{}
	m, err := w.member(server)
	if err != nil {
		return h, err
	}
	if err := w.hooks.Service.Authorize(h, m.Name); err != nil {
		return h, fmt.Errorf("take the credential of %s: %w", m.Name, err)
	}
	return h, nil
}

// callsAnsweredFor is the witness of the calls turned away later.
func (w *world) callsAnsweredFor(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	header, err := w.asServer(1)
	if err != nil {
		return err
	}
	c := caller{w: w, browser: w.newBrowser("a server"), user: p.user, token: w.service.tokens[name]}
	for _, call := range serviceCalls {
		x := c.send(ctx, call, header)
		yes := x.Err == nil && x.Status/100 == 2
		w.checked(farmspec.Witness, "with a server's credential: "+call.what, describe(x), yes, x)
		switch {
		case yes:
			w.service.offered = append(w.service.offered, call)
		case x.Status == http.StatusNotFound || x.Status == http.StatusMethodNotAllowed || x.Status == http.StatusNotImplemented:
			continue // a service of another make may do without
		default:
			return &failedControl{fmt.Sprintf("with a server's credential, %s: %s", call.what, describe(x))}
		}
		if call.what == "renew" {
			c.token, c.session = w.granted(x)
		}
	}
	if len(w.service.offered) < 2 {
		return &notOffered{"the service has none of the calls of the session API"}
	}
	return nil
}

// credential is what a call is made with.
type credential struct {
	what   string
	header http.Header
}

// strangers are the credentials that must open nothing.
func (w *world) strangers() ([]credential, error) {
	good, err := w.asServer(1)
	if err != nil {
		return nil, err
	}
	change := func(f func(v string) string) http.Header {
		h := http.Header{}
		for name, values := range good {
			for _, v := range values {
				h.Add(name, f(v))
			}
		}
		return h
	}
	scheme := func(s string) func(string) string {
		return func(v string) string {
			_, secret, _ := strings.Cut(v, " ")
			return s + secret
		}
	}
	return []credential{
		{"no credential", http.Header{}},
		{"an empty credential", change(func(v string) string { first, _, _ := strings.Cut(v, " "); return first + " " })},
		{"a server's name", change(func(v string) string {
			first, _, _ := strings.Cut(v, " ")
			return first + " " + w.target.Members[0].Name
		})},
		{"a credential that is too short", change(func(v string) string { return v[:len(v)-1] })},
		{"a credential that is too long", change(func(v string) string { return v + "0" })},
		{"a credential changed", change(func(v string) string { return altered(v, len(v)-1) })},
		{"a credential of another scheme", change(scheme("Basic "))},
		{"a credential without a scheme", change(scheme(""))},
	}, nil
}

func (w *world) strangersCallFor(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	c := caller{w: w, browser: w.newBrowser("a stranger"), user: p.user, token: w.service.tokens[name]}
	header, err := w.asServer(1)
	if err != nil {
		return err
	}
	// The stranger knows everything but a credential.
	_, c.session = w.granted(c.send(ctx, serviceCalls[0], header))
	strangers, err := w.strangers()
	if err != nil {
		return err
	}
	for _, call := range w.service.offered {
		for _, s := range strangers {
			x := c.send(ctx, call, s.header)
			w.service.turned = append(w.service.turned, strangersCall{call.what + " with " + s.what, x, false})
		}
	}
	return ctx.Err()
}

func (w *world) administratorSees(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	all, err := w.hooks.Admin.Sessions(ctx, p.user.Name)
	if err != nil {
		return fmt.Errorf("list sessions as the administrator: %w", err)
	}
	for _, s := range all {
		if s.Open {
			return nil
		}
	}
	return &failedControl{"the administrator sees no open session of " + name}
}

func (w *world) serversCallAsAdministrator(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	strangers := []credential{{"no credential", http.Header{}}}
	for i, m := range w.target.Members {
		header, err := w.asServer(i + 1)
		if err != nil {
			return err
		}
		strangers = append(strangers, credential{"the credential of " + m.Name, header})
	}
	c := caller{w: w, browser: w.newBrowser("a stranger"), user: p.user}
	for _, call := range adminCalls {
		for _, s := range strangers {
			w.service.turned = append(w.service.turned, strangersCall{call.what + " with " + s.what, c.send(ctx, call, s.header), true})
		}
	}
	return ctx.Err()
}

func (w *world) callsTurnedAway() error {
	w.refusals++
	turned := 0
	for _, c := range w.service.turned {
		away := c.Status == http.StatusUnauthorized || c.Status == http.StatusForbidden
		absent := c.optional && (c.Status == http.StatusNotFound || c.Status == http.StatusMethodNotAllowed)
		if !away && !absent {
			return w.expect(false, c.Exchange, "the caller to be turned away from: "+c.what, describe(c.Exchange))
		}
		if away {
			turned++
		}
	}
	if turned == 0 {
		return &failedControl{"none of the calls is there, so nobody was turned away"}
	}
	return w.expect(true, w.service.turned[0].Exchange, "every such caller to be turned away", fmt.Sprintf("%d of %d are", turned, len(w.service.turned)))
}
