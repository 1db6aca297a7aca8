package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/farmspec/farmspec"
)

// LoadComparisonSchema is the version of a load comparison's JSON form.
const LoadComparisonSchema = "farmspec.load-comparison/v1"

// LoadRounds are the load reports of one implementation: rounds of one plan,
// which differ in their seeds at most.
type LoadRounds struct {
	// Source is where they were read from.
	Source string
	Rounds []*farmspec.LoadReport
}

// LoadComparison sets loads of one plan side by side. The first is the one that
// the others are compared with.
type LoadComparison struct {
	Schema string              `json:"schema"`
	Plan   farmspec.LoadPlan   `json:"plan"`
	Loads  []ComparedLoad      `json:"loads"`
	Rows   []LoadComparisonRow `json:"rows"`
	// Method says how the confidence intervals were made.
	Method string `json:"method"`
	// Warnings say what makes the loads less alike than their plans.
	Warnings []string `json:"warnings,omitempty"`
}

// ComparedLoad is one implementation.
type ComparedLoad struct {
	// Label is A, B and so on.
	Label  string           `json:"label"`
	Source string           `json:"source"`
	Name   string           `json:"name"`
	Rounds int              `json:"rounds"`
	Truth  farmspec.Verdict `json:"truth"`
	// Parts is how many intervals there are to draw from.
	Parts int `json:"parts"`
}

// LoadComparisonRow is one number.
type LoadComparisonRow struct {
	// Name says what it is; Unit is "ns", "1/s" or "share".
	Name  string     `json:"name"`
	Unit  string     `json:"unit"`
	Cells []LoadCell `json:"cells"`
}

