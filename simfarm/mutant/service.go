package mutant

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

func init() {
	register(
		Fault{
			ID: "F66", Name: "a server that cannot ask the service trusts whatever token it can open", Violates: []string{"WF-10.1", "ASVS-16.5.2"},
			Convicts: []string{"service.stopped"}, Level: farmspec.Grey,
			Plant: sessions(func(s reference.Sessions) reference.Sessions { return trusting{s} }),
		},
		Fault{
			ID: "M250", Name: "a server that cannot ask the service goes by its last good answer", Violates: []string{"WF-10.1"},
			Convicts: []string{"service.stopped"}, Level: farmspec.Grey, Precedent: "caches that serve stale on error",
			Plant: sessions(func(s reference.Sessions) reference.Sessions {
				return &mindful{Sessions: s, last: map[reference.Token]reference.Grant{}}
			}),
		},
		Fault{
			ID: "M252", Name: "a server asks the service again and again, and the browser waits", Violates: []string{"WF-10.1"},
			Convicts: []string{"service.stopped"}, Level: farmspec.Grey,
			Plant: sessions(func(s reference.Sessions) reference.Sessions { return patient{s} }),
		},
		Fault{
			ID: "M253", Name: "a server that once could not reach the service never asks it again", Violates: []string{"WF-10.1"},
			Convicts: []string{"service.stopped"}, Level: farmspec.Grey, Precedent: "circuit breakers that never close",
			Plant: sessions(func(s reference.Sessions) reference.Sessions { return &tripped{Sessions: s} }),
		},
		Fault{
			ID: "M251", Name: "the service's verify call says yes to every token", Violates: []string{"WF-10.1"},
			Convicts: []string{"service.says-yes-and-no"}, Level: farmspec.Grey, Profile: claimed,
			Plant: api(func(s web.Service) web.Service { return yesSayer{s} }),
		},
		Fault{
			ID: "M254", Name: "the service does not know the second server's credential", Violates: []string{"WF-10.1", "WF-10.2"},
			Convicts: []string{"service.whichever-is-asked"}, Level: farmspec.Black,
			Plant: forgetsServer("server-2"),
		},
		Fault{
			ID: "M255", Name: "the service keeps sessions in its own memory and looks nothing up", Violates: []string{"WF-10.3", "WF-6.3"},
			Convicts: []string{"service.looks-up", "service.row-decides"}, Level: farmspec.Grey,
			Plant: api(func(s web.Service) web.Service {
				return &inMemory{Service: s, granted: map[reference.Token]reference.Grant{}}
			}),
		},
		Fault{
			ID: "M256", Name: "the service says yes where its database fails", Violates: []string{"WF-10.3", "ASVS-16.5.2"},
			Convicts: []string{"service.database-stopped"}, Level: farmspec.Grey,
			Plant: api(func(s web.Service) web.Service {
				return &yesOnFailure{Service: s, last: map[reference.Token]reference.Grant{}}
			}),
		},
		Fault{
			ID: "F68", Name: "the service asks nobody for a credential", Violates: []string{"WF-10.4", "ASVS-13.2.1"},
			Convicts: []string{"service.callers"}, Level: farmspec.Grey, Profile: claimed,
			Plant: credentials(func(_, good string) string { return good }),
		},
		Fault{
			ID: "M261", Name: "the service takes any credential, as long as there is one", Violates: []string{"WF-10.4"},
			Convicts: []string{"service.callers"}, Level: farmspec.Grey, Profile: claimed,
			Plant: credentials(func(sent, good string) string {
				if sent == "" {
					return ""
				}
				return good
			}),
		},
		Fault{
			ID: "M262", Name: "a server's credential opens the administrator's calls", Violates: []string{"WF-10.4"},
			Convicts: []string{"service.admin-apart"}, Level: farmspec.Grey,
			Plant: serversAdminister,
		},
		Fault{
			ID: "M257", Name: "every server has a session database of its own", Violates: []string{"WF-11.1"},
			Convicts: []string{"common.issued-anywhere", "common.one-database"}, Level: farmspec.Black,
			Plant: everyServerItsOwnDatabase,
		},
		Fault{
			ID: "M258", Name: "a log-out is known to the server that was asked, and to no other", Violates: []string{"WF-11.1"},
			Convicts: []string{"common.closed-everywhere"}, Level: farmspec.Black, Precedent: "Spring Session issue 127",
			Plant: sessions(func(s reference.Sessions) reference.Sessions { return &localLogout{Sessions: s} }),
		},
		Fault{
			ID: "F67", Name: "one server's tokens are compared with a copy of the database that lags behind", Violates: []string{"WF-4.1", "WF-11.1"},
			Convicts: []string{"common.spent-everywhere"}, Level: farmspec.Black,
			Plant: laggingAt("server-3"),
		},
		Fault{
			ID: "M259", Name: "the service lives inside the first server", Violates: []string{"SY-13.1"},
			Convicts: []string{"parts.server-stops"}, Level: farmspec.Grey,
			Plant: insideFirstServer,
		},
		Fault{
			ID: "M260", Name: "the second server reads the database and validates by itself", Violates: []string{"SY-13.1", "SY-13.2"},
			Convicts: []string{"service.validates-for-both", "parts.own-names"}, Level: farmspec.Grey,
			Plant: validatesItself("server-2"),
		},
		Fault{
			ID: "M263", Name: "the servers die with the service", Violates: []string{"SY-13.1"},
			Convicts: []string{"parts.inner-part-stops"}, Level: farmspec.Grey,
			Plant: diesWithService,
		},
		Fault{
			ID: "M264", Name: "a HEAD is answered without looking for a session", Violates: []string{"WF-1.6"},
			Convicts: []string{"hostile.methods"}, Level: farmspec.Black,
			Plant: unguarded(http.MethodHead),
		},
		Fault{
			ID: "M265", Name: "a POST is answered without looking for a session", Violates: []string{"WF-1.6"},
			Convicts: []string{"hostile.methods"}, Level: farmspec.Black, Precedent: "filters bound to GET alone",
			Plant: unguarded(http.MethodPost),
		},
		Fault{
			ID: "M266", Name: "error pages show where in the program they were made", Violates: []string{"ASVS-16.5.1"},
			Convicts: []string{"hostile.inside"}, Level: farmspec.Black, Precedent: "debug pages left on in production",
			Plant: func() simfarm.Wrap { return simfarm.Wrap{Handler: debugPages} },
		},
		Fault{
			ID: "M268", Name: "a long cookie makes the server fail", Violates: []string{"WF-1.3"},
			Convicts: []string{"hostile.servers"}, Level: farmspec.Black,
			Plant: func() simfarm.Wrap { return simfarm.Wrap{Handler: failsOnLongCookie} },
		},
		Fault{
			ID: "M267", Name: "the service tells its parser's own words", Violates: []string{"ASVS-16.5.1"},
			Convicts: []string{"hostile.service"}, Level: farmspec.Grey, Profile: claimed,
			Plant: calls(tellsParserError),
		},
		Fault{
			ID: "M269", Name: "the service takes calls of any content type", Violates: []string{"WF-1.7"},
			Convicts: []string{"hostile.service"}, Level: farmspec.Grey, Profile: claimed,
			Plant: calls(func(_ http.ResponseWriter, r *http.Request) bool {
				r.Header.Set("Content-Type", "application/json")
				return false
			}),
		},
		Fault{
			ID: "M270", Name: "of two tokens in a call the service takes the last", Violates: []string{"WF-1.7"},
			Convicts: []string{"hostile.service"}, Level: farmspec.Grey, Profile: claimed,
			Plant: calls(takesLast),
		},
	)
}

