// Package simfarm assembles the reference farm in one process: members, the
// session service and the common session database, each of them a process
// that can be stopped and started, with real HTTP on loopback between them.
// It offers every hook that package farmspec names.
package simfarm

import (
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
)

const (
	// Domain is the farm's common host name, and the cookie's domain under
	// farmspec.SharedDomain.
	Domain = "farm.localhost"

	loopback = "127.0.0.1"
	// closeWait is how long Close waits for requests under way.
	closeWait = 5 * time.Second
	// callTimeout bounds a member's call of the service; a scenario may hold
	// one for a while.
	callTimeout = 15 * time.Second
	// loginCost is the password hash's. Passwords here are drawn at random and
	// their hashes stay in memory, so a costly hash would protect nothing.
	loginCost = 100
)

// Farm is a running reference farm. It is safe for concurrent use.
type Farm struct {
	o         Options
	clock     *farmClock
	holds     *holds
	recorder  *recorder
	keys      *keys
	users     *reference.Users
	accounts  atomic.Int64
	db        *database
	ownsStore bool
	// removeStore, unless nil, takes away what the store has kept.
	removeStore func(context.Context) error
	transport   *http.Transport
	authority   *authority  // nil without TLS
	circle      *federation // nil without participants
	web         web.Farm

	// Credentials of the session API, by member, and the administrator's.
	secrets map[string]string
	admin   string

	service *process
	front   *process // of a single host; nil otherwise
	members []*process
	current atomic.Pointer[reference.Service]
	nodes   sync.Map // member name to *node, under farmspec.Relogin
	started sync.Map // process name to *atomic.Uint64, for the seeds of its lives
	closing sync.Once
	closed  error
}

