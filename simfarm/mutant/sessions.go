package mutant

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
)

// The faults of security sessions, HTTP sessions and log-ins.

func init() {
	register(
		Fault{
			ID: "F43", Name: "of HTTP sessions registered at the same time one is lost", Violates: []string{"AJ-4.4"},
			Convicts: []string{"http.registrations-race-held"}, Level: farmspec.Grey, Precedent: "Apereo CAS issue 875, PR 5326", Profile: coalescing,
			Plant: api(losesChildren),
		},
		Fault{
			ID: "F48", Name: "a log-in keeps the token that was presented with it", Violates: []string{"AJ-3.2", "ASVS-7.2.4", "WSTG-SESS-03", "RFC-6265bis.ports"},
			Convicts: []string{"login.fresh-token", "login.planted-token"}, Level: farmspec.Black, Precedent: "Airflow CVE-2022-38054",
			Plant: around(keepsPresented),
		},
		Fault{
			ID: "F55", Name: "the user of the request is kept where all requests of a server share it", Violates: []string{"AJ-1.2"},
			Convicts: []string{"state.request-of-another-between"}, Level: farmspec.Grey,
			Precedent: "connect-cas issue 48; FrankenPHP GHSA-r3xh-3r3w-47gp",
			Plant:     member(func(c *web.ServerConfig) { c.Sessions = sharedState(c.Sessions) }),
		},
		Fault{
			ID: "M316", Name: "what an application remembers is lost when the token is replaced", Violates: []string{"AJ-0.1", "AJ-1.1", "AJ-2.2"},
			Convicts: []string{"state.kept-over-rotations"}, Level: farmspec.Black,
			Plant: api(losesState),
		},
		Fault{
			ID: "M317", Name: "what an application remembers is in the server's memory only", Violates: []string{"AJ-0.1", "AJ-1.1", "AJ-2.2"},
			Convicts: []string{"state.in-database"}, Level: farmspec.White,
			Plant: member(func(c *web.ServerConfig) { c.Sessions = ownMemory(c.Sessions, bySession) }),
		},
		Fault{
			ID: "M318", Name: "the open page begins a session", Violates: []string{"AJ-1.3"},
			Convicts: []string{"state.open-page-begins-nothing"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler {
				return cookieOn(h, http.MethodGet, web.AboutPath, "__Secure-farm=anonymous; Domain=farm.localhost; Path=/; Secure; HttpOnly")
			}),
		},
		Fault{
			ID: "M319", Name: "every page creates an HTTP session", Violates: []string{"AJ-1.3", "AJ-4.2", "AJ-2.3"},
			Convicts: []string{"state.pages-create-none"}, Level: farmspec.Grey, Precedent: "JSP pages without session=\"false\"",
			Plant: member(func(c *web.ServerConfig) {
				next := c.Sessions
				c.Sessions = memberWith{Sessions: next, renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
					g, err := next.Renew(ctx, r)
					if err == nil {
						_, err = next.OpenHTTP(ctx, g.Session, "pages")
					}
					return g, err
				}}
			}),
		},
		Fault{
			ID: "M320", Name: "the session hangs on the connection", Violates: []string{"AJ-2.1"},
			Convicts: []string{"http.connection-is-no-session"}, Level: farmspec.Black,
			Plant: pages(connectionKnows),
		},
		Fault{
			ID: "M321", Name: "first requests that race each create an HTTP session", Violates: []string{"AJ-2.3"},
			Convicts: []string{"http.first-requests-race"}, Level: farmspec.Grey, Profile: coalescing,
			Plant: around(createsEach),
		},
		Fault{
			ID: "M322", Name: "applications of one server share an HTTP session", Violates: []string{"AJ-2.4", "SERVLET-SCOPE"},
			Convicts: []string{"http.applications-apart"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) {
				next := c.Sessions
				shared := func(app string) string { server, _, _ := strings.Cut(app, "/"); return server }
				c.Sessions = memberWith{
					Sessions: next,
					openHTTP: func(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
						return next.OpenHTTP(ctx, ref, shared(app))
					},
					endHTTP: func(ctx context.Context, ref reference.ID, app string) error {
						return next.EndHTTP(ctx, ref, shared(app))
					},
				}
			}),
		},
		Fault{
			ID: "M323", Name: "an HTTP session created without a page is mapped to nothing", Violates: []string{"AJ-2.5"},
			Convicts: []string{"http.created-without-page", "http.created-without-page-inside"}, Level: farmspec.Grey, Profile: claimed,
			Plant: api(func(s web.Service) web.Service {
				return serviceWith{Service: s, createHTTP: func(ctx context.Context, r reference.Presented, app string) (reference.HTTPSession, error) {
					if _, err := s.Verify(ctx, r); err != nil {
						return reference.HTTPSession{}, err
					}
					return reference.HTTPSession{ID: reference.ID{1}, Application: app}, nil
				}}
			}),
		},
		Fault{
			ID: "M324", Name: "a malformed session cookie is an error", Violates: []string{"AJ-2.6"},
			Convicts: []string{"http.malformed-cookie"}, Level: farmspec.Black,
			Plant: pages(malformedIsError),
		},
		Fault{
			ID: "M325", Name: "an application that ends its HTTP session ends those of the others", Violates: []string{"AJ-2.7", "AJ-3.3"},
			Convicts: []string{"http.application-ends-its-own", "http.application-ends-its-own-listed"}, Level: farmspec.Black,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				db := o.Store
				return func(s web.Service) web.Service {
					return serviceWith{Service: s, endHTTP: func(ctx context.Context, ref reference.ID, _ string) error {
						row, err := db.Load(ctx, ref)
						for _, h := range row.HTTP {
							err = errors.Join(err, s.EndHTTP(ctx, ref, h.Application))
						}
						return err
					}}
				}
			}),
		},
		Fault{
			ID: "M326", Name: "an application cannot end its HTTP session", Violates: []string{"AJ-2.7"},
			Convicts: []string{"http.application-ends-its-own", "http.application-ends-its-own-listed"}, Level: farmspec.Black,
			Plant: api(func(s web.Service) web.Service {
				return serviceWith{Service: s, endHTTP: func(context.Context, reference.ID, string) error { return nil }}
			}),
		},
		Fault{
			ID: "M327", Name: "HTTP sessions have the security session's time-out", Violates: []string{"AJ-2.8", "AJ-0.3", "AJ-X5"},
			Convicts: []string{"http.expires-by-itself", "http.expires-exactly"}, Level: farmspec.Black,
			Plant: service(func(o *reference.Options) { o.Limits.HTTPIdle = o.Limits.Idle }),
		},
		Fault{
			ID: "M328", Name: "use of one application extends the HTTP sessions of all", Violates: []string{"AJ-2.8"},
			Convicts: []string{"http.expires-by-itself"}, Level: farmspec.Black,
			Plant: store(func(s reference.Store) reference.Store {
				return storeWith{Store: s, saveHTTP: func(ctx context.Context, ref reference.ID, app string, version int64, attributes map[string]string, at int64) error {
					row, err := s.Load(ctx, ref)
					for _, h := range row.HTTP {
						err = errors.Join(err, s.SaveHTTP(ctx, ref, h.Application, h.Version, nil, at))
					}
					return errors.Join(err, s.SaveHTTP(ctx, ref, app, version, attributes, at))
				}}
			}),
		},
		Fault{
			ID: "M329", Name: "an HTTP session's time counts from its creation", Violates: []string{"AJ-2.8"},
			Convicts: []string{"http.use-extends"}, Level: farmspec.Black,
			Plant: store(func(s reference.Store) reference.Store {
				return storeWith{Store: s, saveHTTP: func(ctx context.Context, ref reference.ID, app string, version int64, attributes map[string]string, _ int64) error {
					return s.SaveHTTP(ctx, ref, app, version, attributes, 0)
				}}
			}),
		},
		Fault{
			ID: "M330", Name: "a cookie says who is logged in", Violates: []string{"AJ-3.1", "NIST-5.1.1.personal"},
			Convicts: []string{"login.cookie-names-nobody"}, Level: farmspec.Black,
			Plant: pages(cookieNamesUser),
		},
		Fault{
			ID: "M331", Name: "the user is kept in the service's memory and not in the database", Violates: []string{"AJ-3.1"},
			Convicts: []string{"login.user-in-database"}, Level: farmspec.White,
			Plant: store(userInMemory),
		},
		Fault{
			ID: "M332", Name: "a session without HTTP sessions ends at its birth", Violates: []string{"AJ-3.2", "AJ-3.3", "AJ-4.1", "AJ-5.2"},
			Convicts: []string{"login.begins-a-session"}, Level: farmspec.Black,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				db, now := o.Store, clockOfOptions(o)
				return func(s web.Service) web.Service {
					return serviceWith{Service: s, login: func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
						g, err := s.Login(ctx, r)
						if err == nil {
							_, err = db.CloseSession(ctx, g.Session, reference.ByLastHTTP, now())
						}
						return g, err
					}}
				}
			}),
		},
		Fault{
			ID: "M333", Name: "a log-in begins two sessions", Violates: []string{"AJ-3.2", "AJ-4.1", "AJ-5.2"},
			Convicts: []string{"login.begins-exactly-one", "login.begins-exactly-one-row"}, Level: farmspec.Grey,
			Plant: api(func(s web.Service) web.Service {
				return serviceWith{Service: s, login: func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
					if _, err := s.Login(ctx, r); err != nil {
						return reference.Grant{}, err
					}
					return s.Login(ctx, reference.LoginRequest{User: r.User, Password: r.Password})
				}}
			}),
		},
		Fault{
			ID: "M334", Name: "any password is right", Violates: []string{"AJ-3.2", "AJ-4.1", "AJ-5.2", "WSTG-SESS-08"},
			Convicts: []string{"login.bad-begins-nothing"}, Level: farmspec.Black,
			Plant: service(func(o *reference.Options) { o.Users = anyPassword{} }),
		},
		Fault{
			ID: "M335", Name: "a failed log-in leaves a session behind", Violates: []string{"AJ-3.2", "AJ-4.1", "AJ-5.2"},
			Convicts: []string{"login.bad-begins-nothing-listed", "login.bad-begins-no-row"}, Level: farmspec.Grey,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				db, now, rand := o.Store, clockOfOptions(o), o.Rand
				return func(s web.Service) web.Service {
					return serviceWith{Service: s, login: func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
						g, err := s.Login(ctx, r)
						if errors.Is(err, reference.ErrCredentials) {
							_, failed := another(ctx, db, rand, r.User, now())
							err = errors.Join(err, failed)
						}
						return g, err
					}}
				}
			}),
		},
		Fault{
			ID: "M336", Name: "a log-in always leads home", Violates: []string{"AJ-5.1"},
			Convicts: []string{"login.leads-to-the-page"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(&edited{ResponseWriter: w, edit: func(status int, header http.Header) {
						if r.Method == http.MethodPost && r.URL.Path == web.LoginPath && status == http.StatusSeeOther {
							header.Set("Location", web.HomePath)
						}
					}}, r)
				})
			}),
		},
		Fault{
			ID: "M337", Name: "an HTTP session is created before anybody has logged in", Violates: []string{"AJ-5.3"},
			Convicts: []string{"login.order-of-creation"}, Level: farmspec.Grey,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				observer := o.Observer
				return func(s web.Service) web.Service {
					return serviceWith{Service: s, login: func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
						observer.Event(ctx, reference.Event{Part: farmspec.ServiceProcess, Peer: farmspec.DatabaseProcess, Op: farmspec.OpHTTP, Detail: "open, nobody's yet"})
						return s.Login(ctx, r)
					}}
				}
			}),
		},
		Fault{
			ID: "M338", Name: "an HTTP session is usable although its security session has ended", Violates: []string{"AJ-5.3"},
			Convicts: []string{"http.never-without-security-session"}, Level: farmspec.Grey,
			Plant: api(func(s web.Service) web.Service {
				return serviceWith{Service: s, openHTTP: func(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
					h, err := s.OpenHTTP(ctx, ref, app)
					if errors.Is(err, reference.ErrClosed) {
						return reference.HTTPSession{ID: reference.ID{1}, Application: app}, nil
					}
					return h, err
				}}
			}),
		},
		Fault{
			ID: "M339", Name: "the applications of each server want a log-in of their own", Violates: []string{"AJ-4.3", "AJ-5.4"},
			Convicts: []string{"security.one-log-in-for-all"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) {
				next, known := c.Sessions, new(sync.Map)
				c.Sessions = memberWith{
					Sessions: next,
					login: func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
						g, err := next.Login(ctx, r)
						known.Store(g.Session, true)
						return g, err
					},
					openHTTP: func(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
						if _, ok := known.Load(ref); !ok {
							return reference.HTTPSession{}, reference.ErrUnknown
						}
						return next.OpenHTTP(ctx, ref, app)
					},
				}
			}),
		},
		Fault{
			ID: "M340", Name: "each application gets a security session of its own", Violates: []string{"AJ-4.3", "AJ-5.4"},
			Convicts: []string{"security.one-session-for-all", "security.one-row-for-all"}, Level: farmspec.Grey,
			Plant: around(oneForEachApp),
		},
		Fault{
			ID: "M341", Name: "a log-in takes over the HTTP sessions of whoever was logged in before", Violates: []string{"AJ-4.5"},
			Convicts: []string{"security.another-user"}, Level: farmspec.Black, Precedent: "session fixation protection that migrates attributes",
			Plant: around(takesOver),
		},
		Fault{
			ID: "M342", Name: "sessions of one user share their HTTP sessions", Violates: []string{"AJ-4.5"},
			Convicts: []string{"security.never-under-two"}, Level: farmspec.Grey,
			Plant: store(sharesBetweenSessions),
		},
		Fault{
			ID: "M343", Name: "the last HTTP session does not end the security session", Violates: []string{"AJ-3.3"},
			Convicts: []string{"security.ends-with-last", "security.ends-with-last-listed", "security.ends-with-last-row"}, Level: farmspec.Black,
			Plant: store(func(s reference.Store) reference.Store { return emptiesInstead(s, reference.ByApplication) }),
		},
		Fault{
			ID: "M344", Name: "the first HTTP session to end ends the security session", Violates: []string{"AJ-3.3"},
			Convicts: []string{"security.ends-with-last", "security.ends-with-last-listed"}, Level: farmspec.Black,
			Plant: store(func(s reference.Store) reference.Store {
				return storeWith{Store: s, endHTTP: func(ctx context.Context, ref reference.ID, app string, why reference.Reason, at int64) (bool, error) {
					if _, err := s.EndHTTP(ctx, ref, app, why, at); err != nil {
						return false, err
					}
					_, err := s.CloseSession(ctx, ref, reference.ByLastHTTP, at)
					return true, err
				}}
			}),
		},
		Fault{
			ID: "M345", Name: "HTTP sessions that expire do not end the security session", Violates: []string{"AJ-3.3"},
			Convicts: []string{"security.ends-when-all-expire", "security.ends-by-both"}, Level: farmspec.Black,
			Plant: store(func(s reference.Store) reference.Store { return emptiesInstead(s, reference.ByIdle) }),
		},
		Fault{
			ID: "M346", Name: "a session without HTTP sessions is taken for one whose last has expired", Violates: []string{"AJ-3.3"},
			Convicts: []string{"security.childless-lives"}, Level: farmspec.Black,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				db, now, idle := o.Store, clockOfOptions(o), o.Limits.HTTPIdle
				return func(s web.Service) web.Service {
					return guarded(s, func(ctx context.Context, r reference.Presented) error {
						row, err := db.Find(ctx, r.Token.ID)
						if err != nil || len(row.HTTP) > 0 || now()-row.AuthenticatedAt <= idle.Milliseconds() {
							return nil
						}
						if _, err := db.CloseSession(ctx, row.Ref, reference.ByLastHTTP, now()); err != nil {
							return err
						}
						return reference.ErrClosed
					})
				}
			}),
		},
		Fault{
			ID: "M347", Name: "a session's beginning moves with every page", Violates: []string{"AJ-0.2"},
			Convicts: []string{"security.one-beginning-one-end"}, Level: farmspec.Grey,
			Plant: api(func(s web.Service) web.Service {
				return serviceWith{Service: s, list: func(ctx context.Context, user string) ([]reference.SecuritySession, error) {
					all, err := s.List(ctx, user)
					for i := range all {
						all[i].AuthenticatedAt = all[i].Current.Timestamp
					}
					return all, err
				}}
			}),
		},
		Fault{
			ID: "M348", Name: "a closed session's token opens another session of its user", Violates: []string{"AJ-0.2", "AJ-6.1"},
			Convicts: []string{"security.never-reopens"}, Level: farmspec.Black, Precedent: "remember-me that outlives the log-out",
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				db, now, rand := o.Store, clockOfOptions(o), o.Rand
				return func(s web.Service) web.Service {
					return serviceWith{Service: s, renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
						g, err := s.Renew(ctx, r)
						if !errors.Is(err, reference.ErrClosed) {
							return g, err
						}
						row, err := db.Find(ctx, r.Token.ID)
						if err != nil {
							return g, err
						}
						return another(ctx, db, rand, row.User, now())
					}}
				}
			}),
		},
		Fault{
			ID: "M365", Name: "every call for an HTTP session creates one", Violates: []string{"AJ-2.3"},
			Convicts: []string{"http.first-calls-race"}, Level: farmspec.White,
			Plant: api(func(s web.Service) web.Service {
				var calls atomic.Int64
				return serviceWith{Service: s, createHTTP: func(ctx context.Context, r reference.Presented, app string) (reference.HTTPSession, error) {
					return s.CreateHTTP(ctx, r, fmt.Sprintf("%s (%d)", app, calls.Add(1)))
				}}
			}),
		},
		Fault{
			ID: "M366", Name: "the newest HTTP session takes the place of the others", Violates: []string{"AJ-4.4"},
			Convicts: []string{"http.registrations-race"}, Level: farmspec.White,
			Plant: api(func(s web.Service) web.Service {
				return serviceWith{Service: s, list: func(ctx context.Context, user string) ([]reference.SecuritySession, error) {
					all, err := s.List(ctx, user)
					for i, row := range all {
						all[i].HTTP = row.HTTP[max(0, len(row.HTTP)-1):]
					}
					return all, err
				}}
			}),
		},
		Fault{
			ID: "M367", Name: "an application keeps what it remembers in one variable for everybody", Violates: []string{"AJ-1.2"},
			Convicts: []string{"state.many-browsers"}, Level: farmspec.Black, Precedent: "fields of a servlet",
			Plant: member(func(c *web.ServerConfig) { c.Sessions = ownMemory(c.Sessions, byNobody) }),
		},
		Fault{
			ID: "M368", Name: "an application takes a value from any form", Violates: []string{"ASVS-3.5.1", "WSTG-SESS-05", "NIST-5.1.csrf"},
			Convicts: []string{"http.forged-value"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler { return anyValue(h, http.MethodPost) }),
		},
		Fault{
			ID: "M369", Name: "an application takes a value from an address", Violates: []string{"ASVS-3.5.3", "RFC-9110.9.2"},
			Convicts: []string{"http.value-in-address"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler { return anyValue(h, http.MethodGet) }),
		},
		Fault{
			ID: "M362", Name: "the log-in form's own secret is not checked", Violates: []string{"AJ-3.2"},
			Convicts: []string{"login.bad-begins-nothing"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler { return anyForm(h, web.LoginPath) }),
		},
		Fault{
			ID: "M363", Name: "to open the log-in form begins a session", Violates: []string{"AJ-3.2"},
			Convicts: []string{"login.bad-begins-nothing"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler {
				return cookieOn(h, http.MethodGet, web.LoginPath, "__Secure-farm=anonymous; Domain=farm.localhost; Path=/; Secure; HttpOnly")
			}),
		},
	)
}

