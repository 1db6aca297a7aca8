package mutant

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

var (
	overTLS = simfarm.Options{TLS: true}
	// plainName is a farm whose cookie has no prefix, so that browsers keep it
	// whatever its attributes are.
	plainName = simfarm.Options{TLS: true, Cookie: "farm"}
)

func init() {
	register(
		Fault{
			ID: "M501", Name: "behind a proxy that speaks TLS, the servers take their connections for plain and leave Secure out",
			Violates: []string{"ASVS-3.3.1", "NIST-5.1.1.secure", "WSTG-SESS-02", "WSTG-SESS-09"},
			Convicts: []string{"cookies.secure", "cookies.attributes"}, Level: farmspec.Black, Profile: plainName,
			Plant: tokenCookie("; Secure", ""),
		},
		Fault{
			ID: "M502", Name: "the session cookie's name has no prefix", Violates: []string{"ASVS-3.3.1"},
			Convicts: []string{"cookies.secure-by-name"}, Level: farmspec.Black, Profile: plainName,
			Plant: tokenCookie("", ""),
		},
		Fault{
			ID: "M503", Name: "a cookie of one host alone is named as one of a domain", Violates: []string{"ASVS-3.3.3", "NIST-5.1.1.prefix"},
			Convicts: []string{"cookies.host-by-name"}, Level: farmspec.Black,
			Profile: simfarm.Options{TLS: true, Topology: farmspec.SingleHost, Cookie: "__Secure-farm"},
			Plant:   tokenCookie("", ""),
		},
		Fault{
			ID: "M504", Name: "scripts may read the session cookie", Violates: []string{"ASVS-3.3.4", "NIST-5.1.1.httponly", "WSTG-SESS-02"},
			Convicts: []string{"cookies.http-only", "cookies.attributes"}, Level: farmspec.Black, Profile: overTLS, Precedent: "SAP AS Java before HttpOnly was the default",
			Plant: tokenCookie("; HttpOnly", ""),
		},
		Fault{
			ID: "M505", Name: "the session cookie says nothing of other sites", Violates: []string{"ASVS-3.3.2", "NIST-5.1.1.samesite", "WSTG-SESS-02"},
			Convicts: []string{"cookies.same-site-set", "cookies.same-site", "cookies.attributes"}, Level: farmspec.Black, Profile: overTLS,
			Plant: tokenCookie("; SameSite=Lax", ""),
		},
		Fault{
			ID: "M506", Name: "the session cookie goes along with every request of other sites", Violates: []string{"NIST-5.1.1.samesite"},
			Convicts: []string{"cookies.same-site"}, Level: farmspec.Black,
			Plant: tokenCookie("; SameSite=Lax", "; SameSite=None"),
		},
		Fault{
			ID: "F61", Name: "the session cookie is for every host below the server's", Violates: []string{"NIST-5.1.1.scope"},
			Convicts: []string{"cookies.scope"}, Level: farmspec.Black,
			Profile: simfarm.Options{Topology: farmspec.SplitDomain, Cookie: "__Secure-farm"},
			Plant: headers(func(r *http.Request, _ int, h http.Header) {
				host, _, _ := net.SplitHostPort(r.Host)
				for i, line := range h["Set-Cookie"] {
					if strings.HasPrefix(line, "__Secure-farm=") {
						h["Set-Cookie"][i] = line + "; Domain=" + host
					}
				}
			}),
		},
		Fault{
			ID: "M507", Name: "a cookie with the prefix __Host- is set for the domain", Violates: []string{"RFC-6265bis.prefix"},
			Convicts: []string{"cookies.kept"}, Level: farmspec.Black,
			Plant: headers(func(_ *http.Request, _ int, h http.Header) {
				h.Add("Set-Cookie", "__Host-theme=light; Domain=farm.localhost; Path=/; Secure")
			}),
		},
		Fault{
			ID: "M508", Name: "a cookie grows with what the user has looked at", Violates: []string{"ASVS-3.3.5"},
			Convicts: []string{"cookies.size"}, Level: farmspec.Black,
			Plant: headers(func(_ *http.Request, _ int, h http.Header) {
				h.Add("Set-Cookie", "recent="+strings.Repeat("welcome.html,", 400)+"; Path=/; Secure; HttpOnly")
			}),
		},
		Fault{
			ID: "M509", Name: "pages have the session cookie's value for their scripts", Violates: []string{"ASVS-3.3.4"},
			Convicts: []string{"cookies.value-stays"}, Level: farmspec.Black,
			Plant: bodies(func(_ *http.Request, token string, body []byte) []byte {
				return bytes.Replace(body, []byte("</head>"), []byte(`<meta name="session" content="`+token+`"></head>`), 1)
			}),
		},
		Fault{
			ID: "M510", Name: "links carry the token for browsers without cookies", Violates: []string{"ASVS-14.2.1", "ASVS-3.3.4", "SERVLET-7.1.3"},
			Convicts: []string{"addresses.no-token", "cookies.value-stays"}, Level: farmspec.Black, Precedent: "URL rewriting of servlet containers",
			Plant: tokensInLinks,
		},
		Fault{
			ID: "M531", Name: "over TLS too, links carry the token for browsers without cookies", Violates: []string{"NIST-5.1.intermediaries", "WSTG-SESS-04"},
			Convicts: []string{"tls.intermediaries", "tls.exposure"}, Level: farmspec.Black, Profile: overTLS, Precedent: "URL rewriting of servlet containers",
			Plant: tokensInLinks,
		},
		Fault{
			ID: "M514", Name: "after log-in the address has a key that stands for the session", Violates: []string{"ASVS-14.2.1", "SERVLET-7.1.3"},
			Convicts: []string{"addresses.open-nothing"}, Level: farmspec.Black,
			Plant: keyInAddress,
		},
		Fault{
			ID: "M515", Name: "log-in leads to any address that begins with a slash", Violates: []string{"ASVS-3.7.2"},
			Convicts: []string{"redirects.stay"}, Level: farmspec.Black,
			Plant: pages(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					next := ""
					if r.Method == http.MethodPost && r.URL.Path == web.LoginPath {
						next = form(r).Get("next")
					}
					h.ServeHTTP(&edited{ResponseWriter: w, edit: func(status int, h http.Header) {
						if status == http.StatusSeeOther && strings.HasPrefix(next, "/") {
							h.Set("Location", next)
						}
					}}, r)
				})
			}),
		},
		Fault{
			ID: "M516", Name: "a path without its final slash is sent on to itself with one, as it stands", Violates: []string{"ASVS-3.7.2"},
			Convicts: []string{"redirects.stay"}, Level: farmspec.Black, Precedent: "Django CVE-2018-14574",
			Plant: pages(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasPrefix(r.URL.Path, "//") {
						w.Header().Set("Location", strings.TrimSuffix(r.URL.Path, "/")+"/")
						w.WriteHeader(http.StatusFound)
						return
					}
					h.ServeHTTP(w, r)
				})
			}),
		},
		Fault{
			ID: "F58", Name: "pages set no policy for referrers", Violates: []string{"ASVS-3.4.5"},
			Convicts: []string{"referrer.policy"}, Level: farmspec.Black,
			Plant: headers(func(_ *http.Request, _ int, h http.Header) { h.Del("Referrer-Policy") }),
		},
		Fault{
			ID: "M517", Name: "every site learns the whole address of the page that leads to it", Violates: []string{"ASVS-3.4.5", "RFC-9110.10.1.3", "WSTG-SESS-04"},
			Convicts: []string{"referrer.downgrade", "referrer.policy", "tls.exposure"}, Level: farmspec.Black, Profile: overTLS,
			Plant: headers(func(_ *http.Request, _ int, h http.Header) { h.Set("Referrer-Policy", "unsafe-url") }),
		},
		Fault{
			ID: "M513", Name: "the caching that is meant for pictures is on for every answer", Violates: []string{"ASVS-14.3.2", "ASVS-14.3.1", "RFC-9111.7.3"},
			Convicts: []string{"caching.pages", "caching.tokens", "logout.back-button"}, Level: farmspec.Black,
			Plant: headers(func(_ *http.Request, _ int, h http.Header) {
				h.Set("Cache-Control", "public, max-age=600")
				h.Del("Clear-Site-Data")
			}),
		},
		Fault{
			ID: "M518", Name: "pages that bring a token say nothing about caches", Violates: []string{"RFC-9111.7.3", "ASVS-14.3.2"},
			Convicts: []string{"caching.tokens"}, Level: farmspec.Black,
			Plant: headers(func(_ *http.Request, _ int, h http.Header) {
				if slices.ContainsFunc(h.Values("Set-Cookie"), isToken) {
					h.Del("Cache-Control")
				}
			}),
		},
		Fault{
			ID: "M511", Name: "a browser that lost its token alone meets an error", Violates: []string{"RFC-6265bis.eviction"},
			Convicts: []string{"cookies.lost"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				_, err := r.Cookie("__Host-farm-form")
				if _, page := d.page(r); page && err == nil && d.token(r) == "" {
					http.Error(w, "no session in context", http.StatusInternalServerError)
					return
				}
				d.next.ServeHTTP(w, r)
			}),
		},
		Fault{
			ID: "M512", Name: "log-out ends the session and leaves the browser its cookie", Violates: []string{"ASVS-14.3.1"},
			Convicts: []string{"logout.clears-cookies"}, Level: farmspec.Black,
			Plant: headers(func(r *http.Request, _ int, h http.Header) {
				if r.Method == http.MethodPost && r.URL.Path == web.LogoutPath {
					h.Del("Set-Cookie")
				}
			}),
		},
		Fault{
			ID: "M519", Name: "the servers' ports take plain HTTP as well", Violates: []string{"NIST-5.1.fallback", "NIST-5.1.intermediaries", "WSTG-SESS-04"},
			Convicts: []string{"tls.no-fallback", "tls.intermediaries", "tls.exposure"}, Level: farmspec.Black, Profile: overTLS,
			Plant: withoutTLS(func(process string) bool { return process != farmspec.ServiceProcess }),
		},
		Fault{
			ID: "M520", Name: "pages have a link to their own server by http", Violates: []string{"NIST-5.1.fallback"},
			Convicts: []string{"tls.nothing-plain"}, Level: farmspec.Black, Profile: overTLS,
			Plant: bodies(func(r *http.Request, _ string, body []byte) []byte {
				return bytes.Replace(body, []byte("</body>"), []byte(`<a href="http://`+r.Host+r.URL.Path+`?print">Print</a></body>`), 1)
			}),
		},
		Fault{
			ID: "M521", Name: "browsers are not told to come over TLS only", Violates: []string{"WSTG-SESS-09"},
			Convicts: []string{"tls.browsers-are-told"}, Level: farmspec.Black, Profile: overTLS,
			Plant: headers(func(_ *http.Request, _ int, h http.Header) { h.Del("Strict-Transport-Security") }),
		},
		Fault{
			ID: "M522", Name: "the session service takes calls without TLS as well", Violates: []string{"ASVS-12.3.3"},
			Convicts: []string{"tls.inside"}, Level: farmspec.Grey, Profile: overTLS,
			Plant: withoutTLS(func(process string) bool { return process == farmspec.ServiceProcess }),
		},
		Fault{
			ID: "M523", Name: "all servers call the service with one shared credential", Violates: []string{"ASVS-13.2.1"},
			Convicts: []string{"service.own-credentials"}, Level: farmspec.Grey,
			Plant: func() simfarm.Wrap {
				return simfarm.Wrap{Credentials: func(secrets map[string]string) {
					for name := range secrets {
						secrets[name] = secrets["server-1"]
					}
				}}
			},
		},
		Fault{
			ID: "M524", Name: "tokens are short numbers that stand for sessions", Violates: []string{"NIST-5.1.secret", "ASVS-7.2.3", "ASVS-11.5.1", "WSTG-SESS-01"},
			Convicts: []string{"tokens.length", "tokens.references"}, Level: farmspec.Black,
			Plant: references(4, 8),
		},
		Fault{
			ID: "M525", Name: "session IDs have 64 random bits and are filled up", Violates: []string{"ASVS-7.2.3", "ASVS-11.5.1", "NIST-5.1.secret", "WSTG-SESS-01", "CAS-UNGUESSABLE"},
			Convicts: []string{"tokens.generator"}, Level: farmspec.White,
			Plant: service(func(o *reference.Options) { o.Rand = halfRandom{o.Rand} }),
		},
		Fault{
			ID: "M527", Name: "a token is known by its first half", Violates: []string{"WSTG-SESS-01"},
			Convicts: []string{"tokens.spliced"}, Level: farmspec.Black,
			Plant: references(16, 16),
		},
		Fault{
			ID: "M528", Name: "a JWT without signature passes if it says so", Violates: []string{"WSTG-SESS-10"},
			Convicts: []string{"tokens.jwt"}, Level: farmspec.Black, Precedent: "CVE-2015-9235",
			Plant: JWT(func(alg string, _ bool) bool { return strings.EqualFold(alg, "none") }),
		},
		Fault{
			ID: "M529", Name: "a JWT is decoded and its signature not looked at", Violates: []string{"WSTG-SESS-10"},
			Convicts: []string{"tokens.jwt"}, Level: farmspec.Black,
			Plant: JWT(func(string, bool) bool { return true }),
		},
		Fault{
			ID: "F69", Name: "the access log has the cookies of each request", Violates: []string{"ASVS-16.2.5"},
			Convicts: []string{"tokens.logged"}, Level: farmspec.White, Precedent: "TYPO3 CVE-2021-21339",
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				if trace := strings.Split(r.Header.Get("Traceparent"), "-"); len(trace) == 4 {
					d.Observer.Event(reference.WithTrace(r.Context(), trace[1]), reference.Event{
						Part: d.Name, Op: "access", Detail: r.Method + " " + r.URL.Path + " " + r.Header.Get("Cookie"),
					})
				}
				d.next.ServeHTTP(w, r)
			}),
		},
		Fault{
			ID: "M530", Name: "a sealed hand-off is good for as long as the session", Violates: []string{"ASVS-9.2.1", "CAS-LIFETIME"},
			Convicts: []string{"handoff.too-late"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) { c.Sealer = ageless{c.Sealer, func() int64 { return c.Now().UnixMilli() }} }),
		},
		Fault{
			ID: "M532", Name: "what is in front of the servers turns a stranger's hand-off away, and they never hear of it", Violates: []string{"CAS-ONE-ATTEMPT"},
			Convicts: []string{"handoff.one-attempt"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				handed := r.URL.Query().Get(d.Farm.Handoff.Params().Sealed)
				brought, _, err := d.Sealer.OpenHandoff(d.Name, handed)
				own, none := d.Sealer.Open(d.token(r))
				if err == nil && none == nil && own.ID != brought.ID {
					http.Error(w, "This address was made for somebody else.", http.StatusForbidden)
					return
				}
				d.next.ServeHTTP(w, r)
			}),
		},
	)
}

