package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec/reference"
)

// Sealer seals and opens tokens; *reference.Codec is the real one.
type Sealer interface {
	Seal(t reference.Token) (string, error)
	Open(sealed string) (reference.Token, error)
	SealHandoff(audience string, t reference.Token, at int64) (string, error)
	OpenHandoff(audience, sealed string) (t reference.Token, at int64, err error)
}

var _ Sealer = (*reference.Codec)(nil)

// Peers is how a member speaks to the others in the direct mode.
type Peers struct {
	// Secret is the member's own credential.
	Secret string
	// Credentials are the secrets of all members, by name: who may hand off to this one.
	Credentials map[string]string
	// Transport reaches the others. Nil means one of its own.
	Transport http.RoundTripper
}

// Admin is the administrator's side of the service: *reference.Service, or an
// AdminClient.
type Admin interface {
	List(ctx context.Context, user string) ([]reference.SecuritySession, error)
	Terminate(ctx context.Context, sel reference.Selection) (int, error)
	DisableUser(ctx context.Context, user string) error
	EnableUser(ctx context.Context, user string) error
}

// ServerConfig makes a member. Name, Farm, Sessions and Sealer are required;
// Peers is, in the direct mode.
type ServerConfig struct {
	// Name is the member's, one of the directory's.
	Name     string
	Farm     Farm
	Sessions reference.Sessions
	Sealer   Sealer
	Peers    Peers
	// Federation is the farm's part in single log-out. Nil means that it has none.
	Federation Federation
	// Admin and AdminSecret open the page at AdminPath to user "admin" with
	// that password. There is none unless both are set.
	Admin       Admin
	AdminSecret string
	// Observer watches. Nil means Silent.
	Observer reference.Observer
	// Now is the member's clock, for show only: no decision hangs on it. Nil means time.Now.
	Now func() time.Time
	// Rand is what references and form tokens are drawn from. Nil means crypto/rand.Reader.
	Rand io.Reader
}

// Server is a member of the farm: an http.Handler for its own host. It is
// first server to a request for another member's page, and second server to
// one for its own. It holds no session and may be used concurrently.
type Server struct {
	ServerConfig
	self     Member
	host     string // what the Host header must say
	base     string // path of the base address, "" or "/1"
	cookie   string
	params   Params
	policy   []string // Content-Security-Policy
	watched  bool     // false for Silent: then nothing is spent on details
	overTLS  bool     // browsers come by https
	own      map[string]Page
	plain    map[string]plainRoute
	made     map[string]*atomic.Int64 // how often each dynamic page was made
	peers    credentials
	transfer transfers
	tried    transfers // sealed hand-offs that met somebody else's session, which is their one attempt
	client   caller
	applets  map[string][]byte
	stills   sync.Map // stillKey to *still
}

// plainRoute is a route that needs no session.
type plainRoute struct {
	methods string
	serve   func(*visit)
}

// The views of a member's own pages.
const (
	home   View = "home"
	whoami View = "whoami"
)

// NewServer checks the configuration and returns a member. It starts nothing.
func NewServer(c ServerConfig) (*Server, error) {
	s, err := newServer(c)
	if err != nil {
		return nil, fmt.Errorf("make member %q: %w", c.Name, err)
	}
	return s, nil
}

