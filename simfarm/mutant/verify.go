package mutant

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

func init() {
	register(
		Fault{
			ID: "F01", Name: "the session ID is compared and the timestamp is not", Violates: []string{"WF-6.2"},
			Convicts: []string{"verify.other-timestamp", "verify.service-compares", "verify.service-compares-opened", "verify.altered-and-sealed", "verify.stored-timestamp"},
			Level:    farmspec.Black, Profile: claimed,
			Plant: takenFor(func(t reference.Token, s reference.SecuritySession) bool { return t.ID == s.Current.ID }),
		},
		Fault{
			ID: "F02", Name: "the timestamp is compared and the session ID is not", Violates: []string{"WF-6.1"},
			Convicts: []string{"verify.other-id", "verify.service-compares", "verify.service-compares-opened"},
			Level:    farmspec.Black, Profile: claimed,
			Plant: takenFor(func(t reference.Token, s reference.SecuritySession) bool {
				return t.Timestamp == s.Current.Timestamp
			}),
		},
		Fault{
			ID: "F03", Name: "a token that opens is trusted, without a look at the database", Violates: []string{"WF-6.3", "WF-1.6", "SY-18.1", "ASVS-7.2.1"},
			Convicts: []string{"verify.closed-everywhere", "verify.before-the-page"}, Level: farmspec.Black, Precedent: "gorilla/sessions issue 282",
			Plant: func() simfarm.Wrap {
				known := new(sync.Map)
				return simfarm.Wrap{Member: func(c *web.ServerConfig) { c.Sessions = selfContained{c.Sessions, known} }}
			},
		},
		Fault{
			ID: "F04", Name: "who brings no token is served as a guest", Violates: []string{"WF-1.6"},
			Convicts: []string{"verify.straight-to-second"}, Level: farmspec.Black,
			Plant: guestsWelcome,
		},
		Fault{
			ID: "F07", Name: "only the first half of the session ID is compared", Violates: []string{"WF-6.1"},
			Convicts: []string{"verify.other-id", "verify.service-compares", "verify.service-compares-opened"},
			Level:    farmspec.Black, Profile: claimed,
			Plant: takenFor(func(t reference.Token, s reference.SecuritySession) bool {
				return [8]byte(t.ID[:8]) == [8]byte(s.Current.ID[:8]) && t.Timestamp == s.Current.Timestamp
			}),
		},
		Fault{
			ID: "M140", Name: "a session ID that is cut short is looked up by its beginning", Violates: []string{"WF-6.1"},
			Convicts: []string{"verify.other-id"}, Level: farmspec.Black, Profile: claimed,
			Plant: looksUpByBeginning,
		},
		Fault{
			ID: "F08", Name: "the second server trusts a hand-off it has served before", Violates: []string{"WF-1.6"},
			Convicts: []string{"verify.hand-off-once"}, Level: farmspec.Black,
			Plant: func() simfarm.Wrap {
				return simfarm.Wrap{Member: func(c *web.ServerConfig) { c.Sessions = &trustsHandoffs{Sessions: c.Sessions} }}
			},
		},
		Fault{
			ID: "M139", Name: "a server asks no second time about a token that it brought itself", Violates: []string{"WF-6.3"},
			Convicts: []string{"verify.row-removed", "verify.stored-id", "verify.stored-timestamp"}, Level: farmspec.White,
			Plant: func() simfarm.Wrap {
				return simfarm.Wrap{Member: func(c *web.ServerConfig) { c.Sessions = &warmCache{Sessions: c.Sessions} }}
			},
		},
		Fault{
			ID: "M131", Name: "the hand-off is a session ID alone", Violates: []string{"WF-3.1", "WF-5.1"},
			Convicts: []string{"verify.parts-in-address"}, Level: farmspec.Black, Profile: claimed,
			Plant: idAlone,
		},
		Fault{
			ID: "M132", Name: "the encrypted token has no timestamp", Violates: []string{"WF-3.1", "WF-5.1"},
			Convicts: []string{"verify.parts-inside"}, Level: farmspec.White,
			Plant: func() simfarm.Wrap {
				timestamps := new(sync.Map)
				return simfarm.Wrap{Member: func(c *web.ServerConfig) {
					c.Sealer = untimed{c.Sealer, timestamps}
					c.Sessions = timed{c.Sessions, timestamps}
				}}
			},
		},
		Fault{
			ID: "M133", Name: "an unknown session ID begins a session", Violates: []string{"WF-1.6"},
			Convicts: []string{"verify.never-issued", "verify.never-issued-sealed"}, Level: farmspec.Black, Profile: claimed,
			Precedent: "PHP without session.use_strict_mode",
			Plant:     overStore(func(s web.Service, db *reference.Store) web.Service { return adopting{s, db} }),
		},
		Fault{
			ID: "M134", Name: "a hand-off is good at every server", Violates: []string{"CAS-SERVICE-BOUND", "ASVS-9.2.3"},
			Convicts: []string{"verify.audience"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) { c.Sealer = oneAudience{c.Sealer} }),
		},
		Fault{
			ID: "M135", Name: "a token is taken for a hand-off", Violates: []string{"RFC-6265bis.transplant"},
			Convicts: []string{"verify.purposes"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) { c.Sealer = eitherPurpose{c.Sealer} }),
		},
		Fault{
			ID: "M136", Name: "a hand-off takes the place of the browser's own session", Violates: []string{"WF-1.6", "WF-2.4"},
			Convicts: []string{"verify.two-sessions", "verify.reload"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				if d.handoff(r.URL.RawQuery) != "" {
					d.setToken(r, "")
				}
				d.next.ServeHTTP(w, r)
			}),
		},
		Fault{
			ID: "M137", Name: "log-in keeps the session that the browser came with", Violates: []string{"AJ-3.2", "WSTG-SESS-03"},
			Convicts: []string{"verify.fixation"}, Level: farmspec.Grey, Precedent: "Airflow CVE-2022-38054",
			Plant: func() simfarm.Wrap {
				var users reference.Directory
				return simfarm.Wrap{
					Service: func(o *reference.Options) { users = o.Users },
					API: func(s web.Service) web.Service {
						return &keepsSession{Service: s, users: users, renamed: map[reference.ID]string{}}
					},
				}
			},
		},
		Fault{
			ID: "M138", Name: "a wrong timestamp closes the session", Violates: []string{"WF-1.7"},
			Convicts: []string{"verify.refusal-changes-nothing"}, Level: farmspec.White,
			Plant: overStore(func(s web.Service, db *reference.Store) web.Service { return closesOnMismatch{s, db} }),
		},
	)
}