// headers changes the header of each answer of a member before it is sent.
func headers(edit func(r *http.Request, status int, h http.Header)) func() simfarm.Wrap {
	return pages(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&edited{ResponseWriter: w, edit: func(status int, h http.Header) { edit(r, status, h) }}, r)
		})
	})
}

// isToken reports whether a Set-Cookie line gives the browser a token.
func isToken(line string) bool {
	for _, name := range []string{"farm=", "__Secure-farm=", "__Host-farm="} {
		if value, ok := strings.CutPrefix(line, name); ok {
			return !strings.HasPrefix(value, ";")
		}
	}
	return false
}

// tokenCookie puts one attribute of the session cookie in the place of another.
func tokenCookie(attribute, instead string) func() simfarm.Wrap {
	return headers(func(_ *http.Request, _ int, h http.Header) {
		for i, line := range h["Set-Cookie"] {
			if isToken(line) && attribute != "" {
				h["Set-Cookie"][i] = strings.Replace(line, attribute, instead, 1)
			}
		}
	})
}

// bodies changes the body of each answer that brings a token.
func bodies(edit func(r *http.Request, token string, body []byte) []byte) func() simfarm.Wrap {
	return pages(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b := &buffered{header: http.Header{}, status: http.StatusOK}
			h.ServeHTTP(b, r)
			for _, line := range b.header["Set-Cookie"] {
				if isToken(line) {
					pair, _, _ := strings.Cut(line, ";")
					_, token, _ := strings.Cut(pair, "=")
					changed := edit(r, token, b.body.Bytes())
					b.body = *bytes.NewBuffer(changed)
					b.header.Del("Content-Length")
				}
			}
			b.send(w)
		})
	})
}

