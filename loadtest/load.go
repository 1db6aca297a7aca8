// Package loadtest loads a farm with virtual browsers, each with its own
// session and its own rotating token, in an open loop: arrivals come when they
// are due, whatever the farm does, and latency counts from then. It judges
// the farm's session management meanwhile.
package loadtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/model"
)

// Options configures a run. Target, Pace and Duration are required.
type Options struct {
	Target *farmspec.Target
	// Engine: nil means Vegeta.
	Engine Engine
	// Browsers is how many there are, all shards together. Zero means 50.
	Browsers int
	// Pace says when arrivals are due, from the beginning of the warm-up on.
	Pace Pace
	// Duration is what counts, WarmUp what comes before it.
	Duration, WarmUp time.Duration
	// Mix weighs the actions. The zero Mix is DefaultMix.
	Mix Mix
	// Think is how long a browser rests after an arrival, on average: from half
	// of it to one and a half. Zero is not at all.
	Think time.Duration
	// Rest is how long a browser is away before it returns as Idle. Zero means
	// one second, or twice Think if that is more.
	Rest time.Duration
	// NewConnections uses each connection once.
	NewConnections bool
	// Probe is how many page views in one are followed by presenting a token
	// that must be refused. Zero means 0.1; negative is none but a few at the end.
	Probe float64
	// Timeout bounds a click. Zero means 10 seconds.
	Timeout time.Duration
	// Drain is how long arrivals may go on after the end. Zero means Timeout.
	Drain time.Duration
	// MaxWaiting bounds the arrivals without a browser; more are missed. Zero
	// means 20,000.
	MaxWaiting int
	// MaxHistory bounds the operations kept for the history check, 56 bytes
	// each. Zero means a million.
	MaxHistory int
	// Shard is the part that this process makes, and StartAt when all parts
	// begin, by the wall clock. The zero time is when the browsers are ready.
	Shard   Shard
	StartAt time.Time
	// Seed fixes what arrivals do and which pages they ask for.
	Seed uint64
	// Owned says that whoever asks for the load is allowed to: the target may
	// be on other machines.
	Owned bool
	// Search, if set, looks for the highest rate.
	Search *Search
	// Results receives every arrival in vegeta's format. Nil: nobody.
	Results io.Writer
	// Progress is told of the run. Nil: nobody.
	Progress farmspec.LoadProgress

	// Command, Version and Commit are for the report.
	Command, Version, Commit string
}

// Search looks for the highest rate at which every limit holds: it doubles
// the rate until one breaks, and then halves the gap until it is small.
type Search struct {
	// From is the first rate.
	From float64
	// P99 is the latency limit, Failed the limit of the share of arrivals
	// missed or not served.
	P99    time.Duration
	Failed float64
	// Until is how near the two rates are at the end, as a share. Zero means 0.05.
	Until float64
}

// NotReadyError says that no browser could log in, and why.
type NotReadyError struct{ Causes map[string]uint64 }

func (e *NotReadyError) Error() string {
	var causes []string
	for _, c := range names(e.Causes) {
		causes = append(causes, fmt.Sprintf("%s (%d times)", c, e.Causes[c]))
	}
	return "log in: not one browser could: " + strings.Join(causes, ", ")
}

// load is a run.
type load struct {
	Options
	members []member
	apps    []app
	origins []*origin // of members
	rules   *rules
	wire    wire
	clicks  sync.Pool
	rotates bool
	// inAddress says that addresses carry the token, and not a cookie.
	inAddress bool
	margin    time.Duration
	started   time.Time // of the whole run: history counts from here

	browsers     []*browser
	sacrificed   []*browser
	spares       []farmspec.User // accounts for browsers beside those of the plan
	free, rested chan *browser
	waiting      atomic.Int64
	busy         atomic.Int64
	tickets      chan struct{}

	loadCPU               time.Duration
	loadRequests          uint64
	history               history
	values                atomic.Uint64
	probes, probesRefused atomic.Uint64
	unauthenticated       uint64
	counts                [7]atomic.Uint64
	mu                    sync.Mutex
	accusations           []farmspec.LoadViolation
	moreAccusations       int
	notes                 []string
	echoBefore, echoAfter string
}

type app struct {
	name, field string
	page        page
	idle        time.Duration
}

var counted7 = [7]string{farmspec.LoadAccepted, farmspec.LoadHonest, farmspec.LoadWrongRefusal, farmspec.LoadWrongAccept,
	farmspec.LoadDoubtful, farmspec.LoadWrongUser, farmspec.LoadWrongState}

// count counts an answer, and returns the outcome.
func (l *load) count(outcome string) string {
	if i := slices.Index(counted7[:], outcome); i >= 0 {
		l.counts[i].Add(1)
	}
	return outcome
}