// sessions plants a fault between each server and the service.
func sessions(wrap func(reference.Sessions) reference.Sessions) func() simfarm.Wrap {
	return member(func(c *web.ServerConfig) { c.Sessions = wrap(c.Sessions) })
}

// calls plants a fault in front of the session API. Where the function
// reports true it has answered.
func calls(answer func(http.ResponseWriter, *http.Request) bool) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		return simfarm.Wrap{Handler: func(process string, h http.Handler) http.Handler {
			if process != farmspec.ServiceProcess {
				return h
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !answer(w, r) {
					h.ServeHTTP(w, r)
				}
			})
		}}
	}
}

// failure tells a failure of the system from the service's answer.
func failure(err error) bool {
	for _, answer := range []error{reference.ErrExpired, reference.ErrHandoff, reference.ErrCredentials, reference.ErrCaller, reference.ErrConflict} {
		if errors.Is(err, answer) {
			return false
		}
	}
	return err != nil && !refusal(err)
}

// ownTime is the service's time, or the server's where it cannot be asked.
func ownTime(ctx context.Context, s reference.Sessions) (time.Time, error) {
	now, err := s.Time(ctx)
	if err != nil {
		return time.Now(), nil
	}
	return now, nil
}

type trusting struct{ reference.Sessions }

func (s trusting) instead(r reference.Presented, g reference.Grant, err error) (reference.Grant, error) {
	if failure(err) {
		return reference.Grant{Token: r.Token, Session: r.Token.ID}, nil
	}
	return g, err
}

