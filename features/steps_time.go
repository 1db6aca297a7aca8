package features

import (
	"context"
	"fmt"
	"time"
)

// The steps that let time pass. A margin keeps a verdict off the boundary
// itself, which the claims leave open (D7).

func (w *world) registerTime(s stepper) {
	s.step(`half the idle time-out passes`, w.halfTheIdleTimeoutPasses)
	s.step(`the grace period passes`, w.gracePasses)
	s.step(`the clock of server (\d+) is off by twice the idle time-out`, w.clockIsOff)
}

// margin is how far from a limit the judge stays.
func (w *world) margin() time.Duration {
	return max(w.target.Limits.Tolerance, w.target.Limits.Idle/20, time.Second)
}

func (w *world) halfTheIdleTimeoutPasses(ctx context.Context) error {
	return w.pass(ctx, w.target.Limits.Idle/2)
}

func (w *world) gracePasses(ctx context.Context) error {
	if w.target.Grace == 0 {
		return nil
	}
	return w.pass(ctx, w.target.Grace+time.Second)
}

func (w *world) clockIsOff(ctx context.Context, server int) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	if err := w.hooks.Clock.Skew(ctx, m.Name, 2*w.target.Limits.Idle); err != nil {
		return fmt.Errorf("skew the clock of %s: %w", m.Name, err)
	}
	return nil
}
