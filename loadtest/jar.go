package loadtest

import (
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
)

// jar keeps a virtual browser's cookies, in sending order. What a cookie's
// attributes mean is decided by farmspec.Browser, once for each different set
// of them; see rules. A jar is not safe for concurrent use.
type jar struct{ cookies []cookie }

// cookie is kept as the pair that is sent.
type cookie struct {
	pair    string // name=value, or the value alone where there is no name
	nameLen int    // -1 where there is no name
	scope   *rule
	expires int64 // nanoseconds since 1970; zero is the end of the session
}

func (c *cookie) name() string  { return c.pair[:max(0, c.nameLen)] }
func (c *cookie) value() string { return c.pair[c.nameLen+1:] }

// maxCookies bounds a jar against a farm that makes up names. Browsers keep
// this many for a site.
const maxCookies = 180

// clone returns a jar of its own with the same cookies.
func (j *jar) clone() jar { return jar{append([]cookie(nil), j.cookies...)} }

// header returns the Cookie field for a request to u, "" if there is none.
func (j *jar) header(o *origin, u *url.URL, now int64) string {
	first, more := "", 0
	for i := range j.cookies {
		if c := &j.cookies[i]; c.goesTo(o, u, now) && !c.scope.inAddress {
			if more++; more == 1 {
				first = c.pair
			}
		}
	}
	if more < 2 {
		return first
	}
	var b strings.Builder
	for i := range j.cookies {
		if c := &j.cookies[i]; c.goesTo(o, u, now) && !c.scope.inAddress {
			if b.Len() > 0 {
				b.WriteString("; ")
			}
			b.WriteString(c.pair)
		}
	}
	return b.String()
}

func (c *cookie) goesTo(o *origin, u *url.URL, now int64) bool {
	r := c.scope
	return (r.domain == o.host || !r.hostOnly && strings.HasSuffix(o.host, r.domain) && o.host[len(o.host)-len(r.domain)-1] == '.') &&
		(r.path == "/" || underPath(u.Path, r.path)) &&
		(!r.secure || o.secure) &&
		(c.expires == 0 || now < c.expires)
}

// underPath is the path match of RFC 6265, section 5.1.4.
func underPath(path, scope string) bool {
	rest, ok := strings.CutPrefix(path, scope)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(scope, "/"))
}

// drop removes the cookies of that name.
func (j *jar) drop(name string) {
	kept := j.cookies[:0]
	for _, c := range j.cookies {
		if c.name() != name {
			kept = append(kept, c)
		}
	}
	clear(j.cookies[len(kept):])
	j.cookies = kept
}

// set takes a Set-Cookie field of an answer from u, of which it keeps nothing
// but copies. It returns the cookie's name and value; false where a browser
// refuses the cookie.
func (j *jar) set(rs *rules, o *origin, u *url.URL, line string, now int64) (name, value string, ok bool) {
	pair, attributes, _ := strings.Cut(line, ";")
	name, value, named := strings.Cut(pair, "=")
	if !named {
		name, value = "", name
	}
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	if name == "" && (value == "" || strings.HasPrefix(value, "__")) || len(name)+len(value) > 4096 ||
		strings.IndexByte(line, '\t') >= 0 || strings.IndexByte(line, 0) >= 0 || strings.IndexByte(line, '\x7f') >= 0 {
		return name, value, false
	}
	r := rs.find(o, u, name, attributes, now)
	if r == nil {
		return name, value, false
	}
	if i := j.same(name, r); i >= 0 {
		if c := &j.cookies[i]; c.value() == value && !r.gone {
			c.scope, c.expires = r, r.until(now)
			return name, value, true
		} else if r.gone {
			j.cookies = append(j.cookies[:i], j.cookies[i+1:]...)
		}
	}
	if r.gone {
		return name, "", true
	}
	// A copy: the field is part of something larger.
	c := cookie{pair: name + "=" + value, nameLen: len(name), scope: r, expires: r.until(now)}
	if name == "" {
		c.pair, c.nameLen = strings.Clone(value), -1
	}
	j.keep(c)
	return name, c.value(), true
}

// same returns the index of the cookie which one of that name and scope takes
// the place of, or -1.
func (j *jar) same(name string, r *rule) int {
	for i := range j.cookies {
		if c := &j.cookies[i]; c.name() == name && c.scope.domain == r.domain && c.scope.hostOnly == r.hostOnly && c.scope.path == r.path {
			return i
		}
	}
	return -1
}

