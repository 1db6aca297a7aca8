package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/farmspec/farmspec"
)

// Terminal says how to write for whoever reads. The zero value is a plain
// file of 100 columns.
type Terminal struct {
	// TTY says that a line can be rewritten in place.
	TTY bool
	// Width is in columns; zero means 100. Tables never use more than 100.
	Width int
	// Color allows colour, which never carries what the words do not.
	Color bool
	// Verbose names every case as it ends, not only those that need attention.
	Verbose bool
	// Every is the number of cases between two progress lines of a plain
	// file. Zero means 100.
	Every int
	// Now is the clock for rates and remaining time. Nil means [time.Now].
	Now func() time.Time
}

// TerminalOf finds out what f is. NO_COLOR (no-color.org) and TERM=dumb are honoured.
func TerminalOf(f *os.File) Terminal {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return Terminal{}
	}
	t := Terminal{TTY: os.Getenv("TERM") != "dumb"}
	t.Color = t.TTY && os.Getenv("NO_COLOR") == ""
	if w, _, err := term.GetSize(fd); err == nil {
		t.Width = w
	}
	return t
}

const maxColumns = 100

func (t Terminal) columns() int {
	if t.Width <= 0 {
		return maxColumns
	}
	return min(t.Width, maxColumns)
}

// ANSI colours by verdict; the words are always there too.
func (t Terminal) paint(v farmspec.Verdict, s string) string {
	if !t.Color {
		return s
	}
	code := "2" // dim: not run
	switch v {
	case farmspec.Pass:
		code = "32"
	case farmspec.Warn, farmspec.Flaky:
		code = "33"
	case farmspec.Fail, farmspec.Error:
		code = "31"
	case farmspec.Inconclusive:
		code = "35"
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t Terminal) bold(s string) string {
	if !t.Color {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

// Progress shows a run while it goes on: one line rewritten in place on a
// terminal, occasional lines otherwise, and a line for each case that needs
// attention on both. It is a [farmspec.Progress].
type Progress struct {
	liveLine
	counts  tally
	several bool
	running []farmspec.CaseID
	waits   []farmspec.Wait
	told    time.Time // when a plain file was last told of waits
}

// NewProgress returns a Progress that writes to w. Errors of w are ignored:
// progress is no result.
func NewProgress(w io.Writer, t Terminal) *Progress {
	t.Every = cmp.Or(max(t.Every, 0), 100)
	return &Progress{liveLine: newLiveLine(w, t), counts: tally{}}
}

// Planned says what is going to run.
func (p *Progress) Planned(cases int, targets []farmspec.TargetInfo) {
	p.total, p.several, p.began = cases, len(targets) > 1, p.now()
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = oneLine(t.Name)
	}
	what := strings.Join(names, ", ")
	if utf8.RuneCountInString(what) > 70 {
		what = count(len(names), "target")
	}
	fmt.Fprintf(p.w, "%s on %s\n", count(cases, "case"), what)
}

// Began notes a case as running.
func (p *Progress) Began(c farmspec.CaseID) {
	p.running = append(p.running, c)
	p.draw()
}

// Ended counts a case, and names it if it needs attention.
func (p *Progress) Ended(r *farmspec.Result) {
	p.done++
	p.counts[r.Verdict]++
	if i := slices.Index(p.running, r.CaseID); i >= 0 {
		p.running = slices.Delete(p.running, i, i+1)
	}
	if r.Verdict.Ran() && r.Verdict != farmspec.Pass || p.t.Verbose {
		p.clear()
		p.name(r)
	}
	if p.done >= p.total {
		p.Close()
		return
	}
	if !p.t.TTY && p.done%p.t.Every == 0 {
		fmt.Fprintf(p.w, "%d of %d: %s%s\n", p.done, p.total, p.counts, p.remaining())
	}
	p.draw()
}

// Waiting shows who waits for the farm's time, on a plain file once a minute.
func (p *Progress) Waiting(waits []farmspec.Wait) {
	p.waits = waits
	if now := p.now(); !p.t.TTY && len(waits) > 0 && now.Sub(p.told) >= time.Minute {
		fmt.Fprintf(p.w, "%d of %d: %s\n", p.done, p.total, p.waiting())
		p.told = now
	}
	p.draw()
}

// waiting says how many wait, and for how long still.
func (p *Progress) waiting() string {
	left := max(0, p.waits[len(p.waits)-1].Until.Sub(p.now())).Round(time.Second)
	if len(p.waits) == 1 {
		return fmt.Sprintf("%s waits %v", oneLine(p.waits[0].Scenario), left)
	}
	return fmt.Sprintf("%d wait, the last of them %v", len(p.waits), left)
}

// Close takes the live line away. It may be called at any time and twice.
func (p *Progress) Close() { p.clear() }

func (p *Progress) name(r *farmspec.Result) {
	where := oneLine(r.Scenario)
	if p.several {
		where += " on " + oneLine(r.Target)
	}
	fmt.Fprintf(p.w, "%s %s (%s)\n", p.t.paint(r.Verdict, fmt.Sprintf("%-12s", word(r.Verdict))), where, took(r.Took))
	if r.Reason != "" && r.Verdict != farmspec.Pass {
		for _, l := range wrap(oneLine(r.Reason), p.t.columns()-13) {
			fmt.Fprintf(p.w, "%13s%s\n", "", l)
		}
	}
}

// draw rewrites the live line.
func (p *Progress) draw() {
	p.show(func() string {
		if len(p.waits) > 0 { // whose pace says nothing about what remains
			return p.bar() + "  " + p.counts.String() + "  " + p.waiting()
		}
		line := p.bar() + "  " + p.counts.String() + p.remaining()
		if n := len(p.running); n > 0 {
			line += "  " + oneLine(p.running[n-1].Scenario)
		}
		return line
	})
}

// Closing writes what a run came to: the claims, the AS Java rules, what did
// not pass with its reason and how to repeat it, the two verdicts, the files
// and the meaning of the exit code. No line that can be broken is longer than
// the terminal (80 columns at least), or than 100 columns.
func Closing(w io.Writer, r *farmspec.Report, t Terminal, files ...string) error {
	return closing(w, newView(r, theCatalogue()), t, files)
}

func closing(w io.Writer, v *view, t Terminal, files []string) error {
	var b bytes.Buffer
	if t.TTY {
		b.WriteString("\r\x1b[K") // what a run that was broken off may have left
	}
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	columns := max(t.columns(), 80) // narrower tables would say less than wrapped ones

	// cell is a verdict of fixed width, painted after it is padded.
	cell := func(verdict farmspec.Verdict, s string, width int) string {
		return t.paint(verdict, s+strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0)))
	}

	if rows := v.claimRows(); len(rows) > 0 {
		const column = 19 // "34 unobservable BGW", the widest
		title := columns - 3*(column+2)
		p("")
		p("%s", t.bold(fmt.Sprintf("%-*s  %-*s  %-*s  %s", title, "The 34 claims", column, "method", column, "system", "product")))
		for _, row := range rows {
			name := []rune(clip(row.name, title))
			line := string(name) + strings.Repeat(" ", title-len(name))
			for i, c := range row.cells {
				switch {
				case c != nil:
					line += "  " + cell(c.Verdict, fmt.Sprintf("%2d %-12s %s", c.Claim, word(c.Verdict), passed(c.Levels)), column)
				case forms[i] == farmspec.SystemForm:
					line += "  " + fmt.Sprintf("%-*s", column, "   in 13")
				}
			}
			p("%s", strings.TrimRight(line, " "))
		}
		for _, l := range wrap("B, G, W: a pass was seen in the black, grey, white box. A claim counts with those it depends on.", columns) {
			p("%s", l)
		}
	}

	if groups := v.ruleGroups(); len(groups) > 0 {
		const column = 16
		p("")
		p("%s", t.bold("AS Java rules"))
		for _, g := range groups {
			const label = 23
			line, used := fmt.Sprintf("%-*s", label, g.title), label
			for _, q := range g.rules {
				short := strings.TrimPrefix(q.ID, "AJ-")
				s := cell(q.Verdict, fmt.Sprintf("%s %s", short, word(q.Verdict)), column-2) + "  "
				if used+column > columns {
					p("%s", strings.TrimRight(line, " "))
					line, used = strings.Repeat(" ", label), label
				}
				line += s
				used += max(column, utf8.RuneCountInString(short+word(q.Verdict))+3)
			}
			p("%s", strings.TrimRight(line, " "))
		}
	}

	troubles := v.troubles()
	if len(troubles) > 0 {
		p("")
		p("%s", t.bold("Not passed"))
	}
	const shown = 20
	for i, x := range troubles {
		if i == shown {
			p("and %d more; the report has them all", len(troubles)-shown)
			break
		}
		p("%s %s", t.paint(x.Verdict, fmt.Sprintf("%-12s", word(x.Verdict))), oneLine(x.Name))
		for _, l := range wrap(fmt.Sprintf("%s on %s: %s", oneLine(x.Scenario), oneLine(x.Target), oneLine(cmp.Or(x.Reason, "no reason given"))), columns-13) {
			p("%13s%s", "", l)
		}
		p("%13srepeat: %s", "", oneLine(x.Repeat))
	}
	if groups := v.notRun(); len(groups) > 0 {
		p("")
		p("%s", t.bold("Not run, and so not passed"))
		for i, g := range groups {
			if i == shown {
				p("and %d more reasons", len(groups)-shown)
				break
			}
			for j, l := range wrap(fmt.Sprintf("%s: %s", count(len(g.cases), "case"), oneLine(cmp.Or(g.reason, "no reason given"))), columns-13) {
				head := ""
				if j == 0 {
					head = word(g.verdict)
				}
				p("%s %s", cell(g.verdict, head, 12), l)
			}
		}
	}

	p("")
	if !v.Run.Complete {
		for _, l := range wrap("Incomplete run: "+oneLine(cmp.Or(v.Run.Why, "it ended early")), columns) {
			p("%s", t.bold(l))
		}
	}
	for _, left := range v.Left {
		for _, l := range wrap("Not undone, mend it before the next run: "+oneLine(left), columns) {
			p("%s", l)
		}
	}
	for _, l := range wrap(fmt.Sprintf("%s in %s: %s", count(len(v.Results), "case"), took(v.Run.Took), v.caseTally()), columns) {
		p("%s", l)
	}
	for _, two := range []struct {
		name, why string
		verdict   farmspec.Verdict
	}{
		{"Claim-conformant", v.claimSentence(), v.ClaimConformant}, {"Hardened", v.hardenedSentence(), v.Hardened},
	} {
		for i, l := range wrap(two.why, columns-31) {
			if i == 0 {
				p("%s %s %s", t.bold(fmt.Sprintf("%-17s", two.name)), cell(two.verdict, strings.ToUpper(word(two.verdict)), 12), l)
			} else {
				p("%31s%s", "", l)
			}
		}
	}
	for i, f := range files {
		head := ""
		if i == 0 {
			head = "Report"
		}
		p("%-17s %s", head, f)
	}
	for i, l := range wrap(fmt.Sprintf("%d, %s", v.Exit, exitMeaning(v.Exit)), columns-18) {
		head := ""
		if i == 0 {
			head = "Exit"
		}
		p("%-17s %s", head, l)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// passed names the levels that saw a pass: "BGW", "B", "–".
func passed(by map[farmspec.Level]farmspec.Verdict) string {
	s := ""
	for _, l := range levels {
		if by[l] == farmspec.Pass {
			s += string(l)
		}
	}
	return cmp.Or(s, "–")
}