// another opens one more session of a user, with nobody's password.
func another(ctx context.Context, db reference.Store, rand io.Reader, user string, now int64) (reference.Grant, error) {
	ref, err := reference.NewID(rand)
	if err != nil {
		return reference.Grant{}, err
	}
	id, err := reference.NewID(rand)
	if err != nil {
		return reference.Grant{}, err
	}
	t := reference.Token{ID: id, Timestamp: now}
	err = db.Create(ctx, reference.SecuritySession{Ref: ref, User: user, AuthenticatedAt: now, Current: t})
	if err != nil {
		return reference.Grant{}, fmt.Errorf("open another session: %w", err)
	}
	return reference.Grant{Token: t, Session: ref, User: user}, nil
}

// anyPassword is a directory that lets everybody in.
type anyPassword struct{}

func (anyPassword) Authenticate(context.Context, string, string) error { return nil }

// Whose memory an application's is.
const (
	bySession = "session"
	byUser    = "user"
	byNobody  = "all"
)

// ownMemory keeps what applications remember in the member's memory in place
// of the database, for each session, each user, or everybody together.
func ownMemory(next reference.Sessions, by string) reference.Sessions {
	var mu sync.Mutex
	users := map[reference.ID]string{}
	kept := map[string]map[string]string{}
	key := func(ref reference.ID, app string) string {
		return map[string]string{bySession: ref.String(), byUser: users[ref]}[by] + " " + app
	}
	return memberWith{
		Sessions: next,
		renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
			g, err := next.Renew(ctx, r)
			if err == nil {
				mu.Lock()
				users[g.Session] = g.User
				mu.Unlock()
			}
			return g, err
		},
		openHTTP: func(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
			h, err := next.OpenHTTP(ctx, ref, app)
			mu.Lock()
			defer mu.Unlock()
			h.Attributes = kept[key(ref, app)]
			return h, err
		},
		saveHTTP: func(ctx context.Context, ref reference.ID, h reference.HTTPSession) error {
			mu.Lock()
			kept[key(ref, h.Application)] = h.Attributes
			mu.Unlock()
			h.Attributes = nil
			return next.SaveHTTP(ctx, ref, h)
		},
		endHTTP: func(ctx context.Context, ref reference.ID, app string) error {
			mu.Lock()
			delete(kept, key(ref, app))
			mu.Unlock()
			return next.EndHTTP(ctx, ref, app)
		},
	}
}