// overStore plants a fault in the service that also reaches its store.
func overStore(wrap func(web.Service, *reference.Store) web.Service) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		db := new(reference.Store)
		return simfarm.Wrap{
			Service: func(o *reference.Options) { *db = o.Store },
			API:     func(s web.Service) web.Service { return wrap(s, db) },
		}
	}
}

// takenFor plants a careless comparison: a token is taken for the current one
// of the first open session that it matches.
func takenFor(matches func(reference.Token, reference.SecuritySession) bool) func() simfarm.Wrap {
	return overStore(func(s web.Service, db *reference.Store) web.Service { return careless{s, db, matches} })
}

type careless struct {
	web.Service
	db      *reference.Store
	matches func(reference.Token, reference.SecuritySession) bool
}

func (c careless) taken(ctx context.Context, r reference.Presented) reference.Presented {
	all, err := (*c.db).List(ctx, "")
	if err != nil {
		return r
	}
	if slices.ContainsFunc(all, func(s reference.SecuritySession) bool { return r.Token == s.Current }) {
		return r
	}
	for _, s := range all {
		if s.Open() && c.matches(r.Token, s) {
			r.Token = s.Current
		}
	}
	return r
}

func (c careless) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return c.Service.Renew(ctx, c.taken(ctx, r))
}

