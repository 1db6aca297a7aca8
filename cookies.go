package farmspec

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
)

// SameSite is a cookie's SameSite attribute.
type SameSite string

// The values of SameSite. A cookie without the attribute, or with an unknown
// value, is treated as Lax (RFC 6265bis, section 5.6.7), except that for two
// minutes it also goes with a cross-site POST that navigates (section
// 5.6.7.2), as in Chromium.
const (
	SameSiteDefault SameSite = ""
	SameSiteLax     SameSite = "Lax"
	SameSiteStrict  SameSite = "Strict"
	SameSiteNone    SameSite = "None"
)

// Limits of the cookie store. The first two are those of RFC 6265bis, section
// 5.6, the third of section 5.5; the last two are Chromium's.
const (
	maxCookieSize      = 4096
	maxCookieAttribute = 1024
	maxCookieLife      = 400 * 24 * time.Hour
	maxCookiesPerSite  = 180
	keptCookiesPerSite = 150 // what an eviction leaves
	laxPostAge         = 2 * time.Minute
	maxRejectedCookies = 1000 // remembered
)

// Cookie is a cookie in a browser's store. Its value shows as a digest under
// every formatting verb.
type Cookie struct {
	Name, Value string
	// Domain is in lower case, without a leading dot. HostOnly says that no
	// other host than Domain gets the cookie.
	Domain   string
	HostOnly bool
	Path     string
	Secure   bool
	HTTPOnly bool
	SameSite SameSite
	// Expires is zero for a cookie that lasts as long as the browser.
	Expires time.Time
	// Created and LastAccess are by [BrowserOptions.Now]. Setting a cookie
	// again to the same value keeps Created.
	Created, LastAccess time.Time

	seq uint64 // breaks ties of Created
}

// String describes the cookie with a digest of its value.
func (c Cookie) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s=%s; Domain=%s; Path=%s", c.Name, Digest(c.Value), c.Domain, c.Path)
	for _, f := range []struct {
		set  bool
		text string
	}{
		{c.HostOnly, "(host only)"},
		{c.Secure, "Secure"},
		{c.HTTPOnly, "HttpOnly"},
		{c.SameSite != "", "SameSite=" + string(c.SameSite)},
		{!c.Expires.IsZero(), "Expires=" + c.Expires.UTC().Format(time.RFC3339)},
	} {
		if f.set {
			b.WriteString("; " + f.text)
		}
	}
	return b.String()
}

// Format makes every verb show what String shows.
func (c Cookie) Format(s fmt.State, _ rune) { fmt.Fprint(s, c.String()) }

// Jar is a copy of a browser's cookies, to look at or to restore.
type Jar []Cookie

// RejectedCookie is a cookie that a server set and the browser refused.
type RejectedCookie struct {
	Name string
	// URL is where it was set, without query.
	URL string
	// Reason says which rule it broke.
	Reason string
}

// cookieStore keeps cookies as RFC 6265bis, section 5.7, has it. It is safe
// for concurrent use.
//
// As in Chromium, a connection to localhost, *.localhost, 127.0.0.0/8 or ::1
// counts as secure even over plain http: such an origin is potentially
// trustworthy (W3C Secure Contexts, section 3.1). So Secure cookies and the
// prefixes work there without a certificate. Ports do not isolate cookies
// (section 8.5).
type cookieStore struct {
	unsent string // the name of a token that is no cookie; see [Browser.carry]

	mu       sync.Mutex
	cookies  []Cookie
	rejected []RejectedCookie
	seq      uint64
}

// sending says how a request stands to the site of what caused it, which
// decides which SameSite values go along (section 5.8.3).
type sending int

const (
	fromSameSite   sending = iota // same site, or asked for by the user: all
	crossSiteVisit                // a navigation with a safe method: not Strict
	crossSitePost                 // a navigation with another method: None, and young cookies without the attribute
	crossSiteLoad                 // anything within a page: None
)

