package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"strings"

	"github.com/farmspec/farmspec"
)

// markdown escapes text for a line or a table cell of Markdown.
func markdown(s string) string {
	return markdownEscapes.Replace(oneLine(s))
}

var markdownEscapes = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`,
	`|`, `\|`, `~`, `\~`, `<`, `&lt;`, `>`, `&gt;`, `&`, `&amp;`,
)

// code shows text as an inline code span, whatever backticks it holds.
func code(s string) string {
	s = oneLine(s)
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if len(fence) > 1 {
		s = " " + s + " "
	}
	// In a table cell, GitHub ends the cell at a bar even within code.
	return fence + strings.ReplaceAll(s, "|", `\|`) + fence
}

// icons show verdicts on a code host; the word is always beside them.
var icons = map[farmspec.Verdict]string{
	farmspec.Pass: "✅", farmspec.Fail: "❌", farmspec.Flaky: "🎲", farmspec.Error: "💥", farmspec.Inconclusive: "❔", farmspec.Warn: "⚠️",
}

func icon(v farmspec.Verdict) string { return cmp.Or(icons[v], "➖") + " " + word(v) }

// summary renders summary.md.
func summary(v *view) ([]byte, error) {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	p("# Conformance of %s\n", markdown(v.subject()))
	if !v.Run.Complete {
		p("> **Incomplete run.** %s. What is missing below was not observed.\n", markdown(strings.TrimSuffix(cmp.Or(v.Run.Why, "It ended early"), ".")))
	}
	for _, left := range v.Left {
		p("> **Not undone.** Mend it before the next run: %s.\n", markdown(left))
	}
	p("| | Verdict | Rests on |")
	p("|---|---|---|")
	p("| **Claim-conformant** | %s | %s |", icon(v.ClaimConformant), v.claimSentence())
	p("| **Hardened** | %s | %s |", icon(v.Hardened), v.hardenedSentence())
	p("")
	p("The two are independent and never merged. Exit code %d, %s.\n", v.Exit, exitMeaning(v.Exit))
	p("%s on %s in %s: %s.\n", count(len(v.Results), "case"), count(len(v.Targets), "target"), took(v.Run.Took), v.caseTally())

	troubles := v.troubles()
	p("## What did not pass\n")
	if len(troubles) == 0 {
		p("Every case that ran passed.\n")
	}
	for _, r := range troubles {
		lines := []string{fmt.Sprintf("%s **%s** (%s on %s)", icon(r.Verdict), markdown(cmp.Or(r.Name, r.Scenario)), code(r.Scenario), code(r.Target))}
		if len(r.Requirements) > 0 {
			lines = append(lines, "Requirements: "+markdown(strings.Join(r.Requirements, ", ")))
		}
		if r.Reason != "" {
			lines = append(lines, markdown(r.Reason))
		}
		lines = append(lines, "Repeat: "+code(r.Repeat))
		p("- %s", strings.Join(lines, "\\\n  ")) // a backslash breaks the line
	}
	if len(troubles) > 0 {
		p("")
	}

	if groups := v.notRun(); len(groups) > 0 {
		p("## What was not run\n")
		p("Nothing here counts as a pass.\n")
		for _, g := range groups {
			p("<details><summary>%s: %s. %s</summary>\n", word(g.verdict), count(len(g.cases), "case"), html.EscapeString(oneLine(cmp.Or(g.reason, "No reason was given."))))
			p("| Scenario | Target | Repeat |")
			p("|---|---|---|")
			for _, r := range g.cases {
				p("| %s | %s | %s |", code(r.Scenario), code(r.Target), code(r.Repeat))
			}
			p("\n</details>\n")
		}
	}

	p("## The 34 claims\n")
	p("A claim holds only with the claims it depends on. B, G and W say what black-box, grey-box and white-box observation showed: ✓ pass, ✗ fail, ! warn, ~ flaky, ? inconclusive, E error, – not run, … planned.\n")
	p("| Check | Method | System | Product |")
	p("|---|---|---|---|")
	for _, row := range v.claimRows() {
		cells := make([]string, len(row.cells))
		for i, c := range row.cells {
			switch {
			case c != nil:
				cells[i] = fmt.Sprintf("**%d** %s<br>%s", c.Claim, icon(c.Verdict), levelMarks(c.Levels))
			case forms[i] == farmspec.SystemForm:
				cells[i] = "in 13"
			}
		}
		p("| %s | %s |", markdown(row.summary), strings.Join(cells, " | "))
	}
	p("")

	p("## AS Java, rule by rule\n")
	p("| Rule | Verdict | Levels | What it asks |")
	p("|---|---|---|---|")
	for _, g := range v.ruleGroups() {
		for _, q := range g.rules {
			title := markdown(v.requirement[q.ID].Title)
			if q.Verdict != farmspec.Pass && q.Reason != "" {
				title += "<br>*" + markdown(q.Reason) + "*"
			}
			p("| %s | %s | %s | %s |", q.ID, icon(q.Verdict), levelMarks(q.Levels), title)
		}
	}
	p("")

	p("## What was judged\n")
	p("| Target | Product | Hand-off | Rotation | Topology | Levels |")
	p("|---|---|---|---|---|---|")
	for _, t := range v.Targets {
		var seen []string
		for _, l := range t.Levels {
			seen = append(seen, cmp.Or(levelNames[l], string(l)))
		}
		p("| %s | %s | %s | %s | %s | %s |", code(t.Name), markdown(t.Product+" "+t.Version), markdown(string(t.Handoff)),
			markdown(string(t.Rotation)), markdown(string(t.Topology)), strings.Join(seen, ", "))
	}
	p("")

	p("## How to reproduce\n")
	p("    %s\n", oneLine(v.Run.Command))
	p("Seed %d; farmspec %s; features `%s`; started %s.", v.Run.Seed, markdown(strings.TrimSpace(v.Tool.Version+" "+v.Tool.Commit)),
		clip(oneLine(v.Tool.Features), 16), v.Run.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	p("Evidence for every case is in `%s`, which opens without a network; the data is in `%s`.", PageFile, ResultsFile)
	return b.Bytes(), nil
}
