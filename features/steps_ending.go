package features

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/farmspec/farmspec"
)

// The steps of the end: log-out, the limit of sessions, the administrator,
// copies that somebody kept, and requests that are under way meanwhile.

type endingScene struct {
	// copied is a token that somebody kept, with whose it is.
	copied carried
	owner  *person
	// logOuts are the answers to log-outs, oldest first.
	logOuts []*farmspec.Visit
	held    farmspec.Held
	// under is the request that is held; it delivers its attempt, nil for a log-out.
	under chan *attempt
}

func (w *world) registerEnding(s stepper) {
	s.step(`(\w+) has a copy of `+whoPattern+`'s token`, w.hasCopy)
	s.step(`(\w+)'s browser is given (\w+)'s current token`, w.isGivenToken)
	s.step(`(\w+) presents the (?:copy|planted token)`, w.presentsCopy)
	s.step(`the copy is refused at every server`, w.copyRefusedAtEveryServer)
	s.step(`the copy is refused by every application`, w.copyRefusedByEveryApp)
	s.step(`nothing that (\w+) carried works any more`, w.nothingWorks)
	s.step(`(\w+) does not see (\w+)'s page`, w.doesNotSeePageOf)

	s.step(`the second log-out was answered as the first`, w.secondLogOutAsFirst)
	s.step(`(\w+) opens the log-out page and does not send its form`, w.opensLogOutPage)
	s.step(`a page of Mallory's sends a log-out in (\w+)'s browser`, w.forgesLogOut)

	s.step(`a page of Mallory's sends `+appPattern+` a value in (\w+)'s browser`, w.forgesValue("POST"))
	s.step(`(\w+) follows a link of Mallory's with a value to `+appPattern, w.followsLinkWithValue)

	s.step(`(\w+) asks for the page on server (\d+) and the request is held (between verification and replacement|while the page is made)`, w.asksForPageHeld)
	s.step(`(\w+) asks for `+appPattern+` and the request is held (while the page is made|while its HTTP session is registered)`, w.asksForAppHeld)
	s.step(`(\w+) gives `+appPattern+` a value and the request is held before it is saved`, w.givesValueHeld)
	s.step(`(\w+) logs out in a second tab`, w.logsOutInSecondTab)
	s.step(`(\w+) logs out in a second tab and the request is held (during the log-out|when the session is closed)`, w.logsOutHeld)
	s.step(`the held (?:request|log-out) goes on`, w.heldGoesOn)

	s.step(`a farm that allows (\d+) sessions for each user`, w.farmWithLimit)
	s.step(`the administrator ends (\w+)'s HTTP session of `+appPattern, w.adminEndsHTTPSession)
	s.step(`the administrator ends the session that holds (\w+)'s value`, w.adminEndsSessionOf)
	s.step(`the administrator ends all sessions of (\w+)`, w.adminEndsUser)
	s.step(`the administrator ends all sessions`, w.adminEndsAll)
}

func isRefusal(err error) bool { return errors.Is(err, farmspec.ErrRefused) }

func (w *world) hasCopy(ctx context.Context, _, whose string) error {
	owner, err := w.person(ctx, whose)
	if err != nil {
		return err
	}
	if len(owner.tokens) == 0 {
		return &failedControl{whose + " carries no token to copy"}
	}
	w.ending.copied, w.ending.owner = owner.current(), owner
	return nil
}

func (w *world) isGivenToken(ctx context.Context, victim, whose string) error {
	if err := w.hasCopy(ctx, "", whose); err != nil {
		return err
	}
	p, err := w.person(ctx, victim)
	if err != nil {
		return err
	}
	w.give(p.browser, w.ending.copied, w.ending.owner.at)
	return nil
}

