//go:build !linux

package loadtest

import (
	"context"
	"errors"

	"github.com/farmspec/farmspec"
)

func newFastWire(*farmspec.Target, bool) (wire, error) {
	return nil, errors.New("the engine fast needs Linux; take the engine vegeta")
}

// drive is never called: there is no wire to drive it with.
func (Fast) drive(context.Context, *schedule, *stage) {}
