package simfarm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec/ports"
)

// process is a listening part of the farm: a member, the session service or
// the front of a single-host farm. It can be stopped as kill -9 would stop it
// and started again at its old address.
type process struct {
	name string

	// fresh makes the part anew; what it kept in memory is gone. It may ask
	// alive before it touches anything that outlives the process.
	fresh func(alive func() bool) (http.Handler, error)

	// tls is how it listens; nil is plain HTTP. wrap may replace the listener.
	tls  *tls.Config
	wrap func(process string, ln net.Listener, config *tls.Config) net.Listener

	mu   sync.Mutex
	addr string // fixed by the first listen
	ln   net.Listener
	run  *running // nil while stopped
	over bool     // the farm has closed: nothing starts any more
}

// running is one life of a process.
type running struct {
	srv    *http.Server
	ended  atomic.Bool
	served chan struct{} // closed when the accept loop is over
	busy   atomic.Int64  // requests being answered
	idle   chan struct{} // a token whenever busy falls to zero
}

// discardLog is for servers: what they report is what a killed process or a
// hostile client looks like from inside, and the browser sees it as well.
var discardLog = log.New(io.Discard, "", 0)

// listen takes the process's port, so that its address is known before any
// part is made.
func (p *process) listen(ctx context.Context, addr string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addr = addr
	return p.take(ctx)
}

// take needs mu.
func (p *process) take(ctx context.Context) error {
	ln, err := listenTCP(ctx, p.addr)
	if err != nil {
		return fmt.Errorf("listen for %s: %w", p.name, err)
	}
	p.ln, p.addr = ln, ln.Addr().String()
	return nil
}

// listenTCP listens at an address; port 0 draws a port that stays the farm's
// until its process is closed.
func listenTCP(ctx context.Context, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port != "0" {
		return new(net.ListenConfig).Listen(ctx, "tcp", addr)
	}
	return ports.Listen(ctx, host)
}

// port is the process's port; it needs an earlier listen.
func (p *process) port() string {
	_, port, _ := net.SplitHostPort(p.addr)
	return port
}

// start makes the part and serves it. A running process stays as it is.
func (p *process) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return fmt.Errorf("start %s: the farm is closed", p.name)
	}
	if p.run != nil {
		return nil
	}
	if p.ln == nil {
		if err := p.take(ctx); err != nil {
			return err
		}
	}
	r := &running{served: make(chan struct{}), idle: make(chan struct{}, 1)}
	h, err := p.fresh(func() bool { return !r.ended.Load() })
	if err != nil {
		_ = p.ln.Close()
		p.ln = nil
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	r.srv = &http.Server{
		Handler:           r.counted(h),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          discardLog,
	}
	p.run = r
	ln := p.ln
	if p.tls != nil {
		ln = tls.NewListener(ln, p.tls)
	}
	if p.wrap != nil {
		if other := p.wrap(p.name, p.ln, p.tls); other != nil {
			ln = other
		}
	}
	go func() {
		defer close(r.served)
		_ = r.srv.Serve(ln) // ends with the listener
	}()
	return nil
}

func (r *running) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.busy.Add(1)
		defer func() {
			if r.busy.Add(-1) == 0 {
				select {
				case r.idle <- struct{}{}:
				default:
				}
			}
		}()
		if r.ended.Load() {
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, req)
	})
}

// kill makes the process unreachable at once. Requests under way lose their
// connection and their context, and reach nothing outside the process any more.
// It returns the life it ended, or nil.
func (p *process) kill() *running {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.run
	if r == nil {
		if p.ln != nil {
			_ = p.ln.Close()
			p.ln = nil
		}
		return nil
	}
	r.ended.Store(true)
	_ = r.srv.Close() // closes the listener and every connection
	_ = p.ln.Close()  // where Serve had not taken the listener yet
	<-r.served
	p.ln, p.run = nil, nil
	return r
}

// close kills the process for good.
func (p *process) close() *running {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	r := p.kill()
	if n, err := strconv.Atoi(p.port()); err == nil {
		ports.Free(n)
	}
	return r
}

// wait returns when the last request of an ended life is over. A nil life has none.
func (r *running) wait(ctx context.Context) error {
	if r == nil {
		return nil
	}
	for r.busy.Load() > 0 {
		select {
		case <-r.idle:
		case <-ctx.Done():
			return fmt.Errorf("still answering %d request(s): %w", r.busy.Load(), ctx.Err())
		}
	}
	return nil
}

// errDead is what a killed process's code gets when it reaches out.
var errDead = errors.New("the process has been stopped")
