package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm/speed"
)

func TestBenchLeavesWhatItPrints(t *testing.T) {
	dir := t.TempDir()
	code, out, _ := command(t, "bench", "--run", "^Token/part=seal", "--rounds", "2", "--time", "50ms", "--out", dir)
	if code != farmspec.ExitConformant || !strings.Contains(out, "Token/part=seal+open") || !strings.Contains(out, "allocates nothing") {
		t.Errorf("bench ended with %d and\n%s", code, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, speed.JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	var r speed.Result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Cases) != 2 || len(r.Cases[1].Rounds) != 2 {
		t.Errorf("%s has %d cases, want 2 with 2 rounds each", speed.JSONFile, len(r.Cases))
	}
}

func TestBenchRefuses(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, tc := range []struct {
		name string
		args []string
		want string
		why  string
	}{
		{"no case", []string{"--run", "Tokn"}, `--run "Tokn" matches no case`, "nothing is never green"},
		{"no expression", []string{"--run", "("}, "--run: ", "the flag is named"},
		{"no rounds", []string{"--rounds", "0"}, "--rounds 0", "there would be no median"},
		{"no time", []string{"--time", "-1s"}, "--time -1s", "time is not negative"},
		{"no peers", []string{"--peers"}, "farmspec-bench is not installed", "the cure is in --help"},
		{"an argument", []string{"Token"}, "Token", "a filter is a flag"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, out := command(t, append([]string{"bench"}, tc.args...)...)
			if code != farmspec.ExitUsage || !strings.Contains(out, tc.want) {
				t.Errorf("bench ended with %d and %q, want %d and %q (%s)", code, out, farmspec.ExitUsage, tc.want, tc.why)
			}
		})
	}
}