// header returns the Cookie field for a request to u, "" if there is none,
// and marks the cookies used.
func (s *cookieStore) header(u *url.URL, how sending, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, c := range s.matching(u, how, now) {
		if c.Name == s.unsent && c.Name != "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		if c.Name != "" {
			b.WriteString(c.Name)
			b.WriteByte('=')
		}
		b.WriteString(c.Value)
		c.LastAccess = now
	}
	return b.String()
}

// matching returns the cookies for u in sending order: longer paths first,
// then older ones (section 5.8.3). The caller holds the lock.
func (s *cookieStore) matching(u *url.URL, how sending, now time.Time) []*Cookie {
	s.expire(now)
	host, path, secure := canonicalHost(u.Hostname()), requestPath(u), trustworthy(u)
	var out []*Cookie
	for i := range s.cookies {
		c := &s.cookies[i]
		switch {
		case c.HostOnly && host != c.Domain, !c.HostOnly && !domainMatch(host, c.Domain):
		case !pathMatch(path, c.Path):
		case c.Secure && !secure:
		case !c.goes(how, now):
		default:
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *Cookie) int {
		return cmp.Or(cmp.Compare(len(b.Path), len(a.Path)), a.Created.Compare(b.Created), cmp.Compare(a.seq, b.seq))
	})
	return out
}

// goes reports whether SameSite lets the cookie go along.
func (c *Cookie) goes(how sending, now time.Time) bool {
	switch c.SameSite {
	case SameSiteNone:
		return true
	case SameSiteStrict:
		return how == fromSameSite
	case SameSiteLax:
		return how <= crossSiteVisit
	default:
		return how <= crossSiteVisit || how == crossSitePost && now.Sub(c.Created) < laxPostAge
	}
}

