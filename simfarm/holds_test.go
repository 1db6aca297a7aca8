package simfarm

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/farmspec/farmspec"
)

func TestHoldParksOnlyItsTraceAtItsPoint(t *testing.T) {
	h := newHolds()
	held, err := h.Hold(t.Context(), "a", farmspec.BeforeVerify)
	if err != nil {
		t.Fatal(err)
	}
	h.park(t.Context(), "b", farmspec.BeforeVerify) // returns: another trace
	h.park(t.Context(), "a", farmspec.AfterReplace) // returns: another point
	h.park(t.Context(), "", farmspec.BeforeVerify)  // returns: no trace

	var parked sync.WaitGroup
	for range 3 {
		parked.Go(func() { h.park(t.Context(), "a", farmspec.BeforeVerify) })
	}
	if err := held.Wait(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Hold(t.Context(), "a", farmspec.BeforeVerify); err == nil {
		t.Error("Hold of an armed point succeeded; its requests would belong to two holders")
	}
	held.Release()
	held.Release() // idempotent
	parked.Wait()
	h.park(t.Context(), "a", farmspec.BeforeVerify) // returns: disarmed
	if _, err := h.Hold(t.Context(), "a", farmspec.BeforeVerify); err != nil {
		t.Errorf("Hold after Release: %v", err)
	}
}

func TestHoldFreesARequestWhoseContextEnds(t *testing.T) {
	h := newHolds()
	held, err := h.Hold(t.Context(), "a", farmspec.InHandler)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var parked sync.WaitGroup
	parked.Go(func() { h.park(ctx, "a", farmspec.InHandler) })
	if err := held.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	parked.Wait()
	ended, stop := context.WithCancel(t.Context())
	stop()
	if err := held.Wait(ended, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with a context that has ended = %v, want its error: nobody is parked any more", err)
	}
}

func TestHoldsCloseFreesEverybody(t *testing.T) {
	h := newHolds()
	held, err := h.Hold(t.Context(), "a", farmspec.InLogout)
	if err != nil {
		t.Fatal(err)
	}
	var parked sync.WaitGroup
	parked.Go(func() { h.park(t.Context(), "a", farmspec.InLogout) })
	if err := held.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	h.close()
	parked.Wait()
	if err := held.Wait(t.Context(), 2); err == nil {
		t.Error("Wait for a second request after close succeeded")
	}
	if _, err := h.Hold(t.Context(), "b", farmspec.InLogout); err == nil {
		t.Error("Hold on a closed farm succeeded")
	}
}