// keep puts a cookie in its place.
func (j *jar) keep(c cookie) {
	if i := j.same(c.name(), c.scope); i >= 0 {
		j.cookies = append(j.cookies[:i], j.cookies[i+1:]...)
	} else if len(j.cookies) == maxCookies {
		j.cookies = append(j.cookies[:0], j.cookies[1:]...)
	}
	// Longer paths go first, and among equals the older ones (RFC 6265, section 5.4).
	at := len(j.cookies)
	for at > 0 && len(j.cookies[at-1].scope.path) < len(c.scope.path) {
		at--
	}
	j.cookies = append(j.cookies, cookie{})
	copy(j.cookies[at+1:], j.cookies[at:])
	j.cookies[at] = c
}

// rule is what a browser makes of a set of attributes from one place.
type rule struct {
	domain, path     string
	hostOnly, secure bool
	inAddress        bool          // no cookie: a token that addresses carry
	gone             bool          // it takes the cookie away
	age              time.Duration // by Max-Age; zero is none
	expires          int64         // by Expires, nanoseconds since 1970; zero is none
}

func (r *rule) until(now int64) int64 {
	if r.age > 0 {
		return now + int64(r.age)
	}
	return r.expires
}

// rules remembers what farmspec.Browser makes of cookies' attributes. It is
// safe for concurrent use.
type rules struct {
	mu      sync.RWMutex
	known   map[ruleKey]*rule // nil: refused
	browser *farmspec.Browser // it sends nothing
}

type ruleKey struct{ origin, path, name, attributes string }

func newRules() *rules {
	return &rules{known: make(map[ruleKey]*rule), browser: farmspec.NewBrowser(farmspec.BrowserOptions{Name: "rules"})}
}

// maxRules bounds what is remembered of a farm that never sends the same twice.
const maxRules = 4096

func (rs *rules) find(o *origin, u *url.URL, name, attributes string, now int64) *rule {
	k := ruleKey{o.base, u.Path, name, attributes}
	rs.mu.RLock()
	r, ok := rs.known[k]
	rs.mu.RUnlock()
	if ok {
		return r
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.known) >= maxRules {
		clear(rs.known)
	}
	r = rs.learn(o.base+u.EscapedPath(), name, attributes, now)
	k.path, k.name, k.attributes = strings.Clone(k.path), strings.Clone(name), strings.Clone(attributes)
	rs.known[k] = r
	return r
}

// learn asks farmspec.Browser. The caller holds the lock.
func (rs *rules) learn(address, name, attributes string, now int64) *rule {
	rs.browser.ClearCookies()
	if rs.browser.SetCookie(address, name+"=x;"+attributes) != nil {
		return nil
	}
	kept, gone := rs.browser.AllCookies(), false
	if len(kept) == 0 {
		// It expired on arrival. Without its dates it shows where it would be.
		gone = true
		if rs.browser.SetCookie(address, name+"=x;"+withoutDates(attributes)) != nil {
			return nil
		}
		kept = rs.browser.AllCookies()
	}
	if len(kept) != 1 {
		return nil
	}
	c := kept[0]
	r := &rule{domain: c.Domain, path: c.Path, hostOnly: c.HostOnly, secure: c.Secure, gone: gone}
	switch {
	case c.Expires.IsZero() || gone:
	case strings.Contains(strings.ToLower(attributes), "max-age"):
		r.age = time.Duration(c.Expires.UnixNano() - now).Round(time.Second)
	default:
		r.expires = c.Expires.UnixNano()
	}
	return r
}

func withoutDates(attributes string) string {
	var kept []string
	for a := range strings.SplitSeq(attributes, ";") {
		k, _, _ := strings.Cut(a, "=")
		if k = strings.ToLower(strings.Trim(k, " \t")); k != "max-age" && k != "expires" {
			kept = append(kept, a)
		}
	}
	return strings.Join(kept, ";")
}

// origin is scheme, host and port, made out once.
type origin struct {
	base   string // "http://server-1.farm.localhost:8080"
	scheme string
	at     string // host and port, the latter if the address has it
	dial   string // host and port
	host   string // lower case, without port
	secure bool   // https, or a loopback host (W3C Secure Contexts, section 3.1)
}

func originOf(u *url.URL) *origin {
	o := &origin{base: u.Scheme + "://" + u.Host, scheme: u.Scheme, at: u.Host, dial: u.Host, host: strings.ToLower(u.Hostname())}
	if u.Port() == "" {
		o.dial += ":80" // who speaks TLS connects by other ways
	}
	o.secure = u.Scheme == "https" || o.host == "localhost" || strings.HasSuffix(o.host, ".localhost") || isLoopback(o.host)
	return o
}

// carried is the scope of a token that addresses of this origin carry.
func (o *origin) carried() *rule {
	return &rule{domain: o.host, path: "/", hostOnly: true, inAddress: true}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
