package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
)

// catalogue is what the writers need to know beside the report: titles and sources.
type catalogue struct {
	requirements []farmspec.Requirement
	claims       []farmspec.Claim
}

func theCatalogue() catalogue {
	return catalogue{farmspec.Catalogue(), farmspec.Claims()}
}

// view is a report arranged for reading; all writers share it, so they agree.
type view struct {
	*farmspec.Report
	requirement map[string]farmspec.Requirement
	claim       map[int]farmspec.Claim
	targets     map[string]int // name to place, from 0
	cases       map[farmspec.CaseID]int
	matrix      string // address of the kill matrix
}

func newView(r *farmspec.Report, c catalogue) *view {
	v := &view{
		Report:      r,
		matrix:      home + "/blob/main/reports/published/" + MatrixPageFile,
		requirement: make(map[string]farmspec.Requirement, len(c.requirements)),
		claim:       make(map[int]farmspec.Claim, len(c.claims)),
		targets:     make(map[string]int, len(r.Targets)),
		cases:       make(map[farmspec.CaseID]int, len(r.Results)),
	}
	for _, q := range c.requirements {
		v.requirement[q.ID] = q
	}
	for _, n := range c.claims {
		v.claim[n.Number] = n
	}
	for i, t := range r.Targets {
		v.targets[t.Name] = i
	}
	for i := range r.Results {
		v.cases[r.Results[i].CaseID] = i
	}
	return v
}

// tally counts verdicts.
type tally map[farmspec.Verdict]int

// order is how verdicts are listed: what needs attention first, what was not
// run last.
var order = []farmspec.Verdict{
	farmspec.Fail, farmspec.Flaky, farmspec.Error, farmspec.Inconclusive, farmspec.Warn, farmspec.Pass,
	farmspec.NotRun, farmspec.Unobservable, farmspec.Unsupported, farmspec.NotOffered, farmspec.Disabled, farmspec.Planned,
}