// tokensInLinks writes the token that an answer brings into a link of its page.
var tokensInLinks = bodies(func(_ *http.Request, token string, body []byte) []byte {
	return bytes.Replace(body, []byte("</body>"), []byte(`<a href="/about;jsessionid=`+token+`">About</a></body>`), 1)
})

// keyInAddress sends the browser from its log-in to an address with a key, and
// takes the key for the newest token of that browser wherever none is sent.
func keyInAddress() simfarm.Wrap {
	const param = "key"
	var mu sync.Mutex
	newest := map[string]string{} // by key
	return inDoorways(func(d *doorway, w http.ResponseWriter, r *http.Request) {
		key, had := r.URL.Query().Get(param), d.token(r)
		mu.Lock()
		if had == "" && newest[key] != "" {
			had = newest[key]
			d.setToken(r, had)
		}
		mu.Unlock()
		if key != "" {
			r.URL.RawQuery = ""
		}
		d.next.ServeHTTP(&edited{ResponseWriter: w, edit: func(status int, h http.Header) {
			fresh := ""
			for _, line := range h["Set-Cookie"] {
				if isToken(line) {
					pair, _, _ := strings.Cut(line, ";")
					_, fresh, _ = strings.Cut(pair, "=")
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if r.Method == http.MethodPost && r.URL.Path == web.LoginPath && fresh != "" {
				key := rand.Text()
				newest[key] = fresh
				h.Set("Location", h.Get("Location")+"?"+param+"="+key)
			}
			for k, token := range newest {
				if had != "" && token == had && fresh != "" {
					newest[k] = fresh
				}
			}
		}}, r)
	})
}

// withoutTLS lets the chosen parts take connections with and without TLS.
func withoutTLS(which func(process string) bool) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		return simfarm.Wrap{Listen: func(process string, ln net.Listener, config *tls.Config) net.Listener {
			if config == nil || !which(process) {
				return nil
			}
			return either{ln, config}
		}}
	}
}

