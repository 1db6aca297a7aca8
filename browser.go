package farmspec

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// BrowserOptions configures a [Browser]. The zero value is a browser with its
// own connections, the system's clock and a trace ID drawn for it.
type BrowserOptions struct {
	// Name is who sends, in every [Exchange].
	Name string
	// Target gives [Target.Resolve] to the browser's own transport; Resolve
	// adds to it. Both are ignored when Transport is set.
	Target  *Target
	Resolve map[string]string
	// Trace is the trace ID sent with every request, 32 hex digits. Empty
	// means draw one.
	Trace string
	// Transport is shared by browsers that set it; see [NewTransport]. Nil
	// means one of its own.
	Transport *http.Transport
	// Now is the clock by which cookies expire and cached answers age; the
	// times in an [Exchange] are always the system's. Nil means [time.Now].
	Now func() time.Time
	// OnExchange is told of every exchange as it ends, from any goroutine
	// that uses the browser, after its cookies are stored.
	OnExchange func(*Exchange)
	// Timeout bounds an exchange, body included. Zero means 10 seconds.
	Timeout time.Duration
	// MaxRedirects bounds a click. Zero means 20, as browsers have it.
	MaxRedirects int
	// UserAgent is the User-Agent. Empty means one that names farmspec.
	UserAgent string
}

// Browser is a virtual browser: it keeps cookies, sends referrers, follows
// redirects and caches as browsers do, and records every exchange. Chromium
// is the model where standards leave a choice; a test compares the two.
// net/http carries its requests and decides nothing.
//
// It runs no scripts, follows no <meta http-equiv=refresh>, and never answers
// from its cache in place of the farm, save for cached redirects.
//
// A Browser is safe for concurrent use, as one with several tabs.
type Browser struct {
	opts      BrowserOptions
	trace     *atomic.Value // string
	transport *http.Transport
	cookies   *cookieStore
	cache     *cache
}

// NewBrowser returns a browser without cookies. It starts nothing.
func NewBrowser(opts BrowserOptions) *Browser {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.MaxRedirects == 0 {
		opts.MaxRedirects = 20
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "Mozilla/5.0 (compatible; farmspec)"
	}
	transport := opts.Transport
	if transport == nil {
		names := make(map[string]string)
		if opts.Target != nil {
			for name, ip := range opts.Target.Resolve {
				names[name] = ip
			}
		}
		for name, ip := range opts.Resolve {
			names[name] = ip
		}
		transport = NewTransport(names)
		if opts.Target != nil {
			transport.TLSClientConfig.RootCAs = opts.Target.RootCAs
		}
	}
	b := &Browser{opts: opts, trace: new(atomic.Value), transport: transport, cookies: new(cookieStore), cache: new(cache)}
	if opts.Target != nil && opts.Target.Carrier.inAddress() {
		b.cookies.unsent = opts.Target.Carrier.Name
	}
	b.SetTrace(or(opts.Trace, NewTrace()))
	return b
}

// NewTrace draws a trace ID: 32 hex digits (W3C Trace Context, section 3.2.2.3).
func NewTrace() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails
	return hex.EncodeToString(id[:])
}

// Name is the browser's name.
func (b *Browser) Name() string { return b.opts.Name }

// Trace is the trace ID sent with the browser's requests.
func (b *Browser) Trace() string { return b.trace.Load().(string) }

// SetTrace changes the trace ID of requests to come.
func (b *Browser) SetTrace(trace string) { b.trace.Store(trace) }

// Clone returns another browser with a copy of the cookies, the same trace ID
// and transport, and an empty cache: what a thief of all cookies has.
func (b *Browser) Clone(name string) *Browser {
	c := *b
	c.opts.Name = name
	c.trace = new(atomic.Value)
	c.SetTrace(b.Trace())
	c.cookies, c.cache = &cookieStore{unsent: b.cookies.unsent}, new(cache)
	c.cookies.restore(b.Snapshot())
	return &c
}

// Dedicated returns the same browser, cookies and cache shared, on a
// transport of its own with at most one connection to each host: requests one
// after the other use the same connection while it lasts, as
// [Exchange].Reused tells. Close it after use.
func (b *Browser) Dedicated() *Browser {
	d := *b
	d.transport = b.transport.Clone()
	d.transport.MaxConnsPerHost, d.transport.MaxIdleConnsPerHost = 1, 1
	d.opts.Transport = nil
	return &d
}

