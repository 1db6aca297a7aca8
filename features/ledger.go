package features

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// report gathers the results into the report.
func (j *judge) report(ctx context.Context, started time.Time) *farmspec.Report {
	r := &farmspec.Report{
		Schema: farmspec.ReportSchema,
		Tool:   farmspec.Tool{Version: j.Version, Commit: j.Commit, Features: digest(j.features)},
		Run:    farmspec.Run{Started: started.UTC(), Took: time.Since(started), Seed: j.Seed, Command: j.Command, Complete: true},
	}
	for _, t := range j.targets {
		r.Targets = append(r.Targets, j.describe(t))
	}
	for _, p := range j.cases {
		r.Plan = append(r.Plan, p.id())
		r.Results = append(r.Results, *j.results[p.id()])
	}
	r.Left = slices.Sorted(slices.Values(j.left))
	switch {
	case ctx.Err() != nil:
		r.Run.Complete, r.Run.Why = false, "interrupted"
	case j.stop != "":
		r.Run.Complete, r.Run.Why = false, j.stop
	}
	Conclude(r)
	return r
}

// Conclude fills in what follows from a report's results: the ledger, the
// claims, the two verdicts, the run's own and the exit code. A report read
// from a file concludes the same if nobody changed it.
func Conclude(r *farmspec.Report) {
	r.Requirements = requirements(r)
	r.Claims = claims(r.Requirements)
	r.ClaimConformant, r.Hardened = claimConformant(r), hardened(r)
	r.Verdict, r.Exit = conclude(r)
}

// Ledger is the catalogue before any run: for each requirement the scenarios
// that test it, and for one without any what it waits for.
func Ledger(all []*Scenario) []farmspec.RequirementResult {
	by := map[string][]farmspec.CaseID{}
	for _, s := range all {
		for _, id := range s.Requirements {
			by[id] = append(by[id], farmspec.CaseID{Scenario: s.ID})
		}
	}
	var ledger []farmspec.RequirementResult
	for _, req := range farmspec.Catalogue() {
		r := farmspec.RequirementResult{ID: req.ID, Verdict: farmspec.NotRun, Cases: by[req.ID]}
		if len(r.Cases) == 0 && req.Planned != "" {
			r.Verdict, r.Reason = farmspec.Planned, req.Planned
		}
		ledger = append(ledger, r)
	}
	return ledger
}

// Columns are the scenarios of a kill matrix, by ID, and the features' digest.
func Columns() ([]farmspec.MatrixScenario, string, error) {
	parsed, err := parse(nil)
	if err != nil {
		return nil, "", err
	}
	var columns []farmspec.MatrixScenario
	for _, f := range parsed {
		for _, s := range f.scenarios {
			columns = append(columns, farmspec.MatrixScenario{ID: s.ID, Name: s.Name, Requirements: s.Requirements})
		}
	}
	slices.SortFunc(columns, func(a, b farmspec.MatrixScenario) int { return strings.Compare(a.ID, b.ID) })
	return columns, digest(parsed), nil
}

