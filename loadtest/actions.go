package loadtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
)

// result is what an action came to.
type result struct {
	action  Action
	outcome string
	member  int // that answered last, or -1
	status  int
	bytes   uint64 // of the pages that answered
	page    *page  // nil where it was none
	detail  string
}

func (r *result) ended(c *click) {
	r.member, r.status = c.member, c.a.status
	r.bytes += uint64(len(c.a.body))
}

// act does what the dice want with a browser that has a session; one without
// logs in.
func (l *load) act(ctx context.Context, b *browser, a Action, d *dice) result {
	if !b.in {
		return l.logIn(ctx, b)
	}
	switch a {
	case Hop:
		if len(l.members) < 2 {
			break
		}
		to := d.below(len(l.members) - 1)
		if to >= b.at {
			to++
		}
		return l.view(ctx, b, a, l.somePage(to, d))
	case State:
		return l.state(ctx, b, d)
	case LogIn:
		return l.logIn(ctx, b)
	case LogOut:
		if l.Target.Logout.Path != "" {
			return l.logOut(ctx, b)
		}
	case Tabs:
		return l.tabs(ctx, b, l.somePage(b.at, d))
	}
	return l.view(ctx, b, a, l.somePage(b.at, d))
}

// somePage is one of a member's pages.
func (l *load) somePage(member int, d *dice) *page {
	own := l.members[member].own
	return own[d.below(len(own))]
}

// view asks the member where the session is for a page.
func (l *load) view(ctx context.Context, b *browser, a Action, p *page) result {
	r := result{action: a, page: p}
	c := l.click(ctx, &b.jar, errand{url: p.at[b.at]})
	defer l.done(c)
	r.ended(c)
	v, text := c.judge(p, l.echo(b))
	r.outcome = l.settle(b, c, v, text)
	if r.outcome == farmspec.LoadWrongRefusal || r.outcome == farmspec.LoadWrongUser || r.outcome == farmspec.LoadWrongAccept {
		l.accuse(r.outcome, "%s asked %s for a page", l.nameOf(b), l.memberName(c.sentTo))
	}
	return r
}

// settle takes over what a click did to the browser's session, records it, and
// names the outcome: whether the farm was right, as far as this browser's own
// experience tells. The history check knows more.
func (l *load) settle(b *browser, c *click, v verdict, text string) string {
	call, ret := c.began, c.ended
	presented := b.token
	away := call - b.last
	// Each new token replaced the one before it.
	for _, i := range c.issued {
		l.record(op{kind: opPresent, outcome: opAccepted, presented: b.token, issued: i.m, call: call, ret: max(i.at, call), session: b.session, member: int16(c.member)}, b)
		call, b.token, b.kept, b.last = i.at, i.m, 0, ret
	}
	if n := len(c.issued); n > 0 && c.sent.pair != "" && b.token != presented {
		b.spent[1], b.spent[0] = b.spent[0], spent{c.sent, c.sentTo, c.issued[n-1].at}
	}
	if c.lost {
		if len(c.issued) == 0 {
			l.record(op{kind: opPresent, outcome: opLostIt, presented: presented, call: call, ret: ret, session: b.session, member: int16(c.member)}, b)
		}
		b.doubt = true
		b.spent = [2]spent{} // their generations are no longer known
	}
	if c.member >= 0 && len(c.issued) > 0 {
		b.at = c.member
	}
	switch v {
	case served:
		b.last, b.at = ret, c.member
		if len(c.issued) > 0 {
			b.doubt = b.doubt && c.lost
		} else if l.rotates {
			l.record(op{kind: opPresent, outcome: opAccepted, presented: presented, call: call, ret: ret, session: b.session, member: int16(c.member)}, b)
			if b.kept++; b.kept > 1 {
				return l.count(farmspec.LoadWrongAccept)
			}
		}
		if idle := l.Target.Limits.Idle; idle > 0 && away > idle+l.margin {
			return l.count(farmspec.LoadWrongAccept)
		}
		return l.count(farmspec.LoadAccepted)
	case wrongUser:
		b.in = false
		return l.count(farmspec.LoadWrongUser)
	case noAnswer:
		if len(c.issued) == 0 {
			b.doubt = true
		}
		return text
	}
	l.record(op{kind: opPresent, outcome: opRefused, presented: presented, call: call, ret: ret, session: b.session, member: int16(c.member)}, b)
	b.in = false
	limits := l.Target.Limits
	switch {
	case limits.Idle > 0 && away > limits.Idle-l.margin,
		limits.Absolute > 0 && ret-b.began > limits.Absolute-l.margin:
		return l.count(farmspec.LoadHonest)
	case b.doubt, c.sent.pair == "", len(c.issued) > 0:
		return l.count(farmspec.LoadDoubtful)
	}
	return l.count(farmspec.LoadWrongRefusal)
}

