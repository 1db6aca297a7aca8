package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/reports"
)

type compareFlags struct {
	all, merge, failOnDifference bool
	json, markdown, html         string
}

func newCompare() *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare RESULTS RESULTS...",
		Short: "Set implementations side by side, requirement by requirement",
		Long: `Prints the requirements in which implementations differ. Each RESULTS is a
results.json or the folder of a report, and each target in it is an
implementation of its own; with --merge a report is one. The first is the
reference that the others are compared with.

Implementations that were not judged alike, in hand-off, rotation, topology,
answer to a spent token, levels of observation, scenarios or version, are
marked, and nothing is averaged.

Of loads of one plan, each RESULTS is a load.json, its folder, or several with
commas between them, rounds of one load; see farmspec load. Numbers stand beside
their ratios to the first load's, with confidence intervals.

Exit 0 whatever differs, or 1 with --fail-on-difference.`,
		Example: `  farmspec compare farmspec-report shop-report
  farmspec compare reference/results.json shop/results.json --html compare.html
  farmspec compare before-1,before-2 after-1,after-2`,
		Args: cobra.ArbitraryArgs,
		RunE: f.run,
	}
	fl := c.Flags()
	fl.BoolVar(&f.all, "all", false, "print the requirements that do not differ too")
	fl.BoolVar(&f.merge, "merge", false, "take the targets of a report for profiles of one implementation")
	fl.BoolVar(&f.failOnDifference, "fail-on-difference", false, "exit 1 if a requirement differs")
	fl.StringVar(&f.json, "json", "", "file for the comparison as JSON")
	fl.StringVar(&f.markdown, "markdown", "", "file for the comparison as Markdown")
	fl.StringVar(&f.html, "html", "", "file for the comparison as a page that holds all it shows")
	return c
}

func (f *compareFlags) run(c *cobra.Command, args []string) error {
	if loads, err := f.loads(args); loads != nil || err != nil {
		return f.compareLoads(c, loads, err)
	}
	runs, err := f.read(args)
	if err != nil {
		return usageError(err)
	}
	comparison, err := reports.Compare(runs...)
	if err != nil {
		return usageError(err)
	}
	if err := f.write(comparison.JSON, func() ([]byte, error) { return comparison.Markdown(f.all), nil }, comparison.Page); err != nil {
		return err
	}
	if err := comparison.Table(c.OutOrStdout(), terminal(c.OutOrStdout()), f.all); err != nil {
		return err
	}
	if f.failOnDifference && len(comparison.Differing()) > 0 {
		return &exitError{Code: farmspec.ExitNonconformant}
	}
	return nil
}

// write makes the files that the flags name.
func (f *compareFlags) write(asJSON, asMarkdown, asPage func() ([]byte, error)) error {
	for _, file := range []struct {
		path   string
		render func() ([]byte, error)
	}{{f.json, asJSON}, {f.markdown, asMarkdown}, {f.html, asPage}} {
		if file.path == "" {
			continue
		}
		text, err := file.render()
		if err != nil {
			return err
		}
		if err := writeWhole(file.path, text); err != nil {
			return usageError(fmt.Errorf("write comparison: %w", err))
		}
	}
	return nil
}

// read reads the reports, each once.
func (f *compareFlags) read(paths []string) ([]reports.Compared, error) {
	for _, path := range paths {
		for _, out := range []string{f.json, f.markdown, f.html} {
			if out != "" && sameFile(out, resultsFile(path)) {
				return nil, fmt.Errorf("compare: %s would overwrite what is compared", out)
			}
		}
	}
	seen := map[[sha256.Size]byte]string{}
	var runs []reports.Compared
	for _, path := range paths {
		file := resultsFile(path)
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read results: %w", err)
		}
		digest := sha256.Sum256(text)
		if was, twice := seen[digest]; twice {
			return nil, fmt.Errorf("compare: %s and %s are the same results", was, file)
		}
		seen[digest] = file
		report, err := reports.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("read results %s: %w", file, err)
		}
		parts := []*farmspec.Report{report}
		if !f.merge && len(report.Targets) > 1 {
			parts = reports.ByTarget(report)
			for _, part := range parts {
				features.Conclude(part)
			}
		}
		for _, part := range parts {
			runs = append(runs, reports.Compared{Source: file, Report: part})
		}
	}
	if len(runs) == 1 && len(runs[0].Report.Targets) > 1 {
		return nil, errors.New("compare: with --merge a report is one implementation, and it takes two; leave --merge out to compare its targets")
	}
	if len(runs) < 2 {
		return nil, fmt.Errorf("compare: it takes the results of two implementations or more, and here %s",
			map[bool]string{true: "is only " + strings.Join(paths, ""), false: "are none"}[len(runs) == 1])
	}
	return runs, nil
}

// sameFile reports whether two paths lead to one file that exists.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