// Close closes idle connections, unless the transport is shared.
func (b *Browser) Close() {
	if b.opts.Transport == nil {
		b.transport.CloseIdleConnections()
	}
}

// Open goes to an address as a user does who types it or has bookmarked it:
// with no referrer and with cookies of every SameSite.
//
// Redirects are followed as browsers follow them; every hop is an [Exchange]
// of the visit. A connection that fails is no error: the last exchange has
// Err set. The error tells of a bad address, a redirect loop (a
// [*RedirectError]), a redirect to no http address, or a context that ended;
// the visit so far comes with it, nil if nothing was sent. No error shows a
// query.
func (b *Browser) Open(ctx context.Context, address string) (*Visit, error) {
	u, err := parseURL(address)
	if err != nil {
		return nil, fmt.Errorf("open page: %w", err)
	}
	return b.visit(ctx, errand{method: http.MethodGet, url: u, dest: "document"})
}

// OpenPage is [Browser.Open] and then [Browser.Load].
func (b *Browser) OpenPage(ctx context.Context, address string) (*Visit, error) {
	v, err := b.Open(ctx, address)
	if err != nil {
		return v, err
	}
	return v, b.Load(ctx, v)
}

// Follow clicks a link to href, relative to the page where from ended. The
// link need not be there; if it is, its referrerpolicy and rel count. Errors
// are as for [Browser.Open], and it is one if from brought no answer.
func (b *Browser) Follow(ctx context.Context, from *Visit, href string) (*Visit, error) {
	p, err := shown(from)
	if err != nil {
		return nil, fmt.Errorf("follow link: %w", err)
	}
	u := p.ref(href)
	if u == nil {
		return nil, fmt.Errorf("follow link: its address is not one of http or https")
	}
	return b.visit(ctx, errand{method: http.MethodGet, url: u, dest: "document", page: p.url, user: true, policy: p.linkPolicy(u)})
}

// Submit fills a form of the page where from ended and submits it. The form
// is named by its ID, its name or its index, "0" being the first; "" takes
// the first that has all the fields of values. What values does not name
// stays as the page has it, hidden fields included, and the first button is
// pressed unless values names another with its value. A field the form does
// not have is an error, as is any other encoding than urlencoded; other
// errors are as for [Browser.Follow].
func (b *Browser) Submit(ctx context.Context, from *Visit, form string, values map[string]string) (*Visit, error) {
	p, err := shown(from)
	if err != nil {
		return nil, fmt.Errorf("submit form: %w", err)
	}
	f, err := choose(p.forms(), form, values)
	if err != nil {
		return nil, fmt.Errorf("submit form on %s: %w", place(p.url), err)
	}
	if name := lacks(f, values); name != "" {
		return nil, fmt.Errorf("submit form on %s: it has no field %q", place(p.url), name)
	}
	f = f.fill(values)
	u, err := parseURL(f.Action)
	if err != nil {
		return nil, fmt.Errorf("submit form on %s: its action: %w", place(p.url), err)
	}
	l := errand{method: f.Method, url: u, dest: "document", page: p.url, user: true, policy: f.policy}
	switch {
	case f.Method == http.MethodGet:
		u.RawQuery, u.ForceQuery = f.encode(), true
	case f.Method != http.MethodPost || f.Enctype != urlEncoded:
		return nil, fmt.Errorf("submit form on %s: %s as %s is not supported", place(p.url), f.Method, f.Enctype)
	default:
		l.body, l.contentType = f.encode(), urlEncoded
	}
	return b.visit(ctx, l)
}

// Post sends a form's values to an address, relative to the page where from
// ended, as a form of that page with nothing else in it would. Errors are as
// for [Browser.Follow].
func (b *Browser) Post(ctx context.Context, from *Visit, address string, values url.Values) (*Visit, error) {
	p, err := shown(from)
	if err != nil {
		return nil, fmt.Errorf("post form: %w", err)
	}
	u := p.ref(address)
	if u == nil {
		return nil, fmt.Errorf("post form: its address is not one of http or https")
	}
	return b.visit(ctx, errand{
		method: http.MethodPost, url: u, dest: "document", page: p.url, user: true, policy: p.policy,
		body: values.Encode(), contentType: urlEncoded,
	})
}

