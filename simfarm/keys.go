package simfarm

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
)

// keys are the farm's keys: a ring for each member, so that a new key rolls
// out member by member.
type keys struct {
	rand io.Reader
	// first is what the first member seals and opens with.
	first atomic.Pointer[web.Sealer]

	mu      sync.Mutex
	held    []reference.Key // all, oldest first
	members []*reference.KeyRing
	sealing byte // the key the first member seals with
	rolling bool // the newest key does not seal on every member yet
}

func newKeys(members int, given []reference.Key, rand io.Reader) (*keys, error) {
	if len(given) == 0 {
		k, err := reference.NewKey(1, rand)
		if err != nil {
			return nil, err
		}
		given = []reference.Key{k}
	}
	k := &keys{rand: rand, held: append([]reference.Key(nil), given...), sealing: given[0].ID}
	for range members {
		k.members = append(k.members, reference.NewKeyRing(given...))
	}
	return k, nil
}

// keyHook is the farm's farmspec.KeyHook.
type keyHook struct{ *keys }

func (h keyHook) Open(sealed string) (farmspec.PlainToken, error) {
	t, err := (*h.first.Load()).Open(sealed)
	if err != nil {
		return farmspec.PlainToken{}, fmt.Errorf("open token: %w: %w", farmspec.ErrRefused, err)
	}
	return plain(t), nil
}

func (h keyHook) Seal(p farmspec.PlainToken) (string, error) { return seal(*h.first.Load(), p) }

func (h keyHook) SealForeign(p farmspec.PlainToken) (string, error) {
	h.mu.Lock()
	id := h.sealing
	h.mu.Unlock()
	foreign, err := reference.NewKey(id, h.rand)
	if err != nil {
		return "", fmt.Errorf("seal token: %w", err)
	}
	return seal(reference.NewCodec(reference.NewKeyRing(foreign), h.rand), p)
}

func seal(c web.Sealer, p farmspec.PlainToken) (string, error) {
	t, err := tokenOf(p)
	if err != nil {
		return "", fmt.Errorf("seal token: %w", err)
	}
	return c.Seal(t)
}

// Rotate adds a new key to every ring before any member seals with it; the
// next call goes on with the same key until it has reached every member.
func (h keyHook) Rotate(_ context.Context, members int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if members < 0 || members > len(h.members) {
		return fmt.Errorf("rotate keys: %d of %d members", members, len(h.members))
	}
	if !h.rolling {
		next, err := reference.NewKey(h.held[len(h.held)-1].ID+1, h.rand)
		if err != nil {
			return fmt.Errorf("rotate keys: %w", err)
		}
		h.held = append(h.held, next)
		for _, r := range h.members {
			r.Add(next)
		}
		h.rolling = true
	}
	if members == 0 {
		return nil
	}
	newest := h.held[len(h.held)-1].ID
	for _, r := range h.members[:members] {
		if err := r.Use(newest); err != nil {
			return fmt.Errorf("rotate keys: %w", err)
		}
	}
	h.sealing = newest
	h.rolling = members < len(h.members)
	return nil
}

// Cipher is what the first member's sealer says of itself, or "".
func (h keyHook) Cipher() string {
	if c, ok := (*h.first.Load()).(farmspec.CipherHook); ok {
		return c.Cipher()
	}
	return ""
}
