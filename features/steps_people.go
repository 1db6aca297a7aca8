package features

import (
	"context"
	"errors"
	"fmt"

	"github.com/farmspec/farmspec"
)

// The steps every subject uses: people sign in, visit pages and log out.
//
// "The page on server 2" is that server's HTML page; "the JSP page", "the ASP
// page" and "the applet" are the other kinds of claim 12. A person asks the
// server she is at, the one that served her last, unless a step names another:
// so a visit to a page of another server is a hop.

type peopleScene struct {
	// attempt is the last one anybody made: the "it" of a step.
	attempt *attempt
}

const kindPattern = `(page|JSP page|ASP page|applet)`

func (w *world) registerPeople(s stepper) {
	s.step(`(\w+) is signed in`, w.isSignedIn)
	s.step(`(\w+) is signed in at server (\d+)`, w.isSignedInAt)
	s.step(`(\w+) has visited the `+kindPattern+` on server (\d+)`, w.hasVisited)
	s.step(`(\w+) visits the `+kindPattern+` on server (\d+)`, w.visits)
	s.step(`(\w+) asks server (\d+) for the `+kindPattern+` on server (\d+)`, w.asks)
	s.step(`(\w+) reloads the page`, w.reloads)
	s.step(whoPattern+` logs out`, w.logsOut)
	s.step(`(\w+) signs in again`, w.signsInAgain)
	s.step(`(\w+) presents (\w+)'s (current|earlier|first) token`, w.presentsToken)
	s.step(`(\w+) presents (\w+)'s (current|earlier|first) token to server (\d+)`, w.presentsTokenTo)

	s.step(`the farm serves it`, w.servesIt)
	s.step(`the farm serves ([A-Z]\w*)`, w.serves)
	s.step(`the farm refuses it`, w.refusesIt)
	s.step(`the farm refuses ([A-Z]\w*)`, w.refuses)
	s.step(`(\w+)'s current token still works`, w.currentTokenStillWorks)
	s.step(`(\w+) is still signed in`, w.currentTokenStillWorks)
}

var kinds = map[string]farmspec.Kind{
	"page": farmspec.HTML, "JSP page": farmspec.JSP, "ASP page": farmspec.ASP, "applet": farmspec.Applet,
}

// pageOn finds a page by kind and holder.
func (w *world) pageOn(kind string, server int) (farmspec.Page, error) {
	m, err := w.member(server)
	if err != nil {
		return farmspec.Page{}, err
	}
	p, ok := w.target.Page(m.Name, kinds[kind])
	if !ok {
		return farmspec.Page{}, &notOffered{fmt.Sprintf("%s holds no %s", m.Name, kind)}
	}
	return p, nil
}

func (w *world) isSignedIn(ctx context.Context, name string) error {
	_, err := w.signedIn(ctx, name)
	return err
}

func (w *world) isSignedInAt(ctx context.Context, name string, server int) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.signIn(ctx, p, m)
}

func (w *world) hasVisited(ctx context.Context, name, kind string, server int) error {
	if err := w.visits(ctx, name, kind, server); err != nil {
		return err
	}
	return w.needServed(w.acts.attempt)
}

func (w *world) visits(ctx context.Context, name, kind string, server int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	page, err := w.pageOn(kind, server)
	if err != nil {
		return err
	}
	w.acts.attempt = w.hop(ctx, p, page)
	return ctx.Err()
}

// asking finds who asks, the server that is asked, and the page of the server
// that holds it.
func (w *world) asking(ctx context.Context, name string, first int, kind string, second int) (*person, farmspec.Member, farmspec.Page, error) {
	p, err := w.person(ctx, name)
	if err != nil {
		return nil, farmspec.Member{}, farmspec.Page{}, err
	}
	m, err := w.member(first)
	if err != nil {
		return nil, farmspec.Member{}, farmspec.Page{}, err
	}
	page, err := w.pageOn(kind, second)
	return p, m, page, err
}

func (w *world) asks(ctx context.Context, name string, first int, kind string, second int) error {
	p, m, page, err := w.asking(ctx, name, first, kind, second)
	if err != nil {
		return err
	}
	w.acts.attempt = w.visit(ctx, p, m, page)
	return ctx.Err()
}

