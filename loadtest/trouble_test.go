package loadtest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
	"github.com/farmspec/farmspec/simfarm"
)

// members wraps what answers browsers.
func members(wrap func(http.Handler) http.Handler) simfarm.Options {
	return simfarm.Options{Wrap: simfarm.Wrap{Handler: func(process string, h http.Handler) http.Handler {
		if process == farmspec.ServiceProcess {
			return h
		}
		return wrap(h)
	}}}
}

// at makes members behave differently while the switch is on.
func at(on *atomic.Bool, bad http.HandlerFunc) simfarm.Options {
	return members(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if on.Load() {
				bad(w, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
}

// A farm in trouble is counted by what it does, never hangs the load, and is
// not called unfaithful where it only failed to answer.
func TestFarmsInTrouble(t *testing.T) {
	for _, tc := range []struct {
		name    string
		bad     http.HandlerFunc
		outcome string
		verdict farmspec.Verdict
	}{
		{"answers 503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "answered 503", farmspec.Pass},
		{"refuses everything", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, farmspec.LoadWrongRefusal, farmspec.Fail},
		{"shows a log-in page to everybody", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Please sign in.") }, farmspec.LoadWrongRefusal, farmspec.Fail},
		{"redirects elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusSeeOther)
		}, "sent elsewhere", farmspec.Pass},
		{"redirects for ever", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"/", http.StatusSeeOther) }, "redirect loop", farmspec.Pass},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "connection lost", farmspec.Pass},
		{"is too slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timed out", farmspec.Pass},
		{"never ends its page", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, "the answer is longer than a page may be", farmspec.Pass},
	} {
		for _, engine := range engines() {
			t.Run(tc.name+"/"+engine.String(), func(t *testing.T) {
				t.Parallel()
				var on atomic.Bool
				target := open(t, at(&on, tc.bad))
				o := loadtest.Options{Engine: engine, Target: target, Browsers: 4, Pace: rate(t, 100), WarmUp: 200 * time.Millisecond, Duration: 300 * time.Millisecond,
					Mix: loadtest.Mix{loadtest.View: 1}, Probe: 1, Timeout: 5 * time.Second, Seed: 1}
				if raceDetector { // a spent token has to be refused before the trouble begins, and nobody to be waiting then
					o.Pace, o.WarmUp, o.Duration, o.Timeout = rate(t, 20), time.Second, 1500*time.Millisecond, 20*time.Second
				}
				if tc.outcome == "timed out" {
					o.Timeout, o.Drain = 300*time.Millisecond, 3*time.Second
				}
				o.Progress = watching(func(n farmspec.LoadNow) {
					if !n.WarmingUp {
						on.Store(true)
					}
				})
				r := run(t, o)
				seen := r.Outcomes[tc.outcome]
				if tc.outcome == farmspec.LoadWrongRefusal { // the first may come late, and be an arrival's of the warm-up
					seen = r.Truth.WrongRefusals
				}
				if seen == 0 {
					t.Errorf("outcomes %v, want some %q", r.Outcomes, tc.outcome)
				}
				if r.Truth.Verdict != tc.verdict {
					t.Errorf("verdict %s, want %s: %s %v", r.Truth.Verdict, tc.verdict, r.Truth.Reason, r.Truth.Violations)
				}
				if a := r.Arrivals; a.Asked != a.Begun+a.Missed || a.Begun != a.Ended {
					t.Errorf("arrivals do not add up: %+v", a)
				}
			})
		}
	}
}

// watching is told of a run as it goes on.
type watching func(farmspec.LoadNow)

func (watching) Preparing(int, int)           {}
func (w watching) Loading(n farmspec.LoadNow) { w(n) }
func (watching) Checking(int)                 {}

func TestNoFarm(t *testing.T) {
	for _, tc := range []struct {
		name, cause string
		farm        simfarm.Options
		stop        bool
	}{
		{"down", "connection refused", simfarm.Options{}, true},
		{"refuses all log-ins", "answered 403", members(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) })
		}), false},
		{"has no log-in form", "no log-in form", members(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome") })
		}), false},
		{"sets a cookie of another name each time", "no token after log-in", renaming(), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			target := open(t, tc.farm)
			if tc.stop {
				for _, m := range target.Members {
					if err := target.Hooks.Processes.Stop(t.Context(), m.Name); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, engine := range engines() {
				_, err := loadtest.Run(t.Context(), loadtest.Options{Engine: engine, Target: target, Browsers: 5, Pace: rate(t, 10), Duration: time.Second})
				var not *loadtest.NotReadyError
				if !errors.As(err, &not) || !slices.ContainsFunc(slices.Collect(maps.Keys(not.Causes)), func(c string) bool { return strings.HasPrefix(c, tc.cause) }) {
					t.Errorf("%s: Run = %v, want a NotReadyError with %q", engine, err, tc.cause)
				}
			}
		})
	}
}

// renaming changes the names of the cookies a farm sets.
func renaming() simfarm.Options {
	var n atomic.Int64
	return members(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&renamer{w, &n}, r)
		})
	})
}

