package simfarm

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/saml"
	"github.com/farmspec/farmspec/reference/web"
)

// Options configures a Farm. The zero value is three servers, one session
// API, memory storage and the system clock.
type Options struct {
	// Servers is the number of members. Zero means three.
	Servers int

	// Database names the common session database: "memory", "sqlite:FILE",
	// "sqlite::memory:" or the address of a server (postgres://... or
	// redis://..., as pgstore.Open and redisstore.Open have them). Empty means
	// memory. When the database process is stopped a FILE is closed and
	// connections to a server end, and its start opens them again; stopping
	// the others takes away nothing but their availability.
	Database string
	// Apart gives the farm a store of its own on the server that Database is
	// the address of, and takes it away when the farm closes.
	Apart bool
	// Store is a session database of the caller's, which stays open when the
	// farm closes. It takes the place of Database.
	Store reference.Store

	// Handoff: empty means Sealed.
	Handoff farmspec.Handoff
	// Rotation: empty means Strict.
	Rotation farmspec.Rotation
	// Grace is how long a predecessor stays good under Coalesce. Zero means 5 seconds.
	Grace time.Duration
	// Replay: empty means Reject.
	Replay farmspec.Replay
	// Topology: empty means SharedDomain.
	Topology farmspec.Topology

	// Limits are the time-outs; a zero field has the default that
	// reference.Limits names.
	Limits reference.Limits
	// MaxSessions bounds a user's open sessions. Zero is no bound.
	MaxSessions int
	// Assurance is the level that the target declares. Empty means the highest
	// whose limits the farm keeps.
	Assurance farmspec.Assurance
	// Failover: empty means Survive. Under Relogin a member that starts again
	// has forgotten who logged in there, and their sessions end.
	Failover farmspec.Failover

	// Participants is how many other systems take part in single sign-on and
	// single log-out with the farm. They are opened beside it, and an identity
	// provider with them; see Circle. Zero is no federation.
	Participants int
	// FrontChannel sends a user's log-out to the provider by way of his browser.
	FrontChannel bool
	// SignOnLifetime is how long the provider's sessions last. Zero means 2 hours.
	SignOnLifetime time.Duration

	// Users may log in from the start.
	Users []farmspec.User
	// Keys are the farm's key ring; the first seals. None means a new key.
	Keys []reference.Key
	// AdminPassword opens the administrator's page on the members to user
	// "admin". Empty means that there is none.
	AdminPassword string

	// Address is the IPv4 address at which the members, or the front of a
	// single host, listen. Empty means 127.0.0.1. Everything else listens at
	// 127.0.0.1 always.
	Address string
	// Port is the first member's; the others follow, and after them the
	// session API. The front of a single host comes before the members. Zero
	// means free ports.
	Port int

	// Cookie is the name of the browser's token cookie. Empty means one with
	// the prefix that the topology allows.
	Cookie string
	// TLS makes every part listen with a certificate of an authority of this
	// program, the session service and what is behind a front included. The
	// members offer HTTP/2 besides HTTP/1.1.
	TLS bool

	// Now is the farm's base clock. Nil means time.Now.
	Now func() time.Time
	// Seed fixes every random choice of the farm, the secret ones included,
	// for a given order of events. Zero means crypto/rand.
	Seed uint64

	// Observer watches too, beside the farm's own hooks.
	Observer reference.Observer
	// Unobserved leaves out the trace and hold hooks and what they cost.
	Unobserved bool

	// Version is the version of the product to report. Empty means "devel".
	Version string

	// Wrap breaks a part of the farm on purpose.
	Wrap Wrap
	// Plant, unless nil, makes the Wrap: one of its own for this farm and for
	// each of its forks, so that what a fault remembers stays in its farm.
	Plant func() Wrap
}

