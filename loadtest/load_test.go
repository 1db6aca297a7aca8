package loadtest_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
	"github.com/farmspec/farmspec/simfarm"
)

// open starts a farm and describes it.
func open(t testing.TB, o simfarm.Options) *farmspec.Target {
	t.Helper()
	o.Unobserved = true
	farm, err := simfarm.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := farm.Close(); err != nil {
			t.Error(err)
		}
	})
	return farm.Target()
}

func rate(t testing.TB, perSecond float64) loadtest.Pace {
	t.Helper()
	p, err := loadtest.Constant(perSecond)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// engines are those that this system has.
func engines() []loadtest.Engine {
	if runtime.GOOS == "linux" {
		return []loadtest.Engine{loadtest.Vegeta{}, loadtest.Fast{}}
	}
	return []loadtest.Engine{loadtest.Vegeta{}}
}

func run(t testing.TB, o loadtest.Options) *farmspec.LoadReport {
	t.Helper()
	r, err := loadtest.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A sound farm is never accused, whatever it is configured to do.
func TestSoundFarms(t *testing.T) {
	everything := loadtest.Mix{loadtest.View: 30, loadtest.Hop: 30, loadtest.State: 10, loadtest.LogIn: 5, loadtest.LogOut: 5, loadtest.Idle: 5, loadtest.Tabs: 5}
	n := 0
	for _, handoff := range []farmspec.Handoff{farmspec.Sealed, farmspec.Claimed, farmspec.Direct} {
		for _, topology := range []farmspec.Topology{farmspec.SharedDomain, farmspec.SingleHost, farmspec.SplitDomain} {
			for i, more := range []simfarm.Options{
				{Rotation: farmspec.Strict, Replay: farmspec.Reject},
				{Rotation: farmspec.Strict, Replay: farmspec.RevokeFamily},
				{Rotation: farmspec.Coalesce, Replay: farmspec.Reject},
				{Rotation: farmspec.ReadVerify, Replay: farmspec.Reject},
			} {
				if i > 0 && topology != farmspec.SharedDomain && handoff != farmspec.Sealed {
					continue // every value with every other one would take long
				}
				more.Handoff, more.Topology = handoff, topology
				engine := engines()[n%len(engines())] // each profile once, each engine many times
				n++
				t.Run(more.ProfileName()[len("reference/"):]+"/"+engine.String(), func(t *testing.T) {
					t.Parallel()
					r := run(t, loadtest.Options{Engine: engine, Target: open(t, more), Browsers: 8, Pace: rate(t, 120), Duration: 500 * time.Millisecond, Mix: everything, Rest: 50 * time.Millisecond, Probe: 0.3, Seed: 1})
					if r.Truth.Verdict != farmspec.Pass {
						t.Errorf("verdict %s: %s\n%v", r.Truth.Verdict, r.Truth.Reason, r.Truth.Violations)
					}
					for name, n := range r.Outcomes {
						if name != farmspec.LoadAccepted && name != farmspec.LoadHonest {
							t.Errorf("%d times %q", n, name)
						}
					}
					if r.Truth.Probes == 0 || r.Truth.Probes != r.Truth.ProbesRefused {
						t.Errorf("%d of %d probes were refused", r.Truth.ProbesRefused, r.Truth.Probes)
					}
					if r.Arrivals.Asked != 60 && r.Arrivals.Asked != 59 {
						t.Errorf("%d arrivals were asked in 0.5 s at 120/s", r.Arrivals.Asked)
					}
					if len(r.Actions) < 6 { // no browser may have rested on a busy machine
						t.Errorf("%d actions were done, want 7", len(r.Actions))
					}
				})
			}
		}
	}
}

func TestResultsAreVegetas(t *testing.T) {
	var results bytes.Buffer
	r := run(t, loadtest.Options{Target: open(t, simfarm.Options{}), Browsers: 4, Pace: rate(t, 100), WarmUp: 200 * time.Millisecond, Duration: 500 * time.Millisecond, Seed: 1, Results: &results})
	var m vegeta.Metrics
	for dec := vegeta.DecoderFor(&results); ; {
		var v vegeta.Result
		if err := dec(&v); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		m.Add(&v)
	}
	m.Close()
	if m.Requests != r.Arrivals.Asked || m.Requests < 48 || m.Success != 1 {
		t.Errorf("vegeta reads %d requests with success %v, want %d with 1; %v", m.Requests, m.Success, r.Arrivals.Asked, m.Errors)
	}
	if d := m.Latencies.Max - r.Latency.Max; d > r.Latency.Max/100 || -d > r.Latency.Max/100 {
		t.Errorf("vegeta's longest latency is %v, the report's %v", m.Latencies.Max, r.Latency.Max)
	}
}
