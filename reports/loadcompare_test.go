package reports_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reports"
)

// loadOf makes a report of so many intervals, whose latencies are exponential
// around a mean.
func loadOf(t *testing.T, seed uint64, intervals int, mean time.Duration) *farmspec.LoadReport {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	r := &farmspec.LoadReport{Target: farmspec.TargetInfo{Name: "shop"}, Run: farmspec.Run{Complete: true, Seed: seed},
		Plan:  farmspec.LoadPlan{Engine: "vegeta", Pacer: "constant 100/s", Browsers: 5, Duration: time.Duration(intervals) * time.Second, Seed: seed},
		Truth: farmspec.LoadTruth{Verdict: farmspec.Pass}}
	encoded := func(h *hdrhistogram.Histogram) farmspec.LoadLatency {
		text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			t.Fatal(err)
		}
		return farmspec.LoadLatency{Count: uint64(h.TotalCount()), HDR: string(text)}
	}
	whole := hdrhistogram.New(1000, int64(time.Hour), 3)
	for i := range intervals {
		h := hdrhistogram.New(1000, int64(time.Hour), 2)
		for range 100 {
			v := int64(random.ExpFloat64() * float64(mean))
			_, _ = h.RecordValue(v), whole.RecordValue(v) // they are within bounds
		}
		r.Intervals = append(r.Intervals, farmspec.LoadInterval{At: time.Duration(i) * time.Second, Length: time.Second, Asked: 100, Ended: 100,
			Outcomes: map[string]uint64{farmspec.LoadAccepted: 100}, Latency: encoded(h)})
	}
	r.Latency = encoded(whole)
	return r
}

func TestLoadsCompared(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name    string
		a, b    []*farmspec.LoadReport
		differs bool
		why     string
	}{
		{"the same", []*farmspec.LoadReport{loadOf(t, 1, 60, ms)}, []*farmspec.LoadReport{loadOf(t, 2, 60, ms)}, false, "both are drawn from one distribution"},
		{"half as fast", []*farmspec.LoadReport{loadOf(t, 1, 60, ms)}, []*farmspec.LoadReport{loadOf(t, 2, 60, 2*ms)}, true, "twice the latency is no chance"},
		{"in rounds", []*farmspec.LoadReport{loadOf(t, 1, 10, ms), loadOf(t, 2, 10, 2*ms), loadOf(t, 3, 10, 4*ms), loadOf(t, 4, 10, ms), loadOf(t, 5, 10, 3*ms), loadOf(t, 6, 10, 2*ms)},
			[]*farmspec.LoadReport{loadOf(t, 7, 10, 2*ms), loadOf(t, 8, 10, 3*ms), loadOf(t, 9, 10, ms), loadOf(t, 10, 10, 4*ms), loadOf(t, 11, 10, ms), loadOf(t, 12, 10, 3*ms)}, false,
			"rounds differ among themselves by more than the two do"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := reports.CompareLoads(reports.LoadRounds{Source: "a", Rounds: tc.a}, reports.LoadRounds{Source: "b", Rounds: tc.b})
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Rows) != 6 && len(c.Rows) != 7 {
				t.Fatalf("%d rows", len(c.Rows))
			}
			for _, row := range c.Rows[:4] {
				cell := row.Cells[1]
				if cell.Differs != tc.differs {
					t.Errorf("%s: %v, differs %v, want %v (%s)", row.Name, *cell.Ratio, cell.Differs, tc.differs, tc.why)
				}
				if tc.differs && (*cell.Low > 2 || *cell.High < 2) {
					t.Errorf("%s: from %v to %v, want 2 within", row.Name, *cell.Low, *cell.High)
				}
			}
			if again, _ := reports.CompareLoads(reports.LoadRounds{Source: "a", Rounds: tc.a}, reports.LoadRounds{Source: "b", Rounds: tc.b}); again != nil {
				one, _ := c.JSON()
				two, _ := again.JSON()
				if !bytes.Equal(one, two) {
					t.Error("the same reports give another comparison")
				}
			}
			var table bytes.Buffer
			if err := c.Table(&table, reports.Terminal{}); err != nil {
				t.Fatal(err)
			}
			page, err := c.Page()
			if err != nil {
				t.Fatal(err)
			}
			for form, text := range map[string]string{"table": table.String(), "page": string(page), "Markdown": string(c.Markdown())} {
				if !strings.Contains(text, "latency, p99") || !strings.Contains(text, "constant 100/s") || strings.Contains(text, "<nil>") || strings.Contains(text, "%!") {
					t.Errorf("the %s is\n%s", form, text)
				}
			}
		})
	}
}

func TestLoadsNotCompared(t *testing.T) {
	good := loadOf(t, 1, 20, time.Millisecond)
	other := func(change func(*farmspec.LoadReport)) *farmspec.LoadReport {
		r := *good
		change(&r)
		return &r
	}
	for _, tc := range []struct {
		want string
		r    *farmspec.LoadReport
	}{
		{"browsers 6 and not 5", other(func(r *farmspec.LoadReport) { r.Plan.Browsers++ })},
		{"pacer constant 200/s and not constant 100/s", other(func(r *farmspec.LoadReport) { r.Plan.Pacer = "constant 200/s" })},
		{"engine fast and not vegeta", other(func(r *farmspec.LoadReport) { r.Plan.Engine = "fast" })},
		{"search for the highest rate", other(func(r *farmspec.LoadReport) { r.Steps = make([]farmspec.LoadStep, 1) })},
		{"it takes 10 to tell", other(func(r *farmspec.LoadReport) { r.Intervals = r.Intervals[:9] })},
		{"no latency that can be read", other(func(r *farmspec.LoadReport) { r.Latency.HDR = "?" })},
	} {
		if _, err := reports.CompareLoads(reports.LoadRounds{Source: "a", Rounds: []*farmspec.LoadReport{good}}, reports.LoadRounds{Source: "b", Rounds: []*farmspec.LoadReport{tc.r}}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
	if _, err := reports.CompareLoads(reports.LoadRounds{Source: "a", Rounds: []*farmspec.LoadReport{good}}); err == nil {
		t.Error("one load was compared")
	}
	// A wrong farm is not compared without a word.
	c, err := reports.CompareLoads(reports.LoadRounds{Source: "a", Rounds: []*farmspec.LoadReport{good}}, reports.LoadRounds{Source: "b", Rounds: []*farmspec.LoadReport{other(func(r *farmspec.LoadReport) { r.Truth.Verdict = farmspec.Fail })}})
	if err != nil || !strings.Contains(strings.Join(c.Warnings, " "), "B did not pass the truth under load") {
		t.Errorf("%v, warnings %v", err, c)
	}
}
