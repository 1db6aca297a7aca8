package mutant

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// The faults of how a session begins, changes, lasts and ends.

// carrier is the token's cookie on the farm in which most faults are planted.
const carrier = "__Secure-farm"

func init() {
	declares := func(a farmspec.Assurance, l reference.Limits) simfarm.Options {
		return simfarm.Options{Assurance: a, Limits: l}
	}
	nothing := func() simfarm.Wrap { return simfarm.Wrap{} } // the fault is what the profile declares
	register(
		Fault{
			ID: "M616", Name: "a session ID that the browser brings to the log-in becomes that of the session", Violates: []string{"WSTG-SESS-03"},
			Convicts: []string{"fixation.planted"}, Level: farmspec.Black, Precedent: "PHP without session.use_strict_mode",
			Plant: func() simfarm.Wrap { return pages(new(adopted).handler)() },
		},
		Fault{
			ID: "M617", Name: "a session ID in the log-in's address becomes that of the session", Violates: []string{"WSTG-SESS-03"},
			Convicts: []string{"fixation.planted"}, Level: farmspec.Black, Precedent: "PHP with session.use_trans_sid",
			Plant: func() simfarm.Wrap {
				adopts := &adopted{named: map[string]bool{}}
				return pages(func(h http.Handler) http.Handler { return adopts.fromAddress(adopts.handler(h)) })()
			},
		},
		Fault{
			ID: "M638", Name: "the log-in page gives a session ID, and the session that begins there keeps it", Violates: []string{"WSTG-SESS-03"},
			Convicts: []string{"fixation.planted"}, Level: farmspec.Black,
			Precedent: "PHP without session_regenerate_id",
			Plant: func() simfarm.Wrap {
				adopts := &adopted{named: map[string]bool{}}
				return pages(func(h http.Handler) http.Handler { return adopts.given(adopts.handler(h)) })()
			},
		},
		Fault{
			ID: "M618", Name: "name and password in an address log in", Violates: []string{"ASVS-7.6.2"},
			Convicts: []string{"login.asked-from-elsewhere"}, Level: farmspec.Black,
			Plant: pages(logsInByAddress),
		},
		Fault{
			ID: "M619", Name: "what an application remembers is lost with the session ID, where tokens coalesce", Violates: []string{"SERVLET-CHANGE-ID"},
			Convicts: []string{"session.changes-id"}, Level: farmspec.Black, Profile: coalescing,
			Plant: api(losesState),
		},
		Fault{
			ID: "M620", Name: "a log-out is carried out after it was answered", Violates: []string{"SERVLET-INVALIDATION", "ASVS-7.4.1"},
			Convicts: []string{"session.ended-before-answered"}, Level: farmspec.Grey,
			Plant: around(endsAfterwards),
		},
		Fault{
			ID: "M621", Name: "a request under way writes its session back as it found it", Violates: []string{"SERVLET-INVALIDATION", "ASVS-7.4.1"},
			Convicts: []string{"session.requests-around-log-out"}, Level: farmspec.Black, Profile: coalescing,
			Precedent: "rack CVE-2025-46336",
			Plant: store(func(s reference.Store) reference.Store {
				const write = 80 * time.Millisecond // of a database under load; an end is half as much
				slow := storeWith{
					Store: s,
					replace: func(ctx context.Context, old, next reference.Token) error {
						time.Sleep(write)
						return s.Replace(ctx, old, next)
					},
					close: func(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
						time.Sleep(write / 2)
						return s.CloseSession(ctx, ref, why, at)
					},
				}
				return (&revives{Store: slow, onReplace: true}).store()
			}),
		},
		Fault{
			ID: "M622", Name: "which sessions have ended is known to the service's memory alone", Violates: []string{"AJ-6.1", "ASVS-7.4.1"},
			Convicts: []string{"session.outlives-no-crash"}, Level: farmspec.Grey,
			Plant: store(endsInMemory),
		},
		Fault{
			ID: "M623", Name: "the sessions of a node that crashed go on, against what is declared", Violates: []string{"AJ-X2"},
			Convicts: []string{"session.lost-in-crash"}, Level: farmspec.Grey, Profile: simfarm.Options{Failover: farmspec.Relogin},
			Plant: store(func(s reference.Store) reference.Store {
				return storeWith{Store: s, close: func(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
					if why == reference.ByAdmin {
						return true, nil
					}
					return s.CloseSession(ctx, ref, why, at)
				}}
			}),
		},
		Fault{
			ID: "M624", Name: "whichever server is asked for an application runs it", Violates: []string{"SERVLET-DISTRIBUTABLE"},
			Convicts: []string{"http.one-server-uses-it"}, Level: farmspec.Grey, Profile: coalescing,
			Plant: member(func(c *web.ServerConfig) { c.Farm.Directory = runsEveryApp{c.Farm.Directory, c.Name} }),
		},
		Fault{
			ID: "M625", Name: "an application without a time-out gets the usual one", Violates: []string{"SERVLET-NO-TIMEOUT"},
			Convicts: []string{"http.no-time-out"}, Level: farmspec.Black,
			Plant: service(func(o *reference.Options) { o.Limits.AppIdle = nil }),
		},
		Fault{
			ID: "M626", Name: "who logs in again goes on with the age of the session before", Violates: []string{"NIST-5.2.reauthentication"},
			Convicts: []string{"reauthentication.overall-anew"}, Level: farmspec.Black,
			Plant: inherits(func(row *reference.SecuritySession, before reference.SecuritySession) {
				row.AuthenticatedAt = before.AuthenticatedAt
			}),
		},
		Fault{
			ID: "M627", Name: "who logs in again has no overall limit any more", Violates: []string{"NIST-5.2.reauthentication", "NIST-5.2.activity"},
			Convicts: []string{"reauthentication.overall-anew"}, Level: farmspec.Black,
			Plant: inherits(func(row *reference.SecuritySession, _ reference.SecuritySession) {
				row.AuthenticatedAt += forever.Milliseconds()
			}),
		},
		Fault{
			ID: "M628", Name: "who logs in again goes on with the idle time of the session before", Violates: []string{"NIST-5.2.reauthentication"},
			Convicts: []string{"reauthentication.idle-anew"}, Level: farmspec.Black,
			Plant: inherits(func(row *reference.SecuritySession, before reference.SecuritySession) {
				row.Current.Timestamp = before.Current.Timestamp
			}),
		},
		Fault{
			ID: "M629", Name: "a farm run at AAL1 has sessions of sixty days", Violates: []string{"NIST-2.1.3.overall"},
			Convicts: []string{"assurance.declared"}, Level: farmspec.Black, Plant: nothing,
			Profile: declares(farmspec.AAL1, reference.Limits{Absolute: 60 * 24 * time.Hour}),
		},
		Fault{
			ID: "M630", Name: "a farm run at AAL2 has sessions of two days", Violates: []string{"NIST-2.2.3.overall"},
			Convicts: []string{"assurance.declared"}, Level: farmspec.Black, Plant: nothing,
			Profile: declares(farmspec.AAL2, reference.Limits{Absolute: 48 * time.Hour}),
		},
		Fault{
			ID: "M631", Name: "a farm run at AAL2 lets its users be idle for two hours", Violates: []string{"NIST-2.2.3.idle"},
			Convicts: []string{"assurance.declared"}, Level: farmspec.Black, Plant: nothing,
			Profile: declares(farmspec.AAL2, reference.Limits{Idle: 2 * time.Hour}),
		},
		Fault{
			ID: "M632", Name: "a farm run at AAL3 has sessions of a day", Violates: []string{"NIST-2.3.3.overall"},
			Convicts: []string{"assurance.declared"}, Level: farmspec.Black, Plant: nothing,
			Profile: declares(farmspec.AAL3, reference.Limits{Idle: 15 * time.Minute, HTTPIdle: 10 * time.Minute, Absolute: 24 * time.Hour}),
		},
		Fault{
			ID: "M633", Name: "a farm run at AAL3 lets its users be idle for half an hour", Violates: []string{"NIST-2.3.3.idle"},
			Convicts: []string{"assurance.declared"}, Level: farmspec.Black, Plant: nothing,
			Profile: declares(farmspec.AAL3, reference.Limits{}),
		},
		Fault{
			ID: "M634", Name: "the overall limit is declared and not enforced", Violates: []string{"NIST-2.1.3.overall", "NIST-2.2.3.overall", "NIST-2.3.3.overall", "NIST-5.2.either", "ASVS-7.1.1"},
			Convicts: []string{"assurance.overall"}, Level: farmspec.Black,
			Plant: service(func(o *reference.Options) { o.Limits.Absolute = forever }),
		},
		Fault{
			ID: "M635", Name: "the idle limit is declared and not enforced", Violates: []string{"NIST-2.2.3.idle", "NIST-2.3.3.idle", "NIST-5.2.either", "NIST-5.1.timeout", "ASVS-7.1.1"},
			Convicts: []string{"assurance.idle"}, Level: farmspec.Black,
			Plant: service(func(o *reference.Options) { o.Limits.Idle = forever }),
		},
		Fault{
			ID: "M636", Name: "a user's token is a key that is always the same", Violates: []string{"ASVS-7.2.2"},
			Convicts: []string{"login.own-token"}, Level: farmspec.Black,
			Plant: func() simfarm.Wrap {
				sealed := new(sync.Map)
				return Both(api(func(s web.Service) web.Service { return &staticKeys{Service: s} })(),
					member(func(c *web.ServerConfig) { c.Sealer = sealedOnce{c.Sealer, sealed} })())
			},
		},
		Fault{
			ID: "M637", Name: "the log-in remembers who tried, and pages take it for who is in", Violates: []string{"WSTG-SESS-08"},
			Convicts: []string{"login.bad-begins-nothing"}, Level: farmspec.Black, Precedent: "WSTG-SESS-08, session puzzling",
			Plant: func() simfarm.Wrap {
				w := pages(remembersWhoTried)()
				w.Service = func(o *reference.Options) { o.Users = takenAtHisWord{o.Users} }
				return w
			},
		},
	)
}

