package pgstore_test

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// fault is what a proxy does to what passes it.
type fault int32

const (
	none          fault = iota
	loseAnswers         // connections end where the server's next answer would pass
	loseQuestions       // … or the client's next question
	silent              // answers wait until the fault ends
)

// proxy stands between the store and the server.
type proxy struct {
	ln   net.Listener
	to   string
	sent atomic.Int64 // how often a client wrote

	mu    sync.Mutex
	ended *sync.Cond // of the fault
	fault fault
}

func newProxy(t testing.TB) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln}
	p.ended = sync.NewCond(&p.mu)
	t.Cleanup(func() { _ = ln.Close(); p.set(none) })
	return p
}

// before starts the proxy and returns the URL of the server with the proxy's
// address in it.
func (p *proxy) before(t testing.TB, address string) string {
	t.Helper()
	through := edit(t, address, func(u *url.URL) {
		p.to = u.Host
		u.Host = p.ln.Addr().String()
	})
	go func() {
		for {
			client, err := p.ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.to)
			if err != nil {
				client.Close()
				continue
			}
			go p.copy(server, client, loseQuestions)
			go p.copy(client, server, loseAnswers)
		}
	}()
	return through
}

func (p *proxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	p.ended.Broadcast()
}

func (p *proxy) copy(to, from net.Conn, ends fault) {
	defer to.Close()
	defer from.Close()
	for buffer := make([]byte, 1<<16); ; {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if ends == loseQuestions {
			p.sent.Add(1)
		}
		p.mu.Lock()
		for p.fault == silent && ends == loseAnswers {
			p.ended.Wait()
		}
		lost := p.fault == ends
		p.mu.Unlock()
		if lost {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
