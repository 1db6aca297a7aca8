package features

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farmspec/farmspec"
)

// The steps of security sessions and HTTP sessions: log-ins, applications and
// what they remember, the administrator's list, the database's rows.
//
// "The application on server 1" is the first that the server holds, "the other
// application" the second. A person's phone and tablet are further browsers of
// the same user.

type sessionsScene struct {
	// values are what people gave the applications to remember, by person and
	// the application's path, oldest first.
	values map[string]map[string][]string
	crowd  []*visitor
	tabs   []*attempt
	odd    *person       // whose session cookie is malformed
	page   farmspec.Page // the one asked for before a log-in
	asked  *farmspec.Visit
	login  *farmspec.Exchange // the log-in that somebody copies
}

// visitor is one of many people at once.
type visitor struct {
	*person
	value string
	shown []byte
}

const (
	whoPattern = `(\w+(?:'s (?:phone|tablet))?)`
	appPattern = `(the application|the other application) on server (\d+)`
)

func (w *world) registerSessions(s stepper) {
	s.step(`(\w+) signs in`, w.isSignedIn)
	s.step(`(\w+) (?:is signed|signs) in on (?:her|his) (phone|tablet) as well`, w.isSignedInOn)
	s.step(`(\w+'s (?:phone|tablet)) visits the `+kindPattern+` on server (\d+)`, w.visits)
	s.step(`(\w+'s (?:phone|tablet)) is still signed in`, w.currentTokenStillWorks)

	s.step(whoPattern+` has given `+appPattern+` a value`, w.hasGivenValue)
	s.step(whoPattern+` opens `+appPattern, w.opensApp)
	s.step(whoPattern+` opens `+appPattern+` by way of server (\d+)`, w.opensAppByWayOf)
	s.step(whoPattern+` ends `+appPattern, w.endsApp)
	s.step(`it shows `+whoPattern+`'s value`, w.showsValue)
	s.step(`it shows nothing of `+whoPattern+`'s`, w.showsNothingGivenBy)
	s.step(`it shows no value of `+appPattern, w.showsNoValueOf)
	s.step(appPattern+` shows (\w+) nothing of before`, w.appShowsNothingOfBefore)
	s.step(`every application opens for (\w+) without another log-in`, w.everyAppOpens)
	s.step(`every application is opened by a tab of (\w+) at the same time`, w.everyAppOpensAtOnce)
	s.step(`(\d+) people use `+appPattern+` at the same time`, w.crowdUsesApp)
	s.step(`each of them was shown what he gave, and nothing of the others`, w.crowdIsKeptApart)

	s.step(`(\w+) opens the open page without having signed in`, w.opensOpenPage)
	s.step(`it is shown`, w.openPageIsShown)
	s.step(`(\w+) carries (a|no) token`, w.carriesToken)
	s.step(`(\w+) visits the page on server 1 over one connection, then again over it without her cookie`, w.againWithoutCookie)
	s.step(`(\w+) visits the page on server 1 over a new connection with her cookie`, w.overNewConnection)
	s.step(`(\d+) tabs of (\w+) open `+appPattern+` and all are held while its HTTP session is registered`, w.tabsOpenAppHeld)
	s.step(`tabs of (\w+) open the two applications on server 1 and both are held while the HTTP session is registered`, w.tabsOpenTwoAppsHeld)
	s.step(`all tabs show the same HTTP session`, w.tabsShowTheSame)
	s.step(`(\d+) calls ask the session service at once for (\w+)'s HTTP session of one application`, w.callsForOneApp)
	s.step(`the session service is asked at once for (\w+)'s HTTP session of every application`, w.callsForEveryApp)
	s.step(`the session service is asked (?:for (\w+)'s|with it for the) HTTP session of `+appPattern, w.callForApp)

	s.step(`(\w+) logs in at server (\d+)`, w.logsInAt)
	s.step(`(\w+) logs in at server (\d+), and goes nowhere yet`, w.logsInAndStays)
	s.step(`(\w+) logs in with (\w+)'s browser`, w.logsInWithBrowserOf)
	s.step(`(\w+) asks for the page on server (\d+) without having signed in`, w.asksUnsigned)
	s.step(`(\w+) asks server (\d+) for `+appPattern+` without having signed in`, w.asksForAppUnsigned)
	s.step(`she is asked to log in`, w.isAskedToLogIn)
	s.step(`(\w+) fills the log-in form she was shown`, w.fillsForm)
	s.step(`the application she asked for opens`, w.askedAppOpens)
	s.step(`(\w+)'s browser has a session cookie that is (no token|empty|far too long)`, w.hasMalformedCookie)
	s.step(`she is asked to log in, as without a cookie`, w.isAskedAsWithoutCookie)
	s.step(`(\w+) has logged in the same way with success`, w.hasLoggedIn)
	s.step(`(\w+)'s browser makes (a log-in with a wrong password|a log-in of nobody the farm knows|a log-in that is never sent|a copy of (\w+)'s log-in, without its form)`, w.makesBadLogIn)
	s.step(`(\w+) is refused the page on server (\d+)`, w.isRefusedPage)
	s.step(`no cookie of (\w+)'s browser shows her name`, w.noCookieShowsName)
	s.step(`inside the farm the security session was created before any HTTP session`, w.createdInOrder)

	s.step(`the administrator sees no open session of (\w+)`, w.adminSeesNoSession)
	s.step(`the administrator sees (\d+) open sessions? of (\w+)`, w.adminSeesSessions)
	s.step(`the administrator sees (\d+) open sessions? of (\w+) with (\d+) HTTP sessions?`, w.adminSeesSessionsWith)
	s.step(`the administrator sees 1 open session of (\w+) with an HTTP session of every application`, w.adminSeesEveryApp)
	s.step(`the administrator sees no HTTP session of (\w+)`, w.adminSeesNoHTTPSession)
	s.step(`the administrator sees no HTTP session of `+appPattern+` for (\w+)`, w.adminSeesNoHTTPSessionOfApp)
	s.step(`the administrator sees no HTTP session under two security sessions`, w.adminSeesNoneTwice)
	s.step(`the administrator sees (\w+)'s session closed, with a reason`, w.adminSeesClosed)
	s.step(`the administrator sees that (\w+)'s session began when she signed in`, w.adminSeesBeginning)
	s.step(`the administrator sees that (\w+)'s session ended just now`, w.adminSeesEnd)

	s.step(`in the database (\w+) has no open session`, w.databaseHasNone)
	s.step(`in the database (\w+) has (\d+) open sessions?`, w.databaseHas)
	s.step(`in the database (\w+) has (\d+) open sessions? with (\d+) HTTP sessions?`, w.databaseHasWith)
	s.step(`in the database (\w+) has 1 open session with an HTTP session of every application`, w.databaseHasEveryApp)
	s.step(`in the database (\w+) has no HTTP session`, w.databaseHasNoHTTPSession)
	s.step(`in the database no HTTP session belongs to two security sessions`, w.databaseHasNoneTwice)
	s.step(`in the database every session of (\w+) was closed after it was created`, w.databaseHasOrder)
	s.step(`(\w+)'s value is (not )?in the database`, w.valueIsInDatabase)
}