// adopted lets a value of the browser's stand for the session that a log-in
// with it began.
type adopted struct {
	mu    sync.Mutex
	alias map[string]string // the browser's value to the session's token of now
	// named, unless nil, are the values that count: none but these.
	named map[string]bool
}

func (a *adopted) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var sent string
		if c, err := r.Cookie(carrier); err == nil {
			sent = c.Value
		}
		a.mu.Lock()
		current, known := a.alias[sent]
		a.mu.Unlock()
		if known {
			dropCookie(r, carrier)
			r.AddCookie(&http.Cookie{Name: carrier, Value: current})
		} else {
			current = sent
		}
		b := &buffered{header: make(http.Header), status: http.StatusOK}
		h.ServeHTTP(b, r)
		fresh := ""
		for _, c := range (&http.Response{Header: b.header}).Cookies() {
			if c.Name == carrier {
				fresh = c.Value
			}
		}
		if fresh != "" {
			a.mu.Lock()
			if a.alias == nil {
				a.alias = map[string]string{}
			}
			for value, of := range a.alias {
				if of == current {
					a.alias[value] = fresh
				}
			}
			if r.Method == http.MethodPost && r.URL.Path == web.LoginPath && sent != "" && !known && (a.named == nil || a.named[sent]) {
				a.alias[sent] = fresh
			}
			a.mu.Unlock()
		}
		b.send(w)
	})
}

