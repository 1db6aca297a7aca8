package speed

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/sqlstore"
	"github.com/farmspec/farmspec/simfarm"
)

// The names of the standard cases that others are compared with.
const (
	Seal      = "Token/part=seal"
	Open      = "Token/part=open"
	SealOpen  = "Token/part=seal+open"
	Rotation  = "Rotation/in=memory/callers=1"
	InMemory  = "Store/in=memory/callers=32"
	InFile    = "Store/in=file/callers=32"
	OneByOne  = "Store/in=file/callers=32/commit=each"
	InProcess = "Flow/handoff=claimed/over=process"
	Loopback  = "Flow/handoff=claimed/over=loopback"
)

// Standard returns the standard set: the token, a whole rotation, each store
// with 1, 32 and 256 callers, and the whole claimed flow.
func Standard() []Case {
	all := []Case{
		{Seal, token(func(c *reference.Codec, t reference.Token, _ string, buf []byte) error {
			_, err := c.AppendSeal(buf[:0], t)
			return err
		})},
		{Open, token(func(c *reference.Codec, _ reference.Token, sealed string, _ []byte) error {
			_, err := c.Open(sealed)
			return err
		})},
		{SealOpen, sealOpen},
		{Rotation, rotation},
	}
	for _, in := range []string{"memory", "sqlite", "file"} {
		all = append(all, stores(in, in)...)
	}
	return append(all,
		Case{OneByOne, store("file", 32, true)},
		Case{"Contended/in=memory/callers=32", contended("memory")},
		Case{"Contended/in=file/callers=32", contended("file")},
		Case{InProcess, inProcess},
		Case{Loopback, overLoopback})
}

// Goals returns what the standard set is to show.
func Goals() []Goal {
	return []Goal{
		{Name: "token: sealing and opening allocates nothing", Case: SealOpen, By: Allocs, AtMost: 0.001},
		{Name: "SQLite, durable, 32 callers: group commit against one commit each", Case: InFile, Than: OneByOne, By: Wall, AtLeast: 7},
		{Name: "whole claimed flow, nanoseconds of CPU", Case: InProcess, By: CPU, AtMost: 5000},
		{Name: "whole claimed flow: in process against loopback TCP", Case: InProcess, Than: Loopback, By: CPU, AtLeast: 15},
	}
}

func newCodec() (*reference.Codec, error) {
	key, err := reference.NewKey(1, rand.Reader)
	return reference.NewCodec(reference.NewKeyRing(key), rand.Reader), err
}

func newToken() (reference.Token, error) {
	id, err := reference.NewID(rand.Reader)
	return reference.Token{ID: id, Timestamp: 1_700_000_000_000}, err
}

// repeat makes a Do of one operation.
func repeat(op func() error) func(int) error {
	return func(n int) error {
		for range n {
			if err := op(); err != nil {
				return err
			}
		}
		return nil
	}
}

func token(op func(c *reference.Codec, t reference.Token, sealed string, buf []byte) error) func(context.Context) (Work, error) {
	return func(context.Context) (Work, error) {
		codec, err := newCodec()
		if err != nil {
			return Work{}, err
		}
		t, err := newToken()
		if err != nil {
			return Work{}, err
		}
		sealed, err := codec.Seal(t)
		buf := make([]byte, 0, reference.SealedLen)
		return Work{Do: repeat(func() error { return op(codec, t, sealed, buf) })}, err
	}
}

// sealOpen seals a token, opens what came of it, and looks whether it is the same.
func sealOpen(context.Context) (Work, error) {
	codec, err := newCodec()
	if err != nil {
		return Work{}, err
	}
	t, err := newToken()
	buf := make([]byte, 0, reference.SealedLen)
	return Work{Do: repeat(func() error {
		sealed, err := codec.AppendSeal(buf[:0], t)
		if err != nil {
			return err
		}
		// A view is good for as long as the buffer is left alone.
		got, err := codec.Open(unsafe.String(&sealed[0], len(sealed)))
		if err == nil && got != t {
			err = errors.New("another token came out")
		}
		return err
	})}, err
}

// rotation opens a sealed token, has the service replace it, and seals the new one.
func rotation(ctx context.Context) (Work, error) {
	codec, err := newCodec()
	if err != nil {
		return Work{}, err
	}
	users := &reference.Users{Iterations: 1}
	if err := users.Add("ada", "pw"); err != nil {
		return Work{}, err
	}
	svc, err := reference.NewService(reference.Options{Store: memstore.Open(), Users: users})
	if err != nil {
		return Work{}, err
	}
	g, err := svc.Login(ctx, reference.LoginRequest{User: "ada", Password: "pw"})
	if err != nil {
		return Work{}, err
	}
	sealed, err := codec.Seal(g.Token)
	return Work{Do: repeat(func() error {
		t, err := codec.Open(sealed)
		if err != nil {
			return err
		}
		g, err := svc.Renew(ctx, reference.Presented{Token: t})
		if err != nil {
			return err
		}
		sealed, err = codec.Seal(g.Token)
		return err
	})}, err
}

