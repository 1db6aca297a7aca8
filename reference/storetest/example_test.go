package storetest_test

import (
	"fmt"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/storetest"
)

// A store of one's own is checked like ours.
func ExampleTestStore() {
	fmt.Println(storetest.TestStore(func() (reference.Store, error) { return memstore.Open(), nil }))
	// Output: <nil>
}
