package redisstore

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec/reference"
)

// Whatever is stored, reading it neither fails hard nor invents: what is taken
// for a record gives the same bytes again.
func FuzzRecord(f *testing.F) {
	s := reference.SecuritySession{Ref: reference.ID{1}, User: "ada", AuthenticatedAt: 1000, Current: reference.Token{ID: reference.ID{2}, Timestamp: -1},
		ClosedAt: 1 << 62, Reason: reference.ByLogout}
	f.Add(string(record(&s)))
	f.Add("")
	f.Add(string(record(&s))[:70])
	f.Add(string(record(&s))[:64] + "\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, rec string) {
		s, err := parseRecord(reference.ID{1}, rec)
		if err != nil {
			return
		}
		if again := string(record(&s)); len(again) > len(rec) || again != rec[:len(again)] {
			t.Errorf("%x is read as %+v, which is %x", rec, s, again)
		}
	})
}

func FuzzHTTP(f *testing.F) {
	h := reference.HTTPSession{ID: reference.ID{3}, Application: "shop", CreatedAt: 1, LastAccess: 2, Idle: 3, Version: 1<<63 - 1,
		Attributes: map[string]string{"cart": "2 pears", "": "\x00"}}
	f.Add(string(httpRecord(&h)), string(encode(h.Attributes)))
	f.Add("", "")
	f.Add(string(httpRecord(&h)), "\x00\x00\x00\x09cart")
	f.Fuzz(func(t *testing.T, rec, attributes string) {
		h, err := parseHTTP("shop", rec, attributes)
		if err != nil {
			return
		}
		again, err := parseHTTP("shop", string(httpRecord(&h)), string(encode(h.Attributes)))
		if d := cmp.Diff(h, again); d != "" || err != nil {
			t.Errorf("read, stored and read (-want +got):\n%s%v", d, err)
		}
	})
}
