package mutant

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// The faults of log-out, of limits and of the administrator.

func init() {
	register(
		Fault{
			ID: "F09", Name: "each server remembers which tokens were good", Violates: []string{"WF-6.3", "AJ-6.6", "ASVS-7.4.1"},
			Convicts: []string{"admin.one-session", "logout.copies-refused"}, Level: farmspec.Black, Precedent: "Spring Session issue 127",
			Plant: member(func(c *web.ServerConfig) { c.Sessions = remembersGood(c.Sessions) }),
		},
		Fault{
			ID: "F38", Name: "log-out deletes the cookie and nothing else", Violates: []string{"AJ-6.1", "AJ-3.5", "ASVS-7.4.1", "WSTG-SESS-06"},
			Convicts: []string{"logout.copies-refused", "logout.every-token-refused", "logout.every-application-refuses", "security.nothing-before-or-after"},
			Level:    farmspec.Black, Precedent: "File Browser CVE-2025-53826; OliveTin CVE-2026-30224; Spring Security CVE-2023-20862",
			Plant: api(func(s web.Service) web.Service {
				return serviceWith{Service: s, logout: func(context.Context, reference.Presented) error { return nil }}
			}),
		},
		Fault{
			ID: "M370", Name: "log-out deletes the cookie and nothing else, where tokens coalesce", Violates: []string{"AJ-4.4", "AJ-3.5"},
			Convicts: []string{"logout.created-together"}, Level: farmspec.Black, Profile: coalescing,
			Plant: api(func(s web.Service) web.Service {
				return serviceWith{Service: s, logout: func(context.Context, reference.Presented) error { return nil }}
			}),
		},
		Fault{
			ID: "F39", Name: "state saved by a request under way brings its session back", Violates: []string{"AJ-6.1", "ASVS-7.4.1"},
			Convicts: []string{"inflight.state-being-saved"}, Level: farmspec.Grey,
			Precedent: "rack CVE-2025-46336; express-session issue 632; connect-redis issue 328",
			Plant:     store(func(s reference.Store) reference.Store { return (&revives{Store: s, onSave: true}).store() }),
		},
		Fault{
			ID: "F41", Name: "log-out is known to the server that was asked, and to no other", Violates: []string{"AJ-6.1", "AJ-X1", "WSTG-SESS-06"},
			Convicts: []string{"logout.copies-refused"}, Level: farmspec.Black, Precedent: "Spring Session issue 127",
			Plant: member(func(c *web.ServerConfig) { c.Sessions = logsOutHere(c.Sessions) }),
		},
		Fault{
			ID: "F42", Name: "an HTTP session's listener that fails stops the log-out half-way", Violates: []string{"AJ-3.5", "AJ-X1"},
			Convicts: []string{"logout.every-application-refuses", "logout.none-listed", "logout.none-stored"}, Level: farmspec.Black,
			Precedent: "Jetty CVE-2021-34428",
			Plant: store(func(s reference.Store) reference.Store {
				return storeWith{Store: s, close: func(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
					row, err := s.Load(ctx, ref)
					if err != nil || len(row.HTTP) == 0 {
						return s.CloseSession(ctx, ref, why, at)
					}
					if len(row.HTTP) > 1 {
						_, err = s.EndHTTP(ctx, ref, row.HTTP[0].Application, why, at)
					}
					return false, errors.Join(err, errors.New("tell the application: its listener failed"))
				}}
			}),
		},
		Fault{
			ID: "F50", Name: "the administrator who ends one session ends all of its user", Violates: []string{"AJ-6.6", "AJ-X4"},
			Convicts: []string{"admin.one-session"}, Level: farmspec.Grey,
			Plant: administered(func(ctx context.Context, s web.Service, db reference.Store, sel reference.Selection) (int, error) {
				if row, err := db.Load(ctx, sel.Session); err == nil {
					sel = reference.Selection{User: row.User}
				}
				return s.Terminate(ctx, sel)
			}),
		},
		Fault{
			ID: "M349", Name: "the administrator spares sessions that are in use", Violates: []string{"AJ-6.1", "ASVS-7.4.1"},
			Convicts: []string{"inflight.page-being-made"}, Level: farmspec.Grey,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				db, now := o.Store, clockOfOptions(o)
				return func(s web.Service) web.Service {
					return serviceWith{Service: s, terminate: func(ctx context.Context, sel reference.Selection) (int, error) {
						rows, err := openOf(ctx, db, sel.User)
						if err != nil || sel.User == "" {
							return s.Terminate(ctx, sel)
						}
						n := 0
						for _, row := range rows {
							if now()-row.Current.Timestamp < time.Minute.Milliseconds() {
								continue
							}
							if _, err := s.Terminate(ctx, reference.Selection{Session: row.Ref}); err != nil {
								return n, err
							}
							n++
						}
						return n, nil
					}}
				}
			}),
		},
		Fault{
			ID: "M350", Name: "log-out ends all sessions of the user", Violates: []string{"AJ-6.1"},
			Convicts: []string{"logout.sibling-lives"}, Level: farmspec.Black,
			Plant: api(func(s web.Service) web.Service {
				return serviceWith{Service: s, logout: func(ctx context.Context, r reference.Presented) error {
					g, err := s.Verify(ctx, r)
					if err == nil {
						_, err = s.Terminate(ctx, reference.Selection{User: g.User})
					}
					return err
				}}
			}),
		},
		Fault{
			ID: "M351", Name: "to log out without a session is an error", Violates: []string{"AJ-6.1"},
			Convicts: []string{"logout.twice"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					has := slices.ContainsFunc(r.Cookies(), func(c *http.Cookie) bool { return strings.HasSuffix(c.Name, "farm") })
					if r.Method == http.MethodPost && r.URL.Path == web.LogoutPath && !has {
						http.Error(w, "No session", http.StatusBadRequest)
						return
					}
					h.ServeHTTP(w, r)
				})
			}),
		},
		Fault{
			ID: "M352", Name: "to open the log-out page logs out", Violates: []string{"ASVS-3.5.3"},
			Convicts: []string{"logout.looking-is-not-leaving"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler {
				return cookieOn(h, http.MethodGet, web.LogoutPath, "__Secure-farm=; Domain=farm.localhost; Path=/; Secure; HttpOnly; Max-Age=0")
			}),
		},
		Fault{
			ID: "M353", Name: "a log-out of any form counts", Violates: []string{"ASVS-3.5.1", "WSTG-SESS-05", "NIST-5.1.csrf"},
			Convicts: []string{"logout.forged"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler { return anyForm(h, web.LogoutPath) }),
		},
		Fault{
			ID: "M354", Name: "a replacement that was under way brings its session back", Violates: []string{"AJ-6.1", "ASVS-7.4.1"},
			Convicts: []string{"inflight.log-out-during-hop"}, Level: farmspec.Grey,
			Plant: store(func(s reference.Store) reference.Store { return (&revives{Store: s, onReplace: true}).store() }),
		},
		Fault{
			ID: "M355", Name: "log-out ends the token, and not its session", Violates: []string{"AJ-6.1", "ASVS-7.4.1"},
			Convicts: []string{"inflight.hop-during-log-out"}, Level: farmspec.Grey,
			Plant: store(closesToken),
		},
		Fault{
			ID: "M356", Name: "one session too many ends the one before it", Violates: []string{"AJ-6.5", "WSTG-SESS-11"},
			Convicts: []string{"limit.oldest-ends"}, Level: farmspec.Grey,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				db, limit := o.Store, o.MaxSessions
				o.MaxSessions = 0
				var mu sync.Mutex
				last := map[string]reference.ID{} // by user: log-ins of one millisecond have no order in the database
				return func(s web.Service) web.Service {
					return serviceWith{Service: s, login: func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
						g, err := s.Login(ctx, r)
						if err != nil || limit == 0 {
							return g, err
						}
						mu.Lock()
						before := last[r.User]
						last[r.User] = g.Session
						mu.Unlock()
						rows, err := openOf(ctx, db, r.User)
						if err == nil && len(rows) > limit {
							_, err = s.Terminate(ctx, reference.Selection{Session: before})
						}
						return g, err
					}}
				}
			}),
		},
		Fault{
			ID: "M357", Name: "the limit of sessions is not enforced", Violates: []string{"AJ-6.5", "ASVS-7.1.2", "WSTG-SESS-11"},
			Convicts: []string{"limit.oldest-ends", "limit.oldest-ends-listed"}, Level: farmspec.Grey,
			Plant: service(func(o *reference.Options) { o.MaxSessions = 0 }),
		},
		Fault{
			ID: "M358", Name: "the administrator who ends one HTTP session ends its security session", Violates: []string{"AJ-6.6", "AJ-X4"},
			Convicts: []string{"admin.one-http-session"}, Level: farmspec.Grey,
			Plant: administered(func(ctx context.Context, s web.Service, db reference.Store, sel reference.Selection) (int, error) {
				if row, _, ok := ofHTTP(ctx, db, sel.HTTPSession); ok {
					sel = reference.Selection{Session: row.Ref}
				}
				return s.Terminate(ctx, sel)
			}),
		},
		Fault{
			ID: "M359", Name: "the administrator who ends one HTTP session ends that application's for everybody", Violates: []string{"AJ-6.6"},
			Convicts: []string{"admin.one-http-session"}, Level: farmspec.Grey,
			Plant: administered(func(ctx context.Context, s web.Service, db reference.Store, sel reference.Selection) (int, error) {
				_, chosen, ok := ofHTTP(ctx, db, sel.HTTPSession)
				if !ok {
					return s.Terminate(ctx, sel)
				}
				rows, err := openOf(ctx, db, "")
				n := 0
				for _, row := range rows {
					for _, h := range row.HTTP {
						if h.Application == chosen.Application {
							err = errors.Join(err, s.EndHTTP(ctx, row.Ref, h.Application))
							n++
						}
					}
				}
				return n, err
			}),
		},
		Fault{
			ID: "M360", Name: "the administrator who ends a user's sessions ends the newest", Violates: []string{"AJ-6.6", "ASVS-7.4.5"},
			Convicts: []string{"admin.one-user"}, Level: farmspec.Grey,
			Plant: administered(func(ctx context.Context, s web.Service, db reference.Store, sel reference.Selection) (int, error) {
				if rows, err := openOf(ctx, db, sel.User); err == nil && sel.User != "" && len(rows) > 0 {
					sel = reference.Selection{Session: rows[len(rows)-1].Ref}
				}
				return s.Terminate(ctx, sel)
			}),
		},
		Fault{
			ID: "M361", Name: "the administrator who ends all sessions spares the newest", Violates: []string{"AJ-6.6", "ASVS-7.4.5"},
			Convicts: []string{"admin.everybody"}, Level: farmspec.Grey,
			Plant: administered(func(ctx context.Context, s web.Service, db reference.Store, sel reference.Selection) (int, error) {
				if !sel.All {
					return s.Terminate(ctx, sel)
				}
				rows, err := openOf(ctx, db, "")
				for _, row := range rows[:max(0, len(rows)-1)] {
					_, failed := s.Terminate(ctx, reference.Selection{Session: row.Ref})
					err = errors.Join(err, failed)
				}
				return len(rows) - 1, err
			}),
		},
	)
}

