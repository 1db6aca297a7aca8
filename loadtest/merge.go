package loadtest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/model"
)

// Merge joins the reports of the shards of one plan into one, exactly: counts
// add, histograms add, and what was broken in one is broken in all. Rates are
// the sums of the shards' rates. The reports must be of one plan and disjoint
// shards; that some are missing makes the report incomplete.
func Merge(reports ...*farmspec.LoadReport) (*farmspec.LoadReport, error) {
	m, err := merge(reports)
	if err != nil {
		return nil, fmt.Errorf("merge load reports: %w", err)
	}
	return m, nil
}

func merge(reports []*farmspec.LoadReport) (*farmspec.LoadReport, error) {
	if len(reports) == 0 {
		return nil, errors.New("there are none")
	}
	first := reports[0]
	m := &farmspec.LoadReport{Schema: farmspec.LoadSchema, Tool: first.Tool, Target: first.Target, Plan: first.Plan, Run: first.Run, Outcomes: map[string]uint64{}}
	m.Plan.Shards = nil
	m.Run.Complete, m.Run.Why = true, ""
	all, service := new(sum), new(sum)
	actions, members := newRows(), newRows()
	seen := make(map[int]bool)
	lastEnd := first.Run.Started
	for i, r := range reports {
		if err := samePlan(first, r); err != nil {
			return nil, fmt.Errorf("report %d: %w", i+1, err)
		}
		for _, s := range r.Plan.Shards {
			if seen[s] {
				return nil, fmt.Errorf("shard %d is there twice", s)
			}
			seen[s] = true
			m.Plan.Shards = append(m.Plan.Shards, s)
		}
		if !r.Run.Complete {
			m.Run.Complete, m.Run.Why = false, cmp.Or(r.Run.Why, "a shard ended early")
		}
		if r.Run.Started.Before(m.Run.Started) {
			m.Run.Started = r.Run.Started
		}
		if end := r.Run.Started.Add(r.Run.Took); end.After(lastEnd) {
			lastEnd = end
		}
		a, b := &m.Arrivals, r.Arrivals
		a.Asked, a.Begun, a.Ended, a.Missed = a.Asked+b.Asked, a.Begun+b.Begun, a.Ended+b.Ended, a.Missed+b.Missed
		a.Late, a.WarmUp, a.LatestBegin = a.Late+b.Late, a.WarmUp+b.WarmUp, max(a.LatestBegin, b.LatestBegin)
		a.AskedRate, a.AchievedRate = a.AskedRate+b.AskedRate, a.AchievedRate+b.AchievedRate
		addCounts(m.Outcomes, r.Outcomes)
		if err := errors.Join(all.add(r.Latency), service.add(r.Service), actions.add(r.Actions), members.add(r.Members), addIntervals(m, r)); err != nil {
			return nil, fmt.Errorf("report %d: %w", i+1, err)
		}
		t, u := &m.Traffic, r.Traffic
		t.Requests, t.Connections, t.BytesOut, t.BytesIn, t.CPU = t.Requests+u.Requests, t.Connections+u.Connections, t.BytesOut+u.BytesOut, t.BytesIn+u.BytesIn, t.CPU+u.CPU
		t.LoadCPU, t.LoadRequests = t.LoadCPU+u.LoadCPU, t.LoadRequests+u.LoadRequests
		addTruth(&m.Truth, &r.Truth)
		m.Notes = append(m.Notes, r.Notes...)
		if m.Metrics == nil {
			m.Metrics = r.Metrics // every shard has asked the same farm
		}
	}
	m.Run.Took = lastEnd.Sub(m.Run.Started)
	slices.Sort(m.Plan.Shards)
	if missing := m.Plan.ShardsOf - len(m.Plan.Shards); missing > 0 {
		m.Run.Complete, m.Run.Why = false, fmt.Sprintf("%d of %d shards are missing", missing, m.Plan.ShardsOf)
	}
	m.Latency, m.Service = all.latency(true), service.latency(true)
	m.Actions, m.Members = actions.rows(), members.rows()
	if v := m.Truth.Violations; len(v) > maxViolations {
		m.Truth.MoreViolations += len(v) - maxViolations
		m.Truth.Violations = v[:maxViolations]
	}
	judgeTruth(&m.Truth, m.Target.Rotation != farmspec.NoRotation)
	for _, r := range reports {
		if r.Truth.Verdict == farmspec.Inconclusive && m.Truth.Verdict == farmspec.Pass {
			m.Truth.Verdict, m.Truth.Reason = farmspec.Inconclusive, "One shard was inconclusive: "+r.Truth.Reason
		}
	}
	m.Exit = exitOf(m)
	return m, nil
}

