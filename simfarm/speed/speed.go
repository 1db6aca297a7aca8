// Package speed measures the reference farm's parts beside each other: the
// same work in several ways, in turns within one run, so that what they cost
// can be compared on a machine that has other things to do.
package speed

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/perf/benchmath"
)

// Case is one thing that is measured.
type Case struct {
	// Name is a benchmark's without the prefix: a word, and after slashes its
	// configuration, "Store/in=memory/callers=32".
	Name string
	// Open makes it ready. It is opened anew for each round, so that no round
	// inherits what another has piled up.
	Open func(ctx context.Context) (Work, error)
}

// Work is a case that is ready.
type Work struct {
	// Do performs n operations, as many at a time as the case says, and
	// returns when all are done. An operation that did not do what it should
	// is an error.
	Do func(n int) error
	// Measure takes the place of Do where the operations are counted
	// elsewhere: it works for about that long.
	Measure func(ctx context.Context, d time.Duration) (Round, error)
	// CPU is what other processes have spent for the work so far. Nil means nothing.
	CPU func() time.Duration
	// Close gives up what Open took. Nil means nothing.
	Close func() error
}

// Round is what one round of a case took.
type Round struct {
	// N is the number of operations.
	N int `json:"n"`
	// Wall and CPU, user and system mode together, are nanoseconds for one operation.
	Wall float64 `json:"ns_per_op"`
	CPU  float64 `json:"cpu_ns_per_op"`
	// Bytes and Allocs are this process's for one operation; negative where unknown.
	Bytes  float64 `json:"bytes_per_op"`
	Allocs float64 `json:"allocs_per_op"`
}

// Metric names a number of a Round.
type Metric string

// The metrics. CPU is the better one for work that computes, on a machine
// that is busy otherwise; Wall is the only one for work that waits.
const (
	Wall   Metric = "wall"
	CPU    Metric = "CPU"
	Allocs Metric = "allocs"
)

func (r Round) value(m Metric) float64 {
	switch m {
	case CPU:
		return r.CPU
	case Allocs:
		return r.Allocs
	}
	return r.Wall
}

// Goal is something to show of the measured cases: how many times less Case
// takes than Than or, without Than, what it takes.
type Goal struct {
	Name string
	Case string
	Than string
	By   Metric
	// AtLeast is the ratio to reach, AtMost the number not to exceed, in
	// nanoseconds or allocations. Both zero: there is nothing to reach.
	AtLeast, AtMost float64
}

// Options configures a run.
type Options struct {
	Cases []Case
	Goals []Goal
	// Rounds of each case, in turns. Zero means six, with which an interval of
	// 95 % is the range of all rounds.
	Rounds int
	// Time is about how long a round of a case takes. Zero means a fifth of a second.
	Time time.Duration
	// Progress, unless nil, is told what is measured next, of how many.
	Progress func(step, of int, name string)
}

// Result is what a run measured. It has the form of the JSON.
type Result struct {
	Go         string       `json:"go"`
	Platform   string       `json:"platform"`
	Processors int          `json:"processors"`
	Rounds     int          `json:"rounds"`
	Cases      []CaseResult `json:"cases"`
	Goals      []GoalResult `json:"goals"`
}

// CaseResult has a case's rounds in the order in which they were made.
type CaseResult struct {
	Name   string  `json:"name"`
	Rounds []Round `json:"rounds"`
	// Skipped says why there are none.
	Skipped string `json:"skipped,omitzero"`
}

