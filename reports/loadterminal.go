package reports

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/farmspec/farmspec"
)

// LoadProgress shows a load run while it goes on: a line rewritten in place on
// a terminal, a line every few seconds otherwise. It implements
// [farmspec.LoadProgress]. Errors of the writer are ignored: progress is no result.
type LoadProgress struct {
	liveLine
	printed time.Time
}

// loadEvery is the time between two lines of a plain file.
const loadEvery = 5 * time.Second

// NewLoadProgress returns a LoadProgress.
func NewLoadProgress(w io.Writer, t Terminal) *LoadProgress {
	p := &LoadProgress{liveLine: newLiveLine(w, t)}
	p.printed = p.now()
	return p
}

// Preparing implements [farmspec.LoadProgress].
func (p *LoadProgress) Preparing(done, of int) {
	if p.began.IsZero() {
		p.began = p.now()
	}
	p.done, p.total = done, of
	if done == of {
		p.clear()
		p.began, p.printed = time.Time{}, p.now()
		fmt.Fprintf(p.w, "%d browsers are logged in\n", of)
		return
	}
	p.tell(func() string { return p.bar() + " browsers log in" + p.remaining() })
}

// Loading implements [farmspec.LoadProgress].
func (p *LoadProgress) Loading(n farmspec.LoadNow) {
	p.tell(func() string {
		const cells = 12
		filled := int(cells * min(1, float64(n.At)/float64(max(n.Until, 1))))
		at := fmt.Sprintf("%s%s %s of %s", strings.Repeat("█", filled), strings.Repeat("░", cells-filled), clock(n.At), clock(n.Until))
		if !p.t.TTY {
			at = clock(n.At) + " of " + clock(n.Until)
		}
		s := fmt.Sprintf("%s  %.0f/s of %.0f/s  p50 %s  p99 %s  busy %d/%d", at, n.Achieved, n.Asked, took(n.P50), took(n.P99), n.Busy, n.Browsers)
		for _, more := range []struct {
			n    int
			what string
		}{{n.Waiting, "waiting"}, {int(n.Missed), "missed"}, {int(n.Failed), "without answer"}} {
			if more.n > 0 {
				s += fmt.Sprintf("  %d %s", more.n, more.what)
			}
		}
		s += fmt.Sprintf("  %d wrong of %d probes", n.Wrong, n.Probes)
		if n.WarmingUp {
			s += "  warming up"
		}
		if n.Stage != "" {
			s = n.Stage + "  " + s
		}
		return s
	})
}

// Checking implements [farmspec.LoadProgress].
func (p *LoadProgress) Checking(operations int) {
	p.clear()
	if operations > 0 {
		fmt.Fprintf(p.w, "checking the history of %d operations\n", operations)
	}
}

// Close takes the live line away. It may be called at any time and twice.
func (p *LoadProgress) Close() { p.clear() }

func (p *LoadProgress) tell(line func() string) {
	if p.t.TTY {
		p.show(line)
		return
	}
	if now := p.now(); now.Sub(p.printed) >= loadEvery {
		p.printed = now
		fmt.Fprintln(p.w, line())
	}
}

