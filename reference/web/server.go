package web

import (
	"context"
	"io"
	"net/http"
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

// Server is a member of the farm. It is safe for concurrent use and holds no session.
type Server struct{ cfg ServerConfig }

// NewServer checks the configuration and returns a member. It starts nothing.
func NewServer(c ServerConfig) (*Server, error) { return &Server{c}, nil }

// ServeHTTP answers a browser, or another member.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

var (
	noStore = []string{"no-store"}
	noSniff = []string{"nosniff"}
)
