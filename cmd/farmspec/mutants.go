package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/reports"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/simfarm/mutant"
)

type mutantFlags struct {
	only        []string
	level, out  string
	quick, full bool
	pairs       bool
	seed        uint64
	store       string
}

func newMutants() *cobra.Command {
	var f mutantFlags
	c := &cobra.Command{
		Use:   "mutants",
		Short: "Prove the judge: plant every known fault and see which scenario convicts it",
		Long: `Plants each fault of the catalogue in a farm of its own, judges that farm, and
writes the scenario x fault matrix into mutants.json and mutants.html.

A fault meets the scenarios named for it and all that test a requirement it
violates; with --full it meets every scenario.

Exit 1 when a fault survives that this level could convict.`,
		Example: `  farmspec mutants
  farmspec mutants --fault F14 --fault 'M2*'
  farmspec mutants --level B`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.only, "fault", nil, "fault ID or glob (repeatable)")
	fl.StringVar(&f.level, "level", "W", "highest level of observation: B, G or W")
	fl.StringVar(&f.out, "out", "farmspec-mutants", "folder for the matrix")
	fl.BoolVar(&f.quick, "quick", false, "run only the scenarios named for each fault")
	fl.BoolVar(&f.full, "full", false, "run every scenario against every fault (minutes)")
	fl.BoolVar(&f.pairs, "pairs", true, "also plant pairs of faults that could hide each other")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the random choices")
	fl.StringVar(&f.store, "store", "memory", "session database: "+manyStores+"; each farm has a part of its own there while it lives")
	return c
}

func (f *mutantFlags) run(c *cobra.Command) error {
	level, err := levelOf(f.level)
	if err != nil {
		return err
	}
	if f.quick && f.full {
		return usageError(fmt.Errorf("--quick and --full exclude each other"))
	}
	faults, err := selectFaults(f.only)
	if err != nil {
		return err
	}
	if err := writable(f.out); err != nil {
		return usageError(err)
	}
	ctx, began := c.Context(), time.Now()
	o := features.Options{Level: level, Seed: f.seed, Parallel: 2, Sparse: true}
	m := &farmspec.Matrix{Schema: farmspec.MatrixSchema, Command: commandLine(), Level: level, Seed: f.seed}
	m.Tool.Version, m.Tool.Commit = build()
	if m.Scenarios, m.Tool.Features, err = features.Columns(); err != nil {
		return err
	}

	var mu sync.Mutex
	each := func(n int, do func(i int) error) error {
		var g errgroup.Group
		g.SetLimit(2 * runtime.GOMAXPROCS(0)) // a farm waits half of its time
		for i := range n {
			g.Go(func() error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return do(i)
			})
		}
		return g.Wait()
	}
	m.Faults = make([]farmspec.FaultResult, len(faults))
	progress := reports.NewCounter(c.OutOrStdout(), terminal(c.OutOrStdout()), "faults", len(faults))
	err = each(len(faults), func(i int) error {
		r, err := f.judgeFault(ctx, faults[i], f.against(faults[i], m.Scenarios, o))
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		m.Faults[i] = r
		progress.Done(string(r.State) == string(farmspec.Killed))
		return nil
	})
	if err == nil && f.pairs {
		pairs := pairsOf(faults, m.Faults)
		m.Pairs = make([]farmspec.PairResult, len(pairs))
		progress = reports.NewCounter(c.OutOrStdout(), terminal(c.OutOrStdout()), "pairs", len(pairs))
		err = each(len(pairs), func(i int) error {
			r, err := f.judgePair(ctx, pairs[i][0], pairs[i][1], o)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			m.Pairs[i] = r
			progress.Done(r.Killed)
			return nil
		})
	}
	progress.Close()
	if err != nil {
		if ctx.Err() != nil {
			return &exitError{Code: farmspec.ExitInconclusive, Err: fmt.Errorf("interrupted; no matrix was written")}
		}
		return err
	}
	m.Took = time.Since(began)
	features.Tally(m)
	files, err := reports.WriteMatrix(f.out, m)
	if err != nil {
		return usageError(err)
	}
	if err := reports.ClosingMatrix(c.OutOrStdout(), m, terminal(c.OutOrStdout()), files...); err != nil {
		return err
	}
	for _, r := range m.Faults {
		if r.State == farmspec.Survived || r.State == farmspec.KilledByOthers {
			return &exitError{Code: farmspec.ExitNonconformant}
		}
	}
	return nil
}

