package memstore

import (
	"math"
	"math/bits"

	"github.com/farmspec/farmspec/reference"
)

// table maps IDs to records. It is made for very many that are hardly ever
// asked for: records lie in the order in which they came, four bytes of words
// lead to each, and without pointers among them there is nothing for the
// garbage collector to follow. The zero table is empty.
type table struct {
	// words is open addressing with linear probing; at most three quarters of
	// it are taken. Its length is a power of two, of n bits. A word has the
	// number of a record, from one, in its lowest n bits, and above them what
	// the hash has there; the highest n bits of a hash are its home. Zero is free.
	words []uint32
	pages []*page
	taken uint32 // records with a word, dropped ones included
	live  uint32
}

const pageLen = 128

type page [pageLen]record

// record is where an ID leads.
type record struct {
	id      reference.ID
	at      int64  // its token's timestamp
	session uint32 // by the roster
	hash    uint32
}

// none is the session of a record that was dropped.
const none = math.MaxUint32

// record returns the one of a number.
func (t *table) record(number uint32) *record {
	return &t.pages[(number-1)/pageLen][(number-1)%pageLen]
}

// home is where in words to look first.
func (t *table) home(hash uint32) uint32 {
	return uint32(uint64(hash) * uint64(len(t.words)) >> 32)
}

// find returns the ID's record, which is good until the next drop, or nil and
// the place in words where it would go.
func (t *table) find(hash uint32, id *reference.ID) (*record, uint32) {
	if len(t.words) == 0 {
		return nil, 0
	}
	mask := uint32(len(t.words) - 1)
	for i := t.home(hash); ; i = (i + 1) & mask {
		word := t.words[i]
		if word == 0 {
			return nil, i
		}
		if (word^hash)&^mask == 0 {
			if r := t.record(word & mask); r.id == *id && r.session != none {
				return r, i
			}
		}
	}
}

// add puts in a record that find did not find, at the place that it named.
func (t *table) add(r record, place uint32) {
	if 4*(t.taken+1) > 3*uint32(len(t.words)) {
		t.grow()
		_, place = t.find(r.hash, &r.id)
	}
	if t.taken%pageLen == 0 {
		t.pages = append(t.pages, new(page))
	}
	t.taken++
	t.live++
	*t.record(t.taken) = r
	mask := uint32(len(t.words) - 1)
	t.words[place] = r.hash&^mask | t.taken
}

func (t *table) grow() {
	old := t.words
	t.words = make([]uint32, max(8, 2*len(old)))
	mask, below := uint32(len(t.words)-1), uint32(len(old)-1)
	// Up to a size a word has enough of its hash to tell its new home.
	enough := 2*bits.Len32(mask) <= 33
	for _, word := range old {
		if word == 0 {
			continue
		}
		number, hash := word&below, word
		if !enough {
			hash = t.record(number).hash
		}
		i := t.home(hash)
		for t.words[i] != 0 {
			i = (i + 1) & mask
		}
		t.words[i] = hash&^mask | number
	}
}

// drop takes a living record out, whose word stays. Where more records are
// dead than alive by then, a table that fits takes the place of this one.
func (t *table) drop(r *record) {
	r.session = none
	t.live--
	if dead := t.taken - t.live; dead <= t.live+pageLen {
		return
	}
	old := *t
	*t = table{}
	for r := range old.all {
		_, place := t.find(r.hash, &r.id)
		t.add(*r, place)
	}
}

// all yields every living record, in the order in which they came. The table
// must not change meanwhile.
func (t *table) all(yield func(*record) bool) {
	for n := range t.taken {
		if r := t.record(n + 1); r.session != none && !yield(r) {
			return
		}
	}
}