// maxViolations bounds what a report lists.
const maxViolations = 50

// accuse keeps evidence against the farm.
func (l *load) accuse(invariant, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.accusations) == maxViolations {
		l.moreAccusations++
		return
	}
	l.accusations = append(l.accusations, farmspec.LoadViolation{Invariant: invariant, Text: fmt.Sprintf(format, args...), At: l.since()})
}

func (l *load) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

func (l *load) since() time.Duration        { return time.Since(l.started) }
func (l *load) nameOf(b *browser) string    { return fmt.Sprintf("browser %d", b.n) }
func (l *load) memberName(i int) string     { return memberName(l.members, i) }
func (l *load) wall(at time.Duration) int64 { return l.started.UnixNano() + int64(at) }
func (l *load) echo(b *browser) []byte      { return []byte(l.echoBefore + b.user.Name + l.echoAfter) }
func memberName(members []member, i int) string {
	if i < 0 || i >= len(members) {
		return "the farm"
	}
	return members[i].name
}

// origin returns that of an address, or nil where no member is there.
func (l *load) origin(u *url.URL) *origin {
	for _, o := range l.origins {
		if o.at == u.Host && o.scheme == u.Scheme {
			return o
		}
	}
	return nil
}

// memberAt returns the member that serves the path there, or -1.
func (l *load) memberAt(o *origin, path string) int {
	for i := range l.members {
		if m := &l.members[i]; m.origin == o && (m.prefix == "" || underPath(path, m.prefix)) {
			return i
		}
	}
	return -1
}

func (l *load) isLogin(member int, path string) bool {
	if l.inAddress {
		path, _, _ = strings.Cut(path, ";")
	}
	return member >= 0 && path == l.members[member].login.Path && l.Target.Login.Kind != farmspec.BasicLogin
}

// Run loads the farm and returns what it came to, also where ctx ended before:
// then the report is of what there was, and says that it is incomplete. The
// error is a *NotReadyError where no browser could log in; any other is wrong
// use or a failure to write results.
func Run(ctx context.Context, o Options) (*farmspec.LoadReport, error) {
	l, err := newLoad(o)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", nameOf(o.Target), err)
	}
	defer l.wire.close()
	r, err := l.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", nameOf(o.Target), err)
	}
	return r, nil
}

func nameOf(t *farmspec.Target) string {
	if t == nil {
		return "nothing"
	}
	return t.Name
}

func newLoad(o Options) (*load, error) {
	t := o.Target
	switch {
	case t == nil || len(t.Members) == 0:
		return nil, errors.New("a target with members is required")
	case t.Hooks.Accounts == nil:
		return nil, errors.New("the target has no accounts to log in with")
	case o.Pace.Pacer == nil:
		return nil, errors.New("a pace is required")
	case o.Duration <= 0 || o.WarmUp < 0:
		return nil, errors.New("a duration is required, and the warm-up must not be negative")
	case o.Browsers < 0 || o.Browsers > 1<<20:
		return nil, fmt.Errorf("%d browsers; want 1 to %d", o.Browsers, 1<<20)
	case o.Probe > 1 || math.IsNaN(o.Probe):
		return nil, fmt.Errorf("probe %v: want a share of the page views, 0 to 1", o.Probe)
	}
	if o.Engine == nil {
		o.Engine = Vegeta{}
	}
	o.Browsers = cmp.Or(o.Browsers, 50)
	o.Probe = max(0, cmp.Or(o.Probe, 0.1))
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.Drain = cmp.Or(o.Drain, o.Timeout)
	o.Rest = cmp.Or(o.Rest, max(time.Second, 2*o.Think))
	o.MaxWaiting = cmp.Or(o.MaxWaiting, 20_000)
	o.MaxHistory = cmp.Or(o.MaxHistory, 1_000_000)
	if o.Mix == (Mix{}) {
		o.Mix = DefaultMix
	}
	if err := o.modest(t.MaxRate); err != nil {
		return nil, err
	}
	n := o.Shard.share(o.Browsers)
	if n == 0 {
		return nil, fmt.Errorf("%d browsers are too few for %d shards", o.Browsers, o.Shard.Of)
	}
	l := &load{Options: o, rules: newRules(), started: time.Now(),
		rotates: t.Rotation != farmspec.NoRotation, inAddress: t.Carrier.Kind != "cookie", margin: time.Second + t.Limits.Tolerance,
		free: make(chan *browser, n), rested: make(chan *browser, n), tickets: make(chan struct{}, 64),
		history: history{limit: o.MaxHistory}}
	l.clicks.New = func() any { return new(click) }
	l.echoBefore, l.echoAfter, _ = strings.Cut(t.UserEcho, "{user}")
	if err := l.survey(t); err != nil {
		return nil, err
	}
	var err error
	if l.wire, err = o.Engine.wire(t, n, !o.NewConnections); err != nil {
		return nil, err
	}
	for i := range n {
		l.browsers = append(l.browsers, &browser{n: i*max(1, o.Shard.Of) + max(0, o.Shard.Index-1), at: i % len(l.members)})
	}
	return l, nil
}