func (s trusting) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Sessions.Renew(ctx, r)
	return s.instead(r, g, err)
}

func (s trusting) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Sessions.Verify(ctx, r)
	return s.instead(r, g, err)
}

func (s trusting) Time(ctx context.Context) (time.Time, error) { return ownTime(ctx, s.Sessions) }

// mindful remembers the last good answer for each token.
type mindful struct {
	reference.Sessions
	mu   sync.Mutex
	last map[reference.Token]reference.Grant
}

func (s *mindful) instead(r reference.Presented, g reference.Grant, err error) (reference.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.last[g.Token] = g
	}
	if g, ok := s.last[r.Token]; ok && failure(err) {
		return g, nil
	}
	return g, err
}

func (s *mindful) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Sessions.Renew(ctx, r)
	return s.instead(r, g, err)
}

func (s *mindful) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Sessions.Verify(ctx, r)
	return s.instead(r, g, err)
}

// patient tries again until it is answered or the browser has gone.
type patient struct{ reference.Sessions }

func again[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	for {
		v, err := ask()
		if !failure(err) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s patient) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return again(ctx, func() (reference.Grant, error) { return s.Sessions.Renew(ctx, r) })
}

func (s patient) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return again(ctx, func() (reference.Grant, error) { return s.Sessions.Verify(ctx, r) })
}

func (s patient) Time(ctx context.Context) (time.Time, error) {
	return again(ctx, func() (time.Time, error) { return s.Sessions.Time(ctx) })
}

// tripped is a circuit breaker that never closes again.
type tripped struct {
	reference.Sessions
	open atomic.Bool
}

var errTripped = errors.New("the circuit breaker is open")

func (s *tripped) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if s.open.Load() {
		return reference.Grant{}, errTripped
	}
	g, err := s.Sessions.Renew(ctx, r)
	if failure(err) {
		s.open.Store(true)
	}
	return g, err
}

type yesSayer struct{ web.Service }

func (s yesSayer) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Service.Verify(ctx, r)
	if refusal(err) {
		return reference.Grant{Token: r.Token, Session: r.Token.ID, User: "somebody"}, nil
	}
	return g, err
}

// secretOf learns a server's credential when it starts.
func secretOf(server string, secret *atomic.Value) func(*web.ServerConfig) {
	return func(c *web.ServerConfig) {
		if c.Name == server {
			secret.Store("Bearer " + c.Peers.Secret)
		}
	}
}

func forgetsServer(server string) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		secret := new(atomic.Value)
		w := calls(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") == secret.Load() {
				r.Header.Del("Authorization")
			}
			return false
		})()
		w.Member = secretOf(server, secret)
		return w
	}
}

