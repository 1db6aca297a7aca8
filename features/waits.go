package features

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/farmspec/farmspec"
)

// Time on a farm whose clock cannot be moved: a scenario that lets time pass
// waits. Waiting scenarios disturb nobody, so they wait side by side, as many
// as the farm has accounts for, while others run.

// Waits is how long a run is going to wait, as far as that is known beforehand.
type Waits struct {
	// Cases is how many scenarios wait; AtOnce how many of them at a time.
	Cases, AtOnce int
	// Total is how long it takes until the last has waited.
	Total time.Duration
	// Longest is the scenario that waits the longest, and LongestFor how long.
	Longest    farmspec.CaseID
	LongestFor time.Duration
	// LeftOut are the cases that would wait longer than Options.MaxWait, in
	// the order of the plan; their results say so as well.
	LeftOut []LeftOut
}

// LeftOut is a case that would wait too long.
type LeftOut struct {
	farmspec.CaseID
	For time.Duration
}

// PlanWaits says how long Judge would wait, without asking any target
// anything.
func PlanWaits(o Options, targets ...*farmspec.Target) (Waits, error) {
	j, err := newJudge(o, targets)
	if err != nil {
		return Waits{}, err
	}
	var all Waits
	var each []time.Duration
	for _, t := range targets {
		var beside []time.Duration
		var alone time.Duration
		for _, p := range j.cases {
			switch {
			case p.target != t || p.wait == 0:
				continue
			case p.tooLong:
				all.LeftOut = append(all.LeftOut, LeftOut{p.id(), p.wait})
				continue
			case p.verdict != "":
				continue
			}
			if all.Cases++; p.wait > all.LongestFor {
				all.Longest, all.LongestFor = p.id(), p.wait
			}
			if j.alone(p) {
				alone += p.wait
			} else {
				beside = append(beside, p.wait)
			}
		}
		if n := min(len(beside), j.waiters(t)); n > 0 || alone > 0 {
			all.AtOnce = max(all.AtOnce, n, 1)
			each = append(each, alone+makespan(beside, n))
		}
	}
	all.Total = makespan(each, targetsAtOnce)
	return all, nil
}

// makespan is when the last of several things has been done, taken one after
// another, n at a time.
func makespan(each []time.Duration, n int) time.Duration {
	if len(each) == 0 {
		return 0
	}
	free := make([]time.Duration, max(n, 1))
	for _, d := range each {
		slices.Sort(free)
		free[0] += d
	}
	return slices.Max(free)
}

// waiting reports whether the scenario waits at the target, rather than move
// its clock.
func (o *Options) waiting(p *planned) bool { return p.scenario.Time && !o.clock(p.target) }

// alone reports whether a case must have the farm to itself: what it does
// disturbs others, and the farm makes no private one of itself.
func (j *judge) alone(p *planned) bool { return j.private(p) && p.target.Hooks.Fork == nil }

// private reports whether what a case does would disturb others at the same
// farm. To move the clock does, and to wait does not.
func (j *judge) private(p *planned) bool {
	return p.scenario.Exclusive || p.scenario.Time && j.clock(p.target)
}

// waiters is how many scenarios may wait at the target at a time: all but one
// that it has accounts for, so that others can run meanwhile.
func (j *judge) waiters(t *farmspec.Target) int { return max(1, cap(j.rooms[t])-1) }

// lapses are the steps that let time pass, and how much at most. A scenario
// waits for the sum of its steps'.
var lapses = []struct {
	step *regexp.Regexp
	most func(t *farmspec.Target) time.Duration
}{
	{regexp.MustCompile(`^half the idle time-out passes$`), func(t *farmspec.Target) time.Duration { return t.Limits.Idle / 2 }},
	{regexp.MustCompile(`^three quarters of the idle time-out pass$`), func(t *farmspec.Target) time.Duration { return t.Limits.Idle * 3 / 4 }},
	{regexp.MustCompile(`^(almost the whole idle time-out passes|all but ten seconds of the idle time-out pass)$`), func(t *farmspec.Target) time.Duration { return t.Limits.Idle }},
	{regexp.MustCompile(`^the idle time-out (passes|and a second pass|is over)$`), func(t *farmspec.Target) time.Duration { return t.Limits.Idle + marginOf(t, t.Limits.Idle) }},
	{regexp.MustCompile(`^a little more time passes$`), func(t *farmspec.Target) time.Duration { return 2 * marginOf(t, t.Limits.Idle) }},
	{regexp.MustCompile(`^five minutes pass$`), lastingHandoff},
	{regexp.MustCompile(`^eleven seconds pass$`), func(*farmspec.Target) time.Duration { return 11 * time.Second }},
	{regexp.MustCompile(`^(the grace period passes|the tokens they got lead to no more than one living session)$`), afterGrace},
	{regexp.MustCompile(`^(almost|all but ten seconds of) the idle time-out of .* pass(es)?$`), longestAppIdle},
	{regexp.MustCompile(`^the idle time-out of every application passes`), func(t *farmspec.Target) time.Duration {
		return longestAppIdle(t) + marginOf(t, longestAppIdle(t))
	}},
	{regexp.MustCompile(`^\w+ goes on visiting pages until almost the absolute lifetime is over$`), func(t *farmspec.Target) time.Duration { return t.Limits.Absolute }},
	{regexp.MustCompile(`^\w+ goes on visiting pages until almost the provider's session is over$`), providerLife},
	{regexp.MustCompile(`^the provider's session is over$`), func(t *farmspec.Target) time.Duration { return 2 * marginOf(t, providerLife(t)) }},
	{regexp.MustCompile(`^\w+ goes on visiting pages until AAL\d's overall limit has passed$`), func(t *farmspec.Target) time.Duration {
		return overallOf(t, string(farmspec.AAL1))
	}},
	{regexp.MustCompile(`^AAL\d's idle limit passes$`), func(t *farmspec.Target) time.Duration { return idleOf(t, string(farmspec.AAL2)) }},
}

