package reports

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
)

var (
	comparisonStyle    = pageStyle + mustRead("page/compare.css")
	comparisonScript   = mustRead("page/compare.js")
	comparisonTemplate = template.Must(template.Must(pageTemplate.Clone()).Funcs(template.FuncMap{
		"anchor": escapeFragment, "tallied": func(counts map[farmspec.Verdict]int) string { return tally(counts).String() },
	}).ParseFS(pageFiles, "page/compare.html"))
)

type (
	comparisonData struct {
		*Comparison
		pageHead
		Totals      string
		Reference   Implementation
		Columns     []comparisonColumn
		Properties  []comparisonProperty
		DiffersBy   []comparisonCount
		Differences int
		Verdicts    []farmspec.Verdict
		Contested   []comparisonRow
		Sections    []comparisonSection
		Cases       []comparisonCase
		Evidence    []template.HTML
	}
	comparisonColumn struct {
		Implementation
		N        int
		Bar      pageBar
		Facts    []comparisonFact
		Products []string
	}
	// comparisonFact is a property of one implementation; Unlike where it is
	// not the reference's.
	comparisonFact struct {
		Name, Value string
		Unlike      bool
	}
	comparisonProperty struct {
		Name   string
		Values []comparisonFact
	}
	comparisonCount struct {
		Difference Difference
		Words      string
		N          int
	}
	comparisonSection struct {
		N             int
		Title         string
		Differing, Of int
		Rows          []comparisonRow
	}
	comparisonRow struct {
		ComparedRequirement
		Words   string
		Cells   []comparisonCell
		Reasons []comparisonReason
		Cases   []comparisonCase
	}
	// comparisonReason is why some came to a verdict, the same words for all.
	comparisonReason struct {
		Verdict farmspec.Verdict
		Reason  string
		By      []comparisonCell
	}
	comparisonCell struct {
		ComparedCell
		Label, Name string
		Marks       []pageLevel // at the levels that differ
		Levels      []pageLevel
		Unlike      bool // not the reference's verdict
	}
	comparisonCase struct {
		N        int
		ID, Name string
		Href     template.URL
		Words    string
		Differs  bool
		Chips    []comparisonChip
	}
	comparisonChip struct {
		Label, Name string
		Verdict     farmspec.Verdict
	}
)

// differenceWords name the differences for people.
var differenceWords = map[Difference]string{
	ByVerdict: "different verdicts", ByLevel: "different at a level", ByCoverage: "observed on some only", Alike: "alike",
}

// Page renders the comparison as a page like report.html: static,
// self-contained and without network. It always has every row; a filter shows
// those that differ first.
func (c *Comparison) Page() ([]byte, error) {
	d := comparisonData{
		Comparison: c,
		Totals:     c.totals(), Reference: c.Implementations[0], Differences: len(c.Differing()),
	}
	names := make([]string, len(c.Implementations))
	for i, x := range c.Implementations {
		names[i] = x.Name
		d.Columns = append(d.Columns, newComparisonColumn(i, x))
	}
	d.pageHead = newPageHead(strings.Join(names, ", "), comparisonStyle, comparisonScript)
	for _, u := range c.Unlike {
		p := comparisonProperty{Name: u.Property}
		for _, v := range u.Values {
			p.Values = append(p.Values, comparisonFact{Value: v, Unlike: v != u.Values[0]})
		}
		d.Properties = append(d.Properties, p)
	}
	by, seen := map[Difference]int{}, map[farmspec.Verdict]bool{}
	for _, row := range c.Requirements {
		by[row.Difference]++
		for _, cell := range row.Cells {
			seen[cell.Verdict] = true
		}
	}
	for _, kind := range []Difference{ByVerdict, ByLevel, ByCoverage, Alike} {
		d.DiffersBy = append(d.DiffersBy, comparisonCount{kind, differenceWords[kind], by[kind]})
	}
	for _, v := range order {
		if seen[v] {
			d.Verdicts = append(d.Verdicts, v)
		}
	}
	cases := map[string]comparisonCase{}
	z := gzip.NewWriter(nil)
	for i, s := range c.Scenarios {
		x := comparisonCase{N: i, ID: s.ID, Name: s.Name, Href: template.URL("#case=" + escapeFragment(s.ID)), Words: differenceWords[s.Difference], Differs: s.Difference != Alike}
		for j, one := range s.Cases {
			x.Chips = append(x.Chips, comparisonChip{c.Implementations[j].Label, c.Implementations[j].Name, one.Verdict})
		}
		cases[s.ID] = x
		d.Cases = append(d.Cases, x)
		e, err := packedJSON(z, &s)
		if err != nil {
			return nil, fmt.Errorf("pack scenario %s: %w", s.ID, err)
		}
		d.Evidence = append(d.Evidence, e)
	}
	for _, row := range c.contested() {
		d.Contested = append(d.Contested, c.comparisonRow(row, cases))
	}
	for n, s := range c.sections(true) {
		section := comparisonSection{N: n, Title: s.title, Differing: s.differing, Of: s.of}
		for _, row := range s.rows {
			section.Rows = append(section.Rows, c.comparisonRow(row, cases))
		}
		d.Sections = append(d.Sections, section)
	}
	var b bytes.Buffer
	if err := comparisonTemplate.ExecuteTemplate(&b, "compare.html", d); err != nil {
		return nil, fmt.Errorf("render comparison: %w", err)
	}
	return b.Bytes(), nil
}

