package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"html/template"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
)

var (
	matrixStyle    = pageStyle + mustRead("page/mutants.css")
	matrixScript   = mustRead("page/mutants.js")
	matrixTemplate = template.Must(template.Must(pageTemplate.Clone()).Funcs(template.FuncMap{
		"stateClass": stateVerdict, "anchor": escapeFragment,
	}).ParseFS(pageFiles, "page/mutants.html"))
)

type (
	matrixData struct {
		*farmspec.Matrix
		pageHead
		Killed, Of           int
		Proof, ScenarioProof farmspec.Verdict
		RateSentence         string
		ScenarioSentence     string
		Exit                 int
		ExitMeaning          string
		Facts                []pageFact
		Bar                  pageBar
		StateCounts          []matrixCount
		Missed               []matrixFault
		Faults               []matrixFault
		Subjects             []matrixSubject
		Columns              []matrixColumn
		Pairs                []matrixPair
		PairsTried           int
		Unproven             []farmspec.Requirement
		Idle                 int
		Scenarios            []matrixScenario
		LevelName            string
	}
	matrixCount struct {
		State farmspec.FaultState
		N     int
	}
	matrixFault struct {
		farmspec.FaultResult
		Cells     template.HTML // of its row, one for each column
		LevelName string
		Named     []matrixNamed
		Others    []string
		WhyNot    string
	}
	// matrixNamed is a scenario named for a fault, and whether it said fail.
	matrixNamed struct {
		ID   string
		Says bool
	}
	matrixSubject struct {
		Name        string
		Span        int
		First, Last int // columns, the first scenario's being 2
	}
	matrixColumn struct {
		ID, Short, Name string
		Kills           int
		Edge            bool // first of its subject
	}
	matrixPair struct {
		farmspec.PairResult
		FirstName, SecondName, Sentence string
	}
	matrixScenario struct {
		farmspec.MatrixScenario
		Convicts []string
	}
)