// presentCopyTo presents the copy where the same request has a witness. Where
// time has passed the bystander has to sign in anew to be one.
func (w *world) presentCopyTo(ctx context.Context, who string, m farmspec.Member, page farmspec.Page) (*attempt, error) {
	w.mu.Lock()
	_, witnessed := w.witnessed[asked(m, page)]
	anew := w.disturbed && !witnessed
	w.mu.Unlock()
	if anew {
		g, err := w.person(ctx, bystander)
		if err != nil {
			return nil, err
		}
		if err := w.signIn(ctx, g, m); err != nil {
			return nil, err
		}
	}
	return w.present(ctx, who, w.ending.owner, w.ending.copied, m, page)
}

func (w *world) presentsCopy(ctx context.Context, who string) (err error) {
	m := w.ending.owner.at
	w.acts.attempt, err = w.presentCopyTo(ctx, who, m, w.home(m))
	return err
}

func (w *world) copyRefusedAtEveryServer(ctx context.Context) error {
	for _, m := range w.target.Members {
		if err := w.refuseCopy(ctx, m, w.home(m)); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) copyRefusedByEveryApp(ctx context.Context) error {
	pages, err := w.appPages(func(a farmspec.App) bool { return !a.Stays })
	if err != nil {
		return err
	}
	for _, page := range pages {
		m, ok := w.target.Member(page.Member)
		if !ok {
			return fmt.Errorf("find the server of %s: no member %q", page.Path, page.Member)
		}
		if err := w.refuseCopy(ctx, m, page); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) refuseCopy(ctx context.Context, m farmspec.Member, page farmspec.Page) error {
	a, err := w.presentCopyTo(ctx, "Mallory", m, page)
	if err != nil {
		return err
	}
	return w.mustRefuse(ctx, a)
}

// nothingWorks presents the newest tokens of a session that has ended, the
// newest first: whatever was handed out last must be as dead as the rest.
func (w *world) nothingWorks(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	const several = 4
	tokens := p.tokens[max(0, len(p.tokens)-several):]
	for _, t := range slices.Backward(tokens) {
		a, err := w.present(ctx, "Mallory", p, t, p.at, w.home(p.at))
		if err != nil {
			return err
		}
		if err := w.mustRefuse(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// doesNotSeePageOf judges the attempt as the victim's: her page must not be in it.
func (w *world) doesNotSeePageOf(ctx context.Context, who, victim string) error {
	p, err := w.person(ctx, victim)
	if err != nil {
		return err
	}
	x := w.acts.attempt.final()
	seen := w.target.Judge(x, w.acts.attempt.page, p.user.Name)
	return w.expect(seen != farmspec.Accepted, x, fmt.Sprintf("%s not to see %s's page", who, victim), "as hers it is "+string(seen))
}

func (w *world) secondLogOutAsFirst() error {
	if n := len(w.ending.logOuts); n < 2 {
		return fmt.Errorf("compare log-outs: there were %d", n)
	}
	first, second := w.ending.logOuts[0].Final(), w.ending.logOuts[1].Final()
	same := first.Status == second.Status && len(first.Body) == len(second.Body)
	return w.expect(same, second, "the same answer to both log-outs",
		fmt.Sprintf("status %d with %d bytes, then %d with %d", first.Status, len(first.Body), second.Status, len(second.Body)))
}

func (w *world) opensLogOutPage(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if w.target.Logout.Kind == farmspec.PostLogout {
		return &notOffered{"the log-out has no page"}
	}
	visit, err := p.browser.Open(ctx, p.at.At(w.target.Logout.Path))
	if err != nil || visit.Final().Status != 200 {
		return &failedControl{fmt.Sprintf("the log-out page of %s does not open: %v", p.at.Name, err)}
	}
	w.keepToken(p, p.at)
	return ctx.Err()
}

// forgesLogOut sends the log-out as a page on a neighbouring host could: with
// all the browser's cookies and without what the farm's form holds. Where the
// farm logs out by GET a link of Mallory's is enough.
func (w *world) forgesLogOut(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	r := farmspec.Request{Method: "GET", URL: p.at.At(w.target.Logout.Path), Dest: "document", Cookies: farmspec.JarCookies, KeepCookies: true}
	if w.target.Logout.Kind != farmspec.GetLogout {
		r.Method, r.Header, r.Body = "POST", fromNeighbour(p.at), "out=1"
		r.URL = w.addressOfForm(ctx, p, p.at, w.target.Logout.Path, w.isLogOut)
	}
	x := p.browser.Send(ctx, r)
	if x.Err != nil {
		return fmt.Errorf("send a forged log-out: %w", x.Err)
	}
	return ctx.Err()
}

// addressOfForm is where a page's form sends to, as Mallory knows it from her
// own visits: the page itself where it has no such form. Where tokens rotate it
// is taken to be the page, since to look would cost a token.
func (w *world) addressOfForm(ctx context.Context, p *person, m farmspec.Member, path string, is func(farmspec.Form) bool) string {
	if w.target.Rotation == farmspec.NoRotation {
		if visit, err := p.browser.Clone(p.name).Open(ctx, m.At(path)); err == nil {
			for _, f := range farmspec.Forms(visit.Final()) {
				if _, ours := w.target.MemberOf(f.Action); ours && f.Method == http.MethodPost && is(f) {
					return f.Action
				}
			}
		}
	}
	return m.At(path)
}

// isLogOut reports whether a form of the log-out's page is the log-out's.
func (w *world) isLogOut(f farmspec.Form) bool {
	named := w.target.Logout.Form
	return named == "" || f.ID == named || f.Name == named
}

// fromNeighbour is what a browser says of a form that was sent from a page at
// another port of the member's own host: the same site and another origin, so
// that SameSite lets the cookies go along and Origin tells where it came from.
func fromNeighbour(m farmspec.Member) http.Header {
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-site"}, "Sec-Fetch-User": nil}
	if u, err := url.Parse(m.URL); err == nil {
		h.Set("Origin", u.Scheme+"://"+net.JoinHostPort(u.Hostname(), "1"))
		h.Set("Referer", h.Get("Origin")+"/")
	}
	return h
}

// forgesValue sends an application a value as a page on a neighbouring host
// could: with all the browser's cookies and without what its form holds.
func (w *world) forgesValue(method string) func(context.Context, string, int, string) error {
	return func(ctx context.Context, which string, server int, name string) error {
		p, app, page, err := w.using(ctx, name, which, server)
		if err != nil {
			return err
		}
		m, err := w.member(server)
		if err != nil {
			return err
		}
		values := url.Values{app.Field: {w.newValue(&person{name: "Mallory", user: farmspec.User{Name: "mallory"}}, page)}}.Encode()
		r := farmspec.Request{Method: method, URL: m.At(page.Path), Dest: "document", Cookies: farmspec.JarCookies, KeepCookies: true}
		if method == "GET" {
			r.URL += "?" + values
		} else {
			r.URL = w.addressOfForm(ctx, p, m, page.Path, func(f farmspec.Form) bool { return f.Has(app.Field) })
			r.Header = fromNeighbour(m)
			r.Body = values
		}
		x := p.browser.Send(ctx, r)
		if x.Err != nil {
			return fmt.Errorf("send a forged value: %w", x.Err)
		}
		p.at = m
		w.keepToken(p, m)
		return ctx.Err()
	}
}

func (w *world) followsLinkWithValue(ctx context.Context, name, which string, server int) error {
	return w.forgesValue("GET")(ctx, which, server, name)
}

// points are the places where a request is held, as steps call them.
var points = map[string]farmspec.Point{
	"between verification and replacement": farmspec.BetweenVerify,
	"while the page is made":               farmspec.InHandler,
	"while its HTTP session is registered": farmspec.InRegister,
	"before it is saved":                   farmspec.BeforeSave,
	"during the log-out":                   farmspec.InLogout,
	"when the session is closed":           farmspec.AfterClose,
}

// hold starts a request and returns when it is parked at the place.
func (w *world) hold(ctx context.Context, trace, where string, request func() *attempt) error {
	held, err := w.hooks.Holds.Hold(ctx, trace, points[where])
	if err != nil {
		return fmt.Errorf("hold the request: %w", err)
	}
	under := make(chan *attempt, 1)
	w.ending.held, w.ending.under = held, under
	w.onEnd = append(w.onEnd, held.Release)
	w.background.Go(func() { under <- request() })
	if err := parked(ctx, held, 1); err != nil {
		held.Release()
		<-under
		return err
	}
	return nil
}

func (w *world) asksForPageHeld(ctx context.Context, name string, server int, where string) error {
	page, err := w.pageOn("page", server)
	if err != nil {
		return err
	}
	return w.askHeld(ctx, name, page, where)
}

func (w *world) asksForAppHeld(ctx context.Context, name, which string, server int, where string) error {
	_, page, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	return w.askHeld(ctx, name, page, where)
}

func (w *world) askHeld(ctx context.Context, name string, page farmspec.Page, where string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.hold(ctx, p.browser.Trace(), where, func() *attempt { return w.hop(ctx, p, page) })
}

func (w *world) givesValueHeld(ctx context.Context, name, which string, server int) error {
	p, _, page, err := w.using(ctx, name, which, server)
	if err != nil {
		return err
	}
	if err := w.needServed(w.hop(ctx, p, page)); err != nil {
		return err
	}
	value := w.newValue(p, page)
	return w.hold(ctx, p.browser.Trace(), "before it is saved", func() *attempt { return w.sendValue(ctx, p, page, value) })
}

// secondTab is a person's browser with the cookies it has now, in a tab with a trace of its own.
func (w *world) secondTab(p *person) *person {
	name := p.name + "'s second tab"
	return &person{name: name, user: p.user, at: p.at, tokens: slices.Clone(p.tokens), browser: w.tab(p, name, farmspec.NewTrace())}
}

func (w *world) logsOutInSecondTab(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	tab := w.secondTab(p)
	return w.logOut(ctx, tab, tab.at)
}

func (w *world) logsOutHeld(ctx context.Context, name, where string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	tab := w.secondTab(p)
	return w.hold(ctx, tab.browser.Trace(), where, func() *attempt {
		_ = w.logOut(ctx, tab, tab.at) // how it was answered is not what matters
		return nil
	})
}

func (w *world) heldGoesOn(ctx context.Context) error {
	w.ending.held.Release()
	select {
	case a := <-w.ending.under:
		if a != nil {
			w.acts.attempt = a
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *world) farmWithLimit(ctx context.Context, n int) error {
	return w.fork(ctx, farmspec.Variation{MaxSessions: n})
}

func (w *world) adminEndsHTTPSession(ctx context.Context, name, which string, server int) error {
	app, _, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	h, found, err := w.findHTTPSession(ctx, name, app)
	if err != nil {
		return err
	}
	if !found {
		return &failedControl{"the administrator sees no HTTP session of " + app.Name}
	}
	return ended(w.hooks.Admin.EndHTTPSession(ctx, h.ID))
}

func (w *world) adminEndsSessionOf(ctx context.Context, name string) error {
	open, _, err := w.listed(ctx, name)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(open, func(s farmspec.SessionInfo) bool { return w.holdsValueOf(s, name) })
	if i < 0 {
		return &failedControl{"the administrator sees no session that holds the value"}
	}
	return ended(w.hooks.Admin.EndSession(ctx, open[i].Ref))
}

func (w *world) adminEndsUser(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return ended(w.hooks.Admin.EndUser(ctx, p.user.Name))
}

func (w *world) adminEndsAll(ctx context.Context) error {
	w.mu.Lock()
	w.disturbed = true
	w.mu.Unlock()
	return ended(w.hooks.Admin.EndAll(ctx))
}

// ended tells what the administrator was refused from what could not be asked.
func ended(err error) error {
	switch {
	case err == nil:
		return nil
	case isRefusal(err):
		return &failedControl{fmt.Sprintf("the administrator is refused: %v", err)}
	}
	return fmt.Errorf("end sessions as administrator: %w", err)
}
