package loadtest_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
	"github.com/farmspec/farmspec/simfarm"
)

// Over TLS the browsers of the engine vegeta speak HTTP/2 with a farm that
// offers it, and the truth is judged all the same; the engine fast declines.
func TestTLSAndHTTP2(t *testing.T) {
	var mu sync.Mutex
	spoken := map[string]int{}
	o := members(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			spoken[r.Proto]++
			mu.Unlock()
			h.ServeHTTP(w, r)
		})
	})
	o.TLS = true
	target := open(t, o)
	load := loadtest.Options{Target: target, Browsers: 6, Pace: rate(t, 100), Duration: 500 * time.Millisecond, Probe: 0.5, Seed: 1}
	r := run(t, load)
	if r.Truth.Verdict != farmspec.Pass || r.Outcomes[farmspec.LoadAccepted] == 0 {
		t.Errorf("%s: %s; outcomes %v", r.Truth.Verdict, r.Truth.Reason, r.Outcomes)
	}
	if len(spoken) != 1 || spoken["HTTP/2.0"] == 0 {
		t.Errorf("spoken was %v, want HTTP/2.0 alone", spoken)
	}
	load.Engine = loadtest.Fast{}
	if _, err := loadtest.Run(t.Context(), load); err == nil {
		t.Error("the engine fast has taken a target that speaks TLS")
	}
	// Without TLS it is HTTP/1.1.
	load.Engine, load.Target = nil, open(t, simfarm.Options{})
	if r := run(t, load); r.Truth.Verdict != farmspec.Pass {
		t.Errorf("without TLS: %s", r.Truth.Reason)
	}
}
