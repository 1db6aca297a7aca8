package memstore_test

import (
	"encoding/binary"
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
