package reports

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// ComparisonSchema is the version of a comparison's JSON form.
const ComparisonSchema = "farmspec.comparison/v1"

// Comparison sets implementations side by side, requirement by requirement.
// It averages nothing and ranks nobody: a requirement has a verdict for each
// implementation, and where two were not judged alike, that is said.
type Comparison struct {
	Schema string `json:"schema"`
	// Implementations are the columns. The first is the reference, with which
	// the others are compared.
	Implementations []Implementation `json:"implementations"`
	// Unlike are the properties in which not all implementations agree.
	Unlike []Unlikeness `json:"unlike"`
	// Warnings say what to know before believing a difference.
	Warnings []string `json:"warnings"`
	// Requirements are the rows, in catalogue order.
	Requirements []ComparedRequirement `json:"requirements"`
	// Scenarios are the cases behind the rows, sorted.
	Scenarios []ComparedScenario `json:"scenarios"`
}

// Implementation is one column: a report about a farm, or about several
// profiles of one.
type Implementation struct {
	// Label is A for the reference, then B and so on.
	Label string `json:"label"`
	Name  string `json:"name"`
	// Source is where the report came from.
	Source  string                `json:"source"`
	Targets []farmspec.TargetInfo `json:"targets"`
	Tool    farmspec.Tool         `json:"tool"`
	Run     farmspec.Run          `json:"run"`
	// ClaimConformant and Hardened are the two verdicts of the report.
	ClaimConformant farmspec.Verdict `json:"claim_conformant"`
	Hardened        farmspec.Verdict `json:"hardened"`
	// Counts are of requirements, by verdict; ClaimCounts of the 34 claims and
	// HardenedCounts of the standards' requirements, on which the two rest.
	Counts         map[farmspec.Verdict]int `json:"counts"`
	ClaimCounts    map[farmspec.Verdict]int `json:"claim_counts"`
	HardenedCounts map[farmspec.Verdict]int `json:"hardened_counts"`
	// Unlike names the properties in which it is not like the reference.
	Unlike []string `json:"unlike,omitempty"`
	// Sentence says in words how it stands.
	Sentence string `json:"sentence"`
}

// Unlikeness is a property that differs: a hand-off, a rotation policy, the
// digest of the feature files.
type Unlikeness struct {
	Property string `json:"property"`
	// Values has one for each implementation.
	Values []string `json:"values"`
}

// Difference says how the cells of a row differ.
type Difference string

// The differences, what weighs most first.
const (
	// ByVerdict: two implementations were observed, and not with one verdict.
	ByVerdict Difference = "verdict"
	// ByLevel: the verdicts agree, those of a level of observation do not.
	ByLevel Difference = "level"
	// ByCoverage: one was observed and another was not, or both were not for
	// different reasons.
	ByCoverage Difference = "coverage"
	// Alike: no difference.
	Alike Difference = "none"
)

// ComparedRequirement is a row.
type ComparedRequirement struct {
	ID         string     `json:"id"`
	Title      string     `json:"title"`
	Section    string     `json:"section"`
	Strength   string     `json:"strength,omitempty"`
	Profile    string     `json:"profile,omitempty"`
	Difference Difference `json:"difference"`
	// Levels are the levels of observation that disagree, in order, unless one
	// only says what the verdicts say.
	Levels []farmspec.Level `json:"levels,omitempty"`
	// Cells has one for each implementation.
	Cells []ComparedCell `json:"cells"`
	// Scenarios that test it, for any of the implementations, sorted.
	Scenarios []string `json:"scenarios,omitempty"`
}

// ComparedCell is what one implementation came to.
type ComparedCell struct {
	Verdict farmspec.Verdict                    `json:"verdict"`
	Levels  map[farmspec.Level]farmspec.Verdict `json:"levels,omitempty"`
	Reason  string                              `json:"reason,omitempty"`
}

// ComparedScenario is a scenario with its case for each implementation.
type ComparedScenario struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	Difference Difference     `json:"difference"`
	Cases      []ComparedCase `json:"cases"`
}

// ComparedCase is a scenario on one implementation; of a report with several
// targets, on the one that did worst.
type ComparedCase struct {
	Target    string             `json:"target,omitempty"`
	Verdict   farmspec.Verdict   `json:"verdict"`
	Reason    string             `json:"reason,omitempty"`
	Repeat    string             `json:"repeat,omitempty"`
	Exchanges []ComparedExchange `json:"exchanges,omitempty"`
	// Omitted counts exchanges that are not in Exchanges.
	Omitted int `json:"omitted,omitempty"`
	// Beside sets them beside the reference's, in order.
	Beside []ExchangePair `json:"beside,omitempty"`
}

