package main

import (
	"github.com/spf13/cobra"

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
			all, err := features.Scenarios(nil)
			if err != nil {
				return err
			}
			if requirements {
				return reports.WriteLedger(c.OutOrStdout(), features.Ledger(all), asJSON)
			}
			selected, err := features.Select(all, patterns, tags)
			if err != nil {
				return err
			}
			return reports.WriteScenarios(c.OutOrStdout(), features.Describe(selected), asJSON)
		},
	}
	c.Flags().StringArrayVar(&patterns, "run", nil, "scenario ID or glob (repeatable)")
	c.Flags().StringVar(&tags, "tags", "", "tag expression")
	c.Flags().BoolVar(&requirements, "requirements", false, "the catalogue: tested, unobservable (why) or planned")
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}
