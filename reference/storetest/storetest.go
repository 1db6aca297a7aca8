// Package storetest checks an implementation of reference.Store against the
// whole contract, sentence by sentence.
package storetest

import (
	"testing"

	"github.com/farmspec/farmspec/reference"
)

// TestStore runs every check on stores of their own, empty ones that open
// returns, and returns all violations joined, or nil. A store that is an
// io.Closer is closed afterwards. One that is a reference.Editor is checked as
// such too.
func TestStore(open func() (reference.Store, error)) error { return nil }

// TestDurable checks that what a store has acknowledged is there after it was closed
// and opened again. Stores of one name are the same database.
func TestDurable(open func(name string) (reference.Store, error)) error { return nil }

// Check is TestStore for a test: each violation is an error of t.
func Check(t testing.TB, open func() (reference.Store, error)) {}