// either tells a connection with TLS by its first byte.
type either struct {
	net.Listener
	config *tls.Config
}

func (l either) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &eitherConn{Conn: c, config: l.config}, nil
}

type eitherConn struct {
	net.Conn
	config *tls.Config
	once   sync.Once
	in     net.Conn
}

// conn waits for the first byte, which a handshake record begins with 22.
func (c *eitherConn) conn() net.Conn {
	c.once.Do(func() {
		b := bufio.NewReader(c.Conn)
		first, err := b.Peek(1)
		c.in = peeked{c.Conn, b}
		if err == nil && first[0] == 22 {
			c.in = tls.Server(c.in, c.config)
		}
	})
	return c.in
}

func (c *eitherConn) Read(p []byte) (int, error)  { return c.conn().Read(p) }
func (c *eitherConn) Write(p []byte) (int, error) { return c.conn().Write(p) }

type peeked struct {
	net.Conn
	r io.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// references makes tokens that stand for what a table has: so many random
// bytes in hex, of which the first characters are looked up.
func references(size, known int) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		t := &table{tokens: map[string]reference.Token{}}
		return simfarm.Wrap{Member: func(c *web.ServerConfig) { c.Sealer = byReference{c.Sealer, t, size, known} }}
	}
}

type table struct {
	mu     sync.Mutex
	tokens map[string]reference.Token
}

