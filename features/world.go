package features

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cucumber/godog"
	messages "github.com/cucumber/messages/go/v21"

	"github.com/farmspec/farmspec"
)

// world is one scenario while it runs: the farm in use, the people and their
// browsers, every exchange, every check. Steps are its methods. Nothing of it
// outlives the scenario.
//
// The rule of witness and survivor is kept here. An answer counts as a
// refusal only beside a witness, the same request with a good token accepted
// earlier in the scenario, and a survivor, a bystander who is still served
// when all is over. Without them the verdict is inconclusive: a farm that
// refuses everything has proven nothing.
type world struct {
	judge  *judge
	gate   *sync.RWMutex
	of     *planned
	target *farmspec.Target
	hooks  farmspec.Hooks // those of the target, as far as the run's level allows
	result *farmspec.Result
	began  time.Time
	onEnd  []func()
	// leaveSlot lets another scenario run in this one's place; nil where there is none.
	leaveSlot func()

	transport *http.Transport
	// background are requests under way while steps go on.
	background sync.WaitGroup

	mu        sync.Mutex
	exchanges []recorded
	traces    []string
	people    map[string]*person
	witnessed map[string]int // accepted attempts by fingerprint, with the exchange's number
	refusals  int
	lent      atomic.Int64 // accounts of a pool
	// servedLast is the last attempt that was accepted.
	servedLast *attempt
	shift      time.Duration // how far the farm's time was moved
	ahead      time.Duration // how far it was ahead of ours when the scenario began
	earlier    sync.Map      // references of sessions that lent accounts had before
	passed     time.Duration // how much was let pass
	waited     time.Duration // how much of it by waiting
	disturbed  bool          // everybody's session may be over, the bystander's too
	crashed    bool          // the scenario stopped a part of the farm
	failure    error

	scene // what the steps of the subjects remember
}

type recorded struct {
	*farmspec.Exchange
	step int
}

// person is somebody with an account and a browser.
type person struct {
	name    string
	user    farmspec.User
	browser *farmspec.Browser
	// at is the member that served her last: where her newest token is.
	at farmspec.Member
	// tokens are all she has carried, oldest first.
	tokens []carried
	// last is her last attempt.
	last *attempt
	// passwords are those she came with and has tried to change to, once she has.
	passwords []string
}

// carried is an encrypted token as a browser held it.
type carried struct {
	value string
	// domain is set where the cookie was for a whole domain.
	domain string
	// path is the cookie's; empty is the whole host's.
	path string
	// with are the companions that the browser held beside it.
	with []farmspec.Cookie
}

// attempt is a request for a page and what came of it.
type attempt struct {
	who     string
	user    string
	page    farmspec.Page
	browser *farmspec.Browser
	// held is the token the browser had for the page's member beforehand.
	held    carried
	visit   *farmspec.Visit
	outcome farmspec.Outcome
	// fingerprint names the request without its token: who else made the
	// same one is a witness.
	fingerprint string
	err         error
	// until is how long the farm has to serve it, where it hangs on the grace
	// of a replaced token; zero where it does not.
	until time.Time
}

// late reports whether the answer came when the farm need not have served it
// any more: no fault of the farm's, who may be on a slow machine.
func (a *attempt) late() bool {
	x := a.final()
	return !a.until.IsZero() && x.Start.Add(x.Took).After(a.until)
}

func (a *attempt) final() *farmspec.Exchange {
	if a.visit == nil || len(a.visit.Exchanges) == 0 {
		return &farmspec.Exchange{Err: a.err}
	}
	return a.visit.Final()
}

// describe says in words how the farm answered, without secrets.
func (a *attempt) describe() string {
	x := a.final()
	switch {
	case a.err != nil:
		return fmt.Sprintf("%s: %v", a.outcome, a.err)
	case x.Err != nil:
		return fmt.Sprintf("%s: %v", a.outcome, x.Err)
	}
	after := ""
	if n := len(a.visit.Exchanges); n > 1 {
		after = fmt.Sprintf(" after %d exchanges", n)
	}
	return fmt.Sprintf("%s: status %d%s", a.outcome, x.Status, after)
}

