package main

import (
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/targetfile"
)

// An honest farm with one fixed cookie over a shared store is at fault in
// nothing.
func TestFixedCookieFarm(t *testing.T) {
	target, err := targetfile.Load(openShop(t, nil).file(t))
	if err != nil {
		t.Fatal(err)
	}
	report, err := features.Judge(t.Context(), features.Options{Seed: 1}, target)
	if err != nil {
		t.Fatal(err)
	}
	count := map[farmspec.Verdict]int{}
	for _, r := range report.Results {
		count[r.Verdict]++
		switch r.Verdict {
		case farmspec.Pass, farmspec.Warn, farmspec.Unsupported, farmspec.Unobservable, farmspec.NotOffered:
		default:
			t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
		}
		if testing.Verbose() {
			t.Logf("%-40s %-13s %s", r.Scenario, r.Verdict, r.Reason)
		}
	}
	t.Log(count)
}

// A vendor's own Go test is a few lines.
func TestFromAGoTest(t *testing.T) {
	target, err := targetfile.Load(openShop(t, nil).file(t))
	if err != nil {
		t.Fatal(err)
	}
	report := features.Run(t, features.Options{Run: []string{"logout.*", "timeout.*"}}, target)
	if report.Exit != farmspec.ExitConformant {
		t.Errorf("exit code %d", report.Exit)
	}
}

// Two faults that such farms have are convicted, by a scenario about them.
func TestFaultsOfFixedCookieFarm(t *testing.T) {
	for _, tc := range []struct {
		name     string
		plant    func(*shop)
		scenario string
		want     string // of the reason
	}{
		{"log-out only deletes the cookie", func(s *shop) { s.cookieOnlyLogOut = true }, "logout.copies-refused",
			"is refused /account; saw accepted"},
		{"members do not share their sessions", func(s *shop) { s.apart = true }, "rotate.honest-user",
			"Ada is served /account; saw refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target, err := targetfile.Load(openShop(t, tc.plant).file(t))
			if err != nil {
				t.Fatal(err)
			}
			report, err := features.Judge(t.Context(), features.Options{Seed: 1, Run: []string{tc.scenario}}, target)
			if err != nil {
				t.Fatal(err)
			}
			if r := report.Results[0]; r.Verdict != farmspec.Fail || !strings.Contains(r.Reason, tc.want) {
				t.Errorf("%s is %s: %s; want a failure that says %q", r.Scenario, r.Verdict, r.Reason, tc.want)
			}
		})
	}
}
