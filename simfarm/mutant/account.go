package mutant

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// The faults of what users do for their own account, and of disabled accounts.

func init() {
	register(
		Fault{
			ID: "M601", Name: "a user's list of sessions has only the one that asks for it", Violates: []string{"ASVS-7.5.2"},
			Convicts: []string{"account.sessions-listed"}, Level: farmspec.Black,
			Plant: accounts(func(s web.Service, a *accountWith) {
				a.own = func(ctx context.Context, session reference.ID) ([]reference.SecuritySession, error) {
					all, err := s.Own(ctx, session)
					var own []reference.SecuritySession
					for _, row := range all {
						if row.Ref == session {
							own = append(own, row)
						}
					}
					return own, err
				}
			}),
		},
		Fault{
			ID: "M602", Name: "to end a session takes it off the user's list and does nothing else", Violates: []string{"ASVS-7.5.2"},
			Convicts: []string{"account.sessions-ended"}, Level: farmspec.Black,
			Plant: accounts(func(s web.Service, a *accountWith) {
				var mu sync.Mutex
				off := map[reference.ID]bool{}
				a.own = func(ctx context.Context, session reference.ID) (shown []reference.SecuritySession, err error) {
					all, err := s.Own(ctx, session)
					mu.Lock()
					defer mu.Unlock()
					for _, row := range all {
						if !off[row.Ref] {
							shown = append(shown, row)
						}
					}
					return shown, err
				}
				a.endOwn = func(ctx context.Context, c reference.Confirmed, which reference.ID) (int, error) {
					if err := s.Confirm(ctx, c); err != nil {
						return 0, err
					}
					all, err := s.Own(ctx, c.Session)
					mu.Lock()
					defer mu.Unlock()
					for _, row := range all {
						off[row.Ref] = off[row.Ref] || row.Ref == which || which.IsZero() && row.Ref != c.Session
					}
					return len(off), err
				}
			}),
		},
		Fault{
			ID: "M603", Name: "a session that its user has ended is refused by the server where he did so, and by no other", Violates: []string{"ASVS-7.5.2"},
			Convicts: []string{"account.sessions-ended"}, Level: farmspec.Black, Precedent: "Spring Session issue 127",
			Plant: member(func(c *web.ServerConfig) { c.Sessions = &endsHere{Sessions: c.Sessions} }),
		},
		Fault{
			ID: "M604", Name: "an open session is enough to end the others", Violates: []string{"ASVS-7.5.2"},
			Convicts: []string{"account.sessions-take-password"}, Level: farmspec.Black,
			Plant: accounts(func(s web.Service, a *accountWith) {
				a.endOwn = func(ctx context.Context, c reference.Confirmed, which reference.ID) (int, error) {
					return endsUnasked(ctx, s, c, which)
				}
			}),
		},
		Fault{
			ID: "M605", Name: "a password that is left out is not asked for when sessions are ended", Violates: []string{"ASVS-7.5.2"},
			Convicts: []string{"account.sessions-take-password"}, Level: farmspec.Black,
			Plant: accounts(func(s web.Service, a *accountWith) {
				a.endOwn = func(ctx context.Context, c reference.Confirmed, which reference.ID) (int, error) {
					if c.Password == "" {
						return endsUnasked(ctx, s, c, which)
					}
					return s.EndOwn(ctx, c, which)
				}
			}),
		},
		Fault{
			ID: "M606", Name: "who names a session ends it, whosever it is", Violates: []string{"ASVS-7.5.2"},
			Convicts: []string{"account.sessions-of-others"}, Level: farmspec.Black,
			Plant: accounts(func(s web.Service, a *accountWith) {
				a.endOwn = func(ctx context.Context, c reference.Confirmed, which reference.ID) (int, error) {
					if err := s.Confirm(ctx, c); err != nil || which.IsZero() {
						return s.EndOwn(ctx, c, which)
					}
					return s.Terminate(ctx, reference.Selection{Session: which})
				}
			}),
		},
		Fault{
			ID: "M607", Name: "a new password takes an open session and nothing else", Violates: []string{"ASVS-7.5.1"},
			Convicts: []string{"account.password-takes-password"}, Level: farmspec.Black,
			Plant: changesUnasked(func(string) bool { return true }),
		},
		Fault{
			ID: "M608", Name: "the present password is compared only where one is given", Violates: []string{"ASVS-7.5.1"},
			Convicts: []string{"account.password-takes-password"}, Level: farmspec.Black,
			Plant: changesUnasked(func(given string) bool { return given == "" }),
		},
		Fault{
			ID: "F51", Name: "a new password leaves the sessions of before, whatever was asked for", Violates: []string{"ASVS-7.4.3"},
			Convicts: []string{"account.password-ends-others"}, Level: farmspec.Black, Precedent: "Airflow CVE-2023-40273; listmonk CVE-2026-34828",
			Plant: accounts(func(s web.Service, a *accountWith) {
				a.changePassword = func(ctx context.Context, c reference.Confirmed, next string, _ bool) error {
					return s.ChangePassword(ctx, c, next, false)
				}
			}),
		},
		Fault{
			ID: "M609", Name: "who changes a password and ends the other sessions ends everybody's", Violates: []string{"ASVS-7.4.3"},
			Convicts: []string{"account.password-ends-others"}, Level: farmspec.Black,
			Plant: accounts(func(s web.Service, a *accountWith) {
				a.changePassword = func(ctx context.Context, c reference.Confirmed, next string, endOthers bool) error {
					err := s.ChangePassword(ctx, c, next, false)
					if err == nil && endOthers {
						_, err = s.Terminate(ctx, reference.Selection{All: true})
					}
					return err
				}
			}),
		},
		Fault{
			ID: "M610", Name: "a transaction takes an open session and nothing else", Violates: []string{"ASVS-7.5.3"},
			Convicts: []string{"account.transaction-takes-password"}, Level: farmspec.Black,
			Plant: accounts(func(_ web.Service, a *accountWith) {
				a.confirm = func(context.Context, reference.Confirmed) error { return nil }
			}),
		},
		Fault{
			ID: "M611", Name: "a transaction asks for the password where the form has one", Violates: []string{"ASVS-7.5.3"},
			Convicts: []string{"account.transaction-takes-password"}, Level: farmspec.Black,
			Plant: accounts(func(s web.Service, a *accountWith) {
				a.confirm = func(ctx context.Context, c reference.Confirmed) error {
					if c.Password == "" {
						return nil
					}
					return s.Confirm(ctx, c)
				}
			}),
		},
		Fault{
			ID: "M612", Name: "an account that is disabled keeps the sessions it has", Violates: []string{"ASVS-7.4.2"},
			Convicts: []string{"account.disabled"}, Level: farmspec.Grey,
			Plant: disabling(func(ctx context.Context, s web.Service, db reference.Store, user string) error {
				return db.SetDisabled(ctx, user, true)
			}),
		},
		Fault{
			ID: "M613", Name: "an account that is disabled loses its sessions and gets new ones", Violates: []string{"ASVS-7.4.2"},
			Convicts: []string{"account.disabled"}, Level: farmspec.Grey,
			Plant: disabling(func(ctx context.Context, s web.Service, _ reference.Store, user string) error {
				_, err := s.Terminate(ctx, reference.Selection{User: user})
				if errors.Is(err, reference.ErrUnknown) {
					err = nil
				}
				return err
			}),
		},
		Fault{
			ID: "M614", Name: "who is disabled is known to the service's memory alone", Violates: []string{"ASVS-7.4.2"},
			Convicts: []string{"account.disabled-for-good"}, Level: farmspec.Grey,
			Plant: store(func(s reference.Store) reference.Store { return &marksInMemory{Store: s} }),
		},
		Fault{
			ID: "M615", Name: "reports have a layout of their own, without the log-out", Violates: []string{"ASVS-7.4.4"},
			Convicts: []string{"account.log-out-in-sight"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasSuffix(r.URL.Path, ".jsp") {
						h.ServeHTTP(w, r)
						return
					}
					b := &buffered{header: w.Header()}
					h.ServeHTTP(b, r)
					page := b.body.Bytes()
					if i, j := bytes.Index(page, []byte("<nav>")), bytes.Index(page, []byte("</nav>")); i >= 0 && j > i {
						page = append(bytes.Clone(page[:i]), page[j:]...)
					}
					w.Header().Del("Content-Length")
					w.WriteHeader(b.status)
					_, _ = w.Write(page)
				})
			}),
		},
	)
}