// sharedState opens the HTTP session of whoever was admitted last.
func sharedState(next reference.Sessions) reference.Sessions {
	var mu sync.Mutex
	var last reference.ID
	return memberWith{
		Sessions: next,
		renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
			g, err := next.Renew(ctx, r)
			if err == nil {
				mu.Lock()
				last = g.Session
				mu.Unlock()
			}
			return g, err
		},
		openHTTP: func(ctx context.Context, _ reference.ID, app string) (reference.HTTPSession, error) {
			mu.Lock()
			ref := last
			mu.Unlock()
			return next.OpenHTTP(ctx, ref, app)
		},
	}
}

// losesState forgets attributes that were saved under an earlier token.
func losesState(s web.Service) web.Service {
	var mu sync.Mutex
	generation := map[reference.ID]int{}
	saved := map[string]int{}
	return serviceWith{
		Service: s,
		renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
			g, err := s.Renew(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			generation[g.Session]++
			return g, err
		},
		openHTTP: func(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
			h, err := s.OpenHTTP(ctx, ref, app)
			mu.Lock()
			defer mu.Unlock()
			if saved[ref.String()+app] != generation[ref] {
				h.Attributes = nil
			}
			return h, err
		},
		saveHTTP: func(ctx context.Context, ref reference.ID, h reference.HTTPSession) error {
			mu.Lock()
			saved[ref.String()+h.Application] = generation[ref]
			mu.Unlock()
			return s.SaveHTTP(ctx, ref, h)
		},
	}
}

