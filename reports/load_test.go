package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec"
)

// latencies sums some values up as a load does.
func latencies(t testing.TB, values ...time.Duration) farmspec.LoadLatency {
	t.Helper()
	h := hdrhistogram.New(1000, int64(time.Hour), 3)
	for _, v := range values {
		if err := h.RecordValue(int64(v)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	at := func(p float64) time.Duration { return time.Duration(h.ValueAtPercentile(p)) }
	return farmspec.LoadLatency{Count: uint64(len(values)), Mean: time.Duration(h.Mean()), Min: time.Duration(h.Min()), Max: time.Duration(h.Max()),
		P50: at(50), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9), P9999: at(99.99), HDR: string(text),
		Curve: []farmspec.LoadPoint{{Quantile: 0, At: at(0)}, {Quantile: 0.5, At: at(50)}, {Quantile: 0.9, At: at(90)}, {Quantile: 0.99, At: at(99)}}}
}

// loadReport is of a farm that accepted a spent token once.
func loadReport(t testing.TB) *farmspec.LoadReport {
	l := latencies(t, time.Millisecond, 2*time.Millisecond, 2100*time.Microsecond, 40*time.Millisecond)
	r := &farmspec.LoadReport{
		Schema: farmspec.LoadSchema, Tool: farmspec.Tool{Version: "devel"},
		Target: farmspec.TargetInfo{Name: "reference/<b>sealed</b>", Product: "farm", Handoff: farmspec.Sealed, Rotation: farmspec.Strict, Topology: farmspec.SharedDomain, Replay: farmspec.Reject},
		Plan:   farmspec.LoadPlan{Engine: "vegeta", Pacer: "constant 2/s", Browsers: 3, Duration: 2 * time.Second, Mix: "view=1", Connections: "keep", Probe: 0.1, Seed: 7, Shards: []int{1}, ShardsOf: 1},
		Run:    farmspec.Run{Started: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Took: 2 * time.Second, Seed: 7, Command: "farmspec load --rate 2", Complete: true},
		Arrivals: farmspec.LoadArrivals{Asked: 5, Begun: 4, Ended: 4, Missed: 1, Late: 1, LatestBegin: 30 * time.Millisecond,
			AskedRate: 2.5, AchievedRate: 2},
		Latency: l, Service: l, Outcomes: map[string]uint64{farmspec.LoadAccepted: 2, farmspec.LoadWrongAccept: 1, "timed out": 1},
		Actions: []farmspec.LoadRow{{Name: "view", Count: 4, Outcomes: map[string]uint64{farmspec.LoadAccepted: 2, farmspec.LoadWrongAccept: 1, "timed out": 1}, Latency: l}},
		Members: []farmspec.LoadRow{{Name: "server-1", Count: 4, Outcomes: map[string]uint64{farmspec.LoadAccepted: 4}, Latency: l}},
		Traffic: farmspec.LoadTraffic{Requests: 9, Connections: 1, BytesOut: 999, BytesIn: 1_500_000, CPU: 3 * time.Millisecond},
		Truth: farmspec.LoadTruth{Verdict: farmspec.Fail, Reason: "The farm accepted spent or closed tokens (1 times).", Accepted: 2, WrongAccepts: 1, Probes: 10, ProbesRefused: 9, Bound: 0.3,
			Sessions: 3, Operations: 8, Violations: []farmspec.LoadViolation{{Invariant: "I1", Text: "server-1 accepted token abc twice <script>", At: time.Second}}},
		Notes: []string{"1 arrivals were missed."}, Exit: farmspec.ExitNonconformant,
	}
	for i := range 20 {
		r.Intervals = append(r.Intervals, farmspec.LoadInterval{At: time.Duration(i) * 100 * time.Millisecond, Length: 100 * time.Millisecond, Asked: 1, Ended: 1,
			Outcomes: map[string]uint64{farmspec.LoadAccepted: 1}, Latency: l})
	}
	r.Intervals[7].Latency, r.Intervals[7].Outcomes = farmspec.LoadLatency{}, map[string]uint64{}
	return r
}

func TestLoadReportComesBack(t *testing.T) {
	dir := t.TempDir()
	want := loadReport(t)
	files, err := WriteLoad(dir, want)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Errorf("files %v", files)
	}
	got, err := ReadLoad(filepath.Join(dir, LoadFile))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(completeLoad(want), got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	// The least report there can be is one, too.
	if _, err := WriteLoad(dir, &farmspec.LoadReport{Truth: farmspec.LoadTruth{Verdict: farmspec.NotRun}}); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLoad(filepath.Join(dir, LoadFile)); err != nil {
		t.Error(err)
	}
}

func TestReadLoadIsStrict(t *testing.T) {
	dir := t.TempDir()
	if _, err := WriteLoad(dir, loadReport(t)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, LoadFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"another version", farmspec.LoadSchema, "farmspec.load/v9", "unknown version"},
		{"unknown field", `"plan": {`, `"plan": {"speed": 1,`, "breaks the schema"},
		{"unknown verdict", `"verdict": "fail"`, `"verdict": "fine"`, "breaks the schema"},
		{"cut", string(text[len(text)-200:]), "", "cut"},
	} {
		path := filepath.Join(dir, "broken.json")
		broken := strings.Replace(string(text), tc.old, tc.new, 1)
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadLoad(path); err == nil || !strings.Contains(err.Error(), tc.want) && tc.want != "cut" {
			t.Errorf("%s: ReadLoad = %v, want %q", tc.name, err, tc.want)
		}
	}
}