func (c careless) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return c.Service.Verify(ctx, c.taken(ctx, r))
}

// selfContained asks the service at log-in and then never again.
type selfContained struct {
	reference.Sessions
	known *sync.Map // session ID to grant, as if it were in the token
}

func (s selfContained) Login(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
	g, err := s.Sessions.Login(ctx, r)
	if err == nil {
		s.known.Store(g.Token.ID, g)
	}
	return g, err
}

func (s selfContained) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if g, ok := s.known.Load(r.Token.ID); ok {
		return g.(reference.Grant), nil
	}
	return s.Sessions.Renew(ctx, r)
}

func (s selfContained) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return s.Renew(ctx, r)
}

// guestsWelcome signs in as a guest whoever asks for a page without a token.
func guestsWelcome() simfarm.Wrap {
	const guest = "guest"
	w := inDoorways(func(d *doorway, w http.ResponseWriter, r *http.Request) {
		if _, ok := d.page(r); ok && d.token(r) == "" && d.handoff(r.URL.RawQuery) == "" {
			if g, err := d.Sessions.Login(r.Context(), reference.LoginRequest{User: guest, Password: guest}); err == nil {
				if sealed, err := d.Sealer.Seal(g.Token); err == nil {
					d.setToken(r, sealed)
				}
			}
		}
		d.next.ServeHTTP(w, r)
	})
	w.Service = func(o *reference.Options) { o.Users = withGuest{o.Users, guest} }
	return w
}

type withGuest struct {
	reference.Directory
	guest string
}

func (g withGuest) Authenticate(ctx context.Context, user, password string) error {
	if user == g.guest {
		return nil
	}
	return g.Directory.Authenticate(ctx, user, password)
}

type trustsHandoffs struct {
	reference.Sessions
	served sync.Map // presented token to grant
}

func (s *trustsHandoffs) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Sessions.Renew(ctx, r)
	if r.HandedOffAt == 0 {
		return g, err
	}
	if err == nil {
		s.served.Store(r.Token, g)
	} else if before, ok := s.served.Load(r.Token); ok && refusal(err) {
		return before.(reference.Grant), nil
	}
	return g, err
}

// warmCache asks about a token that it got from the service no second time.
type warmCache struct {
	reference.Sessions
	verified sync.Map // token to grant
}

func (s *warmCache) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if g, ok := s.verified.Load(r.Token); ok {
		return g.(reference.Grant), nil
	}
	g, err := s.Sessions.Renew(ctx, r)
	if err == nil {
		s.verified.Store(g.Token, g)
	}
	return g, err
}

// idAlone leaves the timestamp out of the address and looks it up on arrival.
func idAlone() simfarm.Wrap {
	var timestamps sync.Map // session ID to the pair with the timestamp
	return inDoorways(func(d *doorway, w http.ResponseWriter, r *http.Request) {
		name := d.Farm.Handoff.Params()
		q := r.URL.Query()
		if ts, ok := timestamps.Load(q.Get(name.ID)); ok && q.Get(name.Timestamp) == "" {
			r.URL.RawQuery += "&" + name.Timestamp + "=" + ts.(string)
		}
		d.next.ServeHTTP(d.redirecting(w, r, func(to *url.URL, status int) int {
			q := to.Query()
			timestamps.Store(q.Get(name.ID), q.Get(name.Timestamp))
			q.Del(name.Timestamp)
			to.RawQuery = q.Encode()
			return status
		}), r)
	})
}

// untimed seals session IDs without their timestamps.
type untimed struct {
	web.Sealer
	timestamps *sync.Map
}

func (s untimed) Seal(t reference.Token) (string, error) {
	s.timestamps.Store(t.ID, t.Timestamp)
	return s.Sealer.Seal(reference.Token{ID: t.ID})
}

// timed looks up the timestamp that the token does not have.
type timed struct {
	reference.Sessions
	timestamps *sync.Map
}

