package mutant

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// The profiles in which the faults of rotation are planted.
var (
	claimed    = simfarm.Options{Handoff: farmspec.Claimed, Topology: farmspec.SingleHost}
	coalescing = simfarm.Options{Rotation: farmspec.Coalesce}
	readVerify = simfarm.Options{Rotation: farmspec.ReadVerify}
	revoking   = simfarm.Options{Replay: farmspec.RevokeFamily}
)

func init() {
	register(
		Fault{
			ID: "F11", Name: "no token is ever replaced", Violates: []string{"WF-2.1"},
			Convicts: []string{"rotate.old-token-refused", "rotate.new-session-id-inside"}, Level: farmspec.Black,
			Plant: api(func(s web.Service) web.Service { return noRotation{s} }),
		},
		Fault{
			ID: "M214", Name: "no token is ever replaced, nor sealed anew", Violates: []string{"WF-2.1"},
			Convicts: []string{"rotate.new-token-each-page"}, Level: farmspec.Black, Precedent: "gorilla/sessions, and most fixed-cookie farms",
			Plant: func() simfarm.Wrap {
				sealed := new(sync.Map)
				return simfarm.Wrap{
					API:    func(s web.Service) web.Service { return noRotation{s} },
					Member: func(c *web.ServerConfig) { c.Sealer = sealedOnce{c.Sealer, sealed} },
				}
			},
		},
		Fault{
			ID: "F12", Name: "the new token is added and the old one kept", Violates: []string{"WF-4.1", "WF-4.2"},
			Convicts: []string{"rotate.old-token-refused", "rotate.first-token-refused", "rotate.one-row"}, Level: farmspec.Black,
			Plant: store(func(s reference.Store) reference.Store { return addedNotReplaced{s} }),
		},
		Fault{
			ID: "F14", Name: "verifying and replacing are two steps", Violates: []string{"WF-4.3", "ASVS-15.4.2"},
			Convicts: []string{"race.held-together", "race.at-the-service", "race.one-winner"}, Level: farmspec.Grey,
			Precedent: "Keycloak CVE-2026-1035",
			Plant:     store(func(s reference.Store) reference.Store { return lastWriterWins{s} }),
		},
		Fault{
			ID: "F15", Name: "a replacement has the old session ID and only a new timestamp", Violates: []string{"WF-3.2"},
			Convicts: []string{"rotate.new-session-id", "rotate.new-session-id-inside"}, Level: farmspec.Black, Profile: claimed,
			Plant: api(func(s web.Service) web.Service {
				return &oneID{Service: s, current: map[reference.ID]reference.Token{}}
			}),
		},
		Fault{
			ID: "F16", Name: "a replacement has a new session ID and the old timestamp", Violates: []string{"WF-3.3", "WF-7.1"},
			Convicts: []string{"rotate.timestamp-follows", "rotate.timestamp-follows-url"}, Level: farmspec.Black, Profile: claimed,
			Plant: func() simfarm.Wrap {
				return simfarm.Wrap{
					Service: func(o *reference.Options) { o.Store = oldTimestamp{o.Store} },
					API:     func(s web.Service) web.Service { return oldTimestampGrant{s} },
				}
			},
		},
		Fault{
			ID: "F18", Name: "the grace period mints a second successor", Violates: []string{"WF-4.2"},
			Convicts: []string{"rotate.no-fork", "race.coalesced"}, Level: farmspec.Black, Precedent: "Grafana PR 131171, review", Profile: coalescing,
			Plant: store(func(s reference.Store) reference.Store { return forks{s} }),
		},
		Fault{
			ID: "F19", Name: "a restart forgets which tokens are spent", Violates: []string{"WF-4.4"},
			Convicts: []string{"durable.across-restart"}, Level: farmspec.Grey, Precedent: "Keycloak CVE-2026-9802",
			Plant: func() simfarm.Wrap {
				var db reference.Store
				return simfarm.Wrap{
					Service: func(o *reference.Options) { db = o.Store },
					API: func(s web.Service) web.Service {
						return &spentInMemory{Service: s, db: db, spent: map[reference.ID]bool{}}
					},
				}
			},
		},
		Fault{
			ID: "F20", Name: "a replacement that fails consumes the token all the same", Violates: []string{"WF-4.4", "ASVS-16.5.3"},
			Convicts: []string{"durable.consumed-only-if-committed"}, Level: farmspec.White, Precedent: "Keycloak issue 49213",
			Plant: store(func(s reference.Store) reference.Store { return consumesOnFailure{s} }),
		},
		Fault{
			ID: "F24", Name: "the page is served before the replacement is committed", Violates: []string{"WF-4.4", "ASVS-16.5.3"},
			Convicts: []string{"durable.consumed-only-if-committed"}, Level: farmspec.White,
			Plant: store(func(s reference.Store) reference.Store { return neverFails{s} }),
		},
		Fault{
			ID: "F23", Name: "a spent token leaves its family alive", Violates: []string{"ASVS-10.4.5"},
			Convicts: []string{"rotate.replay-ends-the-family"}, Level: farmspec.Black, Precedent: "Gitea CVE-2026-56750", Profile: revoking,
			Plant: service(func(o *reference.Options) { o.Replay = reference.Reject }),
		},
		Fault{
			ID: "F25", Name: "session IDs are counted, not drawn", Violates: []string{"WF-3.2", "ASVS-7.2.3", "ASVS-11.5.1", "NIST-5.1.secret"},
			Convicts: []string{"rotate.new-session-id", "rotate.new-session-id-inside", "rotate.thousands-of-ids", "tokens.generator"}, Level: farmspec.Black, Profile: claimed,
			Plant: service(func(o *reference.Options) { o.Rand = &counter{} }),
		},
		Fault{
			ID: "F37", Name: "the timestamp is stored in seconds", Violates: []string{"WF-6.2", "WF-2.4"},
			Convicts: []string{"rotate.honest-user"}, Level: farmspec.Black,
			Plant: store(func(s reference.Store) reference.Store { return wholeSeconds{s} }),
		},
		Fault{
			ID: "M215", Name: "a session is forgotten after fifty pages", Violates: []string{"WF-2.4"},
			Convicts: []string{"rotate.long-chain"}, Level: farmspec.Black,
			Plant: api(func(s web.Service) web.Service { return &forgetful{Service: s, pages: map[string]int{}} }),
		},
		Fault{
			ID: "F63", Name: "tokens are sealed with a fixed nonce", Violates: []string{"WF-2.2", "ASVS-11.3.4"},
			Convicts: []string{"rotate.fresh-sealing", "handoff.carrier-without-structure"}, Level: farmspec.White, Precedent: "Beaker CVE-2012-3458",
			Plant: member(func(c *web.ServerConfig) { c.Sealer = fixedNonce() }),
		},
		Fault{
			ID: "F65", Name: "one server never gets the new key", Violates: []string{"WF-2.4"},
			Convicts: []string{"rotate.key-rollout"}, Level: farmspec.White, Precedent: "Microsoft KB 2431728",
			Plant: member(func(c *web.ServerConfig) {
				if c.Name == "server-2" {
					c.Sealer = &oneKey{Sealer: c.Sealer}
				}
			}),
		},
		Fault{
			ID: "M201", Name: "the first server sends a new token too", Violates: []string{"WF-2.2"},
			Convicts: []string{"rotate.second-server-sends-it"}, Level: farmspec.Black,
			Plant: func() simfarm.Wrap { return simfarm.Wrap{Handler: sealsOnRedirect} },
		},
		Fault{
			ID: "M202", Name: "the first server does the encrypting", Violates: []string{"WF-2.2", "SY-14.2"},
			Convicts: []string{"rotate.second-server-encrypts"}, Level: farmspec.Grey,
			Plant: encryptsEarly,
		},
		Fault{
			ID: "M203", Name: "the token comes first and the page in a second answer", Violates: []string{"WF-2.3"},
			Convicts: []string{"rotate.same-answer"}, Level: farmspec.Black,
			Plant: func() simfarm.Wrap { return simfarm.Wrap{Handler: pageAfterToken} },
		},
		Fault{
			ID: "M204", Name: "the new token is good for the page's own folder alone", Violates: []string{"WF-2.4"},
			Convicts: []string{"rotate.there-and-back"}, Level: farmspec.Black,
			Plant: func() simfarm.Wrap { return simfarm.Wrap{Handler: cookieForFolder} },
		},
		Fault{
			ID: "M205", Name: "the timestamp comes from the first server's clock", Violates: []string{"SY-15.1"},
			Convicts: []string{"rotate.timestamp-by-service"}, Level: farmspec.White, Precedent: "Spring Session issues 742 and 1001",
			Plant: clockOf("server-1"),
		},
		Fault{
			ID: "M206", Name: "the servers generate and replace tokens in the database themselves", Violates: []string{"SY-14.1", "SY-16.1"},
			Convicts: []string{"rotate.generator-in-service", "rotate.service-replaces"}, Level: farmspec.Grey,
			Plant: everyServerItsOwnService,
		},
		Fault{
			ID: "M207", Name: "only the last spent token is remembered", Violates: []string{"WF-4.1"},
			Convicts: []string{"rotate.first-token-refused"}, Level: farmspec.Black,
			Plant: spentAccepted(func(db reference.SecuritySession, t reference.Token) bool { return t.ID != db.Previous.ID }),
		},
		Fault{
			ID: "M208", Name: "a spent token ends the session although only its refusal is declared", Violates: []string{"WF-1.7", "RFC-9110.9.2"},
			Convicts: []string{"rotate.replay-harms-nobody"}, Level: farmspec.Black,
			Plant: service(func(o *reference.Options) { o.Replay = reference.RevokeFamily }),
		},
		Fault{
			ID: "M209", Name: "a grace period is declared and not given", Violates: []string{"WF-2.4", "RFC-9110.9.2"},
			Convicts: []string{"grace.second-tab"}, Level: farmspec.Black, Precedent: "Grafana issue 18644", Profile: coalescing,
			Plant: service(func(o *reference.Options) { o.Rotation = reference.Strict }),
		},
		Fault{
			ID: "M210", Name: "the grace period is for every generation", Violates: []string{"WF-4.1"},
			Convicts: []string{"grace.one-generation"}, Level: farmspec.Black, Profile: coalescing,
			Plant: spentAccepted(func(reference.SecuritySession, reference.Token) bool { return true }),
		},
		Fault{
			ID: "M211", Name: "the grace period never ends", Violates: []string{"WF-4.1"},
			Convicts: []string{"grace.ends"}, Level: farmspec.Black, Profile: coalescing,
			Plant: service(func(o *reference.Options) { o.Grace = 24 * time.Hour }),
		},
		Fault{
			ID: "M212", Name: "every resource of a page spends the page's token", Violates: []string{"WF-2.4"},
			Convicts: []string{"readverify.resource-keeps-token"}, Level: farmspec.Black, Profile: readVerify,
			Plant: api(func(s web.Service) web.Service { return verifyRenews{s} }),
		},
		Fault{
			ID: "M213", Name: "one server has a key of its own", Violates: []string{"WF-2.4", "WF-10.2"},
			Convicts: []string{"rotate.every-pair"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) {
				if c.Name == "server-3" {
					c.Sealer = ownKey()
				}
			}),
		},
	)
}

