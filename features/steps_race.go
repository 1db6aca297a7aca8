package features

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/model"
)

// The steps of races: presenters released together, their answers recorded as
// a history and checked at token level against the model.

type raceScene struct {
	owner      *person
	presenters []*presenter
	trace      string
	held       farmspec.Held
	granted    []farmspec.PlainToken
	calls      int
}

// presenter is one browser of a race.
type presenter struct {
	browser *farmspec.Browser
	member  farmspec.Member
	page    farmspec.Page
	attempt *attempt
	got     carried
	// ready is when its connection stood and only the others were waited for;
	// call is when its request left.
	ready, call, answer time.Duration
}

func (w *world) registerRace(s stepper) {
	s.step(`(\d+) browsers present (\w+)'s current token at once, over all servers`, w.presentAtOnce)
	s.step(`requests that present (\w+)'s token are held between verification and replacement`, w.holdBetween)
	s.step(`(\d+) browsers present (\w+)'s current token and all are held`, w.presentHeld)
	s.step(`no more than one of them is served`, w.atMostOneServed)
	s.step(`all of them are served`, w.allServed)
	s.step(`all of them got the same token`, w.allGotTheSame)
	s.step(`the history is that of a correct farm`, w.historyIsCorrect)
	s.step(`(\d+) calls renew (\w+)'s current token at the session service at once`, w.renewAtOnce)
	s.step(`exactly one of the calls is granted`, w.oneCallGranted)
	s.step(`the token it returned works`, w.grantedTokenWorks)
	s.step(`the tokens they got lead to no more than one living session`, w.oneLivingSession)
}

// line up makes n browsers that each hold the owner's current token, spread
// over the members. The bystander goes each way first: the witness.
func (w *world) lineUp(ctx context.Context, name string, n int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	t, err := p.token("current")
	if err != nil {
		return err
	}
	w.race.owner = p
	if w.race.trace == "" {
		w.race.trace = farmspec.NewTrace()
	}
	for i := range n {
		m := w.target.Members[i%len(w.target.Members)]
		pr := &presenter{
			browser: w.tracedBrowser(fmt.Sprintf("presenter %d", i+1), w.race.trace),
			member:  m, page: w.home(m),
		}
		if err := w.witness(ctx, m, pr.page); err != nil {
			return err
		}
		w.give(pr.browser, t, m)
		w.race.presenters = append(w.race.presenters, pr)
	}
	return nil
}

// meeting is how long presenters wait for each other at the barrier.
const meeting = 2 * time.Second

// release lets all presenters go at one barrier and waits for them: each has
// its connection and sends nothing before the last one has. Between the
// barrier and the answers it calls meanwhile, if given, with what is closed when
// the last of them has sent its request.
func (w *world) release(ctx context.Context, meanwhile func(sent <-chan struct{}) error) error {
	var wg sync.WaitGroup
	start := make(chan struct{})
	sent := make(chan struct{})
	var absent, unsent atomic.Int64
	absent.Store(int64(len(w.race.presenters)))
	unsent.Store(int64(len(w.race.presenters)))
	late := time.AfterFunc(meeting, func() {
		if absent.Swap(-1) > 0 { // whoever is missing finds the barrier open
			close(start)
		}
	})
	defer late.Stop()
	for _, pr := range w.race.presenters {
		var once sync.Once // not again at its redirects
		arrive := func(httptrace.GotConnInfo) {
			once.Do(func() {
				pr.ready = time.Since(w.began)
				if absent.Add(-1) == 0 {
					close(start)
				}
				<-start
				pr.call = time.Since(w.began)
			})
		}
		wrote := sync.OnceFunc(func() {
			if unsent.Add(-1) == 0 {
				close(sent)
			}
		})
		wg.Go(func() {
			defer wrote() // where it never came to that
			ctx := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
				GotConn: arrive, WroteRequest: func(httptrace.WroteRequestInfo) { wrote() },
			})
			pr.attempt = w.open(ctx, pr.browser, w.race.owner, pr.member.At(pr.page.Path), pr.page, "race")
			pr.answer = time.Since(w.began)
			once.Do(func() { // it got no connection
				pr.ready, pr.call = pr.answer, pr.answer
				if absent.Add(-1) == 0 {
					close(start)
				}
			})
			pr.got, _ = w.tokenAt(pr.browser, pr.member)
		})
	}
	var err error
	if meanwhile != nil {
		err = meanwhile(sent)
	}
	wg.Wait()
	for _, pr := range w.race.presenters {
		if pr.attempt.outcome == farmspec.Accepted && pr.got.value != "" {
			w.race.owner.tokens = append(w.race.owner.tokens, pr.got)
			w.race.owner.at = pr.member
		}
	}
	return errors.Join(err, ctx.Err())
}