// losesChildren keeps a register of HTTP sessions that is read before the
// creation and written after it.
func losesChildren(s web.Service) web.Service {
	var mu sync.Mutex
	register := map[reference.ID][]string{}
	open := func(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
		mu.Lock()
		before := slices.Clone(register[ref])
		mu.Unlock()
		h, err := s.OpenHTTP(ctx, ref, app)
		if err == nil && !slices.Contains(before, app) {
			mu.Lock()
			register[ref] = append(before, app)
			mu.Unlock()
		}
		return h, err
	}
	return serviceWith{
		Service:  s,
		openHTTP: open,
		createHTTP: func(ctx context.Context, r reference.Presented, app string) (reference.HTTPSession, error) {
			g, err := s.Verify(ctx, r)
			if err != nil {
				return reference.HTTPSession{}, err
			}
			return open(ctx, g.Session, app)
		},
		list: func(ctx context.Context, user string) ([]reference.SecuritySession, error) {
			all, err := s.List(ctx, user)
			mu.Lock()
			defer mu.Unlock()
			for i, row := range all {
				all[i].HTTP = slices.DeleteFunc(row.HTTP, func(h reference.HTTPSession) bool {
					return !slices.Contains(register[row.Ref], h.Application)
				})
			}
			return all, err
		},
	}
}