// receive takes one Set-Cookie field of an answer from u. mayRestrict says
// that a cookie whose SameSite is not None may be set there: the request was
// same-site or a navigation. It returns why the cookie was refused, or "".
func (s *cookieStore) receive(u *url.URL, line string, mayRestrict bool, now time.Time) string {
	p, reason := parseSetCookie(line, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if reason == "" {
		var c Cookie
		if c, reason = s.admit(u, p, mayRestrict, now); reason == "" {
			s.insert(c, now)
			return ""
		}
	}
	if len(s.rejected) == maxRejectedCookies {
		s.rejected = slices.Delete(s.rejected, 0, 1)
	}
	s.rejected = append(s.rejected, RejectedCookie{Name: p.name, URL: place(u), Reason: reason})
	return reason
}

// admit applies the storage model (section 5.7) up to the insertion. The
// caller holds the lock.
func (s *cookieStore) admit(u *url.URL, p setCookie, mayRestrict bool, now time.Time) (Cookie, string) {
	host, secure := canonicalHost(u.Hostname()), trustworthy(u)
	c := Cookie{
		Name: p.name, Value: p.value, Domain: host, HostOnly: true, Path: p.path,
		Secure: p.secure, HTTPOnly: p.httpOnly, SameSite: p.sameSite,
		Expires: p.expires, Created: now, LastAccess: now,
	}
	if c.Path == "" {
		c.Path = defaultPath(requestPath(u))
	}
	if c.Name == "" && c.Value == "" {
		return c, "it has neither name nor value"
	}
	switch domain := p.domain; {
	case domain == "":
	case !ascii(domain):
		return c, "its Domain is not ASCII"
	case !domainMatch(host, domain):
		return c, fmt.Sprintf("its Domain %s does not cover %s", domain, host)
	case isIP(host): // Domain equals the address, and addresses have no subdomains
	case isPublicSuffix(domain):
		if domain != host {
			return c, fmt.Sprintf("its Domain %s is a public suffix", domain)
		}
	default:
		c.Domain, c.HostOnly = domain, false
	}
	if c.Secure && !secure {
		return c, "Secure set over an insecure connection"
	}
	if !c.Secure && !secure && s.overlaysSecure(c) {
		return c, "it would overlay a Secure cookie from an insecure connection"
	}
	if c.SameSite == SameSiteNone && !c.Secure {
		return c, "SameSite=None needs Secure"
	}
	if c.SameSite != SameSiteNone && !mayRestrict {
		return c, "a cross-site request within a page may set only SameSite=None"
	}
	return c, brokenPrefix(c, p)
}

// brokenPrefix says which name prefix rule the cookie breaks (section 5.4;
// the two Http prefixes are of draft-ietf-httpbis-layered-cookies).
func brokenPrefix(c Cookie, p setCookie) string {
	name := strings.ToLower(c.Name)
	if name == "" {
		name = strings.ToLower(c.Value)
		for _, prefix := range []string{"__secure-", "__host-", "__http-"} {
			if strings.HasPrefix(name, prefix) {
				return "a nameless cookie must not look like a prefixed one"
			}
		}
		return ""
	}
	isHost := strings.HasPrefix(name, "__host-")
	isHTTP := strings.HasPrefix(name, "__http-") || strings.HasPrefix(name, "__host-http-")
	switch {
	case (isHost || isHTTP || strings.HasPrefix(name, "__secure-")) && !c.Secure:
		return "its prefix needs Secure"
	case isHTTP && !c.HTTPOnly:
		return "its prefix needs HttpOnly"
	case isHost && !c.HostOnly:
		return "its prefix forbids Domain"
	case isHost && p.path != "/":
		return "its prefix needs Path=/"
	}
	return ""
}

// overlaysSecure reports whether a Secure cookie stands where c would lie
// (section 5.7, "leave Secure cookies alone"). The caller holds the lock.
func (s *cookieStore) overlaysSecure(c Cookie) bool {
	return slices.ContainsFunc(s.cookies, func(old Cookie) bool {
		return old.Name == c.Name && old.Secure &&
			(domainMatch(old.Domain, c.Domain) || domainMatch(c.Domain, old.Domain)) &&
			pathMatch(c.Path, old.Path)
	})
}

// insert puts c in the place of a cookie with its name, domain and path. It
// inherits the other's creation time only if the value is the same, as in
// Chromium; section 5.7 has it always inherited. The caller holds the lock.
func (s *cookieStore) insert(c Cookie, now time.Time) {
	s.expire(now)
	s.seq++
	c.seq = s.seq
	if i := slices.IndexFunc(s.cookies, func(old Cookie) bool {
		return old.Name == c.Name && old.Domain == c.Domain && old.HostOnly == c.HostOnly && old.Path == c.Path
	}); i >= 0 {
		if old := s.cookies[i]; old.Value == c.Value {
			c.Created, c.seq = old.Created, old.seq
		}
		s.cookies = slices.Delete(s.cookies, i, i+1)
	}
	if !c.Expires.IsZero() && !c.Expires.After(now) {
		return // the way to delete a cookie
	}
	s.cookies = append(s.cookies, c)
	s.evict(registrable(c.Domain))
}

// evict removes cookies of a site with too many: those without Secure first,
// the least recently used of each kind first (section 5.7). Like Chromium it
// counts by registrable domain and makes some room. The caller holds the lock.
func (s *cookieStore) evict(site string) {
	var of []Cookie
	for _, c := range s.cookies {
		if registrable(c.Domain) == site {
			of = append(of, c)
		}
	}
	if len(of) <= maxCookiesPerSite {
		return
	}
	slices.SortFunc(of, func(a, b Cookie) int {
		if a.Secure != b.Secure {
			if b.Secure {
				return -1
			}
			return 1
		}
		return cmp.Or(a.LastAccess.Compare(b.LastAccess), cmp.Compare(a.seq, b.seq))
	})
	gone := make(map[uint64]bool)
	for _, c := range of[:len(of)-keptCookiesPerSite] {
		gone[c.seq] = true
	}
	s.cookies = slices.DeleteFunc(s.cookies, func(c Cookie) bool { return gone[c.seq] })
}

// expire drops what has expired. A cookie is expired at its Expires, not
// only after it. The caller holds the lock.
func (s *cookieStore) expire(now time.Time) {
	s.cookies = slices.DeleteFunc(s.cookies, func(c Cookie) bool {
		return !c.Expires.IsZero() && !c.Expires.After(now)
	})
}

// snapshot copies the cookies that have not expired, in order of creation.
func (s *cookieStore) snapshot(now time.Time) Jar {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	jar := Jar(slices.Clone(s.cookies))
	slices.SortFunc(jar, func(a, b Cookie) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.seq, b.seq))
	})
	return jar
}