// appOn finds an application of a server, and its page.
func (w *world) appOn(which string, server int) (farmspec.App, farmspec.Page, error) {
	m, err := w.member(server)
	if err != nil {
		return farmspec.App{}, farmspec.Page{}, err
	}
	skip := 0
	if which == "the other application" {
		skip = 1
	}
	for _, a := range w.target.Apps {
		if a.Member != m.Name {
			continue
		}
		if skip == 0 {
			return a, appPage(a), nil
		}
		skip--
	}
	return farmspec.App{}, farmspec.Page{}, &notOffered{fmt.Sprintf("%s does not have %s", m.Name, which)}
}

// using finds who uses an application, the application and its page.
func (w *world) using(ctx context.Context, name, which string, server int) (*person, farmspec.App, farmspec.Page, error) {
	p, err := w.person(ctx, name)
	if err != nil {
		return nil, farmspec.App{}, farmspec.Page{}, err
	}
	app, page, err := w.appOn(which, server)
	return p, app, page, err
}

func appPage(a farmspec.App) farmspec.Page {
	return farmspec.Page{Member: a.Member, Kind: farmspec.HTML, Path: a.Path, Marker: a.Marker, Echo: true}
}

// appPages are the pages of every application that is one of those meant.
func (w *world) appPages(meant func(farmspec.App) bool) ([]farmspec.Page, error) {
	var pages []farmspec.Page
	for _, a := range w.target.Apps {
		if meant(a) {
			pages = append(pages, appPage(a))
		}
	}
	if len(pages) == 0 {
		return nil, &notOffered{"the target has no such application"}
	}
	return pages, nil
}

// isSignedInOn signs a person in with one more browser.
func (w *world) isSignedInOn(ctx context.Context, name, device string) error {
	owner, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	p := &person{name: name + "'s " + device, user: owner.user, at: w.target.Members[0]}
	p.browser = w.newBrowser(p.name)
	w.mu.Lock()
	w.people[p.name] = p
	w.mu.Unlock()
	return w.signIn(ctx, p, p.at)
}

func (w *world) hasGivenValue(ctx context.Context, name, which string, server int) error {
	p, _, page, err := w.using(ctx, name, which, server)
	if err != nil {
		return err
	}
	if err := w.needServed(w.hop(ctx, p, page)); err != nil {
		return err
	}
	value := w.newValue(p, page)
	a := w.sendValue(ctx, p, page, value)
	w.acts.attempt = a
	if err := w.needServed(a); err != nil {
		return err
	}
	if !shows(a, value) {
		return &failedControl{fmt.Sprintf("%s gave %s a value and is not shown it", name, page.Path)}
	}
	return nil
}

// newValue makes a value that is nobody else's and notes whose it is.
func (w *world) newValue(p *person, page farmspec.Page) string {
	value := fmt.Sprintf("value-%s-%08x", p.user.Name, rand.Uint32())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sessions.values == nil {
		w.sessions.values = map[string]map[string][]string{}
	}
	if w.sessions.values[p.name] == nil {
		w.sessions.values[p.name] = map[string][]string{}
	}
	w.sessions.values[p.name][page.Path] = append(w.sessions.values[p.name][page.Path], value)
	return value
}

// sendValue sends the form of the application's page that the person has before her.
func (w *world) sendValue(ctx context.Context, p *person, page farmspec.Page, value string) *attempt {
	app := w.target.Apps[slices.IndexFunc(w.target.Apps, func(a farmspec.App) bool { return a.Path == page.Path })]
	return w.submit(ctx, p, page, map[string]string{app.Field: value})
}

// submit sends a form of the page that the person has before her.
func (w *world) submit(ctx context.Context, p *person, page farmspec.Page, values map[string]string) *attempt {
	held := w.heldFor(p.browser, page)
	visit, err := p.browser.Submit(ctx, p.last.visit, "", values)
	a := w.judged(visit, err, p, page, "POST "+page.Path)
	a.browser, a.held = p.browser, held
	w.keepToken(p, p.at)
	p.last = a
	return a
}

func shows(a *attempt, value string) bool { return strings.Contains(string(a.final().Body), value) }

func (w *world) opensApp(ctx context.Context, name, which string, server int) error {
	p, _, page, err := w.using(ctx, name, which, server)
	if err != nil {
		return err
	}
	w.acts.attempt = w.hop(ctx, p, page)
	return ctx.Err()
}

func (w *world) opensAppByWayOf(ctx context.Context, name, which string, server, first int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m, err := w.member(first)
	if err != nil {
		return err
	}
	_, page, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	w.acts.attempt = w.visit(ctx, p, m, page)
	return ctx.Err()
}

