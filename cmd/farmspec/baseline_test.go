package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/reports"
)

// command runs a command line in this process.
func command(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := newRoot()
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	code = execute(t.Context(), root, args)
	return code, stdout.String(), stderr.String()
}

// A run of one scenario, the same with one failing, and one without a case.
func recordedRuns(t *testing.T) (dir string, r *farmspec.Report) {
	t.Helper()
	dir = t.TempDir()
	if code, out, errs := command(t, "run", "--run", "rotate.old-token-refused*", "--mode", "sealed", "--seed", "7", "--out", filepath.Join(dir, "good")); code != 0 {
		t.Fatalf("run ended with %d\n%s%s", code, out, errs)
	}
	r, err := reports.Read(filepath.Join(dir, "good", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, change func(r *farmspec.Report)) {
		c := *r
		c.Results = slices.Clone(r.Results)
		change(&c)
		c.Plan = nil
		for i := range c.Results {
			c.Plan = append(c.Plan, c.Results[i].CaseID)
		}
		features.Conclude(&c)
		if _, err := reports.Write(filepath.Join(dir, name), &c); err != nil {
			t.Fatal(err)
		}
	}
	write("bad", func(r *farmspec.Report) {
		r.Results[0].Verdict, r.Results[0].Reason = farmspec.Fail, "the old token was accepted"
	})
	write("less", func(r *farmspec.Report) { r.Results = r.Results[1:] })
	return dir, r
}

func TestBaselineCommand(t *testing.T) {
	dir, r := recordedRuns(t)
	base := filepath.Join(dir, "baseline.json")
	if code, out, errs := command(t, "baseline", "write", filepath.Join(dir, "good"), "--out", base); code != 0 || !strings.Contains(out, "cases in") {
		t.Fatalf("write ended with %d: %s%s", code, out, errs)
	}
	first := r.Results[0].Scenario
	for _, tc := range []struct {
		name, baseline, results string
		code                    int
		want                    string
		why                     string
	}{
		{"same", base, "good", 0, "0 worse", "nothing changed; a folder stands for its results.json"},
		{"worse", base, "bad/results.json", 1, first + " on " + r.Results[0].Target + ": pass → fail: the old token was accepted", "a new failure"},
		{"vanished", base, "less", 1, "Vanished, which is a regression (1)\n  " + first, "a case that is gone is not a case that passed"},
		{"no results", base, "nothing", 64, "no such file", "nothing was compared"},
		{"no baseline", filepath.Join(dir, "good", "results.json"), "good", 64, "not a baseline", "another file is refused"},
	} {
		code, out, errs := command(t, "baseline", "check", tc.baseline, filepath.Join(dir, tc.results))
		if code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s: exit %d, want %d with %q (%s):\n%s%s", tc.name, code, tc.code, tc.want, tc.why, out, errs)
		}
	}
}

func TestKnownFailuresGateARun(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "known-failures.yaml")
	run := func(text string, args ...string) (int, string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "out")
		code, stdout, errs := command(t, append([]string{"run", "--run", "rotate.old-token-refused*", "--mode", "sealed", "--known-failures", list, "--out", out}, args...)...)
		if code != 64 || strings.Contains(stdout, "Gate") {
			if r := results(t, out); r.Exit != 0 || r.Verdict != farmspec.Pass {
				t.Errorf("the report says %s, exit %d; the gate must leave the farm's own verdict", r.Verdict, r.Exit)
			}
		}
		return code, stdout + errs
	}
	const rest = "  reason: it is known\n  expires: 2999-12-31\n"
	for _, tc := range []struct {
		name, text string
		code       int
		want       string
	}{
		{"none", "[]\n", 0, "Gate passed, exit 0: 0 known"},
		{"unexpected pass", "- scenario: rotate.old-token-refused*\n" + rest, 64, list + ":1: rotate.old-token-refused* passes"},
		{"expired", "- scenario: rotate.old-token-refused*\n  reason: it was\n  expires: 2001-01-01\n", 64, "expired on 2001-01-01"},
		{"of another part", "- scenario: time.no-such\n" + rest, 0, "not part of this run"},
		{"typo", "- scenari: rotate.old-token-refused\n" + rest, 64, `line 1: unknown key "scenari" (did you mean scenario?)`},
	} {
		if code, text := run(tc.text); code != tc.code || !strings.Contains(text, tc.want) {
			t.Errorf("%s: exit %d, want %d with %q:\n%s", tc.name, code, tc.code, tc.want, text)
		}
	}
}