// record keeps an operation of the browser's session; nothing where tokens do
// not rotate, for then they are accepted many times.
func (l *load) record(o op, b *browser) {
	if l.rotates && b.session != 0 && o.presented != o.issued {
		o.browser = uint32(b.n)
		l.history.add(o)
	}
}

// logIn logs in with the browser's account, in place of any session it had.
func (l *load) logIn(ctx context.Context, b *browser) result {
	r := result{action: LogIn, member: -1}
	if !b.in {
		b.jar = jar{} // a token that was refused is of no use
	}
	b.forget()
	fail := func(text string) result {
		r.outcome = text
		return r
	}
	if b.user.Name == "" {
		u, err := l.Target.Hooks.Accounts.New(ctx, "load")
		if err != nil {
			r.detail = err.Error()
			return fail("no account")
		}
		b.user = u
	}
	e, text := l.credentials(ctx, b, &r)
	if text != "" {
		return fail(text)
	}
	c := l.click(ctx, &b.jar, e)
	defer l.done(c)
	r.ended(c)
	if len(c.issued) == 0 && c.trouble == "" && c.a.status/100 < 4 {
		// The farm goes on with the session that it opened before the log-in.
		if i := b.jar.find(l.Target.Carrier.Name, l.members[b.at].origin, l.members[b.at].own[0].at[b.at], time.Now().UnixNano()); i >= 0 && !l.rotates {
			c.issued = append(c.issued, issue{l.mark(b.jar.cookies[i].value()), c.ended})
		}
	}
	switch {
	case len(c.issued) == 0 && c.trouble != "":
		return fail(c.trouble)
	case len(c.issued) == 0 && c.a.status/100 > 3:
		return fail(fmt.Sprintf("answered %d", c.a.status))
	case len(c.issued) == 0:
		return fail("no token after log-in")
	}
	b.session = l.history.newSession()
	l.record(op{kind: opLogin, outcome: opAccepted, issued: c.issued[0].m, call: c.began, ret: c.issued[0].at, session: b.session, member: int16(c.member)}, b)
	b.in, b.token, b.began = true, c.issued[0].m, c.ended
	b.last = b.began
	if c.trouble != "" {
		b.doubt = true
		return fail(c.trouble)
	}
	proven := c.a.status/100 == 2 && bytes.Contains(c.a.body, l.echo(b))
	if c.member >= 0 {
		b.at = c.member
	}
	// The page that the log-in leads to may have replaced the token again. The
	// cookie sent is of no use for a replay: it was from before the log-in.
	c.began = c.issued[0].at
	c.issued, c.sent = c.issued[1:], cookie{}
	b.doubt = c.lost
	if len(c.issued) > 0 {
		r.outcome = l.settle(b, c, served, "")
	} else {
		r.outcome = l.count(farmspec.LoadAccepted)
	}
	if !proven {
		l.proveLogIn(ctx, b, &r)
	}
	return r
}

