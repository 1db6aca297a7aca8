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
	"syscall"
	"time"

	"github.com/farmspec/farmspec"
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
	started map[string]*server
	target  *farmspec.Target // of the farm in another process, once it runs
	wrkRate float64          // pages a second that wrk got last
	k6Rate  float64          // and k6
}

type server struct {
	dir   string
	cmd   *exec.Cmd
	input io.Closer // ends the server when closed; nil where a signal does
}

func newHost() (*host, error) {
	dir, err := os.MkdirTemp("", "farmspec-bench-")
	if err != nil {
		return nil, err
	}
	// A server that may not be root's has to reach its own folder in here.
	return &host{dir: dir, started: make(map[string]*server)}, os.Chmod(dir, 0o711)
}

// Close stops what was started, and removes its files.
func (h *host) Close() error {
	var errs []error
	for name, s := range h.started {
		if err := s.stop(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", name, err))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(h.dir))...)
}

// stop asks the server to end, and ends it if it does not.
func (s *server) stop() error {
	ask := func() error { return s.cmd.Process.Signal(syscall.SIGINT) }
	if s.input != nil {
		ask = s.input.Close
	}
	if err := ask(); err != nil {
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

func (h *host) served(name string, start func(ctx context.Context, dir string) (*server, error),
	ask func(ctx context.Context, s *server, d time.Duration) (float64, error)) func(context.Context) (speed.Work, error) {
	return func(ctx context.Context) (speed.Work, error) {
		s := h.started[name]
		if s == nil {
			dir := filepath.Join(h.dir, name)
			if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return speed.Work{}, err
			}
			var err error
			if s, err = start(ctx, dir); err != nil {
				return speed.Work{}, err
			}
			h.started[name] = s
		}
		return speed.Work{Measure: func(ctx context.Context, d time.Duration) (speed.Round, error) {
			rate, err := ask(ctx, s, d)
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

// await asks until the answer is yes, for ten seconds.
func await(ctx context.Context, what string, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

const postgresSchema = `CREATE TABLE sessions (ref int PRIMARY KEY, current_id uuid NOT NULL UNIQUE, previous_id uuid);
CREATE TABLE tokens (id uuid PRIMARY KEY, ref int NOT NULL);
INSERT INTO sessions SELECT n, gen_random_uuid() FROM generate_series(0, 31) AS n;`

// Each client has a session of its own.
const postgresScript = `SELECT current_id AS old FROM sessions WHERE ref = :client_id \gset
WITH r AS (UPDATE sessions SET previous_id = current_id, current_id = gen_random_uuid() WHERE ref = :client_id AND current_id = :old RETURNING ref, current_id)
INSERT INTO tokens SELECT current_id, ref FROM r;
`

// startPostgres makes a cluster that listens at a socket in its folder, with
// every setting that matters for durability as it comes.
func startPostgres(ctx context.Context, dir string) (*server, error) {
	if _, err := find("pgbench"); err != nil {
		return nil, err
	}
	program, err := find("postgres")
	if err != nil {
		return nil, err
	}
	if program, err = filepath.EvalSymlinks(program); err != nil { // initdb is beside it
		return nil, err
	}
	as, err := notRoot("postgres", dir)
	if err != nil {
		return nil, err
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.SysProcAttr = dir, as
		return cmd
	}
	data := filepath.Join(dir, "data")
	if _, err := output(command(filepath.Join(filepath.Dir(program), "initdb"), "--pgdata", data, "--username", "bench", "--auth", "trust")); err != nil {
		return nil, err
	}
	s := &server{dir: dir, cmd: command(program, "-D", data, "-k", dir, "-c", "listen_addresses=")}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "rotate.sql"), []byte(postgresScript), 0o644); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	psql := filepath.Join(filepath.Dir(program), "psql")
	if err := await(ctx, "postgres", func() error {
		_, err := output(exec.CommandContext(ctx, psql, "-h", dir, "-U", "bench", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", postgresSchema))
		return err
	}); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

func askPostgres(ctx context.Context, s *server, d time.Duration) (float64, error) {
	seconds := max(1, int(d.Round(time.Second).Seconds()))
	said, err := output(exec.CommandContext(ctx, "pgbench", "-h", s.dir, "-U", "bench", "-n", "-M", "prepared", "-c", "32", "-j", "2",
		"-T", strconv.Itoa(seconds), "-f", filepath.Join(s.dir, "rotate.sql"), "postgres"))
	if err != nil {
		return 0, err
	}
	found := tps.FindStringSubmatch(said)
	if found == nil {
		return 0, fmt.Errorf("run pgbench: no rate in %q", said)
	}
	return strconv.ParseFloat(found[1], 64)
}

func startRedis(options ...string) func(context.Context, string) (*server, error) {
	return func(ctx context.Context, dir string) (*server, error) {
		program, err := find("redis-server")
		if err != nil {
			return nil, err
		}
		if _, err := find("redis-benchmark"); err != nil {
			return nil, err
		}
		s := &server{dir: dir, cmd: exec.Command(program, append([]string{"--port", "0", "--unixsocket", filepath.Join(dir, "redis.sock"), "--dir", dir, "--save", ""}, options...)...)}
		if err := s.cmd.Start(); err != nil {
			return nil, err
		}
		err = await(ctx, "redis", func() error {
			_, err := os.Stat(filepath.Join(dir, "redis.sock"))
			return err
		})
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		return s, nil
	}
}

// A session is found and its ID replaced within the script, which nobody
// interrupts; the benchmark has no way to present the ID of an earlier answer.
const redisScript = `local old = redis.call('HGET', KEYS[1], 'id')
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'previous', old or '')
redis.call('SET', 'token:' .. ARGV[1], KEYS[1])
return old`

func askRedis(ctx context.Context, s *server, d time.Duration) (float64, error) {
	// As many as take about that long on a machine that does 50,000 a second.
	n := max(1000, int(50_000*d.Seconds()))
	said, err := output(exec.CommandContext(ctx, "redis-benchmark", "-s", filepath.Join(s.dir, "redis.sock"), "-c", "32", "-n", strconv.Itoa(n), "-r", "1000000", "--csv",
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