func newServer(c ServerConfig) (*Server, error) {
	if c.Farm.Directory == nil || c.Sessions == nil || c.Sealer == nil {
		return nil, errors.New("Farm.Directory, Sessions and Sealer are required")
	}
	if c.Farm.Topology == "" {
		c.Farm.Topology = SharedDomain
	}
	if c.Farm.Handoff == "" {
		c.Farm.Handoff = Sealed
	}
	if c.Farm.Rotation == "" {
		c.Farm.Rotation = reference.Strict
	}
	if c.Observer == nil {
		c.Observer = reference.Silent{}
	}
	_, silent := c.Observer.(reference.Silent)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	self, ok := c.Farm.Directory.Member(c.Name)
	if !ok {
		return nil, errors.New("the directory does not list it")
	}
	if err := c.Farm.check(); err != nil {
		return nil, err
	}
	u, err := url.Parse(self.URL)
	if err != nil {
		return nil, err
	}
	s := &Server{
		ServerConfig: c, self: self, host: canonicalHost(u.Scheme, u.Host), base: u.Path,
		cookie: c.Farm.CookieName(), params: c.Farm.Handoff.Params(),
		policy: []string{contentPolicy(c.Farm)}, overTLS: schemeOf(self) == "https",
		watched: !silent,
		made:    make(map[string]*atomic.Int64),
		own: map[string]Page{
			HomePath:   {Member: c.Name, Path: HomePath, Kind: HTML, View: home, Title: "Home"},
			WhoamiPath: {Member: c.Name, Path: WhoamiPath, Kind: HTML, View: whoami, Title: "Who am I?"},
		},
	}
	maps.Copy(s.own, accountPages(c.Name))
	if s.applets, err = makeApplets(c.Farm.Directory.Pages(), c.Name); err != nil {
		return nil, err
	}
	s.plain = map[string]plainRoute{
		AboutPath:  {"GET, HEAD", (*visit).about},
		LoginPath:  {"GET, HEAD, POST", (*visit).login},
		LogoutPath: {"GET, HEAD, POST", (*visit).logout},
	}
	if c.Admin != nil && c.AdminSecret != "" {
		s.plain[AdminPath] = plainRoute{"GET, HEAD, POST", (*visit).admin}
	}
	if c.Federation != nil {
		maps.Copy(s.plain, federationRoutes)
	}
	if c.Farm.Handoff == Direct {
		if c.Peers.Secret == "" || c.Peers.Credentials[c.Name] != c.Peers.Secret {
			return nil, errors.New("the direct hand-off needs Peers: the member's secret and everybody's credentials")
		}
		s.peers = newCredentials(c.Peers.Credentials)
		s.client = newCaller("", c.Peers.Secret, c.Peers.Transport, 0)
		s.plain[handoffPath] = plainRoute{"POST", (*visit).receiveTransfer}
	}
	for _, p := range c.Farm.Directory.Pages() {
		if p.Member == c.Name && p.View == Dynamic {
			s.made[p.Path] = new(atomic.Int64)
		}
	}
	return s, nil
}

func (f Farm) check() error {
	switch f.Topology {
	case SingleHost, SharedDomain, SplitDomain:
	default:
		return fmt.Errorf("unknown topology %q", f.Topology)
	}
	switch f.Handoff {
	case Sealed, Claimed, Direct:
	default:
		return fmt.Errorf("unknown hand-off mode %q", f.Handoff)
	}
	switch f.Rotation {
	case reference.Strict, reference.Coalesce, reference.ReadVerify:
	default:
		return fmt.Errorf("unknown rotation policy %q", f.Rotation)
	}
	seen := make(map[string]string)
	for _, m := range f.Directory.Members() {
		u, err := url.Parse(m.URL)
		if err != nil {
			return err
		}
		host := u.Hostname()
		switch f.Topology {
		case SharedDomain:
			if f.Domain == "" || host != f.Domain && !strings.HasSuffix(host, "."+f.Domain) {
				return fmt.Errorf("%s is not within the shared domain %q", m.URL, f.Domain)
			}
			host = canonicalHost(u.Scheme, u.Host)
		case SplitDomain:
			// One cookie jar for all ports of a host: hosts must differ in name.
			if u.Path != "" {
				return fmt.Errorf("%s has a path, and a host of its own", m.URL)
			}
		case SingleHost:
			if first := f.Directory.Members()[0]; !strings.HasPrefix(m.URL, originOf(first)+"/") {
				return fmt.Errorf("%s is not on the host of %s, or has no path", m.URL, first.URL)
			}
			host = m.URL
		}
		if other, taken := seen[host]; taken {
			return fmt.Errorf("%s and %s cannot be told apart", other, m.Name)
		}
		seen[host] = m.Name
	}
	return nil
}