// administered replaces how the administrator's choice is carried out.
func administered(end func(context.Context, web.Service, reference.Store, reference.Selection) (int, error)) func() simfarm.Wrap {
	return around(func(o *reference.Options) func(web.Service) web.Service {
		db := o.Store
		return func(s web.Service) web.Service {
			return serviceWith{Service: s, terminate: func(ctx context.Context, sel reference.Selection) (int, error) {
				return end(ctx, s, db, sel)
			}}
		}
	})
}

// ofHTTP finds an HTTP session and the open session it belongs to.
func ofHTTP(ctx context.Context, db reference.Store, id reference.ID) (row reference.SecuritySession, h reference.HTTPSession, ok bool) {
	rows, err := openOf(ctx, db, "")
	if err != nil || id.IsZero() {
		return row, h, false
	}
	for _, row := range rows {
		for _, h := range row.HTTP {
			if h.ID == id {
				return row, h, true
			}
		}
	}
	return row, h, false
}

// openOf are the open sessions of a user, or of all for "", oldest first.
func openOf(ctx context.Context, db reference.Store, user string) ([]reference.SecuritySession, error) {
	all, err := db.List(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return slices.DeleteFunc(all, func(row reference.SecuritySession) bool { return !row.Open() }), nil
}

// remembersGood accepts a token that the server itself has issued, whatever
// the service says of it by now.
func remembersGood(next reference.Sessions) reference.Sessions {
	var mu sync.Mutex
	good := map[reference.Token]reference.Grant{}
	return memberWith{Sessions: next, renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
		g, err := next.Renew(ctx, r)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			delete(good, r.Token)
			good[g.Token] = g
			return g, nil
		}
		if kept, ok := good[r.Token]; ok && refusal(err) {
			return kept, nil
		}
		return g, err
	}}
}