// createsEach looks whether the application has an HTTP session and creates
// one if not, in two steps.
func createsEach(o *reference.Options) func(web.Service) web.Service {
	db := o.Store
	return func(s web.Service) web.Service {
		var mu sync.Mutex
		creating := map[string]int{}
		open := func(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
			row, err := db.Load(ctx, ref)
			if err != nil {
				return reference.HTTPSession{}, err
			}
			name := app
			if !slices.ContainsFunc(row.HTTP, func(h reference.HTTPSession) bool { return h.Application == app }) {
				mu.Lock()
				if n := creating[ref.String()+app]; n > 0 {
					name = fmt.Sprintf("%s (%d)", app, n+1)
				}
				creating[ref.String()+app]++
				mu.Unlock()
			}
			return s.OpenHTTP(ctx, ref, name)
		}
		return serviceWith{Service: s, openHTTP: open, createHTTP: func(ctx context.Context, r reference.Presented, app string) (reference.HTTPSession, error) {
			g, err := s.Verify(ctx, r)
			if err != nil {
				return reference.HTTPSession{}, err
			}
			return open(ctx, g.Session, app)
		}}
	}
}

// keepsPresented makes the session that was presented at log-in the one of the
// user who logs in, token and all.
func keepsPresented(o *reference.Options) func(web.Service) web.Service {
	db, users := o.Store, o.Users
	var owners sync.Map // reference to the user who logged in last
	owned := func(row reference.SecuritySession, err error) (reference.SecuritySession, error) {
		if user, ok := owners.Load(row.Ref); ok {
			row.User = user.(string)
		}
		return row, err
	}
	o.Store = storeWith{
		Store: db,
		find: func(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
			return owned(db.Find(ctx, id))
		},
		load: func(ctx context.Context, ref reference.ID) (reference.SecuritySession, error) {
			return owned(db.Load(ctx, ref))
		},
	}
	return func(s web.Service) web.Service {
		return serviceWith{Service: s, login: func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
			row, err := db.Find(ctx, r.Discard.ID)
			if err != nil || !row.Open() || !r.Discard.SameAs(row.Current) {
				return s.Login(ctx, r)
			}
			if err := users.Authenticate(ctx, r.User, r.Password); err != nil {
				return reference.Grant{}, err
			}
			owners.Store(row.Ref, r.User)
			return reference.Grant{Token: r.Discard, Session: row.Ref, User: r.User}, nil
		}}
	}
}