// clock is minutes and seconds, "1:05".
func clock(d time.Duration) string {
	s := int(max(d, 0).Round(time.Second) / time.Second)
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// ClosingLoad writes what a load run came to: rates, latencies, outcomes by
// kind, by action and by member, the verdict on the farm's truth, the files and
// the meaning of the exit code.
func ClosingLoad(w io.Writer, r *farmspec.LoadReport, t Terminal, files ...string) error {
	s := newSheet(t)
	const head = sheetHead

	a := r.Arrivals
	s.title("Load")
	s.entry("", "Target", oneLine(r.Target.Name))
	s.entry("", "Plan", fmt.Sprintf("%s for %s after %s of warm-up; %s, %s engine, mix %s%s", r.Plan.Pacer, r.Plan.Duration, r.Plan.WarmUp, count(r.Plan.Browsers, "browser"), r.Plan.Engine, r.Plan.Mix, shards(r)))
	s.entry("", "Asked", fmt.Sprintf("%.1f/s, %s", a.AskedRate, count(int(a.Asked), "arrival")))
	s.entry("", "Achieved", fmt.Sprintf("%.1f/s, %d answered or given up, %d missed, %d began more than %v late (the latest by %s)", a.AchievedRate, a.Ended, a.Missed, a.Late, farmspec.LoadLate, took(a.LatestBegin)))
	perRequest := took(r.Traffic.CPU / time.Duration(max(r.Traffic.Requests, 1)))
	if n := r.Traffic.LoadRequests; n > 0 {
		perRequest = took(r.Traffic.LoadCPU / time.Duration(n)) // without log-ins before and checks afterwards
	}
	s.entry("", "Traffic", fmt.Sprintf("%d requests over %s, %s out, %s in, %s of CPU in this process (%s a request)", r.Traffic.Requests, count(int(r.Traffic.Connections), "connection"),
		size(r.Traffic.BytesOut), size(r.Traffic.BytesIn), took(r.Traffic.CPU), perRequest))

	s.p("")
	const cell = 10
	names := []string{"p50", "p90", "p99", "p99.9", "max", "mean"}
	line := t.bold(fmt.Sprintf("%-*s%*s", head, "Latency", cell, "count"))
	for _, n := range names {
		line += fmt.Sprintf("%*s", cell, n)
	}
	s.p("%s", line)
	row := func(label string, l farmspec.LoadLatency) {
		line := fmt.Sprintf("%-*s%*d", head, clip(label, head-1), cell, l.Count)
		for _, d := range []time.Duration{l.P50, l.P90, l.P99, l.P999, l.Max, l.Mean} {
			text := "–"
			if l.Count > 0 {
				text = short(d)
			}
			line += strings.Repeat(" ", max(0, cell-utf8.RuneCountInString(text))) + text
		}
		s.p("%s", line)
	}
	row("from intended", r.Latency)
	row("from begun", r.Service)
	for _, x := range r.Actions {
		row("  "+oneLine(x.Name), x.Latency)
	}
	for _, x := range r.Members[:min(len(r.Members), 12)] {
		row("  "+oneLine(x.Name), x.Latency)
	}
	if more := len(r.Members) - 12; more > 0 {
		s.p("  and %d more servers; %s has them all", more, LoadPageFile)
	}

	s.title("Outcomes")
	for _, o := range outcomesOf(r) {
		var by []string
		for _, x := range r.Actions {
			if n := x.Outcomes[o]; n > 0 {
				by = append(by, fmt.Sprintf("%s %d", x.Name, n))
			}
		}
		s.p("%s%*d  %s", t.paint(outcomeVerdict(o), fmt.Sprintf("%-*s", 28, clip(oneLine(o), 27))), head+cell-28, r.Outcomes[o], clip(strings.Join(by, ", "), s.columns-head-cell-2))
	}

	if len(r.Steps) > 0 {
		s.title("Search")
		for _, step := range r.Steps {
			v, why := farmspec.Pass, "within the limits"
			if !step.OK {
				v, why = farmspec.Fail, oneLine(step.Why)
			}
			s.p("%s%10.1f/s  p99 %s  %s", t.paint(v, fmt.Sprintf("%-8s", mark(v))), step.Asked, short(step.P99), why)
		}
		s.entry("", "Highest rate", highest(r))
	}

	s.p("")
	x := r.Truth
	if len(x.Violations) > 0 {
		s.p("%s", t.bold("Broken under load"))
		for i, v := range x.Violations {
			if i == 10 {
				s.p("and %d more", len(x.Violations)-10+x.MoreViolations)
				break
			}
			s.entry(farmspec.Fail, oneLine(v.Invariant), fmt.Sprintf("at %s: %s", took(v.At), oneLine(v.Text)))
		}
		s.p("")
	}
	for _, n := range r.Notes {
		s.entry("", "Note", oneLine(n))
	}
	if !r.Run.Complete {
		s.entry(farmspec.Inconclusive, "Incomplete", oneLine(cmp.Or(r.Run.Why, "it ended early"))+"; the numbers are of what there was")
	}
	s.entry(x.Verdict, "Truth under load", strings.ToUpper(word(x.Verdict))+". "+oneLine(x.Reason))
	s.files("Report", files)
	s.entry("", "Exit", fmt.Sprintf("%d, %s", r.Exit, exitMeaning(r.Exit)))
	_, err := w.Write(s.Bytes())
	return err
}

func shards(r *farmspec.LoadReport) string {
	if r.Plan.ShardsOf < 2 {
		return ""
	}
	var parts []string
	for _, i := range r.Plan.Shards {
		parts = append(parts, fmt.Sprint(i))
	}
	return fmt.Sprintf("; shard %s of %d", strings.Join(parts, ", "), r.Plan.ShardsOf)
}

// highest says what a search came to.
func highest(r *farmspec.LoadReport) string {
	best := farmspec.LoadStep{}
	for _, s := range r.Steps {
		if s.OK && s.Asked > best.Asked {
			best = s
		}
	}
	if !best.OK {
		return "none of the rates tried keeps the limits"
	}
	return fmt.Sprintf("%.1f/s keeps the limits, with p99 %s", best.Asked, short(best.P99))
}

// outcomesOf lists the outcomes of a report: those of the session management
// first, then by number.
func outcomesOf(r *farmspec.LoadReport) []string {
	known := []string{farmspec.LoadAccepted, farmspec.LoadHonest, farmspec.LoadDoubtful, farmspec.LoadWrongRefusal, farmspec.LoadWrongAccept, farmspec.LoadWrongUser, farmspec.LoadWrongState}
	rank := func(o string) int {
		if i := slices.Index(known, o); i >= 0 {
			return i
		}
		return len(known)
	}
	all := slices.Collect(maps.Keys(r.Outcomes))
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(r.Outcomes[b], r.Outcomes[a]), cmp.Compare(a, b))
	})
	return all
}

// outcomeVerdict is how an outcome is coloured.
func outcomeVerdict(o string) farmspec.Verdict {
	switch o {
	case farmspec.LoadAccepted, farmspec.LoadHonest:
		return farmspec.Pass
	case farmspec.LoadDoubtful:
		return farmspec.Inconclusive
	case farmspec.LoadWrongRefusal, farmspec.LoadWrongAccept, farmspec.LoadWrongUser, farmspec.LoadWrongState:
		return farmspec.Fail
	}
	return farmspec.Warn
}

// short shows a latency in three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < time.Millisecond:
		return digits(float64(d)/1e3) + " µs"
	case d < time.Second:
		return digits(float64(d)/1e6) + " ms"
	}
	return digits(d.Seconds()) + " s"
}

// digits shows a number with three digits, or all before the point.
func digits(f float64) string {
	switch {
	case f >= 99.95:
		return fmt.Sprintf("%.0f", f)
	case f >= 9.995:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

// size shows a number of bytes.
func size(n uint64) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		if f < 1000 {
			break
		}
		f, unit = f/1000, u
	}
	return digits(f) + " " + unit
}
