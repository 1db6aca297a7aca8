package farmspec

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxCache bounds the bodies a cache keeps, in bytes; maxCached how many answers.
const (
	maxCache  = 8 << 20
	maxCached = 256
)

// cache is a private cache (RFC 9111), as small as session tests need: one
// answer for an address and partition, and only to GET. It never answers in
// place of the farm, except that redirects still fresh are followed from it;
// see [Browser.CacheLookup] and [Browser.BackForward]. It is safe for
// concurrent use.
type cache struct {
	mu     sync.Mutex
	stored []cached // oldest first
	size   int
}

type cached struct {
	url       string // without fragment
	partition string // see [errand.partition]
	x         *Exchange
	at        time.Time // when it came, by the browser's clock
}

// keep stores the exchange if a browser would (RFC 9111, section 3), and
// forgets what a successful unsafe request made stale (section 4.4).
func (c *cache) keep(x *Exchange, partition string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case x.Err != nil || x.Status == 0:
		return
	case !safe(x.Method):
		if x.Status < 400 {
			for _, stale := range []string{x.URL, resolve(x.URL, x.Header.Get("Location")), resolve(x.URL, x.Header.Get("Content-Location"))} {
				if u, err := parseURL(stale); err == nil {
					if from, err := parseURL(x.URL); err == nil && sameOrigin(from, u) {
						c.drop(func(e cached) bool { return e.url == cacheKey(stale) })
					}
				}
			}
		}
		return
	case x.Method != http.MethodGet:
		return
	}
	if x.Status == http.StatusNotModified || x.Status == http.StatusPartialContent {
		return
	}
	key := cacheKey(x.URL)
	c.drop(func(e cached) bool { return e.url == key && e.partition == partition })
	d := directives(x.Header)
	_, explicit := explicitLifetime(x.Header, d)
	_, public := d["public"]
	_, private := d["private"]
	_, noStore := d["no-store"]
	if noStore || x.Truncated || !(explicit || public || private || CacheableStatus(x.Status)) {
		return
	}
	c.stored = append(c.stored, cached{key, partition, x, now})
	for c.size += len(x.Body); c.size > maxCache || len(c.stored) > maxCached; {
		oldest := true
		c.drop(func(cached) bool { first := oldest; oldest = false; return first })
	}
}

// drop forgets what gone says. The caller holds the lock.
func (c *cache) drop(gone func(cached) bool) {
	c.stored = slices.DeleteFunc(c.stored, func(e cached) bool {
		if !gone(e) {
			return false
		}
		c.size -= len(e.x.Body)
		return true
	})
}

// find returns the newest answer stored for an address, in a partition whose
// name in satisfies, and whether it is fresh. Vary must let it answer a
// request with this header (section 4.1).
func (c *cache) find(url string, in func(partition string) bool, header http.Header, now time.Time) (x *Exchange, fresh, ok bool) {
	url = cacheKey(url)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range slices.Backward(c.stored) {
		if e.url == url && in(e.partition) && e.answers(header) {
			hit := *e.x
			hit.FromCache, hit.Reused, hit.Took = true, false, 0
			return &hit, e.fresh(now), true
		}
	}
	return nil, false, false
}

// answers reports whether Vary lets the answer be used for a request with header.
func (e cached) answers(header http.Header) bool {
	for _, field := range e.x.Header.Values("Vary") {
		for name := range strings.SplitSeq(field, ",") {
			name = strings.TrimSpace(name)
			if name == "*" || !slices.Equal(e.x.RequestHeader.Values(name), header.Values(name)) {
				return false
			}
		}
	}
	return true
}

// fresh reports whether the answer may be used without asking (section 4.2).
func (e cached) fresh(now time.Time) bool {
	d := directives(e.x.Header)
	if _, ok := d["no-cache"]; ok {
		return false
	}
	if len(d) == 0 && strings.Contains(strings.ToLower(e.x.Header.Get("Pragma")), "no-cache") {
		return false
	}
	return lifetime(e.x, d) > e.age(now)
}

// age is the answer's current age (section 4.2.3).
func (e cached) age(now time.Time) time.Duration {
	age := max(seconds(e.x.Header.Get("Age")), 0)
	if date, err := http.ParseTime(e.x.Header.Get("Date")); err == nil {
		age = max(age, e.at.Sub(date))
	}
	return age + now.Sub(e.at)
}

// lifetime is how long an answer stays fresh (section 4.2.1): as it says,
// else for ever if it is a permanent redirect or Gone, else a tenth of its
// age when it came (section 4.2.2).
func lifetime(x *Exchange, d map[string]string) time.Duration {
	if life, ok := explicitLifetime(x.Header, d); ok {
		return life
	}
	switch x.Status {
	case http.StatusMovedPermanently, http.StatusPermanentRedirect, http.StatusGone:
		return math.MaxInt64
	}
	if _, ok := d["must-revalidate"]; ok || !CacheableStatus(x.Status) {
		return 0
	}
	modified, err := http.ParseTime(x.Header.Get("Last-Modified"))
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(x.Header.Get("Date"))
	if err != nil {
		return 0
	}
	return date.Sub(modified) / 10
}

// explicitLifetime is what max-age or Expires say; s-maxage is for shared caches.
func explicitLifetime(h http.Header, d map[string]string) (time.Duration, bool) {
	if v, ok := d["max-age"]; ok {
		return max(seconds(v), 0), true
	}
	if h.Get("Expires") == "" {
		return 0, false
	}
	expires, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return 0, true // an invalid date means already expired (section 5.3)
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0, true
	}
	return expires.Sub(date), true
}

// CacheableStatus reports whether a status is cacheable when nothing is said
// (RFC 9110, section 15.1).
func CacheableStatus(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// directives reads Cache-Control: names in lower case, the first of equal
// names counts (RFC 9111, section 4.2.1).
func directives(h http.Header) map[string]string {
	d := make(map[string]string)
	for _, field := range h.Values("Cache-Control") {
		for part := range strings.SplitSeq(field, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			name = strings.ToLower(strings.TrimSpace(name))
			if _, twice := d[name]; name != "" && !twice {
				d[name] = strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
	}
	return d
}

// seconds reads delta-seconds; negative if s is none. What is too large is
// the largest (RFC 9111, section 1.2.2).
func seconds(s string) time.Duration {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return -1
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > math.MaxInt32 {
		n = math.MaxInt32
	}
	return time.Duration(n) * time.Second
}

// safe reports whether a method asks for no change (RFC 9110, section 9.2.1).
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// cacheKey is an address without its fragment.
func cacheKey(url string) string {
	key, _, _ := strings.Cut(url, "#")
	return key
}
