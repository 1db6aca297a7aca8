package reports

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
)

//go:embed page
var pageFiles embed.FS

var (
	pageStyle    = mustRead("page/report.css")
	pageScript   = mustRead("page/report.js")
	pageTemplate = template.Must(template.New("report.html").Funcs(template.FuncMap{
		"word": word, "words": strings.Fields, "levelName": func(l farmspec.Level) string { return levelNames[l] },
	}).ParseFS(pageFiles, "page/head.html", "page/report.html"))
)

func mustRead(name string) string {
	b, err := pageFiles.ReadFile(name)
	if err != nil {
		panic(err) // embedded
	}
	return string(b)
}

// bodyExcerpt is how much of a body, and valueExcerpt how much of a header's
// value or an address, the page shows; results.json has what the run kept.
const (
	bodyExcerpt  = 8 << 10
	valueExcerpt = 2 << 10
)

// shownTroubles is how many cases that did not pass the page shows before it folds the rest.
const shownTroubles = 20

// The page is static HTML that reads without a script: verdicts, claims,
// rules, ledger and cases. The evidence of each case follows as compressed
// JSON, unpacked when the case is opened. The policy in its head allows the
// two inline texts by their digests and nothing else, no network above all,
// and the script builds the page from text nodes only, so a farm's bytes
// cannot act.
type (
	pageData struct {
		pageHead
		Subject                   string
		Incomplete                string
		Left                      []string
		Matrix                    string // where the kill matrix is
		Exit                      int
		ExitMeaning               string
		Verdicts                  []pageVerdict
		Bars                      []pageBar
		Facts                     []pageFact
		Troubles, MoreTroubles    []pageCase
		TroubleCount              int
		Unrun                     []pageUnrun
		Claims                    []pageClaimRow
		Rules                     []pageRuleGroup
		Sections                  []pageSection
		Features                  []pageFeature
		Targets                   []pageTarget
		Single                    bool
		CaseVerdicts, ReqVerdicts []pageCount
		Levels                    []farmspec.Level
		Evidence                  []template.HTML
	}
	pageVerdict struct {
		Name, Sentence string
		Verdict        farmspec.Verdict
	}
	pageBar struct {
		Noun  string
		Total int
		Parts []pageCount
	}
	pageCount struct {
		Verdict farmspec.Verdict
		N       int
		X, W    string // of a bar that is 1000 wide
	}
	pageFact struct {
		Name, Value string
		Code        bool
	}
	pageCase struct {
		N                            int
		ID, Name, Target, Tag, Label string
		Verdict                      farmspec.Verdict
		Reason, Repeat               string
		Href                         template.URL
		TargetN                      int
	}
	pageUnrun struct {
		Verdict farmspec.Verdict
		Reason  string
		Cases   []pageCase
	}
	pageLevel struct {
		Level   farmspec.Level
		Name    string
		Verdict farmspec.Verdict
		Text    string // what the level sees, or why it cannot confirm
	}
	pageClaim struct {
		Number       int
		Form         string
		Verdict, Own farmspec.Verdict
		Summary      string
		Reason       string
		Closure      string
		Levels       []pageLevel
		Requirements []pageRequirementLink
		Missing      string // for a form without a claim of its own
	}
	pageRequirementLink struct {
		ID      string
		Verdict farmspec.Verdict
	}
	pageClaimRow struct {
		Number  int
		Summary string
		Cells   []pageClaim
	}
	pageRuleGroup struct {
		Title string
		Tally string
		Rules []pageRequirement
	}
	pageSection struct {
		Name, Title, Tally string
		Entries            []pageRequirement
	}
	pageRequirement struct {
		ID, Title, Source, Strength, Profile, Reason, Planned string
		Verdict                                               farmspec.Verdict
		Levels                                                []pageLevel
		Scenarios                                             []pageScenario
	}
	pageFeature struct {
		Name      string
		Scenarios []pageScenario
	}
	pageScenario struct {
		ID, Name     string
		Level        farmspec.Level
		Requirements []string
		Cases        []pageCase
	}
	pageTarget struct {
		farmspec.TargetInfo
		N         int
		Tag       string
		Tally     string
		LevelText string
	}
)

