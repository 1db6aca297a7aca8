package mutant_test

import (
	"fmt"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/simfarm/mutant"
)

// TestKilled plants every fault and demands that the scenario named for it
// convicts it. That the sound farm passes the same scenarios is what the tests
// of package features show.
func TestKilled(t *testing.T) {
	for _, f := range mutant.All() {
		t.Run(f.ID, func(t *testing.T) {
			t.Parallel()
			farm, err := simfarm.Open(t.Context(), f.Farm())
			if err != nil {
				t.Fatalf("plant %s: %v", f.ID, err)
			}
			defer func() { _ = farm.Close() }()
			report, err := features.Judge(t.Context(), features.Options{Run: f.Convicts, Seed: 1}, farm.Target())
			if err != nil {
				t.Fatalf("judge a farm with %s (%s): %v", f.ID, f.Name, err)
			}
			for _, r := range report.Results {
				matches := r.Scenario == f.Convicts[0] || len(r.Scenario) > len(f.Convicts[0]) && r.Scenario[:len(f.Convicts[0])+1] == f.Convicts[0]+"/"
				if matches && mutant.Convicted(r.Verdict) {
					return
				}
			}
			for _, r := range report.Results {
				t.Log(r.Scenario, r.Verdict, r.Reason)
			}
			t.Errorf("%s survives: %s; %s does not convict it", f.ID, f.Name, f.Convicts[0])
		})
	}
}

// TestCatalogue holds the faults and the scenarios' @fault: tags against each
// other and against the requirement catalogue.
func TestCatalogue(t *testing.T) {
	scenarios, err := features.Scenarios(nil)
	if err != nil {
		t.Fatal(err)
	}
	tagged := map[string]bool{} // "fault scenario"
	named := map[string]bool{}
	for _, s := range scenarios {
		for _, id := range s.Faults {
			named[id] = true
			base := s.ID
			for i, r := range base {
				if r == '/' {
					base = base[:i]
					break
				}
			}
			tagged[fmt.Sprint(id, " ", base)] = true
		}
	}
	known := map[string]bool{}
	for _, f := range mutant.All() {
		if known[f.ID] {
			t.Errorf("fault %s is there twice", f.ID)
		}
		known[f.ID] = true
		for _, id := range f.Violates {
			if _, ok := farmspec.RequirementByID(id); !ok {
				t.Errorf("fault %s violates %s, which is not in the catalogue", f.ID, id)
			}
		}
		for _, id := range f.Convicts {
			if !tagged[fmt.Sprint(f.ID, " ", id)] {
				t.Errorf("fault %s is to be convicted by %s, which has no tag @fault:%s", f.ID, id, f.ID)
			}
		}
	}
	for id := range named {
		if !known[id] {
			t.Errorf("a scenario has the tag @fault:%s, and there is no such fault", id)
		}
	}
}