// Neighbours are the IDs of the scenarios that are named, and of those that
// test one of the requirements.
func Neighbours(columns []farmspec.MatrixScenario, named, requirements []string) []string {
	ids := slices.Clone(named)
	for _, c := range columns {
		if slices.ContainsFunc(c.Requirements, func(id string) bool { return slices.Contains(requirements, id) }) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// Tally counts what each scenario of a matrix convicts and finds the
// requirements that no fault violates.
func Tally(m *farmspec.Matrix) {
	violated := map[string]bool{}
	kills := map[string]int{}
	for _, f := range m.Faults {
		for _, id := range f.KilledBy {
			kills[id]++
		}
		for _, id := range f.Violates {
			violated[id] = violated[id] || f.State == farmspec.Killed
		}
	}
	tested := map[string]bool{}
	for i := range m.Scenarios {
		m.Scenarios[i].Kills = kills[m.Scenarios[i].ID]
		for _, id := range m.Scenarios[i].Requirements {
			tested[id] = true
		}
	}
	for _, q := range farmspec.Catalogue() {
		if tested[q.ID] && !violated[q.ID] && q.Strength == "MUST" {
			m.Unproven = append(m.Unproven, q.ID)
		}
	}
}

// requirements is the ledger of a run: each catalogue entry with the worst verdict of
// its cases, by level and over all.
func requirements(r *farmspec.Report) []farmspec.RequirementResult {
	handoff := map[string]farmspec.Handoff{}
	for _, t := range r.Targets {
		handoff[t.Name] = t.Handoff
	}
	cases := map[string][]*farmspec.Result{}
	for i := range r.Results {
		for _, id := range r.Results[i].Requirements {
			cases[id] = append(cases[id], &r.Results[i])
		}
	}
	var ledger []farmspec.RequirementResult
	for _, req := range farmspec.Catalogue() {
		ledger = append(ledger, requirement(req, cases[req.ID], handoff))
	}
	return ledger
}

func requirement(req farmspec.Requirement, cases []*farmspec.Result, handoff map[string]farmspec.Handoff) farmspec.RequirementResult {
	out := farmspec.RequirementResult{ID: req.ID, Verdict: farmspec.Planned, Reason: req.Planned}
	if len(cases) == 0 {
		if req.Planned == "" {
			out.Verdict, out.Reason = farmspec.NotRun, "no scenario of this run tests it"
		}
		return out
	}
	byLevel := map[farmspec.Level][]farmspec.Verdict{}
	var all []farmspec.Verdict
	why := map[farmspec.Verdict]string{}
	for _, c := range cases {
		verdict, reason := confirmed(req, c, handoff[c.Target])
		byLevel[c.Level] = append(byLevel[c.Level], verdict)
		all = append(all, verdict)
		if why[verdict] == "" {
			why[verdict] = reason
		}
		if c.Verdict.Ran() {
			out.Cases = append(out.Cases, c.CaseID)
		}
	}
	out.Verdict = farmspec.Worst(all...)
	out.Levels = map[farmspec.Level]farmspec.Verdict{}
	for l, v := range byLevel {
		out.Levels[l] = farmspec.Worst(v...)
	}
	out.Reason = why[out.Verdict]
	return out
}

// confirmed is what a case says about a requirement: where the level can only
// refute it, a pass is "not refuted", which is not an observation. A failure
// to do what one only should is a warning, whatever else the case tests.
//
// A farm whose hand-off mode is contrary to the requirement breaks it, though
// the case was not run: it does openly what a claim says and a standard
// forbids. That counts for the verdict Hardened and not for the run's, in
// which nothing went otherwise than declared (D2).
func confirmed(req farmspec.Requirement, c *farmspec.Result, h farmspec.Handoff) (farmspec.Verdict, string) {
	if why := req.Contrary[h]; why != "" && c.Verdict == farmspec.Unsupported {
		return farmspec.Fail, fmt.Sprintf("%s hands over in the mode %s: %s", c.Target, h, why)
	}
	if c.Verdict == farmspec.Fail && req.Strength != "MUST" {
		return farmspec.Warn, c.Reason
	}
	if c.Verdict != farmspec.Pass {
		return c.Verdict, c.Reason
	}
	if why := req.Unconfirmed(c.Level, h); why != "" {
		return farmspec.Unobservable, fmt.Sprintf("not refuted at level %s; %s", c.Level, why)
	}
	return c.Verdict, ""
}

// claims gives each claim its own verdict and the one with its ancestors.
func claims(ledger []farmspec.RequirementResult) []farmspec.ClaimResult {
	verdicts := map[string]farmspec.RequirementResult{}
	for _, r := range ledger {
		verdicts[r.ID] = r
	}
	own := map[int]farmspec.ClaimResult{}
	for _, c := range farmspec.Claims() {
		res := farmspec.ClaimResult{Claim: c.Number, Form: c.Form, Requirements: c.Requirements, Levels: map[farmspec.Level]farmspec.Verdict{}}
		var all []farmspec.Verdict
		levels := map[farmspec.Level][]farmspec.Verdict{}
		for _, id := range c.Requirements {
			r := verdicts[id]
			req, _ := farmspec.RequirementByID(id)
			if req.Profile != "claim" {
				continue
			}
			all = append(all, r.Verdict)
			for l, v := range r.Levels {
				levels[l] = append(levels[l], v)
			}
			if r.Verdict.Ran() && r.Verdict != farmspec.Pass && res.Reason == "" {
				res.Reason = fmt.Sprintf("%s: %s", id, r.Reason)
			}
		}
		for l, v := range levels {
			res.Levels[l] = farmspec.Worst(v...)
		}
		res.Own = farmspec.Whole(all...)
		own[c.Number] = res
	}
	var out []farmspec.ClaimResult
	for _, c := range farmspec.Claims() {
		res := own[c.Number]
		res.Closure = farmspec.ClaimClosure(c.Number)
		var all []farmspec.Verdict
		for _, n := range res.Closure {
			all = append(all, own[n].Own)
		}
		res.Verdict = farmspec.Whole(all...)
		out = append(out, res)
	}
	return out
}

// claimConformant is a pass only where each of the 34 claims was seen to hold
// with its ancestors, and nothing else of the claim profile that was put to
// the test was broken. What is outside the claims and was not tested, such as
// the grant's way of handing over on a farm with another, takes nothing away.
func claimConformant(r *farmspec.Report) farmspec.Verdict {
	var all []farmspec.Verdict
	for _, c := range r.Claims {
		all = append(all, c.Verdict)
	}
	for _, v := range musts("claim", r) {
		if v.Ran() {
			all = append(all, v)
		}
	}
	return farmspec.Whole(all...)
}

// hardened is a pass only where every MUST of the standards was seen to hold.
func hardened(r *farmspec.Report) farmspec.Verdict { return farmspec.Whole(musts("hardened", r)...) }

func musts(profile string, r *farmspec.Report) []farmspec.Verdict {
	var all []farmspec.Verdict
	for _, q := range r.Requirements {
		if req, _ := farmspec.RequirementByID(q.ID); req.Profile == profile && req.Strength == "MUST" {
			all = append(all, q.Verdict)
		}
	}
	return all
}

// conclude is the run's verdict over every case, and the exit code. Nothing
// is never green: a run in which nothing passed is inconclusive.
func conclude(r *farmspec.Report) (farmspec.Verdict, int) {
	count := map[farmspec.Verdict]int{}
	for _, c := range r.Results {
		count[c.Verdict]++
	}
	switch {
	case count[farmspec.Fail] > 0:
		return farmspec.Fail, farmspec.ExitNonconformant
	case count[farmspec.Error] > 0:
		return farmspec.Error, farmspec.ExitInconclusive
	case count[farmspec.Flaky] > 0:
		return farmspec.Flaky, farmspec.ExitInconclusive
	case count[farmspec.Inconclusive] > 0, count[farmspec.Pass]+count[farmspec.Warn] == 0, !r.Run.Complete:
		return farmspec.Inconclusive, farmspec.ExitInconclusive
	case count[farmspec.Warn] > 0:
		return farmspec.Warn, farmspec.ExitConformant
	}
	return farmspec.Pass, farmspec.ExitConformant
}
