package baseline

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec"
)

const entry = "  reason: the farm keeps old tokens\n  expires: 2027-01-31\n"

func TestParseKnown(t *testing.T) {
	known, err := ParseKnown([]byte("# what is known\n---\n- scenario: rotate.*\n  target: farm/strict\n  message: 'was accepted'\n  link: https://example.com/7\n" + entry +
		"- requirement: AJ-3.4\n  reason: |\n    two\n    lines\n  expires: \"2027-01-31\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	want := []KnownFailure{
		{Scenario: "rotate.*", Target: "farm/strict", Reason: "the farm keeps old tokens", Link: "https://example.com/7", Expires: day, Message: "was accepted", Line: 3},
		{Requirement: "AJ-3.4", Reason: "two\nlines\n", Expires: day, Line: 9},
	}
	if diff := cmp.Diff(want, known); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	for _, none := range []string{"", "# nothing is known to fail\n", "[]\n"} {
		if known, err := ParseKnown([]byte(none)); err != nil || len(known) != 0 {
			t.Errorf("ParseKnown(%q) = %v, %v; want no entry", none, known, err)
		}
	}
}

func TestParseKnownIsStrict(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"no list", "scenario: a.b\n", "line 1: want a list"},
		{"no mapping", "- rotate.x\n", "line 1: an entry has keys"},
		{"unknown key", "- scenario: a.b\n  raeson: x\n" + entry, `line 2: unknown key "raeson" (did you mean reason?)`},
		{"key twice", "- scenario: a.b\n  scenario: c.d\n" + entry, "scenario"},
		{"neither", "- target: x\n" + entry, "line 1: the entry has neither scenario nor requirement"},
		{"no reason", "- scenario: a.b\n  expires: 2027-01-31\n", "line 1: the entry has no reason"},
		{"no expiry", "- scenario: a.b\n  reason: x\n", "line 1: the entry has no expires"},
		{"no date", "- scenario: a.b\n  reason: x\n  expires: next year\n", `line 3: expires "next year" is no date`},
		{"no such day", "- scenario: a.b\n  reason: x\n  expires: 2027-02-30\n", "line 3: expires"},
		{"no glob", "- scenario: a.[b\n" + entry, `line 1: scenario "a.[b" is not a glob`},
		{"no text", "- scenario: [a.b]\n" + entry, "line 1: scenario wants text"},
		{"nothing", "- scenario:\n" + entry, "line 1: scenario wants text"},
		{"same twice", "- scenario: a.b\n" + entry + "- scenario: a.b\n" + entry, "line 4: a.b is listed at line 1 too"},
		{"second document", "- scenario: a.b\n" + entry + "---\n- scenario: c.d\n" + entry, "a second document"},
		{"no YAML", "- scenario: \"a\n", "1:13"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseKnown([]byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
}

// run is a report of these cases, "scenario target requirement verdict reason".
func run(cases ...string) *farmspec.Report {
	r := &farmspec.Report{Run: farmspec.Run{Started: time.Date(2027, 1, 31, 23, 59, 0, 0, time.UTC), Complete: true}}
	for _, c := range cases {
		f := strings.SplitN(c, " ", 5)
		r.Results = append(r.Results, farmspec.Result{
			CaseID: farmspec.CaseID{Scenario: f[0], Target: f[1]}, Requirements: strings.Split(f[2], ","), Verdict: farmspec.Verdict(f[3]), Reason: f[4],
		})
	}
	return r
}

func TestGate(t *testing.T) {
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	last := day("2027-01-31")
	full := []string{
		"rotate.old f/strict WF-4.1 fail the old token was accepted",
		"rotate.race/two f/strict WF-4.3,WF-4.1 pass -",
		"rotate.old f/coalesce WF-4.1 pass -",
		"time.idle f/strict WF-7.1 unobservable -",
	}
	old := KnownFailure{Scenario: "rotate.old", Target: "f/strict", Expires: last, Line: 1}
	type outcome struct {
		Known, Exit               int
		Failures, Stale, Unjudged int
	}
	for _, tc := range []struct {
		name    string
		known   []KnownFailure
		cases   []string
		partial bool
		want    outcome
		text    string
		why     string
	}{
		{"nothing listed", nil, full, false, outcome{0, 1, 1, 0, 0}, "the old token was accepted", "a failure that nobody knows fails the gate"},
		{"listed", []KnownFailure{old}, full, false, outcome{1, 0, 0, 0, 0}, "Gate passed", "a known failure does not"},
		{"glob that passes too", []KnownFailure{{Scenario: "rotate.*", Target: "f/strict", Expires: last, Line: 1}}, full, false,
			outcome{1, 64, 0, 1, 0}, "rotate.race/two on f/strict", "a glob wider than the failure would hide the next one"},
		{"target left out", []KnownFailure{{Scenario: "rotate.old", Expires: last, Line: 1}}, full, false,
			outcome{1, 64, 0, 1, 0}, "rotate.old on f/coalesce", "it passes on another target"},
		{"requirement", []KnownFailure{{Requirement: "WF-4.1", Target: "f/strict", Expires: last, Line: 1}}, full, false,
			outcome{1, 0, 0, 0, 0}, "", "a requirement fails by any of its cases"},
		{"requirement that passes", []KnownFailure{old, {Requirement: "WF-4.3", Expires: last, Line: 2}}, full, false,
			outcome{1, 64, 0, 1, 0}, "WF-4.3 on f/strict; take", "an unexpected pass"},
		{"scenario and requirement", []KnownFailure{{Scenario: "rotate.*", Requirement: "WF-4.3", Target: "f/strict", Expires: last, Line: 1}}, full, false,
			outcome{0, 1, 1, 1, 0}, "", "only the cases that test the requirement are meant"},
		{"message", []KnownFailure{{Scenario: "rotate.old", Target: "f/strict", Expires: last, Message: "was accepted", Line: 1}}, full, false, outcome{1, 0, 0, 0, 0}, "", "the reason contains it"},
		{"message changed", []KnownFailure{{Scenario: "rotate.old", Target: "f/strict", Expires: last, Message: "timed out", Line: 1}}, full, false,
			outcome{0, 1, 1, 0, 0}, `expects "timed out"`, "another failure than the known one is not known"},
		{"expired", []KnownFailure{{Scenario: "rotate.old", Target: "f/strict", Expires: last.AddDate(0, 0, -1), Line: 1}}, full, false,
			outcome{1, 64, 0, 1, 0}, "expired on 2027-01-30", "the day after the last one; still on the last one it holds"},
		{"unmatched", []KnownFailure{old, {Scenario: "rotate.gone", Expires: last, Line: 2}}, full, false, outcome{1, 64, 0, 1, 0}, "f.yaml:2: rotate.gone matches no case", "nothing is never green"},
		{"unmatched in a part", []KnownFailure{old, {Scenario: "other.one", Expires: last, Line: 2}}, full, true, outcome{1, 0, 0, 0, 1}, "not part of this run", "a run of a part says nothing about the rest"},
		{"never run", []KnownFailure{old, {Scenario: "time.idle", Expires: last, Line: 2}}, full, false, outcome{1, 64, 0, 1, 0}, "do not run", "what cannot be seen cannot be known to fail"},
		{"error", []KnownFailure{{Scenario: "a.b", Expires: last, Line: 1}}, []string{"a.b f R error no answer", "c.d f R pass -"}, false,
			outcome{0, 2, 0, 0, 1}, "was not judged", "what could not be asked is no known failure"},
		{"nothing else", []KnownFailure{{Scenario: "a.b", Expires: last, Line: 1}}, []string{"a.b f R fail x"}, false, outcome{1, 2, 0, 0, 0}, "", "a run in which nothing passed is not green"},
		{"unknown before stale", []KnownFailure{{Scenario: "no.such", Expires: last, Line: 1}}, full, false, outcome{0, 1, 1, 1, 0}, "", "a failure matters more than the list"},
		{"flaky", []KnownFailure{{Scenario: "a.b", Expires: last, Line: 1}}, []string{"a.b f R flaky x", "c.d f R pass -"}, false, outcome{1, 0, 0, 0, 0}, "", "disagreeing trials can be known"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := run(tc.cases...)
			g := NewGate(tc.known, r, tc.partial)
			if diff := cmp.Diff(tc.want, outcome{g.Known, g.Exit, len(g.Failures), len(g.Stale), len(g.Unjudged)}); diff != "" {
				t.Errorf("gate (-want +got): %s\n%s%s", tc.why, diff, g.Text("f.yaml"))
			}
			if !strings.Contains(g.Text("f.yaml"), tc.text) {
				t.Errorf("text has no %q:\n%s", tc.text, g.Text("f.yaml"))
			}
			if diff := cmp.Diff(run(tc.cases...), r); diff != "" {
				t.Errorf("the gate changed the report:\n%s", diff)
			}
		})
	}
	r := run(full...)
	r.Run.Complete = false
	if g := NewGate([]KnownFailure{old}, r, false); g.Exit != farmspec.ExitInconclusive {
		t.Errorf("an incomplete run ends with %d", g.Exit)
	}
}

func TestGateTextDoesNotAct(t *testing.T) {
	g := NewGate(nil, run("a.b f R fail \x1b]0;owned\a\n\u202ereversed"), false)
	if text := g.Text("f"); strings.ContainsAny(text, "\x1b\a\u202e") || strings.Count(text, "\n") != 3 {
		t.Errorf("a farm's text acts: %q", text)
	}
}

func FuzzParseKnown(f *testing.F) {
	f.Add("- scenario: a.b\n" + entry)
	f.Add("- requirement: &a x\n  target: *a\n" + entry)
	f.Fuzz(func(t *testing.T, text string) {
		known, err := ParseKnown([]byte(text))
		if err != nil {
			return
		}
		for _, k := range known {
			if k.Scenario+k.Requirement == "" || k.Reason == "" || k.Expires.IsZero() || k.Line < 1 {
				t.Errorf("accepted %+v", k)
			}
		}
	})
}
