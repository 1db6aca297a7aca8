package simfarm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/farmspec/farmspec/reference"
)

// node is what a member remembers under farmspec.Relogin: the sessions of
// those who logged in there. It dies with the member's process.
type node struct {
	mu       sync.Mutex
	sessions []reference.ID
}

// forget ends the sessions that the member's earlier life remembered.
func (f *Farm) forget(member string) error {
	v, ok := f.nodes.LoadAndDelete(member)
	if !ok {
		return nil
	}
	before := v.(*node)
	before.mu.Lock()
	defer before.mu.Unlock()
	for _, ref := range before.sessions {
		_, err := f.current.Load().Terminate(context.Background(), reference.Selection{Session: ref})
		if err != nil && !errors.Is(err, reference.ErrUnknown) {
			return fmt.Errorf("forget sessions of %s: %w", member, err)
		}
	}
	return nil
}

// remembered has the member remember who logs in there.
func (f *Farm) remembered(member string, s reference.Sessions) reference.Sessions {
	v, _ := f.nodes.LoadOrStore(member, new(node))
	return remembering{s, v.(*node)}
}

type remembering struct {
	reference.Sessions
	in *node
}

func (r remembering) Login(ctx context.Context, q reference.LoginRequest) (reference.Grant, error) {
	g, err := r.Sessions.Login(ctx, q)
	if err == nil {
		r.in.mu.Lock()
		defer r.in.mu.Unlock()
		r.in.sessions = append(r.in.sessions, g.Session)
	}
	return g, err
}