const bystander = "Grace"

func (w *world) begin(ctx context.Context, c *planned) (context.Context, error) {
	w.of, w.result = c, w.judge.result(c)
	w.people, w.witnessed = map[string]*person{}, map[string]int{}
	room := w.judge.rooms[c.target]
	room <- struct{}{}
	w.judge.slots <- struct{}{}
	w.leaveSlot = sync.OnceFunc(func() { <-w.judge.slots })
	w.onEnd = append(w.onEnd, func() { w.leaveSlot(); <-room })
	w.began = time.Now()
	if why := w.judge.over(ctx); why != "" {
		w.result.Verdict, w.result.Reason = farmspec.NotRun, why
		return ctx, godog.ErrSkip
	}
	w.judge.began(c.id())
	ctx, cancel := context.WithTimeout(ctx, w.judge.Timeout+c.wait)
	w.onEnd = append(w.onEnd, cancel)
	w.target = c.target
	if w.judge.private(c) {
		if fork := c.target.Hooks.Fork; fork != nil {
			if err := w.fork(ctx, farmspec.Variation{}); err != nil {
				return ctx, err
			}
		} else {
			w.gate.Lock()
			w.onEnd = append(w.onEnd, w.gate.Unlock)
		}
	} else {
		w.gate.RLock()
		w.onEnd = append(w.onEnd, w.gate.RUnlock)
	}
	return ctx, w.use(ctx, w.target)
}

// fork moves the scenario to a private farm.
func (w *world) fork(ctx context.Context, v farmspec.Variation) error {
	if w.of.target.Hooks.Fork == nil {
		return &notOffered{"needs a private farm (fork hook), which this target does not offer"}
	}
	t, closeFarm, err := w.of.target.Hooks.Fork(ctx, v)
	if err != nil {
		return fmt.Errorf("open a private farm: %w", err)
	}
	w.onEnd = append(w.onEnd, func() { _ = closeFarm() })
	return w.use(ctx, t)
}

// use aims the scenario at a farm and masks the hooks above the run's level.
func (w *world) use(ctx context.Context, t *farmspec.Target) error {
	w.target, w.hooks = t, t.Hooks
	if order(w.judge.Level) < order(farmspec.White) {
		w.hooks.Clock, w.hooks.Database, w.hooks.Keys, w.hooks.Logs = nil, nil, nil, nil
	}
	if order(w.judge.Level) < order(farmspec.Grey) {
		w.hooks.Service, w.hooks.Admin, w.hooks.Processes, w.hooks.Trace, w.hooks.Holds = nil, nil, nil, nil, nil
		w.hooks.Federation = nil
	}
	if w.hooks.Clock != nil { // earlier scenarios may have moved it
		now, err := w.hooks.Clock.Now(ctx)
		if err != nil {
			return fmt.Errorf("ask for the farm's time: %w", err)
		}
		w.mu.Lock()
		w.shift = time.Until(now)
		w.ahead = w.shift
		w.mu.Unlock()
	}
	if _, pooled := t.Hooks.Accounts.(farmspec.AccountPool); pooled {
		w.hideEarlier()
	}
	if t == w.of.target {
		w.transport = w.judge.transports[t]
		return nil
	}
	w.transport = t.Transport()
	w.onEnd = append(w.onEnd, w.transport.CloseIdleConnections)
	return nil
}

func (w *world) beforeStep(ctx context.Context, st *godog.Step) (context.Context, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.result != nil {
		w.result.Steps = append(w.result.Steps, farmspec.Step{Keyword: keyword(st, w.result.Steps), Text: st.Text, Took: time.Since(w.began)})
	}
	return ctx, nil
}

