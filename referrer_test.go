package farmspec

import (
	"net/http"
	"strings"
	"testing"
)

func TestReferrer(t *testing.T) {
	const (
		page  = "https://user:word@a.test/p/q;s=1?token=t#frag"
		full  = "https://a.test/p/q;s=1?token=t"
		only  = "https://a.test/"
		plain = "http://a.test/p?token=t"
	)
	same, cross, down := "https://a.test/x", "https://b.test/x", "http://a.test/x"
	for _, tc := range []struct {
		policy                ReferrerPolicy
		toSame, toCross, down string
		why                   string
	}{
		{"", full, only, "", "W3C Referrer Policy 3: strict-origin-when-cross-origin is the default"},
		{NoReferrer, "", "", "", "3.1"},
		{NoReferrerWhenDowngrade, full, full, "", "3.2: the query crosses origins"},
		{SameOriginReferrer, full, "", "", "3.3: http is another origin"},
		{OriginReferrer, only, only, only, "3.4: even to http"},
		{StrictOriginReferrer, only, only, "", "3.5"},
		{OriginWhenCrossOrigin, full, only, only, "3.6"},
		{StrictOriginWhenCrossOrigin, full, only, "", "3.7"},
		{UnsafeURL, full, full, full, "3.8: everything everywhere, but never user, password or fragment"},
	} {
		for to, want := range map[string]string{same: tc.toSame, cross: tc.toCross, down: tc.down} {
			from, _ := parseURL(page)
			u, _ := parseURL(to)
			got := ""
			if r := referrer(tc.policy, from, u); r != nil {
				got = r.String()
			}
			if got != want {
				t.Errorf("%q from %s to %s: %q, want %q (%s)", tc.policy, page, to, got, want, tc.why)
			}
		}
	}
	from, _ := parseURL(plain)
	to, _ := parseURL(same)
	if got := referrer("", from, to); got == nil || got.String() != "http://a.test/" {
		t.Errorf("from http to https: %v, want the origin: an upgrade is no downgrade", got)
	}
	long, _ := parseURL("https://a.test/" + strings.Repeat("x", 5000))
	u, _ := parseURL(same)
	if got := referrer("", long, u); got.String() != only {
		t.Errorf("an address of 5000 bytes is told in full; 8.3 has the origin only")
	}
	if got := referrer(UnsafeURL, nil, u); got != nil {
		t.Errorf("no page, yet referrer %v", got)
	}
}

func TestReferrerPolicyIsRead(t *testing.T) {
	for _, tc := range []struct {
		fields []string
		want   ReferrerPolicy
		why    string
	}{
		{nil, "", "none said"},
		{[]string{"No-Referrer"}, NoReferrer, "W3C Referrer Policy 8.1: case does not count"},
		{[]string{"no-referrer, unsafe-url, later-invention"}, UnsafeURL, "8.1: the last known one"},
		{[]string{"origin", "same-origin"}, SameOriginReferrer, "8.1: fields are one list"},
		{[]string{"never"}, "", "8.1: the old words are for meta only"},
	} {
		if got := headerPolicy(http.Header{"Referrer-Policy": tc.fields}); got != tc.want {
			t.Errorf("%q = %q, want %q (%s)", tc.fields, got, tc.want, tc.why)
		}
	}
	for content, want := range map[string]ReferrerPolicy{"never": NoReferrer, "always": UnsafeURL, " ORIGIN ": OriginReferrer, "x": "", "default": StrictOriginWhenCrossOrigin, "origin-when-crossorigin": OriginWhenCrossOrigin} {
		if got := metaPolicy(content); got != want {
			t.Errorf("meta %q = %q, want %q", content, got, want)
		}
	}
}