// userInMemory stores rows without their user.
func userInMemory(s reference.Store) reference.Store {
	var users sync.Map
	named := func(row reference.SecuritySession, err error) (reference.SecuritySession, error) {
		if user, ok := users.Load(row.Ref); ok {
			row.User = user.(string)
		}
		return row, err
	}
	return storeWith{
		Store: s,
		create: func(ctx context.Context, row reference.SecuritySession) error {
			users.Store(row.Ref, row.User)
			row.User = "somebody"
			return s.Create(ctx, row)
		},
		find: func(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
			return named(s.Find(ctx, id))
		},
		load: func(ctx context.Context, ref reference.ID) (reference.SecuritySession, error) {
			return named(s.Load(ctx, ref))
		},
		list: func(ctx context.Context, user string) (some []reference.SecuritySession, err error) {
			all, err := s.List(ctx, "")
			for _, row := range all {
				if row, _ = named(row, nil); user == "" || row.User == user {
					some = append(some, row)
				}
			}
			return some, err
		},
	}
}

// oneForEachApp gives an application that is not the session's first a session
// of the same user beside it.
func oneForEachApp(o *reference.Options) func(web.Service) web.Service {
	db, now, rand := o.Store, clockOfOptions(o), o.Rand
	return func(s web.Service) web.Service {
		var mu sync.Mutex
		own := map[string]reference.ID{}
		of := func(ctx context.Context, ref reference.ID, app string) (reference.ID, error) {
			mu.Lock()
			defer mu.Unlock()
			if other, ok := own[ref.String()+app]; ok {
				return other, nil
			}
			row, err := db.Load(ctx, ref)
			if err != nil {
				return ref, err
			}
			if len(row.HTTP) == 0 || row.HTTP[0].Application == app {
				own[ref.String()+app] = ref
				return ref, nil
			}
			g, err := another(ctx, db, rand, row.User, now())
			own[ref.String()+app] = g.Session
			return g.Session, err
		}
		return serviceWith{
			Service: s,
			openHTTP: func(ctx context.Context, ref reference.ID, app string) (reference.HTTPSession, error) {
				ref, err := of(ctx, ref, app)
				if err != nil {
					return reference.HTTPSession{}, err
				}
				return s.OpenHTTP(ctx, ref, app)
			},
			saveHTTP: func(ctx context.Context, ref reference.ID, h reference.HTTPSession) error {
				ref, err := of(ctx, ref, h.Application)
				if err != nil {
					return err
				}
				return s.SaveHTTP(ctx, ref, h)
			},
		}
	}
}

