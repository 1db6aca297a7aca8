package reports

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/farmspec/farmspec"
)

// listedRequirement is the JSON form of a line of the ledger.
type listedRequirement struct {
	ID       string                              `json:"id"`
	State    string                              `json:"state"`
	Levels   map[farmspec.Level]farmspec.Verdict `json:"levels,omitempty"`
	Strength string                              `json:"strength,omitempty"`
	Profile  string                              `json:"profile,omitempty"`
	Source   string                              `json:"source,omitempty"`
	Title    string                              `json:"title"`
	Reason   string                              `json:"reason,omitempty"`
	Cases    []farmspec.CaseID                   `json:"cases,omitempty"`
}

// WriteRequirements writes the ledger, as a table or as a JSON array: ID,
// state, the levels that have something to say, title. The state is the
// verdict, or, for a requirement whose cases have not run, "tested".
func WriteRequirements(w io.Writer, ledger []farmspec.RequirementResult, catalogue []farmspec.Requirement, asJSON bool) error {
	known := map[string]farmspec.Requirement{}
	for _, q := range catalogue {
		known[q.ID] = q
	}
	entries := []listedRequirement{}
	for _, q := range ledger {
		c := known[q.ID]
		e := listedRequirement{
			ID: q.ID, State: word(q.Verdict), Levels: q.Levels, Strength: c.Strength, Profile: c.Profile,
			Source: c.Source, Title: c.Title, Reason: cmp.Or(q.Reason, c.Planned), Cases: q.Cases,
		}
		if len(q.Cases) > 0 && (q.Verdict == farmspec.NotRun || q.Verdict == farmspec.Planned) {
			e.State = "tested"
		}
		entries = append(entries, e)
	}
	if asJSON {
		return writeJSON(w, entries)
	}
	rows := [][]string{{"ID", "STATE", "LEVELS", "TITLE"}}
	for _, e := range entries {
		title := e.Title
		if (e.State == string(farmspec.Unobservable) || e.State == string(farmspec.Planned)) && e.Reason != "" {
			title += ": " + oneLine(e.Reason)
		}
		seen := ""
		for _, l := range levels {
			_, judged := e.Levels[l]
			_, described := known[e.ID].Levels[l]
			if judged || len(e.Levels) == 0 && described {
				seen += string(l)
			}
		}
		rows = append(rows, []string{e.ID, e.State, cmp.Or(seen, "–"), title})
	}
	return writeTable(w, rows)
}

// listedScenario is the JSON form of a scenario of the plan.
type listedScenario struct {
	ID           string           `json:"id"`
	Name         string           `json:"name"`
	Feature      string           `json:"feature"`
	File         string           `json:"file"`
	Line         int              `json:"line"`
	Level        farmspec.Level   `json:"level"`
	Requirements []string         `json:"requirements"`
	Cases        []listedCaseOf   `json:"cases"`
	verdicts     map[string][]int // state to places in Cases
}

type listedCaseOf struct {
	Target string `json:"target"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// WriteScenarios writes the scenarios of a plan, as a table or as a JSON
// array. A case that is going to run has the verdict [farmspec.Planned].
func WriteScenarios(w io.Writer, plan []farmspec.Result, asJSON bool) error {
	list := []listedScenario{}
	for i := range plan {
		r := &plan[i]
		at := slices.IndexFunc(list, func(s listedScenario) bool { return s.ID == r.Scenario })
		if at < 0 {
			at = len(list)
			list = append(list, listedScenario{
				ID: r.Scenario, Name: r.Name, Feature: r.Feature, File: r.File, Line: r.Line, Level: r.Level,
				Requirements: r.Requirements, verdicts: map[string][]int{},
			})
		}
		s := &list[at]
		state := word(r.Verdict)
		if r.Verdict == farmspec.Planned {
			state = "runs"
		}
		s.verdicts[state] = append(s.verdicts[state], len(s.Cases))
		s.Cases = append(s.Cases, listedCaseOf{r.Target, state, r.Reason})
	}
	if asJSON {
		return writeJSON(w, list)
	}
	rows := [][]string{{"ID", "STATE", "LEVEL", "TITLE"}}
	for _, s := range list {
		states := []string{}
		for _, state := range []string{"runs", "pass", "warn", "fail", "flaky", "inconclusive", "error", "not run", "unobservable", "unsupported", "not offered", "disabled"} {
			switch n := len(s.verdicts[state]); {
			case n == len(s.Cases):
				states = append(states, state)
			case n > 0:
				states = append(states, fmt.Sprintf("%s %d/%d", state, n, len(s.Cases)))
			}
		}
		rows = append(rows, []string{s.ID, strings.Join(states, ", "), string(s.Level), s.Name + "  [" + strings.Join(s.Requirements, " ") + "]"})
	}
	return writeTable(w, rows)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeTable aligns all columns but the last.
func writeTable(w io.Writer, rows [][]string) error {
	widths := map[int]int{}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = oneLine(cell)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b bytes.Buffer
	for _, row := range rows {
		for i, cell := range row {
			if i < len(row)-1 {
				cell += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			}
			b.WriteString(cell)
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}
