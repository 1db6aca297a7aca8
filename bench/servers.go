package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/storetest/native"
	"github.com/farmspec/farmspec/simfarm/speed"
)

// The names of the servers' cases.
const (
	postgresName     = "Peer/store=postgres/callers=32"
	redisName        = "Peer/store=redis/callers=32"
	redisDurableName = "Peer/store=redis-durable/callers=32"
)

// servers are session databases that run beside this process, each with its
// own load generator, through a socket file, where they are installed. Find,
// check and replace are asked for as each would be used; the new session ID
// is kept beside the spent ones, as in ours.
func (h *host) servers() []speed.Case {
	return []speed.Case{
		{Name: postgresName, Open: h.served("postgres", startPostgres, askPostgres)},
		{Name: redisName, Open: h.served("redis", startRedis("--appendonly", "no"), askRedis)},
		{Name: redisDurableName, Open: h.served("redis-durable", startRedis("--appendonly", "yes", "--appendfsync", "always"), askRedis)},
	}
}

// host starts servers when they are first needed and stops them at the end.
type host struct {
	dir     string
	started map[string]interface{ Stop() error }
	target  *farmspec.Target // of the farm in another process, once it runs
	wrkRate float64          // pages a second that wrk got last
	k6Rate  float64          // and k6
}

func newHost() (*host, error) {
	dir, err := os.MkdirTemp("", "farmspec-bench-")
	if err != nil {
		return nil, err
	}
	// A server that may not be root's has to reach its own folder in here.
	return &host{dir: dir, started: make(map[string]interface{ Stop() error })}, os.Chmod(dir, 0o711)
}

// Close stops what was started, and removes its files.
func (h *host) Close() error {
	var errs []error
	for name, s := range h.started {
		if err := s.Stop(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", name, err))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(h.dir))...)
}

// server is a process that ends when its input does.
type server struct {
	cmd   *exec.Cmd
	input io.Closer
}

// Stop asks the server to end, and ends it if it does not.
func (s *server) Stop() error {
	if err := s.input.Close(); err != nil {
		return err
	}
	late := time.AfterFunc(10*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) { // how it ends when told to is its own affair
		return nil
	}
	return err
}

// served is a case about a server in the folder of its name, which start runs
// and ask asks at its socket.
func (h *host) served(name string, start func(ctx context.Context, dir string) (*native.Server, error),
	ask func(ctx context.Context, dir string, d time.Duration) (float64, error)) func(context.Context) (speed.Work, error) {
	return func(ctx context.Context) (speed.Work, error) {
		dir := filepath.Join(h.dir, name)
		if h.started[name] == nil {
			if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return speed.Work{}, err
			}
			s, err := start(ctx, dir)
			if errors.Is(err, native.ErrAbsent) {
				err = fmt.Errorf("%w: %w", speed.ErrAbsent, err)
			}
			if err != nil {
				return speed.Work{}, err
			}
			h.started[name] = s
		}
		return speed.Work{Measure: func(ctx context.Context, d time.Duration) (speed.Round, error) {
			rate, err := ask(ctx, dir, d)
			if err == nil && rate <= 0 {
				err = fmt.Errorf("%s did nothing", name)
			}
			return speed.Round{N: int(rate * d.Seconds()), Wall: 1e9 / rate, Bytes: -1, Allocs: -1}, err
		}}, nil
	}
}

// find returns a program's path.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, speed.ErrAbsent)
	}
	return path, nil
}

// output runs a program to its end and returns what it says.
func output(cmd *exec.Cmd) (string, error) {
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w: %s", filepath.Base(cmd.Path), err, bytes.TrimSpace(complained.Bytes()))
	}
	return said.String(), nil
}

const postgresSchema = `CREATE TABLE sessions (ref int PRIMARY KEY, current_id uuid NOT NULL UNIQUE, previous_id uuid);
CREATE TABLE tokens (id uuid PRIMARY KEY, ref int NOT NULL);
INSERT INTO sessions SELECT n, gen_random_uuid() FROM generate_series(0, 31) AS n;`

// Each client has a session of its own.
const postgresScript = `SELECT current_id AS old FROM sessions WHERE ref = :client_id \gset
WITH r AS (UPDATE sessions SET previous_id = current_id, current_id = gen_random_uuid() WHERE ref = :client_id AND current_id = :old RETURNING ref, current_id)
INSERT INTO tokens SELECT current_id, ref FROM r;
`

func startPostgres(ctx context.Context, dir string) (*native.Server, error) {
	for _, program := range []string{"pgbench", "psql"} {
		if _, err := find(program); err != nil {
			return nil, err
		}
	}
	s, err := native.Postgres(ctx, native.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err = os.WriteFile(filepath.Join(dir, "rotate.sql"), []byte(postgresScript), 0o644); err == nil {
		_, err = output(exec.CommandContext(ctx, "psql", "-h", dir, "-U", native.User, "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", postgresSchema))
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

func askPostgres(ctx context.Context, dir string, d time.Duration) (float64, error) {
	seconds := max(1, int(d.Round(time.Second).Seconds()))
	said, err := output(exec.CommandContext(ctx, "pgbench", "-h", dir, "-U", native.User, "-n", "-M", "prepared", "-c", "32", "-j", "2",
		"-T", strconv.Itoa(seconds), "-f", filepath.Join(dir, "rotate.sql"), "postgres"))
	if err != nil {
		return 0, err
	}
	found := tps.FindStringSubmatch(said)
	if found == nil {
		return 0, fmt.Errorf("run pgbench: no rate in %q", said)
	}
	return strconv.ParseFloat(found[1], 64)
}

func startRedis(settings ...string) func(context.Context, string) (*native.Server, error) {
	return func(ctx context.Context, dir string) (*native.Server, error) {
		if _, err := find("redis-benchmark"); err != nil {
			return nil, err
		}
		return native.Redis(ctx, native.Options{Dir: dir, Settings: settings})
	}
}

// A session is found and its ID replaced within the script, which nobody
// interrupts; the benchmark has no way to present the ID of an earlier answer.
const redisScript = `local old = redis.call('HGET', KEYS[1], 'id')
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'previous', old or '')
redis.call('SET', 'token:' .. ARGV[1], KEYS[1])
return old`

func askRedis(ctx context.Context, dir string, d time.Duration) (float64, error) {
	// As many as take about that long on a machine that does 50,000 a second.
	n := max(1000, int(50_000*d.Seconds()))
	said, err := output(exec.CommandContext(ctx, "redis-benchmark", "-s", filepath.Join(dir, "redis.sock"), "-c", "32", "-n", strconv.Itoa(n), "-r", "1000000", "--csv",
		"EVAL", redisScript, "1", "session:__rand_int__", "__rand_int__"))
	if err != nil {
		return 0, err
	}
	rows, err := csv.NewReader(strings.NewReader(said)).ReadAll()
	if err != nil || len(rows) < 2 || len(rows[1]) < 2 {
		return 0, fmt.Errorf("run redis-benchmark: no rate in %q", said)
	}
	return strconv.ParseFloat(rows[1][1], 64)
}