// Open starts a farm. The context bounds the opening only.
func Open(ctx context.Context, o Options) (*Farm, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Plant != nil {
		o.Wrap = o.Plant()
	}
	f := &Farm{o: o, holds: newHolds(), recorder: newRecorder(), users: &reference.Users{Iterations: loginCost}, secrets: make(map[string]string)}
	f.transport = &http.Transport{
		DialContext:         f.dial,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     time.Minute,
	}
	if o.TLS {
		var err error
		if f.authority, err = theAuthority(); err != nil {
			return nil, fmt.Errorf("open farm: %w", err)
		}
		f.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.authority.pool, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	}
	if err := f.open(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// dial reaches the farm's own names, which no resolver needs to know.
func (f *Farm) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil {
		addr = net.JoinHostPort(f.reachedAt(), port)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// reachedAt is the address behind the farm's names, seen from this machine.
func (f *Farm) reachedAt() string {
	if ip := net.ParseIP(f.o.Address); ip != nil && ip.IsUnspecified() {
		return loopback
	}
	return f.o.Address
}

func (f *Farm) open(ctx context.Context) error {
	o := f.o
	memberNames := make([]string, o.Servers)
	for i := range memberNames {
		memberNames[i] = fmt.Sprintf("server-%d", i+1)
	}
	f.clock = newClock(o.Now, append([]string{farmspec.ServiceProcess}, memberNames...))
	var err error
	if f.keys, err = newKeys(o.Servers, o.Keys, f.random("keys")); err != nil {
		return fmt.Errorf("open farm: %w", err)
	}
	for _, u := range o.Users {
		if err := f.users.Add(u.Name, u.Password); err != nil {
			return fmt.Errorf("open farm: %w", err)
		}
	}
	draw := f.random("credentials")
	for _, name := range append([]string{"administrator"}, memberNames...) {
		id, err := reference.NewID(draw)
		if err != nil {
			return fmt.Errorf("open farm: %w", err)
		}
		f.secrets[name] = id.String()
	}
	f.admin = f.secrets["administrator"]
	delete(f.secrets, "administrator")
	if o.Wrap.Credentials != nil {
		o.Wrap.Credentials(f.secrets)
	}

	d, err := o.opener()
	if err != nil {
		return err
	}
	store, err := d.open(ctx)
	if err != nil {
		return err
	}
	f.db, f.ownsStore, f.removeStore = &database{store: store}, o.Store == nil, d.remove
	if d.durable {
		f.db.reopen = d.open
	}
	if f.circle, err = newFederation(f); err != nil {
		return err
	}
	if err := f.listen(ctx, memberNames); err != nil {
		return err
	}
	if err := f.describe(memberNames); err != nil {
		return fmt.Errorf("open farm: %w", err)
	}
	for _, p := range f.processes() {
		if err := p.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// listen takes all ports: the front's, the members' and the session API's.
func (f *Farm) listen(ctx context.Context, memberNames []string) error {
	next := f.o.Port
	take := func(p *process, host string) (err error) {
		p.wrap = f.o.Wrap.Listen
		if f.authority != nil {
			if p.tls, err = f.authority.config(p.name, Domain, p.name+"."+Domain, p.name+".localhost"); err != nil {
				return err
			}
		}
		err = p.listen(ctx, net.JoinHostPort(host, fmt.Sprint(next)))
		if f.o.Port != 0 {
			next++
		}
		return err
	}
	host := f.o.Address
	if f.o.Topology == farmspec.SingleHost {
		f.front = &process{name: "front", fresh: f.freshFront}
		if err := take(f.front, host); err != nil {
			return err
		}
		host = loopback
	}
	for i, name := range memberNames {
		p := &process{name: name, fresh: func(alive func() bool) (http.Handler, error) { return f.freshMember(i, name, alive) }}
		f.members = append(f.members, p)
		if err := take(p, host); err != nil {
			return err
		}
	}
	f.service = &process{name: farmspec.ServiceProcess, fresh: f.freshService}
	if err := take(f.service, loopback); err != nil {
		return err
	}
	return f.circle.listenAt(take)
}

// describe names the members, now that their ports are known.
func (f *Farm) describe(memberNames []string) error {
	members := make([]web.Member, len(memberNames))
	for i, name := range memberNames {
		members[i] = web.Member{Name: name, URL: f.address(i)}
	}
	d, err := web.NewDirectory(members...)
	if err != nil {
		return err
	}
	f.web = web.Farm{
		Directory: d,
		Cookie:    f.o.Cookie,
		Topology:  web.Topology(f.o.Topology),
		Handoff:   web.Handoff(f.o.Handoff),
		Rotation:  reference.Rotation(f.o.Rotation),
	}
	if f.o.Topology == farmspec.SharedDomain {
		f.web.Domain = Domain
	}
	f.circle.describe(members)
	return nil
}

func (f *Farm) address(i int) string {
	switch p := f.members[i]; f.o.Topology {
	case farmspec.SingleHost:
		return fmt.Sprintf("%s://%s:%s/%d", f.scheme(), Domain, f.front.port(), i+1)
	case farmspec.SplitDomain:
		return fmt.Sprintf("%s://%s.localhost:%s", f.scheme(), p.name, p.port())
	default:
		return fmt.Sprintf("%s://%s.%s:%s", f.scheme(), p.name, Domain, p.port())
	}
}

func (f *Farm) scheme() string {
	if f.authority != nil {
		return "https"
	}
	return "http"
}

// CA is the certificate, in PEM, of the authority that vouches for the farm's
// parts; nil without TLS.
func (f *Farm) CA() []byte {
	if f.authority == nil {
		return nil
	}
	return slices.Clone(f.authority.pem)
}

// AdminSecret is the administrator's bearer credential for the session API.
func (f *Farm) AdminSecret() string { return f.admin }

// processes lists the parts that listen, the ones others need first.
func (f *Farm) processes() []*process {
	var all []*process
	if f.service != nil {
		all = append(all, f.service)
	}
	all = append(all, f.members...)
	if f.front != nil {
		all = append(all, f.front)
	}
	return append(all, f.circle.processes()...)
}

func (f *Farm) freshService(alive func() bool) (http.Handler, error) {
	o := reference.Options{
		Store:       conn{f.db, alive},
		Now:         f.clock.of(farmspec.ServiceProcess),
		Rand:        f.random(farmspec.ServiceProcess),
		Rotation:    reference.Rotation(f.o.Rotation),
		Grace:       f.o.Grace,
		Replay:      reference.Replay(f.o.Replay),
		Limits:      f.o.Limits,
		MaxSessions: f.o.MaxSessions,
		Users:       f.users,
		Observer:    f.observer(alive),
	}
	tickets := &web.Tickets{Accounts: f.users}
	if f.circle != nil {
		o.Users = tickets
	}
	if f.o.Wrap.Service != nil {
		f.o.Wrap.Service(&o)
	}
	svc, err := reference.NewService(o)
	if err != nil {
		return nil, err
	}
	f.current.Store(svc)
	var offered web.Service = svc
	if f.o.Wrap.API != nil {
		offered = f.o.Wrap.API(offered)
	}
	offered, single, err := f.circle.federate(offered, tickets, lifeline{f.transport, alive})
	if err != nil {
		return nil, err
	}
	return f.wrapped(farmspec.ServiceProcess, web.NewAPI(offered, web.APIOptions{
		Credentials: f.secrets, AdminSecret: f.admin, Observer: o.Observer, Federation: single,
	})), nil
}

func (f *Farm) freshMember(i int, name string, alive func() bool) (http.Handler, error) {
	reach := lifeline{f.transport, alive}
	random := f.random(name)
	observer := f.observer(alive)
	c := web.ServerConfig{
		Name: name,
		Farm: f.web,
		Sessions: web.NewClient(web.ClientOptions{
			URL: f.ServiceURL(), Member: name, Secret: f.secrets[name], Transport: reach, Observer: observer, Timeout: callTimeout,
		}),
		Sealer:   reference.NewCodec(f.keys.members[i], random),
		Peers:    web.Peers{Secret: f.secrets[name], Credentials: f.secrets, Transport: reach},
		Observer: observer,
		Now:      f.clock.of(name),
		Rand:     random,
	}
	if f.o.AdminPassword != "" {
		c.Admin = web.NewAdminClient(web.ClientOptions{URL: f.ServiceURL(), Secret: f.admin, Transport: reach, Timeout: callTimeout})
		c.AdminSecret = f.o.AdminPassword
	}
	if f.circle != nil {
		c.Federation = web.NewFederationClient(web.ClientOptions{URL: f.ServiceURL(), Secret: f.secrets[name], Transport: reach, Timeout: callTimeout})
	}
	if f.o.Failover == farmspec.Relogin {
		if err := f.forget(name); err != nil {
			return nil, err
		}
		c.Sessions = f.remembered(name, c.Sessions)
	}
	if f.o.Wrap.Member != nil {
		f.o.Wrap.Member(&c)
	}
	if i == 0 {
		f.keys.first.Store(&c.Sealer)
	}
	s, err := web.NewServer(c)
	if err != nil {
		return nil, err
	}
	return f.wrapped(name, s), nil
}

func (f *Farm) wrapped(process string, h http.Handler) http.Handler {
	if f.o.Wrap.Handler != nil {
		return f.o.Wrap.Handler(process, h)
	}
	return h
}

// copyBuffers lends the fronts of all farms what they copy bodies with.
type copyBuffers struct{}

var buffers = sync.Pool{New: func() any { return new([16 << 10]byte) }}

func (copyBuffers) Get() []byte  { return buffers.Get().(*[16 << 10]byte)[:] }
func (copyBuffers) Put(b []byte) { buffers.Put((*[16 << 10]byte)(b)) }

// freshFront makes the one host's router: /1 leads to the first member, and
// so on, with the path as it came.
func (f *Farm) freshFront(func() bool) (http.Handler, error) {
	proxies := make(map[string]*httputil.ReverseProxy, len(f.members))
	for i, m := range f.members {
		to := &url.URL{Scheme: f.scheme(), Host: net.JoinHostPort(loopback, m.port())}
		proxies[fmt.Sprint(i+1)] = &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
				r.Out.URL.RawQuery = r.In.URL.RawQuery // as it came, hostile or not
				r.Out.Host = r.In.Host
			},
			Transport:  f.transport,
			ErrorLog:   discardLog,
			BufferPool: copyBuffers{},
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch p, ok := proxies[first]; {
		case ok:
			body := &incoming{ReadCloser: r.Body}
			r.Body = body
			one := *p
			one.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
				if body.broken.Load() {
					http.Error(w, "This request cannot be read.", http.StatusBadRequest)
					return
				}
				http.Error(w, "This server does not answer.", http.StatusBadGateway)
			}
			one.ServeHTTP(w, r)
		case r.URL.Path == "/":
			http.Redirect(w, r, "/1/", http.StatusSeeOther)
		default:
			http.NotFound(w, r)
		}
	}), nil
}

// incoming is a request's body that remembers whether the browser's side broke it.
type incoming struct {
	io.ReadCloser
	broken atomic.Bool
}

func (b *incoming) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.broken.Store(true)
	}
	return n, err
}