// endsApp has the application end its HTTP session.
func (w *world) endsApp(ctx context.Context, name, which string, server int) error {
	p, app, _, err := w.using(ctx, name, which, server)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	form, err := p.browser.Open(ctx, p.at.At(app.EndPath))
	if err == nil {
		p.at = m
		w.keepToken(p, m)
		form, err = p.browser.Submit(ctx, form, "", nil)
		w.keepToken(p, m)
	}
	if err == nil && form.Final().Status/100 != 2 {
		err = fmt.Errorf("the answer is %d", form.Final().Status)
	}
	if err != nil {
		return &failedControl{fmt.Sprintf("%s cannot end %s at %s: %v", name, which, m.Name, err)}
	}
	return ctx.Err()
}

func (w *world) showsValue(name string) error {
	a := w.acts.attempt
	if err := w.mustServe(a); err != nil {
		return err
	}
	given := w.sessions.values[name][a.page.Path]
	if len(given) == 0 {
		return fmt.Errorf("%s gave %s no value", name, a.page.Path)
	}
	for _, v := range given {
		if !shows(a, v) {
			return w.expect(false, a.final(), fmt.Sprintf("%s to show what %s gave it", a.page.Path, name), "it does not")
		}
	}
	return w.expect(true, a.final(), fmt.Sprintf("%s to show what %s gave it", a.page.Path, name), "it does")
}

func (w *world) showsNothingGivenBy(name string) error {
	a := w.acts.attempt
	if err := w.mustServe(a); err != nil {
		return err
	}
	n := 0
	for _, given := range w.sessions.values[name] {
		for _, v := range given {
			if shows(a, v) {
				n++
			}
		}
	}
	return w.expect(n == 0, a.final(), fmt.Sprintf("%s to show nothing of what %s gave", a.page.Path, name), fmt.Sprintf("values it shows: %d", n))
}

func (w *world) showsNoValueOf(which string, server int) error {
	_, page, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	a := w.acts.attempt
	for _, given := range w.sessions.values {
		for _, v := range given[page.Path] {
			if shows(a, v) {
				return w.expect(false, a.final(), "no value of another application", "it shows one")
			}
		}
	}
	return w.expect(true, a.final(), "no value of another application", "it shows none")
}

func (w *world) appShowsNothingOfBefore(ctx context.Context, which string, server int, name string) error {
	if err := w.opensApp(ctx, name, which, server); err != nil {
		return err
	}
	return w.showsNothingGivenBy(name)
}