// survey works the target's addresses out.
func (l *load) survey(t *farmspec.Target) error {
	index := make(map[string]int)
	for i, m := range t.Members {
		u, err := url.Parse(m.URL)
		if err != nil || u.Host == "" {
			return fmt.Errorf("member %s has no address", m.Name)
		}
		if !l.Owned && !Loopback(t, m) {
			return fmt.Errorf("member %s is not on this machine: %s does not lead to a loopback address", m.Name, u.Hostname())
		}
		o := l.origin(u)
		if o == nil {
			o = originOf(u)
			l.origins = append(l.origins, o)
		}
		at := func(path string) *url.URL {
			p, err2 := url.Parse(m.At(path))
			err = cmp.Or(err, err2)
			return p
		}
		l.members = append(l.members, member{name: m.Name, origin: o, prefix: strings.TrimSuffix(u.Path, "/"), login: at(t.Login.Path), logout: at(t.Logout.Path)})
		if err != nil {
			return fmt.Errorf("member %s: an address cannot be read", m.Name)
		}
		index[m.Name] = i
	}
	for _, address := range t.Metrics {
		if u, err := url.Parse(address); err != nil || !l.Owned && !loopbackHost(t, u.Hostname()) {
			return fmt.Errorf("metrics at %s are not on this machine", address)
		}
	}
	everywhere := func(holder, path, marker string, echo bool) (page, error) {
		p := page{marker: []byte(marker), echo: echo, holder: index[holder]}
		if _, ok := index[holder]; !ok || marker == "" {
			return p, fmt.Errorf("page %s has no holder or no marker", path)
		}
		for _, m := range t.Members {
			if t.Handoff == farmspec.NoHandoff { // each shows its own copy
				m = t.Members[p.holder]
			}
			u, err := url.Parse(m.At(path))
			if err != nil {
				return p, fmt.Errorf("page %s: its address cannot be read", path)
			}
			p.at = append(p.at, u)
		}
		return p, nil
	}
	for _, tp := range t.Pages {
		if !tp.Echo {
			continue // bytes of an applet do not prove whose session it was
		}
		p, err := everywhere(tp.Member, tp.Path, tp.Marker, tp.Echo)
		if err != nil {
			return err
		}
		m := &l.members[p.holder]
		m.own = append(m.own, &p)
	}
	for _, m := range l.members {
		if len(m.own) == 0 {
			return fmt.Errorf("member %s holds no page that shows whose session it is", m.name)
		}
	}
	for _, ta := range t.Apps {
		p, err := everywhere(ta.Member, ta.Path, ta.Marker, false)
		if err != nil {
			return err
		}
		l.apps = append(l.apps, app{name: ta.Name, field: ta.Field, page: p, idle: ta.Idle})
	}
	return nil
}

// Loopback reports whether the member's address leads to this machine.
func Loopback(t *farmspec.Target, m farmspec.Member) bool {
	u, err := url.Parse(m.URL)
	if err != nil {
		return false
	}
	return loopbackHost(t, u.Hostname())
}

