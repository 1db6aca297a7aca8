package features

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/farmspec/farmspec"
)

// The steps that let time pass. A margin keeps a verdict off the boundary
// itself, which the claims leave open (D7).

type timeScene struct {
	// Of the two people at each server one is to be served and one refused.
	inside, outside []*person
	// plain is a token in the clear, as the farm's key or a hand-off showed it.
	plain farmspec.PlainToken
}

func (w *world) registerTime(s stepper) {
	s.step(`half the idle time-out passes`, w.fractionOfIdlePasses(1, 2))
	s.step(`three quarters of the idle time-out pass`, w.fractionOfIdlePasses(3, 4))
	s.step(`almost the whole idle time-out passes`, w.idlePassesBut(func() time.Duration { return w.margin() }))
	s.step(`all but ten seconds of the idle time-out pass`, w.idlePassesBut(func() time.Duration { return 10 * time.Second }))
	s.step(`the idle time-out passes`, w.idlePassesBut(func() time.Duration { return -w.margin() }))
	s.step(`the idle time-out and a second pass`, w.idlePassesBut(func() time.Duration { return -time.Second }))
	s.step(`a little more time passes`, w.littleMoreTimePasses)
	s.step(`eleven seconds pass`, func(ctx context.Context) error { return w.pass(ctx, 11*time.Second) })
	s.step(`the grace period passes`, w.gracePasses)
	s.step(`almost the idle time-out of `+appPattern+` passes`, w.almostAppIdlePasses)
	s.step(`all but ten seconds of the idle time-out of `+appPattern+` pass`, w.allButTenSecondsOfAppIdlePass)
	s.step(`the idle time-out of every application passes, but not the session's`, w.everyAppIdlePasses)
	s.step(`(\w+) goes on visiting pages until almost the absolute lifetime is over`, w.goesOnUntilAbsolute)

	s.step(`the clock of server (\d+) is off by twice the idle time-out`, w.clockIsOff)
	s.step(`the clock of server (\d+) is (ahead|behind) by twice the idle time-out`, w.clockIsAheadOrBehind)
	s.step(`the farm's clock is set back by twice the idle time-out`, w.clockIsSetBack)

	s.step(`a farm whose sessions time out before its HTTP sessions do`, w.farmWithShortSessions)
	s.step(`two people are signed in at each server`, w.twoPeopleAtEachServer)
	s.step(`the farm serves one of them at each server`, w.servesOneAtEachServer)
	s.step(`the farm refuses the other one at each server`, w.refusesOtherAtEachServer)
	s.step(`it brought no token`, w.broughtNoToken)
	s.step(`(\w+) asks for the page again, and dates her request back to her last page`, w.datesBack)
	s.step(`(\w+)'s token is stored and sealed again with the present time`, w.storedAgain(0))
	s.step(`(\w+)'s token is stored and sealed again with a time far ahead`, w.storedAgain(farAhead))
	s.step(`(\w+)'s token is read from her next hand-off`, w.tokenIsReadFromHandoff)
	s.step(`the session service verifies (?:it|(\w+)'s token)`, w.serviceVerifies)
	s.step(`the session service refuses it with a timestamp far ahead`, w.serviceRefusesFuture)
}

// farAhead is beyond any declared tolerance of clocks.
const farAhead = 24 * time.Hour

// margin is how far from a limit the judge stays.
func (w *world) margin() time.Duration { return w.marginOf(w.target.Limits.Idle) }

func (w *world) marginOf(limit time.Duration) time.Duration { return marginOf(w.target, limit) }

func (w *world) fractionOfIdlePasses(of, parts time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		d := w.target.Limits.Idle * of / parts
		if life := w.target.Limits.Absolute; life > 0 && w.passed+d > life-w.margin() {
			return &notOffered{fmt.Sprintf("a session's whole life is bounded by %v, which ends before", life)}
		}
		return w.pass(ctx, d)
	}
}

func (w *world) idlePassesBut(rest func() time.Duration) func(context.Context) error {
	return func(ctx context.Context) error { return w.pass(ctx, w.target.Limits.Idle-rest()) }
}

func (w *world) littleMoreTimePasses(ctx context.Context) error { return w.pass(ctx, 2*w.margin()) }

func (w *world) gracePasses(ctx context.Context) error {
	if w.target.Grace == 0 {
		return nil
	}
	return w.pass(ctx, afterGrace(w.target))
}

func (w *world) almostAppIdlePasses(ctx context.Context, which string, server int) error {
	return w.appIdlePassesBut(ctx, which, server, w.marginOf)
}

