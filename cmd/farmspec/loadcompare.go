package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reports"
)

// loads reads what the arguments name if all are load reports; nil if none is.
func (f *compareFlags) loads(args []string) ([]reports.LoadRounds, error) {
	var loads []reports.LoadRounds
	var seen []string
	for _, arg := range args {
		l := reports.LoadRounds{Source: arg}
		for path := range strings.SplitSeq(arg, ",") {
			file := loadReportFile(path)
			if file == "" {
				break
			}
			for _, out := range []string{f.json, f.markdown, f.html} {
				if out != "" && sameFile(out, file) {
					return nil, fmt.Errorf("compare: %s would overwrite what is compared", out)
				}
			}
			if slices.ContainsFunc(seen, func(other string) bool { return sameFile(other, file) }) {
				return nil, fmt.Errorf("compare: %s is there twice", file)
			}
			seen = append(seen, file)
			r, err := reports.ReadLoad(file)
			if err != nil {
				return nil, err
			}
			l.Rounds = append(l.Rounds, r)
		}
		if len(l.Rounds) > 0 {
			loads = append(loads, l)
		}
	}
	if loads != nil && len(loads) < len(args) {
		return nil, errors.New("compare: some are loads and some are not; only loads can be compared with loads")
	}
	return loads, nil
}

// loadReportFile is the load report that a path names, "" if it is another.
func loadReportFile(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, reports.LoadFile)
		if _, err := os.Stat(resultsFile(filepath.Dir(path))); err == nil {
			return "" // a folder with both is that of a run
		}
	}
	text, err := os.ReadFile(path)
	var r struct{ Schema string }
	if err != nil || json.Unmarshal(text, &r) != nil || !strings.HasPrefix(r.Schema, "farmspec.load/") {
		return ""
	}
	return path
}

func (f *compareFlags) compareLoads(c *cobra.Command, loads []reports.LoadRounds, err error) error {
	if err == nil && (f.all || f.merge) {
		err = errors.New("compare: --all and --merge are of requirements, and these are loads")
	}
	if err != nil {
		return usageError(err)
	}
	comparison, err := reports.CompareLoads(loads...)
	if err != nil {
		return usageError(err)
	}
	if err := f.write(comparison.JSON, func() ([]byte, error) { return comparison.Markdown(), nil }, comparison.Page); err != nil {
		return err
	}
	if err := comparison.Table(c.OutOrStdout(), terminal(c.OutOrStdout())); err != nil {
		return err
	}
	if f.failOnDifference && comparison.Differs() {
		return &exitError{Code: farmspec.ExitNonconformant}
	}
	return nil
}
