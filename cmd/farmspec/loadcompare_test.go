package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
)

func TestCompareLoads(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	load := func(name string, more ...string) {
		t.Helper()
		args := append([]string{"load", "--rate", "60", "--browsers", "4", "--warm-up", "0s", "--duration", "1200ms", "--out", in(name)}, more...)
		if code, out, errs := command(t, args...); code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
	}
	load("a")
	load("b")
	load("hops", "--mix", "hop=1")
	code, out, errs := command(t, "compare", in("a"), in("b"), "--html", in("c.html"), "--markdown", in("c.md"), "--json", in("c.json"))
	if code != 0 || !strings.Contains(out, "B : A") || !strings.Contains(out, "latency, p50") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	for _, name := range []string{"c.html", "c.md", "c.json"} {
		if text, err := os.ReadFile(in(name)); err != nil || !strings.Contains(string(text), "latency, p90") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if code, out, _ := command(t, "compare", in("a"), in("b")+","+in("hops")); code != farmspec.ExitUsage {
		t.Errorf("rounds of two plans: exit code %d\n%s", code, out)
	}
	for _, tc := range []struct{ with, want string }{
		{in("hops"), "mix hop=1 and not view="}, {in("a"), "is there twice"}, {in("c.md"), "only loads can be compared with loads"},
	} {
		if code, _, errs := command(t, "compare", in("a"), tc.with); code != farmspec.ExitUsage || !strings.Contains(errs, tc.want) {
			t.Errorf("with %s: exit code %d, %s; want %q", tc.with, code, errs, tc.want)
		}
	}
}
