package loadtest

import (
	"context"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
)

// Fast is the engine for speed, on Linux: HTTP/1.1 over plain TCP, written and
// read without net/http, and arrivals begun without vegeta's attacker.
type Fast struct{}

func (Fast) String() string { return "fast" }

func (Fast) wire(t *farmspec.Target, browsers int, keep bool) (wire, error) {
	return newFastWire(t, keep) // its connections are as many as are in use at once
}

func (Fast) drive(ctx context.Context, s *schedule, began time.Time, serve func(Arrival)) {
	c := crew{serve: serve}
	defer c.dismiss()
	for {
		a, ok := s.next()
		if !ok {
			return
		}
		if !sleep(ctx, a.Due-time.Since(began)) {
			return
		}
		c.send(a)
	}
}

// sleep waits, and reports false once ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	if d < 10*time.Millisecond {
		time.Sleep(d)
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// crew serves arrivals in goroutines that are used again, because a new one
// has to grow its stack first. There are as many as are under way.
type crew struct {
	serve func(Arrival)
	all   sync.WaitGroup

	mu   sync.Mutex
	idle []chan Arrival // the one that ended last at the end
	over bool
}

// send has an arrival served.
func (c *crew) send(a Arrival) {
	c.mu.Lock()
	n := len(c.idle)
	if n == 0 {
		c.mu.Unlock()
		c.all.Go(func() { c.work(a) })
		return
	}
	worker := c.idle[n-1]
	c.idle = c.idle[:n-1]
	c.mu.Unlock()
	worker <- a
}

func (c *crew) work(a Arrival) {
	mine := make(chan Arrival, 1)
	for ok := true; ok; a, ok = <-mine {
		c.serve(a)
		c.mu.Lock()
		if c.over {
			close(mine)
		}
		c.idle = append(c.idle, mine)
		c.mu.Unlock()
	}
}

// dismiss lets everyone go and waits until all is served.
func (c *crew) dismiss() {
	c.mu.Lock()
	c.over = true
	for _, worker := range c.idle {
		close(worker)
	}
	c.mu.Unlock()
	c.all.Wait()
}