// credentials asks for the log-in page and returns what sends name and
// password by the target's recipe; else the text says what is wrong.
func (l *load) credentials(ctx context.Context, b *browser, r *result) (errand, string) {
	m, login := &l.members[b.at], l.Target.Login
	values := map[string]string{login.UserField: b.user.Name, login.PassField: b.user.Password}
	if login.Kind == farmspec.BasicLogin {
		name := base64.StdEncoding.EncodeToString([]byte(b.user.Name + ":" + b.user.Password))
		return errand{url: m.login, login: true, submission: submission{authorization: "Basic " + name}}, ""
	}
	for again := false; ; again = true {
		first := l.click(ctx, &b.jar, errand{url: m.login, login: true})
		defer l.done(first)
		r.ended(first)
		if first.trouble != "" {
			return errand{}, first.trouble
		}
		if login.Kind == farmspec.JSONLogin && first.a.status < 500 { // its path may have no page
			body, err := json.Marshal(values)
			if err != nil {
				return errand{}, "no account"
			}
			return errand{url: m.login, login: true, submission: submission{body: string(body), from: first.final, policy: first.a.policy, script: true}}, ""
		}
		if first.a.status/100 == 2 {
			if e, err := first.form("", values); err == nil {
				e.login = true
				return e, ""
			}
		}
		switch {
		case !again && len(b.jar.cookies) > 0:
			b.jar = jar{} // no log-in is shown to whoever is logged in
		case first.a.status/100 != 2:
			return errand{}, fmt.Sprintf("answered %d", first.a.status)
		default:
			return errand{}, "no log-in form"
		}
	}
}

// proveLogIn looks at a page after a log-in whose answer did not show the
// user: a token may be that of somebody who was not let in.
func (l *load) proveLogIn(ctx context.Context, b *browser, r *result) {
	p := l.members[b.at].own[0]
	c := l.click(ctx, &b.jar, errand{url: p.at[b.at]})
	defer l.done(c)
	r.ended(c)
	if v, text := c.judge(p, l.echo(b)); v == served || v == noAnswer {
		r.outcome = l.settle(b, c, v, text)
		return
	}
	b.in = false
	r.outcome = "not let in after log-in"
}

func (r result) as(outcome string) result {
	r.outcome = outcome
	return r
}

// logOut logs out, and then presents the closed session's token once more.
func (l *load) logOut(ctx context.Context, b *browser) result {
	r := result{action: LogOut, member: -1}
	e, done := l.askLogOut(ctx, b, &r)
	if done {
		return r
	}
	last := spent{at: b.at}
	if i := b.jar.find(l.Target.Carrier.Name, originOf(e.url), e.url, time.Now().UnixNano()); i >= 0 {
		last.c = b.jar.cookies[i]
	}
	c := l.click(ctx, &b.jar, e)
	defer l.done(c)
	r.ended(c)
	o := op{kind: opClose, outcome: opAccepted, presented: b.token, call: c.began, ret: c.ended, session: b.session, member: int16(c.member)}
	b.in = false
	if c.trouble != "" || c.lost || c.a.status >= 400 {
		o.outcome = opLostIt
		l.record(o, b)
		if c.trouble != "" {
			return r.as(c.trouble)
		}
		return r.as(fmt.Sprintf("answered %d", c.a.status))
	}
	doubt := b.doubt || last.c.pair == ""
	l.record(o, b)
	if !doubt {
		l.replay(ctx, b, last, "closed")
	}
	return r.as(l.count(farmspec.LoadAccepted))
}

// askLogOut returns what asks for the log-out by the target's recipe. Where the
// page with the form was not served it is done: r has the outcome.
func (l *load) askLogOut(ctx context.Context, b *browser, r *result) (e errand, done bool) {
	recipe, at := l.Target.Logout, l.members[b.at].logout
	if recipe.Kind == farmspec.GetLogout {
		return errand{url: at}, false
	}
	p := &page{}
	if from := l.members[b.at].own[0]; recipe.Kind == farmspec.PostLogout {
		p = from // the page with the button
		at = from.at[b.at]
	}
	first := l.click(ctx, &b.jar, errand{url: at})
	defer l.done(first)
	r.ended(first)
	v, text := first.judge(p, nil)
	if first.trouble != "" || first.toLogin || len(first.issued) > 0 || v != served {
		outcome := l.settle(b, first, v, text)
		if v != served {
			r.outcome = outcome
			return e, true
		}
	}
	if recipe.Kind == farmspec.PostLogout {
		return first.submit(l.members[b.at].logout, ""), false
	}
	e, err := first.form(recipe.Form, nil)
	if err != nil {
		b.in = false
		r.outcome = "no log-out form"
		return e, true
	}
	return e, false
}