// OnServer returns the cases about the store in a database server, by its
// address as simfarm.Options.Database has it. They leave nothing there.
func OnServer(address string) ([]Case, error) {
	if !simfarm.OnServer(address) {
		return nil, fmt.Errorf("no database server %q; want postgres://HOST:PORT/DATABASE or redis://HOST:PORT/NUMBER", simfarm.Redacted(address))
	}
	kind, _, _ := strings.Cut(address, ":")
	return stores(kind, address), nil
}

func stores(name, in string) (all []Case) {
	for _, callers := range []int{1, 32, 256} {
		all = append(all, Case{fmt.Sprintf("Store/in=%s/callers=%d", name, callers), store(in, callers, false)})
	}
	return all
}

func openStore(ctx context.Context, in string) (reference.Store, func() error, error) {
	if simfarm.OnServer(in) {
		return simfarm.OpenApart(ctx, in)
	}
	switch in {
	case "sqlite":
		db, err := sqlstore.Open(":memory:")
		if err != nil {
			return nil, nil, err
		}
		return db, db.Close, nil
	case "file":
		dir, err := os.MkdirTemp("", "farmspec-bench-")
		if err != nil {
			return nil, nil, err
		}
		remove := func() error { return os.RemoveAll(dir) }
		db, err := sqlstore.Open(filepath.Join(dir, "sessions.db"))
		if err != nil {
			return nil, nil, errors.Join(err, remove())
		}
		return db, func() error { return errors.Join(db.Close(), remove()) }, nil
	}
	return memstore.Open(), nil, nil
}

// store is a rotation in the store alone: find the session, check the token,
// replace it. Each caller has a session of his own. With oneByOne, callers
// take turns around the replacement, so that each has a commit to himself.
func store(in string, callers int, oneByOne bool) func(context.Context) (Work, error) {
	return func(ctx context.Context) (Work, error) {
		s, closeStore, err := openStore(ctx, in)
		if err != nil {
			return Work{}, err
		}
		current, err := sessions(ctx, s, callers)
		var turn sync.Mutex
		rotate := func(caller int) error {
			old := current[caller]
			sess, err := s.Find(ctx, old.ID)
			if err != nil {
				return err
			}
			if !old.SameAs(sess.Current) {
				return reference.ErrSpent
			}
			next, err := newToken()
			if err != nil {
				return err
			}
			if oneByOne {
				turn.Lock()
				defer turn.Unlock()
			}
			if err := s.Replace(ctx, old, next); err != nil {
				return err
			}
			current[caller] = next
			return nil
		}
		w := Work{Do: Concurrently(callers, rotate), Close: closeStore}
		if err == nil && simfarm.OnServer(in) {
			err = w.Do(4 * callers) // connections are not what is measured
		}
		if err != nil && closeStore != nil {
			err = errors.Join(err, closeStore())
		}
		return w, err
	}
}

// sessions creates n sessions and returns their tokens.
func sessions(ctx context.Context, s reference.Store, n int) ([]reference.Token, error) {
	current := make([]reference.Token, n)
	for i := range current {
		var err error
		if current[i], err = newToken(); err != nil {
			return nil, err
		}
		sess := reference.SecuritySession{User: "ada", AuthenticatedAt: current[i].Timestamp, Current: current[i]}
		binary.BigEndian.PutUint64(sess.Ref[:], uint64(i)+1)
		if err := s.Create(ctx, sess); err != nil {
			return nil, err
		}
	}
	return current, nil
}

// Concurrently makes a Do of n operations that as many callers share evenly.
func Concurrently(callers int, op func(caller int) error) func(int) error {
	return func(n int) error {
		errs := make([]error, callers)
		var done sync.WaitGroup
		for caller := range callers {
			mine := n / callers
			if caller < n%callers {
				mine++
			}
			done.Go(func() {
				for range mine {
					if errs[caller] = op(caller); errs[caller] != nil {
						return
					}
				}
			})
		}
		done.Wait()
		return errors.Join(errs...)
	}
}

// contended has 32 callers replace the token of one session. Exactly one wins
// each token; a second winner is an error.
func contended(in string) func(context.Context) (Work, error) {
	const callers = 32
	return func(ctx context.Context) (Work, error) {
		s, closeStore, err := openStore(ctx, in)
		if err != nil {
			return Work{}, err
		}
		first, err := sessions(ctx, s, 1)
		if err != nil {
			return Work{}, err
		}
		var current atomic.Pointer[reference.Token]
		current.Store(&first[0])
		var won [callers][]reference.ID
		race := Concurrently(callers, func(caller int) error {
			old := *current.Load()
			next, err := newToken()
			if err != nil {
				return err
			}
			switch err := s.Replace(ctx, old, next); {
			case err == nil:
				won[caller] = append(won[caller], old.ID)
				current.Store(&next)
			case !errors.Is(err, reference.ErrSpent):
				return err
			}
			return nil
		})
		return Work{Close: closeStore, Do: func(n int) error {
			if err := race(n); err != nil {
				return err
			}
			winners := make(map[reference.ID]bool)
			for caller := range won {
				for _, id := range won[caller] {
					if winners[id] {
						return errors.New("two callers replaced one token")
					}
					winners[id] = true
				}
				won[caller] = won[caller][:0]
			}
			return nil
		}}, nil
	}
}
