package features_test

import (
	"slices"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
)

// TestStandards: what only standards ask for runs on the targets named for
// it, what a claim asks for on all, and every case stays in the plan.
func TestStandards(t *testing.T) {
	farms := []*farmspec.Target{{Name: "plain"}, {Name: "over TLS"}}
	plan := func(standards ...string) []farmspec.Result {
		cases, err := features.Plan(features.Options{Standards: standards}, farms...)
		if err != nil {
			t.Fatal(err)
		}
		return cases
	}
	all, some := plan(), plan("over TLS")
	if len(all) != len(some) {
		t.Fatalf("%d cases are planned, want %d", len(some), len(all))
	}
	disabled := 0
	for i, c := range some {
		claimed := slices.ContainsFunc(c.Requirements, func(id string) bool {
			q, _ := farmspec.RequirementByID(id)
			return q.Profile == "claim"
		})
		switch {
		case c.Verdict == farmspec.Disabled && all[i].Verdict != farmspec.Disabled:
			disabled++
			if c.Target != "plain" || claimed {
				t.Errorf("%s on %s is left out, and tests %v", c.Scenario, c.Target, c.Requirements)
			}
		case c.Target == "plain" && !claimed:
			t.Errorf("%s on %s is %s: only standards ask for %v", c.Scenario, c.Target, c.Verdict, c.Requirements)
		}
	}
	if disabled == 0 {
		t.Error("nothing was left out")
	}
}