// ComparedExchange is an exchange without what differs between any two runs:
// host and port, values of cookies and of parameters.
type ComparedExchange struct {
	N       int    `json:"n"`
	Step    string `json:"step"`
	Browser string `json:"browser"`
	Member  string `json:"member,omitempty"`
	Method  string `json:"method"`
	Path    string `json:"path"`
	Status  int    `json:"status,omitempty"`
	Error   string `json:"error,omitempty"`
	// Headers are the telling ones. Cookie names what was sent; the others
	// are of the answer.
	Headers []farmspec.Header `json:"headers,omitempty"`
}

// ExchangePair is an exchange of the reference and the one that answers to
// it. Zero stands for none.
type ExchangePair struct {
	Reference int `json:"reference,omitempty"`
	This      int `json:"this,omitempty"`
	// Differs names what is not the same: path, status, error, header names.
	Differs []string `json:"differs,omitempty"`
}

// Compared is one report to compare.
type Compared struct {
	// Source says where the report came from.
	Source string
	// Report is about one implementation. Its targets, where there are
	// several, are taken for profiles of one.
	Report *farmspec.Report
}

// ByTarget returns a report for each target of r, with the target's results
// only. What follows from the results is still r's: conclude it again.
func ByTarget(r *farmspec.Report) []*farmspec.Report {
	if len(r.Targets) < 2 {
		return []*farmspec.Report{r}
	}
	var parts []*farmspec.Report
	for _, t := range r.Targets {
		c := *r
		c.Targets, c.Plan, c.Results = []farmspec.TargetInfo{t}, nil, nil
		for _, id := range r.Plan {
			if id.Target == t.Name {
				c.Plan = append(c.Plan, id)
			}
		}
		for _, x := range r.Results {
			if x.Target == t.Name {
				c.Results = append(c.Results, x)
			}
		}
		parts = append(parts, &c)
	}
	return parts
}

// Compare sets the reports side by side; the first is the reference. It
// changes none of them. Fewer than two is an error.
func Compare(runs ...Compared) (*Comparison, error) { return compare(runs, theCatalogue()) }

func compare(runs []Compared, c catalogue) (*Comparison, error) {
	if len(runs) < 2 {
		return nil, fmt.Errorf("compare: it takes two implementations, and here %s", map[bool]string{true: "is one", false: "are none"}[len(runs) == 1])
	}
	out := &Comparison{Schema: ComparisonSchema, Unlike: []Unlikeness{}, Warnings: []string{}}
	views := make([]*view, len(runs))
	for i, run := range runs {
		views[i] = newView(run.Report, c)
		out.Implementations = append(out.Implementations, Implementation{
			Label: label(i), Name: views[i].implementationName(), Source: run.Source, Targets: list(run.Report.Targets),
			Tool: run.Report.Tool, Run: run.Report.Run, Counts: views[i].requirementTally(""),
			ClaimCounts: views[i].claimTally(), HardenedCounts: views[i].requirementTally("hardened"),
			ClaimConformant: run.Report.ClaimConformant, Hardened: run.Report.Hardened,
		})
	}
	out.compareProperties(runs)
	out.compareRequirements(views)
	out.compareScenarios(views)
	for i := range out.Implementations {
		out.Implementations[i].Sentence = out.sentence(i)
	}
	return out, nil
}

// label is A to Z, then AA and on.
func label(i int) string {
	if i >= 26 {
		return label(i/26-1) + label(i%26)
	}
	return string(rune('A' + i))
}

// implementationName is the target's, or what the targets have in common.
func (v *view) implementationName() string {
	if len(v.Targets) == 1 {
		return oneLine(v.Targets[0].Name)
	}
	return fmt.Sprintf("%s (%s)", v.subject(), count(len(v.Targets), "profile"))
}