// accountWith is a service with some of what it does for accounts replaced.
type accountWith struct {
	web.Service
	confirm        func(context.Context, reference.Confirmed) error
	own            func(context.Context, reference.ID) ([]reference.SecuritySession, error)
	endOwn         func(context.Context, reference.Confirmed, reference.ID) (int, error)
	changePassword func(ctx context.Context, c reference.Confirmed, next string, endOthers bool) error
	disable        func(context.Context, string) error
}

func (s accountWith) Confirm(ctx context.Context, c reference.Confirmed) error {
	if s.confirm != nil {
		return s.confirm(ctx, c)
	}
	return s.Service.Confirm(ctx, c)
}

func (s accountWith) Own(ctx context.Context, session reference.ID) ([]reference.SecuritySession, error) {
	if s.own != nil {
		return s.own(ctx, session)
	}
	return s.Service.Own(ctx, session)
}

func (s accountWith) EndOwn(ctx context.Context, c reference.Confirmed, which reference.ID) (int, error) {
	if s.endOwn != nil {
		return s.endOwn(ctx, c, which)
	}
	return s.Service.EndOwn(ctx, c, which)
}

func (s accountWith) ChangePassword(ctx context.Context, c reference.Confirmed, next string, endOthers bool) error {
	if s.changePassword != nil {
		return s.changePassword(ctx, c, next, endOthers)
	}
	return s.Service.ChangePassword(ctx, c, next, endOthers)
}