func (w *world) allButTenSecondsOfAppIdlePass(ctx context.Context, which string, server int) error {
	return w.appIdlePassesBut(ctx, which, server, func(time.Duration) time.Duration { return 10 * time.Second })
}

// appIdlePassesBut needs an application whose limit is reached before the
// session's, and is longer than what is to remain of it.
func (w *world) appIdlePassesBut(ctx context.Context, which string, server int, remains func(time.Duration) time.Duration) error {
	app, _, err := w.appOn(which, server)
	if err != nil {
		return err
	}
	rest := remains(app.Idle)
	switch {
	case app.Idle > w.target.Limits.Idle-w.margin():
		return &notOffered{"the HTTP sessions' idle time-out is not below the session's"}
	case app.Idle <= rest:
		return &notOffered{fmt.Sprintf("the application's idle time-out is no longer than %v", rest)}
	}
	return w.pass(ctx, app.Idle-rest)
}

// everyAppIdlePasses needs applications whose limit is well below the session's.
func (w *world) everyAppIdlePasses(ctx context.Context) error {
	longest := longestAppIdle(w.target)
	d := longest + w.marginOf(longest)
	if longest == 0 || d > w.target.Limits.Idle-w.margin() {
		return &notOffered{"the HTTP sessions' idle time-out is not below the session's"}
	}
	return w.pass(ctx, d)
}

func (w *world) goesOnUntilAbsolute(ctx context.Context, name string) error {
	limits := w.target.Limits
	if limits.Absolute == 0 {
		return &notOffered{"the target bounds no session's life"}
	}
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.goesOn(ctx, p, limits.Absolute-w.margin())
}

// goesOn lets a person visit pages, never idle for long, until so much time has
// passed or she is refused.
func (w *world) goesOn(ctx context.Context, p *person, until time.Duration) error {
	for gone, i := time.Duration(0), 1; gone < until; i++ {
		d := min(w.target.Limits.Idle*3/4, until-gone)
		if err := w.pass(ctx, d); err != nil {
			return err
		}
		gone += d
		// At both ends she is at server 1, so that the refusal there has its witness.
		if err := w.stride(ctx, p, w.home(w.target.Members[i%2])); err != nil {
			return err
		}
		if p.last.outcome != farmspec.Accepted {
			return nil // a Then says what that means
		}
	}
	return nil
}

func (w *world) clockIsOff(ctx context.Context, server int) error {
	return w.skew(ctx, server, 2*w.target.Limits.Idle)
}

func (w *world) clockIsAheadOrBehind(ctx context.Context, server int, off string) error {
	d := 2 * w.target.Limits.Idle
	if off == "behind" {
		d = -d
	}
	return w.skew(ctx, server, d)
}

func (w *world) skew(ctx context.Context, server int, d time.Duration) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	if err := w.hooks.Clock.Skew(ctx, m.Name, d); err != nil {
		return fmt.Errorf("skew the clock of %s: %w", m.Name, err)
	}
	clock := w.hooks.Clock
	w.undo("set the clock of "+m.Name+" right", func(ctx context.Context) error { return clock.Skew(ctx, m.Name, 0) })
	return nil
}

func (w *world) clockIsSetBack(ctx context.Context) error {
	d := 2 * w.target.Limits.Idle
	if err := w.pass(ctx, -d); err != nil {
		return err
	}
	clock := w.hooks.Clock
	// Sessions begun meanwhile are to be past.
	w.undo("set the farm's clock forward again", func(ctx context.Context) error { return clock.Advance(ctx, d) })
	return nil
}

func (w *world) farmWithShortSessions(ctx context.Context) error {
	if len(w.target.Apps) == 0 || w.target.Apps[0].Idle == 0 {
		return &notOffered{"the target's applications have no idle time-out of their own"}
	}
	limits := w.target.Limits
	limits.Idle = w.target.Apps[0].Idle / 2
	return w.fork(ctx, farmspec.Variation{Limits: &limits})
}

func (w *world) twoPeopleAtEachServer(ctx context.Context) error {
	for i, m := range w.target.Members {
		for _, side := range []*[]*person{&w.time.inside, &w.time.outside} {
			p, err := w.person(ctx, fmt.Sprintf("person %d at %s", 1+len(w.time.inside)-i, m.Name))
			if err != nil {
				return err
			}
			if err := w.signIn(ctx, p, m); err != nil {
				return err
			}
			*side = append(*side, p)
		}
	}
	return nil
}

