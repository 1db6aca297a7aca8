package reports

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

var (
	loadStyle    = pageStyle + mustRead("page/load.css")
	loadScript   = mustRead("page/load.js")
	loadTemplate = template.Must(template.Must(pageTemplate.Clone()).Funcs(template.FuncMap{
		"short": short, "outcomeClass": outcomeVerdict, "dash": func(l farmspec.LoadLatency, d time.Duration) string {
			if l.Count == 0 {
				return "–"
			}
			return short(d)
		},
	}).ParseFS(pageFiles, "page/load.html"))
)

type (
	loadData struct {
		*farmspec.LoadReport
		pageHead
		Facts        []pageFact
		Charts       []chart
		Farm         []chart // the farm's own numbers
		Incomplete   string
		ExitMeaning  string
		OutcomeNames []string
		Highest      string
		Kept         farmspec.Verdict // of asked against achieved
		KeptSentence string
		Rows         []loadRows
	}
	loadRows struct {
		Title string
		Rows  []farmspec.LoadRow
	}
	// chart is drawn as SVG. The script reads Data, which has what the lines
	// show, in words.
	chart struct {
		ID, Title, Intro string
		Lines            []chartLine
		X, Y             []chartTick
		Data             string
		Empty            bool
	}
	chartLine struct {
		Name, Path string
		N          int // its colour
		Dashed     bool
	}
	chartTick struct {
		At   string
		Text string
	}
	chartData struct {
		X      []float64   `json:"x"` // places, in the drawing's units
		Names  []string    `json:"names"`
		Label  []string    `json:"label"`
		Values [][]string  `json:"values"`
		Y      [][]float64 `json:"y"`
	}
)

// The drawing's units.
const (
	chartWidth, chartHeight = 1000.0, 260.0
)

// series is a line of a chart: NaN is a gap.
type series struct {
	name   string
	values []float64
	dashed bool
}

// drawing is what newChart draws.
type drawing struct {
	id, title, intro string
	x                []float64 // ascending
	xLabel           func(float64) string
	xTicks           []float64
	xTickLabel       func(float64) string
	lines            []series
	log              bool
	value            func(float64) string
}

func newChart(d drawing) chart {
	c := chart{ID: d.id, Title: d.title, Intro: d.intro, Empty: true}
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range d.lines {
		for _, v := range l.values {
			if !math.IsNaN(v) && (!d.log || v > 0) {
				low, high, c.Empty = min(low, v), max(high, v), false
			}
		}
	}
	if c.Empty || len(d.x) == 0 {
		return c
	}
	var ticks []float64
	if d.log {
		from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
		if from == to {
			to++
		}
		low, high = math.Pow(10, from), math.Pow(10, to)
		for e := from; e <= to; e++ {
			ticks = append(ticks, math.Pow(10, e))
		}
	} else {
		low = 0
		step := niceStep(high / 4)
		high = max(step, math.Ceil(high/step)*step)
		for v := 0.0; v <= high*1.001; v += step {
			ticks = append(ticks, v)
		}
	}
	y := func(v float64) float64 {
		if d.log {
			return chartHeight * (1 - math.Log10(v/low)/math.Log10(high/low))
		}
		return chartHeight * (1 - v/high)
	}
	first, last := d.x[0], d.x[len(d.x)-1]
	x := func(v float64) float64 {
		if first == last {
			return chartWidth / 2
		}
		return chartWidth * (v - first) / (last - first)
	}
	for _, v := range ticks {
		c.Y = append(c.Y, chartTick{f1(y(v)), d.value(v)})
	}
	for _, v := range d.xTicks {
		if v >= first && v <= last {
			c.X = append(c.X, chartTick{f1(x(v)), d.xTickLabel(v)})
		}
	}
	data := chartData{}
	for _, v := range d.x {
		data.X, data.Label = append(data.X, round1(x(v))), append(data.Label, d.xLabel(v))
	}
	for n, l := range d.lines {
		var path strings.Builder
		pen := false
		words, places := make([]string, len(l.values)), make([]float64, len(l.values))
		for i, v := range l.values {
			if math.IsNaN(v) || d.log && v <= 0 {
				pen, places[i] = false, -1
				continue
			}
			words[i], places[i] = d.value(v), round1(y(v))
			command := byte('M')
			if pen {
				command = 'L'
			}
			fmt.Fprintf(&path, "%c%s %s", command, f1(x(d.x[i])), f1(y(v)))
			if !pen && (i+1 == len(l.values) || math.IsNaN(l.values[i+1])) {
				path.WriteString("h.1") // a point on its own
			}
			pen = true
		}
		c.Lines = append(c.Lines, chartLine{l.name, path.String(), n, l.dashed})
		data.Names, data.Values, data.Y = append(data.Names, l.name), append(data.Values, words), append(data.Y, places)
	}
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // numbers and strings
	}
	c.Data = string(text)
	return c
}