// The schema and the Go types say the same, field by field.
func TestLoadSchemaKnowsEveryField(t *testing.T) {
	type object struct {
		Properties map[string]any `json:"properties"`
		Required   []string       `json:"required"`
	}
	var s struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(LoadSchema(), &s); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(LoadSchema(), &s.object); err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var compare func(name string, typ reflect.Type, o object)
	compare = func(name string, typ reflect.Type, o object) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		var all, must, known []string
		for i := range typ.NumField() {
			f := typ.Field(i)
			field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if all = append(all, field); options != "omitempty" {
				must = append(must, field)
			}
			inner := f.Type
			if inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() {
				def := strings.TrimPrefix(strings.TrimSuffix(inner.Name(), "Info"), "Load")
				def = strings.ToLower(def[:1]) + def[1:]
				compare(def, inner, s.Defs[def])
			}
		}
		for p := range o.Properties {
			known = append(known, p)
		}
		for _, list := range [][]string{all, must, known, o.Required} {
			slices.Sort(list)
		}
		if diff := cmp.Diff(all, known); diff != "" {
			t.Errorf("%s: fields (-Go +schema):\n%s", name, diff)
		}
		if diff := cmp.Diff(must, o.Required); diff != "" {
			t.Errorf("%s: required (-Go +schema):\n%s", name, diff)
		}
	}
	compare("report", reflect.TypeFor[farmspec.LoadReport](), s.object)
	if len(seen) != len(s.Defs)+1 {
		t.Errorf("the schema defines %d objects, the report has %d", len(s.Defs), len(seen)-1)
	}
}

// HdrHistogram's own reader reads the log.
func TestLoadLog(t *testing.T) {
	r := loadReport(t)
	reader := hdrhistogram.NewHistogramLogReader(bytes.NewReader(loadLog(r)))
	n, values := 0, int64(0)
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		n, values = n+1, values+h.TotalCount()
	}
	if n != 19 || values != 19*4 {
		t.Errorf("the log has %d intervals with %d values, want 19 with 76", n, values)
	}
}