// keyword is how the step reads after those before it.
func keyword(st *godog.Step, before []farmspec.Step) string {
	word := map[messages.PickleStepType]string{
		messages.PickleStepType_CONTEXT: "Given", messages.PickleStepType_ACTION: "When", messages.PickleStepType_OUTCOME: "Then",
	}[st.Type]
	for _, s := range slices.Backward(before) {
		if s.Keyword == word {
			return "And"
		}
		if s.Keyword != "And" {
			break
		}
	}
	return word
}

func (w *world) afterStep(ctx context.Context, st *godog.Step, status godog.StepResultStatus, err error) (context.Context, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.result == nil || len(w.result.Steps) == 0 {
		return ctx, nil
	}
	s := &w.result.Steps[len(w.result.Steps)-1]
	s.Took = time.Since(w.began) - s.Took
	s.Status = status.String()
	if err != nil && !errors.Is(err, godog.ErrSkip) {
		s.Error = err.Error()
		if w.failure == nil {
			w.failure = err
		}
	}
	return ctx, nil
}

// end closes the scenario: the survivor's visit, the verdict, the evidence.
func (w *world) end(ctx context.Context, _ *godog.Scenario, err error) (context.Context, error) {
	if w.result == nil || w.of == nil {
		return ctx, nil
	}
	if w.result.Verdict == "" {
		if w.failure == nil && err != nil && !errors.Is(err, godog.ErrSkip) {
			w.failure = err
		}
		switch {
		case w.failure != nil:
		case w.refusals > 0:
			w.failure = w.survivor(ctx)
		case w.servedLast != nil:
			w.failure = w.contrast(ctx)
		}
		if w.failure != nil && errors.Is(ctx.Err(), context.Canceled) {
			w.failure = ctx.Err() // what an interrupted request brought is no observation
		}
		w.settle()
		w.evidence(ctx, w.judge.Sparse)
	}
	for _, f := range slices.Backward(w.onEnd) {
		f()
	}
	w.background.Wait() // what was held is released, and its context over
	w.result.Took = time.Since(w.began)
	w.judge.ended(w.result)
	// godog's storage keeps the steps, and with them this world, until the
	// last scenario has ended.
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exchanges, w.people, w.witnessed, w.servedLast, w.scene, w.onEnd = nil, nil, nil, nil, scene{}, nil
	w.target, w.hooks, w.transport = nil, farmspec.Hooks{}, nil
	return ctx, nil
}

// undo mends, when the scenario is over, what it did to a farm that others use.
// What cannot be mended is told with the run: it may be behind what is found
// later.
func (w *world) undo(what string, mend func(context.Context) error) {
	w.onEnd = append(w.onEnd, func() {
		ctx, cancel := context.WithTimeout(context.Background(), w.judge.Timeout)
		defer cancel()
		if err := mend(ctx); err != nil {
			w.judge.leave(w.of.id(), w.newRedactor(nil).text(what+": "+err.Error()))
		}
	})
}

func (w *world) settle() {
	r := w.result
	if n, err := w.lost(); err != nil && verdictOf(w.failure) == farmspec.Fail {
		w.failure = &failedControl{fmt.Sprintf("exchange %d had no answer (%v), so nobody knows what the farm had done when this came: %v", n, err, w.failure)}
	}
	r.Verdict = verdictOf(w.failure)
	if w.failure != nil {
		r.Reason = w.failure.Error()
	}
	if r.Verdict == farmspec.Pass && len(r.Checks) == 0 {
		r.Verdict, r.Reason = farmspec.Error, "the scenario made no check"
	}
	if r.Verdict == farmspec.Fail && !slices.ContainsFunc(r.Requirements, isMust) {
		r.Verdict = farmspec.Warn
	}
}

