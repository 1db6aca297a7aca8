package features

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// The steps of verification: what is brought straight to the second server,
// what is put to the session service, and what is changed in the database.

type verifyScene struct {
	// token is the plain token a step is about.
	token farmspec.PlainToken
	// answers are the service's, by what was put to it.
	answers []serviceAnswer
	// refs are the sessions somebody had begun before.
	refs []string
}

type serviceAnswer struct {
	what     string
	verified bool
}

func (w *world) registerVerify(s stepper) {
	s.step(`(\w+) goes straight to the `+kindPattern+` on server (\d+) with (.+)`, w.goesStraight)
	s.step(`(\w+) opens (\w+)'s hand-off`, w.opensHandoff)
	s.step(`what (\w+) has shows nothing of (\w+)`, w.hasNothingOf)
	s.step(`the sessions that (\w+) began are noted`, w.noteSessions)
	s.step(`(\w+)'s session is none of those`, w.sessionIsNew)

	s.step(`the hand-off has a session ID and a timestamp`, w.handoffHasTwoParts)
	s.step(`(\w+)'s token is opened with the farm's key`, w.tokenIsOpened)
	s.step(`it has a session ID and a timestamp`, w.tokenHasTwoParts)
	s.step(`the token of the hand-off is put to the session service, whole and with each part altered`, w.handoffPutToService)
	s.step(`it is put to the session service, whole and with each part altered`, w.putToService)
	s.step(`it is verified whole and refused with any part altered`, w.verifiedWholeOnly)

	s.step(`inside the farm (server \d+|the service) did "([\w-]+)" before server (\d+) answered`, w.partDidBeforeServerAnswered)
	s.step(`(\w+) has visited a page on every server`, w.hasVisitedEvery)
	s.step(`the stored (timestamp|session ID) of (\w+)'s token is changed`, w.storedTokenIsChanged)
	s.step(`the stored session of (\w+) is removed`, w.storedSessionIsRemoved)
}

// handoffOf is the hand-off at which somebody stopped.
func (w *world) handoffOf(name string) ([]param, error) {
	to, _, err := w.stopped(name)
	if err != nil {
		return nil, err
	}
	h := w.handoffIn(to)
	if len(h) == 0 {
		return nil, &failedControl{"the redirect carries no hand-off, so there is none to bring"}
	}
	return h, nil
}