// PostJSON sends a JSON body to an address, relative to the page where from
// ended, as a script of that page would with fetch: cookies of the same origin
// go along and are kept, redirects are followed. Errors are as for
// [Browser.Follow].
func (b *Browser) PostJSON(ctx context.Context, from *Visit, address, body string) (*Visit, error) {
	p, err := shown(from)
	if err != nil {
		return nil, fmt.Errorf("post JSON: %w", err)
	}
	u := p.ref(address)
	if u == nil {
		return nil, fmt.Errorf("post JSON: its address is not one of http or https")
	}
	return b.visit(ctx, errand{
		method: http.MethodPost, url: u, dest: "empty", page: p.url, policy: p.policy, cors: "use-credentials",
		body: body, contentType: "application/json",
	})
}

// shown is the page where a visit ended.
func shown(v *Visit) (*page, error) {
	if v == nil || len(v.Exchanges) == 0 {
		return nil, errors.New("there is no page")
	}
	if x := v.Final(); x.Status == 0 {
		return nil, fmt.Errorf("the page before brought no answer: %w", x.Err)
	}
	return parsePage(v.Final()), nil
}

// maxConnections is how many requests a page has under way to one host.
const maxConnections = 6

// Load fetches what the page where v ended asks for, six at a time from each
// host as browsers do, and appends the exchanges to v.Resources in the page's
// order, each with its redirects. Frames are fetched, what they contain is
// not; style sheets are not read. The error is as for [Browser.Open]: the
// first in the page's order.
func (b *Browser) Load(ctx context.Context, v *Visit) error {
	p, err := shown(v)
	if err != nil {
		return fmt.Errorf("load page: %w", err)
	}
	resources := p.resources()
	exchanges := make([][]*Exchange, len(resources))
	errs := make([]error, len(resources))
	queues := make(map[string][]int) // by host, in the page's order
	for i, r := range resources {
		queues[r.url.Host] = append(queues[r.url.Host], i)
	}
	var wg sync.WaitGroup
	for _, queue := range queues {
		next := make(chan int, len(queue))
		for _, i := range queue {
			next <- i
		}
		close(next)
		for range min(maxConnections, len(queue)) {
			wg.Go(func() {
				for i := range next {
					r := resources[i]
					exchanges[i], errs[i] = b.fetch(ctx, errand{method: http.MethodGet, url: r.url, dest: r.dest, page: p.url, policy: r.policy, cors: r.cors})
				}
			})
		}
	}
	wg.Wait()
	for _, xs := range exchanges {
		v.Resources = append(v.Resources, xs...)
	}
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("load page: %w", err)
		}
	}
	return nil
}

// RedirectError says that a click was redirected more often than browsers allow.
type RedirectError struct {
	// Hops is how many redirects were followed.
	Hops int
	// Loop are the places that repeat, without queries, the first one again at
	// the end; or the last few places if none repeats.
	Loop []string
}

func (e *RedirectError) Error() string {
	return fmt.Sprintf("follow redirects: stopped after %d: %s", e.Hops, strings.Join(e.Loop, " -> "))
}

// redirectError names the shortest loop the chain ends with.
func redirectError(xs []*Exchange, hops int) *RedirectError {
	places := make([]string, len(xs))
	for i, x := range xs {
		if u, err := parseURL(x.URL); err == nil {
			places[i] = place(u)
		}
	}
	last := len(places) - 1
	from := max(last-3, 0)
	for i := last - 1; i >= 0; i-- {
		if places[i] == places[last] {
			from = i
			break
		}
	}
	return &RedirectError{Hops: hops, Loop: places[from:]}
}

// errand is one thing to fetch, redirects included.
type errand struct {
	method string
	url    *url.URL
	body   string
	// contentType is of the body.
	contentType string
	// dest is what it is for, as Sec-Fetch-Dest has it.
	dest string
	// page is the document that asks; nil is the user, from the address bar.
	page *url.URL
	// user says that the user clicked.
	user   bool
	policy ReferrerPolicy
	// cors is "", "anonymous" or "use-credentials".
	cors string
}

// navigates reports whether a document is to be shown, on the page or in its place.
func (l errand) navigates() bool {
	switch l.dest {
	case "document", "iframe", "frame", "object", "embed":
		return true
	}
	return false
}