// reloads repeats the address the person's browser shows.
func (w *world) reloads(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if p.last == nil {
		return fmt.Errorf("%s has no page to reload", name)
	}
	a := w.open(ctx, p.browser, p, p.last.final().URL, p.last.page, p.last.fingerprint)
	w.keepToken(p, p.at)
	p.last, w.acts.attempt = a, a
	return ctx.Err()
}

func (w *world) logsOut(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.logOut(ctx, p, p.at)
}

// logOut sends the log-out form that the member shows.
func (w *world) logOut(ctx context.Context, p *person, m farmspec.Member) error {
	form, err := w.askLogOut(ctx, p, m)
	if errors.Is(err, errNoLogOut) && len(w.ending.logOuts) > 0 {
		return err
	}
	if err != nil {
		return &failedControl{fmt.Sprintf("%s cannot log out at %s: %v", p.name, m.Name, err)}
	}
	w.ending.logOuts = append(w.ending.logOuts, form)
	return ctx.Err()
}

// errNoLogOut is the want of a log-out for who is not logged in: the page that
// has its form leads to the log-in then, whose form is another.
var errNoLogOut = &notOffered{"the log-out's page shows the log-in, and no log-out"}

// askLogOut does what the target's recipe says.
func (w *world) askLogOut(ctx context.Context, p *person, m farmspec.Member) (*farmspec.Visit, error) {
	recipe := w.target.Logout
	switch recipe.Kind {
	case farmspec.GetLogout:
		return p.browser.Open(ctx, m.At(recipe.Path))
	case farmspec.PostLogout:
		home := w.home(m)
		page, err := p.browser.Open(ctx, m.At(home.Path))
		if err != nil {
			return page, err
		}
		w.keepToken(p, m)
		return p.browser.Post(ctx, page, m.At(recipe.Path), nil)
	}
	form, err := p.browser.Open(ctx, m.At(recipe.Path))
	if err != nil {
		return form, err
	}
	w.keepToken(p, m)
	if recipe.Form == "" && byForm(w.target.Login) && w.hasLogIn(form.Final()) {
		return form, errNoLogOut
	}
	return p.browser.Submit(ctx, form, recipe.Form, nil)
}

func (w *world) signsInAgain(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.signIn(ctx, p, p.at)
}

// token picks one of those a person has carried.
func (p *person) token(which string) (carried, error) {
	n := len(p.tokens)
	switch {
	case which == "current" && n > 0:
		return p.tokens[n-1], nil
	case which == "earlier" && n > 1:
		return p.tokens[n-2], nil
	case which == "first" && n > 1:
		return p.tokens[0], nil
	}
	return carried{}, &failedControl{fmt.Sprintf("%s has carried %d tokens, so there is no %s one to present", p.name, n, which)}
}

func (w *world) presentsToken(ctx context.Context, who, whose, which string) error {
	owner, err := w.person(ctx, whose)
	if err != nil {
		return err
	}
	return w.presentTo(ctx, who, owner, which, owner.at)
}

func (w *world) presentsTokenTo(ctx context.Context, who, whose, which string, server int) error {
	owner, err := w.person(ctx, whose)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	return w.presentTo(ctx, who, owner, which, m)
}

func (w *world) presentTo(ctx context.Context, who string, owner *person, which string, m farmspec.Member) error {
	t, err := owner.token(which)
	if err != nil {
		return err
	}
	w.acts.attempt, err = w.present(ctx, who, owner, t, m, w.home(m))
	return err
}

func (w *world) servesIt() error { return w.mustServe(w.acts.attempt) }

func (w *world) serves(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.mustServe(p.last)
}

func (w *world) refusesIt(ctx context.Context) error { return w.mustRefuse(ctx, w.acts.attempt) }

func (w *world) refuses(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.mustRefuse(ctx, p.last)
}

func (w *world) currentTokenStillWorks(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.mustServe(w.visit(ctx, p, p.at, w.home(p.at)))
}
