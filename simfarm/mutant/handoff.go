package mutant

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

var (
	directly = simfarm.Options{Handoff: farmspec.Direct}
	split    = simfarm.Options{Topology: farmspec.SplitDomain}
)

func init() {
	register(
		Fault{
			ID: "F05", Name: "a token that does not open is read as if it were plain", Violates: []string{"WF-1.3", "ASVS-7.2.1"},
			Convicts: []string{"handoff.fails-closed"}, Level: farmspec.Black, Precedent: "rack-session CVE-2026-39324",
			Plant: member(func(c *web.ServerConfig) { c.Sealer = plainToo{c.Sealer} }),
		},
		Fault{
			ID: "F62", Name: "tokens are encrypted in counter mode and not authenticated", Violates: []string{"ASVS-11.3.3", "ASVS-11.3.2", "WSTG-SESS-01", "WF-1.3"},
			Convicts: []string{"handoff.every-change", "handoff.fails-closed", "handoff.foreign-key", "tokens.cipher"}, Level: farmspec.Black, Precedent: "MS10-070",
			Plant: func() simfarm.Wrap {
				key := make([]byte, 32)
				_, _ = rand.Read(key)
				block, _ := aes.NewCipher(key) // 32 bytes are a key
				return simfarm.Wrap{Member: func(c *web.ServerConfig) { c.Sealer = counterMode{c.Sealer, block} }}
			},
		},
		Fault{
			ID: "M101", Name: "the first server fetches the page itself", Violates: []string{"WF-1.4", "CP-0"},
			Convicts: []string{"handoff.hop", "handoff.product-answers"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) { d.fetches(w, r) }),
		},
		Fault{
			ID: "M102", Name: "a server knows its own pages alone", Violates: []string{"WF-1.1"},
			Convicts: []string{"handoff.hop"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) { c.Farm.Directory = ownPages{c.Farm.Directory, c.Name} }),
		},
		Fault{
			ID: "M103", Name: "the redirect is a permanent one", Violates: []string{"WF-1.4"},
			Convicts: []string{"handoff.temporary"}, Level: farmspec.Black,
			Plant: redirected(func(_ *doorway, _ *http.Request, to *url.URL, status int) int { return http.StatusPermanentRedirect }),
		},
		Fault{
			ID: "M104", Name: "the first server passes the encrypted token on unopened", Violates: []string{"WF-1.3", "SY-13.3", "CP-0"},
			Convicts: []string{"handoff.first-server-acts", "handoff.product-acts", "handoff.fails-closed"}, Level: farmspec.Black,
			Plant: passesOn,
		},
		Fault{
			ID: "M105", Name: "timestamps are stored and compared in whole seconds", Violates: []string{"WF-1.2", "WF-6.2"},
			Convicts: []string{"handoff.carrier-opens"}, Level: farmspec.White,
			Plant: func() simfarm.Wrap {
				return simfarm.Wrap{
					Service: func(o *reference.Options) { o.Store = secondsStored{o.Store} },
					API:     func(s web.Service) web.Service { return secondsCompared{s} },
				}
			},
		},
		Fault{
			ID: "M106", Name: "the redirect has no token: the shared cookie will do", Violates: []string{"WF-1.5", "WF-9.1", "SY-21.1"},
			Convicts: []string{"handoff.in-the-address", "handoff.first-server-builds-it"}, Level: farmspec.Black,
			Plant: redirected(func(d *doorway, _ *http.Request, to *url.URL, status int) int {
				to.RawQuery = d.own(to.RawQuery)
				return status
			}),
		},
		Fault{
			ID: "M107", Name: "the redirect forgets the request's query", Violates: []string{"WF-9.2", "WF-1.4"},
			Convicts: []string{"handoff.query-intact", "handoff.long-query"}, Level: farmspec.Black,
			Plant: redirected(func(d *doorway, _ *http.Request, to *url.URL, status int) int {
				to.RawQuery = d.handoff(to.RawQuery)
				return status
			}),
		},
		Fault{
			ID: "M108", Name: "the redirect decodes the request's query", Violates: []string{"WF-9.2"},
			Convicts: []string{"handoff.query-intact"}, Level: farmspec.Black,
			Plant: redirected(func(_ *doorway, _ *http.Request, to *url.URL, status int) int {
				if decoded, err := url.PathUnescape(to.RawQuery); err == nil {
					to.RawQuery = strings.ReplaceAll(decoded, " ", "+")
				}
				return status
			}),
		},
		Fault{
			ID: "M109", Name: "the redirect has the token twice", Violates: []string{"WF-9.2"},
			Convicts: []string{"handoff.query-intact"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				r.URL.RawQuery = d.once(r.URL.RawQuery)
				d.next.ServeHTTP(d.redirecting(w, r, func(to *url.URL, status int) int {
					to.RawQuery += "&" + d.handoff(to.RawQuery)
					return status
				}), r)
			}),
		},
		Fault{
			ID: "M110", Name: "a hand-off in the request is passed on before the server's own", Violates: []string{"WF-9.2"},
			Convicts: []string{"handoff.own-parameter"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				brought := d.handoff(r.URL.RawQuery)
				r.URL.RawQuery = d.once(r.URL.RawQuery)
				d.next.ServeHTTP(d.redirecting(w, r, func(to *url.URL, status int) int {
					if brought != "" {
						to.RawQuery = brought + "&" + to.RawQuery
					}
					return status
				}), r)
			}),
		},
		Fault{
			ID: "M111", Name: "the direct hand-off puts session ID and timestamp in the address as well", Violates: []string{"WF-G.1"},
			Convicts: []string{"handoff.direct-absent-from-addresses", "handoff.direct-absent-inside"}, Level: farmspec.Black, Profile: directly,
			Plant: redirected(func(d *doorway, r *http.Request, to *url.URL, status int) int {
				if t, err := d.Sealer.Open(d.token(r)); err == nil {
					to.RawQuery += "&sid=" + t.ID.String() + "&ts=" + strconv.FormatInt(t.Timestamp, 10)
				}
				return status
			}),
		},
		Fault{
			ID: "M112", Name: "the first server renews the token before it hands it over", Violates: []string{"WF-2.4", "WF-1.3"},
			Convicts: []string{"handoff.abandoned", "handoff.abandoned-inside"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				if _, elsewhere := d.elsewhere(r); elsewhere {
					if t, err := d.Sealer.Open(d.token(r)); err == nil {
						if g, err := d.Sessions.Renew(r.Context(), reference.Presented{Token: t}); err == nil {
							if sealed, err := d.Sealer.Seal(g.Token); err == nil {
								d.setToken(r, sealed)
							}
						}
					}
				}
				d.next.ServeHTTP(w, r)
			}),
		},
		Fault{
			ID: "M113", Name: "a server whose own cookie is stale asks to sign in, wherever the session went", Violates: []string{"WF-2.4"},
			Convicts: []string{"handoff.return-by-typing"}, Level: farmspec.Black, Profile: split,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				dropCookie(r, "__Host-farm-at")
				d.next.ServeHTTP(w, r)
			}),
		},
		Fault{
			ID: "M114", Name: "a post is redirected as a get, without its body", Violates: []string{"RFC-9110.15.4"},
			Convicts: []string{"handoff.post"}, Level: farmspec.Black,
			Plant: redirected(func(_ *doorway, _ *http.Request, _ *url.URL, _ int) int { return http.StatusSeeOther }),
		},
		Fault{
			ID: "M115", Name: "the token is signed and not encrypted", Violates: []string{"WF-1.2"},
			Convicts: []string{"handoff.carrier-unreadable", "handoff.carrier-without-structure"}, Level: farmspec.Black,
			Plant: func() simfarm.Wrap {
				key := []byte(rand.Text())
				return simfarm.Wrap{Member: func(c *web.ServerConfig) { c.Sealer = signed{c.Sealer, key} }}
			},
		},
		Fault{
			ID: "M116", Name: "of two token cookies the first counts", Violates: []string{"WF-1.3"},
			Convicts: []string{"handoff.fails-closed"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				if sealed := d.token(r); sealed != "" {
					d.setToken(r, sealed)
				}
				d.next.ServeHTTP(w, r)
			}),
		},
		Fault{
			ID: "M117", Name: "what is handed over has the instant of the redirect as its timestamp", Violates: []string{"WF-1.3"},
			Convicts: []string{"handoff.opened-and-handed-over"}, Level: farmspec.White, Profile: claimed,
			Plant: redirected(func(d *doorway, _ *http.Request, to *url.URL, status int) int {
				q := to.Query()
				q.Set(d.Farm.Handoff.Params().Timestamp, strconv.FormatInt(d.Now().UnixMilli()+1, 10))
				to.RawQuery = q.Encode()
				return status
			}),
		},
		Fault{
			ID: "M118", Name: "the way to the log-in page says why the session is over", Violates: []string{"WF-1.3", "ASVS-11.2.5"},
			Convicts: []string{"handoff.refusals-alike-timed-out", "handoff.refusals-alike"}, Level: farmspec.Black,
			Precedent: "the session_expired=1 of many log-in pages",
			Plant:     saysWhy,
		},
		Fault{
			ID: "M119", Name: "a token that does not open is answered as a bad request", Violates: []string{"WF-1.3", "ASVS-11.2.5"},
			Convicts: []string{"handoff.refusals-alike", "handoff.refusals-alike-unknown"}, Level: farmspec.Black, Precedent: "MS10-070",
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				if sealed := d.token(r); sealed != "" {
					if _, err := d.Sealer.Open(sealed); err != nil {
						http.Error(w, "Invalid token.", http.StatusBadRequest)
						return
					}
				}
				d.next.ServeHTTP(w, r)
			}),
		},
		Fault{
			ID: "M120", Name: "a farm that declares the direct hand-off sends the token by the address", Violates: []string{"WF-1.5", "WF-G.1"},
			Convicts: []string{"handoff.direct-message"}, Level: farmspec.Grey, Profile: directly,
			Plant: member(func(c *web.ServerConfig) { c.Farm.Handoff = web.Sealed }),
		},
		Fault{
			ID: "M121", Name: "a browser without a reference gets the token that came last", Violates: []string{"WF-G.2"},
			Convicts: []string{"handoff.direct-racer"}, Level: farmspec.Black,
			Profile: simfarm.Options{Handoff: farmspec.Direct, Topology: farmspec.SplitDomain},
			Plant:   lastCome,
		},
		Fault{
			ID: "M122", Name: "a reference is good in any browser", Violates: []string{"WF-G.2"},
			Convicts: []string{"handoff.direct-stolen"}, Level: farmspec.Black, Profile: directly,
			Plant: anyBrowser,
		},
		Fault{
			ID: "M123", Name: "references are counted, not drawn", Violates: []string{"WF-G.2", "CAS-UNGUESSABLE"},
			Convicts: []string{"handoff.direct-references"}, Level: farmspec.Black, Profile: directly,
			Plant: member(func(c *web.ServerConfig) { c.Rand = &counter{} }),
		},
	)
}

