package features

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cucumber/godog"

	"github.com/farmspec/farmspec"
)

// The steps of single log-out. The circle is the target's: an identity
// provider and other participants. People sign in and out by browser; messages
// that only a key's holder can make come from the federation hook, and are
// delivered here.

type sloScene struct {
	// copies are browsers with the cookies of people as they were when they had
	// signed in everywhere.
	copies map[string]*farmspec.Browser
	// indexes are those by which the farm knows people's sessions, by person.
	indexes map[string]string
	// answers are the provider's, shown and not yet delivered.
	answers map[string]*farmspec.Visit
	// sent is the last message and answered what came of it.
	sent     farmspec.Delivery
	answered *farmspec.Exchange
	// byAdmin is how the administrator's log-out ended.
	byAdmin error
}

const (
	partyPattern   = `(the provider|participant \d+)`
	channelPattern = `(by redirect|by form|server to server|by log-out token)`
)

var channelWords = map[string]farmspec.Channel{
	"by redirect": farmspec.RedirectChannel, "by form": farmspec.PostChannel,
	"server to server": farmspec.SOAPChannel, "by log-out token": farmspec.OpenIDChannel,
}

var flawWords = map[string]farmspec.Flaw{
	"without a signature":          farmspec.Unsigned,
	"signed with a key of her own": farmspec.ForeignKey,
	"signed by another party":      farmspec.OtherParty,
	"changed after it was signed":  farmspec.Changed,
	"of an issuer nobody knows":    farmspec.UnknownIssuer,
	"made for another party":       farmspec.Misdirected,
	"that has expired":             farmspec.Expired,
	"of long ago":                  farmspec.Stale,
	"wrapped around a true one":    farmspec.Wrapped,
	"with a document type":         farmspec.DocType,
	"of another type":              farmspec.Untyped,
	"without the event":            farmspec.Eventless,
	"with a nonce":                 farmspec.WithNonce,
	"of nobody":                    farmspec.Subjectless,
}

func (w *world) registerSLO(s stepper) {
	s.step(`a farm that sends log-outs by way of the browser`, func(ctx context.Context) error {
		return w.fork(ctx, farmspec.Variation{FrontChannel: true})
	})
	s.step(`(\w+) is signed in through the provider`, w.isSignedInThroughProvider)
	s.step(`(\w+) is signed in through the provider, at the farm and at every participant`, w.isSignedInEverywhere)
	s.step(`(\w+) is signed in through the provider on (?:her|his) (phone|tablet) as well`, w.isSignedInThroughProviderOn)
	s.step(`(\w+) signs in anew through the provider`, w.signsInAnewThroughProvider)
	s.step(partyPattern+` is down`, w.partyIsDown)

	s.step(`(\w+) logs out at `+partyPattern, w.logsOutAtParty)
	s.step(`(\w+'s (?:phone|tablet)) is logged out`, w.logsOut)
	s.step(`the administrator logs (\w+) out`, w.adminLogsOut)
	s.step(whoPattern+` is out at the farm`, w.isOutAtFarm)
	s.step(whoPattern+` is out at the provider`, w.isOutAtProvider)
	s.step(`(\w+) is out at every participant but participant (\d+)`, w.isOutAtOthers)
	s.step(`(\w+) is out everywhere`, w.isOutEverywhere)
	s.step(`(\w+) is still signed in at the provider`, w.isStillInAtProvider)
	s.step(`(\w+) is still signed in at every participant`, w.isStillInEverywhere)
	s.step(`(\w+) is told that (everybody|not everybody) has confirmed`, w.isToldWhoConfirmed)
	s.step(`the administrator is told that not everybody has confirmed`, w.adminIsToldPartial)
	s.step(`the log-out requests about (\w+) give (the user|an administrator) as the reason`, w.requestsGiveReason)

	s.step(`the provider asks the farm `+channelPattern+` to end (all of )?(\w+)'s sessions?(, without naming her)?`, w.providerAsksFarm)
	s.step(`true requests (.+) have logged (\w+) out of the farm`, w.trueRequestsHaveLoggedOut)
	s.step(`none of these requests of Mallory's logs (\w+) out:`, w.noneLogsOut)
	s.step(`Mallory sends (the farm|the provider|participant \d+) a request (.+), `+channelPattern+`, to log (\w+) out`, w.sendsFlawedRequest)
	s.step(`Mallory sends the same request again`, w.sendsSameRequest)
	s.step(`the answer says that the log-out (failed|succeeded)`, w.answerSays)
	s.step(`the answer forbids caching`, w.answerForbidsCaching)

	s.step(`(\w+) has an answer of the provider that is not delivered`, w.hasUndeliveredAnswer)
	s.step(`(\w+)'s answer is delivered`, w.deliversAnswer)
	s.step(`(\w+)'s answer is delivered and lets (?:her|him) in`, w.answerLetsIn)

	s.step(`(\w+) goes on visiting pages until almost the provider's session is over`, w.goesOnUntilProviderOver)
	s.step(`the provider's session is over`, w.providerSessionIsOver)
	s.step(`(\w+) comes back through the provider, asked for a password as documented`, w.comesBack)
}