// GoalResult is a median over the rounds with its interval of 95 % or more,
// which makes no assumption on how the rounds are distributed. A ratio is
// taken within each round.
type GoalResult struct {
	Name    string  `json:"name"`
	Case    string  `json:"case"`
	Than    string  `json:"than,omitzero"`
	By      Metric  `json:"by"`
	Median  float64 `json:"median"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	AtLeast float64 `json:"at_least,omitzero"`
	AtMost  float64 `json:"at_most,omitzero"`
	// Met is nil where there is nothing to reach or nothing was measured.
	Met     *bool  `json:"met,omitzero"`
	Skipped string `json:"skipped,omitzero"`
}

// ErrAbsent, from Open, says that what the case needs is not on this machine.
// The case is skipped.
var ErrAbsent = errors.New("not installed")

// Run measures every case in every round. A case that fails ends the run; the
// context ends it between two measurements.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Rounds == 0 {
		o.Rounds = 6
	}
	if o.Time == 0 {
		o.Time = 200 * time.Millisecond
	}
	if o.Progress == nil {
		o.Progress = func(int, int, string) {}
	}
	r := &Result{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.GOMAXPROCS(0), Rounds: o.Rounds}
	size := make([]int, len(o.Cases))
	for _, c := range o.Cases {
		r.Cases = append(r.Cases, CaseResult{Name: c.Name})
	}
	for round := range o.Rounds {
		for i, c := range o.Cases {
			done := &r.Cases[i]
			if done.Skipped != "" {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			o.Progress(round*len(o.Cases)+i, o.Rounds*len(o.Cases), c.Name)
			got, err := measure(ctx, c, o.Time, &size[i])
			switch {
			case errors.Is(err, ErrAbsent):
				done.Skipped = err.Error()
			case err != nil:
				return nil, fmt.Errorf("measure %s: %w", c.Name, err)
			default:
				done.Rounds = append(done.Rounds, got)
			}
		}
	}
	for _, g := range o.Goals {
		r.Goals = append(r.Goals, r.reach(g))
	}
	return r, nil
}

// measure makes one round. The size of a round is found once, in a state that
// is thrown away.
func measure(ctx context.Context, c Case, d time.Duration, size *int) (_ Round, err error) {
	if *size == 0 {
		if *size, err = calibrate(ctx, c, d); err != nil {
			return Round{}, err
		}
	}
	w, err := c.Open(ctx)
	if err != nil {
		return Round{}, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if w.Measure != nil {
		return w.Measure(ctx, d)
	}
	if err := w.Do(max(1, *size/100)); err != nil { // pools filled, caches warm
		return Round{}, err
	}
	return w.round(*size)
}

// calibrate returns how many operations take about d.
func calibrate(ctx context.Context, c Case, d time.Duration) (n int, err error) {
	w, err := c.Open(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if w.Measure != nil {
		return 1, nil
	}
	for n = 1; ; {
		began := time.Now()
		if err := w.Do(n); err != nil {
			return 0, err
		}
		took := max(time.Since(began), time.Nanosecond)
		if took >= d/4 || n >= 1<<28 {
			return max(1, int(float64(n)*float64(d)/float64(took))), nil
		}
		n *= 4
	}
}

func (w Work) close() error {
	if w.Close == nil {
		return nil
	}
	return w.Close()
}

func (w Work) cpu() time.Duration {
	if w.CPU == nil {
		return ProcessCPU()
	}
	return ProcessCPU() + w.CPU()
}

func (w Work) round(n int) (Round, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, began := w.cpu(), time.Now()
	if err := w.Do(n); err != nil {
		return Round{}, err
	}
	wall := time.Since(began)
	cpu = w.cpu() - cpu
	runtime.ReadMemStats(&after)
	per := func(total float64) float64 { return total / float64(n) }
	return Round{N: n, Wall: per(float64(wall)), CPU: per(float64(cpu)),
		Bytes:  per(float64(after.TotalAlloc - before.TotalAlloc)),
		Allocs: per(float64(after.Mallocs - before.Mallocs))}, nil
}

// rounds returns a case's, or why there are none.
func (r *Result) rounds(name string) ([]Round, string) {
	i := slices.IndexFunc(r.Cases, func(c CaseResult) bool { return c.Name == name })
	switch {
	case i < 0:
		return nil, "not measured"
	case r.Cases[i].Skipped != "":
		return nil, r.Cases[i].Skipped
	}
	return r.Cases[i].Rounds, ""
}

func (r *Result) reach(g Goal) GoalResult {
	got := GoalResult{Name: g.Name, Case: g.Case, Than: g.Than, By: g.By, AtLeast: g.AtLeast, AtMost: g.AtMost}
	own, why := r.rounds(g.Case)
	other := own
	if why == "" && g.Than != "" {
		other, why = r.rounds(g.Than)
	}
	if got.Skipped = why; why != "" {
		return got
	}
	values := make([]float64, len(own))
	for i := range own {
		values[i] = own[i].value(g.By)
		if g.Than != "" {
			values[i] = other[i].value(g.By) / values[i]
		}
	}
	got.Median, got.Low, got.High = Interval(values)
	if g.AtLeast > 0 || g.AtMost > 0 {
		met := (g.AtLeast == 0 || got.Median >= g.AtLeast) && (g.AtMost == 0 || got.Median <= g.AtMost)
		got.Met = &met
	}
	return got
}

// Interval returns the median of the values and an interval that has it with
// a confidence of 95 % or, where there are too few values, their range.
func Interval(values []float64) (median, low, high float64) {
	sample := benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
	s := benchmath.AssumeNothing.Summary(sample, 0.95)
	return s.Center, max(s.Lo, sample.Values[0]), min(s.Hi, sample.Values[len(sample.Values)-1])
}