// Members are the farm's web servers.
func (f *Farm) Members() []farmspec.Member {
	members := make([]farmspec.Member, 0, len(f.members))
	for _, m := range f.web.Directory.Members() {
		members = append(members, farmspec.Member(m))
	}
	return members
}

// ServiceURL is the base address of the session management web service.
func (f *Farm) ServiceURL() string { return f.scheme() + "://" + f.service.addr }

// lifeline is a process's way out: dead processes send nothing.
type lifeline struct {
	rt    http.RoundTripper
	alive func() bool
}

func (l lifeline) RoundTrip(r *http.Request) (*http.Response, error) {
	if !l.alive() {
		return nil, errDead
	}
	return l.rt.RoundTrip(r)
}

// observer returns what watches one life of a process.
func (f *Farm) observer(alive func() bool) reference.Observer {
	also := f.o.Observer
	if f.o.Unobserved {
		if also == nil {
			return reference.Silent{}
		}
		return also
	}
	if also == nil {
		also = reference.Silent{}
	}
	return &watch{f, alive, also}
}

type watch struct {
	f     *Farm
	alive func() bool
	also  reference.Observer
}

func (w *watch) Event(ctx context.Context, e reference.Event) {
	if !w.alive() {
		return // what a killed process would have done did not happen
	}
	w.f.recorder.add(reference.TraceFrom(ctx), e)
	w.also.Event(ctx, e)
}