// properties are what two runs must share for a difference to be the farms' own.
var properties = []struct {
	name  string
	value func(*farmspec.Report) string
}{
	{"hand-off", ofTargets(func(t farmspec.TargetInfo) string { return string(t.Handoff) })},
	{"rotation", ofTargets(func(t farmspec.TargetInfo) string { return string(t.Rotation) })},
	{"topology", ofTargets(func(t farmspec.TargetInfo) string { return string(t.Topology) })},
	{"spent token", ofTargets(func(t farmspec.TargetInfo) string { return string(t.Replay) })},
	{"levels", ofTargets(func(t farmspec.TargetInfo) string {
		var s string
		for _, l := range levels {
			if slices.Contains(t.Levels, l) {
				s += string(l)
			}
		}
		return s
	})},
	{"scenarios", func(r *farmspec.Report) string {
		seen := map[string]bool{}
		for _, c := range r.Plan {
			seen[c.Scenario] = true
		}
		return fmt.Sprintf("%d planned", len(seen))
	}},
	{"features", func(r *farmspec.Report) string { return clip(oneLine(r.Tool.Features), 12) }},
	{"farmspec", func(r *farmspec.Report) string {
		return strings.TrimSpace(oneLine(r.Tool.Version) + " " + clip(oneLine(r.Tool.Commit), 12))
	}},
}

// ofTargets is a property of targets: of several, each value once.
func ofTargets(value func(farmspec.TargetInfo) string) func(*farmspec.Report) string {
	return func(r *farmspec.Report) string {
		var values []string
		for _, t := range r.Targets {
			if s := cmp.Or(oneLine(value(t)), "–"); !slices.Contains(values, s) {
				values = append(values, s)
			}
		}
		return strings.Join(values, ", ")
	}
}

func (c *Comparison) compareProperties(runs []Compared) {
	for _, p := range properties {
		u := Unlikeness{Property: p.name}
		for i, run := range runs {
			u.Values = append(u.Values, p.value(run.Report))
			if u.Values[i] != u.Values[0] {
				x := &c.Implementations[i]
				x.Unlike = append(x.Unlike, p.name)
			}
		}
		if len(slices.Compact(slices.Sorted(slices.Values(u.Values)))) > 1 {
			c.Unlike = append(c.Unlike, u)
		}
	}
	judges := map[string][]string{}
	for _, x := range c.Implementations {
		judges[x.Tool.Features] = append(judges[x.Tool.Features], x.Label)
	}
	if len(judges) > 1 {
		var parts []string
		for digest, labels := range judges {
			parts = append(parts, fmt.Sprintf("%s by %s", strings.Join(labels, ", "), cmp.Or(clip(oneLine(digest), 12), "unnamed ones")))
		}
		slices.Sort(parts)
		c.Warnings = append(c.Warnings, fmt.Sprintf("Not judged by the same feature files: %s. A difference may be the scenarios' and not the farms'.", strings.Join(parts, "; ")))
	}
	for _, x := range c.Implementations {
		if !x.Run.Complete {
			why := strings.TrimRight(oneLine(cmp.Or(x.Run.Why, "it ended early")), ".")
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s is an incomplete run: %s. What is missing was not observed.", x.Label, why))
		}
	}
}

func (c *Comparison) compareRequirements(views []*view) {
	var ids []string
	ledgers := make([]map[string]farmspec.RequirementResult, len(views))
	for i, v := range views {
		ledgers[i] = map[string]farmspec.RequirementResult{}
		for at, q := range v.Requirements {
			ledgers[i][q.ID] = q
			if !slices.Contains(ids, q.ID) { // after the one before it, wherever that stands
				place := len(ids)
				if at > 0 {
					place = slices.Index(ids, v.Requirements[at-1].ID) + 1
				}
				ids = slices.Insert(ids, place, q.ID)
			}
		}
	}
	tests := map[string][]string{}
	for _, v := range views {
		for i := range v.Results {
			for _, id := range v.Results[i].Requirements {
				tests[id] = append(tests[id], v.Results[i].Scenario)
			}
		}
	}
	for _, id := range ids {
		known := views[0].requirement[id]
		row := ComparedRequirement{
			ID: id, Title: cmp.Or(known.Title, "not in the catalogue of this farmspec"), Section: cmp.Or(sectionTitles[known.Section], known.Section, "Other"),
			Strength: known.Strength, Profile: known.Profile, Scenarios: slices.Compact(slices.Sorted(slices.Values(tests[id]))),
		}
		for i := range views {
			cell := ComparedCell{Verdict: farmspec.NotRun, Reason: "The catalogue of its run does not have it."}
			if q, ok := ledgers[i][id]; ok {
				cell = ComparedCell{q.Verdict, q.Levels, oneLine(q.Reason)}
			}
			row.Cells = append(row.Cells, cell)
		}
		row.Difference, row.Levels = differing(row.Cells)
		c.Requirements = append(c.Requirements, row)
	}
}

