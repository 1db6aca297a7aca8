package variant_test

import (
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/simfarm/variant"
)

// TestVariants judges every correct farm by every scenario: nothing may be
// held against it, and nothing may stay open without a reason it states.
func TestVariants(t *testing.T) {
	for _, v := range variant.All() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			target, closeFarm, err := variant.Open(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := closeFarm(); err != nil {
					t.Error(err)
				}
			}()
			report, err := features.Judge(t.Context(), features.Options{Seed: 1, Sparse: true}, target)
			if err != nil {
				t.Fatalf("judge a farm that differs in that %s: %v", v.Differs, err)
			}
			passed := 0
			for _, r := range report.Results {
				switch r.Verdict {
				case farmspec.Pass:
					passed++
				case farmspec.Fail, farmspec.Warn, farmspec.Error, farmspec.Flaky, farmspec.NotRun:
					t.Errorf("%s: %s (%s): %s", r.Verdict, r.Scenario, r.Name, r.Reason)
				case farmspec.Inconclusive:
					if v.Inconclusive[r.Scenario] == "" {
						t.Errorf("%s: %s (%s): %s", r.Verdict, r.Scenario, r.Name, r.Reason)
					}
				}
			}
			if passed < len(report.Results)/2 {
				t.Errorf("passes %d of %d scenarios; want most", passed, len(report.Results))
			}
		})
	}
}

// TestFind holds the IDs against each other.
func TestFind(t *testing.T) {
	for _, v := range variant.All() {
		if v.Name == "" || v.Differs == "" {
			t.Errorf("%s does not say what it is", v.ID)
		}
		if got, err := variant.Find(v.ID); err != nil || got.Name != v.Name {
			t.Errorf("Find(%q) = %q, %v; want %q: every ID is there once", v.ID, got.Name, err, v.Name)
		}
	}
	if _, err := variant.Find("gzipp"); err == nil {
		t.Error("Find finds a variant that is none")
	}
}