// sending is how the request stands to the site of the page; earlier redirects
// do not count, as in Chromium.
func (l errand) sending(u *url.URL, method string) sending {
	switch {
	case l.page == nil || sameSite(l.page, u):
		return fromSameSite
	case l.dest == "document" && safe(method):
		return crossSiteVisit
	case l.dest == "document":
		return crossSitePost
	}
	return crossSiteLoad
}

// partition is the part of the cache that the errand uses. As in Chromium,
// documents reached by a cross-site link are apart from others, and what a
// page asks for is kept by the page's site.
func (l errand) partition(u *url.URL) string {
	switch {
	case l.dest != "document":
		return l.page.Scheme + "://" + registrable(canonicalHost(l.page.Hostname()))
	case l.page != nil && !sameSite(l.page, u):
		return "cross-site"
	}
	return ""
}

// visit fetches a document.
func (b *Browser) visit(ctx context.Context, l errand) (*Visit, error) {
	xs, err := b.fetch(ctx, l)
	if len(xs) == 0 {
		return nil, err
	}
	return &Visit{Exchanges: xs}, err
}

// fetch fetches l and follows its redirects.
func (b *Browser) fetch(ctx context.Context, l errand) ([]*Exchange, error) {
	var xs []*Exchange
	path := []*url.URL{l.url} // every address asked
	method, body, contentType := l.method, l.body, l.contentType
	ref, policy := l.page, l.policy
	for {
		if err := ctx.Err(); err != nil {
			return xs, fmt.Errorf("open %s: %w", place(l.url), err)
		}
		u := b.carry(path[len(path)-1])
		path[len(path)-1] = u
		ref = referrer(policy, ref, u)
		header := b.header(l, path)
		if ref != nil {
			header.Set("Referer", ref.String())
		}
		if l.page != nil && (!safe(method) || l.cors != "") {
			header.Set("Origin", originHeader(policy, l.page, u, l.tainted(path)))
		}
		if contentType != "" {
			header.Set("Content-Type", contentType)
		}
		credentials := l.cors != "anonymous" || sameOrigin(l.page, u)
		how := l.sending(u, method)
		if credentials {
			if c := b.cookies.header(u, how, b.opts.Now()); c != "" {
				header.Set("Cookie", c)
			}
		}
		x := b.cachedRedirect(u, l.partition(u), method, header)
		if x == nil {
			x = b.exchange(ctx, method, u, header, body, false)
			if errors.Is(x.Err, errLost) && safe(method) {
				// The server closed the connection while the request was on its
				// way. Browsers send it again (RFC 9110, section 9.2.2); both
				// tries are recorded, for the first may have had its effect.
				b.record(x)
				xs = append(xs, x)
				header = header.Clone()
				header.Set("Traceparent", b.traceparent())
				x = b.exchange(ctx, method, u, header, body, true)
			}
			if credentials {
				b.receive(u, x, how == fromSameSite || l.dest == "document")
			}
			b.cache.keep(x, l.partition(u), b.opts.Now())
		}
		b.record(x)
		xs = append(xs, x)
		if x.Err != nil {
			if err := ctx.Err(); err != nil {
				return xs, fmt.Errorf("open %s: %w", place(l.url), err)
			}
			return xs, nil
		}
		if !redirects(x) {
			return xs, nil
		}
		next, err := parseURL(x.Location())
		if err != nil {
			return xs, fmt.Errorf("follow redirect from %s: %w", place(u), err)
		}
		if len(path) > b.opts.MaxRedirects {
			return xs, redirectError(xs, len(path)-1)
		}
		if changesMethod(x.Status, method) {
			method, body, contentType = http.MethodGet, "", ""
		}
		if p := headerPolicy(x.Header); p != "" {
			policy = p
		}
		path = append(path, next)
	}
}

// redirects reports whether a browser follows the answer elsewhere. One
// without a Location it shows.
func redirects(x *Exchange) bool {
	switch x.Status {
	case 301, 302, 303, 307, 308:
		return x.Location() != ""
	}
	return false
}

// changesMethod reports whether a redirect turns the method into GET (Fetch,
// "HTTP-redirect fetch"; RFC 9110, section 15.4).
func changesMethod(status int, method string) bool {
	switch status {
	case 301, 302:
		return method == http.MethodPost
	case 303:
		return method != http.MethodGet && method != http.MethodHead
	}
	return false
}

