package features_test

import (
	"context"
	"sync"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/simfarm/mutant"
)

// onEnd calls a function at the end of the first case that ran.
type onEnd struct {
	once sync.Once
	do   func()
}

func (*onEnd) Planned(int, []farmspec.TargetInfo) {}
func (*onEnd) Began(farmspec.CaseID)              {}
func (*onEnd) Waiting([]farmspec.Wait)            {}
func (p *onEnd) Ended(r *farmspec.Result) {
	if r.Verdict.Ran() {
		p.once.Do(p.do)
	}
}

// TestInterrupted ends the run after its first case: the others are not run,
// and what was under way is blamed on nobody.
func TestInterrupted(t *testing.T) {
	farm, err := simfarm.Open(t.Context(), simfarm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = farm.Close() }()
	other := *farm.Target()
	other.Name += " again"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	report, err := features.Judge(ctx, features.Options{Seed: 1, Progress: &onEnd{do: cancel}}, farm.Target(), &other)
	if err != nil {
		t.Fatal(err)
	}
	if report.Run.Complete || report.Exit != farmspec.ExitInconclusive || len(report.Results) != len(report.Plan) {
		t.Errorf("complete %v, exit code %d, %d results of %d planned cases", report.Run.Complete, report.Exit, len(report.Results), len(report.Plan))
	}
	notRun := 0
	for _, r := range report.Results {
		switch r.Verdict {
		case farmspec.NotRun:
			notRun++
		case farmspec.Fail, farmspec.Inconclusive, farmspec.Error:
			t.Errorf("%s: %s (%s)", r.Scenario, r.Verdict, r.Reason)
		}
	}
	if notRun < len(report.Plan)/2 {
		t.Errorf("%d of %d cases were not run", notRun, len(report.Plan))
	}
}

// TestFailFast stops at the first failure and says so.
func TestFailFast(t *testing.T) {
	fault, err := mutant.Find("F11")
	if err != nil {
		t.Fatal(err)
	}
	farm, err := simfarm.Open(t.Context(), fault.Farm())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = farm.Close() }()
	report, err := features.Judge(t.Context(), features.Options{Seed: 1, Parallel: 1, FailFast: true, Run: []string{"rotate.*"}}, farm.Target())
	if err != nil {
		t.Fatal(err)
	}
	count := map[farmspec.Verdict]int{}
	for _, r := range report.Results {
		count[r.Verdict]++
	}
	if count[farmspec.Fail] != 1 || count[farmspec.NotRun] == 0 || report.Run.Complete || report.Exit != farmspec.ExitNonconformant {
		t.Errorf("verdicts %v, complete %v, exit code %d; want one failure, then nothing, and exit code %d",
			count, report.Run.Complete, report.Exit, farmspec.ExitNonconformant)
	}
}
