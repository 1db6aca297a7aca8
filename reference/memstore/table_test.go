package memstore

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/farmspec/farmspec/reference"
)

func FuzzTableIsAMap(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		// Few enough IDs that they come again, and hashes from all different
		// to all the same.
		random := rand.New(rand.NewPCG(seed, 1))
		ids, spread := 1+random.Uint32N(400), uint32(1)<<random.Uint32N(32)
		var got table
		want := make(map[reference.ID]record)
		for range 2000 {
			n := random.Uint32N(ids)
			r := record{id: numbered(n), at: random.Int64(), session: random.Uint32N(none), hash: n * 0x9e3779b1 & (spread - 1)}
			old, is := want[r.id]
			found, place := got.find(r.hash, &r.id)
			if (found != nil) != is || is && *found != old {
				t.Fatalf("find %d = %v, want %v, %v", n, found, old, is)
			}
			switch {
			case !is:
				got.add(r, place)
				want[r.id] = r
			case random.Uint32N(4) > 0: // forgetting prevails, so that tables are made anew
				got.drop(found)
				delete(want, r.id)
			}
		}
		same(t, &got, want)
	})
}

// A table so large that words cannot hold enough of a hash is a map too, and
// what it gives out for the dead is bounded.
func TestLargeTable(t *testing.T) {
	const n = 60_000 // more than three quarters of 2^16
	var got table
	want := make(map[reference.ID]record)
	hash := func(n uint32) uint32 { return n * 0x9e3779b1 }
	for i := range uint32(n) {
		r := record{id: numbered(i), at: int64(i), session: i, hash: hash(i)}
		_, place := got.find(r.hash, &r.id)
		got.add(r, place)
		want[r.id] = r
	}
	same(t, &got, want)
	for i := range uint32(n - 1000) {
		id := numbered(i)
		r, _ := got.find(hash(i), &id)
		got.drop(r)
		delete(want, id)
	}
	same(t, &got, want)
	if most := 2*1000 + 2*pageLen; len(got.pages)*pageLen > most {
		t.Errorf("%d records are kept for 1000 IDs, want at most %d", len(got.pages)*pageLen, most)
	}
}

// same compares everything that is in the table.
func same(t *testing.T, got *table, want map[reference.ID]record) {
	t.Helper()
	n := 0
	for r := range got.all {
		n++
		if *r != want[r.id] {
			t.Fatalf("the table has %v, want %v", *r, want[r.id])
		}
		if found, _ := got.find(r.hash, &r.id); found != r {
			t.Fatalf("find does not lead to %v", *r)
		}
	}
	if n != len(want) || int(got.live) != n {
		t.Fatalf("the table has %d records and says %d, want %d", n, got.live, len(want))
	}
}

func numbered(n uint32) (id reference.ID) {
	binary.BigEndian.PutUint32(id[12:], n)
	return id
}

// Numbers of forgotten sessions are given out again.
func TestRosterDoesNotGrowForever(t *testing.T) {
	s := Open()
	for n := range uint32(1000) {
		sess := reference.SecuritySession{Ref: numbered(n), User: "ada", Current: reference.Token{ID: numbered(n)}}
		if err := s.Create(t.Context(), sess); err != nil {
			t.Fatal(err)
		}
		if s.Create(t.Context(), sess) == nil {
			t.Fatal("Create of a taken reference succeeded")
		}
		if err := s.Remove(t.Context(), sess.Ref); err != nil {
			t.Fatal(err)
		}
		if n%5 == 0 {
			if _, err := s.Prune(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(s.sessions.numbers()); n > 8 {
		t.Errorf("the roster has %d numbers for at most 6 sessions at a time", n)
	}
}
