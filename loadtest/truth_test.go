package loadtest_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/simfarm/mutant"
)

// careless serves a page instead of every n-th refusal: its user is whoever
// had the page last.
type careless struct {
	n        uint64
	refusals *atomic.Uint64
	served   *sync.Map // path to *httptest.ResponseRecorder
	farm     http.Handler
}

func (c careless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := httptest.NewRecorder()
	c.farm.ServeHTTP(a, r)
	path := r.Host + r.URL.Path
	switch {
	case a.Code == http.StatusOK && strings.Contains(a.Body.String(), "Signed in as"):
		c.served.Store(path, a.Body.Bytes())
	case a.Code == http.StatusSeeOther && strings.Contains(a.Header().Get("Location"), "/login?next=") && r.Header.Get("Cookie") != "":
		if page, ok := c.served.Load(path); ok && c.refusals.Add(1)%c.n == 0 {
			_, _ = w.Write(page.([]byte))
			return
		}
	}
	for name, values := range a.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(a.Code)
	_, _ = w.Write(a.Body.Bytes())
}

func carelessFarm(n uint64) simfarm.Options {
	c := careless{n: n, refusals: new(atomic.Uint64), served: new(sync.Map)}
	return simfarm.Options{Wrap: simfarm.Wrap{Handler: func(process string, h http.Handler) http.Handler {
		if process == farmspec.ServiceProcess {
			return h
		}
		c := c
		c.farm = h
		return c
	}}}
}

// A farm that accepts a spent token one time in ten thousand is convicted,
// and what it did is in the history as well.
func TestOneInTenThousand(t *testing.T) {
	one, most := uint64(10_000), 60*time.Second
	if testing.Short() || raceDetector {
		one, most = 300, 10*time.Second
	}
	began := time.Now()
	r := run(t, loadtest.Options{Target: open(t, carelessFarm(one)), Browsers: 32, Pace: rate(t, 4000),
		Duration: time.Duration(float64(one)*1.1/4000*1e9) + 200*time.Millisecond, Drain: most, Timeout: most,
		Mix: loadtest.Mix{loadtest.View: 1}, Probe: 1, Seed: 1})
	if r.Truth.Probes < one {
		t.Fatalf("only %d spent tokens were presented in %v", r.Truth.Probes, time.Since(began))
	}
	if r.Truth.Verdict != farmspec.Fail || r.Exit != farmspec.ExitNonconformant || r.Truth.WrongAccepts == 0 || r.Truth.WrongAccepts > r.Truth.Probes/one {
		t.Fatalf("verdict %s, exit %d, %d wrongful acceptances of %d probes: %s", r.Truth.Verdict, r.Exit, r.Truth.WrongAccepts, r.Truth.Probes, r.Truth.Reason)
	}
	if !slices.ContainsFunc(r.Truth.Violations, func(v farmspec.LoadViolation) bool { return v.Invariant == "I1" }) {
		t.Errorf("the history does not show it: %v", r.Truth.Violations)
	}
	if r.Truth.WrongRefusals != 0 {
		t.Errorf("%d fresh tokens were called refused", r.Truth.WrongRefusals)
	}
	t.Logf("%d probes in %v, %.0f page views per second", r.Truth.Probes, time.Since(began), r.Arrivals.AchievedRate)
}

// Faults of the catalogue that show under load.
func TestFaultsConvicted(t *testing.T) {
	for _, tc := range []struct {
		fault, invariant, why string
		accepts, refusals     bool
	}{
		{"F03", "", "a closed session's token is accepted after log-out", true, false},
		{"F12", "I1", "the old row stays, so every replay is accepted", true, false},
		{"F38", "", "log-out deletes the cookie only", true, false},
		{"M213", "", "a server with a key of its own refuses what others seal", false, true},
		{"F11", "I1", "no token is ever replaced", true, false},
	} {
		for _, engine := range engines() {
			t.Run(tc.fault+"/"+engine.String(), func(t *testing.T) {
				t.Parallel()
				f := slices.IndexFunc(mutant.All(), func(f mutant.Fault) bool { return f.ID == tc.fault })
				if f < 0 {
					t.Fatalf("no fault %s", tc.fault)
				}
				fault := mutant.All()[f]
				o := fault.Profile
				o.Wrap = fault.Plant()
				r := run(t, loadtest.Options{Engine: engine, Target: open(t, o), Browsers: 6, Pace: rate(t, 150), Duration: 600 * time.Millisecond, Probe: 0.5, Seed: 2,
					Mix: loadtest.Mix{loadtest.View: 30, loadtest.Hop: 30, loadtest.LogOut: 10, loadtest.Tabs: 10}})
				if r.Truth.Verdict != farmspec.Fail {
					t.Errorf("verdict %s (%s): %s", r.Truth.Verdict, r.Truth.Reason, tc.why)
				}
				if tc.accepts != (r.Truth.WrongAccepts > 0) || tc.refusals != (r.Truth.WrongRefusals > 0) {
					t.Errorf("%d wrongful acceptances, %d wrongful refusals; %s", r.Truth.WrongAccepts, r.Truth.WrongRefusals, tc.why)
				}
				if tc.invariant != "" && !slices.ContainsFunc(r.Truth.Violations, func(v farmspec.LoadViolation) bool { return v.Invariant == tc.invariant }) {
					t.Errorf("the history shows no %s: %v", tc.invariant, r.Truth.Violations)
				}
			})
		}
	}
}
