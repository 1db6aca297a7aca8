package redisstore_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/redisstore"
	"github.com/farmspec/farmspec/reference/storetest"
	"github.com/farmspec/farmspec/reference/storetest/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Run(m)) }

var prefixes atomic.Int64

// fresh is the address of a store that is nobody's yet, erased after the test.
func fresh(t testing.TB, server string, more ...string) string {
	t.Helper()
	query := append([]string{fmt.Sprintf("prefix=test-%d-%d", os.Getpid(), prefixes.Add(1))}, more...)
	address := server + "?" + strings.Join(query, "&")
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		s, err := redisstore.Open(ctx, address)
		if err == nil {
			err = s.Erase(ctx)
		}
		if err != nil {
			t.Logf("erase what the test has stored: %v", err)
		}
	})
	return address
}

func mustOpen(t testing.TB, address string) *redisstore.Store {
	t.Helper()
	s, err := redisstore.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	server := dbtest.Redis(t)
	for _, parts := range []string{"parts=1", "parts=7"} {
		t.Run(parts, func(t *testing.T) {
			storetest.Check(t, func() (reference.Store, error) {
				return redisstore.Open(t.Context(), fresh(t, server, parts))
			})
			address := fresh(t, server, parts)
			if err := storetest.TestDurable(func(string) (reference.Store, error) {
				return redisstore.Open(t.Context(), address)
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