// fromAddress makes a cookie of a session ID in the log-in's address.
func (a *adopted) fromAddress(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.URL.Query().Get(carrier); id != "" && r.URL.Path == web.LoginPath {
			w = a.gives(w, id)
		}
		h.ServeHTTP(w, r)
	})
}

// given makes a session ID for who comes to the log-in without one.
func (a *adopted) given(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie(carrier); err != nil && r.Method == http.MethodGet && r.URL.Path == web.LoginPath {
			w = a.gives(w, rand.Text())
		}
		h.ServeHTTP(w, r)
	})
}

// gives names a session ID and sets its cookie with the answer.
func (a *adopted) gives(w http.ResponseWriter, id string) http.ResponseWriter {
	a.mu.Lock()
	a.named[id] = true
	a.mu.Unlock()
	line := (&http.Cookie{Name: carrier, Value: id, Domain: simfarm.Domain, Path: "/", Secure: true}).String()
	return &edited{ResponseWriter: w, edit: func(_ int, header http.Header) { header.Add("Set-Cookie", line) }}
}

// post makes a request the log-in's form with these values.
func post(r *http.Request, values url.Values) *http.Request {
	p := r.Clone(r.Context())
	body := values.Encode()
	p.Method, p.URL = http.MethodPost, &url.URL{Path: web.LoginPath}
	p.Body, p.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	p.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p
}

func logsInByAddress(h http.Handler) http.Handler {
	h = anyForm(h, web.LoginPath)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method == http.MethodGet && r.URL.Path == web.LoginPath && q.Has(web.UserField) && q.Has(web.PasswordField) {
			r = post(r, q)
		}
		h.ServeHTTP(w, r)
	})
}

// endsAfterwards closes the session of a log-out when the service has done all
// that it does before it answers.
func endsAfterwards(o *reference.Options) func(web.Service) web.Service {
	db, now := o.Store, clockOfOptions(o)
	var ending sync.Map // trace to reference
	o.Store = storeWith{Store: db, close: func(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
		if why != reference.ByLogout {
			return db.CloseSession(ctx, ref, why, at)
		}
		ending.Store(reference.TraceFrom(ctx), ref)
		return true, nil
	}}
	return func(s web.Service) web.Service {
		return serviceWith{Service: s, logout: func(ctx context.Context, r reference.Presented) error {
			err := s.Logout(ctx, r)
			if ref, ok := ending.LoadAndDelete(reference.TraceFrom(ctx)); ok {
				_, err = db.CloseSession(ctx, ref.(reference.ID), reference.ByLogout, now())
			}
			return err
		}}
	}
}