// Wrap is where a fault gets in. Each function, unless nil, is called whenever
// a process starts and may change what the process is made of.
type Wrap struct {
	// Service may replace the session service's store, clock, users, random source and rules.
	Service func(*reference.Options)
	// API may replace what the session API puts on the web.
	API func(web.Service) web.Service
	// Member may replace a member's directory, session client, sealer, peers and clock.
	Member func(*web.ServerConfig)
	// Handler may replace what answers HTTP for a member, by its name, or for
	// the session service.
	Handler func(process string, h http.Handler) http.Handler
	// Listen may replace how a part takes connections: it gets the listener,
	// and the configuration where the farm speaks TLS. Nil changes nothing.
	Listen func(process string, ln net.Listener, config *tls.Config) net.Listener
	// Credentials may change what members show the session service and each
	// other, by member, before any part starts.
	Credentials func(secrets map[string]string)

	// Federated may replace what the farm takes part in single log-out by, and
	// Single what is offered then: local is the service without it.
	Federated func(*web.FederatedOptions)
	Single    func(local web.Service, f *web.Federated) (web.Service, web.Federation)
	// Participant may replace parts of another participant, by its name, and
	// Provider those of the identity provider.
	Participant func(name string, o *saml.ParticipantOptions)
	Provider    func(*saml.ProviderOptions)
}

// ProfileName is the farm's name in reports:
// "reference/HANDOFF+ROTATION+TOPOLOGY", with "+revoke-family" where that is
// the answer to spent tokens, and "+tls" where its parts speak TLS.
func (o Options) ProfileName() string {
	o = o.withDefaults()
	name := fmt.Sprintf("reference/%s+%s+%s", o.Handoff, o.Rotation, o.Topology)
	if o.Replay != farmspec.Reject {
		name += "+" + string(o.Replay)
	}
	if o.TLS {
		name += "+tls"
	}
	return name
}

func (o Options) withDefaults() Options {
	fallback(&o.Servers, 3)
	fallback(&o.Database, "memory")
	fallback(&o.Handoff, farmspec.Sealed)
	fallback(&o.Rotation, farmspec.Strict)
	if o.Rotation == farmspec.Coalesce {
		fallback(&o.Grace, 5*time.Second)
	} else {
		o.Grace = 0
	}
	fallback(&o.Replay, farmspec.Reject)
	fallback(&o.Topology, farmspec.SharedDomain)
	fallback(&o.Limits.Idle, 30*time.Minute)
	fallback(&o.Limits.Absolute, 12*time.Hour)
	fallback(&o.Limits.HTTPIdle, 20*time.Minute)
	fallback(&o.Failover, farmspec.Survive)
	fallback(&o.SignOnLifetime, 2*time.Hour)
	fallback(&o.Address, loopback)
	fallback(&o.Version, "devel")
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func fallback[T comparable](v *T, instead T) {
	if *v == *new(T) {
		*v = instead
	}
}

// maxServers is what the names server-1 ... and one machine's ports allow for
// with a wide margin.
const maxServers = 1000

func (o Options) check() error {
	if o.Participants < 0 || o.Participants > maxServers {
		return fmt.Errorf("open farm: %d participants; want 0 to %d", o.Participants, maxServers)
	}
	if o.Servers < 1 || o.Servers > maxServers {
		return fmt.Errorf("open farm: %d servers; want 1 to %d", o.Servers, maxServers)
	}
	last := o.Port + o.Servers + 1
	if o.Participants > 0 {
		last += 1 + o.Participants
	}
	if o.Port < 0 || last > 65535 {
		return fmt.Errorf("open farm: %d servers from port %d on; ports end at 65535", o.Servers, o.Port)
	}
	if ip := net.ParseIP(o.Address); ip == nil || ip.To4() == nil {
		return fmt.Errorf("open farm: address %q; want an IPv4 address such as 127.0.0.1", o.Address)
	}
	switch o.Handoff {
	case farmspec.Sealed, farmspec.Claimed, farmspec.Direct:
	default:
		return fmt.Errorf("open farm: no hand-off mode %q; there are sealed, claimed and direct", o.Handoff)
	}
	switch o.Topology {
	case farmspec.SharedDomain, farmspec.SplitDomain, farmspec.SingleHost:
	default:
		return fmt.Errorf("open farm: no topology %q; there are shared-domain, split-domain and single-host", o.Topology)
	}
	return nil
}
