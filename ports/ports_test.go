package ports

import (
	"context"
	"net"
	"slices"
	"strconv"
	"testing"
)

func TestPortsBelongToOneProgram(t *testing.T) {
	// Two pools stand for two programs.
	pools := [2]pool{}
	t.Cleanup(func() {
		for i := range pools {
			for _, g := range pools[i].guards {
				_ = g.Close()
			}
		}
	})
	owner := map[int]int{}
	for i := range pools {
		for range 3 * blockPorts {
			n, err := pools[i].draw(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if other, drawn := owner[n]; drawn {
				t.Fatalf("port %d drawn by %d and by %d", n, other, i)
			}
			owner[n] = i
		}
	}
	for _, g := range append(pools[0].guards, pools[1].guards...) {
		_, port, _ := net.SplitHostPort(g.Addr().String())
		if n, _ := strconv.Atoi(port); (n-firstPort)%blockPorts != 0 {
			t.Errorf("a guard stands at %d", n)
		} else if _, drawn := owner[n]; drawn {
			t.Errorf("the port of a guard, %d, was drawn", n)
		}
	}
	lent, err := pools[0].draw(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	pools[1].free(lent) // not its own
	pools[0].free(lent)
	if !slices.Contains(pools[0].left, lent) || slices.Contains(pools[1].left, lent) {
		t.Errorf("port %d went back to the wrong pool", lent)
	}
}
