package mutant

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// The parts of a farm with some of their methods replaced: a nil function
// leaves the method as it is.

type serviceWith struct {
	web.Service
	login      func(context.Context, reference.LoginRequest) (reference.Grant, error)
	renew      func(context.Context, reference.Presented) (reference.Grant, error)
	verify     func(context.Context, reference.Presented) (reference.Grant, error)
	logout     func(context.Context, reference.Presented) error
	openHTTP   func(context.Context, reference.ID, string) (reference.HTTPSession, error)
	saveHTTP   func(context.Context, reference.ID, reference.HTTPSession) error
	endHTTP    func(context.Context, reference.ID, string) error
	createHTTP func(context.Context, reference.Presented, string) (reference.HTTPSession, error)
	list       func(context.Context, string) ([]reference.SecuritySession, error)
	terminate  func(context.Context, reference.Selection) (int, error)
}

func (s serviceWith) Login(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
	if s.login != nil {
		return s.login(ctx, r)
	}
	return s.Service.Login(ctx, r)
}

func (s serviceWith) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if s.renew != nil {
		return s.renew(ctx, r)
	}
	return s.Service.Renew(ctx, r)
}

func (s serviceWith) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if s.verify != nil {
		return s.verify(ctx, r)
	}
	return s.Service.Verify(ctx, r)
}

func (s serviceWith) Logout(ctx context.Context, r reference.Presented) error {
	if s.logout != nil {
		return s.logout(ctx, r)
	}
	return s.Service.Logout(ctx, r)
}

func (s serviceWith) OpenHTTP(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
	if s.openHTTP != nil {
		return s.openHTTP(ctx, ref, app)
	}
	return s.Service.OpenHTTP(ctx, ref, app)
}

func (s serviceWith) SaveHTTP(ctx context.Context, ref reference.ID, h reference.HTTPSession) error {
	if s.saveHTTP != nil {
		return s.saveHTTP(ctx, ref, h)
	}
	return s.Service.SaveHTTP(ctx, ref, h)
}

func (s serviceWith) EndHTTP(ctx context.Context, ref reference.ID, app string) error {
	if s.endHTTP != nil {
		return s.endHTTP(ctx, ref, app)
	}
	return s.Service.EndHTTP(ctx, ref, app)
}

func (s serviceWith) CreateHTTP(ctx context.Context, r reference.Presented, app string) (reference.HTTPSession, error) {
	if s.createHTTP != nil {
		return s.createHTTP(ctx, r, app)
	}
	return s.Service.CreateHTTP(ctx, r, app)
}

func (s serviceWith) List(ctx context.Context, user string) ([]reference.SecuritySession, error) {
	if s.list != nil {
		return s.list(ctx, user)
	}
	return s.Service.List(ctx, user)
}

func (s serviceWith) Terminate(ctx context.Context, sel reference.Selection) (int, error) {
	if s.terminate != nil {
		return s.terminate(ctx, sel)
	}
	return s.Service.Terminate(ctx, sel)
}

type storeWith struct {
	reference.Store
	create   func(context.Context, reference.SecuritySession) error
	find     func(context.Context, reference.ID) (reference.SecuritySession, error)
	load     func(context.Context, reference.ID) (reference.SecuritySession, error)
	replace  func(ctx context.Context, old, next reference.Token) error
	close    func(context.Context, reference.ID, reference.Reason, int64) (bool, error)
	openHTTP func(context.Context, reference.ID, reference.HTTPSession) (reference.HTTPSession, bool, error)
	saveHTTP func(ctx context.Context, ref reference.ID, app string, version int64, attributes map[string]string, at int64) error
	endHTTP  func(context.Context, reference.ID, string, reference.Reason, int64) (bool, error)
	list     func(context.Context, string) ([]reference.SecuritySession, error)
}

func (s storeWith) Create(ctx context.Context, row reference.SecuritySession) error {
	if s.create != nil {
		return s.create(ctx, row)
	}
	return s.Store.Create(ctx, row)
}

func (s storeWith) Find(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
	if s.find != nil {
		return s.find(ctx, id)
	}
	return s.Store.Find(ctx, id)
}

func (s storeWith) Load(ctx context.Context, ref reference.ID) (reference.SecuritySession, error) {
	if s.load != nil {
		return s.load(ctx, ref)
	}
	return s.Store.Load(ctx, ref)
}

func (s storeWith) Replace(ctx context.Context, old, next reference.Token) error {
	if s.replace != nil {
		return s.replace(ctx, old, next)
	}
	return s.Store.Replace(ctx, old, next)
}

func (s storeWith) CloseSession(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
	if s.close != nil {
		return s.close(ctx, ref, why, at)
	}
	return s.Store.CloseSession(ctx, ref, why, at)
}

