// Package dbtest gives tests a database server to talk to: one whose address
// an environment variable has, one in a container, or one that is installed.
// Where there is none the test is skipped and says what to do; a server that
// is there and does not work is a failure.
package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	client "github.com/redis/go-redis/v9"

	"github.com/farmspec/farmspec/ports"
	"github.com/farmspec/farmspec/reference/storetest/native"
)

// The environment variables that name running servers. What tests write there
// they take away again; a schema or a prefix of the test's own keeps it apart.
const (
	PostgresVariable = "FARMSPEC_TEST_POSTGRES" // postgres://USER:PASSWORD@HOST:PORT/DATABASE
	RedisVariable    = "FARMSPEC_TEST_REDIS"    // redis://:PASSWORD@HOST:PORT/NUMBER
)

// kind is a sort of server.
type kind struct {
	name, variable     string
	image, packageName string
	port               string // within the container
	env                func(password string) map[string]string
	args               func(password string) []string // of the container
	start              func(context.Context, native.Options) (*native.Server, error)
	settings           []string
	address            func(port int, password string) string
	ask                func(ctx context.Context, address string) error
}

var postgres = &kind{
	name: "PostgreSQL", variable: PostgresVariable, image: "postgres:15-bookworm", packageName: "postgresql", port: "5432/tcp",
	env: func(password string) map[string]string {
		return map[string]string{"POSTGRES_USER": native.User, "POSTGRES_PASSWORD": password, "POSTGRES_DB": "postgres"}
	},
	args:     func(string) []string { return append([]string{"postgres"}, hasty...) },
	start:    native.Postgres,
	settings: hasty,
	address: func(port int, password string) string {
		return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/postgres?sslmode=disable", native.User, password, port)
	},
	ask: func(ctx context.Context, address string) error {
		conn, err := pgx.Connect(ctx, address)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	},
}

// hasty leaves the disk its time: tests end processes, not machines.
var hasty = []string{"-c", "fsync=off"}

var redis = &kind{
	name: "Redis", variable: RedisVariable, image: "redis:7-bookworm", packageName: "redis-server", port: "6379/tcp",
	args: func(password string) []string {
		return append([]string{"redis-server", "--bind", "0.0.0.0", "--requirepass", password}, durableRedis...)
	},
	start:    native.Redis,
	settings: durableRedis,
	address: func(port int, password string) string {
		return fmt.Sprintf("redis://:%s@127.0.0.1:%d/0", password, port)
	},
	ask: askRedis,
}

// durableRedis keeps on the disk what it has acknowledged.
var durableRedis = []string{"--appendonly", "yes", "--appendfsync", "always"}

// Postgres returns the URL of a PostgreSQL server for the tests of this
// binary, whose user may make schemas. Each test makes its own.
func Postgres(t testing.TB) string { t.Helper(); return postgres.shared(t) }

// Redis returns the URL of a Redis server, 7 or newer, for the tests of this
// binary. Each test has keys of a prefix of its own, and nobody flushes.
func Redis(t testing.TB) string { t.Helper(); return redis.shared(t) }

// OwnPostgres starts a PostgreSQL server for this test alone, which may stop
// it. The environment variable does not serve here.
func OwnPostgres(t testing.TB) *Server { t.Helper(); return postgres.own(t) }

// OwnRedis starts a Redis server for this test alone, which may stop it.
func OwnRedis(t testing.TB) *Server { t.Helper(); return redis.own(t) }

// Server is a running server. It has the same URL and data after each start.
type Server struct {
	URL string

	kind   *kind
	engine interface {
		Start(context.Context) error
		Stop() error
		Kill() error
	}
	remove func() error
}

// Stop stops the server; connections to it end. It fails the test where that fails.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.engine.Stop(); err != nil {
		t.Fatalf("stop %s: %v", s.kind.name, err)
	}
}

// Kill ends the server without an orderly stop. It fails the test where that fails.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.engine.Kill(); err != nil {
		t.Fatalf("kill %s: %v", s.kind.name, err)
	}
}

// Start starts the server again and returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.engine.Start(t.Context()); err != nil {
		t.Fatalf("start %s: %v", s.kind.name, err)
	}
	if err := s.kind.await(t.Context(), s.URL); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) close() error { return errors.Join(s.engine.Stop(), s.remove()) }

// The servers that the tests of this binary share.
var (
	mu      sync.Mutex
	running bool
	open    = make(map[*kind]*Server)
	missing = make(map[*kind]string) // why there is none
)

// Run runs the tests of a binary and then stops the servers they were given:
//
//	func TestMain(m *testing.M) { os.Exit(dbtest.Run(m)) }
func Run(m *testing.M) int {
	running = true
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	for k, s := range open {
		if err := s.close(); err != nil {
			fmt.Fprintf(os.Stderr, "stop %s: %v\n", k.name, err)
			code = max(code, 1)
		}
	}
	return code
}

func (k *kind) shared(t testing.TB) string {
	t.Helper()
	if address := os.Getenv(k.variable); address != "" {
		if err := k.await(t.Context(), address); err != nil {
			t.Fatalf("%s: %v", k.variable, err)
		}
		return address
	}
	mu.Lock()
	defer mu.Unlock()
	if !running {
		t.Fatal("TestMain has to call dbtest.Run, which stops the servers")
	}
	if why, is := missing[k]; is {
		t.Skip(why)
	}
	if open[k] == nil {
		// The server outlives the test.
		s, why, err := k.serve(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if s == nil {
			missing[k] = why
			t.Skip(why)
		}
		open[k] = s
	}
	return open[k].URL
}

func (k *kind) own(t testing.TB) *Server {
	t.Helper()
	s, why, err := k.serve(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if s == nil {
		t.Skip(why)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Errorf("stop %s: %v", k.name, err)
		}
	})
	return s
}

// serve starts a server: in a container whose image is there, else from the
// installed programs, else in a container whose image has to be pulled. Why
// says what to do where there is no way.
func (k *kind) serve(ctx context.Context) (s *Server, why string, err error) {
	s, contained, err := k.inContainer(ctx, false)
	if s != nil || err != nil {
		return s, "", err
	}
	s, err = k.installed(ctx)
	if !errors.Is(err, native.ErrAbsent) {
		return s, "", err
	}
	if errors.Is(contained, errPull) {
		if s, contained, err = k.inContainer(ctx, true); s != nil || err != nil {
			return s, "", err
		}
	}
	return nil, fmt.Sprintf("no %s: name one in %s, or start a Docker engine (%v), or install the Debian package %s",
		k.name, k.variable, contained, k.packageName), nil
}

func (k *kind) installed(ctx context.Context) (*Server, error) {
	dir, err := os.MkdirTemp("", "farmspec-db-")
	if err != nil {
		return nil, err
	}
	remove := func() error { return os.RemoveAll(dir) }
	// A user that is not root has to reach the folder.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, errors.Join(err, remove())
	}
	port, err := ports.Draw(ctx)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	password := rand.Text()
	engine, err := k.start(ctx, native.Options{Dir: dir, Port: port, Password: password, Settings: k.settings})
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	s := &Server{URL: k.address(port, password), kind: k, engine: engine, remove: remove}
	if err := k.await(ctx, s.URL); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// await asks the server until it answers, for a minute.
func (k *kind) await(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := k.ask(ctx, address)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", k.name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func askRedis(ctx context.Context, address string) error {
	o, err := client.ParseURL(address)
	if err != nil {
		return err
	}
	o.MaxRetries = -1 // await asks again
	c := client.NewClient(o)
	return errors.Join(c.Ping(ctx).Err(), c.Close())
}