func (w *world) circle() farmspec.Circle { return w.hooks.Federation.Circle() }

// site finds a party other than the farm.
func (w *world) site(words string) (farmspec.Site, error) {
	c := w.circle()
	if words == "the provider" {
		return c.Provider, nil
	}
	var n int
	if _, err := fmt.Sscanf(words, "participant %d", &n); err != nil || n < 1 {
		return farmspec.Site{}, fmt.Errorf("find %q: no such party", words)
	}
	if n > len(c.Participants) {
		return farmspec.Site{}, &notOffered{fmt.Sprintf("needs %d participants beside the farm; there are %d", n, len(c.Participants))}
	}
	return c.Participants[n-1], nil
}

func visited(s farmspec.Site) string { return "GET " + s.Page.Path + " at " + s.Name }

// follow does what the pages on the way through the provider ask of a person,
// until a page asks nothing more. It reports whether a password was asked for.
func (w *world) follow(ctx context.Context, p *person, visit *farmspec.Visit) (*farmspec.Visit, bool, error) {
	asked := false
	for range 6 {
		kind, err := w.onTheWay(visit.Final())
		if err != nil {
			return visit, asked, err
		}
		var values map[string]string
		switch kind {
		case "":
			return visit, asked, nil
		case "log-in":
			login := w.circle().Login
			asked, values = true, map[string]string{login.UserField: p.user.Name, login.PassField: p.user.Password}
		}
		if visit, err = p.browser.Submit(ctx, visit, "", values); err != nil {
			return visit, asked, err
		}
	}
	return visit, asked, errors.New("there is no end of forms on the way through the provider")
}

// onTheWay says what a page on the way through the provider asks for: "log-in",
// "answer" (or another message, to be carried to a party), "start", or nothing.
func (w *world) onTheWay(x *farmspec.Exchange) (string, error) {
	if x.Err != nil {
		return "", x.Err
	}
	c := w.circle()
	for _, f := range farmspec.Forms(x) {
		switch {
		case f.Has("SAMLResponse"), f.Has("SAMLRequest"):
			for _, field := range f.Fields {
				if field.Name != "RelayState" {
					w.keepSecret(field.Value) // whoever has it first is signed in
				}
			}
			return "answer", nil
		case f.Has(c.Login.UserField) && f.Has(c.Login.PassField) && strings.HasPrefix(x.URL, c.Provider.URL+"/"):
			return "log-in", nil
		}
	}
	if m, ok := w.target.MemberOf(x.URL); ok && strings.HasPrefix(x.URL, m.At(c.SignOn)) {
		return "start", nil
	}
	return "", nil
}

// signOn is where the farm's member leads to the provider, and from there to
// its page.
func (w *world) signOn(m farmspec.Member) string {
	return m.At(w.circle().SignOn) + "?next=" + url.QueryEscape(w.home(m).Path)
}

// enterFarm signs a person in at the farm's first member through the provider:
// the baseline.
func (w *world) enterFarm(ctx context.Context, p *person) error {
	if _, err := w.signedIn(ctx, bystander); err != nil {
		return err
	}
	m := w.target.Members[0]
	before, err := w.hooks.Federation.SessionIndexes(ctx, farmspec.FarmParty, p.user.Name)
	if err != nil {
		return fmt.Errorf("ask for session indexes: %w", err)
	}
	visit, err := p.browser.Open(ctx, w.signOn(m))
	if err == nil {
		visit, _, err = w.follow(ctx, p, visit)
	}
	a := w.judged(visit, err, p, w.home(m), asked(m, w.home(m)))
	p.at, p.last = m, a
	w.keepToken(p, m)
	if err := w.needServed(a); err != nil {
		return err
	}
	after, err := w.hooks.Federation.SessionIndexes(ctx, farmspec.FarmParty, p.user.Name)
	if err != nil {
		return fmt.Errorf("ask for session indexes: %w", err)
	}
	for _, index := range after {
		if !slices.Contains(before, index) {
			if w.slo.indexes == nil {
				w.slo.indexes = map[string]string{}
			}
			w.slo.indexes[p.name] = index
		}
	}
	return nil
}

