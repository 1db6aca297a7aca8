package reports

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/farmspec/farmspec"
)

// JSON renders the comparison for machines.
func (c *Comparison) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(c); err != nil {
		return nil, fmt.Errorf("render comparison: %w", err)
	}
	return b.Bytes(), nil
}

// totals says how many rows differ, and how.
func (c *Comparison) totals() string {
	n := map[Difference]int{}
	for _, row := range c.Requirements {
		n[row.Difference]++
	}
	return fmt.Sprintf("%s: %d with different verdicts, %d with different verdicts at a level, %d observed on some only, %d alike.",
		count(len(c.Requirements), "requirement"), n[ByVerdict], n[ByLevel], n[ByCoverage], n[Alike])
}

// Table writes the comparison for a terminal: who is compared, in what they
// are unlike, and by section the rows that differ, or all of them. Tables use
// at most the terminal's width, 80 columns at least and 100 at most, unless
// there are more implementations than fit.
func (c *Comparison) Table(w io.Writer, t Terminal, all bool) error {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	columns := max(t.columns(), 80)
	paragraph := func(first, rest, text string) {
		for i, l := range wrap(text, columns-utf8.RuneCountInString(first)) {
			if i > 0 {
				first = rest
			}
			p("%s%s", first, l)
		}
	}
	for _, x := range c.Implementations {
		for j, l := range wrap(x.Name, columns-len(x.Label)-2) {
			head := x.Label
			if j > 0 {
				head = ""
			}
			p("%s", t.bold(fmt.Sprintf("%-*s  %s", len(x.Label), head, l)))
		}
		p("   claim-conformant %s, hardened %s", t.paint(x.ClaimConformant, word(x.ClaimConformant)), t.paint(x.Hardened, word(x.Hardened)))
		paragraph("   ", "   ", x.Source)
		paragraph("   ", "   ", x.Sentence)
		if len(x.Unlike) > 0 {
			paragraph("   ", "   ", "Unlike A in "+strings.Join(x.Unlike, ", ")+".")
		}
	}
	for _, s := range c.Warnings {
		paragraph("!  ", "   ", s)
	}

	const least = 12
	id := least // of the section at hand
	width, show := 13, func(v farmspec.Verdict) string { return word(v) }
	short := least+len(c.Implementations)*width+12 > columns
	if short {
		width, show = 3, mark
	}
	label := max(columns-len(c.Implementations)*width, 24) // ID and title
	cells := func(each func(i int) (farmspec.Verdict, string)) string {
		var line strings.Builder
		for i := range c.Implementations {
			v, s := each(i)
			line.WriteString(t.paint(v, s) + strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0)))
		}
		return line.String()
	}
	head := func(name string) {
		line := name + strings.Repeat(" ", max(label-utf8.RuneCountInString(name), 1))
		for _, x := range c.Implementations {
			line += fmt.Sprintf("%-*s", width, x.Label)
		}
		p("%s", t.bold(strings.TrimRight(line, " ")))
	}
	row := func(first, second, values string) {
		title := label - id
		second = clip(second, title-1)
		p("%s", strings.TrimRight(fmt.Sprintf("%-*s%s%s%s", id, clip(first, id-1), second, strings.Repeat(" ", title-utf8.RuneCountInString(second)), values), " "))
	}

	if len(c.Unlike) > 0 {
		p("")
		p("%s", t.bold("Not judged alike"))
		for _, u := range c.Unlike {
			var parts []string
			var seen []string
			for _, v := range u.Values {
				if slices.Contains(seen, v) {
					continue
				}
				seen = append(seen, v)
				var who []string
				for i, x := range c.Implementations {
					if u.Values[i] == v {
						who = append(who, x.Label)
					}
				}
				parts = append(parts, strings.Join(who, " ")+": "+v)
			}
			paragraph(fmt.Sprintf("%-*s", least, u.Property), strings.Repeat(" ", least), strings.Join(parts, "; "))
		}
	}
	const shown = 20
	for n, q := range c.contested() {
		if n == 0 {
			p("")
			p("%s", t.bold("Where they part, and why"))
		}
		if n == shown {
			p("and %d more; the tables have them all", len(c.contested())-shown)
			break
		}
		paragraph(q.ID+" ", strings.Repeat(" ", 4), q.Title)
		for i, cell := range q.Cells {
			if cell.Verdict.Ran() && cell.Reason != "" {
				who := c.Implementations[i].Label
				paragraph(fmt.Sprintf("    %s %s: ", who, word(cell.Verdict)), strings.Repeat(" ", 5+len(who)), cell.Reason)
			}
		}
	}
	for _, s := range c.sections(all) {
		if len(s.rows) == 0 {
			continue
		}
		p("")
		head(fmt.Sprintf("%s, %d of %d differ", s.title, s.differing, s.of))
		id = least
		for _, q := range s.rows {
			id = min(max(id, utf8.RuneCountInString(q.ID)+1), label-8)
		}
		for _, q := range s.rows {
			row(q.ID, q.Title, cells(func(i int) (farmspec.Verdict, string) {
				v := q.Cells[i].Verdict
				return v, show(v)
			}))
			for _, l := range q.Levels {
				row("", "  "+levelNames[l], cells(func(i int) (farmspec.Verdict, string) {
					v := q.Cells[i].Levels[l]
					return v, show(v)
				}))
			}
		}
	}
	p("")
	if short {
		paragraph("", "", "✓ pass, ✗ fail, ! warn, ~ flaky, ? inconclusive, E error, – not observed, … planned.")
	}
	paragraph("", "", c.totals())
	_, err := w.Write(b.Bytes())
	return err
}