// takesOver copies the HTTP sessions of the session presented at log-in.
func takesOver(o *reference.Options) func(web.Service) web.Service {
	db, now := o.Store, clockOfOptions(o)
	return func(s web.Service) web.Service {
		return serviceWith{Service: s, login: func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
			before, found := db.Find(ctx, r.Discard.ID)
			g, err := s.Login(ctx, r)
			if err != nil || found != nil {
				return g, err
			}
			for _, h := range before.HTTP {
				attributes := h.Attributes
				if h, _, err = db.OpenHTTP(ctx, g.Session, h); err == nil {
					err = db.SaveHTTP(ctx, g.Session, h.Application, h.Version, attributes, now())
				}
				if err != nil {
					return g, fmt.Errorf("take over the HTTP sessions: %w", err)
				}
			}
			return g, nil
		}}
	}
}

// sharesBetweenSessions opens the HTTP session that another session of the
// same user has for the application.
func sharesBetweenSessions(s reference.Store) reference.Store {
	return storeWith{Store: s, openHTTP: func(ctx context.Context, ref reference.ID, h reference.HTTPSession) (reference.HTTPSession, bool, error) {
		row, err := s.Load(ctx, ref)
		if err != nil {
			return h, false, err
		}
		siblings, err := s.List(ctx, row.User)
		if err != nil {
			return h, false, err
		}
		for _, sibling := range siblings {
			for _, other := range sibling.HTTP {
				if sibling.Ref != ref && other.Application == h.Application {
					h.ID, h.Attributes = other.ID, other.Attributes
				}
			}
		}
		return s.OpenHTTP(ctx, ref, h)
	}}
}

