package features_test

import (
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/simfarm/stub"
)

// TestReference judges the reference in every combination of hand-off mode,
// rotation policy, topology and answer to spent tokens.
func TestReference(t *testing.T) {
	for _, handoff := range []farmspec.Handoff{farmspec.Sealed, farmspec.Claimed, farmspec.Direct} {
		for _, rotation := range []farmspec.Rotation{farmspec.Strict, farmspec.Coalesce, farmspec.ReadVerify} {
			for _, topology := range []farmspec.Topology{farmspec.SharedDomain, farmspec.SingleHost, farmspec.SplitDomain} {
				for _, replay := range []farmspec.Replay{farmspec.Reject, farmspec.RevokeFamily} {
					o := simfarm.Options{Handoff: handoff, Rotation: rotation, Topology: topology, Replay: replay}
					t.Run(o.ProfileName(), func(t *testing.T) {
						farm, err := simfarm.Open(t.Context(), o)
						if err != nil {
							t.Fatal(err)
						}
						defer func() { _ = farm.Close() }()
						features.Run(t, features.Options{Seed: 1}, farm.Target())
					})
				}
			}
		}
	}
}

// TestStubs judges farms that do nothing: none may pass a single MUST.
func TestStubs(t *testing.T) {
	for _, kind := range stub.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			target, closeFarm, err := stub.Open(t.Context(), kind)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = closeFarm() }()
			report, err := features.Judge(t.Context(), features.Options{Seed: 1}, target)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range report.Results {
				if r.Verdict == farmspec.Pass {
					t.Errorf("%s passes %s (%s)", kind, r.Scenario, r.Name)
				}
			}
			if report.Exit == 0 {
				t.Errorf("%s is called conformant", kind)
			}
		})
	}
}
