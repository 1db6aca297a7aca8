package simfarm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
)

// Metrics counts what a farm does, whatever else watches it, and tells it over
// HTTP in the text format of Prometheus, version 0.0.4. The zero value is ready
// to watch one farm; it is safe for concurrent use.
type Metrics struct {
	visits                               sync.Map // member to *atomic.Int64
	logins, logouts, rotations, verified atomic.Int64
	refusals                             [5]atomic.Int64 // as refusalReasons
	failures                             atomic.Int64
	service                              atomic.Pointer[web.Service]
}

var refusalReasons = [5]struct {
	name string
	err  error
}{
	{"closed", reference.ErrClosed}, {"credentials", reference.ErrCredentials}, {"expired", reference.ErrExpired},
	{"spent", reference.ErrSpent}, {"unknown", reference.ErrUnknown},
}

// Watch returns the options of a farm that is counted.
func (m *Metrics) Watch(o Options) Options {
	wrapped := o.Wrap
	o.Wrap.API = func(s web.Service) web.Service {
		if wrapped.API != nil {
			s = wrapped.API(s)
		}
		m.service.Store(&s)
		return counted{s, m}
	}
	o.Wrap.Handler = func(process string, h http.Handler) http.Handler {
		if wrapped.Handler != nil {
			h = wrapped.Handler(process, h)
		}
		if process == farmspec.ServiceProcess {
			return h
		}
		n, _ := m.visits.LoadOrStore(process, new(atomic.Int64))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.(*atomic.Int64).Add(1)
			h.ServeHTTP(w, r)
		})
	}
	return o
}

// counted counts what the session service answers.
type counted struct {
	web.Service
	m *Metrics
}

func (c counted) Login(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
	g, err := c.Service.Login(ctx, r)
	c.m.answered(&c.m.logins, err)
	return g, err
}

func (c counted) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := c.Service.Renew(ctx, r)
	c.m.answered(&c.m.rotations, err)
	return g, err
}

func (c counted) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := c.Service.Verify(ctx, r)
	c.m.answered(&c.m.verified, err)
	return g, err
}

func (c counted) Logout(ctx context.Context, r reference.Presented) error {
	err := c.Service.Logout(ctx, r)
	c.m.answered(&c.m.logouts, err)
	return err
}

// answered counts a call that went well, or why it did not.
func (m *Metrics) answered(well *atomic.Int64, err error) {
	if err == nil {
		well.Add(1)
		return
	}
	for i, r := range refusalReasons {
		if errors.Is(err, r.err) {
			m.refusals[i].Add(1)
			return
		}
	}
	m.failures.Add(1)
}

// ServeHTTP tells the numbers.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	family := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	family("farm_visits_total", "counter", "Requests that members answered.")
	visits := map[string]int64{}
	m.visits.Range(func(member, n any) bool {
		visits[member.(string)] = n.(*atomic.Int64).Load()
		return true
	})
	for _, member := range slices.Sorted(maps.Keys(visits)) {
		fmt.Fprintf(&b, "farm_visits_total{member=%q} %d\n", member, visits[member])
	}
	for _, c := range []struct {
		name, help string
		n          *atomic.Int64
	}{
		{"farm_logins_total", "Security sessions that were opened.", &m.logins},
		{"farm_logouts_total", "Log-outs that closed a session.", &m.logouts},
		{"farm_rotations_total", "Tokens that were verified and replaced.", &m.rotations},
		{"farm_verifications_total", "Tokens that were verified and kept.", &m.verified},
		{"farm_failures_total", "Calls of the session service that failed and refused nothing.", &m.failures},
	} {
		family(c.name, "counter", c.help)
		fmt.Fprintf(&b, "%s %d\n", c.name, c.n.Load())
	}
	family("farm_refusals_total", "counter", "Calls that the session service refused, by reason.")
	for i, reason := range refusalReasons {
		fmt.Fprintf(&b, "farm_refusals_total{reason=%q} %d\n", reason.name, m.refusals[i].Load())
	}
	if s := m.service.Load(); s != nil {
		if sessions, err := (*s).List(r.Context(), ""); err == nil {
			open := 0
			for i := range sessions {
				if sessions[i].Open() {
					open++
				}
			}
			family("farm_sessions_open", "gauge", "Security sessions that are open.")
			fmt.Fprintf(&b, "farm_sessions_open %d\n", open)
		}
	}
	family("go_goroutines", "gauge", "Goroutines of the farm's process.")
	fmt.Fprintf(&b, "go_goroutines %d\n", runtime.NumGoroutine())
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // whoever asks may have left
}
