package loadtest

import (
	"context"
	"math"
	"net/http"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/farmspec/farmspec"
)

// Engine carries out a load: it begins arrivals when they are due and carries
// the requests of the browsers that serve them.
type Engine interface {
	// String is the engine's name in reports.
	String() string
	// wire returns what carries requests, for so many browsers. The error is
	// that the engine cannot reach such a target.
	wire(t *farmspec.Target, browsers int, keep bool) (wire, error)
	// drive has every arrival of the schedule served, each at its time after the
	// stage began, however many are under way. It returns when all are. It
	// begins none once ctx is done.
	drive(ctx context.Context, s *schedule, st *stage)
}

// Vegeta is the engine made of vegeta's attacker and net/http: HTTP/1.1,
// HTTP/2 and TLS.
type Vegeta struct{}

func (Vegeta) String() string { return "vegeta" }

func (Vegeta) wire(t *farmspec.Target, browsers int, keep bool) (wire, error) {
	return newHTTPWire(t, browsers, keep), nil
}

func (Vegeta) drive(ctx context.Context, s *schedule, st *stage) {
	d := &driver{schedule: s, stage: st}
	attacker := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: d}),
		// Workers are not capped: a worker that waits for a browser holds up
		// no other arrival, and latency counts from when it was due.
		vegeta.Workers(1), vegeta.MaxWorkers(math.MaxUint64),
	)
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	for range attacker.Attack(target, d, 0, "") {
		// The load keeps its own results: vegeta's begin when a worker does.
	}
}

func target(t *vegeta.Target) error {
	t.Method, t.URL = http.MethodGet, "http://farm.invalid/"
	return nil
}

// driver is the pacer that hands arrivals out, and the round tripper in which
// each is served. A vegeta.Targeter would not do: it never sees a response.
type driver struct {
	*schedule
	stage *stage

	mu  sync.Mutex
	due []Arrival
}

// Pace implements vegeta.Pacer.
func (d *driver) Pace(time.Duration, uint64) (time.Duration, bool) {
	a, ok := d.next()
	if !ok {
		return 0, true
	}
	d.mu.Lock()
	d.due = append(d.due, a)
	d.mu.Unlock()
	return a.Due - time.Since(d.stage.t.started), false
}

// Rate implements vegeta.Pacer.
func (d *driver) Rate(t time.Duration) float64 { return d.pacer.Rate(t) }

// RoundTrip implements http.RoundTripper: it serves the arrival that has been
// due longest. There is always one, for vegeta asks for the pace first.
func (d *driver) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	a := d.due[0]
	d.due = d.due[1:]
	d.mu.Unlock()
	d.stage.serve(a)
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, Request: r}, nil
}