// differing says how cells differ, and at which levels.
func differing(cells []ComparedCell) (Difference, []farmspec.Level) {
	all, seen := map[farmspec.Verdict]bool{}, map[farmspec.Verdict]bool{}
	for _, cell := range cells {
		all[cell.Verdict] = true
		if cell.Verdict.Ran() {
			seen[cell.Verdict] = true
		}
	}
	var at []farmspec.Level
	for _, l := range levels {
		by, repeats := map[farmspec.Verdict]bool{}, true // repeats: it says what the verdicts say
		for _, cell := range cells {
			v := cell.Levels[l]
			if v.Ran() {
				by[v] = true
			}
			repeats = repeats && (v == cell.Verdict || v == "" && !cell.Verdict.Ran())
		}
		if len(by) > 1 && !repeats {
			at = append(at, l)
		}
	}
	switch {
	case len(seen) > 1:
		return ByVerdict, at
	case len(at) > 0:
		return ByLevel, at
	case len(all) > 1:
		return ByCoverage, nil
	}
	return Alike, nil
}

// Differing returns the rows that differ, what weighs most first.
func (c *Comparison) Differing() []ComparedRequirement { return sorted(c.Requirements, false) }

// contested are the rows in which what was observed differs, or was no pass
// where others were not observed.
func (c *Comparison) contested() []ComparedRequirement {
	return slices.DeleteFunc(c.Differing(), func(q ComparedRequirement) bool { return q.Difference == ByCoverage && !q.troubled() })
}

// troubled reports whether somebody was observed and did not pass.
func (q ComparedRequirement) troubled() bool {
	return slices.ContainsFunc(q.Cells, func(c ComparedCell) bool { return c.Verdict.Ran() && c.Verdict != farmspec.Pass })
}

// sorted puts the rows that differ first, and leaves the others out unless all.
func sorted(rows []ComparedRequirement, all bool) []ComparedRequirement {
	var some []ComparedRequirement
	for _, row := range rows {
		if all || row.Difference != Alike {
			some = append(some, row)
		}
	}
	slices.SortStableFunc(some, func(a, b ComparedRequirement) int { return weight(a) - weight(b) })
	return some
}

// weight orders rows: by difference, and in each those that somebody did not pass first.
func weight(q ComparedRequirement) int {
	n := 2 * slices.Index([]Difference{ByVerdict, ByLevel, ByCoverage, Alike}, q.Difference)
	if !q.troubled() {
		n++
	}
	return n
}

// comparedSection is a part of the catalogue with its rows.
type comparedSection struct {
	title         string
	rows          []ComparedRequirement
	differing, of int
}

// sections groups the rows; differences come first within each.
func (c *Comparison) sections(all bool) []comparedSection {
	var titles []string
	by := map[string][]ComparedRequirement{}
	for _, row := range c.Requirements {
		if by[row.Section] == nil {
			titles = append(titles, row.Section)
		}
		by[row.Section] = append(by[row.Section], row)
	}
	var out []comparedSection
	for _, title := range titles {
		out = append(out, comparedSection{title, sorted(by[title], all), len(sorted(by[title], false)), len(by[title])})
	}
	return out
}

// sentence says how an implementation stands: what it passes of what it was
// observed on, and where it is not as the reference.
func (c *Comparison) sentence(i int) string {
	own, differs, only := tally{}, tally{}, tally{}
	both, alike, here := 0, 0, 0
	var failed []string
	observed := 0
	for _, row := range c.Requirements {
		ref, cell := row.Cells[0].Verdict, row.Cells[i].Verdict
		if cell.Ran() {
			own[cell]++
			observed++
			if cell == farmspec.Fail {
				failed = append(failed, row.ID)
			}
		}
		switch {
		case ref.Ran() && cell.Ran() && ref == cell:
			both, alike = both+1, alike+1
		case ref.Ran() && cell.Ran():
			both++
			differs[cell]++
		case ref.Ran():
			only[cell]++
		case cell.Ran():
			here++
		}
	}
	if observed == 0 {
		return "It was observed on no requirement, so nothing can be said of it."
	}
	s := fmt.Sprintf("Of the %s it was observed on, it passes %d and fails %s.", count(observed, "requirement"), own[farmspec.Pass], none(len(failed)))
	if len(failed) > 0 {
		const most = 6
		more := ""
		if len(failed) > most {
			failed, more = failed[:most], fmt.Sprintf(" and %d more", len(failed)-most)
		}
		s = strings.TrimSuffix(s, ".") + " (" + strings.Join(failed, ", ") + more + ")."
	}
	if rest := observed - own[farmspec.Pass] - own[farmspec.Fail]; rest > 0 {
		delete(own, farmspec.Pass)
		delete(own, farmspec.Fail)
		s += fmt.Sprintf(" The others: %s.", own)
	}
	if i == 0 {
		return s + " The others are compared with it."
	}
	if both == 0 {
		return s + " Nothing was observed on both it and A."
	}
	s += fmt.Sprintf(" A was observed on %d of them too: %d with the same verdict", both, alike)
	if len(differs) > 0 {
		s += fmt.Sprintf(", %d with another (here %s)", both-alike, differs)
	}
	s += "."
	if len(only) > 0 {
		n := 0
		for _, k := range only {
			n += k
		}
		s += fmt.Sprintf(" %d more %s observed on A and not here: %s.", n, map[bool]string{true: "was", false: "were"}[n == 1], only)
	}
	if here > 0 {
		s += fmt.Sprintf(" %d %s observed here and not on A.", here, map[bool]string{true: "was", false: "were"}[here == 1])
	}
	return s
}

