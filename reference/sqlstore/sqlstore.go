// Package sqlstore is the common session database in SQLite, without cgo.
package sqlstore

import "github.com/farmspec/farmspec/reference"

// DB is a reference.Store and reference.Editor in an SQLite database. It is
// safe for concurrent use, also by several processes.
type DB struct {
	reference.Store
	reference.Editor
}

// Open opens the database file, or makes it; ":memory:" is a private database
// that ends with Close.
func Open(path string) (*DB, error) { return new(DB), nil }

// Close closes the database. Calls under way end first.
func (*DB) Close() error { return nil }
