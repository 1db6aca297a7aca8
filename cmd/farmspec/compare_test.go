package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reports"
)

func TestCompareCommand(t *testing.T) {
	dir, r := recordedRuns(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	if code, out, errs := command(t, "run", "--run", "rotate.old-token-refused/1", "--run", "http.forged-value", "--seed", "7", "--level", "B", "--out", at("three")); code != 0 {
		t.Fatalf("run of three profiles ended with %d\n%s%s", code, out, errs)
	}
	text, err := os.ReadFile(at("good/results.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("copy.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("part.json"), text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		want string
		why  string
	}{
		{[]string{at("good"), at("bad/results.json")}, 0, "B fail: the old token was accepted", "a difference is no error, and its reason is there"},
		{[]string{at("good"), at("bad"), "--fail-on-difference"}, 1, "with different verdicts", "unless asked for"},
		{[]string{at("good"), at("bad"), "--all"}, 0, "AJ-3.5", "every row"},
		{[]string{at("three"), "--fail-on-difference"}, 1, "Unlike A in hand-off", "the profiles of one report are implementations"},
		{[]string{at("three"), at("good"), "--merge"}, 0, "(3 profiles)", "or one"},
		{[]string{at("good"), at("less")}, 0, "planned", "a part of a run beside the whole is marked"},
		{nil, 64, "here are none", "nothing to compare"},
		{[]string{at("good")}, 64, "here is only", "one implementation"},
		{[]string{at("three"), "--merge"}, 64, "leave --merge out", "one implementation by wish"},
		{[]string{at("good"), at("good/results.json")}, 64, "are the same results", "a file twice, named in two ways"},
		{[]string{at("good"), at("copy.json")}, 64, "are the same results", "a copy is the same run"},
		{[]string{at("good"), at("part.json")}, 64, "part.json: the file ends early", "half a file"},
		{[]string{at("good"), at("good/junit.xml")}, 64, "not the JSON of a report", "another file"},
		{[]string{at("good"), at("none")}, 64, "no such file", "no file"},
		{[]string{at("good"), at("bad"), "--json", at("bad/results.json")}, 64, "would overwrite", "what is compared stays"},
		{[]string{at("good"), at("bad"), "--html", at("none/x.html")}, 64, "write comparison", "no such folder"},
		{[]string{at("good"), at("bad"), "--htm", "x"}, 64, "did you mean --html?", "a mistyped flag"},
	} {
		code, out, errs := command(t, append([]string{"compare"}, tc.args...)...)
		if code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%q: exit %d, want %d with %q (%s):\n%s%s", tc.args, code, tc.code, tc.want, tc.why, out, errs)
		}
	}

	if code, _, errs := command(t, "compare", at("good"), at("bad"), "--json", at("c.json"), "--markdown", at("c.md"), "--html", at("c.html")); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if text, err = os.ReadFile(at("c.json")); err != nil {
		t.Fatal(err)
	}
	var c reports.Comparison
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Scenarios {
		if s.ID != r.Results[0].Scenario {
			continue
		}
		if s.Difference != reports.ByVerdict || s.Cases[1].Verdict != farmspec.Fail || len(s.Cases[1].Beside) != len(r.Results[0].Exchanges) {
			t.Errorf("%s: %s, %s, %d exchanges beside A's %d", s.ID, s.Difference, s.Cases[1].Verdict, len(s.Cases[1].Beside), len(r.Results[0].Exchanges))
		}
		for _, pair := range s.Cases[1].Beside {
			if pair.Reference != pair.This || len(pair.Differs) > 0 {
				t.Errorf("the same exchanges are set beside each other as %+v", pair)
			}
		}
	}
	for name, want := range map[string]string{"c.md": "**B** ❌ fail: the old token was accepted", "c.html": "the old token was accepted"} {
		if text, err := os.ReadFile(at(name)); err != nil || !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s lacks %q (%v)", name, want, err)
		}
	}
}
