package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec"
)

// child is the command as a process of its own, in a folder of its own.
func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), argsForChild+"="+strings.Join(args, "\n"))
	c.Dir = t.TempDir()
	return c
}

// outcome runs a child to its end.
func outcome(t *testing.T, c *exec.Cmd) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// results reads the report that a run left in a folder.
func results(t *testing.T, dir string) farmspec.Report {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r farmspec.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("read results.json: %v", err)
	}
	return r
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// entries are the files below a folder with their contents.
func entries(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var reportFiles = []string{"junit.xml", "report.html", "results.json", "results.sarif", "summary.md"}

func TestWrongWishesAreNamed(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want []string
		why  string
	}{
		{"unknown flag", []string{"run", "--sedd", "1"}, []string{"unknown flag: --sedd", "did you mean --seed?", "farmspec run --help"}, "a typing error is told with the nearest flag"},
		{"unknown sub-command", []string{"rnu"}, []string{`unknown command "rnu"`, "Did you mean this?\n\trun"}, "so is one in a sub-command"},
		{"unknown ID", []string{"run", "--run", "rotate.honest-usr"}, []string{`nothing matches "rotate.honest-usr"`, "did you mean rotate.honest-user?", "farmspec list"}, "an unmatched ID is never green"},
		{"unmatched glob", []string{"run", "--run", "rotat-*"}, []string{`nothing matches "rotat-*"`}, "nor is an unmatched glob"},
		{"one of two unmatched", []string{"run", "--run", "rotate.*", "--run", "nothing.*"}, []string{`nothing matches "nothing.*"`}, "nor one that hides behind another"},
		{"no glob", []string{"run", "--run", "["}, []string{`"[" is not a glob`}, "a broken glob is told as one"},
		{"unknown tag", []string{"run", "--tags", "@WF-4.33"}, []string{"no scenario has the tag @WF-4.33", "did you mean @WF-4.3?"}, "an unknown tag selects nothing"},
		{"broken tag expression", []string{"run", "--tags", "(@WF-4.3 or"}, []string{"(@WF-4.3 or", "syntax error"}, "a broken expression shows itself"},
		{"contradictory tags", []string{"run", "--tags", "@WF-4.3 and not @WF-4.3"}, []string{"no scenario matches"}, "a selection of nothing is an error"},
		{"unknown level", []string{"run", "--level", "X"}, []string{`--level "X"`, "B, G or W"}, "the levels are named"},
		{"mode", []string{"run", "--mode", "claimd"}, []string{`--mode "claimd"`, "did you mean claimed?"}, "the nearest mode is named"},
		{"topology", []string{"run", "--topology", "mars"}, []string{`--topology "mars"`, "shared-domain, single-host, split-domain"}, "where none is near, all are"},
		{"unknown target", []string{"run", "tomcat"}, []string{`unknown target "tomcat"`, "reference"}, "what can be judged is named"},
		{"unknown profile", []string{"run", "--target", "reference/sealed+strict+shared-domian"}, []string{"did you mean reference/sealed+strict+shared-domain?"}, "the nearest profile is named"},
		{"one farm's database", []string{"run", "--store", "sqlite:farm.db"}, []string{"one farm's database", "sqlite::memory:"}, "farms would share it"},
		{"no database", []string{"run", "--store", "reddis://:secret@127.0.0.1"}, []string{`no store "reddis://...@127.0.0.1"`, "did you mean redis?"}, "the password is not repeated"},
		{"a file's farm has its own", []string{"run", "shop.yaml", "--store", "sqlite::memory:"}, []string{"--store", "a target file says"}, "the flag would do nothing"},
		{"no profile at all", []string{"run", "--target", "x"}, []string{`--target "x" is no profile`}, "where none is near, none is suggested"},
		{"two wishes at once", []string{"run", "--all-profiles", "--mode", "sealed"}, []string{"--all-profiles"}, "wishes that exclude each other are told"},
		{"two targets", []string{"run", "reference", "reference"}, []string{"arg(s)"}, "one target a run"},
		{"negative parallel", []string{"run", "--parallel", "-1"}, []string{"--parallel"}, "less than none is no number of scenarios"},
		{"no time", []string{"run", "--timeout", "0s"}, []string{"--timeout"}, "no scenario ends in no time"},
		{"no number", []string{"run", "--seed", "dice"}, []string{`"dice"`, "--seed"}, "a seed is a number"},
		{"list of an unknown ID", []string{"list", "--run", "rotate.honest-usr"}, []string{"did you mean rotate.honest-user?"}, "list selects as run does"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := child(t, tc.args...)
			code, out, errs := outcome(t, c)
			if code != farmspec.ExitUsage {
				t.Errorf("exit code %d, want %d (%s)", code, farmspec.ExitUsage, tc.why)
			}
			for _, want := range tc.want {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q (%s) in\n%s", want, tc.why, errs)
				}
			}
			if !strings.HasPrefix(errs, "farmspec: ") || strings.HasSuffix(errs, "\n\n") || strings.Contains(errs, "did you mean ?") {
				t.Errorf("the message is not tidy: %q", errs)
			}
			if out != "" {
				t.Errorf("something was printed as a result:\n%s", out)
			}
			if left := names(t, c.Dir); len(left) > 0 {
				t.Errorf("a wrong wish left %q behind", left)
			}
		})
	}
}