func f1(v float64) string      { return fmt.Sprintf("%.1f", v) }
func round1(v float64) float64 { return math.Round(v*10) / 10 }
func nanos(v float64) string   { return short(time.Duration(v)) }
func perSec(v float64) string  { return digits(v) + "/s" }

func number(v float64) string { return fmt.Sprintf("%.0f", v) }

// atSecond shows an instant of a run, "1:05" or "1:05.4".
func atSecond(v float64) string {
	d := time.Duration(math.Round(v*10)) * time.Second / 10
	text := clock(d.Truncate(time.Second))
	if tenth := d % time.Second; tenth > 0 {
		text += fmt.Sprintf(".%d", tenth*10/time.Second)
	}
	return text
}

// niceStep is the next of 1, 2 and 5 times a power of ten.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*p {
			return m * p
		}
	}
	return 10 * p
}

// timeTicks are round instants from 0 to end, in seconds.
func timeTicks(end float64) (ticks []float64) {
	step := niceStep(end / 8)
	if end > 90 {
		step = math.Ceil(end/8/15) * 15
	}
	step = max(step, 1)
	for v := 0.0; v <= end; v += step {
		ticks = append(ticks, v)
	}
	return ticks
}

func loadCharts(r *farmspec.LoadReport) []chart {
	var at []float64
	var p50, p90, p99, longest, asked, ended, missed, refused, wrong, troubled []float64
	gap := func(l farmspec.LoadLatency, d time.Duration) float64 {
		if l.Count == 0 {
			return math.NaN()
		}
		return float64(d)
	}
	for _, i := range r.Intervals {
		at = append(at, i.At.Seconds())
		p50, p90 = append(p50, gap(i.Latency, i.Latency.P50)), append(p90, gap(i.Latency, i.Latency.P90))
		p99, longest = append(p99, gap(i.Latency, i.Latency.P99)), append(longest, gap(i.Latency, i.Latency.Max))
		per := i.Length.Seconds()
		asked, ended = append(asked, float64(i.Asked)/per), append(ended, float64(i.Ended)/per)
		missed = append(missed, float64(i.Missed)/per)
		var honest, bad, none float64
		for o, n := range i.Outcomes {
			switch outcomeVerdict(o) {
			case farmspec.Pass, farmspec.Inconclusive:
				if o != farmspec.LoadAccepted {
					honest += float64(n)
				}
			case farmspec.Fail:
				bad += float64(n)
			default:
				none += float64(n)
			}
		}
		refused, wrong, troubled = append(refused, honest), append(wrong, bad), append(troubled, none)
	}
	end := 0.0
	if len(at) > 0 {
		end = at[len(at)-1]
	}
	over := drawing{x: at, xLabel: atSecond, xTicks: timeTicks(end), xTickLabel: atSecond}
	latency, rates, outcomes := over, over, over
	latency.id, latency.title, latency.log, latency.value = "over-time", "Latency over time", true, nanos
	latency.intro = "By when a page view was due, warm-up included. It counts from the intended start."
	latency.lines = []series{{name: "p50", values: p50}, {name: "p90", values: p90}, {name: "p99", values: p99}, {name: "longest", values: longest, dashed: true}}
	rates.id, rates.title, rates.value = "rates", "Rate asked and achieved", perSec
	rates.intro = "Arrivals that were due, arrivals that ended, and arrivals that found no browser."
	rates.lines = []series{{name: "asked", values: asked, dashed: true}, {name: "achieved", values: ended}, {name: "missed", values: missed}}
	outcomes.id, outcomes.title, outcomes.value = "refusals", "Not served", number
	outcomes.intro = "Page views that were not accepted: refused as they had to be, judged wrongly by the farm, or without an answer."
	outcomes.lines = []series{{name: "honest or doubtful refusal", values: refused}, {name: "wrong", values: wrong}, {name: "no answer", values: troubled}}

	// HdrHistogram's axis: each step has half of what is beyond the one before.
	curve := drawing{id: "percentiles", title: "Latency by percentile", log: true, value: nanos,
		intro: "From the intended start, and, beside it, from when a browser was free to begin: the gap is time spent waiting for one."}
	axis := func(q float64) float64 { return -math.Log2(max(1-q, 1e-12)) }
	percent := func(x float64) string {
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.5f", 100*(1-math.Pow(2, -x))), "0"), ".") + " %"
	}
	curve.xLabel, curve.xTickLabel = percent, percent
	var both [2]series
	for n, l := range []farmspec.LoadLatency{r.Latency, r.Service} {
		both[n].name = []string{"from intended start", "from begin"}[n]
		for i, p := range l.Curve {
			if n == 0 {
				curve.x = append(curve.x, axis(p.Quantile))
			} else if i >= len(curve.x) {
				break
			}
			both[n].values = append(both[n].values, float64(p.At))
		}
	}
	for len(both[1].values) < len(curve.x) {
		both[1].values = append(both[1].values, math.NaN())
	}
	both[1].dashed = true
	curve.lines = both[:]
	for _, q := range []float64{0, .5, .9, .99, .999, .9999, .99999} {
		curve.xTicks = append(curve.xTicks, axis(q))
	}
	return []chart{newChart(latency), newChart(curve), newChart(rates), newChart(outcomes)}
}

