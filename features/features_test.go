package features_test

import (
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/simfarm/stub"
)

// TestReference judges the reference in every combination of hand-off mode,
// rotation policy and topology, with the two answers to spent tokens taking
// turns. -short and the race detector, which is slow, have the three of a plain
// run, which cover every value.
func TestReference(t *testing.T) {
	for _, o := range profiles() {
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

func profiles() []simfarm.Options {
	if testing.Short() || raceDetector {
		return []simfarm.Options{ // those of a plain `farmspec run`
			{Handoff: farmspec.Sealed, Rotation: farmspec.Coalesce, Topology: farmspec.SingleHost, Replay: farmspec.RevokeFamily, TLS: true, Participants: 3},
			{Handoff: farmspec.Claimed, Rotation: farmspec.ReadVerify, Topology: farmspec.SplitDomain},
			{Handoff: farmspec.Direct, Rotation: farmspec.Strict, Topology: farmspec.SharedDomain},
		}
	}
	var all []simfarm.Options
	for _, handoff := range []farmspec.Handoff{farmspec.Sealed, farmspec.Claimed, farmspec.Direct} {
		for _, rotation := range []farmspec.Rotation{farmspec.Strict, farmspec.Coalesce, farmspec.ReadVerify} {
			for _, topology := range []farmspec.Topology{farmspec.SharedDomain, farmspec.SingleHost, farmspec.SplitDomain} {
				replay := []farmspec.Replay{farmspec.Reject, farmspec.RevokeFamily}[len(all)%2]
				o := simfarm.Options{Handoff: handoff, Rotation: rotation, Topology: topology, Replay: replay}
				if len(all)%4 == 0 { // all hand-off modes, topologies and policies among them
					o.Participants = 3
				}
				all = append(all, o)
			}
		}
	}
	return all
}

// TestEveryLevelHasAScenario holds the scenarios against the catalogue: what
// it says a level can see of a requirement, some scenario looks at from there.
func TestEveryLevelHasAScenario(t *testing.T) {
	all, err := features.Scenarios(nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range all {
		for _, id := range s.Requirements {
			seen[id+" at "+string(s.Level)] = true
		}
	}
	for _, req := range farmspec.Catalogue() {
		if req.Planned != "" {
			continue
		}
		for level := range req.Levels {
			if at := req.ID + " at " + string(level); !seen[at] {
				t.Errorf("no scenario looks at %s (%s: %s)", at, req.Title, req.Levels[level])
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
