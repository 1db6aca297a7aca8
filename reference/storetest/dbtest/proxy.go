package dbtest

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Fault is what a Proxy does to what passes it.
type Fault int32

// The faults.
const (
	NoFault       Fault = iota
	LoseAnswers         // connections end where the server's next answer would pass
	LoseQuestions       // … or the client's next question
	Silence             // answers wait until the fault ends
)

// Proxy stands between a store and its server.
type Proxy struct {
	ln   net.Listener
	to   string
	sent atomic.Int64

	mu    sync.Mutex
	ended *sync.Cond // of the fault
	fault Fault
}

// NewProxy takes a port on loopback until the test ends.
func NewProxy(t testing.TB) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{ln: ln}
	p.ended = sync.NewCond(&p.mu)
	t.Cleanup(func() { _ = ln.Close(); p.Set(NoFault) })
	return p
}

// Port is where the proxy listens, on 127.0.0.1.
func (p *Proxy) Port() int { return p.ln.Addr().(*net.TCPAddr).Port }

// Before starts the proxy and returns the server's URL with the proxy's
// address in it.
func (p *Proxy) Before(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p.to, u.Host = u.Host, p.ln.Addr().String()
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
			go p.copy(server, client, LoseQuestions)
			go p.copy(client, server, LoseAnswers)
		}
	}()
	return u.String()
}

// Set changes the fault.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	p.ended.Broadcast()
}

// Sent is how often clients have written, greetings of new connections included.
func (p *Proxy) Sent() int64 { return p.sent.Load() }

func (p *Proxy) copy(to, from net.Conn, ends Fault) {
	defer to.Close()
	defer from.Close()
	for buffer := make([]byte, 1<<16); ; {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if ends == LoseQuestions {
			p.sent.Add(1)
		}
		p.mu.Lock()
		for p.fault == Silence && ends == LoseAnswers {
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