// farmCharts draws the farm's own numbers, each in a chart of its own: counters
// by their growth per second.
func farmCharts(r *farmspec.LoadReport) (charts []chart) {
	for i, m := range r.Metrics {
		d := drawing{id: fmt.Sprintf("farm-%d", i), title: m.Name, xLabel: atSecond, xTickLabel: atSecond, value: quantity}
		var values []float64
		for n := range m.Values {
			v, at := m.Values[n], m.At[n]
			if m.Counter {
				if n == 0 {
					continue
				}
				took := (at - m.At[n-1]).Seconds()
				if v -= m.Values[n-1]; v < 0 || took <= 0 {
					v = math.NaN() // the part that counts has begun anew
				} else {
					v /= took
				}
			}
			d.x, values = append(d.x, at.Seconds()), append(values, v)
		}
		if m.Counter {
			d.intro, d.value = "per second", func(v float64) string { return quantity(v) + "/s" }
		}
		if len(d.x) > 0 {
			d.xTicks = timeTicks(d.x[len(d.x)-1])
		}
		d.lines = []series{{name: m.Name, values: values}}
		charts = append(charts, newChart(d))
	}
	return charts
}

// quantity shows a number of any size in few letters.
func quantity(v float64) string {
	unit := 0
	for ; math.Abs(v) >= 10_000 && unit < 4; unit++ {
		v /= 1000
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".") + []string{"", "k", "M", "G", "T"}[unit]
}

// loadPage renders load.html: static, self-contained and without network.
func loadPage(r *farmspec.LoadReport) ([]byte, error) {
	d := loadData{LoadReport: r, pageHead: newPageHead("Load on "+r.Target.Name, loadStyle, loadScript),
		Charts: loadCharts(r), Farm: farmCharts(r), ExitMeaning: exitMeaning(r.Exit), OutcomeNames: outcomesOf(r)}
	if !r.Run.Complete {
		d.Incomplete = cmp.Or(oneLine(r.Run.Why), "it ended early")
	}
	if len(r.Steps) > 0 {
		d.Highest = highest(r)
	}
	a := r.Arrivals
	d.Kept = farmspec.Pass
	switch {
	case a.Missed > 0 || a.AchievedRate < 0.95*a.AskedRate:
		d.Kept = farmspec.Fail
	case a.Late > a.Asked/100:
		d.Kept = farmspec.Warn
	}
	d.KeptSentence = fmt.Sprintf("Of %s asked for, %d ended and %d were missed; %d began more than %v late, the latest by %s.",
		count(int(a.Asked), "arrival"), a.Ended, a.Missed, a.Late, farmspec.LoadLate, short(a.LatestBegin))
	d.Rows = []loadRows{{"Action", r.Actions}, {"Server", r.Members}}
	for _, f := range []pageFact{
		{Name: "Command", Value: oneLine(r.Run.Command), Code: true},
		{Name: "Target", Value: oneLine(r.Target.Name)},
		{Name: "Began", Value: r.Run.Started.UTC().Format("2006-01-02 15:04:05 UTC")},
		{Name: "Took", Value: took(r.Run.Took)},
		{Name: "Pacer", Value: r.Plan.Pacer},
		{Name: "Duration", Value: fmt.Sprintf("%v after %v of warm-up", r.Plan.Duration, r.Plan.WarmUp)},
		{Name: "Browsers", Value: fmt.Sprint(r.Plan.Browsers) + shards(r)},
		{Name: "Mix", Value: r.Plan.Mix},
		{Name: "Think time", Value: r.Plan.Think.String()},
		{Name: "Engine", Value: r.Plan.Engine},
		{Name: "Requests", Value: fmt.Sprintf("%d over %s", r.Traffic.Requests, count(int(r.Traffic.Connections), "connection"))},
		{Name: "Bytes", Value: size(r.Traffic.BytesOut) + " out, " + size(r.Traffic.BytesIn) + " in"},
		{Name: "CPU of this process", Value: took(r.Traffic.CPU)},
		{Name: "Seed", Value: fmt.Sprint(r.Run.Seed)},
		{Name: "farmspec", Value: oneLine(strings.TrimSpace(r.Tool.Version + " " + clip(r.Tool.Commit, 12)))},
	} {
		if f.Value != "" {
			d.Facts = append(d.Facts, f)
		}
	}
	var b bytes.Buffer
	if err := loadTemplate.ExecuteTemplate(&b, "load.html", d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
