package reference_test

import (
	"testing"

	"github.com/farmspec/farmspec/reference"
)

func TestSameAsComparesEveryBit(t *testing.T) {
	tok := reference.Token{ID: reference.ID{1, 2, 15: 3}, Timestamp: 1_700_000_000_000}
	if !tok.SameAs(tok) {
		t.Error("a token is not the same as itself")
	}
	for bit := range 64 {
		other := tok
		other.Timestamp ^= 1 << bit
		if tok.SameAs(other) || other.SameAs(tok) {
			t.Errorf("bit %d of the timestamp is not compared (claim 6)", bit)
		}
	}
	for bit := range 8 * len(tok.ID) {
		other := tok
		other.ID[bit/8] ^= 1 << (bit % 8)
		if tok.SameAs(other) || other.SameAs(tok) {
			t.Errorf("bit %d of the session ID is not compared (claim 6)", bit)
		}
	}
}
