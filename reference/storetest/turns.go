package storetest

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/farmspec/farmspec/reference"
)

// TakingTurns is one store of several on the same data, as several session
// services have them: each call goes to the next. The whole contract holds for
// it. Closing it closes all; as a reference.Editor it needs editors.
func TakingTurns(stores ...reference.Store) reference.Store { return &turns{stores: stores} }

type turns struct {
	stores []reference.Store
	calls  atomic.Uint64
}

func (t *turns) next() reference.Store { return t.stores[t.calls.Add(1)%uint64(len(t.stores))] }

func (t *turns) Create(ctx context.Context, s reference.SecuritySession) error {
	return t.next().Create(ctx, s)
}

func (t *turns) Find(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
	return t.next().Find(ctx, id)
}

func (t *turns) Load(ctx context.Context, ref reference.ID) (reference.SecuritySession, error) {
	return t.next().Load(ctx, ref)
}

func (t *turns) Replace(ctx context.Context, old, next reference.Token) error {
	return t.next().Replace(ctx, old, next)
}

func (t *turns) CloseSession(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
	return t.next().CloseSession(ctx, ref, why, at)
}

func (t *turns) OpenHTTP(ctx context.Context, ref reference.ID, h reference.HTTPSession) (reference.HTTPSession, bool, error) {
	return t.next().OpenHTTP(ctx, ref, h)
}

func (t *turns) SaveHTTP(ctx context.Context, ref reference.ID, application string, version int64, attributes map[string]string, at int64) error {
	return t.next().SaveHTTP(ctx, ref, application, version, attributes, at)
}

func (t *turns) EndHTTP(ctx context.Context, ref reference.ID, application string, why reference.Reason, at int64) (bool, error) {
	return t.next().EndHTTP(ctx, ref, application, why, at)
}

func (t *turns) List(ctx context.Context, user string) ([]reference.SecuritySession, error) {
	return t.next().List(ctx, user)
}

func (t *turns) SetDisabled(ctx context.Context, user string, disabled bool) error {
	return t.next().SetDisabled(ctx, user, disabled)
}

func (t *turns) Disabled(ctx context.Context, user string) (bool, error) {
	return t.next().Disabled(ctx, user)
}

func (t *turns) Prune(ctx context.Context, before int64) (int, error) {
	return t.next().Prune(ctx, before)
}

func (t *turns) SetCurrent(ctx context.Context, ref reference.ID, token reference.Token) error {
	return t.next().(reference.Editor).SetCurrent(ctx, ref, token)
}

func (t *turns) Remove(ctx context.Context, ref reference.ID) error {
	return t.next().(reference.Editor).Remove(ctx, ref)
}

func (t *turns) Close() error {
	var errs []error
	for _, s := range t.stores {
		if c, is := s.(io.Closer); is {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