// selectFaults returns the faults that match any of the IDs or globs.
func selectFaults(patterns []string) ([]mutant.Fault, error) {
	all := mutant.All()
	if len(patterns) == 0 {
		return all, nil
	}
	var known []string
	for _, f := range all {
		known = append(known, f.ID)
	}
	var chosen []mutant.Fault
	for _, p := range patterns {
		matched := slices.DeleteFunc(slices.Clone(all), func(f mutant.Fault) bool {
			ok, err := farmspec.Match(p, f.ID)
			return err != nil || !ok
		})
		if len(matched) == 0 {
			hint := ""
			if near := farmspec.Suggest(p, known); near != "" {
				hint = fmt.Sprintf(" (did you mean %s?)", near)
			}
			return nil, usageError(fmt.Errorf("--fault %q matches no fault%s", p, hint))
		}
		chosen = append(chosen, matched...)
	}
	return chosen, nil
}

// against chooses the scenarios that a fault meets.
func (f *mutantFlags) against(fault mutant.Fault, columns []farmspec.MatrixScenario, o features.Options) features.Options {
	switch {
	case f.quick:
		o.Run = fault.Convicts
	case !f.full:
		o.Run = features.Neighbours(columns, fault.Convicts, fault.Violates)
	}
	return o
}

// judgeFault judges a farm with one fault.
func (f *mutantFlags) judgeFault(ctx context.Context, fault mutant.Fault, o features.Options) (farmspec.FaultResult, error) {
	r := farmspec.FaultResult{
		ID: fault.ID, Name: fault.Name, Violates: fault.Violates, Convicts: fault.Convicts, Level: fault.Level,
		Precedent: fault.Precedent, Target: fault.Profile.ProfileName(), State: farmspec.Survived,
	}
	report, err := f.judgeFarm(ctx, fault.Farm(), o)
	if err != nil {
		return r, fmt.Errorf("judge a farm with fault %s: %w", fault.ID, err)
	}
	reasons := map[string]string{}
	for _, c := range report.Results {
		if mutant.Convicted(c.Verdict) {
			r.KilledBy = append(r.KilledBy, c.Scenario)
			reasons[c.Scenario] = c.Reason
		}
	}
	for _, id := range r.KilledBy {
		if slices.Contains(fault.Convicts, outline(id)) {
			r.State, r.Reason = farmspec.Killed, reasons[id]
			return r, nil
		}
	}
	switch {
	case len(r.KilledBy) > 0:
		r.State, r.Reason = farmspec.KilledByOthers, reasons[r.KilledBy[0]]
		r.Why = "none of the scenarios named for it says fail"
	case strings.Index("BGW", string(o.Level)) < strings.Index("BGW", string(fault.Level)):
		r.State, r.Why = farmspec.Equivalent, fmt.Sprintf("it takes level %s to tell it from a sound farm", fault.Level)
	}
	return r, nil
}

// judgePair judges a farm with two faults by the scenarios named for them.
func (f *mutantFlags) judgePair(ctx context.Context, a, b mutant.Fault, o features.Options) (farmspec.PairResult, error) {
	r := farmspec.PairResult{First: a.ID, Second: b.ID}
	o.Run = append(slices.Clone(a.Convicts), b.Convicts...)
	farm := a.Farm()
	farm.Plant = func() simfarm.Wrap { return mutant.Both(a.Plant(), b.Plant()) }
	farm.Version = "with faults " + a.ID + " and " + b.ID
	report, err := f.judgeFarm(ctx, farm, o)
	if err != nil {
		return r, fmt.Errorf("judge a farm with faults %s and %s: %w", a.ID, b.ID, err)
	}
	failed := map[string]bool{}
	for _, c := range report.Results {
		if mutant.Convicted(c.Verdict) {
			failed[outline(c.Scenario)], r.Killed = true, true
		}
	}
	for _, fault := range []mutant.Fault{a, b} {
		if !slices.ContainsFunc(fault.Convicts, func(id string) bool { return failed[id] }) {
			r.Masked = append(r.Masked, fault.ID)
		}
	}
	return r, nil
}

func (f *mutantFlags) judgeFarm(ctx context.Context, farm simfarm.Options, o features.Options) (*farmspec.Report, error) {
	farms, err := keptIn(f.store, []simfarm.Options{farm})
	if err != nil {
		return nil, err
	}
	opened, err := simfarm.Open(ctx, farms[0])
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	return features.Judge(ctx, o, opened.Target())
}

// outline is the ID of the outline a case is a row of, or the case's own.
func outline(id string) string {
	id, _, _ = strings.Cut(id, "/")
	return id
}

// pairsOf are the pairs that could hide each other: killed faults of one
// profile that violate a requirement in common.
func pairsOf(faults []mutant.Fault, results []farmspec.FaultResult) [][2]mutant.Fault {
	var pairs [][2]mutant.Fault
	for i, a := range faults {
		for j, b := range faults[:i] {
			if results[i].State != farmspec.Killed || results[j].State != farmspec.Killed || results[i].Target != results[j].Target {
				continue
			}
			if slices.ContainsFunc(a.Violates, func(id string) bool { return slices.Contains(b.Violates, id) }) {
				pairs = append(pairs, [2]mutant.Fault{b, a})
			}
		}
	}
	return pairs
}