// tainted reports whether redirects hide the page's origin: any between two
// origins does for a navigation, as in Chromium; else one from an origin that
// is not the page's (Fetch, "redirect-taint").
func (l errand) tainted(path []*url.URL) bool {
	for i := 1; i < len(path); i++ {
		if !sameOrigin(path[i-1], path[i]) && (l.navigates() || !sameOrigin(l.page, path[i-1])) {
			return true
		}
	}
	return false
}

// errLost says that a kept connection ended before any of the answer came.
var errLost = errors.New("the connection ended before an answer")

var accept = map[string]string{
	"document": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
	"image":    "image/avif,image/webp,image/svg+xml,image/*,*/*;q=0.8",
	"style":    "text/css,*/*;q=0.1",
}

// header is what the browser says with a request for the last address of
// path, Referer, Origin and Cookie apart.
func (b *Browser) header(l errand, path []*url.URL) http.Header {
	h := b.baseHeader()
	h.Set("Accept-Encoding", "gzip")
	h.Set("Accept-Language", "en")
	mode, kind := "no-cors", l.dest
	switch {
	case l.navigates():
		mode, kind = "navigate", "document"
		h.Set("Upgrade-Insecure-Requests", "1")
	case l.cors != "":
		mode = "cors"
	}
	h.Set("Accept", or(accept[kind], "*/*"))
	if trustworthy(path[len(path)-1]) { // W3C Fetch Metadata, section 2: not to other origins
		h.Set("Sec-Fetch-Dest", l.dest)
		h.Set("Sec-Fetch-Mode", mode)
		h.Set("Sec-Fetch-Site", relation(l.page, path))
		if l.user || l.page == nil {
			h.Set("Sec-Fetch-User", "?1")
		}
	}
	return h
}

// baseHeader is what every request of the browser carries.
func (b *Browser) baseHeader() http.Header {
	return http.Header{"User-Agent": {b.opts.UserAgent}, "Traceparent": {b.traceparent()}}
}

// traceparent draws a span of the browser's trace (W3C Trace Context, section 3.2).
func (b *Browser) traceparent() string {
	var span [8]byte
	_, _ = rand.Read(span[:])
	return "00-" + b.Trace() + "-" + hex.EncodeToString(span[:]) + "-01"
}

// relation is the Sec-Fetch-Site of a request: how far the addresses on its
// path are from the page at most (W3C Fetch Metadata, section 2.3).
func relation(page *url.URL, path []*url.URL) string {
	if page == nil {
		return "none"
	}
	site := "same-origin"
	for _, u := range path {
		switch {
		case !sameSite(page, u):
			return "cross-site"
		case !sameOrigin(page, u):
			site = "same-site"
		}
	}
	return site
}

// CookieMode says which cookies a raw request carries.
type CookieMode int

// The cookie modes.
const (
	// JarCookies: those the browser would send if the user typed the address,
	// then any that the request gives.
	JarCookies CookieMode = iota
	// NoCookies: none, even if the request gives some.
	NoCookies
	// GivenCookies: only those the request gives.
	GivenCookies
)

// Request is one raw request.
type Request struct {
	// Method is GET if empty. URL goes out as it is, dot segments included.
	Method, URL string
	// Header fields replace the browser's own of the same name; several values
	// are several lines, none leaves it out. Cookie lines here are given cookies.
	Header http.Header
	Body   string
	// Cookies says whether the browser's cookies go along.
	Cookies CookieMode
	// RawCookie, if not empty, is one more Cookie line, sent as it is. The
	// transport refuses control characters in it.
	RawCookie string
	// KeepCookies stores the cookies of the answer.
	KeepCookies bool
	// NewConn uses a connection of its own, closed afterwards.
	NewConn bool
	// Dest makes it look like the browser's request for such a destination,
	// from the address bar: "document" is a navigation. Empty adds nothing.
	Dest string
}