// The short ways of planting a fault in one part.

func api(wrap func(web.Service) web.Service) func() simfarm.Wrap {
	return func() simfarm.Wrap { return simfarm.Wrap{API: wrap} }
}

func service(change func(*reference.Options)) func() simfarm.Wrap {
	return func() simfarm.Wrap { return simfarm.Wrap{Service: change} }
}

func store(wrap func(reference.Store) reference.Store) func() simfarm.Wrap {
	return service(func(o *reference.Options) { o.Store = wrap(o.Store) })
}

func member(change func(*web.ServerConfig)) func() simfarm.Wrap {
	return func() simfarm.Wrap { return simfarm.Wrap{Member: change} }
}

type noRotation struct{ web.Service }

func (s noRotation) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return s.Verify(ctx, r)
}

// addedNotReplaced makes a row for the successor and leaves the old one open.
type addedNotReplaced struct{ reference.Store }

func (s addedNotReplaced) Replace(ctx context.Context, old, next reference.Token) error {
	row, err := s.Find(ctx, old.ID)
	if err != nil {
		return err
	}
	row.Ref, row.Current, row.Previous, row.HTTP = next.ID, next, reference.Token{}, nil
	return s.Create(ctx, row)
}

// lastWriterWins checks the token in one step and overwrites it in another,
// with a database that is a millisecond away.
type lastWriterWins struct{ reference.Store }

