package loadtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
	"github.com/farmspec/farmspec/simfarm"
)

// Two shards on one farm come to what one load would have asked for.
func TestMerge(t *testing.T) {
	target := open(t, simfarm.Options{})
	o := loadtest.Options{Target: target, Browsers: 7, Pace: rate(t, 100), WarmUp: 100 * time.Millisecond, Duration: 400 * time.Millisecond, Seed: 4,
		StartAt: time.Now().Add(300 * time.Millisecond)}
	reports := make([]*farmspec.LoadReport, 2)
	done := make(chan error)
	for i := range reports {
		go func() {
			o := o
			o.Shard = loadtest.Shard{Index: i + 1, Of: 2}
			var err error
			reports[i], err = loadtest.Run(t.Context(), o)
			done <- err
		}()
	}
	for range reports {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	m, err := loadtest.Merge(reports...)
	if err != nil {
		t.Fatal(err)
	}
	if a := m.Arrivals; a.Asked != 40 || a.Asked != reports[0].Arrivals.Asked+reports[1].Arrivals.Asked || m.Latency.Count != 40 {
		t.Errorf("merged arrivals %+v and %d latencies, want 40", a, m.Latency.Count)
	}
	if m.Latency.Max != max(reports[0].Latency.Max, reports[1].Latency.Max) || m.Latency.Min != min(reports[0].Latency.Min, reports[1].Latency.Min) {
		t.Errorf("merged latency from %v to %v", m.Latency.Min, m.Latency.Max)
	}
	var inIntervals uint64
	for _, i := range m.Intervals {
		inIntervals += i.Asked
	}
	if inIntervals != m.Arrivals.Asked+m.Arrivals.WarmUp {
		t.Errorf("the intervals have %d arrivals of %d", inIntervals, m.Arrivals.Asked+m.Arrivals.WarmUp)
	}
	if m.Truth.Verdict != farmspec.Pass || !m.Run.Complete || m.Exit != 0 || m.Truth.Probes != reports[0].Truth.Probes+reports[1].Truth.Probes {
		t.Errorf("complete %v, exit %d, %+v", m.Run.Complete, m.Exit, m.Truth)
	}

	other := *reports[1]
	other.Plan.Seed++
	for _, tc := range []struct {
		name, want string
		reports    []*farmspec.LoadReport
	}{
		{"nothing", "there are none", nil},
		{"twice", "shard 1 is there twice", []*farmspec.LoadReport{reports[0], reports[0]}},
		{"another plan", "another plan", []*farmspec.LoadReport{reports[0], &other}},
	} {
		if _, err := loadtest.Merge(tc.reports...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Merge of %s = %v, want %q", tc.name, err, tc.want)
		}
	}
	half, err := loadtest.Merge(reports[0])
	if err != nil || half.Run.Complete || half.Exit != farmspec.ExitInconclusive {
		t.Errorf("a merge of one shard of two: complete %v, exit %d, %v", half.Run.Complete, half.Exit, err)
	}
	guilty := *reports[1]
	guilty.Truth.WrongAccepts = 1
	if m, err := loadtest.Merge(reports[0], &guilty); err != nil || m.Truth.Verdict != farmspec.Fail || m.Exit != farmspec.ExitNonconformant {
		t.Errorf("a merge with a convicted farm gives %+v, %v", m.Truth, err)
	}
}

func TestSearch(t *testing.T) {
	r := run(t, loadtest.Options{Target: open(t, simfarm.Options{}), Browsers: 8, Duration: 150 * time.Millisecond, Pace: rate(t, 50), Seed: 1,
		Search: &loadtest.Search{From: 50, P99: 2 * time.Microsecond, Failed: 0.5, Until: 0.3}})
	if len(r.Steps) < 2 || r.Steps[0].OK || r.Steps[1].Asked != 25 || !strings.Contains(r.Steps[0].Why, "p99") {
		t.Errorf("a limit that no farm keeps: steps %+v", r.Steps)
	}
	r = run(t, loadtest.Options{Target: open(t, simfarm.Options{}), Browsers: 1, Duration: 300 * time.Millisecond, Pace: rate(t, 50), Seed: 1, Think: 10 * time.Millisecond,
		Drain: 10 * time.Millisecond, Search: &loadtest.Search{From: 20, P99: time.Minute, Failed: 0.01, Until: 0.3}})
	// One browser that thinks for 10 ms can make 100 page views a second at most.
	last := r.Steps[len(r.Steps)-1]
	if !r.Steps[0].OK || last.Asked > 250 || last.Asked < 20 {
		t.Errorf("one thinking browser: steps %+v", r.Steps)
	}
}