func originOf(m Member) string {
	u, err := url.Parse(m.URL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// canonicalHost is a host and port as they are compared.
func canonicalHost(scheme, host string) string {
	host = strings.ToLower(host)
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// contentPolicy allows what the pages themselves bring and nothing else. Forms
// may lead to every member: browsers apply form-action to redirects too.
func contentPolicy(f Farm) string {
	forms := make(map[string]bool)
	for _, m := range f.Directory.Members() {
		if f.Topology == SharedDomain {
			forms[schemeOf(m)+"://*."+f.Domain+":*"] = true
		} else {
			forms[originOf(m)] = true
		}
	}
	for _, origin := range f.Federated {
		forms[origin] = true
	}
	return "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; object-src 'self'; " +
		"base-uri 'none'; frame-ancestors 'none'; form-action 'self' " + strings.Join(slices.Sorted(maps.Keys(forms)), " ")
}

var (
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	// A day, because names under localhost are everybody's: browsers that were
	// told to come by TLS for longer would miss the next farm without it.
	onlyTLS   = []string{"max-age=86400"}
	textHTML  = []string{"text/html; charset=utf-8"}
	textPlain = []string{"text/plain; charset=utf-8"}

	seeLocation = []byte("See the Location header.\n")
)

// visits lends each request its memory; nothing keeps a visit beyond it.
var visits = sync.Pool{New: func() any { return new(visit) }}

// ServeHTTP answers a browser, or another member.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	h["Referrer-Policy"] = noReferrer
	h["Content-Security-Policy"] = s.policy
	if s.overTLS {
		h["Strict-Transport-Security"] = onlyTLS
	}

	v := visits.Get().(*visit)
	defer visits.Put(v)
	*v = visit{Server: s, w: w, r: r, ctx: r.Context()}
	if trace := traceOf(r.Header); trace != "" {
		v.ctx = reference.WithTrace(v.ctx, trace)
	}
	if canonicalHost(schemeOf(s.self), r.Host) != s.host {
		v.notice(http.StatusMisdirectedRequest, "Not this server", "This server does not answer for that host.")
		return
	}
	raw, ok := strings.CutPrefix(r.URL.EscapedPath(), s.base)
	path, okay := strings.CutPrefix(r.URL.Path, s.base)
	if raw == "" && path == "" {
		raw, path = "/", "/"
	}
	if !ok || !okay || raw == "" || raw[0] != '/' || path[0] != '/' {
		v.notFound()
		return
	}
	v.raw, v.path = raw, withoutParameters(path)
	if asset, ok := assets[v.path]; ok {
		v.asset(asset)
		return
	}
	v.query, v.sent = s.splitQuery(r.URL.RawQuery)

	if plain, ok := s.plain[v.path]; ok {
		if v.allow(plain.methods) {
			if v.path != handoffPath {
				v.note("receive", s.Name, r.Method+" "+v.path, nil)
			}
			plain.serve(v)
		}
		return
	}
	page, ok := s.own[v.path]
	if !ok {
		page, ok = s.Farm.Directory.Page(v.path)
	}
	if !ok {
		v.notFound()
		return
	}
	methods := "GET, HEAD"
	if page.takesForms() {
		methods = "GET, HEAD, POST"
	}
	if !v.allow(methods) {
		return
	}
	v.page = page
	if s.watched {
		v.note("receive", s.Name, r.Method+" "+v.path, nil)
	}
	if page.Member == s.Name {
		v.serve()
	} else {
		v.pass()
	}
}

func schemeOf(m Member) string {
	scheme, _, _ := strings.Cut(m.URL, ":")
	return scheme
}

// withoutParameters drops path parameters, such as ;jsessionid=, from every
// segment: they neither name a page nor carry a session here (WF-12.2).
func withoutParameters(path string) string {
	if !strings.Contains(path, ";") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, seg := range segments {
		segments[i], _, _ = strings.Cut(seg, ";")
	}
	return strings.Join(segments, "/")
}