// pageHead is what the head of every page holds.
type pageHead struct {
	Title                 string
	Style                 template.CSS
	Script                template.JS
	StyleHash, ScriptHash string // the policy allows these two and nothing else
}

func newPageHead(title, style, script string) pageHead {
	return pageHead{
		Title: title + " · farmspec",
		Style: template.CSS(style), Script: template.JS(script),
		StyleHash: digest(style), ScriptHash: digest(script),
	}
}

// page renders report.html.
func page(v *view) ([]byte, error) {
	d := pageData{
		pageHead:    newPageHead(v.subject(), pageStyle, pageScript),
		Subject:     v.subject(),
		Matrix:      v.matrix,
		Exit:        v.Exit,
		ExitMeaning: exitMeaning(v.Exit),
		Single:      len(v.Targets) <= 1,
		Levels:      levels,
	}
	for _, left := range v.Left {
		d.Left = append(d.Left, oneLine(left))
	}
	if !v.Run.Complete {
		d.Incomplete = oneLine(cmp.Or(v.Run.Why, "It ended early."))
	}
	d.Verdicts = []pageVerdict{
		{"Claim-conformant", v.claimSentence(), v.ClaimConformant},
		{"Hardened", v.hardenedSentence(), v.Hardened},
	}
	d.Bars = []pageBar{newBar("case", v.caseTally()), newBar("requirement", v.requirementTally(""))}
	d.CaseVerdicts, d.ReqVerdicts = d.Bars[0].Parts, d.Bars[1].Parts
	d.Facts = v.pageFacts()
	for i, r := range v.troubles() {
		d.TroubleCount++
		if i < shownTroubles {
			d.Troubles = append(d.Troubles, v.pageCase(r))
		} else {
			d.MoreTroubles = append(d.MoreTroubles, v.pageCase(r))
		}
	}
	for _, g := range v.notRun() {
		u := pageUnrun{Verdict: g.verdict, Reason: oneLine(cmp.Or(g.reason, "No reason was given."))}
		for _, r := range g.cases {
			u.Cases = append(u.Cases, v.pageCase(r))
		}
		d.Unrun = append(d.Unrun, u)
	}
	for _, row := range v.claimRows() {
		d.Claims = append(d.Claims, v.pageClaimRow(row))
	}
	for _, g := range v.ruleGroups() {
		group := pageRuleGroup{Title: g.title}
		t := tally{}
		for _, q := range g.rules {
			t[q.Verdict]++
			group.Rules = append(group.Rules, v.pageRequirement(q))
		}
		group.Tally = t.String()
		d.Rules = append(d.Rules, group)
	}
	for _, s := range v.sections() {
		section := pageSection{Name: s.name, Title: s.title}
		t := tally{}
		for _, q := range s.entries {
			t[q.Verdict]++
			section.Entries = append(section.Entries, v.pageRequirement(q))
		}
		section.Tally = t.String()
		d.Sections = append(d.Sections, section)
	}
	d.Features = v.pageFeatures()
	for i, t := range v.Targets {
		d.Targets = append(d.Targets, v.pageTarget(i, t))
	}
	z := gzip.NewWriter(nil)
	for i := range v.Results {
		e, err := packed(z, &v.Results[i])
		if err != nil {
			return nil, err
		}
		d.Evidence = append(d.Evidence, e)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// digest is the source expression by which a content security policy allows an inline text.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// packed is a result as the page carries it: JSON, gzip, base64. The writer is
// a large thing to make and serves all results, one after another.
func packed(z *gzip.Writer, r *farmspec.Result) (template.HTML, error) {
	c := *r
	c.Exchanges = slices.Clone(r.Exchanges)
	for i := range c.Exchanges {
		x := &c.Exchanges[i]
		x.BodyBytes = max(x.BodyBytes, len(x.Body))
		x.Body, x.RequestBody = clipBytes(x.Body, bodyExcerpt), clipBytes(x.RequestBody, bodyExcerpt)
		x.URL = clipBytes(x.URL, valueExcerpt)
		x.RequestHeader, x.Header = clipHeaders(x.RequestHeader), clipHeaders(x.Header)
	}
	text, err := json.Marshal(&c)
	if err != nil {
		return "", fmt.Errorf("pack evidence of %s: %w", r.Scenario, err)
	}
	var b bytes.Buffer
	z.Reset(&b)
	if _, err := z.Write(text); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return template.HTML(base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

func clipHeaders(headers []farmspec.Header) []farmspec.Header {
	clipped := slices.Clone(headers)
	for i := range clipped {
		clipped[i].Value = clipBytes(clipped[i].Value, valueExcerpt)
	}
	return clipped
}

func newBar(noun string, t tally) pageBar {
	bar := pageBar{Noun: noun}
	for _, n := range t {
		bar.Total += n
	}
	x := 0.0
	for _, verdict := range order {
		if n := t[verdict]; n > 0 {
			w := 1000 * float64(n) / float64(bar.Total)
			bar.Parts = append(bar.Parts, pageCount{verdict, n, fmt.Sprintf("%.1f", x), fmt.Sprintf("%.1f", max(w-2, 1))})
			x += w
		}
	}
	return bar
}

func (v *view) pageFacts() []pageFact {
	facts := []pageFact{
		{Name: "Command", Value: oneLine(v.Run.Command), Code: true},
		{Name: "Seed", Value: fmt.Sprint(v.Run.Seed), Code: true},
		{Name: "Started", Value: v.Run.Started.UTC().Format("2 January 2006, 15:04:05 UTC")},
		{Name: "Took", Value: took(v.Run.Took)},
		{Name: "farmspec", Value: oneLine(strings.TrimSpace(v.Tool.Version + " " + clip(v.Tool.Commit, 12)))},
	}
	if v.Tool.Features != "" {
		facts = append(facts, pageFact{Name: "Features", Value: clip(oneLine(v.Tool.Features), 16), Code: true})
	}
	return facts
}

func (v *view) pageTarget(i int, t farmspec.TargetInfo) pageTarget {
	for _, s := range []*string{&t.Name, &t.Product, &t.Version, &t.Artefact} {
		*s = oneLine(*s)
	}
	counts := tally{}
	for j := range v.Results {
		if v.targets[v.Results[j].Target] == i {
			counts[v.Results[j].Verdict]++
		}
	}
	var seen []string
	for _, l := range t.Levels {
		seen = append(seen, cmp.Or(levelNames[l], string(l)))
	}
	return pageTarget{t, i, fmt.Sprintf("T%d", i+1), counts.String(), strings.Join(seen, ", ")}
}

func (v *view) pageCase(r *farmspec.Result) pageCase {
	c := pageCase{
		N: v.cases[r.CaseID], ID: oneLine(r.Scenario), Name: oneLine(cmp.Or(r.Name, r.Scenario)), Target: oneLine(r.Target),
		Tag: v.tag(r.Target), Verdict: r.Verdict, Reason: oneLine(r.Reason), Repeat: oneLine(r.Repeat),
		Href: caseLink(r.CaseID), TargetN: v.targets[r.Target],
	}
	c.Label = c.Tag
	if len(v.Targets) <= 1 {
		c.Label = word(r.Verdict)
	}
	return c
}

// caseLink is the fragment that opens a case; people may type it, so only
// what would break it is escaped.
func caseLink(c farmspec.CaseID) template.URL {
	return template.URL("#case=" + escapeFragment(c.Scenario) + "&target=" + escapeFragment(c.Target))
}

func escapeFragment(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/+:,@!*", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (v *view) pageClaimRow(row claimRow) pageClaimRow {
	p := pageClaimRow{Summary: row.summary}
	for i, c := range row.cells {
		if c == nil {
			p.Cells = append(p.Cells, pageClaim{Form: forms[i], Missing: "part of 13"})
			continue
		}
		if p.Number == 0 {
			p.Number = c.Claim
		}
		cell := pageClaim{
			Number: c.Claim, Form: c.Form, Verdict: c.Verdict, Own: c.Own, Reason: oneLine(c.Reason),
			Summary: v.claim[c.Claim].Summary, Levels: pageLevels(c.Levels, nil),
		}
		var ancestors []int
		for _, n := range c.Closure {
			if n != c.Claim {
				ancestors = append(ancestors, n)
			}
		}
		cell.Closure = numbers(ancestors)
		for _, id := range c.Requirements {
			cell.Requirements = append(cell.Requirements, pageRequirementLink{id, v.verdictOf(id)})
		}
		p.Cells = append(p.Cells, cell)
	}
	return p
}

func (v *view) verdictOf(id string) farmspec.Verdict {
	for _, q := range v.Requirements {
		if q.ID == id {
			return q.Verdict
		}
	}
	return ""
}

func pageLevels(by map[farmspec.Level]farmspec.Verdict, text func(farmspec.Level) string) []pageLevel {
	var list []pageLevel
	for _, l := range levels {
		p := pageLevel{Level: l, Name: levelNames[l], Verdict: by[l]}
		if text != nil {
			p.Text = text(l)
		}
		list = append(list, p)
	}
	return list
}

func (v *view) pageRequirement(q farmspec.RequirementResult) pageRequirement {
	c := v.requirement[q.ID]
	p := pageRequirement{
		ID: q.ID, Title: cmp.Or(c.Title, "not in the catalogue of this farmspec"), Source: c.Source, Strength: c.Strength, Profile: c.Profile,
		Planned: c.Planned, Verdict: q.Verdict, Reason: oneLine(q.Reason),
	}
	p.Levels = pageLevels(q.Levels, func(l farmspec.Level) string {
		seen, not := c.Levels[l], c.Unobservable[l]
		switch {
		case seen != "" && not != "":
			return seen + " (" + not + ")"
		case not != "":
			return not
		}
		return seen
	})
	for _, id := range q.Cases {
		i, ok := v.cases[id]
		if !ok {
			continue
		}
		p.Scenarios = v.addCase(p.Scenarios, &v.Results[i])
	}
	return p
}

func (v *view) addCase(scenarios []pageScenario, r *farmspec.Result) []pageScenario {
	at := slices.IndexFunc(scenarios, func(s pageScenario) bool { return s.ID == oneLine(r.Scenario) })
	if at < 0 {
		at = len(scenarios)
		scenarios = append(scenarios, pageScenario{
			ID: oneLine(r.Scenario), Name: oneLine(cmp.Or(r.Name, r.Scenario)), Level: r.Level, Requirements: r.Requirements,
		})
	}
	cases := append(scenarios[at].Cases, v.pageCase(r))
	slices.SortStableFunc(cases, func(a, b pageCase) int { return a.TargetN - b.TargetN })
	scenarios[at].Cases = cases
	return scenarios
}

func (v *view) pageFeatures() []pageFeature {
	var features []pageFeature
	for i := range v.Results {
		r := &v.Results[i]
		name := oneLine(cmp.Or(r.Feature, "Scenarios"))
		at := slices.IndexFunc(features, func(f pageFeature) bool { return f.Name == name })
		if at < 0 {
			at = len(features)
			features = append(features, pageFeature{Name: name})
		}
		features[at].Scenarios = v.addCase(features[at].Scenarios, r)
	}
	return features
}
