package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/targetfile"
)

// withoutClock takes the clock out of a shop's file.
func (s *shop) withoutClock(t *testing.T, edits ...string) string {
	return s.file(t, append([]string{"hooks:\n  clock:\n    advance: POST " + s.Control + "/advance?seconds={seconds}\n", "max_wait: 5m\n"}, edits...)...)
}

// The plan says how long a run waits and names what it leaves out.
func TestRunTellsItsWaits(t *testing.T) {
	path := openShop(t, nil).withoutClock(t)
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"--max-wait 5m0s leaves out 4 scenarios, reported as unobservable", "--max-wait 1h7m31s would wait for all", " timeout.just-inside ", " timeout.just-outside/1 "}},
		{[]string{"--max-wait", "40m"}, []string{"Waits about 31m30s for the farm's time, 3 scenarios, at most 3 at once; the longest: timeout.just-outside/1, 31m30s.", "--max-wait 40m0s leaves out 1 scenario, ", "\n  timeout.activity-extends"}},
		{[]string{"--max-wait", "3h"}, []string{"the longest: timeout.activity-extends, 1h7m30s."}},
	} {
		code, out, errs := command(t, append([]string{"run", path, "--dry-run", "--run", "timeout.just-*", "--run", "timeout.activity-extends"}, tc.args...)...)
		if code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
		for _, want := range tc.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q: nothing says %q in\n%s", tc.args, want, out)
			}
		}
	}
}

// crowd counts who waits at once.
type crowd struct {
	mu   sync.Mutex
	most int
}

func (*crowd) Planned(int, []farmspec.TargetInfo) {}
func (*crowd) Began(farmspec.CaseID)              {}
func (*crowd) Ended(*farmspec.Result)             {}
func (c *crowd) Waiting(waits []farmspec.Wait) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = max(c.most, len(waits))
}

// On a farm whose clock cannot be moved scenarios really wait: side by side,
// in the time that was planned, and a farm that forgets its time-out is
// convicted.
func TestWaitingInRealTime(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for several seconds")
	}
	for _, tc := range []struct {
		name     string
		promised string // what the file says; the farm keeps four seconds
		convicts []string
	}{
		{"a farm that keeps its time-out", "4s", nil},
		{"a farm that keeps sessions longer than it says", "2s", []string{"timeout.just-outside/1", "timeout.just-outside/2", "timeout.refusal-renews-nothing"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := openShop(t, func(s *shop) { s.idle = 4 * time.Second })
			target, err := targetfile.Load(s.withoutClock(t, "  idle: 30m", "  idle: "+tc.promised))
			if err != nil {
				t.Fatal(err)
			}
			waited := &crowd{}
			o := features.Options{Seed: 1, Run: []string{"timeout.*", "logout.*"}, MaxWait: time.Minute, Progress: waited}
			plan, err := features.PlanWaits(o, target)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			report, err := features.Judge(context.WithoutCancel(t.Context()), o, target)
			took := time.Since(began)
			if err != nil {
				t.Fatal(err)
			}
			var sum time.Duration
			passed := 0
			for _, r := range report.Results {
				if slices.Contains(r.Tags, "@time") && r.Verdict.Ran() {
					sum += r.Took
				}
				switch {
				case r.Verdict == farmspec.Fail && !slices.Contains(tc.convicts, r.Scenario) && tc.convicts == nil, r.Verdict == farmspec.Error:
					t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
				case r.Verdict != farmspec.Fail && slices.Contains(tc.convicts, r.Scenario):
					t.Errorf("%s is %s: %s; want a failure", r.Scenario, r.Verdict, r.Reason)
				case r.Verdict == farmspec.Pass:
					passed++
				}
			}
			if waited.most < plan.AtOnce-4 { // some find that the farm does not offer what they are about, and do not wait
				t.Errorf("%d waited at once, and %d were planned", waited.most, plan.AtOnce)
			}
			if took > sum/3 {
				t.Errorf("the run took %v and its scenarios about time %v together: they did not wait side by side", took, sum)
			}
			t.Logf("%d passed in %v; planned to wait %v, together %v, at most %d at once", passed, took.Round(time.Millisecond), plan.Total, sum.Round(time.Millisecond), plan.AtOnce)
			if tc.convicts == nil && passed < 10 {
				t.Errorf("%d scenarios passed", passed)
			}
		})
	}
}