func loopbackHost(t *farmspec.Target, host string) bool {
	host = strings.ToLower(host)
	for name, ip := range t.Resolve {
		if strings.EqualFold(name, host) {
			return isLoopback(ip)
		}
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || isLoopback(host)
}

// modest reports an error where the load asks for more than the farm's owner
// allows, in page views per second; zero is no bound.
func (o *Options) modest(most float64) error {
	if most == 0 {
		return nil
	}
	peak := o.Pace.Peak
	if o.Search != nil {
		peak = o.Search.From
	}
	if peak == 0 {
		return fmt.Errorf("the target allows %s at most, and the pace does not say its peak", perSecond(most))
	}
	if asked := peak * (1 + o.Probe); asked > most {
		return fmt.Errorf("the target allows %s at most; the load asks for %s, %v of them followed by a spent token: %s", perSecond(most), perSecond(peak), o.Probe, perSecond(asked))
	}
	return nil
}

// accounts gives each browser the account of its number, where the target has
// only so many: a shard leaves those of the others alone. Where accounts are
// made up, browsers take them as they log in.
func (l *load) accounts(ctx context.Context) (giveBack func(), err error) {
	pool, limited := l.Target.Hooks.Accounts.(interface {
		Size() int
		Return(farmspec.User)
	})
	if !limited {
		return func() {}, nil
	}
	of := max(1, l.Shard.Of)
	spare := 0
	if l.rotates {
		spare = sacrifices + 3
	}
	if need := l.Browsers + spare*of; pool.Size() < need {
		return nil, fmt.Errorf("the target has %d accounts; %d browsers need %d of their own: add accounts, or ask for fewer --browsers", pool.Size(), l.Browsers, need)
	}
	var taken []farmspec.User
	giveBack = func() {
		for _, u := range taken {
			pool.Return(u)
		}
	}
	for n := range l.Browsers + spare*of {
		u, err := l.Target.Hooks.Accounts.New(ctx, "load")
		if err != nil {
			giveBack()
			return nil, err
		}
		taken = append(taken, u)
		if of > 1 && n%of != l.Shard.Index-1 {
			continue
		}
		if n < l.Browsers {
			l.browsers[n/of].user = u
		} else {
			l.spares = append(l.spares, u)
		}
	}
	return giveBack, nil
}

// spare returns an account for a browser beside those of the plan; the zero
// User is one that is still to be made up.
func (l *load) spare() farmspec.User {
	if len(l.spares) == 0 {
		return farmspec.User{}
	}
	u := l.spares[0]
	l.spares = l.spares[1:]
	return u
}

func (l *load) run(ctx context.Context) (*farmspec.LoadReport, error) {
	cpu, began := cpuTime(), time.Now()
	r := &farmspec.LoadReport{Schema: farmspec.LoadSchema, Target: describe(l.Target), Tool: farmspec.Tool{Version: l.Version, Commit: l.Commit}}
	r.Run = farmspec.Run{Seed: l.Seed, Command: l.Command, Complete: true}
	r.Plan = farmspec.LoadPlan{Engine: l.Engine.String(), Browsers: l.Browsers, WarmUp: l.WarmUp, Duration: l.Duration, Think: l.Think,
		Mix: l.Mix.String(), Connections: "keep", Probe: l.Probe, Seed: l.Seed, Shards: []int{max(1, l.Shard.Index)}, ShardsOf: max(1, l.Shard.Of)}
	if l.NewConnections {
		r.Plan.Connections = "new"
	}
	giveBack, err := l.accounts(ctx)
	if err != nil {
		return nil, err
	}
	defer giveBack()
	if err := l.contrast(ctx); err != nil {
		return nil, err
	}
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	stop := l.sacrifice(ctx)
	if l.Search != nil {
		err = l.search(ctx, r)
	} else {
		var t *tally
		if t, err = l.runStage(ctx, l.Pace, "", l.vegetaResults()); t != nil {
			l.fill(r, t, l.Pace)
		}
	}
	stop()
	if err != nil {
		return nil, err
	}
	l.lastProbes(ctx)
	if ctx.Err() != nil {
		r.Run.Complete, r.Run.Why = false, "interrupted"
	}
	tr := l.wire.traffic()
	r.Traffic = farmspec.LoadTraffic{Requests: tr.requests.Load(), Connections: tr.connections.Load(), BytesOut: tr.out.Load(), BytesIn: tr.in.Load(), CPU: cpuTime() - cpu,
		LoadCPU: l.loadCPU, LoadRequests: l.loadRequests}
	r.Run.Took = time.Since(began)
	if r.Run.Started.IsZero() {
		r.Run.Started = began
	}
	r.Truth = l.judge()
	r.Notes = l.notes
	r.Exit = exitOf(r)
	return r, nil
}

func (l *load) vegetaResults() vegeta.Encoder {
	if l.Results == nil {
		return nil
	}
	return vegeta.NewEncoder(l.Results)
}

func (l *load) fill(r *farmspec.LoadReport, t *tally, p Pace) {
	r.Plan.Pacer = p.Text
	r.Run.Started = t.started
	t.report(r, t.until)
	r.Metrics = t.farm
	if r.Outcomes[farmspec.LoadAccepted] == 0 {
		l.note("Nothing was served in the time that counts.")
	}
	if n := r.Arrivals.Missed; n > 0 {
		l.note("%d arrivals were missed: no browser was free for them in time. Latencies are without them.", n)
	}
	if limit := float64(len(l.browsers)) / max(l.Think.Seconds(), 1e-9); l.Think > 0 && l.Pace.Rate(0) > limit {
		l.note("%d browsers that think for %v can make %.0f page views a second at most.", len(l.browsers), l.Think, limit)
	}
}

func describe(t *farmspec.Target) farmspec.TargetInfo {
	info := farmspec.TargetInfo{Name: t.Name, Product: t.Product, Version: t.Version, Artefact: t.Artefact,
		Handoff: t.Handoff, Rotation: t.Rotation, Topology: t.Topology, Replay: t.Replay, Levels: []farmspec.Level{farmspec.Black}}
	for _, m := range t.Members {
		info.Members = append(info.Members, m.Name+" "+m.URL)
	}
	return info
}

// contrast asks every member for a page without a session. A farm that serves
// it is not one whose sessions could be judged.
func (l *load) contrast(ctx context.Context) error {
	for i := range l.members {
		p := l.members[i].own[0]
		c := l.click(ctx, new(jar), errand{url: p.at[i]})
		if v, _ := c.judge(&page{marker: p.marker}, nil); v == served {
			l.unauthenticated++
			l.accuse("WF-1.6", "%s served a protected page to a browser without a session", l.members[i].name)
		}
		l.done(c)
	}
	return ctx.Err()
}

// prepare logs all browsers in. Those that cannot will try again when they are
// needed; it is an error if none can.
func (l *load) prepare(ctx context.Context) error {
	causes := make(map[string]uint64)
	var mu sync.Mutex
	var done, in int
	next := make(chan *browser)
	var pause <-chan time.Time // between log-ins, each of which is three page views at most
	if most := l.Target.MaxRate; most > 0 {
		t := time.NewTicker(time.Duration(3 * float64(time.Second) / most * float64(max(1, l.Shard.Of))))
		defer t.Stop()
		pause = t.C
	}
	var wg sync.WaitGroup
	for range min(len(l.browsers), 4*runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for b := range next {
				r := l.logIn(ctx, b)
				mu.Lock()
				if done++; b.in {
					in++
				} else {
					causes[strings.TrimSuffix(r.outcome+": "+r.detail, ": ")]++
				}
				if l.Progress != nil {
					l.Progress.Preparing(done, len(l.browsers))
				}
				mu.Unlock()
			}
		})
	}
	for _, b := range l.browsers {
		mu.Lock()
		hopeless := in == 0 && done >= 100
		mu.Unlock()
		if ctx.Err() != nil || hopeless {
			break
		}
		if pause != nil {
			select {
			case <-pause:
			case <-ctx.Done():
			}
		}
		next <- b
	}
	close(next)
	wg.Wait()
	switch {
	case ctx.Err() != nil && done < len(l.browsers):
		return fmt.Errorf("log in: interrupted with %d of %d browsers ready", in, len(l.browsers))
	case in == 0:
		return &NotReadyError{causes}
	case in < len(l.browsers):
		l.note("%d of %d browsers could not log in before the start: %s.", len(l.browsers)-in, len(l.browsers), strings.Join(names(causes), ", "))
	}
	for _, b := range l.browsers {
		l.free <- b
	}
	return nil
}

