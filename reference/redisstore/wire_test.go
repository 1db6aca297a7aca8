package redisstore_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/farmspec/farmspec/ports"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/redisstore"
	"github.com/farmspec/farmspec/reference/storetest/dbtest"
	"github.com/farmspec/farmspec/reference/storetest/native"
)

// A call whose answer is lost has happened, and is not sent again: a second
// replacement of the token would be refused as spent, and the caller who has
// won would believe it. A call that was lost itself has not happened.
func TestLostOnTheWay(t *testing.T) {
	for _, tc := range []struct {
		name   string
		server func(*testing.T, *dbtest.Proxy) string
	}{
		{"server", func(t *testing.T, _ *dbtest.Proxy) string { return dbtest.Redis(t) }},
		{"cluster", func(t *testing.T, p *dbtest.Proxy) string { return newCluster(t, 1, p)[0] }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := dbtest.NewProxy(t)
			s := mustOpen(t, p.Before(t, fresh(t, tc.server(t, p))))
			sess := created(t, s, 1)
			lost := func(fault dbtest.Fault, call func() error) {
				t.Helper()
				// A connection that works, and the server knows the scripts.
				if _, err := s.CloseSession(t.Context(), reference.ID{7}, reference.ByLogout, 3000); !errors.Is(err, reference.ErrUnknown) {
					t.Fatal(err)
				}
				if err := s.Replace(t.Context(), token(90, 0), token(91, 0)); !errors.Is(err, reference.ErrUnknown) {
					t.Fatal(err)
				}
				p.Set(fault)
				before := p.Sent()
				err := call()
				p.Set(dbtest.NoFault)
				failure(t, "a lost call", err)
				if sent := p.Sent() - before; sent != 1 {
					t.Errorf("the store sent %d times, want once", sent)
				}
			}
			current := func(when string, want reference.Token) {
				t.Helper()
				got, err := s.Load(t.Context(), sess.Ref)
				if err != nil || got.Current != want {
					t.Errorf("after %s the current token is %v, %v; want %v", when, got.Current, err, want)
				}
			}
			lost(dbtest.LoseQuestions, func() error { return s.Replace(t.Context(), sess.Current, token(2, 0)) })
			current("a lost Replace", sess.Current)
			lost(dbtest.LoseAnswers, func() error { return s.Replace(t.Context(), sess.Current, token(3, 0)) })
			current("a Replace whose answer was lost", token(3, 0))
			if err := s.Replace(t.Context(), token(3, 0), token(4, 0)); err != nil {
				t.Errorf("Replace afterwards = %v", err)
			}
			lost(dbtest.LoseAnswers, func() error {
				_, err := s.CloseSession(t.Context(), sess.Ref, reference.ByLogout, 3000)
				return err
			})
			if got, err := s.Load(t.Context(), sess.Ref); err != nil || got.Open() {
				t.Errorf("after a log-out whose answer was lost the session is open %v, %v", got.Open(), err)
			}
		})
	}
}