// doorway is the front of one member, where a fault may stand before the
// pages or behind them.
type doorway struct {
	web.ServerConfig
	next http.Handler
}

// door plants a fault in the doorway of every member.
func door(answer func(d *doorway, w http.ResponseWriter, r *http.Request)) func() simfarm.Wrap {
	return func() simfarm.Wrap { return inDoorways(answer) }
}

func inDoorways(answer func(d *doorway, w http.ResponseWriter, r *http.Request)) simfarm.Wrap {
	var members sync.Map
	return simfarm.Wrap{
		Member: func(c *web.ServerConfig) { members.Store(c.Name, *c) },
		Handler: func(process string, h http.Handler) http.Handler {
			c, ok := members.Load(process)
			if !ok {
				return h
			}
			d := &doorway{c.(web.ServerConfig), h}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(d, w, r) })
		},
	}
}

// redirected plants a change of the redirects to other members.
func redirected(change func(d *doorway, r *http.Request, to *url.URL, status int) int) func() simfarm.Wrap {
	return door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
		d.next.ServeHTTP(d.redirecting(w, r, func(to *url.URL, status int) int { return change(d, r, to, status) }), r)
	})
}

// redirecting is a ResponseWriter that has the redirects of another member's
// page changed.
func (d *doorway) redirecting(w http.ResponseWriter, r *http.Request, change func(to *url.URL, status int) int) http.ResponseWriter {
	return &changed{ResponseWriter: w, change: func(status int, h http.Header) int {
		to, err := url.Parse(h.Get("Location"))
		if _, elsewhere := d.elsewhere(r); !elsewhere || err != nil || h.Get("Location") == "" || strings.HasSuffix(to.Path, web.LoginPath) {
			return status
		}
		status = change(to, status)
		h.Set("Location", to.String())
		return status
	}}
}

