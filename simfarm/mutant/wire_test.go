package mutant_test

import (
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/simfarm/mutant"
)

// TestSoundJWT judges a farm whose tokens are sound JWTs: the scenario that
// tries their weak forms must find every one refused, and try them.
func TestSoundJWT(t *testing.T) {
	farm, err := simfarm.Open(t.Context(), simfarm.Options{Plant: mutant.JWT(nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = farm.Close() }()
	report, err := features.Judge(t.Context(), features.Options{Run: []string{"tokens.jwt"}, Seed: 1}, farm.Target())
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, r := range report.Results {
		if r.Verdict != farmspec.Pass {
			t.Errorf("%s: %s %s", r.Scenario, r.Verdict, r.Reason)
		}
		for _, c := range r.Checks {
			if c.Kind == farmspec.Refusal && c.OK {
				refused++
			}
		}
	}
	if refused < 10 {
		t.Errorf("%d forms were refused; want ten or more", refused)
	}
}