func TestClosingLoad(t *testing.T) {
	var b strings.Builder
	if err := ClosingLoad(&b, loadReport(t), Terminal{Width: 80}, "out/load.json"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.5/s, 5 arrivals", "1 missed", "wrongful acceptance", "view 1", "FAIL. The farm accepted", "I1", "out/load.json", "1, nonconformant", "40.0 ms", "1.50 MB in"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the closing table does not say %q:\n%s", want, b.String())
		}
	}
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)); n > 90 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
}

func TestLoadProgress(t *testing.T) {
	now := time.Unix(0, 0)
	n := farmspec.LoadNow{At: 30 * time.Second, Until: time.Minute, Asked: 100, Achieved: 99, P50: time.Millisecond, P99: 2 * time.Millisecond, Busy: 3, Browsers: 10, Missed: 4, Probes: 5, Stage: "step 2"}
	for _, tty := range []bool{true, false} {
		var b strings.Builder
		p := NewLoadProgress(&b, Terminal{TTY: tty, Width: 200, Now: func() time.Time { return now }})
		p.Preparing(1, 2)
		p.Preparing(2, 2)
		for range 60 {
			now = now.Add(time.Second)
			p.Loading(n)
		}
		p.Checking(17)
		p.Close()
		for _, want := range []string{"2 browsers are logged in", "0:30 of 1:00", "99/s of 100/s", "busy 3/10", "4 missed", "0 wrong of 5 probes", "step 2", "history of 17 operations"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("terminal %v: %q is not in:\n%s", tty, want, b.String())
			}
		}
		if lines := strings.Count(b.String(), "0:30 of 1:00"); !tty && (lines < 10 || lines > 13) {
			t.Errorf("%d lines for a minute in a plain file, want 12", lines)
		}
	}
}

// Chromium draws the page, runs nothing it should not, and shows values under
// the pointer.
func TestLoadPage(t *testing.T) {
	dir := t.TempDir()
	if _, err := WriteLoad(dir, loadReport(t)); err != nil {
		t.Fatal(err)
	}
	b := openBrowser(t)
	b.size(1200)
	b.do(chromedp.Navigate("file://" + filepath.Join(dir, LoadPageFile)))
	b.shown("#over-time .chart")
	if n := ask[int](b, `document.querySelectorAll('.chart').length`); n != 4 {
		t.Errorf("%d charts, want 4", n)
	}
	if text := ask[string](b, `document.querySelector('h1').textContent`); text != "reference/<b>sealed</b>" {
		t.Errorf("the title is %q", text)
	}
	b.run(`document.querySelector('#over-time .chart').focus(); document.querySelector('#over-time .chart').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))`)
	if text := ask[string](b, `document.querySelector('#over-time .readout').textContent`); !strings.Contains(text, "p50 2.00 ms") || !strings.HasPrefix(text, "0:00") {
		t.Errorf("the readout says %q", text)
	}
	b.run(`document.querySelector('#over-time .key').click()`)
	if hidden := ask[bool](b, `!document.querySelector('#over-time .s0').checkVisibility() && !document.querySelector('#over-time .readout').textContent.includes('p50')`); !hidden {
		t.Error("a line that was switched off is still there")
	}
	for _, width := range []int64{1200, 390} {
		b.size(width)
		if wide := ask[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
			t.Errorf("at %d the page is %d too wide", width, wide)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 || len(b.requests) != 1 {
		t.Errorf("the page said %v and asked for %v", b.said, b.requests)
	}
}

func TestShortNumbers(t *testing.T) {
	for d, want := range map[time.Duration]string{999: "999 ns", 1500: "1.50 µs", 999_960: "1000 µs", 12_340_000: "12.3 ms", 2_005_000_000: "2.00 s", 125_400_000_000: "125 s"} {
		if got := short(d); got != want {
			t.Errorf("short(%d) = %q, want %q", d, got, want)
		}
	}
	if got := fmt.Sprint(size(999), " ", size(1000), " ", size(123_456_789)); got != "999 B 1.00 kB 123 MB" {
		t.Errorf("sizes %s", got)
	}
}