func TestBundleAndVerifyCommands(t *testing.T) {
	dir, _ := recordedRuns(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, k := range []string{"a.key", "b.key"} {
		if code, out, errs := command(t, "bundle", "--new-key", at(k)); code != 0 || !strings.Contains(out, "public key") {
			t.Fatalf("new key: %d %s%s", code, out, errs)
		}
	}
	secret, err := os.ReadFile(at("a.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(at("a.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret key has mode %v (%v), want 0600", info.Mode(), err)
	}
	everything := ""
	for _, tc := range []struct {
		args []string
		code int
		want string
		why  string
	}{
		{[]string{"bundle", "--new-key", at("a.key")}, 64, "there already", "a key is never overwritten"},
		{[]string{"bundle", at("good"), "--out", at("x")}, 64, "--key FILE is missing", "no key"},
		{[]string{"bundle", "--key", at("a.key")}, 64, "bundle what?", "no results"},
		{[]string{"bundle", at("good"), "--key", at("a.key.pub"), "--out", at("x")}, 64, "may be read by others", "a key that others may read"},
		{[]string{"bundle", at("good"), "--key", at("a.key"), "--out", at("x")}, 64, "leaves out", "a part is no whole"},
		{[]string{"bundle", at("good"), "--key", at("a.key"), "--out", at("good.tar.gz"), "--partial"}, 0, "signed by key", "a part that says so"},
		{[]string{"bundle", at("good/results.json"), "--key", at("a.key"), "--out", at("again.tar.gz"), "--partial"}, 0, "signed by key", "and once more"},
		{[]string{"bundle", at("bad"), "--key", at("a.key"), "--out", at("bad.tar.gz"), "--partial"}, 0, "signed by key", "a failing run is evidence too"},
		{[]string{"verify", at("good.tar.gz")}, 64, "--pub FILE is missing", "no key"},
		{[]string{"verify", at("good.tar.gz"), "--pub", at("good.tar.gz")}, 64, "read public key", "no key in the file"},
		{[]string{"verify", at("none.tar.gz"), "--pub", at("a.key.pub")}, 64, "no such file", "no bundle"},
		{[]string{"verify", at("good.tar.gz"), "--pub", at("a.key.pub")}, 0, "a part of the suite", "what was signed verifies, and says what it is"},
		{[]string{"verify", at("bad.tar.gz"), "--pub", at("a.key.pub")}, 0, "fail, exit 1", "so does a bad verdict"},
		{[]string{"verify", at("good.tar.gz"), "--pub", at("b.key.pub")}, 1, "the signature", "another's key"},
		{[]string{"verify", at("good/results.json"), "--pub", at("a.key.pub")}, 1, "not a bundle", "another file"},
	} {
		code, out, errs := command(t, tc.args...)
		everything += out + errs
		if code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%q: exit %d, want %d with %q (%s):\n%s%s", tc.args, code, tc.code, tc.want, tc.why, out, errs)
		}
	}
	one, err := os.ReadFile(at("good.tar.gz"))
	two, err2 := os.ReadFile(at("again.tar.gz"))
	if err != nil || err2 != nil || !bytes.Equal(one, two) {
		t.Error("bundling twice gives two archives")
	}
	line := bytes.Split(bytes.TrimSpace(secret), []byte("\n"))
	if strings.Contains(everything, string(line[len(line)-1])) {
		t.Error("the secret key was printed")
	}
}

func TestMutantsCommand(t *testing.T) {
	out := t.TempDir()
	code, text, errs := command(t, "mutants", "--fault", "F14", "--quick", "--out", out)
	if code != 0 || !strings.Contains(text, "1 of 1 killed") {
		t.Fatalf("exit %d:\n%s%s", code, text, errs)
	}
	m, err := reports.ReadMatrix(filepath.Join(out, reports.MatrixFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Faults) != 1 || m.Faults[0].State != farmspec.Killed || m.Faults[0].Reason == "" {
		got, _ := json.Marshal(m.Faults)
		t.Errorf("faults: %s", got)
	}
	if code, _, errs := command(t, "mutants", "--fault", "F14x"); code != 64 || !strings.Contains(errs, "F14") {
		t.Errorf("a mistyped fault: exit %d, %s", code, errs)
	}
}

// A list beside the target file counts without being named.
func TestKnownFailuresBesideTheTargetFile(t *testing.T) {
	path := openShop(t, func(s *shop) { s.cookieOnlyLogOut = true }).file(t)
	list := filepath.Join(filepath.Dir(path), "known-failures.yaml")
	if err := os.WriteFile(list, []byte("- scenario: logout.copies-refused\n  reason: it is known\n  expires: 2999-12-31\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		said bool
		why  string
	}{
		{nil, 0, true, "the list is found"},
		{[]string{"--no-known-failures"}, 1, false, "it can be left out"},
		{[]string{"--no-known-failures", "--known-failures", list}, 64, false, "both is a contradiction"},
	} {
		code, out, errs := command(t, append([]string{"run", path, "--run", "logout.copies-refused", "--run", "login.*", "--no-doctor", "--out", t.TempDir()}, tc.args...)...)
		if code != tc.code || strings.Contains(out, "Known failures: "+list+", beside the target file") != tc.said {
			t.Errorf("%q: exit code %d, want %d (%s)\n%s%s", tc.args, code, tc.code, tc.why, out, errs)
		}
	}
}