func (w *world) everyAppOpens(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	pages, err := w.appPages(func(farmspec.App) bool { return true })
	if err != nil {
		return err
	}
	for _, page := range pages {
		if err := w.mustServe(w.hop(ctx, p, page)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// everyAppOpensAtOnce opens each application in a tab of its own. All tabs
// carry the same token, so it takes a farm that coalesces.
func (w *world) everyAppOpensAtOnce(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	var pages []farmspec.Page
	for _, a := range w.target.Apps {
		if a.Member == p.at.Name || w.target.Topology != farmspec.SplitDomain {
			pages = append(pages, appPage(a))
		}
	}
	attempts, err := w.openTabs(ctx, p, pages, farmspec.NewTrace(), nil)
	if err != nil {
		return err
	}
	for _, a := range attempts {
		if err := w.needServed(a); err != nil {
			return err
		}
	}
	return nil
}

// openTabs opens pages at once, each in a tab that has the person's cookies as
// they are, under one trace. Meanwhile, if given, runs beside them. The
// person goes on with the token of the first tab.
func (w *world) openTabs(ctx context.Context, p *person, pages []farmspec.Page, trace string, meanwhile func() error) ([]*attempt, error) {
	attempts := make([]*attempt, len(pages))
	var wg sync.WaitGroup
	for i, page := range pages {
		tab := w.tab(p, fmt.Sprintf("%s's tab %d", p.name, i+1), trace)
		m, ok := w.target.Member(page.Member)
		if w.target.Topology == farmspec.SplitDomain || !ok {
			m = p.at
		}
		wg.Go(func() { attempts[i] = w.open(ctx, tab, p, m.At(page.Path), page, asked(m, page)) })
	}
	var err error
	if meanwhile != nil {
		err = meanwhile()
	}
	wg.Wait()
	for _, a := range attempts {
		if m, ok := w.target.Member(a.page.Member); ok && a.outcome == farmspec.Accepted {
			if t, ok := w.tokenAt(a.browser, m); ok {
				w.give(p.browser, t, m)
				p.at = m
				w.keepToken(p, m)
			}
		}
	}
	return attempts, errors.Join(err, ctx.Err())
}

// tab is another tab of a person's browser as it is now: same cookies, a trace of its own.
func (w *world) tab(p *person, name, trace string) *farmspec.Browser {
	b := p.browser.Clone(name)
	b.SetTrace(trace)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.traces, trace) {
		w.traces = append(w.traces, trace)
	}
	return b
}

// crowdAtOnce is how many of a crowd are under way at a time.
const crowdAtOnce = 8

func (w *world) crowdUsesApp(ctx context.Context, n int, which string, server int) error {
	_, page, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	if pool, ok := w.target.Hooks.Accounts.(farmspec.AccountPool); ok && pool.Size() < cast(w.target)+crowd {
		return &unseen{fmt.Sprintf("needs %d accounts; this target has %d", cast(w.target)+crowd, pool.Size())}
	}
	for i := range n {
		p, err := w.person(ctx, fmt.Sprintf("visitor %d", i+1))
		if err != nil {
			return err
		}
		w.sessions.crowd = append(w.sessions.crowd, &visitor{person: p})
	}
	// First everybody gives his value, and then everybody looks.
	give, look := new(errgroup.Group), new(errgroup.Group)
	give.SetLimit(crowdAtOnce)
	look.SetLimit(crowdAtOnce)
	for _, v := range w.sessions.crowd {
		give.Go(func() error {
			if _, err := w.logIn(ctx, v.person, m, v.user.Password); err != nil {
				return &failedControl{fmt.Sprintf("%s cannot sign in: %v", v.name, err)}
			}
			v.at = m
			if a := w.hop(ctx, v.person, page); a.outcome != farmspec.Accepted {
				return w.mustServe(a)
			}
			v.value = w.newValue(v.person, page)
			return w.mustServe(w.sendValue(ctx, v.person, page, v.value))
		})
	}
	if err := give.Wait(); err != nil {
		return err
	}
	for _, v := range w.sessions.crowd {
		look.Go(func() error {
			a := w.hop(ctx, v.person, page)
			v.shown = a.final().Body
			return w.mustServe(a)
		})
	}
	return look.Wait()
}

func (w *world) crowdIsKeptApart() error {
	for _, v := range w.sessions.crowd {
		for _, other := range w.sessions.crowd {
			seen := strings.Contains(string(v.shown), other.value)
			if seen != (v == other) {
				return w.expect(false, v.last.final(), "each person to be shown his own value only", fmt.Sprintf("%s is shown that of %s: %s", v.name, other.name, yesNo(seen)))
			}
		}
	}
	return w.expect(true, nil, "each person to be shown his own value only", fmt.Sprintf("%d are", len(w.sessions.crowd)))
}

// opensOpenPage leaves the attempt out of what was served: nobody needs a session for it.
func (w *world) opensOpenPage(ctx context.Context, name string) error {
	if w.target.Open == nil {
		return &notOffered{"the target has no page that needs no session"}
	}
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	holder, ok := w.target.Member(w.target.Open.Member)
	if !ok {
		holder = p.at
	}
	p.at = holder
	visit, err := p.browser.Open(ctx, holder.At(w.target.Open.Path))
	if err != nil {
		return fmt.Errorf("open the open page: %w", err)
	}
	w.acts.attempt = &attempt{who: name, user: p.user.Name, page: *w.target.Open, visit: visit,
		outcome: w.target.Judge(visit.Final(), farmspec.Page{Marker: w.target.Open.Marker}, p.user.Name)}
	return nil
}

func (w *world) openPageIsShown() error { return w.mustServe(w.acts.attempt) }

func (w *world) carriesToken(ctx context.Context, name, which string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	for _, m := range w.target.Members {
		t, has := w.tokenAt(p.browser, m)
		if has && which == "no" && w.target.Rotation == farmspec.NoRotation {
			// It may name an anonymous session; then it opens nothing.
			if has, err = w.opens(ctx, t, m); err != nil {
				return err
			}
		}
		if has {
			return w.expect(which == "a", nil, name+" to carry "+which+" token", "she carries one")
		}
	}
	return w.expect(which == "no", nil, name+" to carry "+which+" token", "she carries none")
}

func (w *world) againWithoutCookie(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m := w.target.Members[0]
	page := w.home(m)
	line := p.browser.Dedicated()
	defer line.Close()
	send := func(cookies farmspec.CookieMode) (*attempt, *farmspec.Exchange) {
		// What comes back to a request without cookies is not hers to keep.
		x := line.Send(ctx, farmspec.Request{URL: m.At(page.Path), Dest: "document", Cookies: cookies, KeepCookies: cookies == farmspec.JarCookies})
		return w.judged(&farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}, x.Err, p, page, asked(m, page)), x
	}
	first, x := send(farmspec.JarCookies)
	w.keepToken(p, m)
	if err := w.needServed(first); err != nil {
		return err
	}
	if x.Closed {
		return &notOffered{m.Name + " closes each connection after one answer"}
	}
	second, x := send(farmspec.NoCookies)
	if !x.Reused {
		return &failedControl{"the second request went over another connection, so it proves nothing about connections"}
	}
	w.acts.attempt = second
	return ctx.Err()
}

func (w *world) overNewConnection(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m := w.target.Members[0]
	page := w.home(m)
	x := p.browser.Send(ctx, farmspec.Request{
		URL: m.At(page.Path), Dest: "document", Cookies: farmspec.JarCookies, KeepCookies: true, NewConn: true,
	})
	w.acts.attempt = w.judged(&farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}, x.Err, p, page, asked(m, page))
	w.keepToken(p, m)
	return ctx.Err()
}

func (w *world) tabsOpenAppHeld(ctx context.Context, n int, name, which string, server int) error {
	_, page, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	return w.tabsHeld(ctx, name, slices.Repeat([]farmspec.Page{page}, n))
}

func (w *world) tabsOpenTwoAppsHeld(ctx context.Context, name string) error {
	_, first, err := w.appOn("the application", 1)
	if err != nil {
		return err
	}
	_, other, err := w.appOn("the other application", 1)
	if err != nil {
		return err
	}
	return w.tabsHeld(ctx, name, []farmspec.Page{first, other})
}

// tabsHeld opens pages in tabs that meet where an HTTP session is registered.
func (w *world) tabsHeld(ctx context.Context, name string, pages []farmspec.Page) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	trace := farmspec.NewTrace()
	held, err := w.hooks.Holds.Hold(ctx, trace, farmspec.InRegister)
	if err != nil {
		return fmt.Errorf("hold requests: %w", err)
	}
	w.onEnd = append(w.onEnd, held.Release)
	w.sessions.tabs, err = w.openTabs(ctx, p, pages, trace, func() error {
		defer held.Release()
		return parked(ctx, held, len(pages))
	})
	if err != nil {
		return err
	}
	for _, a := range w.sessions.tabs {
		if err := w.needServed(a); err != nil {
			return err
		}
	}
	return nil
}

