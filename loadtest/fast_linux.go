package loadtest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/farmspec/farmspec"
)

// fastWire keeps connections and writes and reads HTTP itself.
type fastWire struct {
	counts traffic
	dial   func(context.Context, string, string) (net.Conn, error)
	keep   bool
	fields string // of every request

	mu   sync.Mutex
	idle map[string][]*fastConn // by host and port, the one used last at the end
}

// fastConn is a connection. One exchange at a time has it.
type fastConn struct {
	net.Conn
	used time.Time // when it was put aside
	// armed is the deadline that it has; ctx ends an exchange early, until disarm.
	armed  time.Time
	ctx    context.Context
	disarm func() bool

	// A turn: what is to be written, where to read to, and what it came to.
	raw  syscall.RawConn
	turn func(uintptr) bool
	out  []byte
	buf  []byte
	n    int
	err  error
}

// idleTime is how long a connection is kept unused; see farmspec.NewTransport.
const idleTime = 4 * time.Second

func newFastWire(t *farmspec.Target, keep bool) (wire, error) {
	for _, m := range t.Members {
		if !strings.HasPrefix(m.URL, "http://") {
			return nil, fmt.Errorf("the engine fast speaks HTTP/1.1 without TLS and member %s is at %s; take the engine vegeta", m.Name, m.URL)
		}
	}
	w := &fastWire{dial: t.Transport().DialContext, keep: keep, idle: make(map[string][]*fastConn)}
	for _, name := range slices.Sorted(maps.Keys(navigation)) {
		w.fields += name + ": " + navigation.Get(name) + "\r\n"
	}
	return w, nil
}

func (w *fastWire) traffic() *traffic { return &w.counts }

func (w *fastWire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conns := range w.idle {
		for _, c := range conns {
			c.close()
		}
	}
	clear(w.idle)
}

func (c *fastConn) close() {
	if c.disarm != nil {
		c.disarm()
	}
	_ = c.Conn.Close()
}

var past = time.Unix(1, 0)

// arm makes the connection fail soon after the deadline, and when ctx is done.
// A deadline that it has from the exchange before is kept where it is near
// enough, because a new one costs as much as reading.
func (c *fastConn) arm(ctx context.Context, now, deadline time.Time) error {
	slack := min(deadline.Sub(now)/8, 100*time.Millisecond)
	if late := c.armed.Sub(deadline); late < 0 || late > slack {
		c.armed = deadline.Add(slack)
		if err := c.SetDeadline(c.armed); err != nil {
			return err
		}
	}
	if c.ctx != ctx {
		c.ctx, c.disarm = ctx, context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
	}
	return ctx.Err()
}

// mayHaveEnded is how long a connection is unused before it is looked at again.
const mayHaveEnded = 20 * time.Millisecond

// get returns a connection to the address, and whether it has been used before.
func (w *fastWire) get(ctx context.Context, now, deadline time.Time, address string) (*fastConn, bool, error) {
	for c := w.take(address); c != nil; c = w.take(address) {
		unused := now.Sub(c.used)
		if unused < idleTime && (c.ctx == ctx || c.disarm()) && (unused < mayHaveEnded || c.silent()) {
			return c, true, nil
		}
		c.close() // too old, ended, or with the deadline of a load that is over
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := w.dial(ctx, "tcp", address)
	if err != nil {
		return nil, false, err
	}
	w.counts.connections.Add(1)
	c := &fastConn{Conn: conn}
	c.turn = c.takeTurn
	if c.raw, err = conn.(*net.TCPConn).SyscallConn(); err != nil {
		_ = conn.Close()
		return nil, false, err
	}
	return c, false, nil
}

// silent reports whether the connection is open with nothing to read, as it
// should be before a request.
func (c *fastConn) silent() bool {
	var err error
	readable := c.raw.Control(func(fd uintptr) { _, _, err = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK) })
	return readable == nil && err == syscall.EAGAIN
}

// take returns the idle connection that was used last, or nil.
func (w *fastWire) take(address string) *fastConn {
	w.mu.Lock()
	defer w.mu.Unlock()
	conns := w.idle[address]
	if len(conns) == 0 {
		return nil
	}
	last := len(conns) - 1
	c := conns[last]
	conns[last] = nil
	w.idle[address] = conns[:last]
	return c
}

// put keeps a connection for the next exchange.
func (w *fastWire) put(address string, c *fastConn) {
	c.used = time.Now()
	w.mu.Lock()
	w.idle[address] = append(w.idle[address], c)
	w.mu.Unlock()
}