// lost is the first exchange whose answer did not come, with why. After one
// nobody knows what the farm has done, so nothing that follows accuses it. Of
// hostile requests, which no browser sends and which have no trace, hanging up
// is an answer; and where the scenario stopped a part of the farm itself, that
// is expected.
func (w *world) lost() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, x := range w.exchanges {
		if x.Err != nil && x.Trace != "" && !errors.Is(x.Err, context.Canceled) && !w.crashed {
			return i + 1, x.Err
		}
	}
	return 0, nil
}

func isMust(id string) bool {
	r, ok := farmspec.RequirementByID(id)
	return ok && r.Strength == "MUST"
}

// survivor lets the bystander visit once more.
func (w *world) survivor(ctx context.Context) error {
	g, err := w.signedIn(ctx, bystander)
	if err != nil {
		return &failedControl{"no survivor: " + err.Error()}
	}
	at := w.visit(ctx, g, g.at, w.home(g.at))
	if at.outcome != farmspec.Accepted && w.disturbed {
		if err := w.signIn(ctx, g, g.at); err != nil {
			return &failedControl{"no survivor: after the refusals nobody can sign in: " + err.Error()}
		}
		at = g.last
	}
	w.check(farmspec.Survivor, "a bystander is still served", at)
	if at.outcome != farmspec.Accepted {
		return &failedControl{fmt.Sprintf("no survivor: a bystander is %s, so the refusals prove nothing", at.describe())}
	}
	return nil
}

// contrast asks for the page that was served last with nothing at all. Where
// that is served too, the farm serves anybody, and being served proves nothing.
func (w *world) contrast(ctx context.Context) error {
	page := w.servedLast.page
	holder, ok := w.target.Member(page.Member)
	if !ok {
		return nil
	}
	nobody := w.newBrowser("nobody")
	x := nobody.Send(ctx, farmspec.Request{URL: holder.At(page.Path), Dest: "document"})
	a := &attempt{who: "nobody", page: page, visit: &farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}}
	a.outcome = w.target.Judge(x, farmspec.Page{Marker: page.Marker}, "")
	w.checked(farmspec.Contrast, "without a token "+page.Path+" is refused", a.describe(), a.outcome == farmspec.Refused, x)
	if a.outcome != farmspec.Refused {
		return &failedControl{fmt.Sprintf("no contrast: without any token the answer is %s, so being served proves nothing", a.describe())}
	}
	return nil
}

// both returns two people by first name.
func (w *world) both(ctx context.Context, one, other string) (*person, *person, error) {
	p, err := w.person(ctx, one)
	if err != nil {
		return nil, nil, err
	}
	q, err := w.person(ctx, other)
	return p, q, err
}

// person returns somebody by first name, with a fresh account.
func (w *world) person(ctx context.Context, name string) (*person, error) {
	w.mu.Lock()
	p := w.people[name]
	w.mu.Unlock()
	if p != nil {
		return p, nil
	}
	if w.target.Hooks.Accounts == nil {
		return nil, fmt.Errorf("sign %s in: the target has no accounts", name)
	}
	pool, pooled := w.target.Hooks.Accounts.(farmspec.AccountPool)
	if pooled && w.lent.Add(1) > int64(pool.Size()) {
		return nil, &unseen{fmt.Sprintf("needs more accounts than the %d that this target has", pool.Size())}
	}
	user, err := w.target.Hooks.Accounts.New(ctx, strings.ToLower(name))
	if err != nil {
		return nil, fmt.Errorf("get an account for %s: %w", name, err)
	}
	p = &person{name: name, user: user, browser: w.newBrowser(name), at: w.target.Members[0]}
	if pooled {
		w.onEnd = append(w.onEnd, func() { pool.Return(p.user) })
		if err := w.noteEarlier(ctx, user.Name); err != nil {
			return nil, fmt.Errorf("look for earlier sessions of %s: %w", name, err)
		}
	}
	w.mu.Lock()
	w.people[name] = p
	w.mu.Unlock()
	return p, nil
}

// newBrowser opens a browser whose exchanges become evidence.
func (w *world) newBrowser(name string) *farmspec.Browser {
	return w.tracedBrowser(name, farmspec.NewTrace())
}