// parked waits until n requests are held together.
func parked(ctx context.Context, held farmspec.Held, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := held.Wait(ctx, n); err != nil {
		return &failedControl{fmt.Sprintf("%d requests did not reach the place where they are held: %v", n, err)}
	}
	return nil
}

// tabsShowTheSame has the first tab remember a value that the others then show.
func (w *world) tabsShowTheSame(ctx context.Context) error {
	first := w.sessions.tabs[0]
	p, err := w.person(ctx, first.who)
	if err != nil {
		return err
	}
	p.last = first
	value := w.newValue(p, first.page)
	if err := w.needServed(w.sendValue(ctx, p, first.page, value)); err != nil {
		return err
	}
	w.acts.attempt = w.hop(ctx, p, first.page)
	return w.showsValue(p.name)
}

func (w *world) callsForOneApp(ctx context.Context, n int, name string) error {
	app, _, err := w.appOn("the application", 1)
	if err != nil {
		return err
	}
	return w.calls(ctx, name, slices.Repeat([]farmspec.App{app}, n))
}

func (w *world) callsForEveryApp(ctx context.Context, name string) error {
	return w.calls(ctx, name, w.target.Apps)
}

// calls asks the service for HTTP sessions, all at once, each as another member.
func (w *world) calls(ctx context.Context, name string, apps []farmspec.App) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	t, err := w.plain(p.current())
	if err != nil {
		return err
	}
	var g errgroup.Group
	start := make(chan struct{})
	for i, app := range apps {
		member := w.target.Members[i%len(w.target.Members)].Name
		g.Go(func() error {
			<-start
			return w.hooks.Service.CreateHTTPSession(ctx, member, t, app.Name)
		})
	}
	close(start)
	if err := g.Wait(); err != nil {
		return fmt.Errorf("ask the session service for an HTTP session: %w", err)
	}
	return nil
}

func (w *world) callForApp(ctx context.Context, name, which string, server int) error {
	app, _, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	if name != "" {
		return w.calls(ctx, name, []farmspec.App{app})
	}
	if err := w.hooks.Service.CreateHTTPSession(ctx, app.Member, w.time.plain, app.Name); err != nil {
		return fmt.Errorf("ask the session service for an HTTP session: %w", err)
	}
	return nil
}

// Log-ins.

// logsInAt is what a scenario about log-ins watches: unlike a sign-in it
// expects nothing yet. The attempt is the page asked for afterwards.
func (w *world) logsInAt(ctx context.Context, name string, server int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	return w.logInAndLook(ctx, p, m)
}

func (w *world) logInAndLook(ctx context.Context, p *person, m farmspec.Member) error {
	if _, err := w.logIn(ctx, p, m, p.user.Password); err != nil {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errAlreadyIn):
			return err
		}
		return &failedControl{fmt.Sprintf("%s cannot log in: %v", p.name, err)}
	}
	p.at = m
	w.acts.attempt = w.visit(ctx, p, m, w.home(m))
	return ctx.Err()
}

// logsInAndStays sends the log-in form and follows nothing: the answer's token
// is not used, so whatever the farm did with an earlier one still shows.
func (w *world) logsInAndStays(ctx context.Context, name string, server int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	login := w.target.Login
	if !byForm(login) { // whose answer leads nowhere by itself
		p.at = m
		if _, err := w.logIn(ctx, p, m, p.user.Password); err != nil {
			return fmt.Errorf("log in: %w", err)
		}
		return nil
	}
	visit, err := p.browser.Open(ctx, m.At(login.Path))
	if err != nil {
		return &failedControl{fmt.Sprintf("the log-in page of %s does not open: %v", m.Name, err)}
	}
	forms := farmspec.Forms(visit.Final())
	i := slices.IndexFunc(forms, func(f farmspec.Form) bool { return f.Has(login.UserField) && f.Has(login.PassField) })
	if w.alreadyIn(p, m, visit) {
		return errAlreadyIn
	}
	if i < 0 {
		return &failedControl{"the log-in page of " + m.Name + " has no form to log in with"}
	}
	values := url.Values{}
	for _, f := range forms[i].Fields {
		if f.Name != "" {
			values.Set(f.Name, f.Value)
		}
	}
	values.Set(login.UserField, p.user.Name)
	values.Set(login.PassField, p.user.Password)
	x := p.browser.Send(ctx, farmspec.Request{
		Method: forms[i].Method, URL: forms[i].Action, Body: values.Encode(), Dest: "document", KeepCookies: true,
		Header: map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}},
	})
	if x.Err != nil {
		return fmt.Errorf("log in: %w", x.Err)
	}
	p.at = m
	w.keepToken(p, m)
	return nil
}

// logsInWithBrowserOf lets one person log in where another one sat, cookies and all.
func (w *world) logsInWithBrowserOf(ctx context.Context, name, owner string) error {
	before, p, err := w.both(ctx, owner, name)
	if err != nil {
		return err
	}
	p.browser, p.tokens = before.browser, nil
	return w.signIn(ctx, p, before.at)
}

func (w *world) asksUnsigned(ctx context.Context, name string, server int) error {
	page, err := w.pageOn("page", server)
	if err != nil {
		return err
	}
	return w.askUnsigned(ctx, name, server, page)
}

func (w *world) asksForAppUnsigned(ctx context.Context, name string, first int, which string, server int) error {
	_, page, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	return w.askUnsigned(ctx, name, first, page)
}

func (w *world) askUnsigned(ctx context.Context, name string, server int, page farmspec.Page) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	if err := w.witness(ctx, m, page); err != nil {
		return err
	}
	w.acts.attempt = w.open(ctx, p.browser, p, m.At(page.Path), page, asked(m, page))
	w.sessions.page, w.sessions.asked = page, w.acts.attempt.visit
	return ctx.Err()
}

