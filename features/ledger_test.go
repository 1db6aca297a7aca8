package features_test

import (
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
)

// TestContrary concludes runs in which a farm's hand-off mode is contrary to a
// requirement: it fails the requirement and is not called hardened, though
// nothing failed and the exit code says so.
func TestContrary(t *testing.T) {
	for _, tc := range []struct {
		name    string
		mode    farmspec.Handoff
		verdict farmspec.Verdict
		want    farmspec.Verdict
		why     string
	}{
		{"openly", farmspec.Claimed, farmspec.Unsupported, farmspec.Fail, "claims 1 and 9 put the plain token into the address"},
		{"in another mode", farmspec.Sealed, farmspec.Pass, farmspec.Pass, "what was observed counts"},
		{"without a hand-off", farmspec.NoHandoff, farmspec.Fail, farmspec.Fail, "what was observed counts, whatever was declared"},
		{"left out for another reason", farmspec.Direct, farmspec.Unsupported, farmspec.Unsupported, "this mode is not contrary to it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := farmspec.CaseID{Scenario: "addresses.no-token", Target: "shop"}
			r := &farmspec.Report{
				Run:     farmspec.Run{Complete: true},
				Targets: []farmspec.TargetInfo{{Name: "shop", Handoff: tc.mode}},
				Results: []farmspec.Result{
					{CaseID: id, Requirements: []string{"ASVS-14.2.1"}, Level: farmspec.Black, Verdict: tc.verdict, Reason: "seen"},
					{CaseID: farmspec.CaseID{Scenario: "other", Target: "shop"}, Requirements: []string{"ASVS-3.3.5"}, Level: farmspec.Black, Verdict: farmspec.Pass},
				},
			}
			features.Conclude(r)
			for _, q := range r.Requirements {
				if q.ID != "ASVS-14.2.1" {
					continue
				}
				if q.Verdict != tc.want {
					t.Errorf("%s, want %s (%s)", q.Verdict, tc.want, tc.why)
				}
				if tc.mode == farmspec.Claimed && !strings.Contains(q.Reason, "shop") {
					t.Errorf("%q does not name the farm", q.Reason)
				}
			}
			if failed := tc.verdict == farmspec.Fail; (r.Exit == farmspec.ExitNonconformant) != failed {
				t.Errorf("exit code %d after %s", r.Exit, tc.verdict)
			}
			if hardened := r.Hardened == farmspec.Fail; hardened != (tc.want == farmspec.Fail) {
				t.Errorf("hardened: %s", r.Hardened)
			}
		})
	}
}

// TestShouldInAMustCase concludes a case that tests a MUST and a SHOULD by one
// observation: its failure breaks the one and is a warning for the other.
func TestShouldInAMustCase(t *testing.T) {
	r := &farmspec.Report{Run: farmspec.Run{Complete: true}, Targets: []farmspec.TargetInfo{{Name: "shop"}}, Results: []farmspec.Result{{
		CaseID:       farmspec.CaseID{Scenario: "cookies.http-only", Target: "shop"},
		Requirements: []string{"ASVS-3.3.4", "NIST-5.1.1.httponly"}, Level: farmspec.Black, Verdict: farmspec.Fail,
	}}}
	features.Conclude(r)
	want := map[string]farmspec.Verdict{"ASVS-3.3.4": farmspec.Fail, "NIST-5.1.1.httponly": farmspec.Warn}
	for _, q := range r.Requirements {
		if v, ok := want[q.ID]; ok && q.Verdict != v {
			t.Errorf("%s is %s, want %s", q.ID, q.Verdict, v)
		}
	}
}

// What has a scenario waits for none.
func TestPlannedIsNotTested(t *testing.T) {
	all, err := features.Scenarios(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		for _, id := range s.Requirements {
			if q, _ := farmspec.RequirementByID(id); q.Planned != "" {
				t.Errorf("%s tests %s, which is planned in catalogue.yaml: %s", s.ID, id, q.Planned)
			}
		}
	}
}