func (w *world) isSignedInThroughProvider(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.enterFarm(ctx, p)
}

func (w *world) isSignedInEverywhere(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if err := w.enterFarm(ctx, p); err != nil {
		return err
	}
	c := w.circle()
	for _, s := range append(slices.Clone(c.Participants), c.Provider) {
		visit, err := p.browser.Open(ctx, s.URL+s.Page.Path)
		if err == nil {
			visit, _, err = w.follow(ctx, p, visit)
		}
		if err := w.needServed(w.judged(visit, err, p, s.Page, visited(s))); err != nil {
			return err
		}
	}
	if w.slo.copies == nil {
		w.slo.copies = map[string]*farmspec.Browser{}
	}
	w.slo.copies[name] = p.browser.Clone("Mallory")
	return nil
}

func (w *world) isSignedInThroughProviderOn(ctx context.Context, name, device string) error {
	owner, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	p := &person{name: name + "'s " + device, user: owner.user, at: w.target.Members[0]}
	p.browser = w.newBrowser(p.name)
	w.mu.Lock()
	w.people[p.name] = p
	w.mu.Unlock()
	return w.enterFarm(ctx, p)
}

// signsInAnewThroughProvider gives the password again, in a browser that knows
// nothing of before.
func (w *world) signsInAnewThroughProvider(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	p.browser, p.tokens = w.newBrowser(name), nil
	return w.enterFarm(ctx, p)
}

func (w *world) partyIsDown(ctx context.Context, words string) error {
	s, err := w.site(words)
	if err != nil {
		return err
	}
	if err := w.hooks.Processes.Stop(ctx, s.Name); err != nil {
		return fmt.Errorf("stop %s: %w", words, err)
	}
	w.onEnd = append(w.onEnd, func() { _ = w.hooks.Processes.Start(context.WithoutCancel(ctx), s.Name) })
	return nil
}

func (w *world) logsOutAtParty(ctx context.Context, name, words string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	s, err := w.site(words)
	if err != nil {
		return err
	}
	visit, err := p.browser.Open(ctx, s.URL+s.Logout.Path)
	if err == nil {
		visit, err = p.browser.Submit(ctx, visit, s.Logout.Form, nil)
	}
	if err == nil {
		err = w.carry(ctx, p, visit)
	}
	if err != nil {
		return &failedControl{fmt.Sprintf("%s cannot log out at %s: %v", name, words, err)}
	}
	return ctx.Err()
}

// carry takes messages from party to party, where they go by way of the
// browser, and does nothing else that a page may ask for.
func (w *world) carry(ctx context.Context, p *person, visit *farmspec.Visit) error {
	for range 6 {
		kind, err := w.onTheWay(visit.Final())
		if err != nil || kind != "answer" {
			return err
		}
		if visit, err = p.browser.Submit(ctx, visit, "", nil); err != nil {
			return err
		}
	}
	return errors.New("there is no end of messages between the parties")
}

func (w *world) adminLogsOut(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	w.slo.byAdmin = w.hooks.Admin.EndUser(ctx, p.user.Name)
	if errors.Is(w.slo.byAdmin, farmspec.ErrPartial) {
		return nil
	}
	return ended(w.slo.byAdmin)
}

// isOutAtFarm presents the newest token, which the person's own browser may
// have given up.
func (w *world) isOutAtFarm(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	a, err := w.present(ctx, "Mallory", p, p.current(), p.at, w.home(p.at))
	if err != nil {
		return err
	}
	return w.mustRefuse(ctx, a)
}

