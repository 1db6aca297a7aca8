package speed_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"

	"github.com/farmspec/farmspec/reference/storetest/dbtest"
	"github.com/farmspec/farmspec/simfarm/speed"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Run(m)) }

func TestCasesOnServerWork(t *testing.T) {
	cases, err := speed.OnServer(dbtest.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if err := open(t, c).Do(40); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := speed.OnServer("memory"); err == nil {
		t.Error("memory passes for a database server")
	}
}

// Every standard case does what it says, once; no time is judged.
func TestStandardCasesWork(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range speed.Standard() {
		t.Run(c.Name, func(t *testing.T) {
			names[c.Name] = true
			w := open(t, c)
			if err := w.Do(40); err != nil {
				t.Error(err)
			}
		})
	}
	for _, g := range speed.Goals() {
		if !names[g.Case] || g.Than != "" && !names[g.Than] {
			t.Errorf("goal %q speaks of a case that is not in the set", g.Name)
		}
	}
}

func open(t testing.TB, c speed.Case) speed.Work {
	t.Helper()
	w, err := c.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.Close == nil {
			return
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// fixed is a case whose rounds take what they are told to.
func fixed(name string, walls ...float64) speed.Case {
	round := 0
	return speed.Case{Name: name, Open: func(context.Context) (speed.Work, error) {
		return speed.Work{Measure: func(context.Context, time.Duration) (speed.Round, error) {
			round++
			return speed.Round{N: 1, Wall: walls[round-1], Bytes: -1, Allocs: -1}, nil
		}}, nil
	}}
}

func absent(name string) speed.Case {
	return speed.Case{Name: name, Open: func(context.Context) (speed.Work, error) { return speed.Work{}, speed.ErrAbsent }}
}

func TestRatiosAreTakenWithinRounds(t *testing.T) {
	// The machine is ten times slower in every second round; the ratio is not.
	slow := fixed("Slow", 80, 900, 100, 1000, 90, 800)
	fast := fixed("Fast", 10, 100, 10, 100, 10, 100)
	r, err := speed.Run(t.Context(), speed.Options{Cases: []speed.Case{fast, slow, absent("Absent")}, Goals: []speed.Goal{
		{Name: "nine", Case: "Fast", Than: "Slow", By: speed.Wall, AtLeast: 9},
		{Name: "ten", Case: "Fast", Than: "Slow", By: speed.Wall, AtLeast: 10},
		{Name: "absolute", Case: "Fast", By: speed.Wall, AtMost: 60},
		{Name: "nothing to reach", Case: "Fast", By: speed.Wall},
		{Name: "absent", Case: "Fast", Than: "Absent", By: speed.Wall, AtLeast: 1},
		{Name: "unknown", Case: "Fats", By: speed.Wall, AtLeast: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		median, low, high float64
		met               string
		why               string
	}{
		{9, 8, 10, "met", "the median counts"},
		{9, 8, 10, "missed", "the end of the interval does not"},
		{55, 10, 100, "met", "an absolute number is a median too"},
		{55, 10, 100, "", "there is nothing to reach"},
		{0, 0, 0, "", "a peer that is not there proves nothing"},
		{0, 0, 0, "", "nor does a case that was left out"},
	} {
		g := r.Goals[i]
		met := ""
		if g.Met != nil {
			met = map[bool]string{true: "met", false: "missed"}[*g.Met]
		}
		if g.Median != want.median || g.Low != want.low || g.High != want.high || met != want.met {
			t.Errorf("%s: %v from %v to %v, %q; want %+v", g.Name, g.Median, g.Low, g.High, met, want)
		}
	}
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"at least 9x: met", "at least 10x: missed", "8x to 10x", "at most 60 ns: met", "skipped: not installed", "skipped: not measured"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
}

func TestBenchstatReadsTheText(t *testing.T) {
	r, err := speed.Run(t.Context(), speed.Options{Rounds: 2, Time: time.Millisecond, Cases: []speed.Case{speed.Standard()[0], fixed("Peer/of=ours", 7, 8)}})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]int)
	for in := benchfmt.NewReader(&text, "bench.txt"); in.Scan(); {
		switch got := in.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(got)
		case *benchfmt.Result:
			if _, ok := got.Value("sec/op"); !ok {
				t.Errorf("%s has no time", got.Name)
			}
			values[string(got.Name.Base())]++
		}
	}
	if values["Token"] != 2 || values["Peer"] != 2 {
		t.Errorf("benchstat finds %v, want 2 of each", values)
	}
}

func TestFailedCaseEndsTheRun(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		c    speed.Case
		why  string
	}{
		{"opening", speed.Case{Name: "X", Open: func(context.Context) (speed.Work, error) { return speed.Work{}, broken }}, "there is nothing to measure"},
		{"working", speed.Case{Name: "X", Open: func(context.Context) (speed.Work, error) {
			return speed.Work{Do: func(int) error { return broken }}, nil
		}}, "an operation that fails fast is not fast"},
		{"closing", speed.Case{Name: "X", Open: func(context.Context) (speed.Work, error) {
			return speed.Work{Do: func(int) error { return nil }, Close: func() error { return broken }}, nil
		}}, "what is left behind disturbs the others"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := speed.Run(t.Context(), speed.Options{Cases: []speed.Case{tc.c}, Time: time.Millisecond}); !errors.Is(err, broken) {
				t.Errorf("Run = %v, want the failure (%s)", err, tc.why)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := speed.Run(ctx, speed.Options{Cases: speed.Standard()}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run in an ended context = %v", err)
	}
}

// Benchmark is the standard set as go test has it, with the CPU of each
// operation beside its time.
func Benchmark(b *testing.B) {
	for _, c := range speed.Standard() {
		b.Run(c.Name, func(b *testing.B) {
			w := open(b, c)
			b.ReportAllocs()
			cpu := speed.ProcessCPU()
			b.ResetTimer()
			if err := w.Do(b.N); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(speed.ProcessCPU()-cpu)/float64(b.N), "cpu-ns/op")
		})
	}
}
