package farmspec

import (
	"net/url"
	"testing"
)

func TestCarrierInAddresses(t *testing.T) {
	for _, tc := range []struct {
		kind, address, value string
		want                 string // with the value; then it is in there
		why                  string
	}{
		{"path", "http://a/b/c?q=1", "X1", "http://a/b/c;sid=X1?q=1", "a path parameter stands before the query"},
		{"path", "http://a/", "X", "http://a/;sid=X", "the root has one too"},
		{"path", "http://a/b%2Fc", "X%3D", "http://a/b%2Fc;sid=X%3D", "what is escaped stays so"},
		{"path", "http://a/b;v=1/c;v=2", "X", "http://a/b;v=1/c;v=2;sid=X", "other parameters stay"},
		{"query", "http://a/b", "X", "http://a/b?sid=X", "the first query parameter"},
		{"query", "http://a/b?q=%20&r", "X", "http://a/b?q=%20&r&sid=X", "the others are not written anew"},
		{"cookie", "http://a/b", "X", "http://a/b", "a cookie has no part in addresses"},
	} {
		u, err := url.Parse(tc.address)
		if err != nil {
			t.Fatal(err)
		}
		c := Carrier{Kind: tc.kind, Name: "sid"}
		if got := c.In(u); got != "" {
			t.Errorf("%s has %q", tc.address, got)
		}
		v := c.With(u, tc.value)
		if v.String() != tc.want {
			t.Errorf("%s with %s is %s, want %s (%s)", tc.address, tc.value, v, tc.want, tc.why)
		}
		again, err := url.Parse(v.String())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.In(again); c.inAddress() && got != tc.value {
			t.Errorf("%s has %q, want %q", v, got, tc.value)
		}
		if u.String() != tc.address {
			t.Errorf("the address itself became %s", u)
		}
	}
	for _, other := range []string{"http://a/b;sid2=X", "http://a/b;sid=X/c", "http://a/b?sid=X", "http://a/sid=X"} {
		u, _ := url.Parse(other)
		if got := (Carrier{Kind: "path", Name: "sid"}).In(u); got != "" {
			t.Errorf("%s has %q", other, got)
		}
	}
}