// String is "3 fail, 1 warn, 87 pass".
func (t tally) String() string {
	var parts []string
	for _, v := range order {
		if t[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", t[v], word(v)))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (v *view) caseTally() tally {
	t := tally{}
	for i := range v.Results {
		t[v.Results[i].Verdict]++
	}
	return t
}

// requirementTally counts the requirements of a profile, or of all for "".
func (v *view) requirementTally(profile string) tally {
	t := tally{}
	for _, q := range v.Requirements {
		if profile == "" || v.requirement[q.ID].Profile == profile {
			t[q.Verdict]++
		}
	}
	return t
}

func (v *view) claimTally() tally {
	t := tally{}
	for _, c := range v.Claims {
		t[c.Verdict]++
	}
	return t
}

// troubles are the cases that ran and did not pass, worst first.
func (v *view) troubles() []*farmspec.Result {
	var list []*farmspec.Result
	for i := range v.Results {
		if r := &v.Results[i]; r.Verdict.Ran() && r.Verdict != farmspec.Pass {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b *farmspec.Result) int {
		return slices.Index(order, a.Verdict) - slices.Index(order, b.Verdict)
	})
	return list
}

// unrun is a reason for which cases were not run.
type unrun struct {
	verdict farmspec.Verdict
	reason  string
	cases   []*farmspec.Result
}

// notRun groups the cases that were not run by verdict and reason.
func (v *view) notRun() []unrun {
	var groups []unrun
	for i := range v.Results {
		r := &v.Results[i]
		if r.Verdict.Ran() {
			continue
		}
		at := slices.IndexFunc(groups, func(g unrun) bool { return g.verdict == r.Verdict && g.reason == r.Reason })
		if at < 0 {
			at = len(groups)
			groups = append(groups, unrun{verdict: r.Verdict, reason: r.Reason})
		}
		groups[at].cases = append(groups[at].cases, r)
	}
	slices.SortStableFunc(groups, func(a, b unrun) int {
		return cmp.Or(slices.Index(order, a.verdict)-slices.Index(order, b.verdict), cmp.Compare(len(b.cases), len(a.cases)))
	})
	return groups
}

// checkNames are the twelve checks in the few words that a terminal has room for.
var checkNames = [12]string{
	"token opened, redirected, verified", "new encrypted token with the page", "new session ID, updated timestamp",
	"new token replaces the old one", "token is session ID and timestamp", "both compared with the stored ones",
	"elapsed time against the maximum", "timed-out session is closed", "token travels in a URL",
	"a web service verifies", "a common session database", "applet, HTML, JSP or ASP page",
}

// claimRow is one of the twelve checks in its three forms. A nil cell has no
// claim of its own: the method claims 10 and 11 are contained in claim 13.
type claimRow struct {
	name, summary string
	cells         [3]*farmspec.ClaimResult
}

// forms are the columns of a claim row.
var forms = [3]string{farmspec.MethodForm, farmspec.SystemForm, farmspec.ProductForm}

// twins returns the numbers of the three forms of the method claim n; zero
// where the form has none of its own.
func twins(n int) [3]int {
	switch {
	case n <= 9:
		return [3]int{n, n + 12, n + 22}
	case n == 12:
		return [3]int{12, 22, 34}
	}
	return [3]int{n, 0, n + 22}
}

func (v *view) claimRows() []claimRow {
	byNumber := map[int]*farmspec.ClaimResult{}
	for i := range v.Claims {
		byNumber[v.Claims[i].Claim] = &v.Claims[i]
	}
	var rows []claimRow
	for n := 1; n <= 12; n++ {
		row := claimRow{name: checkNames[n-1], summary: v.claim[n].Summary}
		any := false
		for i, number := range twins(n) {
			row.cells[i] = byNumber[number]
			any = any || row.cells[i] != nil
		}
		if any {
			rows = append(rows, row)
		}
	}
	return rows
}

// ruleGroup is a part of the AS Java text with its rules.
type ruleGroup struct {
	number, title string
	rules         []farmspec.RequirementResult
}

// ruleTitles name the parts of the AS Java text, by the first number of the rules' IDs.
var ruleTitles = map[string]string{
	"0": "Why sessions", "1": "Stateful applications", "2": "HTTP sessions", "3": "Security sessions",
	"4": "One to many", "5": "From log-in on", "6": "Termination",
	"X": "Neighbouring pages",
}

func (v *view) ruleGroups() []ruleGroup {
	var groups []ruleGroup
	for _, q := range v.Requirements {
		rest, ok := strings.CutPrefix(q.ID, "AJ-")
		if !ok {
			continue
		}
		number, _, numbered := strings.Cut(rest, ".")
		if !numbered {
			number = "X" // AJ-X1 and on: the pages beside the text
		}
		if len(groups) == 0 || groups[len(groups)-1].number != number {
			groups = append(groups, ruleGroup{number: number, title: cmp.Or(ruleTitles[number], "Part "+number)})
		}
		g := &groups[len(groups)-1]
		g.rules = append(g.rules, q)
	}
	return groups
}

// sections group the ledger as the catalogue does, in its order.
type section struct {
	name, title string
	entries     []farmspec.RequirementResult
}

var sectionTitles = map[string]string{
	"web-farm": "Web farm", "as-java": "AS Java", "asvs": "OWASP ASVS 5.0", "wstg": "OWASP WSTG",
	"nist": "NIST SP 800-63B-4", "rfc": "RFCs", "servlet": "Jakarta Servlet", "sso": "Single sign-on",
}

func (v *view) sections() []section {
	var list []section
	for _, q := range v.Requirements {
		name := v.requirement[q.ID].Section
		at := slices.IndexFunc(list, func(s section) bool { return s.name == name })
		if at < 0 {
			at = len(list)
			list = append(list, section{name: name, title: cmp.Or(sectionTitles[name], name, "Other")})
		}
		list[at].entries = append(list[at].entries, q)
	}
	return list
}

// subject is what the report is about: the products, once each.
func (v *view) subject() string {
	var names []string
	for _, t := range v.Targets {
		name := strings.TrimSpace(oneLine(t.Product + " " + t.Version))
		if name == "" {
			name = oneLine(t.Name)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "no target"
	}
	return strings.Join(names, ", ")
}

// tag is the short name of a target in tables of several.
func (v *view) tag(target string) string { return fmt.Sprintf("T%d", v.targets[target]+1) }

// levels lists the levels in order.
var levels = []farmspec.Level{farmspec.Black, farmspec.Grey, farmspec.White}

// levelNames are for people.
var levelNames = map[farmspec.Level]string{
	farmspec.Black: "black box", farmspec.Grey: "grey box", farmspec.White: "white box",
}

// levelMarks is "B✓ G✓ W–".
func levelMarks(by map[farmspec.Level]farmspec.Verdict) string {
	parts := make([]string, len(levels))
	for i, l := range levels {
		parts[i] = string(l) + mark(by[l])
	}
	return strings.Join(parts, " ")
}

// numbers is "1, 5, 7".
func numbers(list []int) string {
	parts := make([]string, len(list))
	for i, n := range list {
		parts[i] = fmt.Sprint(n)
	}
	return strings.Join(parts, ", ")
}

// claimSentence says what the first verdict rests on, and hardenedSentence the second.
func (v *view) claimSentence() string {
	s := fmt.Sprintf("The 34 claims, each with those it depends on: %s", v.claimTally())
	var broken []string // of what counts beside the claims
	for _, q := range v.Requirements {
		if r := v.requirement[q.ID]; r.Profile == "claim" && len(r.Claims) == 0 && q.Verdict == farmspec.Fail {
			broken = append(broken, q.ID)
		}
	}
	if len(broken) > 0 {
		s += "; broken beside them: " + strings.Join(broken, ", ")
	}
	return s + "."
}

func (v *view) hardenedSentence() string {
	return fmt.Sprintf("The requirements from ASVS, WSTG, NIST and the RFCs: %s.", v.requirementTally("hardened"))
}