// credentials exchanges the credential a caller sent for one of the farm's;
// those of the administrator's calls stay as they are.
func credentials(exchange func(sent, good string) string) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		secret := new(atomic.Value)
		w := calls(func(_ http.ResponseWriter, r *http.Request) bool {
			if good, ok := secret.Load().(string); ok && !strings.HasPrefix(r.URL.Path, "/v1/admin/") {
				r.Header.Set("Authorization", exchange(r.Header.Get("Authorization"), good))
			}
			return false
		})()
		w.Member = secretOf("server-1", secret)
		return w
	}
}

// serversAdminister keeps one list of credentials for all calls.
func serversAdminister() simfarm.Wrap {
	secret := new(atomic.Value)
	var api atomic.Pointer[web.Service]
	w := calls(func(w http.ResponseWriter, r *http.Request) bool {
		good, _ := secret.Load().(string)
		if good == "" || r.Header.Get("Authorization") != good || !strings.HasPrefix(r.URL.Path, "/v1/admin/") {
			return false
		}
		web.NewAPI(*api.Load(), web.APIOptions{AdminSecret: strings.TrimPrefix(good, "Bearer ")}).ServeHTTP(w, r)
		return true
	})()
	w.API = func(s web.Service) web.Service { api.Store(&s); return s }
	w.Member = secretOf("server-1", secret)
	return w
}

// inMemory knows every open session by heart.
type inMemory struct {
	web.Service
	mu      sync.Mutex
	granted map[reference.Token]reference.Grant
}

func (s *inMemory) Login(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
	g, err := s.Service.Login(ctx, r)
	if err == nil {
		s.mu.Lock()
		s.granted[g.Token] = g
		s.mu.Unlock()
	}
	return g, err
}

func (s *inMemory) Verify(_ context.Context, r reference.Presented) (reference.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.granted[r.Token]
	if !ok {
		return g, reference.ErrUnknown
	}
	return g, nil
}

func (s *inMemory) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Verify(ctx, r)
	if err != nil {
		return g, err
	}
	id, err := reference.NewID(rand.Reader)
	if err != nil {
		return g, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.granted, r.Token)
	g.Token = reference.Token{ID: id, Timestamp: time.Now().UnixMilli()}
	s.granted[g.Token] = g
	return g, nil
}

// yesOnFailure takes a failure of the database for a yes where it has said
// yes to the token before.
type yesOnFailure struct {
	web.Service
	mu   sync.Mutex
	last map[reference.Token]reference.Grant
}

func (s *yesOnFailure) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Service.Renew(ctx, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.last[g.Token] = g
	}
	if known, ok := s.last[r.Token]; ok && failure(err) {
		return known, nil
	}
	return g, err
}

// everyServerItsOwnDatabase gives each server the service's code and an
// empty database.
func everyServerItsOwnDatabase() simfarm.Wrap {
	var o reference.Options
	return simfarm.Wrap{
		Service: func(theirs *reference.Options) { o = *theirs },
		Member: func(c *web.ServerConfig) {
			mine := o
			own, err := simfarm.OpenStore(context.Background(), "memory")
			if err != nil {
				return
			}
			mine.Store = own
			if s, err := reference.NewService(mine); err == nil {
				c.Sessions = s
			}
		},
	}
}

// localLogout keeps a list of its own of what has been logged out.
type localLogout struct {
	reference.Sessions
	over sync.Map
}

func (s *localLogout) Logout(ctx context.Context, r reference.Presented) error {
	if _, err := s.Verify(ctx, r); err != nil {
		return err
	}
	s.over.Store(r.Token, true)
	return nil
}

func (s *localLogout) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if _, over := s.over.Load(r.Token); over {
		return reference.Grant{}, reference.ErrClosed
	}
	return s.Sessions.Verify(ctx, r)
}

func (s *localLogout) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if _, over := s.over.Load(r.Token); over {
		return reference.Grant{}, reference.ErrClosed
	}
	return s.Sessions.Renew(ctx, r)
}

// laggingAt lets one server ask a service whose copy of the database has not
// seen the last replacements.
func laggingAt(server string) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		var db reference.Store
		return simfarm.Wrap{
			Service: func(o *reference.Options) { db = o.Store },
			Member: func(c *web.ServerConfig) {
				if c.Name == server {
					c.Sessions = lagging{c.Sessions, db}
				}
			},
		}
	}
}

