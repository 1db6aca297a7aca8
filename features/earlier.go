package features

import (
	"context"
	"errors"
	"slices"

	"github.com/farmspec/farmspec"
)

// An account of a pool comes back with what earlier scenarios left in it.
// Scenarios count sessions, so what was there before is hidden from them.

// hideEarlier lets the hooks that list sessions leave out earlier ones.
func (w *world) hideEarlier() {
	if w.hooks.Admin != nil {
		w.hooks.Admin = laterAdmin{w.hooks.Admin, w}
	}
	if w.hooks.Database != nil {
		w.hooks.Database = laterDatabase{w.hooks.Database, w}
	}
}

// noteEarlier remembers the sessions that an account has.
func (w *world) noteEarlier(ctx context.Context, user string) error {
	if w.hooks.Admin != nil {
		all, err := w.hooks.Admin.Sessions(ctx, user)
		for _, s := range all {
			w.earlier.Store(s.Ref, true)
		}
		if !errors.Is(err, farmspec.ErrNoHook) {
			return err
		}
	}
	if w.hooks.Database != nil {
		rows, err := w.hooks.Database.Rows(ctx, user)
		for _, r := range rows {
			w.earlier.Store(r.Ref, true)
		}
		return err
	}
	return nil
}

func (w *world) isEarlier(ref string) bool {
	_, ok := w.earlier.Load(ref)
	return ok
}

type laterAdmin struct {
	farmspec.AdminHook
	w *world
}

func (a laterAdmin) Sessions(ctx context.Context, user string) ([]farmspec.SessionInfo, error) {
	all, err := a.AdminHook.Sessions(ctx, user)
	return slices.DeleteFunc(all, func(s farmspec.SessionInfo) bool { return a.w.isEarlier(s.Ref) }), err
}

type laterDatabase struct {
	farmspec.DatabaseHook
	w *world
}

func (b laterDatabase) Rows(ctx context.Context, user string) ([]farmspec.Row, error) {
	all, err := b.DatabaseHook.Rows(ctx, user)
	return slices.DeleteFunc(all, func(r farmspec.Row) bool { return b.w.isEarlier(r.Ref) }), err
}