// restore replaces all cookies.
func (s *cookieStore) restore(jar Jar) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cookies = nil
	for _, c := range jar {
		s.seq++
		c.seq = s.seq
		s.cookies = append(s.cookies, c)
	}
}

// setCookie is a parsed Set-Cookie field.
type setCookie struct {
	name, value string
	expires     time.Time
	domain      string // "" if absent
	path        string // "" if absent or not absolute
	secure      bool
	httpOnly    bool
	sameSite    SameSite
}

// parseSetCookie parses a Set-Cookie field (section 5.6). The reason is not
// empty when the field is to be ignored.
func parseSetCookie(line string, now time.Time) (p setCookie, reason string) {
	pair, attributes, _ := strings.Cut(line, ";")
	name, value, named := strings.Cut(pair, "=")
	if !named {
		name, value = "", name
	}
	p.name, p.value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return p, "it contains a control character"
	}
	if strings.Contains(p.name+p.value, "\t") { // as in Chromium; the draft lets a tab through
		return p, "it contains a tab"
	}
	if len(p.name)+len(p.value) > maxCookieSize {
		return p, fmt.Sprintf("name and value are longer than %d bytes", maxCookieSize)
	}
	aged := false
	for attributes != "" {
		var av string
		av, attributes, _ = strings.Cut(attributes, ";")
		key, val, _ := strings.Cut(av, "=")
		key, val = strings.ToLower(strings.Trim(key, " \t")), strings.Trim(val, " \t")
		if len(val) > maxCookieAttribute {
			continue
		}
		switch key {
		case "expires":
			if t, ok := cookieDate(val); ok && !aged {
				p.expires = atMost(t, now.Add(maxCookieLife))
			}
		case "max-age":
			if t, ok := maxAge(val, now); ok {
				p.expires, aged = t, true
			}
		case "domain":
			p.domain = strings.ToLower(strings.TrimPrefix(val, "."))
		case "path":
			p.path = ""
			if strings.HasPrefix(val, "/") {
				p.path = val
			}
		case "secure":
			p.secure = true
		case "httponly":
			p.httpOnly = true
		case "samesite":
			p.sameSite = SameSiteDefault
			for _, v := range []SameSite{SameSiteLax, SameSiteStrict, SameSiteNone} {
				if strings.EqualFold(val, string(v)) {
					p.sameSite = v
				}
			}
		}
	}
	return p, ""
}

// past is an expiry time that is over by any clock, and not the zero time.
var past = time.Unix(0, 0)

// maxAge reads a Max-Age value (section 5.6.2).
func maxAge(s string, now time.Time) (time.Time, bool) {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case s[0] == '-' || err == nil && n == 0:
		return past, true
	case err != nil || n > int64(maxCookieLife/time.Second):
		return now.Add(maxCookieLife), true
	}
	return now.Add(time.Duration(n) * time.Second), true
}

