package loadtest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
)

// request is one HTTP request of a navigation.
type request struct {
	method string
	url    *url.URL
	to     *origin
	cookie string
	submission
}

// submission is what a request has besides, where it is not a mere link.
type submission struct {
	// body is that of a POST, from the page at from, whose answer named a
	// referrer policy. script says that it is JSON and a script sent it, not a form.
	body   string
	from   *url.URL
	policy string
	script bool
	// authorization is the field of that name.
	authorization string
}

// response is what a browser needs of an answer. It is reused.
type response struct {
	status           int
	location, policy string
	setCookies       []string
	body             []byte
	// again says that the request may have been received twice: the
	// connection ended before an answer, and it was sent once more.
	again bool

	// What the fast engine writes and reads.
	out []byte
	in  answer
}

// reset empties it, with the memory of the last.
func (a *response) reset() {
	a.status, a.location, a.policy, a.again = 0, "", "", false
	a.setCookies, a.body = a.setCookies[:0], a.body[:0]
}

// wire carries requests. It is safe for concurrent use.
type wire interface {
	// exchange sends a request and reads its answer, before the deadline and
	// until ctx is done.
	exchange(ctx context.Context, deadline time.Time, q *request, a *response) error
	// traffic counts what went over it.
	traffic() *traffic
	close()
}

// traffic counts what goes over connections.
type traffic struct {
	requests, connections, out, in atomic.Uint64
}

// counting counts a connection's bytes.
type counting struct {
	net.Conn
	t *traffic
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.t.in.Add(uint64(n))
	return n, err
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.t.out.Add(uint64(n))
	return n, err
}

// httpWire carries requests by net/http: HTTP/1.1, or HTTP/2 where TLS agrees on it.
type httpWire struct {
	transport *http.Transport
	counts    traffic
	parcels   sync.Pool
}

func newHTTPWire(t *farmspec.Target, browsers int, keep bool) *httpWire {
	w := &httpWire{transport: t.Transport()}
	w.transport.MaxIdleConnsPerHost = browsers
	w.transport.DisableKeepAlives = !keep
	w.transport.Protocols.SetHTTP2(true)
	dial := w.transport.DialContext
	w.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		w.counts.connections.Add(1)
		return &counting{c, &w.counts}, nil
	}
	w.parcels.New = func() any { return newParcel() }
	return w
}

func (w *httpWire) traffic() *traffic { return &w.counts }
func (w *httpWire) close()            { w.transport.CloseIdleConnections() }

// parcel is what a request is made of, for the next one to reuse.
type parcel struct {
	header http.Header
	cookie []string
	conns  atomic.Int32
	trace  *httptrace.ClientTrace
}

// navigation is what farmspec.Browser says of a navigation from the address bar.
var navigation = http.Header{
	"User-Agent":                {"Mozilla/5.0 (compatible; farmspec)"},
	"Accept":                    {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
	"Accept-Language":           {"en"},
	"Sec-Fetch-Dest":            {"document"},
	"Sec-Fetch-Mode":            {"navigate"},
	"Sec-Fetch-Site":            {"none"},
	"Sec-Fetch-User":            {"?1"},
	"Upgrade-Insecure-Requests": {"1"},
}

// special returns the header of a request that is no navigation from the
// address bar.
func (q *request) special() http.Header {
	h := navigation.Clone()
	if q.authorization != "" {
		h.Set("Authorization", q.authorization)
	}
	if q.method == http.MethodPost {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		h.Set("Sec-Fetch-Site", "same-origin")
		h.Set("Origin", "null")
		if q.policy != "no-referrer" && q.from != nil {
			h.Set("Origin", q.from.Scheme+"://"+q.from.Host)
			h.Set("Referer", q.from.Scheme+"://"+q.from.Host+q.from.EscapedPath())
		}
		if q.script {
			h.Set("Content-Type", "application/json")
			h.Set("Accept", "*/*")
			h.Set("Sec-Fetch-Dest", "empty")
			h.Set("Sec-Fetch-Mode", "cors")
			h.Del("Sec-Fetch-User")
			h.Del("Upgrade-Insecure-Requests")
		}
	}
	if q.cookie != "" {
		h.Set("Cookie", q.cookie)
	}
	return h
}

// plain reports whether it is a navigation from the address bar, in which only
// address and cookie differ from others.
func (q *request) plain() bool { return q.method == http.MethodGet && q.authorization == "" }

func newParcel() *parcel {
	p := &parcel{cookie: make([]string, 1), header: navigation.Clone()}
	p.trace = &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { p.conns.Add(1) }}
	return p
}

var plainGet = (&http.Request{Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1})

func (w *httpWire) exchange(ctx context.Context, deadline time.Time, q *request, a *response) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	w.counts.requests.Add(1)
	p := w.parcels.Get().(*parcel)
	p.conns.Store(0)
	r := plainGet.WithContext(httptrace.WithClientTrace(ctx, p.trace))
	r.Method, r.URL, r.Host, r.Header = q.method, q.url, q.url.Host, p.header
	switch {
	case !q.plain():
		r.Header = q.special()
		if q.method == http.MethodPost {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(q.body)), int64(len(q.body))
		}
	case q.cookie != "":
		p.cookie[0] = q.cookie
		p.header["Cookie"] = p.cookie
	default:
		delete(p.header, "Cookie")
	}
	a.reset()
	resp, err := w.transport.RoundTrip(r)
	a.again = p.conns.Load() > 1
	if err != nil {
		return err // the transport may still hold on to the parcel
	}
	a.status = resp.StatusCode
	a.location, a.policy = first(resp.Header["Location"]), first(resp.Header["Referrer-Policy"])
	a.setCookies = append(a.setCookies, resp.Header["Set-Cookie"]...)
	a.body, err = readBody(resp.Body, a.body, resp.ContentLength)
	if closing := resp.Body.Close(); err == nil {
		err = closing
	}
	if err == nil {
		w.parcels.Put(p)
	}
	return err
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

var errTooLong = errors.New("the answer is longer than a page may be")

// readBody appends all of r to b, at most farmspec.MaxBody bytes.
func readBody(r io.Reader, b []byte, length int64) ([]byte, error) {
	if length > 0 && length <= farmspec.MaxBody && int64(cap(b)) < length+1 {
		b = make([]byte, 0, length+1)
	}
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, err
		case len(b) > farmspec.MaxBody:
			return b, errTooLong
		}
	}
}