// samePlan reports whether two reports are parts of one load.
func samePlan(a, b *farmspec.LoadReport) error {
	if len(a.Steps)+len(b.Steps) > 0 {
		return errors.New("a search for the highest rate cannot be merged")
	}
	p, q := a.Plan, b.Plan
	p.Shards, q.Shards = nil, nil
	if fmt.Sprint(p) != fmt.Sprint(q) {
		return fmt.Errorf("it is of another plan: %+v, not %+v", q, p)
	}
	if a.Target.Name != b.Target.Name {
		return fmt.Errorf("it is of another target: %s, not %s", b.Target.Name, a.Target.Name)
	}
	return nil
}

func addCounts(to, from map[string]uint64) {
	for k, n := range from {
		to[k] += n
	}
}

// sum adds histograms.
type sum struct{ h *hdrhistogram.Histogram }

func (s *sum) add(l farmspec.LoadLatency) error {
	if l.HDR == "" {
		return nil
	}
	h, err := hdrhistogram.Decode([]byte(l.HDR))
	if err != nil {
		return fmt.Errorf("read histogram: %w", err)
	}
	if uint64(h.TotalCount()) != l.Count {
		return fmt.Errorf("a histogram has %d values, its summary says %d", h.TotalCount(), l.Count)
	}
	if s.h == nil {
		s.h = h
		return nil
	}
	if lost := s.h.Merge(h); lost > 0 {
		return fmt.Errorf("%d values do not fit the other histogram", lost)
	}
	return nil
}

func (s *sum) latency(curve bool) farmspec.LoadLatency {
	if s.h == nil {
		return farmspec.LoadLatency{}
	}
	return latency(s.h, curve)
}

// rowSums adds rows by name.
type rowSums struct {
	names  []string
	counts map[string]*farmspec.LoadRow
	sums   map[string]*sum
}

func newRows() *rowSums {
	return &rowSums{counts: make(map[string]*farmspec.LoadRow), sums: make(map[string]*sum)}
}

func (s *rowSums) add(rows []farmspec.LoadRow) error {
	for _, r := range rows {
		if s.counts[r.Name] == nil {
			s.names = append(s.names, r.Name)
			s.counts[r.Name], s.sums[r.Name] = &farmspec.LoadRow{Name: r.Name, Outcomes: map[string]uint64{}}, new(sum)
		}
		to := s.counts[r.Name]
		to.Count += r.Count
		addCounts(to.Outcomes, r.Outcomes)
		if err := s.sums[r.Name].add(r.Latency); err != nil {
			return err
		}
	}
	return nil
}

func (s *rowSums) rows() (rows []farmspec.LoadRow) {
	for _, name := range s.names {
		r := *s.counts[name]
		r.Latency = s.sums[name].latency(false)
		rows = append(rows, r)
	}
	return rows
}

// addIntervals adds intervals one by one: shards that begin together have the same.
func addIntervals(m, r *farmspec.LoadReport) error {
	for i, in := range r.Intervals {
		if i == len(m.Intervals) {
			in.Outcomes = maps.Clone(in.Outcomes)
			m.Intervals = append(m.Intervals, in)
			continue
		}
		to := &m.Intervals[i]
		if to.At != in.At || to.Length != in.Length {
			return fmt.Errorf("interval %d is at %v for %v, not at %v for %v", i, in.At, in.Length, to.At, to.Length)
		}
		to.Asked, to.Ended, to.Missed = to.Asked+in.Asked, to.Ended+in.Ended, to.Missed+in.Missed
		if to.Outcomes == nil {
			to.Outcomes = make(map[string]uint64)
		}
		addCounts(to.Outcomes, in.Outcomes)
		var s sum
		if err := errors.Join(s.add(to.Latency), s.add(in.Latency)); err != nil {
			return err
		}
		to.Latency = s.latency(false)
	}
	return nil
}

func addTruth(to, from *farmspec.LoadTruth) {
	for _, n := range []struct{ to, from *uint64 }{
		{&to.Accepted, &from.Accepted}, {&to.HonestRefusals, &from.HonestRefusals}, {&to.WrongRefusals, &from.WrongRefusals},
		{&to.Doubtful, &from.Doubtful}, {&to.WrongAccepts, &from.WrongAccepts}, {&to.WrongUsers, &from.WrongUsers},
		{&to.WrongStates, &from.WrongStates}, {&to.Unauthenticated, &from.Unauthenticated}, {&to.Probes, &from.Probes},
		{&to.ProbesRefused, &from.ProbesRefused}, {&to.Unkept, &from.Unkept},
	} {
		*n.to += *n.from
	}
	to.Sessions, to.Operations = to.Sessions+from.Sessions, to.Operations+from.Operations
	to.MoreViolations += from.MoreViolations
	to.Violations = append(to.Violations, from.Violations...)
	slices.SortStableFunc(to.Violations, func(a, b farmspec.LoadViolation) int {
		if a.Invariant == model.Undecided != (b.Invariant == model.Undecided) { // what accuses nobody comes last
			if b.Invariant == model.Undecided {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.At, b.At)
	})
}