// maxWrites is after how many values a browser begins with an empty
// application, in a new session.
const maxWrites = 100

// state opens an application's page, which must show the value written last,
// and writes another, which the answer must show.
func (l *load) state(ctx context.Context, b *browser, d *dice) result {
	if len(l.apps) == 0 {
		return l.view(ctx, b, State, l.somePage(b.at, d))
	}
	if b.writes >= maxWrites {
		return l.logIn(ctx, b)
	}
	n := d.below(len(l.apps))
	app := &l.apps[n]
	if b.values == nil {
		b.values = make([]string, len(l.apps))
	}
	r := result{action: State, page: &app.page}
	c := l.click(ctx, &b.jar, errand{url: app.page.at[b.at]})
	defer l.done(c)
	r.ended(c)
	v, text := c.judge(&app.page, l.echo(b))
	known := b.values[n]
	ended := app.idle > 0 && c.began-b.began > app.idle-l.margin // nothing is promised of values that old
	r.outcome = l.settle(b, c, v, text)
	if r.outcome != farmspec.LoadAccepted {
		return r
	}
	if known != "" && !ended && !bytes.Contains(c.a.body, []byte(known)) {
		l.accuse(farmspec.LoadWrongState, "%s did not find in %s what it had written", l.nameOf(b), app.name)
		return r.as(l.count(farmspec.LoadWrongState))
	}
	value := fmt.Sprintf("v%dx%dx", b.n, l.values.Add(1))
	e, err := c.form("", map[string]string{app.field: value})
	if err != nil {
		return r.as("no form in " + app.name)
	}
	w := l.click(ctx, &b.jar, e)
	defer l.done(w)
	r.ended(w)
	v, text = w.judge(&app.page, l.echo(b))
	b.values[n] = "" // until it is confirmed
	r.outcome = l.settle(b, w, v, text)
	if r.outcome != farmspec.LoadAccepted {
		return r
	}
	if !bytes.Contains(w.a.body, []byte(value)) {
		return r.as("value not taken")
	}
	b.values[n] = value
	b.writes++
	return r
}

// openTabs is how many tabs Tabs opens.
const openTabs = 3