func (s lastWriterWins) Find(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
	row, err := s.Store.Find(ctx, id)
	time.Sleep(time.Millisecond)
	return row, err
}

func (s lastWriterWins) Replace(ctx context.Context, old, next reference.Token) error {
	for {
		row, err := s.Store.Find(ctx, old.ID)
		if err != nil {
			return err
		}
		if err := s.Store.Replace(ctx, row.Current, next); !errors.Is(err, reference.ErrSpent) {
			return err
		}
	}
}

// oneID shows every token of a session under its first session ID.
type oneID struct {
	web.Service
	mu      sync.Mutex
	current map[reference.ID]reference.Token // shown ID to the real token
}

func (s *oneID) Login(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
	g, err := s.Service.Login(ctx, r)
	if err == nil {
		s.mu.Lock()
		s.current[g.Token.ID] = g.Token
		s.mu.Unlock()
	}
	return g, err
}

func (s *oneID) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := r.Token.ID
	real, ok := s.current[shown]
	if !ok || real.Timestamp != r.Token.Timestamp {
		return reference.Grant{}, reference.ErrSpent
	}
	r.Token = real
	g, err := s.Service.Renew(ctx, r)
	if err != nil {
		return g, err
	}
	s.current[shown] = g.Token
	g.Token.ID = shown
	return g, nil
}