func (w *world) tracedBrowser(name, trace string) *farmspec.Browser {
	w.mu.Lock()
	if !slices.Contains(w.traces, trace) {
		w.traces = append(w.traces, trace)
	}
	w.mu.Unlock()
	return farmspec.NewBrowser(farmspec.BrowserOptions{
		Name: name, Target: w.target, Trace: trace, Transport: w.transport, Now: w.now, OnExchange: w.record,
	})
}

func (w *world) record(x *farmspec.Exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exchanges = append(w.exchanges, recorded{x, max(0, len(w.result.Steps)-1)})
}

// now is the farm's time as far as the scenario moved it.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.shift)
}

// pass lets the farm's time pass: by the clock hook, or by waiting. A browser
// that drops its token meanwhile, for the age the farm gave it, gets it back:
// the limit under test is the server's, which must hold for whoever keeps the
// token (WF-7.3).
func (w *world) pass(ctx context.Context, d time.Duration) error {
	type kept struct {
		browser *farmspec.Browser
		at      farmspec.Member
		token   carried
	}
	w.mu.Lock()
	people := slices.Collect(maps.Values(w.people))
	w.mu.Unlock()
	var before []kept
	for _, p := range people {
		for _, m := range w.target.Members {
			if t, ok := w.tokenAt(p.browser, m); ok {
				before = append(before, kept{p.browser, m, t})
			}
		}
	}
	if err := w.letPass(ctx, d); err != nil {
		return err
	}
	for _, k := range before {
		if _, still := w.tokenAt(k.browser, k.at); !still {
			w.give(k.browser, k.token, k.at)
		}
	}
	return nil
}

func (w *world) letPass(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	w.disturbed = true
	w.passed += d
	w.mu.Unlock()
	if w.hooks.Clock == nil {
		began := time.Now()
		err := w.wait(ctx, d)
		w.mu.Lock()
		w.waited += time.Since(began)
		w.mu.Unlock()
		return err
	}
	if err := w.hooks.Clock.Advance(ctx, d); err != nil {
		return fmt.Errorf("advance the farm's clock: %w", err)
	}
	w.mu.Lock()
	w.shift += d
	w.mu.Unlock()
	return nil
}

// home is the member's own HTML page.
func (w *world) home(m farmspec.Member) farmspec.Page {
	p, ok := w.target.Page(m.Name, farmspec.HTML)
	if !ok && len(w.target.Pages) > 0 {
		return w.target.Pages[0]
	}
	return p
}

// member returns the n-th server, counted from 1.
func (w *world) member(n int) (farmspec.Member, error) {
	if n < 1 || n > len(w.target.Members) {
		return farmspec.Member{}, fmt.Errorf("server %d: the target has %d", n, len(w.target.Members))
	}
	return w.target.Members[n-1], nil
}

// signIn logs a person in at a member and proves it by a page: the baseline.
// What fails here is a failed control.
func (w *world) signIn(ctx context.Context, p *person, m farmspec.Member) error {
	if p.name != bystander {
		if _, err := w.signedIn(ctx, bystander); err != nil {
			return err
		}
	}
	if _, err := w.logIn(ctx, p, m, p.user.Password); err != nil {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errAlreadyIn):
			return err
		}
		return &failedControl{fmt.Sprintf("%s cannot sign in: %v", p.name, err)}
	}
	p.at = m
	at := w.visit(ctx, p, m, w.home(m))
	w.check(farmspec.Witness, p.name+" is signed in", at)
	if at.outcome != farmspec.Accepted {
		return &failedControl{fmt.Sprintf("%s signed in at %s as %s and is %s", p.name, m.Name, p.user.Name, at.describe())}
	}
	return nil
}