// endsInMemory keeps the ends of sessions for one life of the service.
func endsInMemory(s reference.Store) reference.Store {
	var mu sync.Mutex
	ended := map[reference.ID]int64{}
	show := func(row reference.SecuritySession, err error) (reference.SecuritySession, error) {
		mu.Lock()
		defer mu.Unlock()
		if at := ended[row.Ref]; at != 0 {
			row.ClosedAt, row.Reason, row.HTTP = at, reference.ByLogout, nil
		}
		return row, err
	}
	return storeWith{
		Store: s,
		find: func(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
			return show(s.Find(ctx, id))
		},
		load: func(ctx context.Context, ref reference.ID) (reference.SecuritySession, error) {
			return show(s.Load(ctx, ref))
		},
		close: func(_ context.Context, ref reference.ID, _ reference.Reason, at int64) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			first := ended[ref] == 0
			if first {
				ended[ref] = at
			}
			return first, nil
		},
	}
}

// runsEveryApp makes a member hold the applications of all.
type runsEveryApp struct {
	web.Directory
	member string
}

func (d runsEveryApp) Page(path string) (web.Page, bool) {
	p, ok := d.Directory.Page(path)
	if p.App != "" {
		p.Member = d.member
	}
	return p, ok
}

// inherits changes the session that a log-in begins by the one that the
// browser had before.
func inherits(change func(row *reference.SecuritySession, before reference.SecuritySession)) func() simfarm.Wrap {
	return around(func(o *reference.Options) func(web.Service) web.Service {
		db := o.Store
		var before, made sync.Map // trace to session
		o.Store = storeWith{Store: db, create: func(ctx context.Context, row reference.SecuritySession) error {
			if old, ok := before.LoadAndDelete(reference.TraceFrom(ctx)); ok {
				change(&row, old.(reference.SecuritySession))
				made.Store(row.Ref, row.Current)
			}
			return db.Create(ctx, row)
		}}
		return func(s web.Service) web.Service {
			return serviceWith{Service: s, login: func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
				if old, err := db.Find(ctx, r.Discard.ID); err == nil && old.Open() {
					before.Store(reference.TraceFrom(ctx), old)
				}
				g, err := s.Login(ctx, r)
				if t, ok := made.Load(g.Session); ok {
					g.Token = t.(reference.Token)
				}
				return g, err
			}}
		}
	})
}

// staticKeys gives each user the token of his first log-in at every other one
// as well, and takes it for good as long as it is a user's.
type staticKeys struct {
	web.Service
	mu   sync.Mutex
	keys map[string]reference.Grant // by user
}

func (s *staticKeys) Login(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
	r.Discard = reference.Token{}
	g, err := s.Service.Login(ctx, r)
	if err != nil {
		return g, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = map[string]reference.Grant{}
	}
	if first, ok := s.keys[g.User]; ok {
		return first, nil
	}
	s.keys[g.User] = g
	return g, nil
}

func (s *staticKeys) Renew(_ context.Context, r reference.Presented) (reference.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.keys {
		if g.Token == r.Token {
			return g, nil
		}
	}
	return reference.Grant{}, reference.ErrUnknown
}

func (s *staticKeys) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return s.Renew(ctx, r)
}

// hisWord is the password of who is taken at his word.
const hisWord = "\x00"

type takenAtHisWord struct{ reference.Directory }

func (d takenAtHisWord) Authenticate(ctx context.Context, user, password string) error {
	if password == hisWord {
		return nil
	}
	return d.Directory.Authenticate(ctx, user, password)
}

// remembersWhoTried keeps the name of a log-in that failed in a cookie of the
// log-in, and lets who has one in by it.
func remembersWhoTried(h http.Handler) http.Handler {
	const tried = "tried"
	anyway := anyForm(h, web.LoginPath)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == web.LoginPath {
			name := form(r).Get(web.UserField)
			b := &buffered{header: make(http.Header), status: http.StatusOK}
			h.ServeHTTP(b, r)
			if b.status == http.StatusForbidden {
				b.header.Add("Set-Cookie", tried+"="+url.QueryEscape(name)+"; Path=/; HttpOnly")
			}
			b.send(w)
			return
		}
		_, err := r.Cookie(carrier)
		if c, failed := r.Cookie(tried); failed == nil && err != nil && r.URL.Path != web.LoginPath {
			name, _ := url.QueryUnescape(c.Value)
			b := &buffered{header: make(http.Header), status: http.StatusOK}
			anyway.ServeHTTP(b, post(r, url.Values{web.UserField: {name}, web.PasswordField: {hisWord}}))
			for _, c := range (&http.Response{Header: b.header}).Cookies() {
				if c.Name == carrier {
					r.AddCookie(c)
				}
			}
		}
		h.ServeHTTP(w, r)
	})
}
