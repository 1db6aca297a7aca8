//go:build !linux

package loadtest

import (
	"errors"

	"github.com/farmspec/farmspec"
)

func newFastWire(*farmspec.Target, bool) (wire, error) {
	return nil, errors.New("the engine fast needs Linux; take the engine vegeta")
}