func (w *watch) Point(ctx context.Context, name string) {
	w.f.holds.park(ctx, reference.TraceFrom(ctx), farmspec.Point(name))
	w.also.Point(ctx, name)
}

// random returns the source of a process's random choices. Each life of each
// process has a stream of its own, so that no nonce comes twice.
func (f *Farm) random(process string) io.Reader {
	if f.o.Seed == 0 {
		return crand.Reader
	}
	v, _ := f.started.LoadOrStore(process, new(atomic.Uint64))
	life := v.(*atomic.Uint64).Add(1)
	h := fnv.New64a()
	_, _ = io.WriteString(h, process)
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[0:], f.o.Seed)
	binary.LittleEndian.PutUint64(seed[8:], h.Sum64())
	binary.LittleEndian.PutUint64(seed[16:], life)
	return &seeded{r: rand.NewChaCha8(seed)}
}

// seeded is a random stream for concurrent use.
type seeded struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (s *seeded) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(b)
}

// Sweep closes what has timed out and lets the store forget what is old, as a
// farm does from time to time. Refusals do not depend on it. It returns how
// many security sessions it closed.
func (f *Farm) Sweep(ctx context.Context) (int, error) {
	return f.current.Load().Sweep(ctx)
}

// Close stops the farm and waits for its requests; parked ones are freed. When
// one takes longer than a few seconds, the error says which part is answering
// it. Closing twice is one close.
func (f *Farm) Close() error {
	f.closing.Do(func() {
		f.holds.close()
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		lives := make([]*running, 0, len(f.members)+2)
		all := f.processes()
		slices.Reverse(all) // the browsers' doors first
		for _, p := range all {
			lives = append(lives, p.close())
		}
		var errs []error
		for i, r := range lives {
			if err := r.wait(ctx); err != nil {
				errs = append(errs, fmt.Errorf("close farm: %s is %w", all[i].name, err))
			}
		}
		f.transport.CloseIdleConnections()
		if f.db != nil && f.ownsStore {
			errs = append(errs, f.db.close())
		}
		if f.removeStore != nil {
			errs = append(errs, f.removeStore(ctx))
		}
		f.closed = errors.Join(errs...)
	})
	return f.closed
}

// Fork opens a private farm with the same options but for the variation, its
// own users, keys, ports and session database, and returns it as a target. The
// function closes it.
func (f *Farm) Fork(ctx context.Context, v farmspec.Variation) (*farmspec.Target, func() error, error) {
	o := f.o
	o.Store, o.Port, o.Users, o.Keys = nil, 0, nil, nil
	onServer := OnServer(o.Database)
	if o.Apart = onServer; !onServer {
		o.Database = "memory"
	}
	if v.MaxSessions != 0 {
		o.MaxSessions = v.MaxSessions
	}
	if v.Replay != "" {
		o.Replay = v.Replay
	}
	o.FrontChannel = o.FrontChannel || v.FrontChannel
	if v.Unlimited != "" {
		o.Limits.AppIdle = maps.Clone(o.Limits.AppIdle)
		if o.Limits.AppIdle == nil {
			o.Limits.AppIdle = make(map[string]time.Duration)
		}
		o.Limits.AppIdle[v.Unlimited] = -1
	}
	if v.Limits != nil {
		for _, change := range []struct{ to, from *time.Duration }{
			{&o.Limits.Idle, &v.Limits.Idle}, {&o.Limits.Absolute, &v.Limits.Absolute}, {&o.Limits.Tolerance, &v.Limits.Tolerance},
		} {
			if *change.from != 0 {
				*change.to = *change.from
			}
		}
	}
	remove := func() error { return nil }
	if v.Durable && !onServer {
		dir, err := os.MkdirTemp("", "farmspec-")
		if err != nil {
			return nil, nil, fmt.Errorf("fork farm: %w", err)
		}
		remove = func() error { return os.RemoveAll(dir) }
		o.Database = "sqlite:" + filepath.Join(dir, "sessions.db")
	}
	fork, err := Open(ctx, o)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("fork farm: %w", err), remove())
	}
	return fork.Target(), func() error { return errors.Join(fork.Close(), remove()) }, nil
}

// names lists a set of names for an error.
func names(all iter.Seq[string]) string { return strings.Join(slices.Sorted(all), ", ") }