// Send sends one request and follows nothing; nothing is cached or sent
// twice. A request that cannot be sent is an exchange with Err.
func (b *Browser) Send(ctx context.Context, r Request) *Exchange {
	method := or(r.Method, http.MethodGet)
	u, err := parseRawURL(r.URL)
	if err != nil {
		x := &Exchange{Browser: b.Name(), Trace: b.Trace(), Start: time.Now(), Method: method, URL: r.URL,
			RequestHeader: r.Header.Clone(), RequestBody: r.Body, Err: fmt.Errorf("send request: %w", err)}
		b.record(x)
		return x
	}
	header := b.baseHeader()
	header.Set("Accept", "*/*")
	if r.Dest != "" {
		header = b.header(errand{dest: r.Dest}, []*url.URL{u})
	} else if r.Header.Get("Range") == "" {
		header.Set("Accept-Encoding", "gzip")
	}
	for name, values := range r.Header {
		header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	given := header["Cookie"]
	if r.RawCookie != "" {
		given = append(given, r.RawCookie)
	}
	delete(header, "Cookie")
	switch r.Cookies {
	case JarCookies:
		u = b.carry(u)
		if c := b.cookies.header(u, fromSameSite, b.opts.Now()); c != "" {
			header.Add("Cookie", c)
		}
		fallthrough
	case GivenCookies:
		for _, c := range given {
			header.Add("Cookie", c)
		}
	}
	x := b.exchange(ctx, method, u, header, r.Body, r.NewConn)
	if r.KeepCookies {
		b.receive(u, x, true)
	}
	b.record(x)
	return x
}

// record tells of an exchange.
func (b *Browser) record(x *Exchange) {
	if b.opts.OnExchange != nil {
		b.opts.OnExchange(x)
	}
}

// receive stores the cookies of an answer.
func (b *Browser) receive(u *url.URL, x *Exchange, mayRestrict bool) {
	b.collect(x)
	now := b.opts.Now()
	for _, line := range x.Header.Values("Set-Cookie") {
		b.cookies.receive(u, line, mayRestrict, now)
	}
}

// exchange sends one request and reads its answer, both bounded. The header
// becomes the exchange's.
func (b *Browser) exchange(ctx context.Context, method string, u *url.URL, header http.Header, body string, alone bool) *Exchange {
	target := *u
	target.User = nil
	x := &Exchange{Browser: b.Name(), Trace: b.Trace(), Start: time.Now(), Method: method, URL: target.String(), RequestHeader: header, RequestBody: body}
	defer func() { x.Took = time.Since(x.Start) }()
	ctx, cancel := context.WithTimeout(ctx, b.opts.Timeout)
	defer cancel()

	transport := b.transport
	if alone {
		transport = transport.Clone()
		transport.MaxIdleConnsPerHost = -1 // close it afterwards
	}
	target.Fragment, target.RawFragment = "", ""
	var answered atomic.Bool // told from another goroutine
	trace := &httptrace.ClientTrace{
		GotConn:              func(c httptrace.GotConnInfo) { x.Reused = c.Reused },
		GotFirstResponseByte: func() { answered.Store(true) },
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, target.String(), strings.NewReader(body))
	if err != nil {
		x.Err = fmt.Errorf("send request: %w", bare(err))
		return x
	}
	req.Header = header
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	if body == "" {
		// A body that is empty but not nil, and cannot be read again, keeps the
		// transport from sending a request twice behind our back.
		req.Body, req.GetBody, req.ContentLength = noBody{}, nil, 0
	}
	resp, err := transport.RoundTrip(req)
	switch {
	case err != nil && x.Reused && !answered.Load() && ctx.Err() == nil:
		x.Err = fmt.Errorf("send request: %w: %w", errLost, err)
		return x
	case err != nil:
		x.Err = fmt.Errorf("send request: %w", err)
		return x
	}
	defer resp.Body.Close()
	x.Status, x.Header, x.Closed = resp.StatusCode, resp.Header, resp.Close
	raw, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if len(raw) > MaxBody {
		raw, x.Truncated = raw[:MaxBody], true
	}
	x.Body = raw
	if err != nil {
		x.Err = fmt.Errorf("read answer: %w", err)
		return x
	}
	if len(raw) > 0 && method != http.MethodHead {
		x.decode()
	}
	return x
}

// noBody is a body with nothing in it; see its use.
type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }
func (noBody) Close() error             { return nil }

