package features

import (
	"testing"

	"github.com/farmspec/farmspec"
)

// Run judges a target from a Go test, with a sub-test for each case by its
// ID. It is the runner of `farmspec run`; what was not run is skipped with
// the reason, and only a pass passes.
func Run(t *testing.T, o Options, target *farmspec.Target) *farmspec.Report {
	t.Helper()
	report, err := Judge(t.Context(), o, target)
	if err != nil {
		t.Fatalf("judge %s: %v", target.Name, err)
	}
	for _, r := range report.Results {
		t.Run(r.Scenario, func(t *testing.T) {
			switch {
			case r.Verdict == farmspec.Pass, r.Verdict == farmspec.Warn:
			case !r.Verdict.Ran() && r.Verdict != farmspec.NotRun:
				t.Skipf("%s: %s", r.Verdict, r.Reason)
			default:
				t.Errorf("%s:%d: %s\n%s: %s", r.File, r.Line, r.Name, r.Verdict, r.Reason)
			}
		})
	}
	return report
}
