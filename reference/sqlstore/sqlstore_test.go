package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/sqlstore"
	"github.com/farmspec/farmspec/reference/storetest"
)

func TestContractInMemory(t *testing.T) {
	storetest.Check(t, func() (reference.Store, error) { return sqlstore.Open(":memory:") })
}

func TestContractInFile(t *testing.T) {
	dir, n := t.TempDir(), 0
	storetest.Check(t, func() (reference.Store, error) {
		n++
		return sqlstore.Open(filepath.Join(dir, string(rune('a'+n))+".db"))
	})
}

func TestDurable(t *testing.T) {
	dir := t.TempDir()
	if err := storetest.TestDurable(func(name string) (reference.Store, error) {
		return sqlstore.Open(filepath.Join(dir, name+".db"))
	}); err != nil {
		t.Error(err)
	}
}