// decode undoes the content coding of the body, bounded by [MaxBody]: a small
// answer that unpacks to a huge one is truncated.
func (x *Exchange) decode() {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(x.Header.Values("Content-Encoding"), ",")))
	switch coding {
	case "", "identity":
		return
	case "gzip", "x-gzip":
	default:
		x.Err = fmt.Errorf("decode answer: content coding %q was not asked for", coding)
		return
	}
	if x.Status == http.StatusPartialContent {
		return // a part of a coded whole
	}
	z, err := gzip.NewReader(bytes.NewReader(x.Body))
	if err != nil {
		x.Err = fmt.Errorf("decode answer: %w", err)
		return
	}
	plain, err := io.ReadAll(io.LimitReader(z, MaxBody+1))
	if len(plain) > MaxBody {
		plain, x.Truncated = plain[:MaxBody], true
	}
	x.Body = plain
	if err != nil && !x.Truncated {
		x.Err = fmt.Errorf("decode answer: %w", err)
	}
}

// cachedRedirect is the cached answer to a request, if it is a fresh redirect.
func (b *Browser) cachedRedirect(u *url.URL, partition, method string, header http.Header) *Exchange {
	if method != http.MethodGet {
		return nil
	}
	x, fresh, ok := b.cache.find(u.String(), func(p string) bool { return p == partition }, header, b.opts.Now())
	if !ok || !fresh || !redirects(x) {
		return nil
	}
	x.Browser, x.Trace, x.Start, x.URL = b.Name(), b.Trace(), time.Now(), u.String()
	return x
}

// CacheLookup returns the stored answer that a browser would show for an
// address without asking the farm: it is fresh, needs no validation, and Vary
// matches, today's cookies included (RFC 9111, section 4).
func (b *Browser) CacheLookup(address string) (*Exchange, bool) {
	x, fresh, ok := b.lookup(address)
	return x, ok && fresh
}

// BackForward returns the stored answer that the back button shows without
// asking the farm: anything stored, however stale (RFC 9111, section 6). What
// a browser keeps beside its HTTP cache, such as frozen pages, is not modelled.
func (b *Browser) BackForward(address string) (*Exchange, bool) {
	x, _, ok := b.lookup(address)
	return x, ok
}

func (b *Browser) lookup(address string) (*Exchange, bool, bool) {
	u, err := parseURL(address)
	if err != nil {
		return nil, false, false
	}
	u = b.carry(u)
	header := b.header(errand{dest: "document"}, []*url.URL{u})
	if c := b.cookies.header(u, fromSameSite, b.opts.Now()); c != "" {
		header.Set("Cookie", c)
	}
	return b.cache.find(u.String(), func(string) bool { return true }, header, b.opts.Now())
}

// Cookies returns the cookies that go along if the user opens the address, in
// the order they are sent; none if it is no address.
func (b *Browser) Cookies(address string) []Cookie {
	u, err := parseURL(address)
	if err != nil {
		return nil
	}
	b.cookies.mu.Lock()
	defer b.cookies.mu.Unlock()
	var out []Cookie
	for _, c := range b.cookies.matching(u, fromSameSite, b.opts.Now()) {
		out = append(out, *c)
	}
	return out
}

// Cookie returns the first cookie of that name that [Browser.Cookies] returns.
func (b *Browser) Cookie(address, name string) (Cookie, bool) {
	for _, c := range b.Cookies(address) {
		if c.Name == name {
			return c, true
		}
	}
	return Cookie{}, false
}

// AllCookies returns every cookie, oldest first.
func (b *Browser) AllCookies() []Cookie { return b.Snapshot() }

// RejectedCookies returns the cookies that servers set and the browser
// refused, oldest first; at most the last thousand.
func (b *Browser) RejectedCookies() []RejectedCookie {
	b.cookies.mu.Lock()
	defer b.cookies.mu.Unlock()
	return slices.Clone(b.cookies.rejected)
}

// SetCookie takes a Set-Cookie field as if an answer from the address had
// brought it. The error says why the browser refuses it.
func (b *Browser) SetCookie(address, line string) error {
	u, err := parseURL(address)
	if err != nil {
		return fmt.Errorf("set cookie: %w", err)
	}
	if reason := b.cookies.receive(u, line, true, b.opts.Now()); reason != "" {
		return fmt.Errorf("set cookie for %s: %s", place(u), reason)
	}
	return nil
}

// PutCookie stores c as it is, in place of one with its name, domain and
// path: no rule is applied, as one who writes into the browser's files is not
// bound by any. Zero times mean now.
func (b *Browser) PutCookie(c Cookie) {
	now := b.opts.Now()
	if c.Created.IsZero() {
		c.Created = now
	}
	if c.LastAccess.IsZero() {
		c.LastAccess = now
	}
	b.cookies.mu.Lock()
	defer b.cookies.mu.Unlock()
	b.cookies.insert(c, now)
}

