package features

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
)

// The steps of how a session begins and how long it may last: planted session
// IDs, log-ins that nobody asked for, assurance levels, and what concurrent
// requests see of one session.

type lifeScene struct {
	// planted is a session ID that somebody chose for another.
	planted carried
	// inAddress says that it is planted in the address of the log-in.
	inAddress bool
	trace     string // of the tabs that asked for one application together
}

const limitPattern = `(AAL[123])'s (overall|idle) limit`

func (w *world) registerLife(s stepper) {
	s.step(`(\w+)'s browser has a session ID of (\w+)'s (making|own visit to the log-in), (.+)`, w.hasPlanted)
	s.step(`(\w+) logs in with it at server (\d+)`, w.logsInPlanted)
	s.step(`(\w+) presents the planted session ID`, w.presentsPlanted)
	s.step(`(\w+)'s log-in was a good one`, w.logInWasGood)
	s.step(`a page elsewhere asks for the log-in in (\w+)'s browser, with (\w+)'s name and password in the address`, w.asksLogInFromElsewhere)
	s.step(`(\w+)'s browser does not show (\w+)'s page`, w.browserDoesNotShow)

	s.step(`(\w+'s (?:phone|tablet)) carries a token that (\w+) never had`, w.carriesOwnToken)
	s.step(`(\w+) carries another token than before`, w.carriesAnotherToken)
	s.step(`(\d+) tabs of (\w+) ask for pages while she logs out in another`, w.tabsAroundLogOut)
	s.step(`(\d+) tabs of (\w+) ask for `+appPattern+` together, each at another server`, w.tabsAtEveryServer)
	s.step(`inside the farm one server alone used the HTTP session`, w.oneServerUsedIt)
	s.step(`a farm whose application on server (\d+) has no time-out`, w.farmWithoutTimeout)

	s.step(`a farm whose sessions end soon after they were idle`, w.farmWithShortLife)
	s.step(`the limits that the farm declares are within `+limitPattern, w.declaredWithin)
	s.step(`a farm that keeps `+limitPattern, w.farmAt)
	s.step(`(\w+) goes on visiting pages until `+limitPattern+` has passed`, w.goesOnUntilLimit)
	s.step(limitPattern+` passes`, w.limitPasses)
}

// hasPlanted puts a session ID into a browser in one of the ways in which
// somebody else can: by a page on a neighbouring host, by a link, or by having
// sat there before.
func (w *world) hasPlanted(ctx context.Context, name, _, origin, where string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m := w.target.Members[0]
	g, err := w.signedIn(ctx, bystander)
	if err != nil {
		return err
	}
	like := g.current()
	value := w.like(like.value)
	if origin != "making" {
		b := w.newBrowser("Mallory")
		if _, err := b.Open(ctx, m.At(w.target.Login.Path)); err != nil {
			return fmt.Errorf("open the log-in page: %w", err)
		}
		t, ok := w.tokenAt(b, m)
		if !ok {
			return &notOffered{"a visit to the log-in brings no session ID"}
		}
		value = t.value
	}
	w.life.planted = carried{value: value, domain: like.domain, path: like.path}
	u, err := url.Parse(m.At(w.target.Login.Path))
	if err != nil {
		return err
	}
	c := farmspec.Cookie{
		Name: w.target.Carrier.Name, Value: value, Domain: strings.ToLower(u.Hostname()), HostOnly: true, Path: "/", Secure: u.Scheme == "https",
	}
	bound := strings.HasPrefix(strings.ToLower(c.Name), "__host-") // browsers keep it for one host and the root path only
	switch where {
	case "in its cookie":
		w.give(p.browser, w.life.planted, m)
		return nil
	case "in the address of the log-in":
		w.life.inAddress = true
		return nil
	case "in a cookie of the whole domain":
		if net.ParseIP(c.Domain) != nil || !strings.Contains(c.Domain, ".") || bound {
			return &notOffered{"a browser keeps no such cookie for a whole domain"}
		}
		if _, parent, _ := strings.Cut(c.Domain, "."); strings.Contains(parent, ".") {
			c.Domain = parent
		}
		c.HostOnly = false
	case "in a cookie of the log-in's path":
		if bound {
			return &notOffered{"a browser keeps such a cookie for the root path only"}
		}
		c.Path = u.Path
	default:
		return fmt.Errorf("plant a session ID %s: no such way", where)
	}
	if w.target.Carrier.Kind != "cookie" {
		return &notOffered{"the session's carrier is no cookie"}
	}
	p.browser.PutCookie(c)
	return nil
}