func newComparisonColumn(i int, x Implementation) comparisonColumn {
	column := comparisonColumn{Implementation: x, N: i, Bar: newBar("requirement", x.Counts)}
	r := &farmspec.Report{Targets: x.Targets, Tool: x.Tool, Run: x.Run}
	for _, p := range properties {
		if p.name != "scenarios" { // of the plan, which is not here; the table of properties has it where it differs
			column.Facts = append(column.Facts, comparisonFact{p.name, p.value(r), slices.Contains(x.Unlike, p.name)})
		}
	}
	for _, t := range x.Targets {
		if s := strings.TrimSpace(oneLine(t.Product + " " + t.Version)); !slices.Contains(column.Products, s) {
			column.Products = append(column.Products, s)
		}
	}
	return column
}

func (c *Comparison) comparisonRow(row ComparedRequirement, cases map[string]comparisonCase) comparisonRow {
	x := comparisonRow{ComparedRequirement: row, Words: differenceWords[row.Difference]}
	for i, cell := range row.Cells {
		y := comparisonCell{ComparedCell: cell, Label: c.Implementations[i].Label, Name: c.Implementations[i].Name, Unlike: cell.Verdict != row.Cells[0].Verdict, Levels: pageLevels(cell.Levels, nil)}
		for _, l := range row.Levels {
			y.Marks = append(y.Marks, pageLevel{Level: l, Name: levelNames[l], Verdict: cell.Levels[l]})
		}
		x.Cells = append(x.Cells, y)
		if !cell.Verdict.Ran() || cell.Reason == "" {
			continue
		}
		said := slices.IndexFunc(x.Reasons, func(r comparisonReason) bool { return r.Verdict == cell.Verdict && r.Reason == cell.Reason })
		if said < 0 {
			said = len(x.Reasons)
			x.Reasons = append(x.Reasons, comparisonReason{Verdict: cell.Verdict, Reason: cell.Reason})
		}
		x.Reasons[said].By = append(x.Reasons[said].By, y)
	}
	for _, id := range row.Scenarios {
		if s, ok := cases[id]; ok {
			x.Cases = append(x.Cases, s)
		}
	}
	slices.SortStableFunc(x.Cases, func(a, b comparisonCase) int {
		switch {
		case a.Differs == b.Differs:
			return 0
		case a.Differs:
			return -1
		}
		return 1
	})
	return x
}

// packedJSON is a value as the page carries it: JSON, gzip, base64.
func packedJSON(z *gzip.Writer, value any) (template.HTML, error) {
	var b bytes.Buffer
	z.Reset(&b)
	if err := json.NewEncoder(z).Encode(value); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return template.HTML(base64.StdEncoding.EncodeToString(b.Bytes())), nil
}