func (w *world) presentAtOnce(ctx context.Context, n int, name string) error {
	if err := w.lineUp(ctx, name, n); err != nil {
		return err
	}
	if err := w.release(ctx, nil); err != nil {
		return err
	}
	if !w.overlapped() {
		return &failedControl{"no two presenters overlapped in time, so nothing was raced"}
	}
	return nil
}

// overlapped reports whether any two presenters were under way together: both
// had come to the barrier before either had its answer.
func (w *world) overlapped() bool {
	for i, a := range w.race.presenters {
		for _, b := range w.race.presenters[:i] {
			if a.ready < b.answer && b.ready < a.answer {
				return true
			}
		}
	}
	return false
}

func (w *world) holdBetween(ctx context.Context, _ string) error {
	w.race.trace = farmspec.NewTrace()
	held, err := w.hooks.Holds.Hold(ctx, w.race.trace, farmspec.BetweenVerify)
	if err != nil {
		return fmt.Errorf("hold requests: %w", err)
	}
	w.race.held = held
	w.onEnd = append(w.onEnd, held.Release)
	return nil
}

func (w *world) presentHeld(ctx context.Context, n int, name string) error {
	if err := w.lineUp(ctx, name, n); err != nil {
		return err
	}
	return w.release(ctx, func(<-chan struct{}) error {
		defer w.race.held.Release()
		ctx, cancel := context.WithTimeout(ctx, inTime)
		defer cancel()
		if err := w.race.held.Wait(ctx, 2); err != nil {
			return &failedControl{"fewer than two presenters reached the place between verification and replacement together"}
		}
		return nil
	})
}

func (w *world) served() (served []*presenter) {
	for _, pr := range w.race.presenters {
		if pr.attempt.outcome == farmspec.Accepted {
			served = append(served, pr)
		}
	}
	return served
}

func (w *world) atMostOneServed() error {
	n := len(w.served())
	var x *farmspec.Exchange
	if n > 0 {
		x = w.served()[n-1].attempt.final()
	}
	w.mu.Lock()
	w.refusals += len(w.race.presenters) - n
	w.mu.Unlock()
	return w.expect(n <= 1, x, "no more than one presenter is served", fmt.Sprintf("%d of %d are", n, len(w.race.presenters)))
}

