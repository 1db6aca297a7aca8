package memstore

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/farmspec/farmspec/reference"
)

// index finds sessions by an ID, split so that callers seldom meet. Which IDs
// share a shard, or a place in its table, follows from keys that nobody knows:
// whoever makes up IDs cannot make them crowd.
type index struct {
	shards   [64]shard
	sessions *roster
	keys     [2]uint64
}

// shard fills a cache line.
type shard struct {
	mu sync.Mutex
	table
}

func newIndex(sessions *roster) *index {
	return &index{sessions: sessions, keys: [2]uint64{rand.Uint64(), rand.Uint64()}}
}

// locate returns the ID's shard, locked, and the hash of it for the table.
func (x *index) locate(id *reference.ID) (*shard, uint32) {
	high, low := bits.Mul64(binary.LittleEndian.Uint64(id[:8])^x.keys[0], binary.LittleEndian.Uint64(id[8:])^x.keys[1])
	mixed := high ^ low
	s := &x.shards[mixed%uint64(len(x.shards))]
	s.mu.Lock()
	return s, uint32(mixed >> 32)
}

// find returns the session to which the ID leads, or nil. It may be gone.
func (x *index) find(id reference.ID) (e *entry) {
	s, hash := x.locate(&id)
	if r, _ := s.find(hash, &id); r != nil {
		e = x.sessions.at(r.session)
	}
	s.mu.Unlock()
	return e
}

// claim makes the ID lead to e, whose lock is held and which is not gone,
// unless it leads to a living session already.
func (x *index) claim(id reference.ID, e *entry, at int64) bool {
	s, hash := x.locate(&id)
	claimed := true
	switch r, place := s.find(hash, &id); {
	case r == nil:
		s.add(record{id, at, e.number, hash}, place)
	case x.sessions.at(r.session).gone.Load():
		r.at, r.session = at, e.number
	default:
		claimed = false
	}
	s.mu.Unlock()
	return claimed
}

// drop takes the ID out, if it still leads to e.
func (x *index) drop(id reference.ID, e *entry) {
	s, hash := x.locate(&id)
	defer s.mu.Unlock()
	if r, _ := s.find(hash, &id); r != nil && x.sessions.at(r.session) == e {
		s.drop(r)
	}
}

// prune drops what leads to sessions that are gone, and spent IDs older than
// the instant.
func (x *index) prune(before int64) {
	type candidate struct {
		id reference.ID
		e  *entry
	}
	for i := range x.shards {
		var old []candidate
		s := &x.shards[i]
		s.mu.Lock()
		for r := range s.all {
			if e := x.sessions.at(r.session); r.at < before || e.gone.Load() {
				old = append(old, candidate{r.id, e})
			}
		}
		s.mu.Unlock()
		for _, c := range old {
			c.e.mu.Lock()
			if c.e.gone.Load() || c.id != c.e.s.Current.ID && c.id != c.e.s.Previous.ID {
				x.drop(c.id, c.e)
			}
			c.e.mu.Unlock()
		}
	}
}

// roster numbers the sessions, so that a record needs no pointer. A session
// keeps its number for as long as an index may have it.
type roster struct {
	mu   sync.Mutex // held by writers
	list atomic.Pointer[[]atomic.Pointer[entry]]
	free []uint32
}

// at returns the session of a number out of a record whose shard is locked.
func (r *roster) at(number uint32) *entry { return (*r.list.Load())[number].Load() }

// add gives the session a number.
func (r *roster) add(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 {
		r.grow()
	}
	last := len(r.free) - 1
	e.number, r.free = r.free[last], r.free[:last]
	(*r.list.Load())[e.number].Store(e)
}

func (r *roster) grow() {
	old := r.numbers()
	list := make([]atomic.Pointer[entry], max(8, 2*len(old)))
	for i := range old {
		list[i].Store(old[i].Load())
	}
	for i := len(old); i < len(list); i++ {
		r.free = append(r.free, uint32(i))
	}
	r.list.Store(&list)
}

// numbers returns the sessions by number, nil where a number is free.
func (r *roster) numbers() []atomic.Pointer[entry] {
	if list := r.list.Load(); list != nil {
		return *list
	}
	return nil
}

// remove takes the number from a session that is gone and that no index has
// any more. It may be called again.
func (r *roster) remove(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.numbers()[e.number].CompareAndSwap(e, nil) {
		r.free = append(r.free, e.number)
	}
}

// all returns the sessions, including those that are gone and still have a number.
func (r *roster) all() []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*entry
	for i := range r.numbers() {
		if e := r.numbers()[i].Load(); e != nil {
			all = append(all, e)
		}
	}
	return all
}