// logsInPlanted logs in with the planted session ID at hand. Afterwards the
// browser has what the log-in brought, and nothing planted.
func (w *world) logsInPlanted(ctx context.Context, name string, server int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	planted := w.life.planted.value
	if w.life.inAddress {
		login, of := m.At(w.target.Login.Path), url.QueryEscape(w.target.Carrier.Name)+"="+url.QueryEscape(planted)
		if _, err := p.browser.Open(ctx, login+";"+of); err != nil {
			return fmt.Errorf("open the log-in: %w", err)
		}
		page, err := p.browser.Open(ctx, login+"?"+of)
		if err != nil {
			return fmt.Errorf("open the log-in: %w", err)
		}
		_, err = w.fillLogIn(ctx, p, page, p.user.Password)
		if err != nil {
			return &failedControl{fmt.Sprintf("%s cannot log in by an address with a session ID: %v", name, err)}
		}
	} else if _, err := w.logIn(ctx, p, m, p.user.Password); err != nil {
		if errors.Is(err, errAlreadyIn) {
			return err
		}
		return &failedControl{fmt.Sprintf("%s cannot log in with a planted session ID: %v", name, err)}
	}
	jar := p.browser.Snapshot()
	p.browser.Restore(slices.DeleteFunc(jar, func(c farmspec.Cookie) bool { return c.Value == planted }))
	p.tokens = slices.DeleteFunc(p.tokens, func(t carried) bool { return t.value == planted })
	p.at = m
	w.keepToken(p, m)
	return ctx.Err()
}

// presentsPlanted asks with the planted session ID as a cookie and then, where
// it was planted so, in the address.
func (w *world) presentsPlanted(ctx context.Context, who string) error {
	owner, err := w.person(ctx, "Ada")
	if err != nil {
		return err
	}
	m := w.target.Members[0]
	page := w.home(m)
	if w.acts.attempt, err = w.present(ctx, who, owner, w.life.planted, m, page); err != nil {
		return err
	}
	if w.life.inAddress && w.acts.attempt.outcome == farmspec.Refused {
		of := url.QueryEscape(w.target.Carrier.Name) + "=" + url.QueryEscape(w.life.planted.value)
		w.acts.attempt = w.open(ctx, w.newBrowser(who), owner, m.At(page.Path)+"?"+of, page, asked(m, page))
	}
	return ctx.Err()
}

// logInWasGood demands that there was a session to fix: a farm that logs
// nobody in with a strange session ID leaves nothing to steal.
func (w *world) logInWasGood(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	a := w.visit(ctx, p, p.at, w.home(p.at))
	w.check(farmspec.Witness, name+" is signed in", a)
	if a.outcome != farmspec.Accepted {
		return &notOffered{"nobody can log in with such a session ID"}
	}
	return nil
}

// asksLogInFromElsewhere makes a browser ask as a page of another site can:
// for the log-in as it is, with somebody's name and password in its address,
// and for a protected page, which may lead to a log-in by itself.
func (w *world) asksLogInFromElsewhere(ctx context.Context, name, whose string) error {
	p, owner, err := w.both(ctx, name, whose)
	if err != nil {
		return err
	}
	m := w.target.Members[0]
	login := m.At(w.target.Login.Path)
	given := url.Values{w.target.Login.UserField: {owner.user.Name}, w.target.Login.PassField: {owner.user.Password}}
	given.Del("") // HTTP Basic has no fields
	for _, address := range []string{login, login + "?" + given.Encode(), m.At(w.home(m).Path)} {
		x := p.browser.Send(ctx, farmspec.Request{
			URL: address, Dest: "document", Cookies: farmspec.JarCookies, KeepCookies: true,
			Header: http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-User": nil, "Referer": {"https://elsewhere.invalid/"}},
		})
		if x.Err != nil {
			return fmt.Errorf("ask from elsewhere: %w", x.Err)
		}
	}
	return ctx.Err()
}