// atSite asks a site for its page with what a browser has, and follows nothing: the
// way to the provider would lead back in.
func (w *world) atSite(ctx context.Context, p *person, b *farmspec.Browser, s farmspec.Site) *attempt {
	x := b.Send(ctx, farmspec.Request{URL: s.URL + s.Page.Path, Dest: "document", Cookies: farmspec.JarCookies})
	return w.judged(&farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}, x.Err, p, s.Page, visited(s))
}

func (w *world) isOutAt(ctx context.Context, name string, sites ...farmspec.Site) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	b := w.slo.copies[name]
	if b == nil {
		return fmt.Errorf("look at the participants: %s was not signed in everywhere", name)
	}
	for _, s := range sites {
		if err := w.mustRefuse(ctx, w.atSite(ctx, p, b, s)); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) isOutAtProvider(ctx context.Context, name string) error {
	return w.isOutAt(ctx, name, w.circle().Provider)
}

func (w *world) isOutAtOthers(ctx context.Context, name string, but int) error {
	var others []farmspec.Site
	for i, s := range w.circle().Participants {
		if i+1 != but {
			others = append(others, s)
		}
	}
	if len(others) == 0 {
		return &notOffered{"needs 2 participants beside the farm"}
	}
	return w.isOutAt(ctx, name, others...)
}

func (w *world) isOutEverywhere(ctx context.Context, name string) error {
	if err := w.isOutAtFarm(ctx, name); err != nil {
		return err
	}
	c := w.circle()
	return w.isOutAt(ctx, name, append(slices.Clone(c.Participants), c.Provider)...)
}

func (w *world) isStillInAt(ctx context.Context, name string, sites ...farmspec.Site) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	for _, s := range sites {
		if err := w.mustServe(w.atSite(ctx, p, p.browser, s)); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) isStillInAtProvider(ctx context.Context, name string) error {
	return w.isStillInAt(ctx, name, w.circle().Provider)
}

func (w *world) isStillInEverywhere(ctx context.Context, name string) error {
	return w.isStillInAt(ctx, name, w.circle().Participants...)
}

// isToldWhoConfirmed looks at the page on which the log-out at the farm ended.
func (w *world) isToldWhoConfirmed(name, who string) error {
	n := len(w.ending.logOuts)
	if n == 0 {
		return fmt.Errorf("look at the end of the log-out: %s has not logged out", name)
	}
	x, c := w.ending.logOuts[n-1].Final(), w.circle()
	want := c.Everywhere
	if who == "not everybody" {
		want = c.Partial
	}
	body := string(x.Body)
	saw := "a page that says neither"
	switch {
	case x.Err != nil:
		saw = "no answer"
	case strings.Contains(body, c.Partial):
		saw = "that not everybody has"
	case strings.Contains(body, c.Everywhere):
		saw = "that everybody has"
	}
	return w.expect(strings.Contains(body, want), x, fmt.Sprintf("that %s is told that %s has confirmed the log-out", name, who), saw)
}

func (w *world) adminIsToldPartial() error {
	told := errors.Is(w.slo.byAdmin, farmspec.ErrPartial)
	return w.expect(told, nil, "that the administrator is told that not everybody has confirmed the log-out", "told so: "+yesNo(told))
}

// requestsGiveReason looks at what the parties have sent each other.
func (w *world) requestsGiveReason(ctx context.Context, name, who string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	all, err := w.hooks.Federation.LogoutMessages(ctx, p.user.Name)
	if err != nil {
		return fmt.Errorf("ask for log-out messages: %w", err)
	}
	requests, right := 0, 0
	for _, m := range all {
		if m.Answer {
			continue
		}
		requests++
		if m.Admin == (who == "an administrator") {
			right++
		}
	}
	return w.expect(requests > 0 && right == requests, nil, "that every log-out request gives "+who+" as the reason",
		fmt.Sprintf("%d of %d requests do", right, requests))
}

// deliver sends a message: by the browser of whom it is about where a browser
// carries it, otherwise by nobody's.
func (w *world) deliver(ctx context.Context, p *person, d farmspec.Delivery, c farmspec.Channel) {
	b := w.newBrowser("the network")
	r := farmspec.Request{Method: d.Method, URL: d.URL, Body: d.Body, Header: http.Header{}}
	if c == farmspec.RedirectChannel || c == farmspec.PostChannel {
		b, r.Dest, r.Cookies = p.browser, "document", farmspec.JarCookies
	}
	if d.ContentType != "" {
		r.Header.Set("Content-Type", d.ContentType)
	}
	if form, err := url.ParseQuery(d.Body); err == nil {
		for _, name := range []string{"SAMLRequest", "logout_token"} {
			w.keepSecret(form.Get(name)) // a credential to log somebody out
		}
	}
	w.slo.sent, w.slo.answered = d, b.Send(ctx, r)
}