// LoadCell is one number of one load.
type LoadCell struct {
	Value float64 `json:"value"`
	// Ratio is Value by that of the first load, and Low and High bound it with
	// 95 % confidence. All are null where the first has zero, and for the first.
	Ratio *float64 `json:"ratio"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
	// Differs says that 1 is not within the bounds.
	Differs bool `json:"differs"`
}

const (
	// resamples is how many times numbers are drawn anew.
	resamples = 2000
	// fewestParts is how few intervals tell nothing about their own spread.
	fewestParts = 10
	// enoughRounds is from how many rounds on they are what is drawn, because
	// what differs between two runs is not seen within one.
	enoughRounds = 6
)

// CompareLoads compares loads of one plan. The error says in what plans
// differ, or that a load is too short to tell.
func CompareLoads(loads ...LoadRounds) (*LoadComparison, error) {
	c, err := compareLoads(loads)
	if err != nil {
		return nil, fmt.Errorf("compare loads: %w", err)
	}
	return c, nil
}

func compareLoads(loads []LoadRounds) (*LoadComparison, error) {
	if len(loads) < 2 {
		return nil, errors.New("it takes two or more")
	}
	first := loads[0].Rounds[0]
	c := &LoadComparison{Schema: LoadComparisonSchema, Plan: first.Plan}
	var all []*sample
	byRounds := true
	for i, l := range loads {
		s, err := newSample(first, l)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		x := ComparedLoad{Label: string(rune('A' + i)), Source: l.Source, Name: l.Rounds[0].Target.Name, Rounds: len(l.Rounds), Truth: farmspec.Pass, Parts: s.parts()}
		byRounds = byRounds && len(l.Rounds) >= enoughRounds
		for _, r := range l.Rounds {
			if x.Truth == farmspec.Pass {
				x.Truth = r.Truth.Verdict
			}
			if !r.Run.Complete {
				c.Warnings = append(c.Warnings, fmt.Sprintf("%s has an incomplete round: %s.", x.Label, r.Run.Why))
			}
			if n := r.Arrivals.Missed; n > 0 {
				c.Warnings = append(c.Warnings, fmt.Sprintf("%s missed %d arrivals in a round; latencies are without them.", x.Label, n))
			}
		}
		if x.Truth != farmspec.Pass {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s did not pass the truth under load: what it did fast may have been wrong.", x.Label))
		}
		c.Loads = append(c.Loads, x)
	}
	c.Method = fmt.Sprintf("Bounds hold with 95 %% confidence, from %d draws of blocks of consecutive intervals; what differs between two runs, and not within one, takes %d rounds of each.", resamples, enoughRounds)
	if byRounds {
		c.Method = fmt.Sprintf("Bounds hold with 95 %% confidence, from %d draws of whole rounds.", resamples)
	}
	c.Rows = rowsOf(all, byRounds)
	return c, nil
}

// samePlanAs names the first thing in which a plan differs from another, "" if
// only in the seed.
func samePlanAs(p, q farmspec.LoadPlan) string {
	for _, d := range []struct {
		what string
		a, b any
	}{
		{"engine", p.Engine, q.Engine}, {"pacer", p.Pacer, q.Pacer}, {"browsers", p.Browsers, q.Browsers}, {"duration", p.Duration, q.Duration},
		{"warm-up", p.WarmUp, q.WarmUp}, {"mix", p.Mix, q.Mix}, {"think time", p.Think, q.Think}, {"connections", p.Connections, q.Connections},
		{"probes", p.Probe, q.Probe}, {"shards", fmt.Sprint(p.Shards, " of ", p.ShardsOf), fmt.Sprint(q.Shards, " of ", q.ShardsOf)},
	} {
		if d.a != d.b {
			return fmt.Sprintf("%s %v and not %v", d.what, d.b, d.a)
		}
	}
	return ""
}

// sample is what a load's numbers are drawn from.
type sample struct {
	rounds [][]part
	// whole is the latency with all its digits, of all rounds.
	whole *hdrhistogram.Histogram
}

// part is an interval.
type part struct {
	latencies            []hdrhistogram.Bar // without those that are empty
	at                   []int              // the place of each among all there are
	ended, asked, served float64            // answers per second; arrivals
}

func (s *sample) parts() (n int) {
	for _, r := range s.rounds {
		n += len(r)
	}
	return n
}

func newSample(first *farmspec.LoadReport, l LoadRounds) (*sample, error) {
	s := &sample{}
	for _, r := range l.Rounds {
		if len(r.Steps) > 0 {
			return nil, fmt.Errorf("%s is a search for the highest rate, whose steps differ from run to run", l.Source)
		}
		if d := samePlanAs(first.Plan, r.Plan); d != "" {
			return nil, fmt.Errorf("%s is of another plan: %s; loads of one plan only can be compared", l.Source, d)
		}
		if r.Target.Name != l.Rounds[0].Target.Name {
			return nil, fmt.Errorf("the rounds of %s are of two targets: %s and %s", l.Source, l.Rounds[0].Target.Name, r.Target.Name)
		}
		h, err := hdrhistogram.Decode([]byte(r.Latency.HDR))
		if err != nil {
			return nil, fmt.Errorf("%s has no latency that can be read: %w", l.Source, err)
		}
		if s.whole == nil {
			s.whole = h
		} else if lost := s.whole.Merge(h); lost > 0 {
			return nil, fmt.Errorf("%s: %d latencies do not fit those of the round before", l.Source, lost)
		}
		var parts []part
		for _, in := range r.Intervals {
			if in.At < r.Plan.WarmUp || in.At+in.Length > r.Plan.WarmUp+r.Plan.Duration || in.Asked == 0 {
				continue
			}
			p := part{ended: float64(in.Ended) / in.Length.Seconds(), asked: float64(in.Asked), served: float64(in.Outcomes[farmspec.LoadAccepted] + in.Outcomes[farmspec.LoadHonest])}
			if in.Latency.HDR != "" {
				h, err := hdrhistogram.Decode([]byte(in.Latency.HDR))
				if err != nil {
					return nil, fmt.Errorf("%s: the interval at %v cannot be read: %w", l.Source, in.At, err)
				}
				p.latencies = slices.DeleteFunc(h.Distribution(), func(b hdrhistogram.Bar) bool { return b.Count == 0 })
			}
			parts = append(parts, p)
		}
		if len(parts) < fewestParts {
			return nil, fmt.Errorf("%s has %d intervals after its warm-up, and it takes %d to tell how much they vary; load for a longer time", l.Source, len(parts), fewestParts)
		}
		s.rounds = append(s.rounds, parts)
	}
	return s, nil
}

// draw returns as many parts again, with repetitions: whole rounds, or blocks
// of consecutive parts, since what happens in one is felt in the next.
func (s *sample) draw(random *rand.Rand, byRounds bool) (drawn []*part) {
	for range s.rounds {
		r := s.rounds[random.IntN(len(s.rounds))]
		block := max(1, int(math.Cbrt(float64(len(r)))+.5))
		if byRounds {
			block = len(r)
		}
		for taken := 0; taken < len(r); {
			at := 0
			if !byRounds {
				at = random.IntN(len(r))
			}
			for i := 0; i < block && taken < len(r); i++ {
				drawn = append(drawn, &r[(at+i)%len(r)])
				taken++
			}
		}
	}
	return drawn
}

func (s *sample) everything() (all []*part) {
	for _, r := range s.rounds {
		for i := range r {
			all = append(all, &r[i])
		}
	}
	return all
}

// scale is every latency that occurs, in order.
type scale []int64

func newScale(all []*sample) (s scale) {
	for _, x := range all {
		for _, p := range x.everything() {
			for _, b := range p.latencies {
				s = append(s, b.To)
			}
		}
	}
	slices.Sort(s)
	s = slices.Compact(s)
	for _, x := range all {
		for _, p := range x.everything() {
			for _, b := range p.latencies {
				at, _ := slices.BinarySearch(s, b.To)
				p.at = append(p.at, at)
			}
		}
	}
	return s
}

// numbers are the rows' values of some parts.
func (s scale) numbers(parts []*part) (values [7]float64) {
	counts := make([]int64, len(s))
	var total, sum, asked, served float64
	for _, p := range parts {
		for i, b := range p.latencies {
			counts[p.at[i]] += b.Count
			total += float64(b.Count)
			sum += float64(b.Count) * float64(b.From+b.To) / 2
		}
		values[5] += p.ended / float64(len(parts))
		asked, served = asked+p.asked, served+p.served
	}
	values[0] = sum / max(total, 1)
	seen, next := 0.0, 0
	for i, n := range counts {
		seen += float64(n)
		for ; next < len(quantiles) && n > 0 && seen >= quantiles[next]*total; next++ {
			values[1+next] = float64(s[i])
		}
	}
	values[6] = 1 - served/max(asked, 1)
	return values
}

var (
	quantiles     = [4]float64{.5, .9, .99, .999}
	loadRowNames  = [7]string{"latency, mean", "latency, p50", "latency, p90", "latency, p99", "latency, p99.9", "achieved", "not served"}
	loadRowUnits  = [7]string{"ns", "ns", "ns", "ns", "ns", "1/s", "share"}
	loadFewForRow = [7]float64{1, 10, 50, 500, 5000, 1, 1} // latencies below which a row says nothing
)

func rowsOf(all []*sample, byRounds bool) []LoadComparisonRow {
	scale := newScale(all)
	exact := make([][7]float64, len(all))
	fewest := math.Inf(1)
	for i, s := range all {
		exact[i] = scale.numbers(s.everything())
		exact[i][0] = s.whole.Mean()
		for q := range quantiles {
			exact[i][1+q] = float64(s.whole.ValueAtPercentile(100 * quantiles[q]))
		}
		fewest = min(fewest, float64(s.whole.TotalCount()))
	}
	// The same draws whenever the same reports are compared.
	random := rand.New(rand.NewPCG(1, 1))
	ratios := make([][7][]float64, len(all))
	for range resamples {
		base := scale.numbers(all[0].draw(random, byRounds))
		for i, s := range all[1:] {
			drawn := scale.numbers(s.draw(random, byRounds))
			for row := range drawn {
				if base[row] > 0 {
					ratios[i+1][row] = append(ratios[i+1][row], drawn[row]/base[row])
				}
			}
		}
	}
	var rows []LoadComparisonRow
	for n := range loadRowNames {
		if fewest < loadFewForRow[n] {
			continue
		}
		row := LoadComparisonRow{Name: loadRowNames[n], Unit: loadRowUnits[n]}
		for i := range all {
			cell := LoadCell{Value: exact[i][n]}
			if draws := ratios[i][n]; len(draws) == resamples && exact[0][n] > 0 {
				slices.Sort(draws)
				ratio, low, high := exact[i][n]/exact[0][n], draws[resamples/40], draws[resamples-resamples/40-1]
				// Draws have two digits of the latencies, the ratio three.
				low, high = min(low, ratio), max(high, ratio)
				cell.Ratio, cell.Low, cell.High = &ratio, &low, &high
				cell.Differs = low > 1 || high < 1
			}
			row.Cells = append(row.Cells, cell)
		}
		rows = append(rows, row)
	}
	return rows
}

// Differs reports whether any number of any load does.
func (c *LoadComparison) Differs() bool {
	return slices.ContainsFunc(c.Rows, func(r LoadComparisonRow) bool {
		return slices.ContainsFunc(r.Cells, func(cell LoadCell) bool { return cell.Differs })
	})
}

// text shows a value in its unit.
func (r *LoadComparisonRow) text(c LoadCell) string {
	switch r.Unit {
	case "ns":
		return short(time.Duration(c.Value))
	case "share":
		return fmt.Sprintf("%.3g %%", 100*c.Value)
	}
	return perSec(c.Value)
}

// text shows a ratio with its bounds, "" where there is none.
func (c LoadCell) text() string {
	if c.Ratio == nil {
		return ""
	}
	return fmt.Sprintf("%.3f (%.3f to %.3f)", *c.Ratio, *c.Low, *c.High)
}

// JSON renders the comparison for machines.
func (c *LoadComparison) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return nil, fmt.Errorf("render comparison: %w", err)
	}
	return append(text, '\n'), nil
}

// plan says in one line what all loads were.
func (c *LoadComparison) plan() string {
	p := c.Plan
	return fmt.Sprintf("%s for %v after %v of warm-up, %d browsers, engine %s, mix %s", p.Pacer, p.Duration, p.WarmUp, p.Browsers, p.Engine, p.Mix)
}

// Markdown renders the comparison as a section.
func (c *LoadComparison) Markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Loads compared\n\n%s.\n\n", c.plan())
	for _, l := range c.Loads {
		fmt.Fprintf(&b, "- **%s** %s, %s, truth under load: %s\n", l.Label, markdown(l.Name), count(l.Rounds, "round"), word(l.Truth))
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(&b, "\n> %s\n", markdown(w))
	}
	b.WriteString("\n| |")
	for i, l := range c.Loads {
		fmt.Fprintf(&b, " %s |", l.Label)
		if i > 0 {
			fmt.Fprintf(&b, " %s : A |", l.Label)
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", 2*len(c.Loads)-1) + "\n")
	for _, r := range c.Rows {
		fmt.Fprintf(&b, "| %s |", r.Name)
		for i, cell := range r.Cells {
			fmt.Fprintf(&b, " %s |", r.text(cell))
			if ratio := cell.text(); i > 0 && cell.Differs {
				fmt.Fprintf(&b, " **%s** |", ratio)
			} else if i > 0 {
				fmt.Fprintf(&b, " %s |", ratio)
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%s In bold: it differs.\n", c.Method)
	return b.Bytes()
}

// Table writes the comparison for a terminal.
func (c *LoadComparison) Table(w io.Writer, t Terminal) error {
	var b bytes.Buffer
	for _, l := range c.Loads {
		fmt.Fprintf(&b, "%s  truth under load %s, %s\n   %s\n", t.bold(l.Label+"  "+l.Name), t.paint(l.Truth, word(l.Truth)), count(l.Rounds, "round"), l.Source)
	}
	for _, text := range append([]string{c.plan() + "."}, c.Warnings...) {
		for _, line := range wrap(text, t.columns()-3) {
			fmt.Fprintf(&b, "   %s\n", line)
		}
	}
	fmt.Fprintf(&b, "\n%-16s", "")
	for i, l := range c.Loads {
		fmt.Fprintf(&b, "%10s", l.Label)
		if i > 0 {
			fmt.Fprintf(&b, "  %-24s", l.Label+" : A")
		}
	}
	b.WriteString("\n")
	for _, r := range c.Rows {
		fmt.Fprintf(&b, "%-16s", r.Name)
		for i, cell := range r.Cells {
			fmt.Fprintf(&b, "%10s", r.text(cell))
			if i > 0 {
				ratio := fmt.Sprintf("  %-24s", cell.text())
				if cell.Differs {
					ratio = t.bold(ratio)
				}
				b.WriteString(ratio)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, line := range wrap(c.Method, t.columns()) {
		fmt.Fprintln(&b, line)
	}
	_, err := w.Write(b.Bytes())
	return err
}