func (w *world) browserDoesNotShow(ctx context.Context, name, whose string) error {
	p, owner, err := w.both(ctx, name, whose)
	if err != nil {
		return err
	}
	m := w.target.Members[0]
	page := w.home(m)
	if err := w.witness(ctx, m, page); err != nil {
		return err
	}
	return w.mustRefuse(ctx, w.open(ctx, p.browser, owner, m.At(page.Path), page, asked(m, page)))
}

func (w *world) carriesAnotherToken(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	before, err := p.token("earlier")
	if err != nil {
		return err
	}
	changed := before.value != p.current().value
	w.checked(farmspec.Witness, name+" carries another token than before", yesNo(changed), changed, nil)
	if !changed {
		return &failedControl{name + " carries the same token as before"}
	}
	return nil
}

// carriesOwnToken compares the tokens of two log-ins of one user. A token may
// be made of the user and the second: where they are equal, a log-in of a later
// second decides.
func (w *world) carriesOwnToken(ctx context.Context, device, name string) error {
	p, other, err := w.both(ctx, name, device)
	if err != nil {
		return err
	}
	had := func() bool {
		return slices.ContainsFunc(p.tokens, func(t carried) bool { return t.value == other.current().value })
	}
	if had() {
		select {
		case <-time.After(1100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		other.browser = w.newBrowser(device)
		if err := w.signIn(ctx, other, other.at); err != nil {
			return err
		}
	}
	return w.expect(!had(), nil, "another token at each log-in", "the same one: "+yesNo(had()))
}

// tabsAroundLogOut lets tabs go at one barrier, and the log-out right behind
// them. One asks for the slow page, where there is one: what is under way then
// is so by no luck.
func (w *world) tabsAroundLogOut(ctx context.Context, n int, name string) error {
	if err := w.lineUp(ctx, name, n); err != nil {
		return err
	}
	if slow := w.target.Slow; slow != nil {
		at := func(pr *presenter) bool { return pr.member.Name == slow.Member }
		if i := slices.IndexFunc(w.race.presenters, at); i >= 0 {
			w.race.presenters[i].page = *slow
		}
	}
	p := w.race.owner
	tab := w.secondTab(p)
	form, err := tab.browser.Open(ctx, tab.at.At(w.target.Logout.Path))
	if err != nil || w.target.Logout.Kind == farmspec.GetLogout || w.target.Logout.Kind == farmspec.PostLogout {
		return errors.Join(err, &notOffered{"the log-out has no page to send it from"})
	}
	return w.release(ctx, func(sent <-chan struct{}) error {
		<-sent
		_, err := tab.browser.Submit(ctx, form, w.target.Logout.Form, nil)
		if err != nil {
			return &failedControl{fmt.Sprintf("%s cannot log out: %v", name, err)}
		}
		return nil
	})
}

// tabsAtEveryServer opens an application in several tabs at once, by way of
// one server after another.
func (w *world) tabsAtEveryServer(ctx context.Context, n int, name, which string, server int) error {
	p, _, page, err := w.using(ctx, name, which, server)
	if err != nil {
		return err
	}
	w.life.trace = farmspec.NewTrace()
	attempts := make([]*attempt, n)
	var wg sync.WaitGroup
	for i := range attempts {
		m := w.target.Members[i%len(w.target.Members)]
		if w.target.Topology == farmspec.SplitDomain {
			m = p.at // where the token is
		}
		tab := w.tab(p, fmt.Sprintf("%s's tab %d", name, i+1), w.life.trace)
		wg.Go(func() { attempts[i] = w.open(ctx, tab, p, m.At(page.Path), page, asked(m, page)) })
	}
	wg.Wait()
	for _, a := range attempts {
		if err := w.needServed(a); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (w *world) oneServerUsedIt(ctx context.Context) error {
	msgs, err := w.hooks.Trace.Messages(ctx, w.life.trace)
	if err != nil {
		return fmt.Errorf("look inside the farm: %w", err)
	}
	var users []string
	for _, m := range msgs {
		if _, ok := w.target.Member(m.From); ok && m.Op == farmspec.OpHTTP && !slices.Contains(users, m.From) {
			users = append(users, m.From)
		}
	}
	if len(users) == 0 {
		return &failedControl{"the trace shows no server that used an HTTP session"}
	}
	return w.expect(len(users) == 1, nil, "one server that uses the HTTP session", strings.Join(users, ", "))
}

// farmWithoutTimeout takes the farm as it is where that application has no
// time-out, and else a private one where it has none.
func (w *world) farmWithoutTimeout(ctx context.Context, server int) error {
	app, _, err := w.appOn("the application", server)
	if err != nil || app.Idle < 0 {
		return err
	}
	return w.fork(ctx, farmspec.Variation{Unlimited: app.Name})
}

// farmWithShortLife is one on which the absolute lifetime is reached in few
// pages: where it cannot be had, the farm as it is.
func (w *world) farmWithShortLife(ctx context.Context) error {
	limits := w.target.Limits
	if limits.Absolute == 0 {
		return &notOffered{"the target bounds no session's life"}
	}
	if w.of.target.Hooks.Fork == nil || limits.Idle*2 >= limits.Absolute {
		return nil
	}
	limits.Idle = limits.Absolute / 2
	return w.fork(ctx, farmspec.Variation{Limits: &limits})
}

// declaredWithin compares what the target declares with a level at or below its own.
func (w *world) declaredWithin(level, which string) error {
	if w.target.Assurance < farmspec.Assurance(level) {
		return &notOffered{fmt.Sprintf("the farm is run at %s", w.target.Assurance)}
	}
	most, own := farmspec.Assurance(level).Limits(), w.target.Limits
	limit, declared := most.Idle, own.Idle
	if which == "overall" {
		limit, declared = most.Absolute, own.Absolute
	}
	ok := declared > 0 && declared <= limit
	actual := declared.String()
	if declared <= 0 {
		actual = "no limit"
	}
	return w.expect(ok, nil, fmt.Sprintf("a declared %s limit of at most %v", which, limit), actual)
}

// farmAt takes the farm as it is where it is run at the level or above, and
// else a private one that is to keep the limit. There the other limit is set
// so that few pages fill the time.
func (w *world) farmAt(ctx context.Context, level, which string) error {
	a := farmspec.Assurance(level)
	if w.of.target.Hooks.Fork == nil {
		if w.target.Assurance < a {
			return &notOffered{fmt.Sprintf("the farm is run at %s", w.target.Assurance)}
		}
		return nil
	}
	limits := a.Limits()
	if which == "overall" {
		limits.Idle = limits.Absolute / 2
	}
	return w.fork(ctx, farmspec.Variation{Limits: &limits})
}

func (w *world) goesOnUntilLimit(ctx context.Context, name, level, _ string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	until := overallOf(w.target, level)
	for gone := w.passed; gone < until && p.last.outcome == farmspec.Accepted; gone = w.passed {
		if err := w.pass(ctx, min(w.target.Limits.Idle*3/4, until-gone)); err != nil {
			return err
		}
		w.acts.attempt = w.visit(ctx, p, p.at, w.home(p.at))
	}
	return ctx.Err()
}

func (w *world) limitPasses(ctx context.Context, level, _ string) error {
	return w.pass(ctx, idleOf(w.target, level))
}

// overallOf and idleOf are how long it takes until a limit of the level has
// passed, or the farm's own, which is no longer.
func overallOf(t *farmspec.Target, level string) time.Duration {
	return reached(t, t.Limits.Absolute, farmspec.Assurance(level).Limits().Absolute)
}

func idleOf(t *farmspec.Target, level string) time.Duration {
	return reached(t, t.Limits.Idle, farmspec.Assurance(level).Limits().Idle)
}

func reached(t *farmspec.Target, own, limit time.Duration) time.Duration {
	if own > 0 {
		limit = min(limit, own)
	}
	return limit + marginOf(t, limit)
}
