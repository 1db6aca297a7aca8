package farmspec

import (
	"net/url"
	"strings"
)

// In returns what an address carries for a carrier of path or query, as it is
// spelled there; "" if nothing.
func (c Carrier) In(u *url.URL) string {
	var parts []string
	switch c.Kind {
	case "path":
		last := u.EscapedPath()
		last = last[strings.LastIndexByte(last, '/')+1:]
		parts = strings.Split(last, ";")[1:]
	case "query":
		parts = strings.Split(u.RawQuery, "&")
	}
	for _, p := range parts {
		if name, value, _ := strings.Cut(p, "="); name == c.Name {
			return value
		}
	}
	return ""
}

// With returns the address with a value, spelled as In returns it. Other
// carriers leave it as it is.
func (c Carrier) With(u *url.URL, value string) *url.URL {
	v := *u
	switch c.Kind {
	case "path":
		raw := u.EscapedPath() + ";" + c.Name + "=" + value
		if path, err := url.PathUnescape(raw); err == nil {
			v.Path, v.RawPath = path, raw
		}
	case "query":
		if v.RawQuery != "" {
			v.RawQuery += "&"
		}
		v.RawQuery += c.Name + "=" + value
	}
	return &v
}

// inAddress reports whether the carrier is a part of addresses.
func (c Carrier) inAddress() bool { return c.Kind == "path" || c.Kind == "query" }

// A token in addresses belongs to nobody's cookies, but its holder keeps it
// like one: the browser here stands for a person who goes on by the links of
// the last page. It is stored as a cookie that is never sent as one.

// carry returns the address as the browser's holder would have it: with the
// token, if it is a member's and has none.
func (b *Browser) carry(u *url.URL) *url.URL {
	t := b.opts.Target
	if t == nil || !t.Carrier.inAddress() || t.Carrier.In(u) != "" {
		return u
	}
	if _, ours := t.MemberOf(u.String()); !ours {
		return u
	}
	if c, ok := b.Cookie(u.String(), t.Carrier.Name); ok && c.Value != "" {
		return t.Carrier.With(u, c.Value)
	}
	return u
}

// collect keeps the token that an answer's addresses have for members.
func (b *Browser) collect(x *Exchange) {
	t := b.opts.Target
	if t == nil || !t.Carrier.inAddress() {
		return
	}
	refs := []string{x.Location()}
	if refs[0] == "" {
		refs = Links(x)
		for _, f := range Forms(x) {
			refs = append(refs, f.Action)
		}
	}
	for _, ref := range refs {
		u, err := parseURL(ref)
		if err != nil {
			continue
		}
		value := t.Carrier.In(u)
		m, ours := t.MemberOf(u.String())
		if !ours || value == "" {
			continue
		}
		for _, other := range t.Members {
			if t.Topology == SplitDomain && other.Name != m.Name {
				continue
			}
			if at, err := parseURL(other.URL); err == nil {
				b.PutCookie(Cookie{Name: t.Carrier.Name, Value: value, Domain: canonicalHost(at.Hostname()), HostOnly: true, Path: "/"})
			}
		}
		return
	}
}
