package features

import (
	"context"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
)

// Every scenario about time has a step whose length is known, so that a plan
// can say how long it waits.
func TestEveryWaitIsKnown(t *testing.T) {
	all, err := Scenarios(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		told := false
		for _, text := range s.steps {
			for _, l := range lapses {
				told = told || l.step.MatchString(text)
			}
		}
		if told != s.Time {
			t.Errorf("%s: its tags say @time: %v; its steps let time pass: %v", s.ID, s.Time, told)
		}
	}
}

func TestPlanWaits(t *testing.T) {
	farm := func(accounts farmspec.Accounts, hooks farmspec.Hooks) *farmspec.Target {
		hooks.Accounts = accounts
		return &farmspec.Target{
			Name: "farm", Handoff: farmspec.NoHandoff, Rotation: farmspec.NoRotation,
			Members: []farmspec.Member{{Name: "one"}, {Name: "two"}}, Hooks: hooks,
			Limits: farmspec.Limits{Idle: 20 * time.Minute, Tolerance: time.Second},
		}
	}
	o := Options{Run: []string{"timeout.just-*", "timeout.activity-extends"}, MaxWait: time.Hour}
	for _, tc := range []struct {
		name   string
		target *farmspec.Target
		max    time.Duration
		want   Waits
		why    string
	}{
		{"accounts without end", farm(nil, farmspec.Hooks{}), time.Hour,
			Waits{Cases: 4, AtOnce: 4, Total: 45 * time.Minute, Longest: farmspec.CaseID{Scenario: "timeout.activity-extends", Target: "farm"}, LongestFor: 45 * time.Minute},
			"all wait side by side: 20, 21, 21 and three times 15 minutes"},
		{"ten accounts", farm(sized(10), farmspec.Hooks{}), time.Hour,
			Waits{Cases: 4, AtOnce: 1, Total: 107 * time.Minute, Longest: farmspec.CaseID{Scenario: "timeout.activity-extends", Target: "farm"}, LongestFor: 45 * time.Minute},
			"two scenarios have five people each; one place is for those that do not wait"},
		{"a bound", farm(nil, farmspec.Hooks{}), 21 * time.Minute,
			Waits{Cases: 3, AtOnce: 3, Total: 21 * time.Minute, Longest: farmspec.CaseID{Scenario: "timeout.just-outside/1", Target: "farm"}, LongestFor: 21 * time.Minute,
				LeftOut: []LeftOut{{farmspec.CaseID{Scenario: "timeout.activity-extends", Target: "farm"}, 45 * time.Minute}}},
			"exactly as long as the bound is not longer"},
		{"a clock", farm(nil, farmspec.Hooks{Clock: noClock{}}), time.Minute, Waits{}, "nothing waits where the clock moves"},
	} {
		o.MaxWait = tc.max
		got, err := PlanWaits(o, tc.target)
		if err != nil {
			t.Fatal(err)
		}
		if got.Cases != tc.want.Cases || got.AtOnce != tc.want.AtOnce || got.Total != tc.want.Total || got.Longest != tc.want.Longest ||
			got.LongestFor != tc.want.LongestFor || len(got.LeftOut) != len(tc.want.LeftOut) || len(got.LeftOut) > 0 && got.LeftOut[0] != tc.want.LeftOut[0] {
			t.Errorf("%s: %+v, want %+v (%s)", tc.name, got, tc.want, tc.why)
		}
	}
}

type noClock struct{ farmspec.ClockHook }

// sized is a pool of that many accounts, of which none is asked for.
type sized int

func (n sized) Size() int          { return int(n) }
func (sized) Return(farmspec.User) {}
func (sized) New(ctx context.Context, _ string) (farmspec.User, error) {
	return farmspec.User{}, ctx.Err()
}