// compose makes a message from the provider to the farm.
func (w *world) compose(ctx context.Context, r farmspec.LogoutRequest) (farmspec.Delivery, error) {
	d, err := w.hooks.Federation.Compose(ctx, r)
	if err != nil {
		return d, fmt.Errorf("make a log-out request: %w", err)
	}
	return d, nil
}

func (w *world) providerAsksFarm(ctx context.Context, channel, all, name, unnamed string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	r := farmspec.LogoutRequest{From: w.circle().Provider.Name, To: farmspec.FarmParty, Channel: channelWords[channel], User: p.user.Name}
	if all == "" {
		index := w.slo.indexes[name]
		if index == "" {
			return &failedControl{"the provider knows no session of " + name + "'s at the farm"}
		}
		r.Indexes = []string{index}
	}
	if unnamed != "" {
		r.User = ""
	}
	d, err := w.compose(ctx, r)
	if err != nil {
		return err
	}
	w.deliver(ctx, p, d, r.Channel)
	return ctx.Err()
}

// trueRequestsHaveLoggedOut is the control of what must be refused: by the
// same channels true requests are obeyed.
func (w *world) trueRequestsHaveLoggedOut(ctx context.Context, channels, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	for _, channel := range strings.Split(strings.ReplaceAll(channels, " and ", ", "), ", ") {
		if channelWords[channel] == "" {
			return fmt.Errorf("send a true request %q: no such channel", channel)
		}
		// Each log-out is of a session of its own.
		p.browser, p.tokens = w.newBrowser(name), nil
		if err := w.enterFarm(ctx, p); err != nil {
			return err
		}
		if err := w.providerAsksFarm(ctx, channel, "all of ", name, ""); err != nil {
			return err
		}
		a := w.visit(ctx, p, p.at, w.home(p.at))
		w.checked(farmspec.Witness, "a true request "+channel+" ends a session", a.describe(), a.outcome == farmspec.Refused, a.final())
		if a.outcome != farmspec.Refused {
			return &failedControl{fmt.Sprintf("a true request %s ends nothing: %s is %s", channel, name, a.describe())}
		}
	}
	return nil
}

// noneLogsOut sends one flawed request after the other and looks after each
// whether the person is still in.
func (w *world) noneLogsOut(ctx context.Context, name string, table *godog.Table) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	for _, row := range table.Rows[1:] {
		flaw, channel := row.Cells[0].Value, row.Cells[1].Value
		if err := w.sendsFlawedRequest(ctx, "the farm", flaw, channel, name); err != nil {
			return err
		}
		a := w.visit(ctx, p, p.at, w.home(p.at))
		if a.outcome == farmspec.NoAnswer {
			return &failedControl{fmt.Sprintf("after a request %s, %s, the farm does not answer: %s", flaw, channel, a.describe())}
		}
		if err := w.expect(a.outcome == farmspec.Accepted, a.final(), fmt.Sprintf("that a request %s, %s, ends nothing", flaw, channel), name+" is "+a.describe()); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) sendsFlawedRequest(ctx context.Context, to, flaw, channel, name string) error {
	p, mallory, err := w.both(ctx, name, "Mallory")
	if err != nil {
		return err
	}
	f, ok := flawWords[flaw]
	if !ok {
		return fmt.Errorf("make a log-out request %q: no such flaw", flaw)
	}
	provider := w.circle().Provider.Name
	r := farmspec.LogoutRequest{
		From: provider, To: farmspec.FarmParty, Channel: channelWords[channel], User: p.user.Name, Bait: mallory.user.Name, Flaw: f,
	}
	if to != "the farm" {
		s, err := w.site(to)
		if err != nil {
			return err
		}
		if r.To = s.Name; s.Name == provider {
			r.From = farmspec.FarmParty
		}
	}
	d, err := w.compose(ctx, r)
	if err != nil {
		return err
	}
	w.deliver(ctx, p, d, r.Channel)
	return ctx.Err()
}