// logsOutHere keeps a list of sessions that logged out at this server.
func logsOutHere(next reference.Sessions) reference.Sessions {
	var left sync.Map
	return memberWith{
		Sessions: next,
		logout: func(ctx context.Context, r reference.Presented) error {
			g, err := next.Verify(ctx, r)
			left.Store(g.Session, true)
			return err
		},
		renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
			if g, err := next.Verify(ctx, r); err == nil {
				if _, gone := left.Load(g.Session); gone {
					return reference.Grant{}, reference.ErrClosed
				}
			}
			return next.Renew(ctx, r)
		},
	}
}

// closesToken closes a session at log-out only if its token is still the one
// that the log-out found.
func closesToken(s reference.Store) reference.Store {
	var found sync.Map // trace to token
	return storeWith{
		Store: s,
		find: func(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
			row, err := s.Find(ctx, id)
			found.Store(reference.TraceFrom(ctx), row.Current)
			return row, err
		},
		close: func(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
			row, err := s.Load(ctx, ref)
			if err != nil {
				return false, err
			}
			if t, ok := found.Load(reference.TraceFrom(ctx)); ok && why == reference.ByLogout && t != any(row.Current) {
				return true, nil
			}
			return s.CloseSession(ctx, ref, why, at)
		},
	}
}

