package loadtest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
)

// fastWire writes and reads HTTP itself. What a fiber asks for goes over the
// connections of its loop, anything else over those here.
type fastWire struct {
	counts traffic
	dial   func(context.Context, string, string) (net.Conn, error)
	keep   bool
	fields string // of every request

	slow interface { // for goroutines
		lines
		close()
	}
}

// line is a connection. One exchange at a time has it.
type line interface {
	// carry writes a.out and reads the answer to it.
	carry(ctx context.Context, deadline time.Time, w *fastWire, a *response) error
	close()
}

// lines are the connections of somebody.
type lines interface {
	// get returns one to the address, and whether it has been used before.
	get(ctx context.Context, deadline time.Time, address string) (l line, used bool, err error)
	put(address string, l line)
}

// idleTime is how long a connection is kept unused; see farmspec.NewTransport.
const idleTime = 4 * time.Second

// shelf keeps unused connections by host and port.
type shelf[L line] map[string]*pile[L]

// pile has the connection used last at its end.
type pile[L line] []kept[L]

type kept[L line] struct {
	line  L
	since time.Time
}

func (s shelf[L]) put(address string, l L, now time.Time) {
	p := s[address]
	if p == nil {
		p = new(pile[L])
		s[address] = p
	}
	*p = append(*p, kept[L]{l, now})
}

// take returns a connection, if any has not been unused for too long.
func (s shelf[L]) take(address string, now time.Time) (l L, ok bool) {
	p := s[address]
	if p == nil || len(*p) == 0 {
		return l, false
	}
	last := &(*p)[len(*p)-1]
	if now.Sub(last.since) > idleTime { // and so are all before it
		p.close()
		return l, false
	}
	l = last.line
	*last = kept[L]{}
	*p = (*p)[:len(*p)-1]
	return l, true
}

func (p *pile[L]) close() {
	for _, k := range *p {
		k.line.close()
	}
	*p = nil
}

func (s shelf[L]) close() {
	for _, p := range s {
		p.close()
	}
}

func newFastWire(t *farmspec.Target, keep bool) (wire, error) {
	for _, m := range t.Members {
		if !strings.HasPrefix(m.URL, "http://") {
			return nil, fmt.Errorf("the engine fast speaks HTTP/1.1 without TLS and member %s is at %s; take the engine vegeta", m.Name, m.URL)
		}
	}
	w := &fastWire{dial: t.Transport().DialContext, keep: keep}
	for _, name := range slices.Sorted(maps.Keys(navigation)) {
		w.fields += name + ": " + navigation.Get(name) + "\r\n"
	}
	w.slow = &slowLines{w: w, idle: shelf[*slowLine]{}}
	return w, nil
}

func (w *fastWire) traffic() *traffic { return &w.counts }

func (w *fastWire) close() { w.slow.close() }

func (w *fastWire) exchange(ctx context.Context, deadline time.Time, q *request, a *response) error {
	var from lines = w.slow
	if f, ok := ctx.(*fiber); ok {
		from = f
	}
	a.reset()
	a.out = w.write(a.out[:0], q)
	address := q.to.dial
	for {
		w.counts.requests.Add(1)
		l, used, err := from.get(ctx, deadline, address)
		if err != nil {
			return err
		}
		a.in.reset()
		err = l.carry(ctx, deadline, w, a)
		if err == nil && a.in.keep && a.in.over == 0 && w.keep {
			from.put(address, l)
		} else {
			l.close()
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

// slowLines are connections by package net, for goroutines. It is safe for
// concurrent use.
type slowLines struct {
	w    *fastWire
	mu   sync.Mutex
	idle shelf[*slowLine]
}

func (s *slowLines) get(ctx context.Context, deadline time.Time, address string) (line, bool, error) {
	s.mu.Lock()
	l, ok := s.idle.take(address, time.Now())
	s.mu.Unlock()
	if ok {
		return l, true, nil
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := s.w.dial(ctx, "tcp", address)
	if err != nil {
		return nil, false, err
	}
	s.w.counts.connections.Add(1)
	return &slowLine{conn}, false, nil
}

func (s *slowLines) put(address string, l line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle.put(address, l.(*slowLine), time.Now())
}

func (s *slowLines) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle.close()
}

type slowLine struct{ net.Conn }

func (l *slowLine) close() { _ = l.Close() }

var past = time.Unix(1, 0)

func (l *slowLine) carry(ctx context.Context, deadline time.Time, w *fastWire, a *response) error {
	if err := l.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.SetDeadline(past) })
	n, err := l.Write(a.out)
	w.counts.out.Add(uint64(n))
	for err == nil {
		var whole bool
		in := &a.in
		in.raw = slices.Grow(in.raw, 2<<10)
		n, err = l.Read(in.raw[len(in.raw):cap(in.raw)])
		w.counts.in.Add(uint64(n))
		in.raw = in.raw[:len(in.raw)+n]
		if whole, err = in.read(n, err); whole {
			break
		}
	}
	if !stop() && err == nil {
		a.in.keep = false // its deadline may be in the past by now
	}
	return err
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
