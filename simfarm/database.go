package simfarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
)

// database is the common session database seen as a process: a store that
// can be stopped, started and made to fail a write. A file is closed by the
// stop and opened again from disk by the start. A store in memory, or one the
// caller brought, loses nothing but its availability.
type database struct {
	// reopen opens the store again; nil where it stays open behind the stop.
	reopen func(context.Context) (reference.Store, error)

	mu    sync.RWMutex // held for reading by every operation
	store reference.Store
	down  bool

	failMu sync.Mutex
	fail   map[string]bool // traces whose next write fails
}

var (
	errDown   = errors.New("reach session database: it is stopped")
	errRolled = errors.New("write session database: failed before the commit and was rolled back (injected)")
)

func (d *database) stop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil
	}
	d.down = true
	if d.reopen == nil {
		return nil
	}
	return closeStore(d.store)
}

func (d *database) start(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.down {
		return nil
	}
	if d.reopen != nil {
		s, err := d.reopen(ctx)
		if err != nil {
			return fmt.Errorf("start session database: %w", err)
		}
		d.store = s
	}
	d.down = false
	return nil
}

// close closes the store for good.
func (d *database) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down && d.reopen != nil {
		return nil // the stop has closed it
	}
	d.down = true
	return closeStore(d.store)
}

func closeStore(s reference.Store) error {
	if c, ok := s.(io.Closer); ok {
		if err := c.Close(); err != nil {
			return fmt.Errorf("close session database: %w", err)
		}
	}
	return nil
}

// failNext makes the trace's next write fail, whole.
func (d *database) failNext(trace string) {
	d.failMu.Lock()
	defer d.failMu.Unlock()
	if d.fail == nil {
		d.fail = make(map[string]bool)
	}
	d.fail[trace] = true
}

func (d *database) fails(ctx context.Context) bool {
	d.failMu.Lock()
	defer d.failMu.Unlock()
	if len(d.fail) == 0 {
		return false
	}
	trace := reference.TraceFrom(ctx)
	if !d.fail[trace] {
		return false
	}
	delete(d.fail, trace)
	return true
}

// read runs fn on the store.
func (d *database) read(fn func(reference.Store) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.down {
		return errDown
	}
	return fn(d.store)
}

// conn is a service's connection to the database: a reference.Store that
// works as long as both live.
type conn struct {
	db    *database
	alive func() bool
}

func (c conn) read(fn func(reference.Store) error) error {
	if !c.alive() {
		return errDead
	}
	return c.db.read(fn)
}

func (c conn) write(ctx context.Context, fn func(reference.Store) error) error {
	return c.read(func(s reference.Store) error {
		if c.db.fails(ctx) {
			return errRolled
		}
		return fn(s)
	})
}

func (c conn) Create(ctx context.Context, s reference.SecuritySession) error {
	return c.write(ctx, func(st reference.Store) error { return st.Create(ctx, s) })
}

func (c conn) Find(ctx context.Context, id reference.ID) (s reference.SecuritySession, err error) {
	err = c.read(func(st reference.Store) error { s, err = st.Find(ctx, id); return err })
	return s, err
}

func (c conn) Load(ctx context.Context, ref reference.ID) (s reference.SecuritySession, err error) {
	err = c.read(func(st reference.Store) error { s, err = st.Load(ctx, ref); return err })
	return s, err
}

func (c conn) Replace(ctx context.Context, old, next reference.Token) error {
	return c.write(ctx, func(st reference.Store) error { return st.Replace(ctx, old, next) })
}