// changed lets a fault change status and header just before they are sent.
type changed struct {
	http.ResponseWriter
	change func(status int, h http.Header) int
	sent   bool
}

func (c *changed) WriteHeader(status int) {
	if !c.sent {
		c.sent = true
		status = c.change(status, c.Header())
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *changed) Write(p []byte) (int, error) {
	if !c.sent {
		c.WriteHeader(http.StatusOK)
	}
	return c.ResponseWriter.Write(p)
}

// page is the protected page that a request asks for.
func (d *doorway) page(r *http.Request) (web.Page, bool) {
	self, _ := d.Farm.Directory.Member(d.Name)
	base, _ := url.Parse(self.URL)
	return d.Farm.Directory.Page(strings.TrimPrefix(r.URL.Path, base.Path))
}

// elsewhere is the page a request asks for, where another member holds it.
func (d *doorway) elsewhere(r *http.Request) (web.Page, bool) {
	p, ok := d.page(r)
	return p, ok && p.Member != d.Name
}

// token is the first token cookie of a request, or "".
func (d *doorway) token(r *http.Request) string {
	c, err := r.Cookie(d.Farm.CookieName())
	if err != nil {
		return ""
	}
	return c.Value
}

// setToken makes a value the request's only token cookie; "" leaves none.
func (d *doorway) setToken(r *http.Request, value string) {
	dropCookie(r, d.Farm.CookieName())
	if value != "" {
		r.AddCookie(&http.Cookie{Name: d.Farm.CookieName(), Value: value})
	}
}

func dropCookie(r *http.Request, name string) {
	kept := slices.DeleteFunc(r.Cookies(), func(c *http.Cookie) bool { return c.Name == name })
	r.Header.Del("Cookie")
	for _, c := range kept {
		r.AddCookie(c)
	}
}

// handoff is the part of a query that carries the hand-off; own is the rest;
// once leaves of each hand-off parameter only the first.
func (d *doorway) handoff(query string) string { return d.pick(query, true) }
func (d *doorway) own(query string) string     { return d.pick(query, false) }

func (d *doorway) pick(query string, handoff bool) string {
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		if d.carries(pair) == handoff {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}

func (d *doorway) carries(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	p := d.Farm.Handoff.Params()
	return name != "" && (name == p.ID || name == p.Timestamp || name == p.Sealed)
}

func (d *doorway) once(query string) string {
	seen := map[string]bool{}
	return strings.Join(slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		again := d.carries(pair) && seen[name]
		seen[name] = true
		return again
	}), "&")
}