type renamer struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (w *renamer) WriteHeader(code int) {
	h := w.Header()
	for i, line := range h["Set-Cookie"] {
		if !strings.Contains(line, "farm-form") {
			h["Set-Cookie"][i] = strings.Replace(line, "=", fmt.Sprintf("-%d=", w.n.Add(1)), 1)
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

// One member of three is gone: what it would have answered is counted, the
// rest goes on.
func TestHalfDown(t *testing.T) {
	target := open(t, simfarm.Options{})
	var once sync.Once
	o := loadtest.Options{Target: target, Browsers: 6, Pace: rate(t, 100), WarmUp: 200 * time.Millisecond, Duration: 500 * time.Millisecond, Probe: 1, Seed: 1}
	o.Progress = watching(func(n farmspec.LoadNow) {
		if !n.WarmingUp {
			once.Do(func() { _ = target.Hooks.Processes.Stop(context.Background(), "server-2") })
		}
	})
	r := run(t, o)
	if r.Truth.Verdict != farmspec.Pass || r.Truth.WrongRefusals > 0 {
		t.Errorf("verdict %s: %s %v", r.Truth.Verdict, r.Truth.Reason, r.Truth.Violations)
	}
	if r.Outcomes["connection refused"]+r.Outcomes["connection lost"] == 0 || r.Outcomes[farmspec.LoadAccepted] == 0 {
		t.Errorf("outcomes %v, want some accepted and some without connection", r.Outcomes)
	}
}

// While the farm stands still, arrivals keep coming and their time counts.
func TestFrozenFarm(t *testing.T) {
	const freeze = 400 * time.Millisecond
	var gate sync.RWMutex
	var once sync.Once
	target := open(t, members(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			gate.RLock()
			defer gate.RUnlock()
			h.ServeHTTP(w, r)
		})
	}))
	o := loadtest.Options{Target: target, Browsers: 8, Pace: rate(t, 200), WarmUp: 200 * time.Millisecond, Duration: 1200 * time.Millisecond,
		Mix: loadtest.Mix{loadtest.View: 1}, Seed: 1}
	o.Progress = watching(func(n farmspec.LoadNow) {
		if !n.WarmingUp {
			once.Do(func() {
				gate.Lock()
				time.AfterFunc(freeze, gate.Unlock)
			})
		}
	})
	r := run(t, o)
	// A third of the arrivals came while it stood still.
	if p := r.Latency.P90; p < freeze/2 || r.Latency.Max < freeze*9/10 {
		t.Errorf("p90 %v and longest %v beside a freeze of %v", p, r.Latency.Max, freeze)
	}
	if a := r.Arrivals; a.Asked < 235 || a.Asked != a.Ended+a.Missed || a.Late < 20 {
		t.Errorf("arrivals %+v, want 240 asked, none lost, and many late", a)
	}
	if r.Service.P50 >= r.Latency.P90 {
		t.Errorf("service time p50 %v is no less than latency p90 %v", r.Service.P50, r.Latency.P90)
	}
}

// More than may wait are missed, and counted.
func TestMissedArrivals(t *testing.T) {
	var on atomic.Bool
	target := open(t, at(&on, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	o := loadtest.Options{Target: target, Browsers: 2, Pace: rate(t, 200), WarmUp: 200 * time.Millisecond, Duration: 500 * time.Millisecond,
		Mix: loadtest.Mix{loadtest.View: 1}, MaxWaiting: 5, Timeout: 2 * time.Second, Drain: 100 * time.Millisecond, Seed: 1}
	o.Progress = watching(func(n farmspec.LoadNow) { on.Store(!n.WarmingUp) })
	r := run(t, o)
	if a := r.Arrivals; a.Missed < 50 || a.Asked != a.Begun+a.Missed {
		t.Errorf("arrivals %+v, want most of 100 missed", a)
	}
	if !strings.Contains(strings.Join(r.Notes, " "), "arrivals were missed") {
		t.Errorf("notes %q do not speak of missed arrivals", r.Notes)
	}
}

// An interrupted run reports what there was.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := loadtest.Options{Target: open(t, simfarm.Options{}), Browsers: 4, Pace: rate(t, 100), Duration: time.Hour, Seed: 1}
	o.Progress = watching(func(n farmspec.LoadNow) {
		if n.At > 300*time.Millisecond {
			cancel()
		}
	})
	r, err := loadtest.Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Run.Complete || r.Exit != farmspec.ExitInconclusive || r.Arrivals.Ended < 20 {
		t.Errorf("complete %v, exit %d, %+v", r.Run.Complete, r.Exit, r.Arrivals)
	}
	if got := r.Arrivals.AskedRate; got < 60 || got > 140 {
		t.Errorf("asked rate %v, want about 100 for the time there was", got)
	}
}

func TestOnlyThisMachine(t *testing.T) {
	target := *open(t, simfarm.Options{})
	target.Resolve = map[string]string{"server-1.farm.localhost": "192.0.2.7"}
	_, err := loadtest.Run(t.Context(), loadtest.Options{Target: &target, Pace: rate(t, 1), Duration: time.Second})
	if err == nil || !strings.Contains(err.Error(), "not on this machine") {
		t.Errorf("Run = %v, want it to refuse another machine", err)
	}
}
