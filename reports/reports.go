// Package reports writes a [farmspec.Report] for people and machines:
// results.json, results.sarif, junit.xml, summary.md and a self-contained report.html, the
// progress of a run in a terminal, and its closing tables. A report is a value
// first: the writers change nothing in it, and the same report gives the same
// bytes.
package reports

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/farmspec/farmspec"
)

// The files that [Write] leaves in its folder.
const (
	ResultsFile = "results.json"
	JUnitFile   = "junit.xml"
	SummaryFile = "summary.md"
	PageFile    = "report.html"
	SARIFFile   = "results.sarif"
)

// Write writes the report's five files into dir, which it makes if need be,
// and returns their paths. Everything is rendered first, then written beside
// the final names and synced, and only then renamed, so a final name never
// holds half a file, and the folder never holds the files of two runs: if
// renaming fails midway, the new files are removed again. The error says what
// failed, where, and how to mend it. A kill matrix that lies in the folder is
// linked in place of the published one.
//
// A report whose results do not answer its plan, case by case, is an error:
// nothing that was planned may vanish.
func Write(dir string, r *farmspec.Report) ([]string, error) {
	return writeTo(disk{}, dir, r, theCatalogue())
}

func writeTo(fs filesystem, dir string, r *farmspec.Report, c catalogue) ([]string, error) {
	if err := checkPlan(r); err != nil {
		return nil, fmt.Errorf("write report to %s: %w", dir, err)
	}
	v := newView(r, c)
	if _, err := os.Stat(filepath.Join(dir, MatrixPageFile)); err == nil {
		v.matrix = MatrixPageFile
	}
	files := []file{{name: JUnitFile}, {name: SummaryFile}, {name: PageFile}, {name: SARIFFile}, {name: ResultsFile}}
	once := func(render func(*view) ([]byte, error)) func(*view) ([][]byte, error) {
		return func(v *view) ([][]byte, error) {
			content, err := render(v)
			return whole(content), err
		}
	}
	var rendering errgroup.Group
	for i, render := range []func(*view) ([][]byte, error){once(junit), once(summary), once(page), once(sarif), results} {
		rendering.Go(func() (err error) {
			if files[i].content, err = render(v); err != nil {
				return fmt.Errorf("render %s: %w", files[i].name, err)
			}
			return nil
		})
	}
	if err := rendering.Wait(); err != nil {
		return nil, err
	}
	if err := writeFiles(fs, dir, files); err != nil {
		return nil, fmt.Errorf("write report to %s: %w", dir, err)
	}
	return []string{
		filepath.Join(dir, ResultsFile), filepath.Join(dir, JUnitFile),
		filepath.Join(dir, SARIFFile), filepath.Join(dir, SummaryFile), filepath.Join(dir, PageFile),
	}, nil
}

// checkPlan tells whether the results answer the plan one by one.
func checkPlan(r *farmspec.Report) error {
	for i, planned := range r.Plan {
		if i >= len(r.Results) {
			return fmt.Errorf("%s on %s was planned and has no result", planned.Scenario, planned.Target)
		}
		if got := r.Results[i].CaseID; got != planned {
			return fmt.Errorf("result %d is of %s on %s where %s on %s was planned",
				i+1, got.Scenario, got.Target, planned.Scenario, planned.Target)
		}
	}
	if extra := len(r.Results) - len(r.Plan); extra > 0 {
		got := r.Results[len(r.Plan)]
		return fmt.Errorf("%s on %s has a result and was not planned (%d such)", got.Scenario, got.Target, extra)
	}
	return nil
}
