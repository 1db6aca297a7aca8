package loadtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// What a farm tells of itself is read within these bounds.
const (
	maxMetricsBytes = 4 << 20
	maxMetrics      = 2000
	metricsEvery    = 500 * time.Millisecond // at least
	metricsTimeout  = 2 * time.Second
	// tellsMost is how many metrics a report has; they are those that changed.
	tellsMost = 24
)

// metrics samples the farm's own numbers while a stage runs.
type metrics struct {
	addresses []string
	client    *http.Client
	at        []time.Duration
	series    map[string]*series
	trouble   map[string]bool // addresses that could not be read, once at least
	stop      context.CancelFunc
	done      chan struct{}
}

// series is a metric, summed over its labels and over the addresses.
type series struct {
	kind   string
	values []float64 // NaN where it was not told
}

// watchFarm begins to sample; nil where the target names no metrics.
func (l *load) watchFarm(ctx context.Context, started time.Time, every time.Duration) *metrics {
	if len(l.Target.Metrics) == 0 {
		return nil
	}
	m := &metrics{addresses: l.Target.Metrics, client: &http.Client{Transport: l.Target.Transport(), Timeout: metricsTimeout},
		series: map[string]*series{}, trouble: map[string]bool{}, done: make(chan struct{})}
	ctx, m.stop = context.WithCancel(ctx)
	go func() {
		defer close(m.done)
		defer m.client.CloseIdleConnections()
		tick := time.NewTicker(max(every, metricsEvery))
		defer tick.Stop()
		for {
			m.sample(ctx, started)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return m
}

// sample reads all addresses once.
func (m *metrics) sample(ctx context.Context, started time.Time) {
	at := time.Since(started)
	sums := map[string]float64{}
	for _, address := range m.addresses {
		told, kinds, err := m.read(ctx, address)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.trouble[address] = true
			return // a sum without one part would look like a fall
		}
		for name, v := range told {
			if m.series[name] == nil && len(m.series) < maxMetrics {
				m.series[name] = &series{kind: kinds[name]}
			}
			sums[name] += v
		}
	}
	m.at = append(m.at, at)
	for name, s := range m.series {
		for len(s.values) < len(m.at)-1 {
			s.values = append(s.values, math.NaN())
		}
		if v, ok := sums[name]; ok {
			s.values = append(s.values, v)
		}
	}
}

func (m *metrics) read(ctx context.Context, address string) (told map[string]float64, kinds map[string]string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Accept", "text/plain;version=0.0.4")
	resp, err := m.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("answered %d", resp.StatusCode)
	}
	return parseMetrics(io.LimitReader(resp.Body, maxMetricsBytes))
}

var errNoMetrics = errors.New("no metrics in the text format of Prometheus")

// parseMetrics reads Prometheus's text format, version 0.0.4. Samples of one
// name are summed over their labels; of histograms and summaries, count and sum
// are kept as counters. A line that is none of the format is an error.
func parseMetrics(r io.Reader) (told map[string]float64, kinds map[string]string, err error) {
	told, kinds = map[string]float64{}, map[string]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<16)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if rest, ok := strings.CutPrefix(line, "#"); ok || line == "" {
			if f := strings.Fields(rest); len(f) == 3 && f[0] == "TYPE" && len(kinds) < maxMetrics {
				switch f[2] {
				case "counter", "gauge", "untyped":
					kinds[f[1]] = f[2]
				case "histogram", "summary":
					kinds[f[1]+"_count"], kinds[f[1]+"_sum"] = "counter", "counter"
				}
			}
			continue
		}
		at := strings.IndexAny(line, "{ \t")
		if at < 0 {
			return nil, nil, errNoMetrics
		}
		// The last brace ends the labels: a value has none.
		name, rest := line[:at], line[max(at, strings.LastIndexByte(line, '}')+1):]
		if err := addMetric(told, kinds, name, rest); err != nil {
			return nil, nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, err
	}
	if len(told) == 0 {
		return nil, nil, errNoMetrics
	}
	return told, kinds, nil
}

func addMetric(told map[string]float64, kinds map[string]string, name, rest string) error {
	fields := strings.Fields(rest)
	if len(fields) < 1 || len(fields) > 2 || name == "" {
		return errNoMetrics
	}
	v, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return errNoMetrics
	}
	if kinds[name] == "" || math.IsNaN(v) || math.IsInf(v, 0) {
		return nil // a bucket, or of no known kind, or no number to draw
	}
	told[name] += v
	return nil
}

// end stops sampling and returns what changed.
func (m *metrics) end(l *load) []farmspec.LoadMetric {
	if m == nil {
		return nil
	}
	m.stop()
	<-m.done
	if len(m.trouble) > 0 {
		l.note("The farm's own numbers could not be read all the time from %s.", strings.Join(slices.Sorted(maps.Keys(m.trouble)), ", "))
	}
	var all []farmspec.LoadMetric
	for _, name := range slices.Sorted(maps.Keys(m.series)) {
		s := m.series[name]
		x := farmspec.LoadMetric{Name: name, Counter: s.kind == "counter"}
		changed := false
		for i, v := range s.values {
			if !math.IsNaN(v) {
				changed = changed || len(x.Values) > 0 && x.Values[0] != v
				x.At, x.Values = append(x.At, m.at[i]), append(x.Values, v)
			}
		}
		if changed {
			all = append(all, x)
		}
	}
	if n := len(all) - tellsMost; n > 0 {
		// Those of the application are told first, and those of its platform last.
		slices.SortStableFunc(all, func(a, b farmspec.LoadMetric) int { return platform(a.Name) - platform(b.Name) })
		all = all[:tellsMost]
		slices.SortFunc(all, func(a, b farmspec.LoadMetric) int { return strings.Compare(a.Name, b.Name) })
		l.note("%d more of the farm's own numbers changed; the report has %d.", n, tellsMost)
	}
	return all
}

// platform says whether a metric is of a language's or a library's own.
func platform(name string) int {
	for _, p := range []string{"go_", "process_", "promhttp_", "jvm_", "python_", "nodejs_"} {
		if strings.HasPrefix(name, p) {
			return 1
		}
	}
	return 0
}
