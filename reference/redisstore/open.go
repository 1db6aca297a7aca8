package redisstore

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// formatVersion counts changes of what is stored.
const formatVersion = 1

// maxParts is the number of slots of a cluster.
const maxParts = 16384

// Limits of time for each step where the address names none: every call ends.
const patience = 3 * time.Second

func init() {
	logging.Disable() // what the client would print comes back as errors
}

// Open connects to the server, or to the cluster to which it belongs, at
//
//	redis://USER:PASSWORD@HOST:PORT/NUMBER?prefix=NAME&parts=N
//
// with rediss:// for TLS, or unix://PATH?db=NUMBER. The prefix, "farmspec"
// where none is given, keeps stores on one server apart. The number of parts
// is chosen when a store is new, 1 where none is given, and stays. The other
// parameters are those of go-redis, such as pool_size and read_timeout.
//
// It fails where the server's memory policy would forget sessions, where keys
// of the prefix are another program's or of another format, and where the
// number of parts is not the stored one.
func Open(ctx context.Context, address string) (*Store, error) {
	a, err := parseAddress(address)
	if err != nil {
		return nil, fmt.Errorf("open session database: %w", err)
	}
	s, err := a.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open session database %s: %w", a.shown, explain(err))
	}
	return s, nil
}

// Remove deletes all keys of the address's store, where they are ours.
func Remove(ctx context.Context, address string) error {
	s, err := Open(ctx, address)
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	keys := []string{s.format}
	for i := range s.parts {
		keys = append(keys, s.parts[i].keys()...)
	}
	for _, key := range keys {
		if _, err = s.do(ctx, "unlink", key); err != nil {
			break
		}
	}
	return errors.Join(said("remove session database", err), s.Close())
}

// address is a parsed one.
type address struct {
	options *redis.Options
	shown   string // without credentials
	prefix  string
	parts   int // zero for what is stored
}

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

func parseAddress(text string) (address, error) {
	u, err := url.Parse(text)
	if err != nil {
		// The cause would repeat what may be a password.
		return address{}, errors.New("the address is no URL; want redis://HOST:PORT/NUMBER, with %XX for special characters of a password")
	}
	a := address{prefix: "farmspec"}
	q := u.Query()
	if q.Has("prefix") {
		a.prefix = q.Get("prefix")
	}
	if !prefixForm.MatchString(a.prefix) {
		return a, fmt.Errorf("prefix %q; want 1 to 64 letters, digits and _ . : -", a.prefix)
	}
	if q.Has("parts") {
		if a.parts, err = strconv.Atoi(q.Get("parts")); err != nil || a.parts < 1 || a.parts > maxParts {
			return a, fmt.Errorf("parts %q; want 1 to %d", q.Get("parts"), maxParts)
		}
	}
	q.Del("prefix")
	q.Del("parts")
	u.RawQuery = q.Encode()
	if a.options, err = redis.ParseURL(u.String()); err != nil {
		return a, err
	}
	where := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	a.shown = where.String()
	if a.prefix != "farmspec" {
		a.shown += " (prefix " + a.prefix + ")"
	}

	o := a.options
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	for _, limit := range []*time.Duration{&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout} {
		if *limit <= 0 {
			*limit = patience
		}
	}
	return a, nil
}

func (a address) open(ctx context.Context) (s *Store, err error) {
	single := redis.NewClient(a.options)
	s = &Store{client: single, format: "{" + a.prefix + "}:format"}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	seen, err := look(ctx, single)
	if err != nil {
		return s, err
	}
	if seen.mode == "cluster" {
		o := a.options
		all := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{o.Addr}, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
			DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, ContextTimeoutEnabled: true,
			PoolSize: o.PoolSize, PoolTimeout: o.PoolTimeout, MinIdleConns: o.MinIdleConns, MaxIdleConns: o.MaxIdleConns,
			MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, DisableRoutingPolicies: true,
		})
		s.client = all
		if err := single.Close(); err != nil {
			return s, err
		}
		if seen, err = lookAtAll(ctx, all); err != nil {
			return s, err
		}
	}
	if err = s.settle(ctx, a.prefix, a.parts); err != nil {
		return s, err
	}
	s.about = a.shown + ", " + seen.String()
	if n := len(s.parts); n > 1 {
		s.about += fmt.Sprintf(", in %d parts", n)
	}
	return s, nil
}

// partsOf names the keys.
func partsOf(prefix string, n int) []part {
	parts := make([]part, n)
	for i := range parts {
		tag := "{" + prefix + "}:"
		if n > 1 {
			tag = "{" + prefix + ":" + strconv.Itoa(i) + "}:"
		}
		parts[i] = part{tag + "ids", tag + "sessions", tag + "http", tag + "attributes", tag + "users", tag + "disabled"}
	}
	return parts
}

func (p *part) keys() []string {
	return []string{p.ids, p.sessions, p.http, p.attributes, p.users, p.disabled}
}

// settle takes the number of parts that was stored first, which is ours in a
// new store. It writes nothing where keys are not ours.
func (s *Store) settle(ctx context.Context, prefix string, want int) error {
	stored, err := s.storedParts(ctx)
	if err != nil {
		return err
	}
	s.parts = partsOf(prefix, cmp.Or(stored, want, 1))
	if err := s.checkTypes(ctx); err != nil {
		return err
	}
	if stored == 0 {
		for _, field := range []struct {
			name  string
			value int
		}{{"parts", len(s.parts)}, {"version", formatVersion}} {
			if _, err := s.do(ctx, "hsetnx", s.format, field.name, field.value); err != nil {
				return err
			}
		}
		if stored, err = s.storedParts(ctx); err != nil {
			return err
		}
	}
	if want != 0 && want != stored || stored != len(s.parts) {
		return fmt.Errorf("it was made with %d parts, which cannot change to %d: leave parts out or use another prefix", stored, cmp.Or(want, 1))
	}
	return nil
}

