package loadtest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec"
)

func TestParseMetrics(t *testing.T) {
	const text = `# HELP http_requests_total The total.
# TYPE http_requests_total counter
http_requests_total{method="post",path="/a b}c {"} 1027 1395066363000
http_requests_total{method="get"} 3

# TYPE memory_bytes gauge
memory_bytes 1.5e+07
# TYPE broken gauge
broken NaN
# TYPE latency_seconds histogram
latency_seconds_bucket{le="+Inf"} 9
latency_seconds_sum 53.5
latency_seconds_count 9
unannounced 5
`
	told, kinds, err := parseMetrics(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"http_requests_total": 1030, "memory_bytes": 15e6, "latency_seconds_sum": 53.5, "latency_seconds_count": 9}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("parseMetrics (-want +got):\n%s", diff)
	}
	if kinds["memory_bytes"] != "gauge" || kinds["latency_seconds_count"] != "counter" {
		t.Errorf("kinds %v", kinds)
	}
	for _, wrong := range []string{"", "<!doctype html><p>hello", "a{b=\"c\"}", "a one", "a 1 2 3", "# TYPE a counter", "{} 1"} {
		if told, _, err := parseMetrics(strings.NewReader(wrong)); err == nil {
			t.Errorf("%q tells %v", wrong, told)
		}
	}
}

func FuzzMetrics(f *testing.F) {
	f.Add("# TYPE a counter\na{b=\"}\"} 1 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		told, kinds, err := parseMetrics(strings.NewReader(text))
		if err == nil && (len(told) == 0 || len(kinds) > 2*maxMetrics) {
			t.Errorf("%d metrics, %d kinds", len(told), len(kinds))
		}
	})
}

// What two parts tell is summed; what never changes is left out; what one part
// does not tell is no fall.
func TestFarmIsWatched(t *testing.T) {
	var n atomic.Int64
	part := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE up gauge\nup 1\n# TYPE visits counter\nvisits{page=\"a\"} %d\n", n.Add(1))
	}
	one, two := httptest.NewServer(http.HandlerFunc(part)), httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Load()%5 == 0 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		part(w, r)
	}))
	defer one.Close()
	defer two.Close()
	l := &load{Options: Options{Target: &farmspec.Target{Metrics: []string{one.URL, two.URL}}}}
	m := l.watchFarm(t.Context(), time.Now(), time.Hour)
	m.stop()
	<-m.done
	for range 20 {
		m.sample(t.Context(), time.Now())
	}
	told := m.end(l)
	if len(told) != 1 || told[0].Name != "visits" || !told[0].Counter || len(told[0].At) != len(told[0].Values) {
		t.Fatalf("told %+v", told)
	}
	if v := told[0].Values; len(v) < 10 {
		t.Errorf("%d samples, want most of 20", len(v))
	} else {
		for i := 1; i < len(v); i++ {
			if v[i] < v[i-1] {
				t.Errorf("a counter fell: %v", v)
			}
		}
	}
	if len(l.notes) != 1 || !strings.Contains(l.notes[0], two.URL) {
		t.Errorf("notes %q, want what could not be read", l.notes)
	}
}