func (w *world) servesOneAtEachServer(ctx context.Context) error {
	for _, p := range w.time.inside {
		if err := w.mustServe(w.visit(ctx, p, p.at, w.home(p.at))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (w *world) refusesOtherAtEachServer(ctx context.Context) error {
	for _, p := range w.time.outside {
		if err := w.mustRefuse(ctx, w.visit(ctx, p, p.at, w.home(p.at))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (w *world) broughtNoToken(ctx context.Context) error {
	a := w.acts.attempt
	for _, x := range a.visit.Exchanges {
		good, err := w.setsGoodToken(ctx, x)
		if err != nil {
			return err
		}
		if good {
			return w.expect(false, x, "no token with a refusal", sent(true))
		}
	}
	return w.expect(true, a.final(), "no token with a refusal", sent(false))
}

func (w *world) datesBack(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if p.last == nil {
		return fmt.Errorf("%s has no page to ask for again", name)
	}
	page := p.last.page
	x := p.browser.Send(ctx, farmspec.Request{
		URL: p.at.At(page.Path), Dest: "document", Cookies: farmspec.JarCookies,
		Header: http.Header{"Date": {p.last.final().Start.UTC().Format(http.TimeFormat)}},
	})
	w.acts.attempt = w.judged(&farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}, x.Err, p, page, asked(p.at, page))
	return ctx.Err()
}

// storedAgain changes the timestamp alike in the database and in the browser,
// so that nothing but the time is wrong with it.
func (w *world) storedAgain(ahead time.Duration) func(context.Context, string) error {
	return func(ctx context.Context, name string) error {
		p, err := w.person(ctx, name)
		if err != nil {
			return err
		}
		t, err := w.plain(p.current())
		if err != nil {
			return err
		}
		now, err := w.hooks.Clock.Now(ctx)
		if err != nil {
			return fmt.Errorf("ask for the farm's time: %w", err)
		}
		t.Timestamp = now.Add(ahead).UnixMilli()
		rows, err := w.rowsOf(ctx, p)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rows, func(r farmspec.Row) bool { return r.Open })
		if i < 0 {
			return &failedControl{"the database has no open session of " + name}
		}
		if err := w.hooks.Database.SetToken(ctx, rows[i].Ref, t); err != nil {
			return fmt.Errorf("store the token: %w", err)
		}
		sealed, err := w.hooks.Keys.Seal(t)
		if err != nil {
			return fmt.Errorf("seal with the farm's key: %w", err)
		}
		changed := carried{value: sealed, domain: p.current().domain, path: p.current().path}
		w.give(p.browser, changed, p.at)
		p.tokens = append(p.tokens, changed)
		return nil
	}
}

// tokenIsReadFromHandoff asks for a page of another member and does not follow
// the redirect, so that the token in it is not consumed.
func (w *world) tokenIsReadFromHandoff(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	other := w.target.Members[0]
	if other.Name == p.at.Name {
		other = w.target.Members[1]
	}
	x := p.browser.Send(ctx, farmspec.Request{URL: p.at.At(w.home(other).Path), Dest: "document", Cookies: farmspec.JarCookies})
	if w.time.plain, err = w.target.TokenIn(x.Location()); err != nil {
		return &failedControl{fmt.Sprintf("the hand-off shows no token: %v", err)}
	}
	w.keepSecret(w.time.plain.ID)
	return nil
}

func (w *world) serviceVerifies(ctx context.Context, name string) error {
	if name != "" {
		p, err := w.person(ctx, name)
		if err != nil {
			return err
		}
		if w.time.plain, err = w.plain(p.current()); err != nil {
			return err
		}
	}
	if err := w.hooks.Service.Verify(ctx, w.target.Members[0].Name, w.time.plain); err != nil {
		return &failedControl{fmt.Sprintf("the session service does not verify a good token: %v", err)}
	}
	w.checked(farmspec.Witness, "the session service verifies the token", "it does", true, nil)
	return nil
}

func (w *world) serviceRefusesFuture(ctx context.Context) error {
	t := w.time.plain
	t.Timestamp += farAhead.Milliseconds()
	return w.serviceRefuses(ctx, t, "the session service to refuse a timestamp that lies ahead")
}

// serviceRefuses expects a refusal of a token that is not good.
func (w *world) serviceRefuses(ctx context.Context, t farmspec.PlainToken, expected string) error {
	err := w.hooks.Service.Verify(ctx, w.target.Members[0].Name, t)
	if err != nil && !isRefusal(err) {
		return fmt.Errorf("verify at the session service: %w", err)
	}
	return w.expect(err != nil, nil, expected, "it verified the token: "+yesNo(err == nil))
}