// fetches answers for another member's page by asking that member.
func (d *doorway) fetches(w http.ResponseWriter, r *http.Request) {
	if _, elsewhere := d.elsewhere(r); !elsewhere {
		d.next.ServeHTTP(w, r)
		return
	}
	rec := &buffered{header: http.Header{}, status: http.StatusOK}
	d.next.ServeHTTP(rec, r)
	if to := rec.header.Get("Location"); to != "" && !strings.Contains(to, web.LoginPath+"?") {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, to, nil)
		if err == nil {
			out.Header = r.Header.Clone()
			resp, err := d.Peers.Transport.RoundTrip(out)
			if err == nil {
				defer func() { _ = resp.Body.Close() }()
				rec = &buffered{header: resp.Header, status: resp.StatusCode}
				_, _ = io.Copy(&rec.body, resp.Body)
			}
		}
	}
	rec.send(w)
}

// buffered is an answer kept back.
type buffered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffered) Header() http.Header         { return b.header }
func (b *buffered) WriteHeader(status int)      { b.status = status }
func (b *buffered) Write(p []byte) (int, error) { return b.body.Write(p) }

func (b *buffered) send(w http.ResponseWriter) {
	for k, v := range b.header {
		w.Header()[k] = v
	}
	w.WriteHeader(b.status)
	_, _ = w.Write(b.body.Bytes())
}