type oldTimestamp struct{ reference.Store }

func (s oldTimestamp) Replace(ctx context.Context, old, next reference.Token) error {
	next.Timestamp = old.Timestamp
	return s.Store.Replace(ctx, old, next)
}

type oldTimestampGrant struct{ web.Service }

func (s oldTimestampGrant) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Service.Renew(ctx, r)
	g.Token.Timestamp = r.Token.Timestamp
	return g, err
}

// forks lets every presenter of a token have a successor of his own.
type forks struct{ reference.Store }

func (s forks) Find(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
	row, err := s.Store.Find(ctx, id)
	if err == nil && row.Open() && row.Previous.ID == id {
		row.Current, row.Previous = row.Previous, reference.Token{}
	}
	return row, err
}

func (s forks) Replace(ctx context.Context, old, next reference.Token) error {
	err := s.Store.Replace(ctx, old, next)
	if !errors.Is(err, reference.ErrSpent) {
		return err
	}
	row, err := s.Store.Find(ctx, old.ID)
	if err != nil {
		return err
	}
	row.Ref, row.Current, row.Previous, row.HTTP = next.ID, next, reference.Token{}, nil
	return s.Create(ctx, row)
}

// spentInMemory keeps what is spent in the service's memory, and takes a
// token that the database knows as spent for a good one otherwise.
type spentInMemory struct {
	web.Service
	db    reference.Store
	mu    sync.Mutex
	spent map[reference.ID]bool
}

func (s *spentInMemory) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	s.mu.Lock()
	known := s.spent[r.Token.ID]
	s.spent[r.Token.ID] = true
	s.mu.Unlock()
	g, err := s.Service.Renew(ctx, r)
	if known || !errors.Is(err, reference.ErrSpent) {
		return g, err
	}
	row, found := s.db.Find(ctx, r.Token.ID)
	if found != nil || !row.Open() {
		return g, err
	}
	r.Token = row.Current
	return s.Service.Renew(ctx, r)
}

// consumesOnFailure marks the token used before it knows that the
// replacement was committed.
type consumesOnFailure struct{ reference.Store }

func (s consumesOnFailure) Replace(ctx context.Context, old, next reference.Token) error {
	err := s.Store.Replace(ctx, old, next)
	if err != nil && !refusal(err) {
		_ = s.Store.Replace(context.Background(), old, reference.Token{ID: next.ID, Timestamp: next.Timestamp})
	}
	return err
}

type neverFails struct{ reference.Store }

func (s neverFails) Replace(ctx context.Context, old, next reference.Token) error {
	if err := s.Store.Replace(ctx, old, next); refusal(err) {
		return err
	}
	return nil
}