// revives writes a session back as it was read, closed or not.
type revives struct {
	reference.Store
	onSave, onReplace bool

	mu    sync.Mutex
	alive map[reference.ID]reference.Token // the current token of each revived session
	ids   map[reference.ID]reference.ID    // session ID to reference, for tokens the store never saw
}

func (v *revives) store() reference.Store {
	v.alive, v.ids = map[reference.ID]reference.Token{}, map[reference.ID]reference.ID{}
	return storeWith{
		Store: v.Store,
		find: func(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
			v.mu.Lock()
			ref, ok := v.ids[id]
			v.mu.Unlock()
			if ok {
				return v.read(v.Load(ctx, ref))
			}
			return v.read(v.Find(ctx, id))
		},
		load: func(ctx context.Context, ref reference.ID) (reference.SecuritySession, error) {
			return v.read(v.Load(ctx, ref))
		},
		replace: func(ctx context.Context, old, next reference.Token) error {
			err := v.Replace(ctx, old, next)
			if !errors.Is(err, reference.ErrClosed) && !errors.Is(err, reference.ErrUnknown) {
				return err
			}
			v.mu.Lock()
			ref, known := v.ids[old.ID]
			v.mu.Unlock()
			if !known {
				row, failed := v.Find(ctx, old.ID)
				if failed != nil {
					return err
				}
				ref = row.Ref
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			if _, ok := v.alive[ref]; !ok && !v.onReplace {
				return err
			}
			v.alive[ref], v.ids[next.ID] = next, ref
			return nil
		},
		saveHTTP: func(ctx context.Context, ref reference.ID, app string, version int64, attributes map[string]string, at int64) error {
			err := v.SaveHTTP(ctx, ref, app, version, attributes, at)
			if !v.onSave || !errors.Is(err, reference.ErrClosed) {
				return err
			}
			row, err := v.Load(ctx, ref)
			v.mu.Lock()
			defer v.mu.Unlock()
			v.alive[ref] = row.Current
			return err
		},
	}
}

// read shows a revived session as open.
func (v *revives) read(row reference.SecuritySession, err error) (reference.SecuritySession, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t, ok := v.alive[row.Ref]; ok && err == nil {
		row.Current, row.ClosedAt, row.Reason = t, 0, ""
	}
	return row, err
}
