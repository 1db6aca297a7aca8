package loadtest

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/farmspec/farmspec"
)

// record is an arrival that came to an end, or was missed. Instants count from
// the start of the schedule.
type record struct {
	n          uint64
	due        time.Duration
	begin, end time.Duration
	missed     bool
	result
}

// Histograms have the microsecond's resolution at least and end at an hour.
const (
	hdrLowest  = 1000 // nanoseconds
	hdrHighest = int64(time.Hour)
	fine       = 3 // significant digits of totals and actions
	coarse     = 2 // of members and intervals, of which there may be many
)

func newHistogram(digits int) *hdrhistogram.Histogram {
	return hdrhistogram.New(hdrLowest, hdrHighest, digits)
}

func observe(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(int64(min(max(d, 0), time.Hour))) // it is within bounds
}

// row collects an action or a member.
type row struct {
	count    uint64
	outcomes map[string]uint64
	latency  *hdrhistogram.Histogram
}

func newRow(digits int) *row {
	return &row{outcomes: make(map[string]uint64), latency: newHistogram(digits)}
}

func (w *row) add(r *record) {
	w.count++
	w.outcomes[r.outcome]++
	if timed(r.outcome) {
		observe(w.latency, r.end-r.due)
	}
}

// timed reports whether the outcome's time says how long people wait: that of
// an answer does, and so does the time after which one was given up.
func timed(outcome string) bool { return answered(outcome) || outcome == timedOut }

// answered reports whether the outcome is an answer of the session management.
func answered(outcome string) bool {
	switch outcome {
	case farmspec.LoadAccepted, farmspec.LoadHonest, farmspec.LoadWrongRefusal, farmspec.LoadWrongAccept,
		farmspec.LoadDoubtful, farmspec.LoadWrongUser, farmspec.LoadWrongState:
		return true
	}
	return false
}

// stretch collects an interval.
type stretch struct {
	row
	asked, ended, missed uint64
}

// tally turns records into numbers. Workers put, one goroutine gathers.
type tally struct {
	warmUp, every time.Duration
	end           time.Duration
	members       []member
	results       vegeta.Encoder // nil: none
	started       time.Time
	farm          []farmspec.LoadMetric // the farm's own numbers

	mu  sync.Mutex
	new []record

	// What follows belongs to the gatherer.
	spare     []record
	all       row
	service   *hdrhistogram.Histogram
	arrivals  farmspec.LoadArrivals
	until     time.Duration // when the last arrival was due, at most
	lastEnd   time.Duration
	actions   [actions]*row
	byMember  []*row
	intervals []*stretch
	failed    uint64
	wrong     uint64
	missed    uint64
	resultErr error

	recent  *hdrhistogram.Histogram
	glanced time.Duration
	ended   uint64
}

func newTally(warmUp, duration time.Duration, members []member, results vegeta.Encoder) *tally {
	t := &tally{warmUp: warmUp, end: warmUp + duration, members: members, results: results,
		all: *newRow(fine), service: newHistogram(fine), recent: newHistogram(coarse), byMember: make([]*row, len(members))}
	t.every = intervalOf(t.end)
	return t
}

// intervalOf is the shortest round interval that divides a run into at most 200.
func intervalOf(run time.Duration) time.Duration {
	for unit := 100 * time.Millisecond; ; unit *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if run <= 200*n*unit {
				return n * unit
			}
		}
	}
}

func (t *tally) put(r record) {
	t.mu.Lock()
	t.new = append(t.new, r)
	t.mu.Unlock()
}

// gather takes in what was put since.
func (t *tally) gather() {
	t.mu.Lock()
	t.new, t.spare = t.spare[:0], t.new
	t.mu.Unlock()
	for i := range t.spare {
		t.take(&t.spare[i])
	}
}

func (t *tally) interval(at time.Duration) *stretch {
	n := int(max(at, 0) / t.every)
	for len(t.intervals) <= n {
		t.intervals = append(t.intervals, &stretch{row: *newRow(coarse)})
	}
	return t.intervals[n]
}

func (t *tally) take(r *record) {
	counts := r.due >= t.warmUp
	in := t.interval(r.due)
	in.asked++
	if t.results != nil && counts && t.resultErr == nil {
		t.resultErr = t.results.Encode(t.vegeta(r))
	}
	if r.missed {
		in.missed++
		t.missed++
		if counts {
			t.arrivals.Asked++
			t.arrivals.Missed++
		} else {
			t.arrivals.WarmUp++
		}
		return
	}
	in.add(r)
	t.interval(r.end).ended++
	t.ended++
	observe(t.recent, r.end-r.due)
	switch r.outcome {
	case farmspec.LoadAccepted, farmspec.LoadHonest, farmspec.LoadDoubtful:
	case farmspec.LoadWrongRefusal, farmspec.LoadWrongAccept, farmspec.LoadWrongUser, farmspec.LoadWrongState:
		t.wrong++
	default:
		t.failed++
	}
	if !counts {
		t.arrivals.WarmUp++
		return
	}
	t.arrivals.Asked++
	t.arrivals.Begun++
	t.arrivals.Ended++
	late := r.begin - r.due
	if late > farmspec.LoadLate {
		t.arrivals.Late++
	}
	t.arrivals.LatestBegin = max(t.arrivals.LatestBegin, late)
	t.lastEnd = max(t.lastEnd, r.end)
	t.all.add(r)
	if timed(r.outcome) {
		observe(t.service, r.end-r.begin)
	}
	if t.actions[r.action] == nil {
		t.actions[r.action] = newRow(fine)
	}
	t.actions[r.action].add(r)
	if r.member >= 0 {
		if t.byMember[r.member] == nil {
			t.byMember[r.member] = newRow(coarse)
		}
		t.byMember[r.member].add(r)
	}
}