func none(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func (c *Comparison) compareScenarios(views []*view) {
	names := map[string]string{}
	by := make([]map[string]*farmspec.Result, len(views))
	for i, v := range views {
		by[i] = map[string]*farmspec.Result{}
		for j := range v.Results {
			r := &v.Results[j]
			if names[r.Scenario] == "" {
				names[r.Scenario] = oneLine(cmp.Or(r.Name, r.Scenario))
			}
			if was := by[i][r.Scenario]; was == nil || was.Verdict != r.Verdict && farmspec.Worst(was.Verdict, r.Verdict) == r.Verdict {
				by[i][r.Scenario] = r
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(names)) {
		s := ComparedScenario{ID: id, Name: names[id]}
		var cells []ComparedCell
		for i, v := range views {
			x := ComparedCase{Verdict: farmspec.NotRun, Reason: "It was not planned in this run."}
			if r := by[i][id]; r != nil {
				x = comparedCase(r, v.Run.Started)
				if ref := by[0][id]; i > 0 && ref != nil && ref.Verdict.Ran() && r.Verdict.Ran() {
					x.Beside = beside(s.Cases[0].Exchanges, x.Exchanges)
				}
			}
			s.Cases = append(s.Cases, x)
			cells = append(cells, ComparedCell{Verdict: x.Verdict})
		}
		s.Difference, _ = differing(cells)
		c.Scenarios = append(c.Scenarios, s)
	}
}

// mostExchanges bounds what is compared of a case, and with it the time.
const mostExchanges = 400

func comparedCase(r *farmspec.Result, began time.Time) ComparedCase {
	x := ComparedCase{Target: oneLine(r.Target), Verdict: r.Verdict, Reason: oneLine(r.Reason), Repeat: oneLine(r.Repeat), Omitted: r.ExchangesOmitted}
	for i, e := range r.Exchanges {
		if i == mostExchanges {
			x.Omitted += len(r.Exchanges) - i
			break
		}
		y := ComparedExchange{
			N: i + 1, Browser: oneLine(e.Browser), Member: oneLine(e.Member), Method: clip(oneLine(e.Method), 40),
			Path: pathShape(e.URL), Status: e.Status, Error: clip(oneLine(e.Error), 300), Headers: telling(e, began),
		}
		if e.Step >= 0 && e.Step < len(r.Steps) {
			y.Step = oneLine(r.Steps[e.Step].Keyword + " " + r.Steps[e.Step].Text)
		}
		x.Exchanges = append(x.Exchanges, y)
	}
	return x
}

// pathShape is an address without host and without the values of parameters.
func pathShape(address string) string {
	u, err := url.Parse(strings.ReplaceAll(address, "=#", "=%23")) // a digest, no fragment
	if err != nil {
		return "an address that cannot be read"
	}
	path := u.EscapedPath()
	if u.Opaque != "" {
		path = u.Opaque
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = shape(s, ";")
	}
	path = cmp.Or(strings.Join(segments, "/"), "/")
	if u.RawQuery != "" {
		path += "?" + shape("&"+u.RawQuery, "&")[1:]
	}
	return clip(oneLine(path), 300)
}

// shape replaces the values of the parameters that follow a separator.
func shape(s, separator string) string {
	parts := strings.Split(s, separator)
	for i, p := range parts {
		if name, _, ok := strings.Cut(p, "="); ok && i > 0 {
			parts[i] = name + "=…"
		}
	}
	return strings.Join(parts, separator)
}

// tellingHeaders are of answers, about sessions and who may keep them.
var tellingHeaders = []string{
	"Location", "Set-Cookie", "Cache-Control", "Clear-Site-Data", "Content-Type", "Referrer-Policy", "Strict-Transport-Security", "WWW-Authenticate",
}

func telling(x farmspec.ExchangeRecord, began time.Time) []farmspec.Header {
	var out []farmspec.Header
	for _, h := range x.RequestHeader {
		if strings.EqualFold(h.Name, "Cookie") {
			var names []string
			for c := range strings.SplitSeq(h.Value, ";") {
				name, _, _ := strings.Cut(strings.TrimSpace(c), "=")
				names = append(names, name)
			}
			out = append(out, farmspec.Header{Name: "Cookie", Value: clip(oneLine(strings.Join(names, "; ")), 300)})
		}
	}
	for _, name := range tellingHeaders {
		for _, h := range x.Header {
			if !strings.EqualFold(h.Name, name) {
				continue
			}
			value := h.Value
			switch name {
			case "Location":
				value = pathShape(value)
			case "Set-Cookie":
				value = cookieShape(value, began)
			}
			out = append(out, farmspec.Header{Name: name, Value: clip(oneLine(value), 300)})
		}
	}
	return out
}

// cookieShape is a Set-Cookie without its value, and with a date only where
// that was past when the run began.
func cookieShape(line string, began time.Time) string {
	parts := strings.Split(line, ";")
	for i, p := range parts {
		name, value, named := strings.Cut(p, "=")
		switch {
		case i == 0 && !named:
			parts[i] = "…"
		case i == 0 && value != "":
			parts[i] = name + "=…"
		case strings.EqualFold(strings.TrimSpace(name), "Expires"):
			if at, err := http.ParseTime(strings.TrimSpace(value)); err == nil && !at.Before(began) {
				parts[i] = name + "=…"
			}
		}
	}
	return strings.Join(parts, ";")
}

// beside aligns the exchanges of a case with the reference's: those of the
// same step, sender and method belong together, in order, and the more so the
// more they have in common.
func beside(ref, this []ComparedExchange) []ExchangePair {
	score := func(a, b ComparedExchange) int {
		if a.Step != b.Step || a.Browser != b.Browser || a.Method != b.Method {
			return 0
		}
		s := 4
		if a.Path == b.Path {
			s += 2
		}
		if a.Status == b.Status {
			s++
		}
		return s
	}
	// best[i][j] is what ref[i:] and this[j:] have in common at most.
	best := make([][]int, len(ref)+1)
	for i := range best {
		best[i] = make([]int, len(this)+1)
	}
	for i := len(ref) - 1; i >= 0; i-- {
		for j := len(this) - 1; j >= 0; j-- {
			best[i][j] = max(best[i+1][j], best[i][j+1])
			if s := score(ref[i], this[j]); s > 0 {
				best[i][j] = max(best[i][j], s+best[i+1][j+1])
			}
		}
	}
	var pairs []ExchangePair
	i, j := 0, 0
	for i < len(ref) || j < len(this) {
		switch {
		case i < len(ref) && j < len(this) && score(ref[i], this[j]) > 0 && best[i][j] == score(ref[i], this[j])+best[i+1][j+1]:
			pairs = append(pairs, ExchangePair{ref[i].N, this[j].N, unlike(ref[i], this[j])})
			i, j = i+1, j+1
		case i < len(ref) && (j == len(this) || best[i][j] == best[i+1][j]):
			pairs = append(pairs, ExchangePair{Reference: ref[i].N})
			i++
		default:
			pairs = append(pairs, ExchangePair{This: this[j].N})
			j++
		}
	}
	return pairs
}

// unlike names in what two exchanges differ.
func unlike(a, b ComparedExchange) []string {
	var out []string
	if a.Path != b.Path {
		out = append(out, "path")
	}
	if a.Status != b.Status {
		out = append(out, "status")
	}
	if (a.Error == "") != (b.Error == "") {
		out = append(out, "error")
	}
	for _, name := range append([]string{"Cookie"}, tellingHeaders...) {
		if !slices.Equal(valuesOf(a.Headers, name), valuesOf(b.Headers, name)) {
			out = append(out, name)
		}
	}
	return out
}

func valuesOf(headers []farmspec.Header, name string) []string {
	var out []string
	for _, h := range headers {
		if h.Name == name {
			out = append(out, h.Value)
		}
	}
	return out
}