func (w *world) sendsSameRequest(ctx context.Context) error {
	if w.slo.sent.URL == "" {
		return errors.New("send the request again: none was sent")
	}
	w.deliver(ctx, nil, w.slo.sent, farmspec.SOAPChannel)
	return ctx.Err()
}

// answerSays looks at the answer to a log-out token: 200, or 204 of older
// frameworks, means that it succeeded, 400 that it did not (2.8).
func (w *world) answerSays(which string) error {
	x := w.slo.answered
	if x.Err != nil {
		return &failedControl{fmt.Sprintf("the message was not answered: %v", x.Err)}
	}
	ok := x.Status == http.StatusBadRequest
	if which == "succeeded" {
		ok = x.Status == http.StatusOK || x.Status == http.StatusNoContent
	}
	return w.expect(ok, x, "an answer that says that the log-out "+which, fmt.Sprintf("status %d", x.Status))
}

func (w *world) answerForbidsCaching() error {
	x := w.slo.answered
	if x.Err != nil {
		return &failedControl{fmt.Sprintf("the message was not answered: %v", x.Err)}
	}
	said := strings.Join(x.Header.Values("Cache-Control"), ", ")
	return w.expect(strings.Contains(strings.ToLower(said), "no-store"), x, "an answer that forbids caching", fmt.Sprintf("Cache-Control %q", said))
}

func (w *world) hasUndeliveredAnswer(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	visit, err := p.browser.Open(ctx, w.signOn(p.at))
	for range 2 {
		if err != nil {
			return &failedControl{fmt.Sprintf("%s gets no answer of the provider: %v", name, err)}
		}
		kind, wrong := w.onTheWay(visit.Final())
		if kind == "answer" {
			if w.slo.answers == nil {
				w.slo.answers = map[string]*farmspec.Visit{}
			}
			w.slo.answers[name] = visit
			return nil
		}
		if wrong != nil || kind != "start" {
			break
		}
		visit, err = p.browser.Submit(ctx, visit, "", nil)
	}
	return &failedControl{name + " gets no answer of the provider"}
}

func (w *world) deliversAnswer(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	from := w.slo.answers[name]
	if from == nil {
		return fmt.Errorf("deliver the provider's answer: %s has none", name)
	}
	page := w.home(p.at)
	held := w.heldFor(p.browser, page)
	visit, err := p.browser.Submit(ctx, from, "", nil)
	a := w.judged(visit, err, p, page, "an answer of the provider, delivered to "+p.at.Name)
	a.browser, a.held = p.browser, held
	w.keepToken(p, p.at)
	p.last, w.acts.attempt = a, a
	return ctx.Err()
}

func (w *world) answerLetsIn(ctx context.Context, name string) error {
	if err := w.deliversAnswer(ctx, name); err != nil {
		return err
	}
	return w.needServed(w.acts.attempt)
}

// lifetimeMargin is how far from the documented end of the provider's session
// nothing is judged.
func (w *world) lifetimeMargin() time.Duration { return w.marginOf(w.circle().Lifetime) }

func (w *world) goesOnUntilProviderOver(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	life := w.circle().Lifetime
	switch {
	case life == 0:
		return &notOffered{"no lifetime of the provider's sessions is documented"}
	case w.target.Limits.Absolute > 0 && life > w.target.Limits.Absolute-w.margin():
		return &notOffered{"the farm's own sessions end before the provider's"}
	}
	return w.goesOn(ctx, p, life-w.lifetimeMargin())
}

func (w *world) providerSessionIsOver(ctx context.Context) error {
	return w.pass(ctx, 2*w.lifetimeMargin())
}

// comesBack signs in again in the same browser: whether the provider wants a
// password is what the circle says.
func (w *world) comesBack(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	c := w.circle()
	silent := c.Silent && (c.Lifetime == 0 || w.passed < c.Lifetime)
	visit, err := p.browser.Open(ctx, w.signOn(p.at))
	asked := false
	if err == nil {
		visit, asked, err = w.follow(ctx, p, visit)
	}
	a := w.judged(visit, err, p, w.home(p.at), "through the provider to "+p.at.Name)
	w.keepToken(p, p.at)
	if err := w.mustServe(a); err != nil {
		return err
	}
	return w.expect(asked != silent, a.final(), fmt.Sprintf("that a password is asked for: %s", yesNo(!silent)), "asked for: "+yesNo(asked))
}