type ownPages struct {
	web.Directory
	member string
}

func (o ownPages) Page(path string) (web.Page, bool) {
	p, ok := o.Directory.Page(path)
	return p, ok && p.Member == o.member
}

// plainToo reads base64 of a token's JSON where the seal does not open.
type plainToo struct{ web.Sealer }

func (s plainToo) Open(sealed string) (reference.Token, error) {
	t, err := s.Sealer.Open(sealed)
	if err == nil {
		return t, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(sealed)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil || t.IsZero() {
		return reference.Token{}, reference.ErrSealed
	}
	return t, nil
}

// counterMode encrypts cookies with AES-CTR and nothing else.
type counterMode struct {
	web.Sealer
	block cipher.Block
}

const plainLen = 24

func (counterMode) Cipher() string { return "AES-256-CTR" }

func (s counterMode) Seal(t reference.Token) (string, error) {
	frame := make([]byte, aes.BlockSize, aes.BlockSize+plainLen)
	if _, err := rand.Read(frame); err != nil {
		return "", err
	}
	plain := binary.BigEndian.AppendUint64(append([]byte(nil), t.ID[:]...), uint64(t.Timestamp))
	cipher.NewCTR(s.block, frame).XORKeyStream(plain, plain)
	return base64.RawURLEncoding.EncodeToString(append(frame, plain...)), nil
}

func (s counterMode) Open(sealed string) (t reference.Token, err error) {
	frame, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(frame) < aes.BlockSize+plainLen {
		return t, reference.ErrSealed
	}
	plain := frame[aes.BlockSize : aes.BlockSize+plainLen]
	cipher.NewCTR(s.block, frame[:aes.BlockSize]).XORKeyStream(plain, plain)
	copy(t.ID[:], plain)
	t.Timestamp = int64(binary.BigEndian.Uint64(plain[len(t.ID):]))
	return t, nil
}

// signed makes tokens of JSON in base64 with a signature, as many session
// cookies are.
type signed struct {
	web.Sealer
	key []byte
}

func (s signed) sign(text string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s signed) Seal(t reference.Token) (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	encoded := base64.RawURLEncoding.EncodeToString(text)
	return encoded + "." + s.sign(encoded), nil
}

func (s signed) Open(sealed string) (t reference.Token, err error) {
	encoded, signature, _ := strings.Cut(sealed, ".")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil || !hmac.Equal([]byte(signature), []byte(s.sign(encoded))) {
		return reference.Token{}, reference.ErrSealed
	}
	return t, nil
}

// secondsStored and secondsCompared know no milliseconds; the tokens that the
// browsers get have them.
type secondsStored struct{ reference.Store }

func inSeconds(t reference.Token) reference.Token {
	t.Timestamp -= t.Timestamp % 1000
	return t
}

func (s secondsStored) Create(ctx context.Context, row reference.SecuritySession) error {
	row.Current = inSeconds(row.Current)
	return s.Store.Create(ctx, row)
}

func (s secondsStored) Replace(ctx context.Context, old, next reference.Token) error {
	return s.Store.Replace(ctx, inSeconds(old), inSeconds(next))
}

type secondsCompared struct{ web.Service }

func (s secondsCompared) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	r.Token = inSeconds(r.Token)
	return s.Service.Renew(ctx, r)
}

func (s secondsCompared) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	r.Token = inSeconds(r.Token)
	return s.Service.Verify(ctx, r)
}

