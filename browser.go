package farmspec

import (
	"net/url"
	"strings"
)

// resolve returns the absolute address that ref, found in an answer from
// base, points to; "" when there is none or it cannot be parsed. It reads ref
// as browsers do (URL Standard, basic URL parser): surrounding blanks and any
// tab or line break are dropped, a backslash is a slash, and a fragment is
// inherited from base when ref has none (RFC 9110, section 10.2.2).
func resolve(base, ref string) string {
	ref = cleanURL(ref)
	if ref == "" {
		return ""
	}
	b, err := url.Parse(base)
	if err != nil {
		return ""
	}
	r, err := url.Parse(ref)
	if err != nil {
		return ""
	}
	u := b.ResolveReference(r)
	if r.Fragment == "" {
		u.Fragment, u.RawFragment = b.Fragment, b.RawFragment
	}
	return u.String()
}

// cleanURL does what browsers do to an address before they parse it.
func cleanURL(s string) string {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	end := strings.IndexAny(s, "?#")
	if end < 0 {
		end = len(s)
	}
	if scheme, _, ok := strings.Cut(s[:end], ":"); ok && !strings.ContainsAny(scheme, `/\`) && !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return s // opaque to us: mailto:, data:, javascript:
	}
	return strings.ReplaceAll(s[:end], `\`, "/") + s[end:]
}