func TestFolderOfTheReport(t *testing.T) {
	one := []string{"run", "--run", "rotate.honest-user", "--mode", "sealed"}
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, dir string) error // makes something at dir/out
		shell   string                               // what a shell does before the command
		ran     bool
		want    []string
	}{
		{"a file in the way", func(t *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "out"), []byte("mine"), 0o600)
		}, "", false, []string{"out", "not a directory", "--out"}},
		{"a folder for a file", func(t *testing.T, dir string) error {
			return os.MkdirAll(filepath.Join(dir, "out", "results.json"), 0o700)
		}, "", true, []string{"results.json", "in the way", "--out"}},
		{"read-only", func(t *testing.T, dir string) error {
			if os.Getuid() == 0 {
				t.Skip("nothing is read-only to root")
			}
			return os.Mkdir(filepath.Join(dir, "out"), 0o500)
		}, "", false, []string{"permission denied", "--out"}},
		{"a full disk", nil, "ulimit -f 8", true, []string{"file too large", "--out"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := child(t, append(one, "--out", "out")...)
			if tc.prepare != nil {
				if err := tc.prepare(t, c.Dir); err != nil {
					t.Fatal(err)
				}
			}
			if tc.shell != "" {
				c.Args = []string{"sh", "-c", tc.shell + `; exec "$0"`, c.Path}
				c.Path = "/bin/sh"
			}
			before := entries(t, c.Dir)
			code, out, errs := outcome(t, c)
			if code != farmspec.ExitUsage {
				t.Errorf("exit code %d, want %d", code, farmspec.ExitUsage)
			}
			for _, want := range tc.want {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q in\n%s", want, errs)
				}
			}
			if ran := strings.Contains(out, "1 case"); ran != tc.ran {
				t.Errorf("the scenarios ran: %v, want %v", ran, tc.ran)
			}
			if strings.Contains(out, "conformant: everything") {
				t.Error("the closing table promises exit code 0")
			}
			if diff := cmp.Diff(before, entries(t, c.Dir)); diff != "" {
				t.Errorf("half a report was left behind, or something of mine was changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestOutputThatCannotBePrinted(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = full.Close() }()
	c := child(t, "list")
	c.Stdout = full
	if err := c.Run(); err == nil {
		t.Error("list says it went well, and nobody has read it")
	}
}

func TestInterrupted(t *testing.T) {
	c := child(t, "run", "--all-profiles", "--verbose", "--out", "out")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "pass ") {
		continue // until a scenario has ended
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	interrupted := time.Now()
	for lines.Scan() {
		continue
	}
	_ = c.Wait()
	if code := c.ProcessState.ExitCode(); code != farmspec.ExitInconclusive {
		t.Errorf("exit code %d, want %d", code, farmspec.ExitInconclusive)
	}
	t.Logf("ended %v after the signal", time.Since(interrupted).Round(time.Millisecond))
	if diff := cmp.Diff(reportFiles, names(t, filepath.Join(c.Dir, "out"))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	r := results(t, filepath.Join(c.Dir, "out"))
	if r.Run.Complete || r.Run.Why != "interrupted" {
		t.Errorf("the report says complete %v, %q; want an interrupted run", r.Run.Complete, r.Run.Why)
	}
	if len(r.Results) != len(r.Plan) {
		t.Errorf("%d results for %d planned cases", len(r.Results), len(r.Plan))
	}
	count := map[farmspec.Verdict]int{}
	for _, c := range r.Results {
		if count[c.Verdict]++; !slices.Contains([]farmspec.Verdict{farmspec.Pass, farmspec.NotRun, farmspec.Unsupported}, c.Verdict) {
			t.Errorf("%s on %s: %s (%s); an interruption is no observation", c.Scenario, c.Target, c.Verdict, c.Reason)
		}
	}
	if count[farmspec.Pass] == 0 || count[farmspec.NotRun] == 0 {
		t.Errorf("verdicts %v, want some that passed and some that were not run", count)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	c := child(t, "run", "--dry-run", "--run", "rotate.*")
	code, out, errs := outcome(t, c)
	if code != 0 || errs != "" {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if !strings.Contains(out, "rotate.honest-user") || strings.Contains(out, "grace.ends") {
		t.Errorf("the plan is not that of rotate.*:\n%s", out)
	}
	if left := names(t, c.Dir); len(left) > 0 {
		t.Errorf("a dry run left %q", left)
	}
}

func TestOneScenario(t *testing.T) {
	c := child(t, "run", "--run", "rotate.honest-user", "--fail-fast", "--out", "out")
	code, out, errs := outcome(t, c)
	if code != 0 || errs != "" {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if diff := cmp.Diff(reportFiles, names(t, filepath.Join(c.Dir, "out"))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	r := results(t, filepath.Join(c.Dir, "out"))
	if len(r.Results) != len(profiles) || !r.Run.Complete || r.Verdict != farmspec.Pass {
		t.Errorf("%d results, complete %v, verdict %s; want one for each of %d profiles, all passed", len(r.Results), r.Run.Complete, r.Verdict, len(profiles))
	}
	for _, want := range append([]string{"3 pass"}, reportFiles...) {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the closing lines:\n%s", want, out)
		}
	}
}

func TestOneSeedOneReport(t *testing.T) {
	type line struct {
		Scenario, Target, Verdict, Reason string
		Checks                            int
	}
	run := func() (plan []farmspec.CaseID, lines []line) {
		c := child(t, "run", "--run", "rotate.*", "--run", "service.*", "--mode", "claimed", "--seed", "7", "--out", "out")
		if code, _, errs := outcome(t, c); code != 0 {
			t.Fatalf("exit code %d: %s", code, errs)
		}
		r := results(t, filepath.Join(c.Dir, "out"))
		if r.Run.Seed != 7 {
			t.Errorf("the report names the seed %d", r.Run.Seed)
		}
		for _, c := range r.Results {
			lines = append(lines, line{c.Scenario, c.Target, string(c.Verdict), c.Reason, len(c.Checks)})
		}
		return r.Plan, lines
	}
	firstPlan, first := run()
	secondPlan, second := run()
	if diff := cmp.Diff(firstPlan, secondPlan); diff != "" {
		t.Errorf("plan (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("verdicts (-first +second):\n%s", diff)
	}
}