func (s accountWith) DisableUser(ctx context.Context, user string) error {
	if s.disable != nil {
		return s.disable(ctx, user)
	}
	return s.Service.DisableUser(ctx, user)
}

func accounts(change func(web.Service, *accountWith)) func() simfarm.Wrap {
	return api(func(s web.Service) web.Service {
		a := accountWith{Service: s}
		change(s, &a)
		return a
	})
}

// endsUnasked ends a user's other sessions without his password.
func endsUnasked(ctx context.Context, s web.Service, c reference.Confirmed, which reference.ID) (n int, err error) {
	all, err := s.Own(ctx, c.Session)
	for _, row := range all {
		if row.Ref != c.Session && (which.IsZero() || row.Ref == which) {
			_, failed := s.Terminate(ctx, reference.Selection{Session: row.Ref})
			err = errors.Join(err, failed)
			n++
		}
	}
	return n, err
}

// endsHere keeps a list of its own of the sessions that users ended.
type endsHere struct {
	reference.Sessions
	gone sync.Map // reference to bool
}

func (s *endsHere) Own(ctx context.Context, session reference.ID) (own []reference.SecuritySession, err error) {
	all, err := s.Sessions.Own(ctx, session)
	for _, row := range all {
		if _, gone := s.gone.Load(row.Ref); !gone {
			own = append(own, row)
		}
	}
	return own, err
}

func (s *endsHere) EndOwn(ctx context.Context, c reference.Confirmed, which reference.ID) (n int, err error) {
	if err := s.Confirm(ctx, c); err != nil {
		return 0, err
	}
	own, err := s.Own(ctx, c.Session)
	for _, row := range own {
		if row.Ref == which || which.IsZero() && row.Ref != c.Session {
			s.gone.Store(row.Ref, true)
			n++
		}
	}
	return n, err
}

func (s *endsHere) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if g, err := s.Verify(ctx, r); err == nil {
		if _, gone := s.gone.Load(g.Session); gone {
			return reference.Grant{}, reference.ErrClosed
		}
	}
	return s.Sessions.Renew(ctx, r)
}

// changesUnasked changes a password without comparing the given one, where
// unasked says so.
func changesUnasked(unasked func(given string) bool) func() simfarm.Wrap {
	return around(func(o *reference.Options) func(web.Service) web.Service {
		users := o.Users.(reference.Accounts)
		return func(s web.Service) web.Service {
			return accountWith{Service: s, changePassword: func(ctx context.Context, c reference.Confirmed, next string, endOthers bool) error {
				all, err := s.Own(ctx, c.Session)
				if err != nil || !unasked(c.Password) {
					return s.ChangePassword(ctx, c, next, endOthers)
				}
				return users.SetPassword(ctx, all[0].User, next)
			}}
		}
	})
}

// disabling replaces how an account is disabled.
func disabling(disable func(ctx context.Context, s web.Service, db reference.Store, user string) error) func() simfarm.Wrap {
	return around(func(o *reference.Options) func(web.Service) web.Service {
		db := o.Store
		return func(s web.Service) web.Service {
			return accountWith{Service: s, disable: func(ctx context.Context, user string) error { return disable(ctx, s, db, user) }}
		}
	})
}

// marksInMemory keeps the marks of disabled users for one life of the service.
type marksInMemory struct {
	reference.Store
	marked sync.Map
}

func (m *marksInMemory) SetDisabled(_ context.Context, user string, disabled bool) error {
	if disabled {
		m.marked.Store(user, true)
	} else {
		m.marked.Delete(user)
	}
	return nil
}

func (m *marksInMemory) Disabled(_ context.Context, user string) (bool, error) {
	_, is := m.marked.Load(user)
	return is, nil
}