func (c conn) CloseSession(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (closed bool, err error) {
	err = c.write(ctx, func(st reference.Store) error { closed, err = st.CloseSession(ctx, ref, why, at); return err })
	return closed, err
}

func (c conn) OpenHTTP(ctx context.Context, ref reference.ID, h reference.HTTPSession) (got reference.HTTPSession, created bool, err error) {
	err = c.write(ctx, func(st reference.Store) error { got, created, err = st.OpenHTTP(ctx, ref, h); return err })
	return got, created, err
}

func (c conn) SaveHTTP(ctx context.Context, ref reference.ID, application string, version int64, attributes map[string]string, at int64) error {
	return c.write(ctx, func(st reference.Store) error {
		return st.SaveHTTP(ctx, ref, application, version, attributes, at)
	})
}

func (c conn) EndHTTP(ctx context.Context, ref reference.ID, application string, why reference.Reason, at int64) (closed bool, err error) {
	err = c.write(ctx, func(st reference.Store) error {
		closed, err = st.EndHTTP(ctx, ref, application, why, at)
		return err
	})
	return closed, err
}

func (c conn) List(ctx context.Context, user string) (all []reference.SecuritySession, err error) {
	err = c.read(func(st reference.Store) error { all, err = st.List(ctx, user); return err })
	return all, err
}

func (c conn) SetDisabled(ctx context.Context, user string, disabled bool) error {
	return c.write(ctx, func(st reference.Store) error { return st.SetDisabled(ctx, user, disabled) })
}

func (c conn) Disabled(ctx context.Context, user string) (is bool, err error) {
	err = c.read(func(st reference.Store) error { is, err = st.Disabled(ctx, user); return err })
	return is, err
}

func (c conn) Prune(ctx context.Context, before int64) (n int, err error) {
	err = c.write(ctx, func(st reference.Store) error { n, err = st.Prune(ctx, before); return err })
	return n, err
}

// databaseHook is the farm's farmspec.DatabaseHook. It reaches past whatever
// wraps the store, to what is stored.
type databaseHook struct{ db *database }

func (h databaseHook) Rows(ctx context.Context, user string) (rows []farmspec.Row, err error) {
	err = h.db.read(func(s reference.Store) error {
		all, err := s.List(ctx, user)
		for i := range all {
			rows = append(rows, farmspec.Row{SessionInfo: infoOf(&all[i]), Token: plain(all[i].Current)})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read rows of %q: %w", user, err)
	}
	return rows, nil
}

func (h databaseHook) SetToken(ctx context.Context, ref string, t farmspec.PlainToken) error {
	return h.edit(ref, "set stored token", func(e reference.Editor, id reference.ID) error {
		tok, err := tokenOf(t)
		if err != nil {
			return err
		}
		return e.SetCurrent(ctx, id, tok)
	})
}

func (h databaseHook) Remove(ctx context.Context, ref string) error {
	return h.edit(ref, "remove row", func(e reference.Editor, id reference.ID) error { return e.Remove(ctx, id) })
}

func (h databaseHook) edit(ref, what string, fn func(reference.Editor, reference.ID) error) error {
	id, err := reference.ParseID(ref)
	if err != nil {
		return fmt.Errorf("%s of %q: %w", what, ref, err)
	}
	err = h.db.read(func(s reference.Store) error {
		e, ok := s.(reference.Editor)
		if !ok {
			return fmt.Errorf("the store %T has no editor", s)
		}
		return fn(e, id)
	})
	if err != nil {
		return fmt.Errorf("%s of %s: %w", what, ref, err)
	}
	return nil
}

func (h databaseHook) FailNext(_ context.Context, trace string) error {
	if trace == "" {
		return errors.New("fail next write: no trace given")
	}
	h.db.failNext(trace)
	return nil
}

func infoOf(s *reference.SecuritySession) farmspec.SessionInfo {
	info := farmspec.SessionInfo{
		Ref: s.Ref.String(), User: s.User, Open: s.Open(), Reason: string(s.Reason),
		CreatedAt: s.AuthenticatedAt, ClosedAt: s.ClosedAt,
	}
	for _, h := range s.HTTP {
		info.HTTPSessions = append(info.HTTPSessions, farmspec.HTTPSessionInfo{
			ID: h.ID.String(), App: h.Application, CreatedAt: h.CreatedAt, LastAccess: h.LastAccess, Attributes: h.Attributes,
		})
	}
	return info
}

func plain(t reference.Token) farmspec.PlainToken {
	return farmspec.PlainToken{ID: t.ID.String(), Timestamp: t.Timestamp}
}

func tokenOf(p farmspec.PlainToken) (reference.Token, error) {
	id, err := reference.ParseID(p.ID)
	if err != nil {
		return reference.Token{}, err
	}
	return reference.Token{ID: id, Timestamp: p.Timestamp}, nil
}
