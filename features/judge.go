package features

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cucumber/godog"
	"golang.org/x/sync/errgroup"

	"github.com/farmspec/farmspec"
)

// Options say what to run and how. The zero value runs everything at every
// level the targets offer.
type Options struct {
	// Run are scenario IDs or globs; empty is all. Tags is a Cucumber tag
	// expression; empty is all.
	Run  []string
	Tags string
	// Level is the highest level of observation to use. Empty is White.
	Level farmspec.Level
	// Parallel is the number of scenarios at a time. Zero is twice the processors.
	Parallel int
	// Timeout bounds one scenario. Zero is 30 seconds beyond what it waits for on purpose.
	Timeout time.Duration
	// MaxWait bounds the waiting of one scenario where time cannot be moved.
	MaxWait time.Duration
	// Seed fixes every random choice of the judge. Zero draws one and reports it.
	Seed uint64
	// FailFast stops planning new cases after the first failure.
	FailFast bool
	// Progress is told of the run; nil is silence.
	Progress farmspec.Progress
	// File is the target file that described the target, for the command that
	// repeats a case; empty where the target has a name to choose it by.
	File string
	// Command is how the run was started, for the report.
	Command string
	// Version and Commit identify the tool.
	Version, Commit string
	// Standards names the targets on which scenarios that only standards ask
	// for are run; empty is all. Where several profiles of one farm are
	// judged, its cookies and caches need not be looked at in each.
	Standards []string
	// Sparse leaves out the evidence: verdicts and reasons only.
	Sparse bool
	// Features are the feature files; nil is the built-in ones.
	Features fs.FS
}