// refusal tells an answer of the store from its failure.
func refusal(err error) bool {
	for _, known := range []error{reference.ErrSpent, reference.ErrClosed, reference.ErrMismatch, reference.ErrUnknown} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// counter is a random source that counts.
type counter struct {
	mu sync.Mutex
	n  uint64
}

func (c *counter) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	clear(p)
	if len(p) >= 8 {
		binary.BigEndian.PutUint64(p[len(p)-8:], c.n)
	}
	return len(p), nil
}

type wholeSeconds struct{ reference.Store }

func (s wholeSeconds) Replace(ctx context.Context, old, next reference.Token) error {
	next.Timestamp -= next.Timestamp % 1000
	return s.Store.Replace(ctx, old, next)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// fixedNonce is a codec over one known key whose nonces are all the same.
func fixedNonce() web.Sealer {
	return reference.NewCodec(reference.NewKeyRing(reference.Key{ID: 1, Secret: [32]byte{1}}), zeros{})
}

func ownKey() web.Sealer {
	return reference.NewCodec(reference.NewKeyRing(reference.Key{ID: 1, Secret: [32]byte{3}}), rand.Reader)
}

// oneKey opens nothing that is sealed under another key than the first it saw.
type oneKey struct {
	web.Sealer
	mu    sync.Mutex
	keyID byte
	known bool
}

func (s *oneKey) Open(sealed string) (reference.Token, error) {
	t, err := s.Sealer.Open(sealed)
	if err != nil {
		return t, err
	}
	frame, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return reference.Token{}, reference.ErrSealed
	}
	id := frame[1]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known {
		s.keyID, s.known = id, true
	}
	if id != s.keyID {
		return reference.Token{}, reference.ErrSealed
	}
	return t, nil
}

// sealsOnRedirect repeats the browser's token as a Set-Cookie on every
// redirect to another server.
func sealsOnRedirect(process string, h http.Handler) http.Handler {
	if process == farmspec.ServiceProcess {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&edited{ResponseWriter: w, edit: func(status int, header http.Header) {
			if status == http.StatusSeeOther && header.Get("Set-Cookie") == "" && strings.Contains(header.Get("Location"), "://") {
				for _, c := range r.Cookies() {
					if strings.HasSuffix(c.Name, "farm") {
						header.Add("Set-Cookie", fmt.Sprintf("%s=%s; Path=/; Secure; HttpOnly", c.Name, c.Value))
					}
				}
			}
		}}, r)
	})
}

// edited lets a fault change the header just before it is sent.
type edited struct {
	http.ResponseWriter
	edit func(status int, h http.Header)
	sent bool
}

func (e *edited) WriteHeader(status int) {
	if !e.sent {
		e.sent = true
		e.edit(status, e.Header())
	}
	e.ResponseWriter.WriteHeader(status)
}

func (e *edited) Write(p []byte) (int, error) {
	if !e.sent {
		e.WriteHeader(http.StatusOK)
	}
	return e.ResponseWriter.Write(p)
}

func (e *edited) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// encryptsEarly has the server that redirects encrypt a token on the way.
func encryptsEarly() simfarm.Wrap {
	var mu sync.Mutex
	members := map[string]web.ServerConfig{}
	return simfarm.Wrap{
		Member: func(c *web.ServerConfig) {
			mu.Lock()
			defer mu.Unlock()
			members[c.Name] = *c
		},
		Handler: func(process string, h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(&edited{ResponseWriter: w, edit: func(status int, _ http.Header) {
					mu.Lock()
					c, ok := members[process]
					mu.Unlock()
					parent := strings.Split(r.Header.Get("Traceparent"), "-")
					if !ok || status != http.StatusSeeOther || len(parent) < 2 {
						return
					}
					_, err := c.Sealer.Seal(reference.Token{Timestamp: 1})
					c.Observer.Event(reference.WithTrace(r.Context(), parent[1]), reference.Event{
						Part: process, Peer: process, Op: farmspec.OpEncrypt, Err: err,
					})
				}}, r)
			})
		},
	}
}

// sealedOnce seals each token once and repeats the result.
type sealedOnce struct {
	web.Sealer
	sealed *sync.Map
}

func (s sealedOnce) Seal(t reference.Token) (string, error) {
	if sealed, ok := s.sealed.Load(t); ok {
		return sealed.(string), nil
	}
	sealed, err := s.Sealer.Seal(t)
	s.sealed.Store(t, sealed)
	return sealed, err
}