// DeleteCookie removes the cookies of that name which would go to the address
// and reports how many there were.
func (b *Browser) DeleteCookie(address, name string) int {
	gone := 0
	for _, c := range b.Cookies(address) {
		if c.Name == name {
			gone++
			c.Expires = past
			b.PutCookie(c)
		}
	}
	return gone
}

// ClearCookies removes every cookie.
func (b *Browser) ClearCookies() { b.cookies.restore(nil) }

// Snapshot returns a copy of the cookies.
func (b *Browser) Snapshot() Jar { return b.cookies.snapshot(b.opts.Now()) }

// Restore replaces the cookies by those of a snapshot.
func (b *Browser) Restore(jar Jar) { b.cookies.restore(jar) }

// parseURL parses an http or https address as browsers do. Its errors do not
// show the address, which may hold a token.
func parseURL(s string) (*url.URL, error) {
	u, err := parseRawURL(cleanURL(s))
	if err != nil {
		return nil, err
	}
	return u.ResolveReference(u), nil // without dot segments
}

// parseRawURL is [parseURL] without tidying the path.
func parseRawURL(s string) (*url.URL, error) {
	u, err := url.Parse(escapeURL(s))
	switch {
	case err != nil:
		return nil, fmt.Errorf("parse address: %w", bare(err))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("parse address: its scheme is %q, not http or https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("parse address: it has no host")
	}
	u.Host = strings.ToLower(u.Host)
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// bare is an error of package url without the address in it.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// place is an address fit for a message: without user, query, fragment and
// path parameters, which may be secret.
func place(u *url.URL) string {
	path, _, _ := strings.Cut(requestPath(u), ";")
	return origin(u) + path
}

// resolve returns the absolute address that ref, found in an answer from
// base, points to; "" when there is none or it cannot be parsed. It reads ref
// as browsers do (URL Standard, basic URL parser): surrounding blanks and any
// tab or line break are dropped, a backslash is a slash, what may not stand in
// an address is escaped, and a fragment is inherited from base when ref has none
// (RFC 9110, section 10.2.2).
func resolve(base, ref string) string {
	ref = escapeURL(cleanURL(ref))
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

var dropBreaks = strings.NewReplacer("\t", "", "\n", "", "\r", "")

// cleanURL does what browsers do to an address before they parse it.
func cleanURL(s string) string {
	s = dropBreaks.Replace(strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }))
	end := strings.IndexAny(s, "?#")
	if end < 0 {
		end = len(s)
	}
	scheme, rest, ok := strings.Cut(s[:end], ":")
	switch {
	case !ok || strings.ContainsAny(scheme, `/\`):
		scheme, rest = "", s[:end]
	case strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"):
		scheme += ":"
	default:
		return s // opaque to us: mailto:, data:, javascript:
	}
	rest = strings.ReplaceAll(rest, `\`, "/")
	if strings.HasPrefix(rest, "//") {
		rest = "//" + strings.TrimLeft(rest, "/") // ///host is a host too
	}
	segments := strings.Split(rest, "/")
	for i, segment := range segments {
		switch dots := strings.ReplaceAll(strings.ToLower(segment), "%2e", "."); dots {
		case ".", "..":
			segments[i] = dots
		}
	}
	return scheme + strings.Join(segments, "/") + s[end:]
}

// escapeURL escapes in path and query what may not stand in a request line
// (URL Standard, "path percent-encode set" and "special-query percent-encode
// set"), and a percent sign that escapes nothing.
func escapeURL(s string) string {
	const inPath, inQuery = "\"<>^`{|}", "\"<>'"
	rest, fragment, fragmented := strings.Cut(s, "#")
	var b strings.Builder
	unsafe := inPath
	for i := range len(rest) {
		c := rest[i]
		if c == '?' {
			unsafe = inQuery
		}
		if c <= ' ' || c >= 0x7f || strings.IndexByte(unsafe, c) >= 0 || c == '%' && !escapes(rest[i:]) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if fragmented {
		b.WriteString("#" + fragment)
	}
	return b.String()
}

// escapes reports whether s begins with a percent sign and two hex digits.
func escapes(s string) bool {
	return len(s) > 2 && strings.Trim(s[1:3], "0123456789abcdefABCDEF") == ""
}