// allServed is for presenters within the grace, which begins when the first of
// them is served.
func (w *world) allServed() error {
	first := slices.MinFunc(w.race.presenters, func(a, b *presenter) int { return int(a.call - b.call) })
	for _, pr := range w.race.presenters {
		pr.attempt.until = w.began.Add(first.call + w.target.Grace)
		if err := w.mustServe(pr.attempt); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) allGotTheSame() error {
	first, err := w.plain(w.race.presenters[0].got)
	if err != nil {
		return err
	}
	for i, pr := range w.race.presenters[1:] {
		t, err := w.plain(pr.got)
		if err != nil {
			return err
		}
		if t != first {
			return w.expect(false, pr.attempt.final(), "one successor for all presenters", fmt.Sprintf("presenter %d got another", i+2))
		}
	}
	return w.expect(true, nil, "one successor for all presenters", fmt.Sprintf("%d presenters got the same", len(w.race.presenters)))
}

// historyIsCorrect checks the race at token level (invariants I1 and I2).
func (w *world) historyIsCorrect() error {
	name := func(t carried) string {
		if w.hooks.Keys != nil && t.value != "" {
			if p, err := w.hooks.Keys.Open(t.value); err == nil {
				w.keepSecret(p.ID)
				return p.String()
			}
		}
		return t.value
	}
	owner := w.race.owner
	presented := owner.tokens[len(owner.tokens)-1-len(w.served())]
	ops := []model.Op{{Client: owner.name, Member: owner.at.Name, Kind: model.Login, Session: owner.user.Name, Issued: name(presented), Outcome: model.Accepted}}
	for _, pr := range w.race.presenters {
		op := model.Op{
			Client: pr.browser.Name(), Member: pr.member.Name, Kind: model.Present, Session: owner.user.Name,
			Presented: name(presented), Call: pr.call, Return: pr.answer,
		}
		switch pr.attempt.outcome {
		case farmspec.Accepted:
			op.Outcome, op.Issued = model.Accepted, name(pr.got)
		case farmspec.NoAnswer:
			op.Outcome = model.Lost
		default:
			op.Outcome = model.Refused
		}
		ops = append(ops, op)
	}
	ops[0].Return = slices.MinFunc(ops[1:], func(a, b model.Op) int { return int(a.Call - b.Call) }).Call - 1
	ops[0].Call = ops[0].Return - 1
	var texts []string
	for _, v := range model.Check(ops, model.Rules{Coalesce: w.target.Rotation == farmspec.Coalesce, Grace: w.target.Grace}) {
		if v.Invariant == "undecided" {
			return &failedControl{"the history is too entangled to decide: " + v.Text}
		}
		texts = append(texts, v.Invariant+": "+v.Text)
	}
	if len(texts) == 0 {
		return w.expect(true, nil, "a history that a correct farm could have made", fmt.Sprintf("%d operations, no violation", len(ops)))
	}
	return w.expect(false, nil, "a history that a correct farm could have made", strings.Join(texts, "; "))
}

func (w *world) renewAtOnce(ctx context.Context, n int, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	t, err := w.plain(p.current())
	if err != nil {
		return err
	}
	w.race.owner, w.race.calls = p, n
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	start := make(chan struct{})
	for i := range n {
		member := w.target.Members[i%len(w.target.Members)].Name
		wg.Go(func() {
			<-start
			next, err := w.hooks.Service.Renew(ctx, member, t)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				w.race.granted = append(w.race.granted, next)
			case !errors.Is(err, farmspec.ErrRefused):
				failed = err
			}
		})
	}
	close(start)
	wg.Wait()
	if failed != nil {
		return fmt.Errorf("renew at the session service: %w", failed)
	}
	for _, g := range w.race.granted {
		w.keepSecret(g.ID)
	}
	return nil
}

func (w *world) oneCallGranted() error {
	n := len(w.race.granted)
	return w.expect(n == 1, nil, "exactly one call is granted", fmt.Sprintf("%d of %d are", n, w.race.calls))
}

func (w *world) grantedTokenWorks(ctx context.Context) error {
	sealed, err := w.hooks.Keys.Seal(w.race.granted[0])
	if err != nil {
		return fmt.Errorf("seal with the farm's key: %w", err)
	}
	p := w.race.owner
	w.give(p.browser, carried{value: sealed, domain: p.current().domain, path: p.current().path}, p.at)
	a := w.visit(ctx, p, p.at, w.home(p.at))
	return w.mustServe(a)
}

// oneLivingSession uses every token the presenters got, one after the other
// and each past the grace of the one before: if they are of one chain, the
// first use spends the rest.
func (w *world) oneLivingSession(ctx context.Context) error {
	alive := 0
	var x *farmspec.Exchange
	for _, pr := range w.served() {
		if err := w.gracePasses(ctx); err != nil {
			return err
		}
		a := w.open(ctx, pr.browser, w.race.owner, pr.member.At(pr.page.Path), pr.page, "race")
		if a.outcome == farmspec.Accepted {
			alive++
			x = a.final()
		}
	}
	return w.expect(alive <= 1, x, "no more than one of the sessions lives on", fmt.Sprintf("%d of %d do", alive, len(w.served())))
}
