package simfarm

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
// at its first port, its guard. So a stopped process finds its port free when
// it starts again, whatever farms other programs open meanwhile. The blocks lie
// below the ports that systems draw for outgoing connections.
const (
	firstPort  = 12_000
	blockPorts = 128
	blocks     = 125
)

// ports are this program's.
var ports portPool

// portPool draws ports that no other program of this kind draws. It is safe
// for concurrent use.
type portPool struct {
	mu     sync.Mutex
	guards []net.Listener // held until the program ends
	left   []int          // the longest unused first, so that a late caller of a closed farm meets nobody
	lent   map[int]bool
}

// draw lends a port, and guards another block where none is left.
func (p *portPool) draw(ctx context.Context) (int, error) {
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
func (p *portPool) free(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lent[n] {
		delete(p.lent, n)
		p.left = append(p.left, n)
	}
}

// guard needs mu.
func (p *portPool) guard(ctx context.Context) error {
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
