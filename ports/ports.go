// Package ports lends TCP ports of 127.0.0.1 that no other program takes which
// draws its own here, or which lets the system choose.
package ports

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
)

// Ports are drawn from blocks, and a block belongs to the program that listens
// at its first port, its guard. So a stopped server finds its port free when it
// starts again, whatever other programs open meanwhile. The blocks lie below
// the ports that systems draw for outgoing connections.
const (
	firstPort  = 12_000
	blockPorts = 128
	blocks     = 125
)

var own pool // this program's

// Listen listens at a port of the host, which stays lent until it is freed,
// whoever listens there meanwhile.
func Listen(ctx context.Context, host string) (net.Listener, error) {
	for {
		n, err := own.draw(ctx)
		if err != nil {
			return nil, err
		}
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(n)))
		if err == nil {
			return ln, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			own.free(n)
			return nil, err
		} // somebody else's for as long as this program runs
	}
}

// Draw lends a port of 127.0.0.1, at which nobody listens.
func Draw(ctx context.Context) (int, error) {
	ln, err := Listen(ctx, "127.0.0.1")
	if err != nil {
		return 0, err
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close()
}

// Free takes a lent port back; others are left alone.
func Free(n int) { own.free(n) }

// pool draws ports that no other program of this kind draws. It is safe for
// concurrent use.
type pool struct {
	mu     sync.Mutex
	guards []net.Listener // held until the program ends
	left   []int          // the longest unused first, so that a late caller of a closed farm meets nobody
	lent   map[int]bool
}

// draw lends a port, and guards another block where none is left.
func (p *pool) draw(ctx context.Context) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.left) == 0 {
		if err := p.guard(ctx); err != nil {
			return 0, err
		}
	}
	n := p.left[0]
	p.left = p.left[1:]
	p.lent[n] = true
	return n, nil
}

// free takes a lent port back; others are none of the pool's.
func (p *pool) free(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lent[n] {
		delete(p.lent, n)
		p.left = append(p.left, n)
	}
}

// guard needs mu.
func (p *pool) guard(ctx context.Context) error {
	if p.lent == nil {
		p.lent = map[int]bool{}
	}
	start := rand.IntN(blocks)
	for i := range blocks {
		first := firstPort + (start+i)%blocks*blockPorts
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return fmt.Errorf("guard a block of ports: %w", err)
		}
		p.guards = append(p.guards, ln)
		for n := first + 1; n < first+blockPorts; n++ {
			p.left = append(p.left, n)
		}
		return nil
	}
	return fmt.Errorf("guard a block of ports: all of %d to %d are taken", firstPort, firstPort+blocks*blockPorts-1)
}