type byReference struct {
	web.Sealer
	table       *table
	size, known int
}

func (s byReference) Seal(t reference.Token) (string, error) {
	raw := make([]byte, s.size)
	_, _ = rand.Read(raw) // crypto/rand does not fail
	ref := hex.EncodeToString(raw)
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	s.table.tokens[ref[:s.known]] = t
	return ref, nil
}

func (s byReference) Open(sealed string) (reference.Token, error) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	t, ok := s.table.tokens[sealed[:min(s.known, len(sealed))]]
	if !ok || len(sealed) != 2*s.size {
		return reference.Token{}, reference.ErrSealed
	}
	return t, nil
}

// halfRandom fills the second half of what is asked for with the same bytes.
type halfRandom struct{ io.Reader }

func (r halfRandom) Read(p []byte) (int, error) {
	n, err := io.ReadFull(r.Reader, p)
	for i := len(p) / 2; i < len(p); i++ {
		p[i] = byte(i)
	}
	return n, err
}

// JWT makes tokens signed JWTs (RFC 7519), and has them pass if the signature
// is right or passes says so, which is told the algorithm and whether there is
// a signature. A nil passes is a farm whose JWTs are sound.
func JWT(passes func(alg string, signed bool) bool) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // crypto/rand does not fail
		return simfarm.Wrap{Member: func(c *web.ServerConfig) { c.Sealer = jwtSealer{c.Sealer, key, passes} }}
	}
}