// matrixPage renders mutants.html: static, self-contained and without
// network, like the report.
func matrixPage(v *matrixView) ([]byte, error) {
	d := matrixData{
		Matrix:     v.Matrix,
		pageHead:   newPageHead("Kill matrix", matrixStyle, matrixScript),
		PairsTried: len(v.Pairs), Idle: len(v.idle()), LevelName: cmp.Or(levelNames[v.Level], string(v.Level)),
		Proof: farmspec.Pass, ScenarioProof: farmspec.Pass,
	}
	d.Killed, d.Of = v.rate()
	d.Exit, d.ExitMeaning = v.exit()
	if d.Exit != 0 {
		d.Proof = farmspec.Fail
	}
	if d.Idle > 0 || len(v.Matrix.Unproven) > 0 {
		d.ScenarioProof = farmspec.Warn
	}
	d.RateSentence = fmt.Sprintf("Of %s, those that this level can show and that a scenario named for them convicts: %s.", count(len(v.Faults), "fault"), v.stateTally())
	d.ScenarioSentence = fmt.Sprintf("Scenarios that convict at least one fault. %s no fault violates.", count(len(v.Matrix.Unproven), "tested requirement"))
	t := tally{}
	for _, s := range states {
		if n := len(v.inState(s)); n > 0 {
			t[stateVerdict(s)] = n
			d.StateCounts = append(d.StateCounts, matrixCount{s, n})
		}
	}
	d.Bar = newBar("fault", t)
	d.Facts = []pageFact{
		{Name: "Command", Value: oneLine(v.Command), Code: true},
		{Name: "Seed", Value: fmt.Sprint(v.Seed), Code: true},
		{Name: "Took", Value: took(v.Took)},
		{Name: "Level", Value: d.LevelName},
		{Name: "farmspec", Value: oneLine(strings.TrimSpace(v.Tool.Version + " " + clip(v.Tool.Commit, 12)))},
		{Name: "Features", Value: clip(oneLine(v.Tool.Features), 16), Code: true},
	}
	for i, s := range v.Matrix.Scenarios {
		subject, short, _ := strings.Cut(s.ID, ".")
		edge := len(d.Subjects) == 0 || d.Subjects[len(d.Subjects)-1].Name != subject
		if edge {
			d.Subjects = append(d.Subjects, matrixSubject{Name: subject, First: i + 2})
		}
		last := &d.Subjects[len(d.Subjects)-1]
		last.Span, last.Last = last.Span+1, i+2
		d.Columns = append(d.Columns, matrixColumn{s.ID, cmp.Or(short, s.ID), oneLine(s.Name), s.Kills, edge})
	}
	convicts := map[string][]string{}
	for _, f := range v.Matrix.Faults {
		d.Faults = append(d.Faults, v.matrixFault(f, d.Columns))
		for _, id := range f.KilledBy {
			convicts[id] = append(convicts[id], f.ID)
		}
	}
	for _, f := range v.missed() {
		d.Missed = append(d.Missed, v.matrixFault(f, nil))
	}
	for _, p := range v.masking() {
		d.Pairs = append(d.Pairs, matrixPair{p, oneLine(v.faults[p.First].Name), oneLine(v.faults[p.Second].Name), maskedSentence(p)})
	}
	for _, id := range v.Matrix.Unproven {
		q, known := v.requirement[id]
		if !known {
			q.ID = id
		}
		d.Unproven = append(d.Unproven, q)
	}
	for _, s := range v.Matrix.Scenarios {
		d.Scenarios = append(d.Scenarios, matrixScenario{s, convicts[s.ID]})
	}
	slices.SortStableFunc(d.Scenarios, func(a, b matrixScenario) int { return min(a.Kills, 1) - min(b.Kills, 1) })
	var b bytes.Buffer
	if err := matrixTemplate.ExecuteTemplate(&b, "mutants.html", d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (v *matrixView) matrixFault(f farmspec.FaultResult, columns []matrixColumn) matrixFault {
	x := matrixFault{FaultResult: f, LevelName: cmp.Or(levelNames[f.Level], string(f.Level)), WhyNot: why(f)}
	for _, id := range f.Convicts {
		says := slices.ContainsFunc(f.KilledBy, func(by string) bool { return isNamed(&farmspec.FaultResult{Convicts: []string{id}}, by) })
		x.Named = append(x.Named, matrixNamed{id, says})
	}
	for _, id := range f.KilledBy {
		if !isNamed(&f, id) {
			x.Others = append(x.Others, id)
		}
	}
	// silent is a scenario named for the fault of which no row convicts it.
	silent := func(id string) bool {
		outline, _, _ := strings.Cut(id, "/")
		return f.State != farmspec.Equivalent && slices.ContainsFunc(x.Named, func(n matrixNamed) bool { return !n.Says && (n.ID == id || n.ID == outline) })
	}
	// Written by hand: hundreds of thousands of cells are nothing for a
	// builder and seconds for a template.
	var b strings.Builder
	for _, c := range columns {
		class, says := "", ""
		switch killed, named := slices.Contains(f.KilledBy, c.ID), isNamed(&f, c.ID); {
		case killed && named:
			class, says = "n", "convicts it and is named for it"
		case killed:
			class, says = "o", "convicts it too"
		case silent(c.ID):
			class, says = "m", "is named for it and does not convict it"
		}
		if c.Edge {
			class = strings.TrimSpace("e " + class)
		}
		b.WriteString("<td")
		if class != "" {
			fmt.Fprintf(&b, ` class="%s"`, class)
		}
		if says != "" {
			text := html.EscapeString(fmt.Sprintf("%s: %s %s", f.ID, c.ID, says))
			fmt.Fprintf(&b, ` title="%s" aria-label="%s"`, text, text)
		}
		b.WriteByte('>')
	}
	x.Cells = template.HTML(b.String())
	return x
}
