package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/baseline"
	"github.com/farmspec/farmspec/reports"
)

func newBaseline() *cobra.Command {
	c := &cobra.Command{
		Use:   "baseline",
		Short: "Keep the verdicts of a run, and compare a later run with them",
	}
	var out string
	write := &cobra.Command{
		Use:     "write RESULTS",
		Short:   "Write the verdict of each case of a run, a line each, sorted",
		Long:    "RESULTS is a results.json or the folder of a report.",
		Example: "  farmspec baseline write farmspec-report --out baseline.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			report, err := readResults(args[0])
			if err != nil {
				return err
			}
			text, err := baseline.Of(report).Marshal()
			if err != nil {
				return err
			}
			if out == "" {
				_, err = c.OutOrStdout().Write(text)
				return err
			}
			if err := writeWhole(out, text); err != nil {
				return usageError(fmt.Errorf("write baseline: %w", err))
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%d cases in %s\n", len(report.Results), out)
			return err
		},
	}
	write.Flags().StringVar(&out, "out", "", "file of the baseline (default: standard output)")
	check := &cobra.Command{
		Use:   "check BASELINE RESULTS",
		Short: "Print what changed since a baseline",
		Long: `Prints new failures, lost passes, vanished cases, and what was fixed or is new.

Exit 1 if anything got worse; a case that vanished is worse.`,
		Example: "  farmspec baseline check baseline.json farmspec-report",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return usageError(fmt.Errorf("read baseline: %w", err))
			}
			before, err := baseline.Parse(text)
			if err != nil {
				return usageError(fmt.Errorf("read baseline %s: %w", args[0], err))
			}
			report, err := readResults(args[1])
			if err != nil {
				return err
			}
			delta := baseline.Compare(before, report)
			if _, err := fmt.Fprint(c.OutOrStdout(), delta); err != nil {
				return err
			}
			if delta.Regressed() {
				return &exitError{Code: farmspec.ExitNonconformant}
			}
			return nil
		},
	}
	c.AddCommand(write, check)
	return c
}

// readResults reads a results.json, or the one in a folder.
func readResults(path string) (*farmspec.Report, error) {
	report, err := reports.Read(resultsFile(path))
	if err != nil {
		return nil, usageError(err)
	}
	return report, nil
}

func resultsFile(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, reports.ResultsFile)
	}
	return path
}

// writeWhole replaces the file with the text, or leaves it as it was.
func writeWhole(path string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if closing := tmp.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// knownFailures reads a list of known failures; none for no file.
func knownFailures(path string) ([]baseline.KnownFailure, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usageError(fmt.Errorf("read known failures: %w", err))
	}
	known, err := baseline.ParseKnown(text)
	if err != nil {
		return nil, usageError(fmt.Errorf("read known failures %s: %w", path, err))
	}
	return known, nil
}