type jwtSealer struct {
	web.Sealer
	key    []byte
	passes func(alg string, signed bool) bool
}

type jwtClaims struct {
	ID  string `json:"jti"`
	At  int64  `json:"at"`
	Exp int64  `json:"exp"`
}

var inBase64 = base64.RawURLEncoding

func (s jwtSealer) sign(text string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(text))
	return inBase64.EncodeToString(mac.Sum(nil))
}

func (s jwtSealer) Seal(t reference.Token) (string, error) {
	claims, err := json.Marshal(jwtClaims{t.ID.String(), t.Timestamp, t.Timestamp/1000 + 12*60*60})
	if err != nil {
		return "", err
	}
	text := inBase64.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + inBase64.EncodeToString(claims)
	return text + "." + s.sign(text), nil
}

func (s jwtSealer) Open(sealed string) (t reference.Token, err error) {
	parts := strings.Split(sealed, ".")
	if len(parts) != 3 {
		return t, reference.ErrSealed
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var claims jwtClaims
	for i, into := range []any{&header, &claims} {
		raw, decoding := inBase64.DecodeString(parts[i])
		err = errors.Join(err, decoding, json.Unmarshal(raw, into))
	}
	if err != nil {
		return t, reference.ErrSealed
	}
	good := header.Alg == "HS256" && hmac.Equal([]byte(parts[2]), []byte(s.sign(parts[0]+"."+parts[1])))
	if !good && (s.passes == nil || !s.passes(header.Alg, parts[2] != "")) {
		return t, reference.ErrSealed
	}
	if t.ID, err = reference.ParseID(claims.ID); err != nil {
		return t, reference.ErrSealed
	}
	t.Timestamp = claims.At
	return t, nil
}

// ageless takes every hand-off for one that was made just now.
type ageless struct {
	web.Sealer
	now func() int64
}

func (s ageless) OpenHandoff(audience, sealed string) (reference.Token, int64, error) {
	t, _, err := s.Sealer.OpenHandoff(audience, sealed)
	return t, s.now(), err
}