// cookieDate reads an Expires value by the tolerant algorithm of section 5.1.1.
func cookieDate(s string) (time.Time, bool) {
	const months = "janfebmaraprmayjunjulaugsepoctnovdec"
	var hour, minute, second, day, month, year int
	var foundTime, foundDay, foundMonth, foundYear bool
	for _, token := range strings.FieldsFunc(s, dateDelimiter) {
		if h, m, sec, ok := dateTime(token); ok && !foundTime {
			hour, minute, second, foundTime = h, m, sec, true
		} else if n, ok := dateNumber(token, 1, 2); ok && !foundDay {
			day, foundDay = n, true
		} else if i := monthIndex(months, token); i >= 0 && !foundMonth {
			month, foundMonth = i+1, true
		} else if n, ok := dateNumber(token, 2, 4); ok && !foundYear {
			year, foundYear = n, true
		}
	}
	switch {
	case year >= 70 && year <= 99:
		year += 1900
	case year >= 0 && year <= 69:
		year += 2000
	}
	if !foundTime || !foundDay || !foundMonth || !foundYear ||
		day < 1 || day > 31 || year < 1601 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	return t, t.Day() == day // 30 February is no date
}

func dateDelimiter(r rune) bool {
	return r == '\t' || r >= 0x20 && r <= 0x2f || r >= 0x3b && r <= 0x40 || r >= 0x5b && r <= 0x60 || r >= 0x7b && r <= 0x7e
}

// dateNumber reads the digits that token begins with, from least to most of
// them; anything else may follow.
func dateNumber(token string, least, most int) (int, bool) {
	n, digits := 0, 0
	for digits < len(token) && token[digits] >= '0' && token[digits] <= '9' {
		if digits == most {
			return 0, false
		}
		n = n*10 + int(token[digits]-'0')
		digits++
	}
	return n, digits >= least
}

func dateTime(token string) (h, m, s int, ok bool) {
	parts := strings.SplitN(token, ":", 3)
	if len(parts) != 3 {
		return 0, 0, 0, false
	}
	var n [3]int
	for i, part := range parts {
		v, ok := dateNumber(part, 1, 2)
		if !ok || i < 2 && strings.Trim(part, "0123456789") != "" {
			return 0, 0, 0, false
		}
		n[i] = v
	}
	return n[0], n[1], n[2], true
}

func monthIndex(months, token string) int {
	if len(token) < 3 {
		return -1
	}
	i := strings.Index(months, strings.ToLower(token[:3]))
	if i < 0 || i%3 != 0 {
		return -1
	}
	return i / 3
}

func atMost(t, most time.Time) time.Time {
	if t.After(most) {
		return most
	}
	return t
}

// domainMatch reports whether host is domain or below it (section 5.1.3).
func domainMatch(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain) && !isIP(host)
}

// pathMatch reports whether a request for path gets a cookie for cookiePath
// (section 5.1.4).
func pathMatch(path, cookiePath string) bool {
	rest, ok := strings.CutPrefix(path, cookiePath)
	return ok && (rest == "" || strings.HasSuffix(cookiePath, "/") || rest[0] == '/')
}

// defaultPath is the path of a cookie set without one (section 5.1.4).
func defaultPath(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/"
	}
	return path[:i]
}

// requestPath is the path that cookies are matched with.
func requestPath(u *url.URL) string {
	if p := u.EscapedPath(); strings.HasPrefix(p, "/") {
		return p
	}
	return "/"
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func isPublicSuffix(domain string) bool {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix == domain
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e })
}

// registrable is the registrable domain of a host; the host itself if it is
// an address or a public suffix. localhost is a public suffix (the list's
// default rule), so farm.localhost is a registrable domain.
func registrable(host string) string {
	if isIP(host) {
		return host
	}
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}

// sameSite reports whether two addresses have the same scheme and registrable
// domain (HTML, "same site"; RFC 6265bis, section 5.2).
func sameSite(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && registrable(canonicalHost(a.Hostname())) == registrable(canonicalHost(b.Hostname()))
}

// trustworthy reports whether cookies treat a connection to u as secure; see
// [cookieStore].
func trustworthy(u *url.URL) bool {
	return u.Scheme == "https" || isLoopback(canonicalHost(u.Hostname()))
}

func isLoopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