// brought turns the words of a step into hand-offs, each the parameters of one
// attempt; none at all is an attempt without.
func (w *world) brought(what string) (all [][]param, err error) {
	h := w.target.HandoffParams
	switch what {
	case "no token":
		return [][]param{nil}, nil
	case "an empty hand-off":
		for _, name := range []string{h.ID, h.Timestamp, h.Sealed} {
			if name != "" {
				all = append(all, []param{{name, ""}})
			}
		}
		return all, nil
	case "a hand-off never issued":
		t := w.neverIssued()
		w.keepSecret(t.ID)
		return [][]param{{{h.ID, t.ID}, {h.Timestamp, strconv.FormatInt(t.Timestamp, 10)}}}, nil
	}
	name, rest, ok := strings.Cut(what, "'s ")
	i := strings.LastIndex(name, " ") // "another session ID and Ada's timestamp"
	before, owner := name[:i+1], name[i+1:]
	if what == "a random hand-off" {
		for n := range w.handoff.redirects {
			owner = n
		}
		rest, ok = what, true
	}
	if !ok {
		return nil, fmt.Errorf("bring %q: no such thing", what)
	}
	if rest == "session ID and Ada's timestamp" {
		owner, rest = "Ada", "timestamp and "+owner+"'s session ID"
	}
	good, err := w.handoffOf(owner)
	if err != nil {
		return nil, err
	}
	// each makes one attempt of a change to one of the parameters.
	each := func(change func(p param) []string) {
		for i, p := range good {
			for _, v := range change(p) {
				w.keepSecret(v)
				altered := slices.Clone(good)
				altered[i].value = v
				all = append(all, altered)
			}
		}
	}
	only := func(name string, values ...string) {
		each(func(p param) []string {
			if p.name == name {
				return values
			}
			return nil
		})
	}
	t, _ := w.target.TokenIn(withParams("http://farm/", good))
	switch {
	case rest == "hand-off":
		all = [][]param{good}
	case rest == "a random hand-off":
		random := slices.Clone(good)
		for i := range random {
			random[i].value = w.like(random[i].value)
			w.keepSecret(random[i].value)
		}
		all = [][]param{random}
	case rest == "hand-off changed":
		each(func(p param) []string { return alterations(p.value, 8) })
	case rest == "hand-off cut short":
		each(func(p param) []string { return []string{p.value[:len(p.value)-1], p.value[:len(p.value)/2]} })
	case rest == "hand-off lengthened":
		each(func(p param) []string { return []string{p.value + "0", p.value + p.value} })
	case rest == "token as the hand-off":
		p := w.people[owner]
		if p == nil || len(p.tokens) == 0 {
			return nil, &failedControl{owner + " carries no token"}
		}
		only(h.Sealed, p.current().value)
	case before == "another session ID and " && rest == "timestamp":
		only(h.ID, w.neverIssued().ID)
	case strings.HasPrefix(rest, "timestamp and "):
		other, err := w.handoffOf(strings.TrimSuffix(strings.TrimPrefix(rest, "timestamp and "), "'s session ID"))
		if err != nil {
			return nil, err
		}
		// Issued in one millisecond, both have one timestamp, and the mixture
		// would be the other's own good token.
		if u, _ := w.target.TokenIn(withParams("http://farm/", other)); u.Timestamp == t.Timestamp {
			good = slices.Clone(good)
			for i := range good {
				if good[i].name == h.Timestamp {
					good[i].value = strconv.FormatInt(t.Timestamp+1, 10)
				}
			}
		}
		for _, p := range other {
			if p.name == h.ID {
				only(h.ID, p.value)
			}
		}
	case rest == "session ID changed at its end":
		only(h.ID, altered(t.ID, len(t.ID)-1))
	case rest == "session ID changed at its beginning":
		only(h.ID, altered(t.ID, 0))
	case rest == "session ID cut short":
		only(h.ID, t.ID[:len(t.ID)-1], t.ID[:len(t.ID)/2], t.ID[:4])
	case rest == "timestamp one millisecond earlier":
		only(h.Timestamp, strconv.FormatInt(t.Timestamp-1, 10))
	case rest == "timestamp one millisecond later":
		only(h.Timestamp, strconv.FormatInt(t.Timestamp+1, 10))
	case rest == "timestamp one second earlier":
		only(h.Timestamp, strconv.FormatInt(t.Timestamp-1000, 10))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("bring %q: no such thing", what)
	}
	return all, nil
}

