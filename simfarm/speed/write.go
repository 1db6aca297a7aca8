package speed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// The files that WriteFiles leaves.
const (
	JSONFile = "bench.json"
	TextFile = "bench.txt" // for benchstat
)

// WriteFiles writes the result into the folder, which it makes.
func (r *Result) WriteFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write measurements: %w", err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write measurements: %w", err)
	}
	var lines bytes.Buffer
	if err := r.WriteText(&lines); err != nil {
		return err
	}
	for name, content := range map[string][]byte{JSONFile: append(text, '\n'), TextFile: lines.Bytes()} {
		if err := writeFile(filepath.Join(dir, name), content); err != nil {
			return fmt.Errorf("write measurements: %w", err)
		}
	}
	return nil
}

// writeFile gives a file its name only when it is complete.
func writeFile(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(content)
	for _, step := range []func() error{func() error { return temporary.Chmod(0o644) }, temporary.Close, func() error { return os.Rename(temporary.Name(), path) }} {
		if err == nil {
			err = step()
		}
	}
	return err
}

// WriteText writes each round in the form of go test -bench, which benchstat reads.
func (r *Result) WriteText(w io.Writer) error {
	goos, goarch, _ := strings.Cut(r.Platform, "/")
	if _, err := fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: github.com/farmspec/farmspec/simfarm/speed\n", goos, goarch); err != nil {
		return err
	}
	for _, c := range r.Cases {
		for _, round := range c.Rounds {
			line := fmt.Sprintf("Benchmark%s-%d %d %.4g ns/op", c.Name, r.Processors, round.N, round.Wall)
			if round.CPU > 0 {
				line += fmt.Sprintf(" %.4g cpu-ns/op", round.CPU)
			}
			if round.Allocs >= 0 {
				line += fmt.Sprintf(" %.0f B/op %.0f allocs/op", round.Bytes, round.Allocs)
			}
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteTable writes medians and ratios for people.
func (r *Result) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s, %s, %d processors, median of %d rounds in turns\n\n", r.Go, r.Platform, r.Processors, r.Rounds)
	fmt.Fprintln(t, "case\ttime\tCPU\tallocs\t")
	for _, c := range r.Cases {
		if c.Skipped != "" {
			fmt.Fprintf(t, "%s\tskipped: %s\n", c.Name, c.Skipped)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", c.Name, nanoseconds(c.median(Wall)), nanoseconds(c.median(CPU)), count(c.median(Allocs)))
	}
	fmt.Fprintln(t, "\nmeasure\tmedian\tinterval (95 %)\tgoal\t")
	for _, g := range r.Goals {
		if g.Skipped != "" {
			fmt.Fprintf(t, "%s\tskipped: %s\n", g.Name, g.Skipped)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s to %s\t%s\t\n", g.Name, g.show(g.Median), g.show(g.Low), g.show(g.High), g.verdict())
	}
	return t.Flush()
}

func (c CaseResult) median(m Metric) float64 {
	values := make([]float64, len(c.Rounds))
	for i, round := range c.Rounds {
		values[i] = round.value(m)
	}
	median, _, _ := Interval(values)
	return median
}

func (g GoalResult) show(v float64) string {
	switch {
	case g.Than != "":
		return fmt.Sprintf("%.3gx", v)
	case g.By == Allocs:
		return count(v)
	}
	return nanoseconds(v)
}

func (g GoalResult) verdict() string {
	if g.Met == nil {
		return ""
	}
	word := "missed"
	if *g.Met {
		word = "met"
	}
	if g.AtLeast > 0 {
		return fmt.Sprintf("at least %s: %s", g.show(g.AtLeast), word)
	}
	return fmt.Sprintf("at most %s: %s", g.show(g.AtMost), word)
}

func nanoseconds(v float64) string {
	switch {
	case v <= 0:
		return "-"
	case v < 1e3:
		return fmt.Sprintf("%.0f ns", v)
	case v < 1e6:
		return fmt.Sprintf("%.2f µs", v/1e3)
	}
	return fmt.Sprintf("%.2f ms", v/1e6)
}

func count(v float64) string {
	if v < 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", math.Abs(v))
}
