package memstore_test

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/storetest"
)

func TestContract(t *testing.T) {
	storetest.Check(t, func() (reference.Store, error) { return memstore.Open(), nil })
}

// What Remove and Prune leave behind in the indices goes with the next Prune.
func TestForgettingFreesItsIDs(t *testing.T) {
	s := memstore.Open()
	sess := session(1)
	for i := range 3 {
		if err := s.Create(t.Context(), sess); err != nil {
			t.Fatalf("round %d: Create of IDs that were forgotten: %v", i, err)
		}
		if i%2 == 0 {
			if err := s.Remove(t.Context(), sess.Ref); err != nil {
				t.Fatal(err)
			}
		} else if _, err := s.CloseSession(t.Context(), sess.Ref, reference.ByAdmin, 5); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Prune(t.Context(), 6); err != nil {
			t.Fatal(err)
		}
		if got := s.String(); got != "memory, 0 sessions" {
			t.Errorf("round %d: the store holds %s", i, got)
		}
	}
}

func session(n uint64) reference.SecuritySession {
	s := reference.SecuritySession{User: "ada", AuthenticatedAt: 1000, Current: reference.Token{ID: id(n, 0), Timestamp: 1000}}
	s.Ref = id(n, 1<<40)
	return s
}

func id(a, b uint64) (id reference.ID) {
	binary.LittleEndian.PutUint64(id[:], a*0x9e3779b97f4a7c15+b*0xbf58476d1ce4e5b9) // spread over the shards
	binary.LittleEndian.PutUint64(id[8:], b)
	return id
}

// BenchmarkRotation is Find and Replace, each caller with a session of its own.
func BenchmarkRotation(b *testing.B) {
	for name, parallelism := range map[string]int{"32 callers": 16, "2 callers": 1} {
		b.Run(name, func(b *testing.B) {
			s := memstore.Open()
			var callers atomic.Uint64
			ctx := context.Background()
			b.SetParallelism(parallelism)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				n := callers.Add(1)
				sess := session(n)
				if err := s.Create(ctx, sess); err != nil {
					b.Error(err)
					return
				}
				current := sess.Current
				for i := uint64(1); pb.Next(); i++ {
					if _, err := s.Find(ctx, current.ID); err != nil {
						b.Error(err)
						return
					}
					next := reference.Token{ID: id(n, i), Timestamp: 1000}
					if err := s.Replace(ctx, current, next); err != nil {
						b.Error(err)
						return
					}
					current = next
				}
			})
		})
	}
}