// storedParts returns zero for a new store.
func (s *Store) storedParts(ctx context.Context) (int, error) {
	kind, err := s.kind(ctx, s.format)
	switch {
	case err != nil || kind == "none":
		return 0, err
	case kind != "hash":
		return 0, foreign(s.format, kind)
	}
	said, err := s.strings(ctx, "hmget", s.format, "version", "parts")
	if err != nil {
		return 0, err
	}
	if version := said[0]; version != "" && version != strconv.Itoa(formatVersion) { // "" while another process makes it
		return 0, fmt.Errorf("what is stored is of format %q, this program knows %d: use another farmspec or another prefix", version, formatVersion)
	}
	parts, err := strconv.Atoi(said[1])
	if err != nil || parts < 1 || parts > maxParts {
		return 0, fmt.Errorf("%s says %q parts; want 1 to %d", s.format, said[1], maxParts)
	}
	return parts, nil
}

// checkTypes refuses keys that cannot be ours; a script that met one would
// stop half-way.
func (s *Store) checkTypes(ctx context.Context) error {
	for i := range s.parts {
		for _, key := range s.parts[i].keys() {
			kind, err := s.kind(ctx, key)
			if err != nil {
				return err
			}
			want := "hash"
			switch key {
			case s.parts[i].users:
				want = "zset"
			case s.parts[i].disabled:
				want = "set"
			}
			if kind != "none" && kind != want {
				return foreign(key, kind)
			}
		}
	}
	return nil
}

func (s *Store) kind(ctx context.Context, key string) (string, error) {
	answer, err := s.do(ctx, "type", key)
	kind, _ := answer.(string)
	return kind, err
}

func foreign(key, kind string) error {
	return fmt.Errorf("the key %s, a %s, belongs to another program: use another prefix", key, kind)
}

// server is what Open looks at. What the server does not tell is empty.
type server struct {
	version, mode, role     string
	appendOnly, appendFsync string
	maxMemory, eviction     string
}

func look(ctx context.Context, c *redis.Client) (server, error) {
	var v server
	text, err := c.Info(ctx).Result()
	switch {
	case redis.IsPermissionError(err):
		return v, nil
	case err != nil:
		return v, err
	}
	facts := map[string]*string{
		"redis_version": &v.version, "redis_mode": &v.mode, "role": &v.role,
		"aof_enabled": &v.appendOnly, "maxmemory": &v.maxMemory, "maxmemory_policy": &v.eviction,
	}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if fact := facts[name]; fact != nil {
			*fact = value
		}
	}
	if v.role == "slave" {
		return v, errors.New("the server is a replica, which takes no writes: name its master")
	}
	if strings.HasPrefix(v.eviction, "allkeys-") && v.maxMemory != "0" {
		return v, fmt.Errorf("its maxmemory-policy %s would forget sessions and who has logged out: set noeviction", v.eviction)
	}
	// Administrators may have taken CONFIG away.
	if fsync, err := c.ConfigGet(ctx, "appendfsync").Result(); err == nil {
		v.appendFsync = fsync["appendfsync"]
	}
	return v, nil
}

// lookAtAll looks at every master of a cluster and returns the least durable.
func lookAtAll(ctx context.Context, all *redis.ClusterClient) (least server, err error) {
	var mu sync.Mutex
	first := true
	err = all.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		v, err := look(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Options().Addr, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if first || v.durability() < least.durability() {
			least, first = v, false
		}
		return nil
	})
	return least, err
}

// durability is how much of what was answered outlives the server's sudden
// end, in rising order.
type durability int

const (
	untold durability = iota
	snapshots
	bySystem
	everySecond
	always
)

func (v server) durability() durability {
	switch {
	case v.appendOnly == "0":
		return snapshots
	case v.appendOnly == "":
		return untold
	}
	return map[string]durability{"no": bySystem, "everysec": everySecond, "always": always}[v.appendFsync]
}

// String completes "the store is …".
func (v server) String() string {
	name := "Redis"
	if v.version != "" {
		name += " " + v.version
	}
	if v.mode == "cluster" {
		name += " Cluster"
	}
	return name + ", " + map[durability]string{
		untold:      "how durable is not told",
		snapshots:   "kept by its snapshots at most (appendonly no)",
		bySystem:    "on the disk when its system pleases (appendfsync no)",
		everySecond: "on the disk within about a second (appendfsync everysec)",
		always:      "on the disk before the answer (appendfsync always)",
	}[v.durability()]
}

// explain adds the cure where it is known.
func explain(err error) error {
	_, moved := redis.IsMovedError(err)
	switch {
	case redis.IsAuthError(err):
		return fmt.Errorf("%w (the address takes redis://USER:PASSWORD@HOST:PORT)", err)
	case moved:
		return errors.New("the server belongs to a cluster, which its user may not ask: let it use INFO")
	case redis.IsLoadingError(err):
		return fmt.Errorf("%w (try again when it has)", err)
	}
	return err
}