// vegeta is the record as vegeta's tools know results. Each action is an
// attack of its own. What was no success by farmspec's judgement is none
// there: a refusal that came as a page or a redirect has code 401, and an
// arrival without an answer has none.
func (t *tally) vegeta(r *record) *vegeta.Result {
	v := &vegeta.Result{Attack: r.action.String(), Seq: r.n, Code: uint16(r.status), Timestamp: t.started.Add(r.due), Latency: r.end - r.due, BytesIn: r.bytes, Method: "GET", URL: "/"}
	if r.page != nil {
		v.URL = r.page.at[r.page.holder].String()
	} else if r.member >= 0 {
		v.URL = t.members[r.member].origin.base + "/"
	}
	switch {
	case r.missed:
		v.Code, v.Error = 0, "missed: no browser was free"
	case r.outcome == farmspec.LoadAccepted:
		v.Code = 200
	case answered(r.outcome):
		v.Code, v.Error = 401, r.outcome
	default:
		if v.Error = r.outcome; v.Code < 400 {
			v.Code = 0
		}
	}
	return v
}

// glance tells of the moment since the last glance.
func (t *tally) glance(now time.Duration) farmspec.LoadNow {
	n := farmspec.LoadNow{At: now, Until: t.end, WarmingUp: now < t.warmUp, Failed: t.failed, Wrong: t.wrong, Missed: t.missed,
		P50: time.Duration(t.recent.ValueAtPercentile(50)), P99: time.Duration(t.recent.ValueAtPercentile(99))}
	if d := (now - t.glanced).Seconds(); d > 0 {
		n.Achieved = float64(t.ended) / d
	}
	t.glanced, t.ended = now, 0
	t.recent.Reset()
	return n
}

// report fills in the numbers. Ended is when the last arrival had ended or
// been given up, or the run was broken off.
func (t *tally) report(r *farmspec.LoadReport, asked time.Duration) {
	r.Arrivals = t.arrivals
	if d := (min(asked, t.end) - t.warmUp).Seconds(); d > 0 {
		r.Arrivals.AskedRate = float64(t.arrivals.Asked) / d
		r.Arrivals.AchievedRate = float64(t.arrivals.Ended) / max(d, (t.lastEnd-t.warmUp).Seconds())
	}
	r.Latency, r.Service, r.Outcomes = latency(t.all.latency, true), latency(t.service, true), t.all.outcomes
	for a, w := range t.actions {
		if w != nil {
			r.Actions = append(r.Actions, w.report(Action(a).String()))
		}
	}
	for i, w := range t.byMember {
		if w != nil {
			r.Members = append(r.Members, w.report(t.members[i].name))
		}
	}
	for i, in := range t.intervals {
		at := time.Duration(i) * t.every
		r.Intervals = append(r.Intervals, farmspec.LoadInterval{At: at, Length: t.every, Asked: in.asked, Ended: in.ended, Missed: in.missed,
			Outcomes: in.outcomes, Latency: latency(in.latency, false), WarmUp: at+t.every <= t.warmUp})
	}
}

func (w *row) report(name string) farmspec.LoadRow {
	return farmspec.LoadRow{Name: name, Count: w.count, Outcomes: w.outcomes, Latency: latency(w.latency, false)}
}

// latency sums a histogram up. A curve is for charts.
func latency(h *hdrhistogram.Histogram, curve bool) farmspec.LoadLatency {
	n := h.TotalCount()
	if n == 0 {
		return farmspec.LoadLatency{}
	}
	at := func(p float64) time.Duration { return time.Duration(h.ValueAtPercentile(p)) }
	l := farmspec.LoadLatency{Count: uint64(n), Mean: time.Duration(h.Mean()), Min: time.Duration(h.Min()), Max: time.Duration(h.Max()),
		P50: at(50), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9), P9999: at(99.99)}
	if encoded, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
		l.HDR = string(encoded)
	}
	if curve {
		// HdrHistogram's axis: as many points again each time the rest halves.
		for rest := 1.0; rest*float64(n) >= 1; rest /= 2 {
			for i := range 5 {
				q := 1 - rest*(1-float64(i)/10)
				l.Curve = append(l.Curve, farmspec.LoadPoint{Quantile: q, At: at(100 * q)})
			}
		}
	}
	return l
}

// names are a map's keys, sorted.
func names(m map[string]uint64) []string { return slices.Sorted(maps.Keys(m)) }
