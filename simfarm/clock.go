package simfarm

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// farmClock is the farm's one time: a base clock, an offset that Advance
// moves, and each process's skew from it. The store owns no clock.
type farmClock struct {
	base   func() time.Time
	offset atomic.Int64 // nanoseconds

	mu   sync.Mutex
	skew map[string]*atomic.Int64 // by process; a skew outlives a restart, as a machine's clock does
}

func newClock(base func() time.Time, processes []string) *farmClock {
	c := &farmClock{base: base, skew: make(map[string]*atomic.Int64, len(processes))}
	for _, p := range processes {
		c.skew[p] = new(atomic.Int64)
	}
	return c
}

// of returns the process's clock. The process must be one the clock was made for.
func (c *farmClock) of(process string) func() time.Time {
	skew := c.skew[process]
	return func() time.Time {
		return c.base().Add(time.Duration(c.offset.Load() + skew.Load()))
	}
}

// clockHook is the farm's farmspec.ClockHook.
type clockHook struct {
	clock   *farmClock
	service func() time.Time
}

func (h clockHook) Now(context.Context) (time.Time, error) { return h.service(), nil }

func (h clockHook) Advance(_ context.Context, d time.Duration) error {
	h.clock.offset.Add(int64(d))
	return nil
}

func (h clockHook) Skew(_ context.Context, process string, d time.Duration) error {
	h.clock.mu.Lock()
	defer h.clock.mu.Unlock()
	s, ok := h.clock.skew[process]
	if !ok {
		return fmt.Errorf("skew clock of %q: no such process; there are %s", process, names(maps.Keys(h.clock.skew)))
	}
	s.Store(int64(d))
	return nil
}