// isAskedToLogIn expects the refusal to be a page on which one logs in, or to
// have a link to it; where a script logs in, its status tells the script. The
// token that came with it is not tried: some farms change it with each form
// they show, and this form is going to be filled.
func (w *world) isAskedToLogIn() error {
	a := w.acts.attempt
	if err := w.isRefused(a); err != nil {
		return err
	}
	x := a.final()
	told := w.target.Login.Kind == farmspec.JSONLogin && (x.Status == http.StatusUnauthorized || x.Status == http.StatusForbidden)
	ok := told || w.hasLogIn(x) || w.linkToLogIn(x) != ""
	return w.expect(ok, a.final(), "a log-in, or a link to it, in place of the page", "one is there: "+yesNo(ok))
}

// fillsForm logs in from the refusal, by its link where it is not a log-in
// itself. Where a script logs in, its going on to the page is not seen here,
// so the page is asked for again.
func (w *world) fillsForm(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	page, from := w.sessions.page, w.sessions.asked
	if link := w.linkToLogIn(from.Final()); link != "" && !w.hasLogIn(from.Final()) {
		if from, err = p.browser.Follow(ctx, from, link); err != nil {
			return &violation{fmt.Sprintf("expected a link to the log-in that can be followed; %v", err)}
		}
	}
	visit, err := w.fillLogIn(ctx, p, from, p.user.Password)
	if err != nil && (visit == nil || visit == from) {
		return &violation{fmt.Sprintf("expected a log-in form that can be filled; %v", err)}
	}
	if err == nil && !byForm(w.target.Login) {
		visit, err = p.browser.Open(ctx, w.sessions.asked.Exchanges[0].URL)
	}
	w.acts.attempt = w.judged(visit, err, p, page, "log-in that leads to "+page.Path)
	if m, ok := w.target.Member(page.Member); ok {
		p.at = m
	}
	w.keepToken(p, p.at)
	p.last = w.acts.attempt
	return ctx.Err()
}

func (w *world) askedAppOpens() error { return w.mustServe(w.acts.attempt) }

func (w *world) hasMalformedCookie(ctx context.Context, name, how string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	value := map[string]string{
		"no token": "this-is-no-token", "empty": "", "far too long": strings.Repeat("A", 3800),
	}[how]
	g, err := w.signedIn(ctx, bystander)
	if err != nil {
		return err
	}
	// As the farm's own cookie is, so that a good one takes its place.
	for _, m := range w.target.Members {
		w.give(p.browser, carried{value: value, domain: g.current().domain, path: g.current().path}, m)
	}
	w.sessions.odd = p
	return nil
}

// isAskedAsWithoutCookie compares with somebody who has no cookie at all.
func (w *world) isAskedAsWithoutCookie(ctx context.Context) error {
	p, m := w.sessions.odd, w.target.Members[0]
	page := w.home(m)
	if err := w.witness(ctx, m, page); err != nil {
		return err
	}
	without := w.open(ctx, w.newBrowser("nobody"), p, m.At(page.Path), page, asked(m, page))
	with := w.open(ctx, p.browser, p, m.At(page.Path), page, asked(m, page))
	w.acts.attempt = with
	if err := w.isAskedToLogIn(); err != nil {
		return err
	}
	same := with.final().Status == without.final().Status && len(with.visit.Exchanges) == len(without.visit.Exchanges)
	return w.expect(same, with.final(), "the same answer as without a cookie",
		fmt.Sprintf("with it: %s; without: %s", with.describe(), without.describe()))
}

func (w *world) hasLoggedIn(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if err := w.signIn(ctx, p, w.target.Members[0]); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.exchanges {
		if x.Browser == name && x.Method == "POST" {
			w.sessions.login = x.Exchange
		}
	}
	return nil
}

func (w *world) makesBadLogIn(ctx context.Context, name, how, whose string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m := w.target.Members[0]
	switch {
	case whose != "":
		x := w.sessions.login
		switch {
		case x == nil && byForm(w.target.Login):
			return &failedControl{"there is no log-in to copy"}
		case x == nil, !w.guardedLogIn(x):
			return &notOffered{"the log-in sends name and password and nothing that a copy would lack"}
		}
		p.browser.Send(ctx, farmspec.Request{
			Method: x.Method, URL: x.URL, Body: x.RequestBody, Dest: "document", KeepCookies: true,
			Header: map[string][]string{"Content-Type": x.RequestHeader["Content-Type"]},
		})
	case strings.HasSuffix(how, "never sent"):
		_, err = p.browser.Open(ctx, m.At(w.target.Login.Path))
	case strings.HasSuffix(how, "knows"):
		stranger := *p
		stranger.user.Name = "nobody-" + p.user.Name
		_, err = w.logIn(ctx, &stranger, m, p.user.Password)
	default:
		_, err = w.logIn(ctx, p, m, "not "+p.user.Password)
	}
	if err != nil {
		return &failedControl{fmt.Sprintf("the log-in could not be made: %v", err)}
	}
	return ctx.Err()
}

// guardedLogIn reports whether a log-in carries more than the two fields, which
// tells the farm's own form from a copy.
func (w *world) guardedLogIn(x *farmspec.Exchange) bool {
	if !byForm(w.target.Login) {
		return false
	}
	fields, err := url.ParseQuery(x.RequestBody)
	delete(fields, w.target.Login.UserField)
	delete(fields, w.target.Login.PassField)
	delete(fields, w.target.Carrier.Name) // which frameworks add where it travels in addresses
	return err == nil && len(fields) > 0
}

func (w *world) isRefusedPage(ctx context.Context, name string, server int) error {
	if err := w.asksUnsigned(ctx, name, server); err != nil {
		return err
	}
	return w.mustRefuse(ctx, w.acts.attempt)
}

