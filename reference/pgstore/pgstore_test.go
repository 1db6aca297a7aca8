package pgstore_test

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/pgstore"
	"github.com/farmspec/farmspec/reference/storetest"
	"github.com/farmspec/farmspec/reference/storetest/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Run(m)) }

// in is the URL with a schema of the test's own, which is removed afterwards.
func in(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	id, err := reference.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", "farmspec_test_"+id.String())
	u.RawQuery = q.Encode()
	t.Cleanup(func() {
		if err := pgstore.Remove(context.Background(), u.String()); err != nil {
			t.Error(err)
		}
	})
	return u.String()
}

func TestContract(t *testing.T) {
	address := dbtest.Postgres(t)
	storetest.Check(t, func() (reference.Store, error) { return pgstore.Open(t.Context(), in(t, address)) })
}

func TestDurable(t *testing.T) {
	address := in(t, dbtest.Postgres(t))
	if err := storetest.TestDurable(func(string) (reference.Store, error) { return pgstore.Open(t.Context(), address) }); err != nil {
		t.Error(err)
	}
}