// drawExchange is an exchange on a line.
func drawExchange(x ComparedExchange) string {
	s := fmt.Sprintf("%s: %s %s", x.Browser, x.Method, x.Path)
	if x.Member != "" {
		s += " at " + x.Member
	}
	if x.Status != 0 {
		s += fmt.Sprintf(" → %d", x.Status)
	}
	if x.Error != "" {
		s += " → " + x.Error
	}
	return s
}

// exchangeDiff shows a case's exchanges against the reference's as a
// diff does: a minus is the reference's, a plus the case's own.
func exchangeDiff(ref, this ComparedCase) []string {
	var out []string
	step := ""
	for _, pair := range this.Beside {
		var a, b *ComparedExchange
		if pair.Reference > 0 {
			a = &ref.Exchanges[pair.Reference-1]
		}
		if pair.This > 0 {
			b = &this.Exchanges[pair.This-1]
		}
		if s := cmp.Or(b, a).Step; s != step {
			step = s
			out = append(out, "# "+s)
		}
		switch {
		case b == nil:
			out = append(out, "- "+drawExchange(*a))
		case a == nil:
			out = append(out, "+ "+drawExchange(*b))
		default:
			if drawn, other := drawExchange(*a), drawExchange(*b); drawn == other {
				out = append(out, "  "+drawn)
			} else {
				out = append(out, "- "+drawn, "+ "+other)
			}
			for _, name := range pair.Differs {
				for _, v := range valuesOf(a.Headers, name) {
					out = append(out, "-     "+name+": "+v)
				}
				for _, v := range valuesOf(b.Headers, name) {
					out = append(out, "+     "+name+": "+v)
				}
			}
		}
	}
	return out
}

// Markdown renders the comparison for a code host: the rows that differ, or
// all, and for each difference of verdicts the cases behind it.
func (c *Comparison) Markdown(all bool) []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	var labels []string
	rule := ""
	for _, x := range c.Implementations {
		labels = append(labels, x.Label)
		rule += "---|"
	}
	header := strings.Join(labels, " | ")

	p("# %s side by side\n", count(len(c.Implementations), "implementation"))
	for _, s := range c.Warnings {
		p("> **Beware.** %s\n", markdown(s))
	}
	p("| | Implementation | Claim-conformant | Hardened | In words |")
	p("|---|---|---|---|---|")
	for _, x := range c.Implementations {
		words := markdown(x.Sentence)
		if len(x.Unlike) > 0 {
			words += " *Unlike A in " + markdown(strings.Join(x.Unlike, ", ")) + ".*"
		}
		p("| **%s** | %s<br>%s | %s | %s | %s |", x.Label, markdown(x.Name), code(x.Source), icon(x.ClaimConformant), icon(x.Hardened), words)
	}
	p("\nA is the reference. The two verdicts are independent; nothing here is averaged.\n")
	if len(c.Unlike) > 0 {
		p("## Not judged alike\n")
		p("| | %s |", header)
		p("|---|%s", rule)
		for _, u := range c.Unlike {
			values := make([]string, len(u.Values))
			for i, v := range u.Values {
				values[i] = markdown(v)
			}
			p("| %s | %s |", u.Property, strings.Join(values, " | "))
		}
		p("")
	}
	p("## Requirement by requirement\n")
	p("%s\n", c.totals())
	for _, s := range c.sections(all) {
		if len(s.rows) == 0 {
			continue
		}
		p("### %s, %d of %d differ\n", markdown(s.title), s.differing, s.of)
		p("| | Requirement | %s |", header)
		p("|---|---|%s", rule)
		for _, q := range s.rows {
			cells := make([]string, len(q.Cells))
			for i, cell := range q.Cells {
				cells[i] = icon(cell.Verdict)
				for _, l := range q.Levels {
					cells[i] += "<br>" + levelNames[l] + ": " + word(cell.Levels[l])
				}
			}
			p("| %s | %s | %s |", markdown(q.ID), markdown(q.Title), strings.Join(cells, " | "))
		}
		p("")
	}
	c.markdownCases(p)
	return b.Bytes()
}

func (c *Comparison) markdownCases(p func(string, ...any)) {
	begun := false
	for _, s := range c.Scenarios {
		if s.Difference != ByVerdict {
			continue
		}
		if !begun {
			begun = true
			p("## Case by case\n")
			p("Where verdicts differ: the reasons, and the exchanges against those of A (minus is A).\n")
		}
		p("<details><summary>%s</summary>\n", html.EscapeString(s.Name))
		p("%s\n", code(s.ID))
		for i, x := range s.Cases {
			reason := ""
			if x.Reason != "" {
				reason = ": " + markdown(x.Reason)
			}
			p("- **%s** %s%s", c.Implementations[i].Label, icon(x.Verdict), reason)
		}
		p("")
		for i, x := range s.Cases {
			if x.Verdict == s.Cases[0].Verdict || len(x.Beside) == 0 {
				continue
			}
			p("%s against A:\n", c.Implementations[i].Label)
			p("````diff")
			for _, l := range exchangeDiff(s.Cases[0], x) {
				p("%s", strings.ReplaceAll(l, "````", "'```"))
			}
			p("````\n")
		}
		p("</details>\n")
	}
}
