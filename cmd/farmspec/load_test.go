package main

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reports"
)

// engineNames are those that this system has.
var engineNames = func() []string {
	if runtime.GOOS == "linux" {
		return []string{"vegeta", "fast"}
	}
	return []string{"vegeta"}
}()

func TestLoad(t *testing.T) {
	c := child(t, "load", "--rate", "50", "--browsers", "4", "--warm-up", "100ms", "--duration", "400ms", "--store", "sqlite:farm.db", "--out", "out")
	code, out, errs := outcome(t, c)
	if code != 0 || !strings.Contains(out, "Truth under load  PASS") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	r, err := reports.ReadLoad(filepath.Join(c.Dir, "out", reports.LoadFile))
	if err != nil {
		t.Fatal(err)
	}
	if r.Arrivals.Asked != 20 || r.Truth.Verdict != farmspec.Pass || !strings.Contains(r.Run.Command, "load --rate 50") {
		t.Errorf("asked %d, %s, command %q", r.Arrivals.Asked, r.Truth.Verdict, r.Run.Command)
	}
	for _, name := range []string{reports.LoadFile, reports.LoadLogFile, reports.LoadPageFile, reports.LoadResultsFile} {
		if info, err := os.Stat(filepath.Join(c.Dir, "out", name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "out", ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLoadShards(t *testing.T) {
	dir := t.TempDir()
	for _, shard := range []string{"1", "2"} {
		c := child(t, "load", "--rate", "50", "--browsers", "4", "--warm-up", "0s", "--duration", "300ms", "--shard", shard+"/2", "--out", filepath.Join(dir, shard))
		if code, out, errs := outcome(t, c); code != 0 {
			t.Fatalf("shard %s: exit %d\n%s%s", shard, code, out, errs)
		}
	}
	both := filepath.Join(dir, "both")
	if code, out, errs := outcome(t, child(t, "load", "merge", filepath.Join(dir, "1"), filepath.Join(dir, "2"), "--out", both)); code != 0 {
		t.Fatalf("merge: exit %d\n%s%s", code, out, errs)
	}
	r, err := reports.ReadLoad(filepath.Join(both, reports.LoadFile))
	if err != nil {
		t.Fatal(err)
	}
	if (r.Arrivals.Asked != 15 && r.Arrivals.Asked != 14) || len(r.Plan.Shards) != 2 || !r.Run.Complete {
		t.Errorf("the joined report has %d arrivals of shards %v, complete %v", r.Arrivals.Asked, r.Plan.Shards, r.Run.Complete)
	}
	if code, _, errs := outcome(t, child(t, "load", "merge", filepath.Join(dir, "1"), filepath.Join(dir, "1"), "--out", both)); code != farmspec.ExitUsage || !strings.Contains(errs, "twice") {
		t.Errorf("a shard twice: exit %d, %s", code, errs)
	}
}

func TestLoadInterrupted(t *testing.T) {
	c := child(t, "load", "--rate", "50", "--browsers", "4", "--duration", "1h", "--warm-up", "0s", "--out", "out")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "logged in") {
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
	}
	_ = c.Wait() // its exit code tells
	if code := c.ProcessState.ExitCode(); code != farmspec.ExitInconclusive {
		t.Errorf("exit %d, want %d\n%s", code, farmspec.ExitInconclusive, said.String())
	}
	r, err := reports.ReadLoad(filepath.Join(c.Dir, "out", reports.LoadFile))
	if err != nil {
		t.Fatal(err)
	}
	if r.Run.Complete || r.Run.Why != "interrupted" {
		t.Errorf("complete %v (%s)", r.Run.Complete, r.Run.Why)
	}
}

func TestLoadWrongWishes(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"load elsewhere", "unknown target"},
		{"load --pacer constnat", "did you mean constant?"},
		{"load --mix veiw=1", "did you mean view?"},
		{"load --rate 0", "want 0.001 to"},
		{"load --rate NaN", "want 0.001 to"},
		{"load --browsers 0", "--browsers 0"},
		{"load --duration 0s", "--duration"},
		{"load --probe 2", "--probe 2"},
		{"load --probe NaN", "--probe NaN"},
		{"load --shard 3/2", "--shard"},
		{"load --start-at 25:00:00", "--start-at"},
		{"load --start-at 2001-01-01T00:00:00Z", "has passed"},
		{"load --find-max --pacer ramp:5", "--find-max"},
		{"load --find-max --shard 1/2", "--find-max"},
		{"load --connections none", "--connections"},
		{"load --mode seeled", "did you mean sealed?"},
		{"load --store mem", "store"},
		{"load --raet 5", "did you mean --rate?"},
		{"load --out /dev/null/x", "--out"},
		{"load merge /nowhere", "read load report"},
		{"load merge", "arg(s)"},
	} {
		code, _, errs := outcome(t, child(t, strings.Fields(tc.args)...))
		if code != farmspec.ExitUsage || !strings.Contains(errs, tc.want) {
			t.Errorf("%s: exit %d, %s; want %d and %q", tc.args, code, errs, farmspec.ExitUsage, tc.want)
		}
	}
}
