package memstore_test

import (
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/storetest"
)

func TestContract(t *testing.T) {
	storetest.Check(t, func() (reference.Store, error) { return memstore.Open(), nil })
}