// noCookieShowsName looks for the user's name in every cookie, as it is and decoded.
func (w *world) noCookieShowsName(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	for _, c := range p.browser.AllCookies() {
		for _, seen := range decodings(c.Value) {
			if strings.Contains(strings.ToLower(string(seen)), strings.ToLower(p.user.Name)) {
				return w.expect(false, nil, "no cookie that shows the user's name", fmt.Sprintf("cookie %q does", c.Name))
			}
		}
	}
	return w.expect(true, nil, "no cookie that shows the user's name", fmt.Sprintf("none of %d does", len(p.browser.AllCookies())))
}

func (w *world) createdInOrder(ctx context.Context) error {
	msgs, err := w.hooks.Trace.Messages(ctx, w.acts.attempt.final().Trace)
	if err != nil {
		return fmt.Errorf("look inside the farm: %w", err)
	}
	first := func(op string) int {
		return slices.IndexFunc(msgs, func(m farmspec.Message) bool { return m.From == farmspec.ServiceProcess && m.Op == op && m.OK })
	}
	security, http := first(farmspec.OpCreate), first(farmspec.OpHTTP)
	actual := fmt.Sprintf("message %d creates the security session, message %d the HTTP session, of %d", security+1, http+1, len(msgs))
	return w.expect(security >= 0 && http > security, w.acts.attempt.final(), "the security session first and then the HTTP session", actual)
}

// The administrator's list.