func TestSilentServer(t *testing.T) {
	p := dbtest.NewProxy(t)
	s := mustOpen(t, p.Before(t, fresh(t, dbtest.Redis(t), "read_timeout=100ms")))
	sess := created(t, s, 1)
	p.Set(dbtest.Silence)
	failure(t, "Replace on a silent server", s.Replace(t.Context(), sess.Current, token(2, 0)))
	_, err := s.Find(t.Context(), sess.Current.ID)
	failure(t, "Find on a silent server", err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = s.Find(ctx, sess.Current.ID)
	failure(t, "Find on a silent server with less patience", err)
	p.Set(dbtest.NoFault)
	if got, err := s.Find(t.Context(), sess.Current.ID); err != nil || got.Current != token(2, 0) && got.Current != sess.Current {
		t.Errorf("Find when it speaks again = %v, %v", got.Current, err)
	}
}

// A server that is stopped refuses; started again it has forgotten the
// scripts, and no session (WF-4.4, F19).
func TestRestart(t *testing.T) {
	server := dbtest.OwnRedis(t)
	s := mustOpen(t, server.URL)
	sess, gone := created(t, s, 1), created(t, s, 2)
	if err := s.Replace(t.Context(), sess.Current, token(2, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CloseSession(t.Context(), gone.Ref, reference.ByLogout, 3000); err != nil {
		t.Fatal(err)
	}
	if about := s.String(); !strings.Contains(about, "before the answer") {
		t.Errorf("String = %q, want the durability that the server was set up for", about)
	}
	server.Stop(t)
	failure(t, "Replace on a stopped server", s.Replace(t.Context(), token(2, 0), token(3, 0)))
	_, err := s.Find(t.Context(), gone.Current.ID)
	failure(t, "Find on a stopped server", err)
	_, err = s.List(t.Context(), "")
	failure(t, "List on a stopped server", err)
	_, err = s.Disabled(t.Context(), "ada")
	failure(t, "Disabled on a stopped server", err)
	server.Start(t)
	if err := s.Replace(t.Context(), sess.Current, token(3, 0)); !errors.Is(err, reference.ErrSpent) {
		t.Errorf("Replace of a token spent before the stop = %v, want ErrSpent", err)
	}
	if err := s.Replace(t.Context(), token(2, 0), token(3, 0)); err != nil {
		t.Errorf("Replace of the current token after the stop = %v", err)
	}
	if err := s.Replace(t.Context(), gone.Current, token(4, 0)); !errors.Is(err, reference.ErrClosed) {
		t.Errorf("Replace under a session closed before the stop = %v, want ErrClosed", err)
	}
}

// What was answered before a kill is there after it, several callers at once.
func TestKill(t *testing.T) {
	server, address := startNative(t, nil, "--appendonly", "yes", "--appendfsync", "always")
	s := mustOpen(t, address)
	gone := created(t, s, 100)
	if _, err := s.CloseSession(t.Context(), gone.Ref, reference.ByLogout, 3000); err != nil {
		t.Fatal(err)
	}
	var last [8]atomic.Int64 // the number of the token that was acknowledged last
	var done sync.WaitGroup
	for n := range byte(len(last)) {
		sess := created(t, s, n)
		done.Go(func() {
			for i := 1; ; i++ {
				next := reference.Token{ID: numbered(10+n, i), Timestamp: 2000}
				if s.Replace(t.Context(), sess.Current, next) != nil {
					return
				}
				sess.Current = next
				last[n].Store(int64(i))
			}
		})
	}
	for last[0].Load() < 50 {
		time.Sleep(time.Millisecond)
	}
	kill(t, address)
	done.Wait()
	if err := errors.Join(server.Stop(), server.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	for n := range byte(len(last)) {
		got, err := s.Load(t.Context(), reference.ID{1, n})
		if err != nil {
			t.Fatal(err)
		}
		acknowledged := numbered(10+n, int(last[n].Load()))
		if got.Current.ID != acknowledged && got.Previous.ID != acknowledged {
			t.Errorf("after the kill neither the current token of session %d nor its predecessor is number %d, which was acknowledged", n, last[n].Load())
		}
		if err := s.Replace(t.Context(), reference.Token{ID: reference.ID{2, n}, Timestamp: 1000}, token(200, n)); !errors.Is(err, reference.ErrSpent) {
			t.Errorf("Replace of a token spent before the kill = %v, want ErrSpent (F19)", err)
		}
	}
	if got, err := s.Load(t.Context(), gone.Ref); err != nil || got.Open() {
		t.Errorf("a session closed before the kill is open: %v, %v", got.Open(), err)
	}
}

// A server whose memory is full takes nothing in, but lets users log out.
func TestMemoryFull(t *testing.T) {
	_, address := startNative(t, nil)
	s, raw := mustOpen(t, address), connect(t, address)
	one, two := created(t, s, 1), created(t, s, 2)
	if _, _, err := s.OpenHTTP(t.Context(), two.Ref, reference.HTTPSession{ID: two.Ref, Application: "shop"}); err != nil {
		t.Fatal(err)
	}
	if err := raw.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	failure(t, "Replace while memory is full", s.Replace(t.Context(), one.Current, token(2, 0)))
	closed, err := s.CloseSession(t.Context(), one.Ref, reference.ByLogout, 3000)
	if !closed || err != nil {
		t.Errorf("CloseSession while memory is full = %v, %v", closed, err)
	}
	if closed, err = s.EndHTTP(t.Context(), two.Ref, "shop", reference.ByApplication, 3000); !closed || err != nil {
		t.Errorf("EndHTTP of the last while memory is full = %v, %v", closed, err)
	}
	if err := raw.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	for _, sess := range []reference.SecuritySession{one, two} {
		if got, err := s.Load(t.Context(), sess.Ref); err != nil || got.Open() || got.Current != sess.Current || len(got.HTTP) > 0 {
			t.Errorf("after the log-out: %+v, %v", got, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	_, address := startNative(t, nil, "--requirepass", "opensesame")
	with := strings.Replace(address, "redis://", "redis://:opensesame@", 1)
	raw := connect(t, with)
	do := func(args ...any) {
		t.Helper()
		if err := raw.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name, address string
		prepare, undo func()
		want, why     string
	}{
		{"no password", address, nil, nil, "redis://USER:PASSWORD@", "the cure is said"},
		{"wrong password", strings.Replace(with, "opensesame", "opensesami", 1), nil, nil, "WRONGPASS", "the server's words, not the password"},
		{"no server", "redis://:opensesame@127.0.0.1:1/0", nil, nil, "connection refused", "the reason"},
		{"no URL", "redis://:opense#same@127.0.0.1/0", nil, nil, "no URL", "a parser's words repeat the password"},
		{"another scheme", "http://:opensesame@127.0.0.1/0", nil, nil, "scheme", ""},
		{"unknown parameter", with + "?pool=3", nil, nil, "pool", "a typing error must not pass"},
		{"prefix", with + "?prefix={a}", nil, nil, "prefix", "braces would move keys to other slots"},
		{"parts", with + "?parts=0", nil, nil, "parts", ""},
		{"other parts", with + "?parts=2", func() { mustOpen(t, with) }, func() { do("flushall") }, "made with 1 parts", "IDs would be looked for elsewhere"},
		{"newer", with, func() { do("hset", "{farmspec}:format", "version", 7, "parts", 1) }, func() { do("flushall") }, `format "7", this program knows 1`, "the cure is said"},
		{"another program's format", with, func() { do("set", "{farmspec}:format", "a4") }, func() { do("flushall") }, "another program", ""},
		{"another program's keys", with, func() { do("rpush", "{farmspec}:ids", "1") }, func() { do("flushall") }, "{farmspec}:ids, a list", "somebody's keys stay as they are"},
		{"eviction", with, func() { do("config", "set", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru") },
			func() { do("config", "set", "maxmemory", "0", "maxmemory-policy", "noeviction") }, "set noeviction", "who has logged out would be forgotten"},
		{"replica", with, func() { do("replicaof", "127.0.0.1", "1") }, func() { do("replicaof", "no", "one") }, "replica", "it takes no writes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.prepare != nil {
				tc.prepare()
				defer tc.undo()
			}
			before := raw.DBSize(t.Context()).Val()
			s, err := redisstore.Open(t.Context(), tc.address)
			if err == nil {
				s.Close()
				t.Fatalf("Open succeeded (%s)", tc.why)
			}
			if !strings.HasPrefix(err.Error(), "open session database") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open = %q, want %q in it (%s)", err, tc.want, tc.why)
			}
			if strings.Contains(err.Error(), "opens") {
				t.Errorf("Open = %q, which shows the password", err)
			}
			if after := raw.DBSize(t.Context()).Val(); after != before {
				t.Errorf("Open left %d keys where there were %d", after, before)
			}
		})
	}
	s := mustOpen(t, with)
	if strings.Contains(fmt.Sprint(s), "opens") {
		t.Errorf("String = %q, which shows the password", s)
	}
}

// A user who may do no more than the store needs.
func TestLeastRights(t *testing.T) {
	_, address := startNative(t, nil)
	raw := connect(t, address)
	if err := raw.Do(t.Context(), "acl", "setuser", "farm", "on", ">secret", "~{farmspec}:*", "-@all",
		"+evalsha", "+eval", "+hget", "+hset", "+hsetnx", "+hdel", "+hexists", "+hmget", "+hscan", "+zadd", "+zrem", "+zrangebylex",
		"+sadd", "+srem", "+sismember", "+type", "+unlink").Err(); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, strings.Replace(address, "redis://", "redis://farm:secret@", 1))
	if about := s.String(); !strings.Contains(about, "not told") {
		t.Errorf("String = %q, want it to say that it does not know", about)
	}
	created(t, s, 1)
	if _, err := s.Prune(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func TestUnixSocket(t *testing.T) {
	server, _ := startNative(t, nil)
	s := mustOpen(t, "unix://"+server.Dir+"/redis.sock?prefix=socket")
	created(t, s, 1)
}

// By rediss:// nobody is talked to whose certificate is not trusted.
func TestTLS(t *testing.T) {
	known := httptest.NewTLSServer(nil) // for the certificate it brings
	t.Cleanup(known.Close)
	pair := known.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "farmspec-redis-") // which the server's user can reach
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	certificate, secret := filepath.Join(dir, "certificate"), filepath.Join(dir, "key")
	if err := errors.Join(os.Chmod(dir, 0o755),
		os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o644),
		os.WriteFile(secret, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o644)); err != nil {
		t.Fatal(err)
	}
	port := drawn(t)
	startNative(t, nil, "--tls-port", strconv.Itoa(port), "--tls-cert-file", certificate, "--tls-key-file", secret,
		"--tls-ca-cert-file", certificate, "--tls-auth-clients", "no")
	address := fmt.Sprintf("rediss://127.0.0.1:%d/0", port)
	if _, err := redisstore.Open(t.Context(), address); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Open by a certificate that nobody vouches for = %v, want it refused", err)
	}
	created(t, mustOpen(t, address+"?skip_verify=true"), 1)
}

// The contract on three servers that share the slots, and what a store in
// parts is for: each has some.
func TestCluster(t *testing.T) {
	addresses := newCluster(t, 3, nil)
	for _, parts := range []string{"parts=1", "parts=32"} {
		t.Run(parts, func(t *testing.T) { holds(t, addresses[1], parts) })
	}
	s := mustOpen(t, addresses[2]+"?parts=32")
	for n := range byte(64) {
		created(t, s, n)
	}
	for _, a := range addresses {
		if n := connect(t, a).DBSize(t.Context()).Val(); n == 0 {
			t.Error("a server of three has no keys of 32 parts")
		}
	}
	if about := s.String(); !strings.Contains(about, "Cluster") || !strings.Contains(about, "32 parts") {
		t.Errorf("String = %q", about)
	}
}

// While a slot moves from server to server calls may fail; none is answered
// wrongly, none that failed has happened, and afterwards all work.
func TestReshard(t *testing.T) {
	addresses := newCluster(t, 2, nil)
	s := mustOpen(t, addresses[0])
	var nodes []*redis.Client
	var ids, ports []string
	for _, a := range addresses {
		u, _ := url.Parse(a)
		c := connect(t, a)
		id, err := c.Do(t.Context(), "cluster", "myid").Text()
		if err != nil {
			t.Fatal(err)
		}
		nodes, ids, ports = append(nodes, c), append(ids, id), append(ports, u.Port())
	}
	stop := make(chan struct{})
	var done sync.WaitGroup
	var rotations, failures atomic.Int64
	for n := range byte(4) {
		sess := created(t, s, n)
		done.Go(func() {
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				next := reference.Token{ID: numbered(10+n, i), Timestamp: 2000}
				err := s.Replace(t.Context(), sess.Current, next)
				if err == nil {
					rotations.Add(1)
					sess.Current = next
					continue
				}
				failure(t, "Replace while the slot moves", err)
				failures.Add(1)
				got, err := s.Load(t.Context(), sess.Ref)
				for ; err != nil && t.Context().Err() == nil; got, err = s.Load(t.Context(), sess.Ref) {
					failure(t, "Load while the slot moves", err)
					failures.Add(1)
				}
				if got.Current != sess.Current {
					t.Errorf("after a Replace that failed the token is another: %v, want %v", got.Current, sess.Current)
					return
				}
			}
		})
	}
	do := func(c *redis.Client, args ...any) {
		t.Helper()
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Error(err)
		}
	}
	slot := int(nodes[0].ClusterKeySlot(t.Context(), "{farmspec}").Val())
	from := slot / (16384 / 2)
	for range 3 {
		to := 1 - from
		do(nodes[to], "cluster", "setslot", slot, "importing", ids[from])
		do(nodes[from], "cluster", "setslot", slot, "migrating", ids[to])
		for _, key := range nodes[from].ClusterGetKeysInSlot(t.Context(), slot, 100).Val() {
			moved := rotations.Load() + failures.Load()
			do(nodes[from], "migrate", "127.0.0.1", ports[to], key, 0, 5000)
			for rotations.Load()+failures.Load() < moved+5 && !t.Failed() {
				time.Sleep(time.Millisecond)
			}
		}
		do(nodes[to], "cluster", "setslot", slot, "node", ids[to])
		do(nodes[from], "cluster", "setslot", slot, "node", ids[to])
		for moved := rotations.Load(); rotations.Load() < moved+20 && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
		from = to
	}
	close(stop)
	done.Wait()
	if failures.Load() == 0 {
		t.Error("no call met the moving slot, so nothing was tried")
	}
	t.Logf("%d rotations, %d failures", rotations.Load(), failures.Load())
}

// startNative starts a server for this test alone, with settings of its own;
// announced, unless nil, is the port that it names in a cluster.
func startNative(t testing.TB, announced *dbtest.Proxy, settings ...string) (*native.Server, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "farmspec-redis-")
	if err != nil {
		t.Fatal(err)
	}
	port := drawn(t)
	if announced != nil {
		settings = append(settings, "--cluster-announce-port", strconv.Itoa(announced.Port()))
	}
	server, err := native.Redis(t.Context(), native.Options{Dir: dir, Port: port, Settings: settings})
	if errors.Is(err, native.ErrAbsent) {
		os.RemoveAll(dir)
		t.Skip("no redis-server: install the Debian package redis-server")
	}
	t.Cleanup(func() {
		if err := errors.Join(server.Stop(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return server, fmt.Sprintf("redis://127.0.0.1:%d/0", port)
}

func drawn(t testing.TB) int {
	t.Helper()
	n, err := ports.Draw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// newCluster starts servers that share the slots and returns their addresses.
func newCluster(t testing.TB, n int, announced *dbtest.Proxy) []string {
	t.Helper()
	var addresses []string
	var nodes []*redis.Client
	for range n {
		_, address := startNative(t, announced, "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1",
			"--cluster-port", strconv.Itoa(drawn(t)), "--appendonly", "yes")
		addresses, nodes = append(addresses, address), append(nodes, connect(t, address))
	}
	for i, node := range nodes {
		if err := node.ClusterAddSlotsRange(t.Context(), i*16384/n, (i+1)*16384/n-1).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			u, _ := url.Parse(addresses[0])
			bus := nodes[0].ConfigGet(t.Context(), "cluster-port").Val()["cluster-port"]
			if err := node.Do(t.Context(), "cluster", "meet", "127.0.0.1", u.Port(), bus).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, node := range nodes {
		for {
			info := node.ClusterInfo(t.Context()).Val()
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384") {
				break
			}
			if t.Context().Err() != nil {
				t.Fatal("the cluster does not come up")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return addresses
}

// kill ends the server as kill -9 does.
func kill(t testing.TB, address string) {
	t.Helper()
	info := connect(t, address).InfoMap(t.Context(), "server").Val()
	pid, err := strconv.Atoi(info["Server"]["process_id"])
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
}