// waits is how long a scenario waits at a target, at most. One whose steps do
// not tell is taken to wait for the idle time-out.
func (s *Scenario) waits(t *farmspec.Target) time.Duration {
	var sum time.Duration
	told := false
	for _, text := range s.steps {
		for _, l := range lapses {
			if l.step.MatchString(text) {
				sum += l.most(t)
				told = true
			}
		}
	}
	if !told {
		return t.Limits.Idle + marginOf(t, t.Limits.Idle)
	}
	return sum
}

// marginOf is how far from a limit the judge stays.
func marginOf(t *farmspec.Target, limit time.Duration) time.Duration {
	return max(t.Limits.Tolerance, limit/20, time.Second)
}

// afterGrace is how long it takes until a predecessor is good no more.
func afterGrace(t *farmspec.Target) time.Duration {
	if t.Grace == 0 {
		return 0
	}
	return t.Grace + max(time.Second, t.Limits.Tolerance)
}

// providerLife is how long the provider's sessions are documented to last.
func providerLife(t *farmspec.Target) time.Duration {
	if t.Hooks.Federation == nil {
		return 0
	}
	return t.Hooks.Federation.Circle().Lifetime
}

func longestAppIdle(t *farmspec.Target) time.Duration {
	var longest time.Duration
	for _, a := range t.Apps {
		longest = max(longest, a.Idle)
	}
	return longest
}

// wait lets real time pass. Meanwhile the scenario takes no place from others.
func (w *world) wait(ctx context.Context, d time.Duration) error {
	if w.leaveSlot != nil {
		w.leaveSlot()
	}
	ended := w.judge.waitBegan(farmspec.Wait{CaseID: w.of.id(), Until: time.Now().Add(d)})
	defer ended()
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait %v for the farm's time: %w", d.Round(time.Second), ctx.Err())
	}
}

// waitBegan notes a wait; what it returns takes it off again.
func (j *judge) waitBegan(wait farmspec.Wait) (ended func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.waits == nil {
		j.waits = map[farmspec.CaseID]farmspec.Wait{}
	}
	j.waits[wait.CaseID] = wait
	j.tellWaits()
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.waits, wait.CaseID)
		j.tellWaits()
	}
}

// tellWaits tells the progress who waits; the caller holds the lock.
func (j *judge) tellWaits() {
	if j.Progress == nil {
		return
	}
	waits := make([]farmspec.Wait, 0, len(j.waits))
	for _, w := range j.waits {
		waits = append(waits, w)
	}
	slices.SortFunc(waits, func(a, b farmspec.Wait) int { return a.Until.Compare(b.Until) })
	j.Progress.Waiting(waits)
}

// watchWaits keeps the progress moving while scenarios wait, until the
// returned function is called.
func (j *judge) watchWaits() (stop func()) {
	if j.Progress == nil {
		return func() {}
	}
	tick, done, ended := time.NewTicker(time.Second), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			j.mu.Lock()
			if len(j.waits) > 0 {
				j.tellWaits()
			}
			j.mu.Unlock()
		}
	}()
	return func() {
		tick.Stop()
		close(done)
		<-ended
	}
}

// tooSlow reports whether a scenario about time was itself so slow, beside
// what it let pass, that the farm need not have kept the session any more.
func (w *world) tooSlow() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed > 0 && time.Since(w.began)-w.waited > min(marginOf(w.target, w.target.Limits.Idle), 10*time.Second)
}