// signedIn returns the person, signed in at the first member unless she was before.
func (w *world) signedIn(ctx context.Context, name string) (*person, error) {
	p, err := w.person(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(p.tokens) == 0 {
		if err := w.signIn(ctx, p, w.target.Members[0]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// keepToken remembers the token that the person's browser has for the member.
func (w *world) keepToken(p *person, m farmspec.Member) {
	if t, ok := w.tokenAt(p.browser, m); ok && (len(p.tokens) == 0 || p.tokens[len(p.tokens)-1].value != t.value) {
		p.tokens = append(p.tokens, t)
	}
}

// tokenAt reads the carrier in a browser, as it would be sent to the member.
func (w *world) tokenAt(b *farmspec.Browser, m farmspec.Member) (carried, bool) {
	home := m.At(w.home(m).Path)
	c, ok := b.Cookie(home, w.target.Carrier.Name)
	if !ok || c.Value == "" {
		return carried{}, false
	}
	t := carried{value: c.Value, path: c.Path}
	if !c.HostOnly {
		t.domain = c.Domain
	}
	for _, name := range w.target.Companions {
		for _, beside := range b.AllCookies() {
			if beside.Name == name {
				t.with = append(t.with, beside)
			}
		}
	}
	return t, true
}

// current is the person's newest token.
func (p *person) current() carried {
	if len(p.tokens) == 0 {
		return carried{}
	}
	return p.tokens[len(p.tokens)-1]
}

// visit lets a person ask the member for a page, as by the address bar.
func (w *world) visit(ctx context.Context, p *person, m farmspec.Member, page farmspec.Page) *attempt {
	a := w.open(ctx, p.browser, p, m.At(page.Path), page, asked(m, page))
	if a.outcome == farmspec.Accepted {
		if holder, ok := w.target.Member(a.page.Member); ok {
			p.at = holder
		}
	}
	w.keepToken(p, p.at)
	p.last = a
	return a
}

// hop lets a person go from where she is to a page of another member: by way
// of the member where she is, or, where members do not hand over, by the
// page's own address.
func (w *world) hop(ctx context.Context, p *person, page farmspec.Page) *attempt {
	if holder, ok := w.target.Member(page.Member); ok && w.target.Handoff == farmspec.NoHandoff {
		return w.visit(ctx, p, holder, page)
	}
	return w.visit(ctx, p, p.at, page)
}

// shownBy is the page as the member that answered has it. Where members do
// not hand over, each that holds a page of that path shows its own.
func (w *world) shownBy(x *farmspec.Exchange, page farmspec.Page) farmspec.Page {
	if w.target.Handoff != farmspec.NoHandoff {
		return page
	}
	m, ok := w.target.MemberOf(x.URL)
	if !ok || m.Name == page.Member {
		return page
	}
	for _, own := range w.target.Pages {
		if own.Member == m.Name && own.Path == page.Path {
			return own
		}
	}
	for _, a := range w.target.Apps {
		if a.Member == m.Name && a.Path == page.Path {
			return appPage(a)
		}
	}
	return page
}

// asked is the fingerprint of a page asked at a member with a token in the carrier.
func asked(m farmspec.Member, p farmspec.Page) string { return "GET " + p.Path + " at " + m.Name }

// open navigates a browser and judges the answer as the person's.
func (w *world) open(ctx context.Context, b *farmspec.Browser, p *person, url string, page farmspec.Page, fingerprint string) *attempt {
	held := w.heldFor(b, page)
	visit, err := b.Open(ctx, url)
	a := w.judged(visit, err, p, page, fingerprint)
	a.browser, a.held = b, held
	return a
}

// heldFor is the token a browser has for the member that holds the page.
func (w *world) heldFor(b *farmspec.Browser, page farmspec.Page) carried {
	holder, ok := w.target.Member(page.Member)
	if !ok {
		return carried{}
	}
	t, _ := w.tokenAt(b, holder)
	return t
}

func (w *world) judged(visit *farmspec.Visit, err error, p *person, page farmspec.Page, fingerprint string) *attempt {
	a := &attempt{who: p.name, user: p.user.Name, page: page, visit: visit, err: err, fingerprint: fingerprint}
	a.outcome = farmspec.NoAnswer
	if visit != nil && len(visit.Exchanges) > 0 {
		a.page = w.shownBy(visit.Final(), page)
		a.outcome = w.target.Judge(visit.Final(), a.page, p.user.Name)
	}
	if a.outcome == farmspec.Accepted {
		w.mu.Lock()
		w.witnessed[fingerprint] = w.number(a.final())
		w.servedLast = a
		w.mu.Unlock()
	}
	return a
}

// present lets somebody bring a token that is not his own or not the newest,
// with a browser that has nothing else. First the bystander makes the same
// request, so that the refusal has a witness.
func (w *world) present(ctx context.Context, who string, owner *person, t carried, m farmspec.Member, page farmspec.Page) (*attempt, error) {
	if err := w.witness(ctx, m, page); err != nil {
		return nil, err
	}
	b := w.newBrowser(who)
	w.give(b, t, m)
	return w.open(ctx, b, owner, m.At(page.Path), page, asked(m, page)), nil
}

// give puts a token into a browser for the member, as a thief would: in the
// place where it was, companions beside it.
func (w *world) give(b *farmspec.Browser, t carried, m farmspec.Member) {
	u, err := url.Parse(m.URL)
	if err != nil {
		return // the target's members have addresses
	}
	c := farmspec.Cookie{
		Name: w.target.Carrier.Name, Value: t.value, Domain: strings.ToLower(u.Hostname()), HostOnly: true, Path: "/",
		Secure: u.Scheme == "https", HTTPOnly: true,
	}
	if t.domain != "" {
		c.Domain, c.HostOnly = t.domain, false
	}
	if t.path != "" {
		c.Path = t.path
	}
	b.PutCookie(c)
	for _, beside := range t.with {
		b.PutCookie(beside)
	}
}

// witness makes sure that the same request was accepted with a good token in
// this scenario: the bystander makes it where nobody has.
func (w *world) witness(ctx context.Context, m farmspec.Member, page farmspec.Page) error {
	w.mu.Lock()
	_, ok := w.witnessed[asked(m, page)]
	w.mu.Unlock()
	if ok {
		return nil
	}
	g, err := w.signedIn(ctx, bystander)
	if err != nil {
		return err
	}
	if w.target.Topology == farmspec.SplitDomain && g.at.Name != m.Name {
		// Her newest token must be at the member she is going to ask.
		if a := w.hop(ctx, g, w.home(m)); a.outcome != farmspec.Accepted {
			return &failedControl{"no witness: a bystander is " + a.describe()}
		}
	}
	a := w.visit(ctx, g, m, page)
	w.check(farmspec.Witness, "a bystander with a good token is served "+asked(m, page), a)
	if a.outcome != farmspec.Accepted {
		return &failedControl{fmt.Sprintf("no witness: a bystander asks %s and is %s", asked(m, page), a.describe())}
	}
	return nil
}

// check records a comparison of an attempt.
func (w *world) check(kind farmspec.CheckKind, expected string, a *attempt) {
	ok := a.outcome == farmspec.Accepted
	if kind == farmspec.Refusal {
		ok = a.outcome == farmspec.Refused
	}
	w.checked(kind, expected, a.describe(), ok, a.final())
}

// checked records any comparison.
func (w *world) checked(kind farmspec.CheckKind, expected, actual string, ok bool, x *farmspec.Exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Checks = append(w.result.Checks, farmspec.Check{
		Kind: kind, Step: max(0, len(w.result.Steps)-1), Expected: expected, Actual: actual, OK: ok, Exchange: w.number(x),
	})
}

// number is an exchange's place in the evidence, from 1; zero where it is none.
// The caller holds the lock.
func (w *world) number(x *farmspec.Exchange) int {
	return 1 + slices.IndexFunc(w.exchanges, func(r recorded) bool { return r.Exchange == x })
}

// expect makes a check that is a requirement: where it fails, the farm broke a rule.
func (w *world) expect(ok bool, x *farmspec.Exchange, expected, actual string) error {
	w.checked(farmspec.Expectation, expected, actual, ok, x)
	if !ok {
		return &violation{fmt.Sprintf("expected %s; saw %s", expected, actual)}
	}
	return nil
}

// mustServe is the expectation that an attempt is accepted.
func (w *world) mustServe(a *attempt) error {
	expected := fmt.Sprintf("%s is served %s", a.who, a.page.Path)
	w.check(farmspec.Expectation, expected, a)
	switch {
	case a.outcome == farmspec.Accepted:
		return nil
	case errors.Is(a.err, context.DeadlineExceeded):
		return fmt.Errorf("wait for the farm: the time of the scenario is over: %w", a.err) // which the judge set
	case a.outcome == farmspec.NoAnswer && !w.crashed:
		return &failedControl{fmt.Sprintf("%s asks for %s and gets no answer: %s", a.who, a.page.Path, a.describe())}
	case a.late():
		return &failedControl{"the grace period was over before the answer came"}
	case w.tooSlow():
		return &failedControl{fmt.Sprintf("the scenario took too long beside what it let pass to tell: %s", a.describe())}
	}
	return &violation{fmt.Sprintf("expected that %s; saw %s", expected, a.describe())}
}

// needServed is mustServe for what a scenario only builds upon.
func (w *world) needServed(a *attempt) error {
	w.check(farmspec.Witness, fmt.Sprintf("%s is served %s", a.who, a.page.Path), a)
	if a.outcome != farmspec.Accepted {
		return &failedControl{fmt.Sprintf("%s asks for %s and is %s", a.who, a.page.Path, a.describe())}
	}
	return nil
}

// mustRefuse is the expectation that an attempt is refused, which includes
// that it leaves its sender without a usable new token. Without a witness it
// proves nothing.
func (w *world) mustRefuse(ctx context.Context, a *attempt) error {
	if err := w.isRefused(a); err != nil {
		return err
	}
	return w.noUsableToken(ctx, a)
}

func (w *world) isRefused(a *attempt) error {
	w.mu.Lock()
	w.refusals++
	_, ok := w.witnessed[a.fingerprint]
	w.mu.Unlock()
	w.check(farmspec.Refusal, fmt.Sprintf("%s is refused %s", a.who, a.page.Path), a)
	switch {
	case a.outcome == farmspec.NoAnswer:
		return &failedControl{fmt.Sprintf("%s asks for %s and gets no answer, which is no refusal: %s", a.who, a.page.Path, a.describe())}
	case a.outcome != farmspec.Refused:
		return &violation{fmt.Sprintf("expected that %s is refused %s; saw %s", a.who, a.page.Path, a.describe())}
	case !ok:
		return &failedControl{fmt.Sprintf("no witness: nobody was served %s in this scenario, so its refusal proves nothing", a.fingerprint)}
	}
	return nil
}

// noUsableToken tries the token that came with a refusal, if one did, in a
// copy of the browser.
func (w *world) noUsableToken(ctx context.Context, a *attempt) error {
	if a.browser == nil {
		return nil
	}
	got := w.heldFor(a.browser, a.page)
	if got.value == "" || got.value == a.held.value {
		return nil
	}
	holder, _ := w.target.Member(a.page.Member)
	visit, err := a.browser.Clone(a.browser.Name()).Open(ctx, holder.At(a.page.Path))
	if err != nil {
		return fmt.Errorf("try the token that came with a refusal: %w", err)
	}
	again := w.target.Judge(visit.Final(), a.page, a.user)
	return w.expect(again != farmspec.Accepted, visit.Final(), "no usable token in a refusal", "the token that came with it: "+string(again))
}