type lagging struct {
	reference.Sessions
	db reference.Store
}

func (s lagging) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Sessions.Renew(ctx, r)
	if !errors.Is(err, reference.ErrSpent) {
		return g, err
	}
	row, found := s.db.Find(ctx, r.Token.ID)
	if found != nil || !row.Open() {
		return g, err
	}
	r.Token = row.Current
	return s.Sessions.Renew(ctx, r)
}

// insideFirstServer has the first server answer the session API, and the
// others ask it there.
func insideFirstServer() simfarm.Wrap {
	var api atomic.Pointer[http.Handler]
	return simfarm.Wrap{
		Member: func(c *web.ServerConfig) {
			if first, ok := c.Farm.Directory.Member("server-1"); ok {
				c.Sessions = web.NewClient(web.ClientOptions{
					URL: first.URL, Member: c.Name, Secret: c.Peers.Secret, Transport: c.Peers.Transport, Observer: c.Observer,
				})
			}
		},
		Handler: func(process string, h http.Handler) http.Handler {
			if process == farmspec.ServiceProcess {
				api.Store(&h)
			}
			if process != "server-1" {
				return h
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/v1/") {
					(*api.Load()).ServeHTTP(w, r)
					return
				}
				h.ServeHTTP(w, r)
			})
		},
	}
}

// validatesItself gives one server the service's code and the database.
func validatesItself(server string) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		w := everyServerItsOwnService()
		all := w.Member
		w.Member = func(c *web.ServerConfig) {
			if c.Name == server {
				all(c)
			}
		}
		return w
	}
}

// diesWithService ends every request of a server that cannot reach the service,
// but for those to a service of its own, which another fault may have given it.
func diesWithService() simfarm.Wrap {
	var asked sync.Map // server to its reference.Sessions
	return simfarm.Wrap{
		Member: func(c *web.ServerConfig) { asked.Store(c.Name, c.Sessions) },
		Handler: func(process string, h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if s, ok := asked.Load(process); ok && !strings.HasPrefix(r.URL.Path, "/v1/") {
					if _, err := s.(reference.Sessions).Time(r.Context()); err != nil {
						panic(http.ErrAbortHandler)
					}
				}
				h.ServeHTTP(w, r)
			})
		},
	}
}

// unguarded answers one method by the page itself, past the session check.
func unguarded(method string) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		return simfarm.Wrap{Handler: func(process string, h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != method || !strings.HasPrefix(r.URL.Path, "/"+process+"/") {
					h.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = fmt.Fprintf(w, "<h1>Welcome</h1><!-- farm-page:%s -->", r.URL.Path)
			})
		}}
	}
}

// debugPages adds the stack to every error page.
func debugPages(process string, h http.Handler) http.Handler {
	if process == farmspec.ServiceProcess {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		if rec.Code >= 400 && rec.Code != http.StatusUnauthorized {
			w.Header().Del("Content-Length")
			rec.Body.Write(debug.Stack())
		}
		w.WriteHeader(rec.Code)
		_, _ = io.Copy(w, rec.Body)
	})
}

func failsOnLongCookie(process string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Get("Cookie")) > 8<<10 {
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// tellsParserError answers what is no JSON with what encoding/json says of it.
func tellsParserError(w http.ResponseWriter, r *http.Request) bool {
	body, ok := read(r)
	if !ok {
		return false
	}
	var p reference.Presented
	if err := json.Unmarshal(body, &p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return true
	}
	return false
}

// takesLast reads a call as most parsers do and passes on what it understood.
func takesLast(_ http.ResponseWriter, r *http.Request) bool {
	body, ok := read(r)
	if !ok {
		return false
	}
	var p map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&p) == nil {
		if again, err := json.Marshal(p); err == nil {
			body = again
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return false
}

// read takes the body of a call that has one of bounded length, and leaves a copy.
func read(r *http.Request) ([]byte, bool) {
	if r.Method != http.MethodPost || r.ContentLength <= 0 || r.ContentLength > 8<<10 {
		return nil, false
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, err == nil
}