func (w *fastWire) exchange(ctx context.Context, deadline time.Time, q *request, a *response) error {
	*a = response{setCookies: a.setCookies[:0], in: a.in, out: a.out[:0]}
	a.out = w.write(a.out, q)
	address := hostPort(q.url)
	for {
		w.counts.requests.Add(1)
		now := time.Now()
		c, used, err := w.get(ctx, now, deadline, address)
		if err != nil {
			return err
		}
		a.in.reset()
		err = w.carry(ctx, now, deadline, c, a)
		if err == nil && a.in.keep && a.in.over == 0 && w.keep {
			w.put(address, c)
		} else {
			c.close()
		}
		if err != nil && used && !a.again && len(a.in.raw) == 0 && q.method == http.MethodGet && ctx.Err() == nil && !os.IsTimeout(err) {
			a.again = true // the server had closed it, or has read the request and then done so
			continue
		}
		a.status, a.location, a.policy, a.setCookies, a.body = a.in.status, a.in.location, a.in.policy, a.in.setCookies, a.in.text()
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		return err
	}
}

// carry writes a.out and reads the answer to it.
func (w *fastWire) carry(ctx context.Context, now, deadline time.Time, c *fastConn, a *response) error {
	if err := c.arm(ctx, now, deadline); err != nil {
		return err
	}
	c.out = a.out
	for in := &a.in; ; {
		in.raw = slices.Grow(in.raw, 2<<10)
		c.buf = in.raw[len(in.raw):cap(in.raw)]
		unsent := len(c.out)
		if err := c.raw.Read(c.turn); err != nil {
			return err
		}
		w.counts.out.Add(uint64(unsent - len(c.out)))
		switch {
		case len(c.out) > 0 && c.err == syscall.EAGAIN: // more than the system takes at once
			n, err := c.Write(c.out)
			w.counts.out.Add(uint64(n))
			if err != nil {
				return err
			}
			c.out = nil
			continue
		case c.err != nil:
			return c.err
		case c.n == 0 && in.closed():
			return nil
		case c.n == 0:
			return io.ErrUnexpectedEOF
		}
		w.counts.in.Add(uint64(c.n))
		in.raw = in.raw[:len(in.raw)+c.n]
		if whole, err := in.more(); whole || err != nil {
			return err
		}
	}
}

// takeTurn writes what is to be written, waits, and reads. It waits before it
// reads, because no answer can be there yet and a read in vain costs half as
// much as the one that counts. It is called as syscall.RawConn.Read does, and
// returns false to wait until there is something to read.
func (c *fastConn) takeTurn(fd uintptr) bool {
	c.n, c.err = 0, nil
	if len(c.out) > 0 {
		n, err := uninterrupted(syscall.Write, int(fd), c.out)
		c.out = c.out[max(0, n):]
		if c.err = err; err == nil && len(c.out) > 0 {
			c.err = syscall.EAGAIN
		}
		return c.err != nil
	}
	n, err := uninterrupted(syscall.Read, int(fd), c.buf)
	if err == syscall.EAGAIN {
		return false
	}
	c.n, c.err = max(0, n), err
	return true
}

func uninterrupted(call func(int, []byte) (int, error), fd int, b []byte) (int, error) {
	for {
		if n, err := call(fd, b); err != syscall.EINTR {
			return n, err
		}
	}
}

func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Host + ":80"
	}
	return u.Host
}

// write appends the request, with the fields that farmspec.Browser sends.
func (w *fastWire) write(b []byte, q *request) []byte {
	b = append(b, q.method...)
	b = append(b, ' ')
	b = append(b, q.url.EscapedPath()...)
	if q.url.RawQuery != "" {
		b = append(b, '?')
		b = append(b, q.url.RawQuery...)
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, q.url.Host...)
	b = append(b, "\r\n"...)
	if !w.keep {
		b = append(b, "Connection: close\r\n"...)
	}
	if !q.plain() {
		for name, values := range q.special() {
			b = append(append(append(append(b, name...), ": "...), values[0]...), "\r\n"...)
		}
		if q.method == http.MethodPost {
			b = strconv.AppendInt(append(b, "Content-Length: "...), int64(len(q.body)), 10)
			b = append(b, "\r\n"...)
		}
		return append(append(b, "\r\n"...), q.body...)
	}
	b = append(b, w.fields...)
	if q.cookie != "" {
		b = append(append(append(b, "Cookie: "...), q.cookie...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}
