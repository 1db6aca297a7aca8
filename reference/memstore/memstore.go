// Package memstore is the common session database in memory: nothing outlives
// the process.
package memstore

import "github.com/farmspec/farmspec/reference"

// Store is a reference.Store and reference.Editor in memory. It is safe for
// concurrent use.
type Store struct {
	reference.Store
	reference.Editor
}

// Open returns an empty store.
func Open() *Store { return new(Store) }
