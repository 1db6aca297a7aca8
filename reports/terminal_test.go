package reports

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/farmspec/farmspec"
)

func TestClosing(t *testing.T) {
	r := fixture(1)
	v := newView(r, fixtureCatalogue())
	var plain bytes.Buffer
	if err := closing(&plain, v, Terminal{}, []string{"report/results.json", "report/report.html"}); err != nil {
		t.Fatal(err)
	}
	golden(t, "closing.txt", plain.Bytes())

	for _, width := range []int{60, 80, 100, 200} {
		var b bytes.Buffer
		if err := closing(&b, v, Terminal{Width: width, TTY: true, Color: true}, nil); err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(b.String(), "")
		text, _ = strings.CutPrefix(text, "\r\x1b[K")
		if strings.Contains(text, "\x1b") {
			t.Errorf("width %d: more than colours is sent", width)
		}
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\n")
			if n := utf8.RuneCountInString(line); n > max(min(width, 100), 80) && !strings.Contains(line, "repeat: ") {
				t.Errorf("width %d: %d columns: %s", width, n, line)
			}
		}
	}
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("colour without leave")
	}
}

// TestClaimSentence: a verdict that fails by what stands beside the claims says so.
func TestClaimSentence(t *testing.T) {
	v := newView(fixture(1), fixtureCatalogue())
	for i := range v.Requirements {
		v.Requirements[i].Verdict = farmspec.Unobservable
		if slices.Contains([]string{"AJ-3.2", "ASVS-7.4.1"}, v.Requirements[i].ID) {
			v.Requirements[i].Verdict = farmspec.Fail
		}
	}
	if got := v.claimSentence(); !strings.HasSuffix(got, "; broken beside them: AJ-3.2.") {
		t.Errorf("got %q, want it to name AJ-3.2 alone", got)
	}
}

func TestProgressInAFile(t *testing.T) {
	r := fixture(1)
	var b bytes.Buffer
	now := time.Unix(0, 0)
	p := NewProgress(&b, Terminal{Every: 10, Now: func() time.Time { now = now.Add(200 * time.Millisecond); return now }})
	p.Planned(len(r.Results), r.Targets)
	for i := range r.Results {
		p.Began(r.Results[i].CaseID)
		p.Ended(&r.Results[i])
	}
	p.Close()
	golden(t, "progress.txt", b.Bytes())
}

func TestProgressOnATerminal(t *testing.T) {
	r := fixture(1)
	var b bytes.Buffer
	now := time.Unix(0, 0)
	p := NewProgress(&b, Terminal{TTY: true, Width: 72, Now: func() time.Time { now = now.Add(time.Second); return now }})
	p.Planned(len(r.Results), r.Targets[:1])
	for i := range r.Results {
		p.Began(r.Results[i].CaseID)
		p.Ended(&r.Results[i])
	}
	text := b.String()
	frames := strings.Split(text, "\r")
	if len(frames) < len(r.Results) {
		t.Fatalf("%d frames for %d cases", len(frames), len(r.Results))
	}
	for _, f := range frames {
		line, _, drawn := strings.Cut(f, "\x1b[K")
		if n := utf8.RuneCountInString(line); drawn && n >= 72 {
			t.Errorf("a frame of %d columns would wrap: %q", n, line)
		}
	}
	if !strings.Contains(text, "left") || !strings.Contains(text, "16/33") {
		t.Error("no remaining time or count is shown")
	}
	if !strings.Contains(text, "\r\x1b[Kfail         rotate.old-token-refused") {
		t.Error("a failure is not a line of its own")
	}
	if p.live {
		t.Error("the live line stays after the last case")
	}
	p.Close() // twice is fine
}

func TestWriteRequirements(t *testing.T) {
	r, c := fixture(1), fixtureCatalogue()
	for i := range r.Requirements {
		if q := &r.Requirements[i]; len(q.Cases) > 0 {
			q.Verdict, q.Levels = farmspec.NotRun, nil // as before a run
		}
		if q := &r.Requirements[i]; q.ID == "SY-13.2" {
			q.Verdict, q.Reason = farmspec.Unobservable, "who did it does not show on the wire"
		}
	}
	var b bytes.Buffer
	if err := WriteRequirements(&b, r.Requirements, c.requirements, false); err != nil {
		t.Fatal(err)
	}
	golden(t, "requirements.txt", b.Bytes())

	b.Reset()
	if err := WriteRequirements(&b, r.Requirements, c.requirements, true); err != nil {
		t.Fatal(err)
	}
	var back []struct{ ID, State string }
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, q := range back {
		states[q.ID] = q.State
	}
	for id, want := range map[string]string{"WF-4.1": "tested", "SY-13.2": "unobservable", "WF-5.1": "planned"} {
		if states[id] != want {
			t.Errorf("%s is %q, want %q", id, states[id], want)
		}
	}
}

func TestWriteScenarios(t *testing.T) {
	plan := fixture(1).Results
	for i := range plan {
		if plan[i].Verdict.Ran() {
			plan[i].Verdict = farmspec.Planned // as a plan has it
		}
	}
	var b bytes.Buffer
	if err := WriteScenarios(&b, plan, false); err != nil {
		t.Fatal(err)
	}
	golden(t, "scenarios.txt", b.Bytes())

	b.Reset()
	if err := WriteScenarios(&b, plan, true); err != nil {
		t.Fatal(err)
	}
	var back []struct {
		ID    string
		Cases []struct{ Target, State, Reason string }
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back) != len(fixtureScenarios) || len(back[0].Cases) != len(fixtureTargets) {
		t.Errorf("%d scenarios on %d targets, want %d on %d", len(back), len(back[0].Cases), len(fixtureScenarios), len(fixtureTargets))
	}
}

// Who waits shows in the live line, and once a minute on a plain file.
func TestProgressShowsWaits(t *testing.T) {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	waits := []farmspec.Wait{
		{CaseID: farmspec.CaseID{Scenario: "timeout.just-inside"}, Until: start.Add(30 * time.Minute)},
		{CaseID: farmspec.CaseID{Scenario: "timeout.just-outside"}, Until: start.Add(31 * time.Minute)},
	}
	for _, tc := range []struct {
		t          Terminal
		want, miss []string
	}{
		{Terminal{}, []string{"0 of 20: 2 wait, the last of them 31m0s\n", "0 of 20: timeout.just-outside waits 29m50s\n"}, []string{"29m55s", "\r"}},
		{Terminal{TTY: true}, []string{"0/20", "2 wait, the last of them 31m0s", "2 wait, the last of them 29m55s", "timeout.just-outside waits 29m50s"}, []string{"left"}},
	} {
		now := start
		tc.t.Now = func() time.Time { return now }
		var b bytes.Buffer
		p := NewProgress(&b, tc.t)
		p.Planned(20, nil)
		p.Waiting(waits)
		now = now.Add(65 * time.Second)
		if !tc.t.TTY {
			now = now.Add(-10 * time.Second) // within the minute a plain file is told nothing
		}
		p.Waiting(waits)
		now = start.Add(70 * time.Second)
		p.Waiting(waits[1:])
		p.Waiting(nil)
		p.Close()
		for _, want := range tc.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("nothing says %q in %q", want, b.String())
			}
		}
		for _, miss := range tc.miss {
			if strings.Contains(b.String(), miss) {
				t.Errorf("%q is in %q", miss, b.String())
			}
		}
	}
}