// sacrifices is how many browsers give their sessions for probes, where a
// replay ends them.
const sacrifices = 4

// sacrifice starts the browsers that present spent tokens where that ends
// the session. The function stops them.
func (l *load) sacrifice(ctx context.Context) func() {
	if !l.rotates || l.Target.Replay == farmspec.Reject {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i := range sacrifices {
		b := &browser{n: l.Browsers + i, user: l.spare(), at: i % len(l.members)}
		l.sacrificed = append(l.sacrificed, b)
		wg.Go(func() {
			d := newDice(l.Seed, uint64(b.n))
			for {
				select {
				case <-ctx.Done():
					return
				case <-l.tickets:
					l.offer(context.WithoutCancel(ctx), b, &d)
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// offer gives a session for a probe: it logs in, uses its token twice and
// presents one that has been replaced.
func (l *load) offer(ctx context.Context, b *browser, d *dice) bool {
	if l.logIn(ctx, b); !b.in {
		return false
	}
	for range 2 {
		if l.view(ctx, b, View, l.somePage(b.at, d)); !b.in {
			return false
		}
	}
	s, ok := l.stale(b)
	if !ok {
		return false
	}
	ok = l.replay(ctx, b, s, "spent")
	b.in = false
	return ok
}

// lastProbes makes sure that a few spent tokens have been presented however
// short the run was: an accepted page proves little without a refused token.
func (l *load) lastProbes(ctx context.Context) {
	if !l.rotates || l.probes.Load() > 0 || ctx.Err() != nil {
		return
	}
	d := newDice(l.Seed, math.MaxUint64)
	for range 3 {
		l.offer(ctx, &browser{n: l.Browsers + sacrifices, user: l.spare(), at: d.below(len(l.members))}, &d)
	}
}

// runStage runs one schedule with the browsers there are. The tally is complete
// when it returns.
func (l *load) runStage(ctx context.Context, p Pace, name string, results vegeta.Encoder) (*tally, error) {
	t := newTally(l.WarmUp, l.Duration, l.members, results)
	s := &schedule{pacer: p.Pacer, end: t.end, shard: l.Shard}
	t.started = time.Now()
	if !l.StartAt.IsZero() {
		if time.Until(l.StartAt) < 0 {
			return nil, fmt.Errorf("begin at %s: it took until %s to log in; choose a later time",
				l.StartAt.Format(time.TimeOnly), time.Now().Format(time.TimeOnly))
		}
		select {
		case <-time.After(time.Until(l.StartAt)):
		case <-ctx.Done():
		}
		t.started = time.Now().Add(time.Until(l.StartAt)) // by the monotonic clock
	}
	// Page views under way may end after ctx has; they get a moment.
	views, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	lend, noMore := context.WithCancel(ctx)
	defer noMore()
	ends := time.AfterFunc(time.Until(t.started.Add(t.end+l.Drain)), noMore)
	defer ends.Stop()
	stop := context.AfterFunc(lend, func() { time.AfterFunc(min(l.Timeout, 2*time.Second), giveUp) })
	defer stop()

	var brokenOff atomic.Int64
	t.until = t.end
	watch := context.AfterFunc(ctx, func() { brokenOff.Store(int64(max(1, time.Since(t.started)))) })
	defer watch()

	farm := l.watchFarm(views, t.started, t.every)
	gathering, gathered := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gathered)
		l.gather(t, p, name, gathering)
	}()
	before, sent := cpuTime(), l.wire.traffic().requests.Load()
	l.Engine.drive(ctx, s, &stage{l, t, lend, views})
	l.loadCPU, l.loadRequests = l.loadCPU+cpuTime()-before, l.loadRequests+l.wire.traffic().requests.Load()-sent
	if ctx.Err() != nil {
		t.until = min(time.Duration(cmp.Or(brokenOff.Load(), int64(time.Since(t.started)))), t.end)
	}
	close(gathering)
	<-gathered
	t.farm = farm.end(l)
	if t.resultErr != nil {
		return nil, fmt.Errorf("write results: %w", t.resultErr)
	}
	return t, nil
}

// gather takes records in and tells of them until done.
func (l *load) gather(t *tally, p Pace, name string, done <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			t.gather()
			return
		case <-tick.C:
		}
		t.gather()
		if l.Progress != nil {
			now := time.Since(t.started)
			n := t.glance(now)
			n.Stage, n.Asked, n.Browsers = name, p.Rate(now)*float64(l.Shard.share(1000))/1000, len(l.browsers)
			n.Busy, n.Waiting, n.Probes = int(l.busy.Load()), int(l.waiting.Load()), l.probes.Load()
			l.Progress.Loading(n)
		}
	}
}

// stage is one schedule with the browsers there are.
type stage struct {
	*load
	t *tally
	// lend is done when nobody waits for a browser any more, views when page
	// views under way are given up.
	lend, views context.Context
}

// job is an arrival that is to be served.
type job struct {
	Arrival
	action   Action
	dice     dice
	b        *browser
	returned bool // the browser had rested
}

func (s *stage) job(a Arrival) job {
	d := newDice(s.Seed, a.N)
	action := s.Mix.pick(d.next())
	return job{Arrival: a, action: action, dice: d}
}

// serve lends a browser to an arrival and records what it does.
func (s *stage) serve(a Arrival) {
	j := s.job(a)
	if !s.borrow(&j) {
		s.miss(&j)
		return
	}
	s.carryOut(s.views, &j)
}

// miss records that an arrival got no browser.
func (s *stage) miss(j *job) {
	s.t.put(record{n: j.N, due: j.Due, end: max(j.Due, time.Since(s.t.started)), missed: true, result: result{action: j.action, member: -1}})
}

// carryOut does what the arrival wants with the browser that was lent to it,
// and records it.
func (s *stage) carryOut(ctx context.Context, j *job) {
	l, d := s.load, &j.dice
	l.busy.Add(1)
	rest := j.action == Idle && !j.returned
	if rest {
		j.action = View // the browser that goes to rest makes a last view
	}
	r := record{n: j.N, due: j.Due, begin: time.Since(s.t.started)}
	r.result = l.act(ctx, j.b, j.action, d)
	r.end = time.Since(s.t.started)
	s.t.put(r)
	if r.outcome == farmspec.LoadAccepted && d.chance(l.Probe) {
		l.probe(ctx, j.b)
	}
	l.busy.Add(-1)
	l.giveBack(j.b, rest, d)
}

// borrow takes a free browser, one that has rested if possible for Idle; false
// where none is free in time or too many wait.
func (s *stage) borrow(j *job) bool {
	if s.borrowNow(j, false) {
		return true
	}
	if int(s.waiting.Add(1)) > s.MaxWaiting {
		s.waiting.Add(-1)
		return false
	}
	defer s.waiting.Add(-1)
	select {
	case j.b = <-s.free:
	case j.b = <-s.rested: // nobody else is left
		j.returned = true
	case <-s.lend.Done():
		return false
	}
	return true
}

// borrowNow takes a browser if one is free; anybody's that rests if it waited.
func (s *stage) borrowNow(j *job, waited bool) bool {
	if j.action == Idle {
		select {
		case j.b = <-s.rested:
			j.returned = true
			return true
		default:
		}
	}
	select {
	case j.b = <-s.free:
		return true
	default:
	}
	if waited {
		select {
		case j.b = <-s.rested:
			j.returned = true
			return true
		default:
		}
	}
	return false
}

func (l *load) giveBack(b *browser, rest bool, d *dice) {
	switch {
	case rest:
		time.AfterFunc(l.Rest, func() { l.rested <- b })
	case l.Think > 0:
		half := l.Think / 2
		time.AfterFunc(half+time.Duration(d.next()%uint64(2*half+1)), func() { l.free <- b })
	default:
		l.free <- b
	}
}

// probe presents a token that must be refused: this browser's, where that is
// without consequence, or that of one which gives its session for it.
func (l *load) probe(ctx context.Context, b *browser) {
	if l.rotates && l.Target.Replay != farmspec.Reject {
		select {
		case l.tickets <- struct{}{}:
		default: // they are busy
		}
		return
	}
	if s, ok := l.stale(b); ok {
		l.replay(ctx, b, s, "spent")
	}
}

// search looks for the highest rate that keeps the limits. The report's
// numbers are of the best stage that did, or of the first.
func (l *load) search(ctx context.Context, r *farmspec.LoadReport) error {
	s := *l.Search
	s.Until = cmp.Or(s.Until, 0.05)
	low, high := 0.0, 0.0
	var best *tally
	var bestPace Pace
	highest := maxRate
	if l.Target.MaxRate > 0 {
		highest = l.Target.MaxRate / (1 + l.Probe)
	}
	for rate := s.From; len(r.Steps) < 40; {
		p, err := Constant(rate)
		if err != nil {
			break // the highest rate there is
		}
		t, err := l.runStage(ctx, p, fmt.Sprintf("step %d: %s", len(r.Steps)+1, p.Text), nil)
		if err != nil {
			return err
		}
		var now farmspec.LoadReport
		t.report(&now, t.until)
		step := s.judge(rate*float64(l.Shard.share(1000))/1000, &now)
		if ctx.Err() != nil {
			if best == nil {
				best, bestPace = t, p
			}
			break
		}
		r.Steps = append(r.Steps, step)
		if step.OK || best == nil {
			best, bestPace = t, p
		}
		if step.OK {
			low = rate
		} else {
			high = rate
		}
		switch {
		case high == 0 && low >= highest:
			l.note("The target allows no more than %s, at which every limit holds.", perSecond(l.Target.MaxRate))
			high = low
		case high == 0:
			rate = min(2*low, highest)
		case low == 0:
			rate = high / 2
		default:
			rate = (low + high) / 2
		}
		if high > 0 && (high-low)/high <= s.Until || rate < 0.01 {
			break
		}
	}
	if best == nil {
		return errors.New("search: no stage could be run")
	}
	l.fill(r, best, bestPace)
	return nil
}

// judge says whether a stage kept the limits.
func (s *Search) judge(rate float64, r *farmspec.LoadReport) farmspec.LoadStep {
	a := r.Arrivals
	served := r.Outcomes[farmspec.LoadAccepted] + r.Outcomes[farmspec.LoadHonest]
	step := farmspec.LoadStep{Asked: rate, Achieved: a.AchievedRate, P99: r.Latency.P99, Failed: 1}
	if a.Asked > 0 {
		step.Failed = 1 - float64(served)/float64(a.Asked)
	}
	switch {
	case a.Asked == 0:
		step.Why = "no arrival was due"
	case step.Failed > s.Failed:
		step.Why = fmt.Sprintf("%.2f %% were not served, over %.2f %%", 100*step.Failed, 100*s.Failed)
	case step.P99 > s.P99:
		step.Why = fmt.Sprintf("p99 %v, over %v", step.P99.Round(time.Microsecond), s.P99)
	case step.Achieved < 0.95*a.AskedRate:
		step.Why = fmt.Sprintf("%.1f/s achieved of %.1f/s", step.Achieved, a.AskedRate)
	default:
		step.OK = true
	}
	return step
}

// judge checks the history and sums up what the farm did with tokens.
func (l *load) judge() farmspec.LoadTruth {
	n := func(outcome string) uint64 { return l.counts[slices.Index(counted7[:], outcome)].Load() }
	t := farmspec.LoadTruth{
		Accepted: n(farmspec.LoadAccepted), HonestRefusals: n(farmspec.LoadHonest), WrongRefusals: n(farmspec.LoadWrongRefusal),
		Doubtful: n(farmspec.LoadDoubtful), WrongAccepts: n(farmspec.LoadWrongAccept), WrongUsers: n(farmspec.LoadWrongUser),
		WrongStates: n(farmspec.LoadWrongState), Unauthenticated: l.unauthenticated,
		Probes: l.probes.Load(), ProbesRefused: l.probesRefused.Load(), Unkept: l.history.unkept, Operations: l.history.kept,
	}
	if l.Progress != nil {
		l.Progress.Checking(t.Operations)
	}
	var found []farmspec.LoadViolation
	if l.rotates {
		found, t.Sessions = l.history.check(model.Rules{Coalesce: l.Target.Rotation == farmspec.Coalesce, Grace: l.Target.Grace}, l.members)
	}
	found = append(found, l.accusations...)
	slices.SortStableFunc(found, func(a, b farmspec.LoadViolation) int { return cmp.Compare(a.At, b.At) })
	if len(found) > maxViolations {
		t.MoreViolations = len(found) - maxViolations
		found = found[:maxViolations]
	}
	t.MoreViolations += l.moreAccusations
	t.Violations = found
	judgeTruth(&t, l.rotates)
	return t
}

// judgeTruth gives the verdict that the numbers and violations support.
func judgeTruth(t *farmspec.LoadTruth, rotates bool) {
	broken := make(map[string]int)
	for _, v := range t.Violations {
		if v.Invariant != model.Undecided {
			broken[v.Invariant]++
		}
	}
	t.Bound = 1
	if t.Probes > 0 {
		// Wilson's upper bound; the rule of three where all were refused.
		t.Bound = upper(t.Probes-t.ProbesRefused, t.Probes)
	}
	var wrong []string
	for _, w := range []struct {
		n    uint64
		what string
	}{
		{t.WrongAccepts, "accepted spent or closed tokens"}, {t.WrongRefusals, "refused fresh tokens"}, {t.WrongUsers, "answered the wrong user"},
		{t.WrongStates, "lost what it had confirmed"}, {t.Unauthenticated, "served a page without a session"},
	} {
		if w.n > 0 {
			wrong = append(wrong, fmt.Sprintf("%s (%d times)", w.what, w.n))
		}
	}
	switch {
	case len(wrong) > 0:
		t.Verdict, t.Reason = farmspec.Fail, "The farm "+strings.Join(wrong, ", ")+"."
	case len(broken) > 0:
		t.Verdict, t.Reason = farmspec.Fail, "The history breaks "+strings.Join(slices.Sorted(maps.Keys(broken)), ", ")+"."
	case t.Accepted == 0:
		t.Verdict, t.Reason = farmspec.Inconclusive, "Nothing was accepted, so no refusal means anything."
	case rotates && t.Probes == 0:
		t.Verdict, t.Reason = farmspec.Inconclusive, "No spent token could be presented."
	case len(t.Violations) > 0:
		t.Verdict, t.Reason = farmspec.Inconclusive, "The history could not be judged as a whole: "+t.Violations[0].Text+"."
	case !rotates:
		t.Verdict, t.Reason = farmspec.Pass, fmt.Sprintf("%d answers, none wrong. The farm's tokens do not rotate, so none is ever spent.", t.Accepted+t.HonestRefusals)
		if t.Probes > 0 {
			t.Reason += fmt.Sprintf(" All %d closed tokens were refused.", t.Probes)
		}
	default:
		t.Verdict = farmspec.Pass
		t.Reason = fmt.Sprintf("%d answers and the history of %d sessions show nothing wrong. All %d spent or closed tokens were refused: with 95 %% confidence fewer than one in %.0f is accepted.",
			t.Accepted+t.HonestRefusals, t.Sessions, t.Probes, math.Floor(1/t.Bound))
		if t.Unkept > 0 {
			t.Reason += fmt.Sprintf(" %d operations were beyond the history's size and judged one by one only.", t.Unkept)
		}
	}
}

// upper is the highest rate that k hits of n trials leave possible, with 95 %
// confidence: 3/n for no hit, else Wilson's score bound.
func upper(k, n uint64) float64 {
	N := float64(n)
	if k == 0 {
		return min(1, 3/N)
	}
	const z = 1.645
	p := float64(k) / N
	return min(1, (p+z*z/(2*N)+z*math.Sqrt(p*(1-p)/N+z*z/(4*N*N)))/(1+z*z/N))
}

func exitOf(r *farmspec.LoadReport) int {
	switch {
	case r.Truth.Verdict == farmspec.Fail:
		return farmspec.ExitNonconformant
	case r.Truth.Verdict != farmspec.Pass, !r.Run.Complete, r.Outcomes[farmspec.LoadAccepted] == 0:
		return farmspec.ExitInconclusive
	}
	return farmspec.ExitConformant
}