func (o Options) withDefaults() Options {
	if o.Level == "" {
		o.Level = farmspec.White
	}
	if o.Parallel <= 0 {
		o.Parallel = 2 * runtime.GOMAXPROCS(0)
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	for o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	return o
}

// Plan returns the cases that Judge would run, and those it would not with
// the reason, without asking any target anything.
func Plan(o Options, targets ...*farmspec.Target) ([]farmspec.Result, error) {
	j, err := newJudge(o, targets)
	if err != nil {
		return nil, err
	}
	var results []farmspec.Result
	for _, p := range j.cases {
		r := j.result(p)
		r.Verdict, r.Reason = p.verdict, p.reason
		if p.verdict == "" {
			r.Verdict = farmspec.Planned
		}
		results = append(results, *r)
	}
	return results, nil
}

// Judge runs the selected scenarios against each target and returns the
// report. The error is a UsageError or a fault of the judge itself; whatever
// the targets did is in the report. When the context ends, what has ended is
// kept, the rest is reported as not run, and the report is marked incomplete.
func Judge(ctx context.Context, o Options, targets ...*farmspec.Target) (*farmspec.Report, error) {
	j, err := newJudge(o, targets)
	if err != nil {
		return nil, err
	}
	return j.run(ctx)
}

type judge struct {
	Options
	features []feature
	targets  []*farmspec.Target
	cases    []*planned
	byTarget map[*farmspec.Target]map[string]*planned // by file and name

	slots chan struct{} // one for each scenario that may run at a time
	// rooms are likewise, for each target: no more than it has accounts for.
	rooms map[*farmspec.Target]chan struct{}
	// transports are shared by all browsers at a target, as connections have
	// no part in a session.
	transports map[*farmspec.Target]*http.Transport

	mu      sync.Mutex // guards results, stop and calls to Progress
	results map[farmspec.CaseID]*farmspec.Result
	stop    string // why no further case begins
	left    []string
	waits   map[farmspec.CaseID]farmspec.Wait
}

func newJudge(o Options, targets []*farmspec.Target) (*judge, error) {
	j := &judge{Options: o.withDefaults(), targets: targets, results: map[farmspec.CaseID]*farmspec.Result{}}
	if len(targets) == 0 {
		return nil, usage("judge: no target")
	}
	var err error
	if j.features, err = parse(o.Features); err != nil {
		return nil, err
	}
	var all []*Scenario
	for _, f := range j.features {
		all = append(all, f.scenarios...)
	}
	selected, err := Select(all, o.Run, o.Tags)
	if err != nil {
		return nil, err
	}
	j.slots = make(chan struct{}, j.Parallel)
	j.transports = map[*farmspec.Target]*http.Transport{}
	j.rooms = map[*farmspec.Target]chan struct{}{}
	for _, t := range targets {
		j.rooms[t] = make(chan struct{}, room(t))
		j.transports[t] = t.Transport()
	}
	j.cases = plan(selected, targets, &j.Options)
	j.byTarget = map[*farmspec.Target]map[string]*planned{}
	for _, p := range j.cases {
		if j.byTarget[p.target] == nil {
			j.byTarget[p.target] = map[string]*planned{}
		}
		j.byTarget[p.target][p.scenario.File+"\x00"+p.scenario.Name] = p
	}
	return j, nil
}

// crowd is how many people the scenario about many of them has.
const crowd = 30

// cast is how many people any other scenario has at most: two at each member,
// and the bystander.
func cast(t *farmspec.Target) int { return 2*len(t.Members) + 1 }

// room is how many scenarios may be at a target at a time, so that nobody
// waits for an account that is never returned. Those that wait count as well.
func room(t *farmspec.Target) int {
	pool, ok := t.Hooks.Accounts.(farmspec.AccountPool)
	if !ok {
		return 1000
	}
	spare := pool.Size()
	if spare >= cast(t)+crowd {
		spare -= crowd
	}
	return max(1, spare/cast(t))
}

func (j *judge) run(ctx context.Context) (*farmspec.Report, error) {
	started := time.Now()
	if j.Progress != nil {
		var infos []farmspec.TargetInfo
		for _, t := range j.targets {
			infos = append(infos, j.describe(t))
		}
		j.Progress.Planned(len(j.cases), infos)
	}
	for _, p := range j.cases {
		if p.verdict != "" {
			r := j.result(p)
			r.Verdict, r.Reason = p.verdict, p.reason
			j.ended(r)
		}
	}
	defer j.watchWaits()()
	var targets errgroup.Group
	targets.SetLimit(targetsAtOnce)
	for _, t := range j.targets {
		targets.Go(func() error {
			j.runTarget(ctx, t)
			return nil
		})
	}
	_ = targets.Wait()
	for _, t := range j.transports {
		t.CloseIdleConnections()
	}
	return j.report(ctx, started), nil
}

// targetsAtOnce is how many targets are judged at a time.
const targetsAtOnce = 4

// runTarget runs the target's cases: those that wait beside the others, and
// then those that must have the farm to themselves.
func (j *judge) runTarget(ctx context.Context, t *farmspec.Target) {
	var waiting, beside, alone []*planned
	for _, p := range j.cases {
		switch {
		case p.target != t || p.verdict != "":
		case j.alone(p):
			alone = append(alone, p)
		case p.wait > 0:
			waiting = append(waiting, p)
		default:
			beside = append(beside, p)
		}
	}
	if len(waiting)+len(beside)+len(alone) == 0 {
		return
	}
	gate := new(sync.RWMutex) // a case alone on a shared farm takes it alone
	var both sync.WaitGroup
	both.Go(func() { j.interpret(ctx, t, waiting, min(len(waiting), j.waiters(t)), gate) })
	both.Go(func() { j.interpret(ctx, t, beside, j.Parallel, gate) })
	both.Wait()
	j.interpret(ctx, t, alone, j.Parallel, gate)
}

// interpret hands cases of a target to godog, which interprets the Gherkin;
// order of results, verdicts and evidence are the judge's.
func (j *judge) interpret(ctx context.Context, t *farmspec.Target, cases []*planned, concurrency int, gate *sync.RWMutex) {
	if len(cases) == 0 {
		return
	}
	if why := j.over(ctx); why != "" {
		for _, p := range cases {
			r := j.result(p)
			r.Verdict, r.Reason = farmspec.NotRun, why
			j.ended(r)
		}
		return
	}
	var want []string
	ours, contents := map[*planned]bool{}, map[string]bool{}
	for _, p := range cases {
		id, _, _ := strings.Cut(p.scenario.ID, "/")
		want = append(want, "@"+id)
		ours[p], contents[p.scenario.File] = true, true
	}
	var files []godog.Feature
	for _, f := range j.features {
		if contents[f.path] {
			files = append(files, godog.Feature{Name: f.path, Contents: f.content})
		}
	}
	suite := godog.TestSuite{
		Name: "farmspec",
		ScenarioInitializer: func(sc *godog.ScenarioContext) {
			w := &world{judge: j, gate: gate}
			sc.Before(func(ctx context.Context, p *godog.Scenario) (context.Context, error) {
				c := j.byTarget[t][p.Uri+"\x00"+p.Name]
				if !ours[c] {
					return ctx, godog.ErrSkip // another row of a selected outline
				}
				return w.begin(ctx, c)
			})
			sc.After(w.end)
			if j.over(ctx) != "" {
				return // whatever begins now runs no step
			}
			sc.StepContext().Before(w.beforeStep)
			sc.StepContext().After(w.afterStep)
			w.registerSteps(sc)
		},
		Options: &godog.Options{
			Format:          quiet,
			Output:          io.Discard,
			NoColors:        true,
			Strict:          true,
			Concurrency:     concurrency,
			FeatureContents: files,
			Tags:            strings.Join(slices.Compact(want), ","),
			DefaultContext:  ctx,
		},
	}
	suite.Run()
	for _, p := range cases { // a planned case without a result is an error, never nothing
		j.mu.Lock()
		_, ok := j.results[p.id()]
		j.mu.Unlock()
		if !ok {
			r := j.result(p)
			r.Verdict, r.Reason = farmspec.Error, "planned, and the interpreter never ran it"
			j.ended(r)
		}
	}
}

// result is the empty result of a case.
func (j *judge) result(p *planned) *farmspec.Result {
	s := p.scenario
	return &farmspec.Result{
		CaseID: p.id(), Name: s.Name, Feature: s.Feature, File: s.File, Line: s.Line,
		Requirements: s.Requirements, Level: s.Level, Faults: s.Faults, Tags: s.Tags,
		Repeat: j.repeat(p),
	}
}

// repeat is the command that runs a case again.
func (j *judge) repeat(p *planned) string {
	if j.File != "" {
		return fmt.Sprintf("farmspec run '%s' --run '%s' --seed %d", j.File, p.scenario.ID, j.Seed)
	}
	return fmt.Sprintf("farmspec run --run '%s' --target '%s' --seed %d", p.scenario.ID, p.target.Name, j.Seed)
}

// over says why no further case begins; "" where the run goes on.
func (j *judge) over(ctx context.Context) string {
	if ctx.Err() != nil {
		return "the run was interrupted before this case"
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stop
}

func (j *judge) began(id farmspec.CaseID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.Progress != nil {
		j.Progress.Began(id)
	}
}

func (j *judge) ended(r *farmspec.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.results[r.CaseID] = r
	if j.FailFast && r.Verdict == farmspec.Fail && j.stop == "" {
		j.stop = "an earlier case failed and --fail-fast is set"
	}
	if j.Progress != nil {
		j.Progress.Ended(r)
	}
}

// leave notes what a case could not undo.
func (j *judge) leave(c farmspec.CaseID, what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.left = append(j.left, fmt.Sprintf("%s on %s: %s", c.Scenario, c.Target, what))
}

// describe tells what a report may know of a target.
func (j *judge) describe(t *farmspec.Target) farmspec.TargetInfo {
	info := farmspec.TargetInfo{
		Name: t.Name, Product: t.Product, Version: t.Version, Artefact: t.Artefact,
		Handoff: t.Handoff, Rotation: t.Rotation, Topology: t.Topology, Replay: t.Replay,
		Levels: []farmspec.Level{farmspec.Black}, File: j.File,
	}
	for _, m := range t.Members {
		info.Members = append(info.Members, m.Name+" "+m.URL)
	}
	offered := map[farmspec.Level]bool{}
	for hook, level := range farmspec.HookLevel {
		if t.Hooks.Has(hook) && order(level) <= order(j.Level) {
			info.Hooks = append(info.Hooks, hook)
			offered[level] = true
		}
	}
	slices.Sort(info.Hooks)
	for _, l := range []farmspec.Level{farmspec.Grey, farmspec.White} {
		if offered[l] {
			info.Levels = append(info.Levels, l)
		}
	}
	return info
}

// violation is a broken rule of the farm: a failed expectation.
type violation struct{ text string }

func (e *violation) Error() string { return e.text }

// failedControl is an observation that proves nothing, because the farm did
// not do what it must do for the observation to mean anything.
type failedControl struct{ text string }

func (e *failedControl) Error() string { return e.text }

// notOffered is an ability that was asked for and is not there.
type notOffered struct{ text string }

func (e *notOffered) Error() string { return e.text }

// unseen is what this description of the target does not let one see.
type unseen struct{ text string }

func (e *unseen) Error() string { return e.text }

// verdictOf maps a scenario's first error to its verdict.
func verdictOf(err error) farmspec.Verdict {
	var broken *violation
	var control *failedControl
	var absent *notOffered
	switch {
	case err == nil:
		return farmspec.Pass
	case errors.As(err, &broken):
		return farmspec.Fail
	case errors.As(err, &control):
		return farmspec.Inconclusive
	case errors.As(err, &absent):
		return farmspec.NotOffered
	case errors.As(err, new(*unseen)), errors.Is(err, farmspec.ErrNoHook):
		return farmspec.Unobservable
	case errors.Is(err, context.Canceled):
		return farmspec.NotRun
	}
	return farmspec.Error
}