// goesStraight asks a page's holder for it, with browsers that have nothing
// but the hand-off.
func (w *world) goesStraight(ctx context.Context, who, kind string, server int, what string) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	page, err := w.pageOn(kind, server)
	if err != nil {
		return err
	}
	all, err := w.brought(what)
	if err != nil {
		return err
	}
	owner, err := w.ownerOf(ctx, "", false)
	if err != nil {
		return err
	}
	for _, h := range all {
		fingerprint := handed(page)
		if len(h) == 0 {
			fingerprint, err = asked(m, page), w.witness(ctx, m, page)
		} else {
			err = w.witnessHandoff(ctx, page)
		}
		if err != nil {
			return err
		}
		b := w.newBrowser(who)
		w.handoff.tries = append(w.handoff.tries, w.open(ctx, b, owner, withParams(m.At(page.Path), h), page, fingerprint))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// opensHandoff lets a person open another's hand-off in her own browser, as by
// a link she was sent.
func (w *world) opensHandoff(ctx context.Context, name, whose string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	to, page, err := w.stopped(whose)
	if err != nil {
		return err
	}
	if err := w.witnessHandoff(ctx, page); err != nil {
		return err
	}
	a := w.open(ctx, p.browser, p, to, page, handed(page))
	p.last, w.acts.attempt = a, a
	return ctx.Err()
}

func (w *world) hasNothingOf(ctx context.Context, name, victim string) error {
	p, v, err := w.both(ctx, name, victim)
	if err != nil {
		return err
	}
	to, page, err := w.stopped(name)
	if err != nil {
		return err
	}
	var seen []*attempt
	for _, m := range w.target.Members {
		seen = append(seen, w.open(ctx, p.browser, p, m.At(w.home(m).Path), w.home(m), "own"))
		for _, t := range p.tokens {
			b := w.newBrowser(name)
			w.give(b, t, m)
			seen = append(seen, w.open(ctx, b, p, m.At(w.home(m).Path), w.home(m), "own"))
		}
	}
	seen = append(seen, w.open(ctx, w.newBrowser(name), p, to, page, "own"))
	for _, a := range seen {
		if strings.Contains(string(a.final().Body), w.target.Echo(v.user.Name)) {
			return w.expect(false, a.final(), "nothing of "+victim, "a page of hers")
		}
	}
	return w.expect(true, seen[len(seen)-1].final(), "nothing of "+victim, fmt.Sprintf("%d attempts showed nothing", len(seen)))
}

// noteSessions remembers the sessions a person has begun, as the administrator sees them.
func (w *world) noteSessions(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	all, err := w.hooks.Admin.Sessions(ctx, p.user.Name)
	if err != nil {
		return fmt.Errorf("list the sessions of %s: %w", name, err)
	}
	for _, s := range all {
		w.verify.refs = append(w.verify.refs, s.Ref)
	}
	if len(all) == 0 {
		return &failedControl{"the administrator sees no session of " + name}
	}
	return nil
}

func (w *world) sessionIsNew(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	all, err := w.hooks.Admin.Sessions(ctx, p.user.Name)
	if err != nil {
		return fmt.Errorf("list the sessions of %s: %w", name, err)
	}
	open, old := 0, 0
	for _, s := range all {
		if s.Open {
			open++
		}
		if slices.Contains(w.verify.refs, s.Ref) {
			old++
		}
	}
	return w.expect(open > 0 && old == 0, nil, "an open session of "+name+" that nobody else began", fmt.Sprintf("%d open, %d begun by somebody else", open, old))
}

// twoParts says what a token lacks; "" for nothing. The session ID has at
// least 64 bits (NIST SP 800-63B-4, 5.1), the timestamp lies within the idle
// time-out of now.
func (w *world) twoParts(t farmspec.PlainToken) string {
	switch {
	case strings.Trim(t.ID, "0123456789abcdef") != "" || len(t.ID) < 16:
		return "no session ID"
	case w.now().Sub(time.UnixMilli(t.Timestamp)).Abs() > w.target.Limits.Idle:
		return "no timestamp"
	}
	return ""
}

func (w *world) handoffHasTwoParts() error {
	for _, x := range w.acts.attempt.exchanges() {
		if to := x.Location(); to != "" {
			t, err := w.target.TokenIn(to)
			lacks := ""
			if err != nil {
				lacks = "no pair of the two"
			} else {
				w.keepSecret(t.ID)
				lacks = w.twoParts(t)
			}
			return w.hasTwoParts(lacks, x)
		}
	}
	return w.hasTwoParts("no redirect to show them", w.acts.attempt.final())
}

func (w *world) hasTwoParts(lacks string, x *farmspec.Exchange) error {
	actual := "both"
	if lacks != "" {
		actual = lacks
	}
	return w.expect(lacks == "", x, "a session ID and a timestamp", actual)
}

func (w *world) tokenIsOpened(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	w.verify.token, err = w.plain(p.current())
	return err
}

func (w *world) tokenHasTwoParts() error {
	return w.hasTwoParts(w.twoParts(w.verify.token), nil)
}

func (w *world) handoffPutToService(ctx context.Context) error {
	to := w.acts.attempt.final().Location()
	t, err := w.target.TokenIn(to)
	if err != nil {
		return &failedControl{"the hand-off shows no token: " + err.Error()}
	}
	w.verify.token = t
	return w.putToService(ctx)
}

// putToService asks the service to verify the token, and the token with one
// part changed; whole at the beginning and again at the end.
func (w *world) putToService(ctx context.Context) error {
	t := w.verify.token
	w.keepSecret(t.ID)
	tries := []struct {
		what string
		t    farmspec.PlainToken
	}{
		{"whole", t},
		{"session ID changed at its end", farmspec.PlainToken{ID: altered(t.ID, len(t.ID)-1), Timestamp: t.Timestamp}},
		{"session ID changed at its beginning", farmspec.PlainToken{ID: altered(t.ID, 0), Timestamp: t.Timestamp}},
		{"another session ID", farmspec.PlainToken{ID: w.neverIssued().ID, Timestamp: t.Timestamp}},
		{"timestamp one earlier", farmspec.PlainToken{ID: t.ID, Timestamp: t.Timestamp - 1}},
		{"timestamp one later", farmspec.PlainToken{ID: t.ID, Timestamp: t.Timestamp + 1}},
		{"whole", t},
	}
	for _, try := range tries {
		w.keepSecret(try.t.ID)
		err := w.hooks.Service.Verify(ctx, w.target.Members[0].Name, try.t)
		if err != nil && !errors.Is(err, farmspec.ErrRefused) {
			return fmt.Errorf("ask the session service to verify: %w", err)
		}
		w.verify.answers = append(w.verify.answers, serviceAnswer{try.what, err == nil})
	}
	return nil
}

func (w *world) verifiedWholeOnly() error {
	for _, a := range w.verify.answers {
		if a.what == "whole" && !a.verified {
			return &failedControl{"the session service does not verify the token itself, so its refusals prove nothing"}
		}
		if a.what != "whole" && a.verified {
			return w.expect(false, nil, "a refusal by the session service", "verified with "+a.what)
		}
	}
	return w.expect(true, nil, "the whole token verified and every altered one refused", fmt.Sprintf("%d answers, as expected", len(w.verify.answers)))
}

func (w *world) partDidBeforeServerAnswered(ctx context.Context, words, op string, server int) error {
	part, err := w.part(words)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	msgs, err := w.inside(ctx)
	if err != nil {
		return err
	}
	i, j := did(msgs, part, op), did(msgs, m.Name, farmspec.OpRespond)
	return w.expect(i >= 0 && j > i, w.acts.attempt.final(), fmt.Sprintf("%s did %q before %s answered", words, op, m.Name),
		fmt.Sprintf("done: %s; before: %s", yesNo(i >= 0), yesNo(i >= 0 && j > i)))
}

func (w *world) hasVisitedEvery(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	for _, m := range w.target.Members {
		// Twice each: what a server remembers of a session it then has.
		for range 2 {
			if err := w.needServed(w.hop(ctx, p, w.home(m))); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowOf is the stored open session of a person.
func (w *world) rowOf(ctx context.Context, name string) (farmspec.Row, error) {
	p, err := w.person(ctx, name)
	if err != nil {
		return farmspec.Row{}, err
	}
	if err := w.databaseIsRead(ctx); err != nil {
		return farmspec.Row{}, err
	}
	open := w.openRows(p)
	if len(open) != 1 {
		return farmspec.Row{}, &failedControl{fmt.Sprintf("the database holds %d open sessions of %s", len(open), name)}
	}
	return open[0], nil
}

func (w *world) storedTokenIsChanged(ctx context.Context, part, name string) error {
	r, err := w.rowOf(ctx, name)
	if err != nil {
		return err
	}
	if part == "timestamp" {
		r.Token.Timestamp--
	} else {
		r.Token.ID = altered(r.Token.ID, len(r.Token.ID)-1)
	}
	w.keepSecret(r.Token.ID)
	if err := w.hooks.Database.SetToken(ctx, r.Ref, r.Token); err != nil {
		return fmt.Errorf("change the stored token: %w", err)
	}
	return nil
}

func (w *world) storedSessionIsRemoved(ctx context.Context, name string) error {
	r, err := w.rowOf(ctx, name)
	if err != nil {
		return err
	}
	if err := w.hooks.Database.Remove(ctx, r.Ref); err != nil {
		return fmt.Errorf("remove the stored session: %w", err)
	}
	return nil
}