// emptiesInstead empties an HTTP session that is to end for the given reason,
// and leaves it there.
func emptiesInstead(s reference.Store, reason reference.Reason) reference.Store {
	return storeWith{Store: s, endHTTP: func(ctx context.Context, ref reference.ID, app string, why reference.Reason, at int64) (bool, error) {
		if why != reason {
			return s.EndHTTP(ctx, ref, app, why, at)
		}
		row, err := s.Load(ctx, ref)
		for _, h := range row.HTTP {
			if h.Application == app {
				err = errors.Join(err, s.SaveHTTP(ctx, ref, app, h.Version, map[string]string{}, at))
			}
		}
		return false, err
	}}
}

// cookieOn adds a Set-Cookie to the answers of one route.
func cookieOn(h http.Handler, method, path, line string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&edited{ResponseWriter: w, edit: func(_ int, header http.Header) {
			if r.Method == method && r.URL.Path == path {
				header.Add("Set-Cookie", line)
			}
		}}, r)
	})
}

// connectionKnows remembers each connection's newest token and takes it for
// that of a request that has none.
func connectionKnows(h http.Handler) http.Handler {
	var tokens sync.Map
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := tokens.Load(r.RemoteAddr); ok && r.Header.Get("Cookie") == "" {
			r.Header.Set("Cookie", token.(string))
		}
		h.ServeHTTP(&edited{ResponseWriter: w, edit: func(_ int, header http.Header) {
			for _, line := range header["Set-Cookie"] {
				if pair, _, _ := strings.Cut(line, ";"); strings.Contains(pair, "farm=") {
					tokens.Store(r.RemoteAddr, pair)
				}
			}
		}}, r)
	})
}

// malformedIsError fails on a token that cannot be one.
func malformedIsError(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, c := range r.Cookies() {
			if strings.HasSuffix(c.Name, "farm") && (len(c.Value) < 40 || len(c.Value) > 1000) {
				http.Error(w, "Internal server error", http.StatusInternalServerError)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// form reads a request's form and puts the body back.
func form(r *http.Request) url.Values {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	return values
}

// cookieNamesUser notes the user's name, encoded, in a cookie of its own.
func cookieNamesUser(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != web.LoginPath {
			h.ServeHTTP(w, r)
			return
		}
		user := base64.RawURLEncoding.EncodeToString([]byte(form(r).Get(web.UserField)))
		h.ServeHTTP(&edited{ResponseWriter: w, edit: func(status int, header http.Header) {
			if status == http.StatusSeeOther {
				header.Add("Set-Cookie", "farm-user="+user+"; Path=/; Secure")
			}
		}}, r)
	})
}

// anyForm makes every post to a route carry the secret of the farm's own form.
func anyForm(h http.Handler, path string) http.Handler {
	const name, secret = "__Host-farm-form", "00000000000000000000000000000001"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == path {
			values := form(r)
			values.Set("csrf", secret)
			body := values.Encode()
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			cookies := r.Cookies()
			r.Header.Del("Cookie")
			for _, c := range cookies {
				if c.Name != name {
					r.AddCookie(c)
				}
			}
			r.AddCookie(&http.Cookie{Name: name, Value: secret})
		}
		h.ServeHTTP(w, r)
	})
}

// anyValue lets a value for the cart in by that method without its form: it
// fetches the form on the browser's behalf and fills it.
func anyValue(h http.Handler, method string) http.Handler {
	field := web.Cart.Field()
	secret := regexp.MustCompile(`name="csrf" value="([^"]+)"`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values := r.URL.Query()
		if r.Method == http.MethodPost {
			values = form(r)
		}
		if r.Method != method || values.Get(field) == "" || values.Has("csrf") {
			h.ServeHTTP(w, r)
			return
		}
		get := r.Clone(r.Context())
		get.Method, get.URL.RawQuery, get.Body, get.ContentLength = http.MethodGet, "", http.NoBody, 0
		shown := httptest.NewRecorder()
		h.ServeHTTP(shown, get)
		post := r.Clone(r.Context())
		if found := secret.FindStringSubmatch(shown.Body.String()); found != nil {
			values.Set("csrf", html.UnescapeString(found[1]))
		}
		body := values.Encode()
		post.Method, post.URL.RawQuery = http.MethodPost, ""
		post.Body, post.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		post.Header.Del("Cookie")
		for _, c := range shown.Result().Cookies() {
			post.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		h.ServeHTTP(w, post)
	})
}
