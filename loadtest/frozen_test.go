package loadtest_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
)

// frozenFarm stands still when it is told to, and notes when it answered each
// request for a page, in the order in which they came.
type frozenFarm struct {
	gate sync.RWMutex

	mu       sync.Mutex
	answered []time.Time
}

func (f *frozenFarm) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		n := len(f.answered)
		f.answered = append(f.answered, time.Time{})
		f.mu.Unlock()
		f.gate.RLock()
		defer f.gate.RUnlock()
		h.ServeHTTP(w, r)
		f.mu.Lock()
		f.answered[n] = time.Now()
		f.mu.Unlock()
	})
}

// While a farm stands still arrivals keep coming, and what their people wait
// is measured: against the farm's own record of when it answered, whatever
// the machine is busy with. Frozen 2 s of 10 s, the slowest hundredth has
// waited 1.90 s or more.
func TestFrozenFarmIsMeasured(t *testing.T) {
	freeze, run10, perSecond, tolerance := 2*time.Second, 10*time.Second, 1000.0, .02
	if testing.Short() || raceDetector { // in which a moment of the machine's counts for more
		freeze, run10, perSecond, tolerance = 400*time.Millisecond, 2*time.Second, 250, .05
	}
	for _, engine := range engines() {
		t.Run(engine.String(), func(t *testing.T) {
			var farm frozenFarm
			target := open(t, members(farm.wrap))
			var once sync.Once
			var before int // requests before the load
			o := loadtest.Options{Engine: engine, Target: target, Browsers: 64, Pace: rate(t, perSecond), Duration: run10, Mix: loadtest.Mix{loadtest.View: 1}, Probe: -1, Seed: 1}
			o.Progress = stages{
				ready: func() {
					farm.mu.Lock()
					before = len(farm.answered)
					farm.mu.Unlock()
				},
				loading: func(n farmspec.LoadNow) {
					if n.At > run10/5 {
						once.Do(func() {
							farm.gate.Lock()
							time.AfterFunc(freeze, farm.gate.Unlock)
						})
					}
				},
			}
			r := run(t, o)
			a := r.Arrivals
			if want := uint64(perSecond*run10.Seconds()) - 1; a.Asked != want || a.Ended != want || a.Missed != 0 || r.Latency.Count != want {
				t.Fatalf("arrivals %+v with %d latencies, want each of %d", a, r.Latency.Count, want)
			}
			// The farm's record: the n-th request is the n-th arrival's, for
			// whoever waits longest is served first.
			truth := make([]time.Duration, a.Asked)
			for n := range truth {
				due := r.Run.Started.Add(time.Duration(float64(n+1) / perSecond * 1e9))
				truth[n] = farm.answered[before+n].Sub(due)
			}
			slices.Sort(truth)
			p99 := truth[len(truth)*99/100-1]
			theory := freeze - run10/100
			slack := time.Duration(tolerance * float64(p99))
			if testing.Short() || raceDetector {
				slack += max(0, p99-theory) // what the machine was too slow for, it may have been for the client too
			}
			if off := r.Latency.P99 - p99; off < -slack || off > slack {
				t.Errorf("p99 %v, the farm's own record says %v: %.1f %% off", r.Latency.P99, p99, 100*float64(off)/float64(p99))
			}
			if p99 < freeze*9/10 {
				t.Errorf("the slowest hundredth waited %v beside a freeze of %v", p99, freeze)
			}
			t.Logf("p99 %v measured, %v by the farm's record, %v in theory", r.Latency.P99, p99, theory)
		})
	}
}

// stages is told when browsers are ready, and of a run as it goes on.
type stages struct {
	ready   func()
	loading func(farmspec.LoadNow)
}

func (s stages) Preparing(done, of int) {
	if done == of {
		s.ready()
	}
}
func (s stages) Loading(n farmspec.LoadNow) { s.loading(n) }
func (stages) Checking(int)                 {}