// listed are the sessions of a user as the administrator sees them.
func (w *world) listed(ctx context.Context, name string) (open, closed []farmspec.SessionInfo, err error) {
	p, err := w.person(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	all, err := w.hooks.Admin.Sessions(ctx, p.user.Name)
	if err != nil {
		return nil, nil, fmt.Errorf("list sessions as administrator: %w", err)
	}
	for _, s := range all {
		if s.User != p.user.Name {
			return nil, nil, &violation{fmt.Sprintf("expected the sessions of %s; the list has one of another user", name)}
		}
		if s.Open {
			open = append(open, s)
		} else {
			closed = append(closed, s)
		}
	}
	return open, closed, nil
}

func (w *world) adminSeesNoSession(ctx context.Context, name string) error {
	return w.adminSeesSessions(ctx, 0, name)
}

func (w *world) adminSeesSessions(ctx context.Context, n int, name string) error {
	open, _, err := w.listed(ctx, name)
	if err != nil {
		return err
	}
	return w.expect(len(open) == n, nil, fmt.Sprintf("%d open sessions of %s in the administrator's list", n, name), fmt.Sprint(len(open)))
}

func (w *world) adminSeesSessionsWith(ctx context.Context, n int, name string, k int) error {
	open, _, err := w.listed(ctx, name)
	if err != nil {
		return err
	}
	return w.expect(len(open) == n && httpSessions(open) == k, nil,
		fmt.Sprintf("%d open sessions of %s with %d HTTP sessions in the administrator's list", n, name, k),
		fmt.Sprintf("%d with %d", len(open), httpSessions(open)))
}

func httpSessions(sessions []farmspec.SessionInfo) (n int) {
	for _, s := range sessions {
		n += len(s.HTTPSessions)
	}
	return n
}

func (w *world) adminSeesEveryApp(ctx context.Context, name string) error {
	open, _, err := w.listed(ctx, name)
	if err != nil {
		return err
	}
	return w.oneWithEveryApp(open, "in the administrator's list")
}

func (w *world) oneWithEveryApp(open []farmspec.SessionInfo, where string) error {
	missing := 0
	for _, app := range w.target.Apps {
		if len(open) > 0 && !slices.ContainsFunc(open[0].HTTPSessions, func(h farmspec.HTTPSessionInfo) bool { return h.App == app.Name }) {
			missing++
		}
	}
	return w.expect(len(open) == 1 && missing == 0 && httpSessions(open) == len(w.target.Apps), nil,
		fmt.Sprintf("one open session with one HTTP session of each of %d applications %s", len(w.target.Apps), where),
		fmt.Sprintf("%d sessions with %d, %d missing from the first", len(open), httpSessions(open), missing))
}

func (w *world) adminSeesNoHTTPSession(ctx context.Context, name string) error {
	open, closed, err := w.listed(ctx, name)
	if err != nil {
		return err
	}
	n := httpSessions(open) + httpSessions(closed)
	return w.expect(n == 0, nil, "no HTTP session of "+name+" in the administrator's list", fmt.Sprint(n))
}

func (w *world) adminSeesNoHTTPSessionOfApp(ctx context.Context, which string, server int, name string) error {
	app, _, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	_, found, err := w.findHTTPSession(ctx, name, app)
	if err != nil {
		return err
	}
	return w.expect(!found, nil, "no HTTP session of "+app.Name+" in the administrator's list", "there is one: "+yesNo(found))
}

func (w *world) findHTTPSession(ctx context.Context, name string, app farmspec.App) (farmspec.HTTPSessionInfo, bool, error) {
	open, _, err := w.listed(ctx, name)
	if err != nil {
		return farmspec.HTTPSessionInfo{}, false, err
	}
	for _, s := range open {
		for _, h := range s.HTTPSessions {
			if h.App == app.Name {
				return h, true, nil
			}
		}
	}
	return farmspec.HTTPSessionInfo{}, false, nil
}

func (w *world) adminSeesNoneTwice(ctx context.Context) error {
	all, err := w.hooks.Admin.Sessions(ctx, "")
	if err != nil {
		return fmt.Errorf("list sessions as administrator: %w", err)
	}
	return w.noneTwice(all)
}

func (w *world) noneTwice(all []farmspec.SessionInfo) error {
	under := map[string]string{}
	n := 0
	for _, s := range all {
		for _, h := range s.HTTPSessions {
			if other, ok := under[h.ID]; ok && other != s.Ref {
				return w.expect(false, nil, "each HTTP session under one security session", "one of "+h.App+" is under two")
			}
			under[h.ID] = s.Ref
			n++
		}
	}
	return w.expect(true, nil, "each HTTP session under one security session", fmt.Sprintf("%d are", n))
}

func (w *world) adminSeesClosed(ctx context.Context, name string) error {
	_, closed, err := w.listed(ctx, name)
	if err != nil {
		return err
	}
	ok := len(closed) > 0 && !slices.ContainsFunc(closed, func(s farmspec.SessionInfo) bool { return s.Reason == "" || s.ClosedAt == 0 })
	return w.expect(ok, nil, "a closed session of "+name+" with the instant and a reason", fmt.Sprintf("%d closed ones, all with both: %s", len(closed), yesNo(ok)))
}

func (w *world) adminSeesBeginning(ctx context.Context, name string) error {
	open, _, err := w.listed(ctx, name)
	if err != nil {
		return err
	}
	if len(open) != 1 {
		return w.expect(false, nil, "one open session of "+name, fmt.Sprint(len(open)))
	}
	return w.near(time.UnixMilli(open[0].CreatedAt), w.began.Add(w.ahead), "the session's beginning to be her log-in")
}

func (w *world) adminSeesEnd(ctx context.Context, name string) error {
	open, closed, err := w.listed(ctx, name)
	if err != nil {
		return err
	}
	if len(open) != 0 || len(closed) != 1 {
		return w.expect(false, nil, "one closed session of "+name+" and no open one", fmt.Sprintf("%d closed, %d open", len(closed), len(open)))
	}
	if closed[0].ClosedAt < closed[0].CreatedAt {
		return w.expect(false, nil, "an end after the beginning", "it is before")
	}
	return w.near(time.UnixMilli(closed[0].ClosedAt), w.now(), "the session's end to be her log-out")
}

// near compares the farm's clock with the judge's, generously: what is looked
// for is off by a good part of a time-out.
func (w *world) near(at, want time.Time, expected string) error {
	slack := w.target.Limits.Idle/4 + w.target.Limits.Tolerance
	off := at.Sub(want).Abs()
	return w.expect(off <= slack, nil, fmt.Sprintf("%s, within %v", expected, slack), fmt.Sprintf("it is %v off", off.Round(time.Second)))
}

// The database's rows.

func (w *world) rowsOf(ctx context.Context, p *person) ([]farmspec.Row, error) {
	rows, err := w.hooks.Database.Rows(ctx, p.user.Name)
	if err != nil {
		return nil, fmt.Errorf("read the common session database: %w", err)
	}
	for _, r := range rows {
		w.keepSecret(r.Token.ID)
	}
	return rows, nil
}

// stored are the sessions of a user as the database has them.
func (w *world) stored(ctx context.Context, name string) (open, all []farmspec.SessionInfo, err error) {
	p, err := w.person(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	rows, err := w.rowsOf(ctx, p)
	for _, r := range rows {
		all = append(all, r.SessionInfo)
		if r.Open {
			open = append(open, r.SessionInfo)
		}
	}
	return open, all, err
}

func (w *world) databaseHasNone(ctx context.Context, name string) error {
	return w.databaseHas(ctx, name, 0)
}

func (w *world) databaseHas(ctx context.Context, name string, n int) error {
	open, _, err := w.stored(ctx, name)
	if err != nil {
		return err
	}
	return w.expect(len(open) == n, nil, fmt.Sprintf("%d open sessions of %s in the database", n, name), fmt.Sprint(len(open)))
}

func (w *world) databaseHasWith(ctx context.Context, name string, n, k int) error {
	open, _, err := w.stored(ctx, name)
	if err != nil {
		return err
	}
	return w.expect(len(open) == n && httpSessions(open) == k, nil, fmt.Sprintf("%d open sessions of %s with %d HTTP sessions in the database", n, name, k),
		fmt.Sprintf("%d with %d", len(open), httpSessions(open)))
}

func (w *world) databaseHasEveryApp(ctx context.Context, name string) error {
	open, _, err := w.stored(ctx, name)
	if err != nil {
		return err
	}
	return w.oneWithEveryApp(open, "in the database")
}

func (w *world) databaseHasNoHTTPSession(ctx context.Context, name string) error {
	_, all, err := w.stored(ctx, name)
	if err != nil {
		return err
	}
	return w.expect(httpSessions(all) == 0, nil, "no HTTP session of "+name+" in the database", fmt.Sprint(httpSessions(all)))
}

func (w *world) databaseHasNoneTwice(ctx context.Context) error {
	rows, err := w.hooks.Database.Rows(ctx, "")
	if err != nil {
		return fmt.Errorf("read the common session database: %w", err)
	}
	var all []farmspec.SessionInfo
	for _, r := range rows {
		all = append(all, r.SessionInfo)
	}
	return w.noneTwice(all)
}

func (w *world) databaseHasOrder(ctx context.Context, name string) error {
	_, all, err := w.stored(ctx, name)
	if err != nil {
		return err
	}
	bad := slices.IndexFunc(all, func(s farmspec.SessionInfo) bool { return s.Open || s.ClosedAt < s.CreatedAt })
	return w.expect(len(all) > 0 && bad < 0, nil, "every row closed, and not before it was created", fmt.Sprintf("%d rows, all so: %s", len(all), yesNo(bad < 0)))
}

func (w *world) valueIsInDatabase(ctx context.Context, name, not string) error {
	_, all, err := w.stored(ctx, name)
	if err != nil {
		return err
	}
	has := false
	for _, s := range all {
		has = has || w.holdsValueOf(s, name)
	}
	return w.expect(has == (not == ""), nil, name+"'s value "+not+"in the database", yesNo(has))
}

// holdsValueOf reports whether one of the session's HTTP sessions has what the
// person gave an application.
func (w *world) holdsValueOf(s farmspec.SessionInfo, name string) bool {
	for _, h := range s.HTTPSessions {
		for _, attribute := range h.Attributes {
			for _, given := range w.sessions.values[name] {
				if slices.ContainsFunc(given, func(v string) bool { return strings.Contains(attribute, v) }) {
					return true
				}
			}
		}
	}
	return false
}