// passesOn sends whatever the browser carries to the holder of the page, who
// opens it as a cookie.
func passesOn() simfarm.Wrap {
	w := inDoorways(func(d *doorway, w http.ResponseWriter, r *http.Request) {
		p, elsewhere := d.elsewhere(r)
		sealed := d.token(r)
		if !elsewhere || sealed == "" || r.Method != http.MethodGet {
			d.next.ServeHTTP(w, r)
			return
		}
		to, _ := d.Farm.Directory.Member(p.Member)
		q := r.URL.Query()
		q.Set(d.Farm.Handoff.Params().Sealed, sealed)
		http.Redirect(w, r, to.URL+p.Path+"?"+q.Encode(), http.StatusSeeOther)
	})
	keep := w.Member
	w.Member = func(c *web.ServerConfig) {
		c.Sealer = eitherPurpose{c.Sealer}
		keep(c)
	}
	return w
}

// eitherPurpose takes a cookie's token for a hand-off.
type eitherPurpose struct{ web.Sealer }

func (s eitherPurpose) OpenHandoff(audience, sealed string) (reference.Token, int64, error) {
	t, at, err := s.Sealer.OpenHandoff(audience, sealed)
	if err != nil {
		t, err = s.Open(sealed)
	}
	return t, at, err
}

// saysWhy adds the reason of a refusal to the log-in page's address.
func saysWhy() simfarm.Wrap {
	var why sync.Map // trace to error
	w := inDoorways(func(d *doorway, w http.ResponseWriter, r *http.Request) {
		d.next.ServeHTTP(&changed{ResponseWriter: w, change: func(status int, h http.Header) int {
			trace := strings.Split(r.Header.Get("Traceparent"), "-")
			if to := h.Get("Location"); len(trace) > 1 && strings.Contains(to, web.LoginPath+"?") {
				if err, ok := why.LoadAndDelete(trace[1]); ok {
					h.Set("Location", to+"&why="+url.QueryEscape(err.(error).Error()))
				}
			}
			return status
		}}, r)
	})
	keep := w.Member
	w.Member = func(c *web.ServerConfig) {
		c.Sessions = remembersWhy{c.Sessions, &why}
		keep(c)
	}
	return w
}

type remembersWhy struct {
	reference.Sessions
	why *sync.Map
}

func (s remembersWhy) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := s.Sessions.Renew(ctx, r)
	if err != nil {
		s.why.Store(reference.TraceFrom(ctx), err)
	}
	return g, err
}

// lastCome gives a browser that brings no reference the newest that waits.
func lastCome() simfarm.Wrap {
	var mu sync.Mutex
	waiting := map[string][]string{} // by holder, as parts of a query
	return inDoorways(func(d *doorway, w http.ResponseWriter, r *http.Request) {
		if p, ok := d.page(r); ok && p.Member == d.Name {
			mu.Lock()
			mine, brought := waiting[d.Name], d.handoff(r.URL.RawQuery)
			if i := slices.Index(mine, brought); i >= 0 {
				waiting[d.Name] = slices.Delete(mine, i, i+1)
			} else if n := len(mine); n > 0 && d.token(r) == "" {
				r.URL.RawQuery = strings.Trim(d.own(r.URL.RawQuery)+"&"+mine[n-1], "&")
				waiting[d.Name] = mine[:n-1]
			}
			mu.Unlock()
		}
		d.next.ServeHTTP(d.redirecting(w, r, func(to *url.URL, status int) int {
			if p, ok := d.elsewhere(r); ok && d.handoff(to.RawQuery) != "" {
				mu.Lock()
				waiting[p.Member] = append(waiting[p.Member], d.handoff(to.RawQuery))
				mu.Unlock()
			}
			return status
		}), r)
	})
}

// anyBrowser lets the reference stand for the browser's own token.
func anyBrowser() simfarm.Wrap {
	var tokens sync.Map // reference to the cookie it was made for
	return inDoorways(func(d *doorway, w http.ResponseWriter, r *http.Request) {
		if sealed, ok := tokens.Load(d.handoff(r.URL.RawQuery)); ok && d.token(r) == "" {
			d.setToken(r, sealed.(string))
		}
		sealed := d.token(r)
		d.next.ServeHTTP(d.redirecting(w, r, func(to *url.URL, status int) int {
			if h := d.handoff(to.RawQuery); h != "" {
				tokens.Store(h, sealed)
			}
			return status
		}), r)
	})
}
