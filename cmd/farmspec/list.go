package main

import (
	"github.com/spf13/cobra"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/reports"
)

func newList() *cobra.Command {
	var patterns []string
	var tags string
	var requirements, asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "Show the scenarios, or with --requirements the requirement ledger",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if requirements {
				all, err := features.Scenarios(nil)
				if err != nil {
					return err
				}
				return reports.WriteRequirements(c.OutOrStdout(), features.Ledger(all), farmspec.Catalogue(), asJSON)
			}
			targets, closeAll, err := open(c.Context(), profiles)
			if err != nil {
				return &exitError{Code: farmspec.ExitNotReady, Err: err}
			}
			defer closeAll()
			plan, err := features.Plan(features.Options{Run: patterns, Tags: tags}, targets...)
			if err != nil {
				return err
			}
			return reports.WriteScenarios(c.OutOrStdout(), plan, asJSON)
		},
	}
	c.Flags().StringArrayVar(&patterns, "run", nil, "scenario ID or glob (repeatable)")
	c.Flags().StringVar(&tags, "tags", "", "tag expression")
	c.Flags().BoolVar(&requirements, "requirements", false, "the catalogue: tested, unobservable (why) or planned")
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}
