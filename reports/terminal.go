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
	s := newSheet(t)
	s.claims(v)
	s.rules(v)
	s.troubles(v)
	s.notRun(v)
	s.p("")
	if !v.Run.Complete {
		for _, l := range wrap("Incomplete run: "+oneLine(cmp.Or(v.Run.Why, "it ended early")), s.columns) {
			s.p("%s", t.bold(l))
		}
	}
	for _, left := range v.Left {
		s.beside("", "", "Not undone, mend it before the next run: "+oneLine(left))
	}
	s.beside("", "", fmt.Sprintf("%s in %s: %s", count(len(v.Results), "case"), took(v.Run.Took), v.caseTally()))
	for _, two := range []struct {
		name, why string
		verdict   farmspec.Verdict
	}{
		{"Claim-conformant", v.claimSentence(), v.ClaimConformant}, {"Hardened", v.hardenedSentence(), v.Hardened},
	} {
		s.beside(t.bold(fmt.Sprintf("%-17s", two.name))+" "+s.cell(two.verdict, strings.ToUpper(word(two.verdict)), 12)+" ", strings.Repeat(" ", 31), two.why)
	}
	s.files("Report", files)
	s.entry("", "Exit", fmt.Sprintf("%d, %s", v.Exit, exitMeaning(v.Exit)))
	_, err := w.Write(s.Bytes())
	return err
}

// sheet is a text for a terminal.
type sheet struct {
	bytes.Buffer
	t       Terminal
	columns int
}

func newSheet(t Terminal) *sheet {
	s := &sheet{t: t, columns: max(t.columns(), 80)} // narrower tables would say less than wrapped ones
	if t.TTY {
		s.WriteString("\r\x1b[K") // what a run that was broken off may have left
	}
	return s
}

// p adds a line.
func (s *sheet) p(format string, args ...any) {
	s.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// title begins a section.
func (s *sheet) title(text string) {
	s.p("")
	s.p("%s", s.t.bold(text))
}

// cell is a verdict of fixed width, painted after it is padded.
func (s *sheet) cell(v farmspec.Verdict, text string, width int) string {
	return s.t.paint(v, text+strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0)))
}

// beside wraps a text beside what stands before its first line, and before the
// rest of them: blanks, as wide as that is.
func (s *sheet) beside(first, rest, text string) {
	for i, l := range wrap(text, s.columns-len(rest)) {
		if i > 0 {
			first = rest
		}
		s.p("%s%s", first, l)
	}
}

// sheetHead is the width of the labels of entries.
const sheetHead = 18

// entry wraps a text beside a label, which a verdict paints.
func (s *sheet) entry(v farmspec.Verdict, label, text string) {
	first := clip(label, sheetHead-1)
	first += strings.Repeat(" ", sheetHead-utf8.RuneCountInString(first))
	if v != "" && label != "" {
		first = s.t.paint(v, first)
	}
	if text == "" {
		s.p("%s", first)
	}
	s.beside(first, strings.Repeat(" ", sheetHead), text)
}

// files lists files, whose names are never broken.
func (s *sheet) files(label string, files []string) {
	for _, f := range files {
		s.p("%-*s%s", sheetHead, label, f)
		label = ""
	}
}

func (s *sheet) claims(v *view) {
	rows := v.claimRows()
	if len(rows) == 0 {
		return
	}
	const column = 19 // "34 unobservable BGW", the widest
	title := s.columns - 3*(column+2)
	s.title(fmt.Sprintf("%-*s  %-*s  %-*s  %s", title, "The 34 claims", column, "method", column, "system", "product"))
	for _, row := range rows {
		name := []rune(clip(row.name, title))
		line := string(name) + strings.Repeat(" ", title-len(name))
		for i, c := range row.cells {
			switch {
			case c != nil:
				line += "  " + s.cell(c.Verdict, fmt.Sprintf("%2d %-12s %s", c.Claim, word(c.Verdict), passed(c.Levels)), column)
			case forms[i] == farmspec.SystemForm:
				line += "  " + fmt.Sprintf("%-*s", column, "   in 13")
			}
		}
		s.p("%s", line)
	}
	s.beside("", "", "B, G, W: a pass was seen in the black, grey, white box. A claim counts with those it depends on.")
}

func (s *sheet) rules(v *view) {
	groups := v.ruleGroups()
	if len(groups) == 0 {
		return
	}
	s.title("AS Java rules")
	const label, column = 23, 16
	for _, g := range groups {
		line, used := fmt.Sprintf("%-*s", label, g.title), label
		for _, q := range g.rules {
			short := strings.TrimPrefix(q.ID, "AJ-")
			if used+column > s.columns {
				s.p("%s", line)
				line, used = strings.Repeat(" ", label), label
			}
			line += s.cell(q.Verdict, short+" "+word(q.Verdict), column-2) + "  "
			used += max(column, utf8.RuneCountInString(short+word(q.Verdict))+3)
		}
		s.p("%s", line)
	}
}

const (
	mostShown = 20
	indented  = "             " // below the words of a verdict
)

func (s *sheet) troubles(v *view) {
	all := v.troubles()
	if len(all) > 0 {
		s.title("Not passed")
	}
	for i, x := range all {
		if i == mostShown {
			s.p("and %d more; the report has them all", len(all)-mostShown)
			break
		}
		s.p("%s %s", s.t.paint(x.Verdict, fmt.Sprintf("%-12s", word(x.Verdict))), oneLine(x.Name))
		s.beside(indented, indented, fmt.Sprintf("%s on %s: %s", oneLine(x.Scenario), oneLine(x.Target), oneLine(cmp.Or(x.Reason, "no reason given"))))
		s.p("%srepeat: %s", indented, oneLine(x.Repeat))
	}
}

func (s *sheet) notRun(v *view) {
	groups := v.notRun()
	if len(groups) > 0 {
		s.title("Not run, and so not passed")
	}
	for i, g := range groups {
		if i == mostShown {
			s.p("and %d more reasons", len(groups)-mostShown)
			break
		}
		s.beside(s.cell(g.verdict, word(g.verdict), 12)+" ", indented, fmt.Sprintf("%s: %s", count(len(g.cases), "case"), oneLine(cmp.Or(g.reason, "no reason given"))))
	}
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