// tabs opens a page in several tabs at once, all with the same token. Where
// only one may win, the others are refused, honestly.
func (l *load) tabs(ctx context.Context, b *browser, p *page) result {
	r := result{action: Tabs, page: p}
	call := l.since()
	type tab struct {
		jar jar
		c   *click
		ret time.Duration
	}
	all := make([]tab, openTabs)
	last := -1 // the tab whose token came last
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			t := &all[i]
			t.jar = b.jar.clone()
			t.c = l.click(ctx, &t.jar, errand{url: p.at[b.at]})
			mu.Lock()
			defer mu.Unlock()
			t.ret = l.since()
			if len(t.c.issued) > 0 {
				last = i
			}
		})
	}
	wg.Wait()
	if last >= 0 {
		b.jar = all[last].jar
	}
	presented, member := b.token, b.at
	var successor mark
	var won, lost, said, wrong int
	firstWin := time.Duration(-1)
	for _, t := range all {
		if v, _ := t.c.judge(p, l.echo(b)); v == served && (firstWin < 0 || t.ret < firstWin) {
			firstWin = t.ret
		}
	}
	for i := range all {
		t := &all[i]
		r.ended(t.c)
		o := op{kind: opPresent, presented: presented, call: call, ret: t.ret, session: b.session, member: int16(t.c.member)}
		v, text := t.c.judge(p, l.echo(b))
		if len(t.c.issued) > 0 {
			o.issued = t.c.issued[len(t.c.issued)-1].m
			if l.Target.Rotation == farmspec.Coalesce {
				// Sealed twice, one successor looks like two.
				if successor == 0 {
					successor = o.issued
				}
				o.issued = successor
			}
		}
		switch {
		case t.c.lost || v == noAnswer:
			lost++
			o.outcome = opLostIt
			r.detail = text
			if t.c.trouble == "" {
				continue
			}
		case v == served:
			won++
			if b.at, b.last = t.c.member, l.since(); o.issued != 0 {
				b.token = o.issued
			}
			if won > 1 && l.rotates && l.Target.Rotation != farmspec.Coalesce {
				wrong++
				l.count(farmspec.LoadWrongAccept)
			} else {
				l.count(farmspec.LoadAccepted)
			}
		case v == wrongUser:
			wrong++
			l.count(farmspec.LoadWrongUser)
		default:
			said++
			o.outcome = opRefused
			late := firstWin >= 0 && t.ret-firstWin > l.Target.Grace-l.margin
			if l.Target.Rotation == farmspec.Coalesce && !late || !l.rotates {
				wrong++
				l.count(farmspec.LoadWrongRefusal)
			} else {
				l.count(farmspec.LoadHonest)
			}
		}
		l.record(o, b)
	}
	for i := range all {
		l.done(all[i].c)
	}
	b.spent, b.kept = [2]spent{}, 0
	switch {
	case wrong > 0:
		b.in = false
		l.accuse("several tabs", "%s opened %d tabs at %s: %d served, %d refused", l.nameOf(b), openTabs, l.memberName(member), won, said)
		r.outcome = farmspec.LoadWrongAccept
		if won <= 1 {
			r.outcome = farmspec.LoadWrongRefusal
		}
	case won == 0 && lost == 0 && b.doubt:
		b.in = false
		r.outcome = l.count(farmspec.LoadDoubtful)
	case won == 0 && lost == 0:
		// Somebody has to win with a fresh token.
		b.in = false
		l.accuse(farmspec.LoadWrongRefusal, "%s opened %d tabs at %s and none was served", l.nameOf(b), openTabs, l.memberName(member))
		r.outcome = l.count(farmspec.LoadWrongRefusal)
	case lost > 0:
		b.doubt = true
		r.outcome = r.detail
		if r.outcome == "" {
			r.outcome = "connection lost"
		}
	default:
		b.doubt = false
		r.outcome = farmspec.LoadAccepted
	}
	if said > 0 && l.Target.Replay == farmspec.RevokeFamily {
		b.in = false // the losers have ended the session
	}
	return r
}

// replay presents a token that must be refused, as a thief would: with the
// browser's other cookies and in its own tab. It reports whether the farm
// judged it.
func (l *load) replay(ctx context.Context, b *browser, s spent, what string) bool {
	if s.c.pair == "" || s.at < 0 {
		return false
	}
	ghost := b.jar.clone()
	ghost.drop(l.Target.Carrier.Name)
	ghost.cookies = append(ghost.cookies, s.c)
	d := newDice(l.Seed, uint64(b.session)<<32|uint64(b.last))
	at := s.at
	if !s.c.scope.hostOnly { // it is good everywhere, so it must be refused everywhere
		at = d.below(len(l.members))
	}
	p := l.somePage(at, &d)
	c := l.click(ctx, &ghost, errand{url: p.at[at]})
	defer l.done(c)
	v, _ := c.judge(p, l.echo(b))
	o := op{kind: opPresent, outcome: opRefused, presented: l.mark(s.c.value()), call: c.began, ret: c.ended, session: b.session, member: int16(c.member)}
	switch v {
	case noAnswer:
		return false
	case served, wrongUser:
		o.outcome = opAccepted
		if len(c.issued) > 0 {
			o.issued = c.issued[len(c.issued)-1].m
		}
		l.count(farmspec.LoadWrongAccept)
		l.accuse(farmspec.LoadWrongAccept, "%s accepted a %s token of %s, %v after its time", l.memberName(c.member), what, l.nameOf(b), (c.began - s.when).Round(time.Microsecond))
		b.in = false // its session has been taken over
	default:
		l.probesRefused.Add(1)
	}
	l.probes.Add(1)
	l.record(o, b)
	return true
}

// stale returns a token of the browser's that must be refused by now; false
// where there is none.
func (l *load) stale(b *browser) (spent, bool) {
	if !b.in || b.doubt || !l.rotates {
		return spent{}, false
	}
	s := b.spent[0]
	if l.Target.Rotation == farmspec.Coalesce {
		// The predecessor is good for a while yet; the one before it is not.
		s = b.spent[1]
	}
	return s, s.c.pair != ""
}
