package simfarm

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/farmspec/farmspec"
)

// holds is the farm's farmspec.HoldHook: it parks the requests of one trace
// at one point until they are released, their context ends or the farm closes.
type holds struct {
	armed atomic.Int32 // how many, so that a farm that holds nothing pays one load

	mu     sync.Mutex
	points map[holdKey]*held
	closed bool
}

type holdKey struct {
	trace string
	at    farmspec.Point
}

type held struct {
	of      *holds
	key     holdKey
	release chan struct{}

	// Guarded by of.mu.
	parked  int
	changed chan struct{} // closed and replaced when parked grows
	done    bool
}

func newHolds() *holds { return &holds{points: make(map[holdKey]*held)} }

// Hold arms the point for the trace. Arming it twice is an error until it is
// released.
func (h *holds) Hold(_ context.Context, trace string, at farmspec.Point) (farmspec.Held, error) {
	if trace == "" {
		return nil, fmt.Errorf("hold at %s: no trace given, and only requests of a trace are held", at)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	k := holdKey{trace, at}
	switch {
	case h.closed:
		return nil, fmt.Errorf("hold at %s: the farm is closed", at)
	case h.points[k] != nil:
		return nil, fmt.Errorf("hold at %s: trace %s is held there already", at, trace)
	}
	p := &held{of: h, key: k, release: make(chan struct{}), changed: make(chan struct{})}
	h.points[k] = p
	h.armed.Add(1)
	return p, nil
}

// park waits at the point if it is armed for the context's trace.
func (h *holds) park(ctx context.Context, trace string, at farmspec.Point) {
	if h.armed.Load() == 0 || trace == "" {
		return
	}
	h.mu.Lock()
	p := h.points[holdKey{trace, at}]
	if p == nil {
		h.mu.Unlock()
		return
	}
	p.parked++
	close(p.changed)
	p.changed = make(chan struct{})
	h.mu.Unlock()
	select {
	case <-p.release:
	case <-ctx.Done():
		h.mu.Lock()
		p.parked--
		h.mu.Unlock()
	}
}

func (p *held) Wait(ctx context.Context, n int) error {
	for {
		p.of.mu.Lock()
		parked, changed, done := p.parked, p.changed, p.done
		p.of.mu.Unlock()
		switch {
		case parked >= n:
			return nil
		case done:
			return fmt.Errorf("wait at %s: released with %d of %d requests parked", p.key.at, parked, n)
		}
		select {
		case <-changed:
		case <-p.release:
		case <-ctx.Done():
			return fmt.Errorf("wait at %s: %d of %d requests parked: %w", p.key.at, parked, n, ctx.Err())
		}
	}
}

func (p *held) Release() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.free()
}

// free needs of.mu.
func (p *held) free() {
	if p.done {
		return
	}
	p.done = true
	close(p.release)
	delete(p.of.points, p.key)
	p.of.armed.Add(-1)
}

// close frees everybody for good.
func (h *holds) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, p := range h.points {
		p.free()
	}
}