func (s timed) with(r reference.Presented) reference.Presented {
	if ts, ok := s.timestamps.Load(r.Token.ID); ok {
		r.Token.Timestamp = ts.(int64)
	}
	return r
}

func (s timed) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return s.Sessions.Renew(ctx, s.with(r))
}

func (s timed) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return s.Sessions.Verify(ctx, s.with(r))
}

// adopting makes a session of every token that nobody issued.
type adopting struct {
	web.Service
	db *reference.Store
}

func (s adopting) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Service.Renew(ctx, r)
	if !errors.Is(err, reference.ErrUnknown) {
		return g, err
	}
	row := reference.SecuritySession{Ref: r.Token.ID, User: "guest", AuthenticatedAt: r.Token.Timestamp, Current: r.Token}
	if err := (*s.db).Create(ctx, row); err != nil {
		return g, err
	}
	return s.Service.Renew(ctx, r)
}

type oneAudience struct{ web.Sealer }

func (s oneAudience) SealHandoff(_ string, t reference.Token, at int64) (string, error) {
	return s.Sealer.SealHandoff("farm", t, at)
}

func (s oneAudience) OpenHandoff(_, sealed string) (reference.Token, int64, error) {
	return s.Sealer.OpenHandoff("farm", sealed)
}

// keepsSession puts the user who logs in into the session that is there.
type keepsSession struct {
	web.Service
	users   reference.Directory
	mu      sync.Mutex
	renamed map[reference.ID]string // by session
}

func (s *keepsSession) Login(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
	if r.Discard.IsZero() || s.users.Authenticate(ctx, r.User, r.Password) != nil {
		return s.Service.Login(ctx, r)
	}
	g, err := s.Service.Verify(ctx, reference.Presented{Token: r.Discard})
	if err != nil {
		return s.Service.Login(ctx, r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renamed[g.Session], g.User = r.User, r.User
	return g, nil
}

func (s *keepsSession) user(ref reference.ID, was string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if user, ok := s.renamed[ref]; ok {
		return user
	}
	return was
}

func (s *keepsSession) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Service.Renew(ctx, r)
	g.User = s.user(g.Session, g.User)
	return g, err
}

func (s *keepsSession) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Service.Verify(ctx, r)
	g.User = s.user(g.Session, g.User)
	return g, err
}

func (s *keepsSession) List(ctx context.Context, user string) ([]reference.SecuritySession, error) {
	all, err := s.Service.List(ctx, "")
	for i := range all {
		all[i].User = s.user(all[i].Ref, all[i].User)
	}
	return slices.DeleteFunc(all, func(row reference.SecuritySession) bool {
		return user != "" && !strings.EqualFold(row.User, user)
	}), err
}

type closesOnMismatch struct {
	web.Service
	db *reference.Store
}

func (s closesOnMismatch) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Service.Renew(ctx, r)
	if errors.Is(err, reference.ErrMismatch) {
		if row, findErr := (*s.db).Find(ctx, r.Token.ID); findErr == nil {
			_, _ = (*s.db).CloseSession(ctx, row.Ref, reference.ByReplay, r.Token.Timestamp)
		}
	}
	return g, err
}

// looksUpByBeginning completes the session ID of a hand-off from the database.
func looksUpByBeginning() simfarm.Wrap {
	var mu sync.Mutex
	var db reference.Store
	return simfarm.Wrap{
		Service: func(o *reference.Options) {
			mu.Lock()
			defer mu.Unlock()
			db = o.Store
		},
		Handler: func(_ string, h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				if sid := q.Get("sid"); len(sid) >= 8 {
					mu.Lock()
					known, err := db.List(r.Context(), "")
					mu.Unlock()
					for _, s := range known {
						if err == nil && strings.HasPrefix(s.Current.ID.String(), sid) {
							q.Set("sid", s.Current.ID.String())
							r.URL.RawQuery = q.Encode()
						}
					}
				}
				h.ServeHTTP(w, r)
			})
		},
	}
}