func (s storeWith) OpenHTTP(ctx context.Context, ref reference.ID, h reference.HTTPSession) (reference.HTTPSession, bool, error) {
	if s.openHTTP != nil {
		return s.openHTTP(ctx, ref, h)
	}
	return s.Store.OpenHTTP(ctx, ref, h)
}

func (s storeWith) SaveHTTP(ctx context.Context, ref reference.ID, app string, version int64, attributes map[string]string, at int64) error {
	if s.saveHTTP != nil {
		return s.saveHTTP(ctx, ref, app, version, attributes, at)
	}
	return s.Store.SaveHTTP(ctx, ref, app, version, attributes, at)
}

func (s storeWith) EndHTTP(ctx context.Context, ref reference.ID, app string, why reference.Reason, at int64) (bool, error) {
	if s.endHTTP != nil {
		return s.endHTTP(ctx, ref, app, why, at)
	}
	return s.Store.EndHTTP(ctx, ref, app, why, at)
}

func (s storeWith) List(ctx context.Context, user string) ([]reference.SecuritySession, error) {
	if s.list != nil {
		return s.list(ctx, user)
	}
	return s.Store.List(ctx, user)
}

type memberWith struct {
	reference.Sessions
	login    func(context.Context, reference.LoginRequest) (reference.Grant, error)
	renew    func(context.Context, reference.Presented) (reference.Grant, error)
	logout   func(context.Context, reference.Presented) error
	openHTTP func(context.Context, reference.ID, string) (reference.HTTPSession, error)
	saveHTTP func(context.Context, reference.ID, reference.HTTPSession) error
	endHTTP  func(context.Context, reference.ID, string) error
}

func (s memberWith) Login(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
	if s.login != nil {
		return s.login(ctx, r)
	}
	return s.Sessions.Login(ctx, r)
}

func (s memberWith) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if s.renew != nil {
		return s.renew(ctx, r)
	}
	return s.Sessions.Renew(ctx, r)
}

func (s memberWith) Logout(ctx context.Context, r reference.Presented) error {
	if s.logout != nil {
		return s.logout(ctx, r)
	}
	return s.Sessions.Logout(ctx, r)
}

func (s memberWith) OpenHTTP(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
	if s.openHTTP != nil {
		return s.openHTTP(ctx, ref, app)
	}
	return s.Sessions.OpenHTTP(ctx, ref, app)
}

func (s memberWith) SaveHTTP(ctx context.Context, ref reference.ID, h reference.HTTPSession) error {
	if s.saveHTTP != nil {
		return s.saveHTTP(ctx, ref, h)
	}
	return s.Sessions.SaveHTTP(ctx, ref, h)
}

func (s memberWith) EndHTTP(ctx context.Context, ref reference.ID, app string) error {
	if s.endHTTP != nil {
		return s.endHTTP(ctx, ref, app)
	}
	return s.Sessions.EndHTTP(ctx, ref, app)
}

// around plants a fault that changes what the service is made of and then
// wraps it. A farm starts its service by the one call and then the other, and
// forks may start at the same time: the lock keeps each pair together.
func around(change func(*reference.Options) func(web.Service) web.Service) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		var mu sync.Mutex
		var wrap func(web.Service) web.Service
		return simfarm.Wrap{
			Service: func(o *reference.Options) {
				mu.Lock()
				wrap = change(o)
			},
			API: func(s web.Service) web.Service {
				defer mu.Unlock()
				return wrap(s)
			},
		}
	}
}

// pages wraps what answers a browser, and leaves the service alone.
func pages(wrap func(h http.Handler) http.Handler) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		return simfarm.Wrap{Handler: func(process string, h http.Handler) http.Handler {
			if process == farmspec.ServiceProcess {
				return h
			}
			return wrap(h)
		}}
	}
}

// forever is a limit that nothing reaches.
const forever = 50 * 365 * 24 * time.Hour

// defaultIdle is the time-out of the farms in which these faults are planted,
// for parts that are not told.
const defaultIdle = 30 * time.Minute

func clockOfOptions(o *reference.Options) func() int64 {
	now := o.Now
	return func() int64 { return now().UnixMilli() }
}

// unlimited takes the session's idle time-out from the service, for a fault
// that decides it otherwise, and returns what it was.
func unlimited(o *reference.Options) time.Duration {
	idle := o.Limits.Idle
	o.Limits.Idle = forever
	return idle
}

// guarded asks before a token is renewed or verified.
func guarded(s web.Service, before func(context.Context, reference.Presented) error) web.Service {
	return serviceWith{
		Service: s,
		renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
			if err := before(ctx, r); err != nil {
				return reference.Grant{}, err
			}
			return s.Renew(ctx, r)
		},
		verify: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
			if err := before(ctx, r); err != nil {
				return reference.Grant{}, err
			}
			return s.Verify(ctx, r)
		},
	}
}

func expired(err error) bool { return errors.Is(err, reference.ErrExpired) }