type forgetful struct {
	web.Service
	mu    sync.Mutex
	pages map[string]int // by user
}

func (s *forgetful) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Service.Renew(ctx, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pages[g.User]++; err == nil && s.pages[g.User] > 50 {
		return reference.Grant{}, reference.ErrUnknown
	}
	return g, err
}

// pageAfterToken answers a page with its cookies and a redirect, and sends
// the page when the browser follows.
func pageAfterToken(process string, h http.Handler) http.Handler {
	if process == farmspec.ServiceProcess {
		return h
	}
	var pages sync.Map
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key := r.URL.Query().Get("then"); key != "" {
			if page, ok := pages.LoadAndDelete(key); ok {
				_, _ = w.Write(page.([]byte))
				return
			}
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		if r.Method == http.MethodGet && rec.Code == http.StatusOK && strings.Contains(rec.Body.String(), "farm-page:") {
			key := fmt.Sprint(time.Now().UnixNano())
			pages.Store(key, rec.Body.Bytes())
			w.Header().Set("Location", r.URL.Path+"?then="+key)
			w.Header().Del("Content-Length")
			w.WriteHeader(http.StatusSeeOther)
			return
		}
		w.WriteHeader(rec.Code)
		_, _ = io.Copy(w, rec.Body)
	})
}

// cookieForFolder limits each new token to the folder of its page.
func cookieForFolder(process string, h http.Handler) http.Handler {
	if process == farmspec.ServiceProcess {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		folder := r.URL.Path[:strings.LastIndex(r.URL.Path, "/")+1]
		h.ServeHTTP(&edited{ResponseWriter: w, edit: func(_ int, header http.Header) {
			for i, line := range header["Set-Cookie"] {
				if strings.Contains(line, "farm=") && folder != "/" {
					header["Set-Cookie"][i] = strings.Replace(line, "Path=/", "Path="+folder, 1)
				}
			}
		}}, r)
	})
}

// clockOf makes the service read the clock of one of the servers.
func clockOf(server string) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		var mu sync.Mutex
		var now func() time.Time
		return simfarm.Wrap{
			Member: func(c *web.ServerConfig) {
				if c.Name == server {
					mu.Lock()
					now = c.Now
					mu.Unlock()
				}
			},
			Service: func(o *reference.Options) {
				own := o.Now
				o.Now = func() time.Time {
					mu.Lock()
					defer mu.Unlock()
					if now == nil {
						return own()
					}
					return now()
				}
			},
		}
	}
}

// everyServerItsOwnService gives each server the service's code and the
// database's address instead of the service.
func everyServerItsOwnService() simfarm.Wrap {
	var o reference.Options
	return simfarm.Wrap{
		Service: func(theirs *reference.Options) { o = *theirs },
		Member: func(c *web.ServerConfig) {
			mine := o
			mine.Observer = renamed{o.Observer, c.Name}
			if s, err := reference.NewService(mine); err == nil {
				c.Sessions = s
			}
		},
	}
}

// renamed signs the service's acts with the name of the server that does them.
type renamed struct {
	reference.Observer
	name string
}

func (r renamed) Event(ctx context.Context, e reference.Event) {
	if e.Part == farmspec.ServiceProcess {
		e.Part = r.name
	}
	if e.Peer == farmspec.ServiceProcess {
		e.Peer = r.name
	}
	r.Observer.Event(ctx, e)
}

// spentAccepted takes some spent tokens for current ones.
func spentAccepted(which func(reference.SecuritySession, reference.Token) bool) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		var db reference.Store
		return simfarm.Wrap{
			Service: func(o *reference.Options) { db = o.Store },
			API:     func(s web.Service) web.Service { return &accepting{s, db, which} },
		}
	}
}

type accepting struct {
	web.Service
	db    reference.Store
	which func(reference.SecuritySession, reference.Token) bool
}

func (s *accepting) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Service.Renew(ctx, r)
	if !errors.Is(err, reference.ErrSpent) {
		return g, err
	}
	row, found := s.db.Find(ctx, r.Token.ID)
	if found != nil || !row.Open() || !s.which(row, r.Token) {
		return g, err
	}
	r.Token = row.Current
	return s.Service.Renew(ctx, r)
}

type verifyRenews struct{ web.Service }

func (s verifyRenews) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	return s.Renew(ctx, r)
}
