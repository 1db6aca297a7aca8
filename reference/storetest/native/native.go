// Package native runs database servers as processes beside this one, from
// programs that are installed on the machine.
package native

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrAbsent says that a program is not installed.
var ErrAbsent = errors.New("not installed")

// Options say how a server runs.
type Options struct {
	// Dir is an empty folder for the server's data, its log and its socket,
	// .s.PGSQL.5432 or redis.sock. Where this process is root's, the server is
	// user nobody's and gets the folder.
	Dir string
	// Port is the TCP port on 127.0.0.1. Zero is none; the socket is always there.
	Port int
	// Password is what connections over TCP have to show. Those to the socket
	// of PostgreSQL are trusted.
	Password string
	// Settings are further arguments of the program.
	Settings []string
}

// User owns a PostgreSQL server of this package and may do everything there.
const User = "farmspec"

// Server is a server's process. Its methods are not for concurrent use.
type Server struct {
	// Dir is the server's folder.
	Dir string

	command []string
	as      *syscall.SysProcAttr
	ready   func() error

	cmd   *exec.Cmd
	input io.Closer     // ends the process when closed
	ended chan struct{} // closed after the process
}

// Postgres starts a PostgreSQL server on a new cluster, with every setting
// that matters for durability as it comes. ErrAbsent where there is none.
func Postgres(ctx context.Context, o Options) (*Server, error) {
	program, err := find("postgres")
	if err != nil {
		return nil, err
	}
	if program, err = filepath.EvalSymlinks(program); err != nil { // initdb is beside it
		return nil, err
	}
	as, err := notRoot(o.Dir)
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(o.Dir, "password")
	data := filepath.Join(o.Dir, "data")
	args := []string{"--pgdata", data, "--username", User, "--encoding", "UTF8", "--no-locale", "--no-sync", "--auth-local", "trust"}
	if o.Password != "" {
		if err := os.WriteFile(secret, []byte(o.Password), 0o600); err != nil {
			return nil, err
		}
		if as != nil {
			if err := os.Chown(secret, int(as.Credential.Uid), int(as.Credential.Gid)); err != nil {
				return nil, err
			}
		}
		args = append(args, "--pwfile", secret, "--auth-host", "scram-sha-256")
	} else {
		args = append(args, "--auth-host", "trust")
	}
	initdb := exec.CommandContext(ctx, filepath.Join(filepath.Dir(program), "initdb"), args...)
	initdb.Dir, initdb.SysProcAttr = o.Dir, as
	if said, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("run initdb: %w: %s", err, bytes.TrimSpace(said))
	}
	listen := ""
	if o.Port != 0 {
		listen = "127.0.0.1"
	}
	s := &Server{Dir: o.Dir, as: as, command: append([]string{program, "-D", data, "-k", o.Dir,
		"-c", "listen_addresses=" + listen, "-p", strconv.Itoa(cmp.Or(o.Port, 5432))}, o.Settings...)}
	s.ready = func() error {
		// The eighth line is what pg_ctl waits for; the first is the process, maybe
		// one that was killed.
		text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
		if err != nil {
			return err
		}
		if lines := strings.Split(string(text), "\n"); len(lines) < 8 || lines[0] != strconv.Itoa(s.cmd.Process.Pid) || strings.TrimSpace(lines[7]) != "ready" {
			return errors.New("not ready")
		}
		return nil
	}
	return s, s.Start(ctx)
}

// Redis starts a Redis server without saving points, which keeps what its
// settings say. ErrAbsent where there is none.
func Redis(ctx context.Context, o Options) (*Server, error) {
	program, err := find("redis-server")
	if err != nil {
		return nil, err
	}
	as, err := notRoot(o.Dir)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(o.Dir, "redis.sock")
	s := &Server{Dir: o.Dir, as: as, command: append([]string{program, "--port", strconv.Itoa(o.Port), "--bind", "127.0.0.1",
		"--unixsocket", socket, "--dir", o.Dir, "--save", ""}, o.Settings...)}
	if o.Password != "" {
		s.command = append(s.command, "--requirepass", o.Password)
	}
	s.ready = func() error {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
			return err
		}
		answer := make([]byte, 7)
		if _, err := io.ReadFull(conn, answer); err != nil {
			return err
		}
		if said := string(answer); said != "+PONG\r\n" && said != "-NOAUTH" {
			return fmt.Errorf("it says %q", said)
		}
		return nil
	}
	return s, s.Start(ctx)
}

// watched ends with the server, or ends the server when its own input ends,
// so that nothing stays behind where this process is killed.
const watched = `exec 3<&0; (read -r _ <&3; kill -INT $$) >/dev/null 2>&1 & exec "$@" 3<&- </dev/null`

// Start starts the server, again after a stop, and waits until it answers.
// Where that takes more than 30 seconds the error has the end of its log.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := s.start(ctx)
		// What a killed PostgreSQL leaves behind ends within moments.
		if err == nil || !strings.Contains(err.Error(), "still in use") || ctx.Err() != nil {
			return err
		}
	}
}

func (s *Server) start(ctx context.Context) (err error) {
	// A socket of the time before would be taken for the server's answer.
	_ = os.Remove(filepath.Join(s.Dir, "redis.sock"))
	log, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("sh", append([]string{"-c", watched, "sh"}, s.command...)...)
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = s.Dir, s.as, log, log
	if s.input, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	s.cmd, s.ended = cmd, ended
	defer func() {
		if err != nil {
			said, _ := os.ReadFile(log.Name())
			err = errors.Join(fmt.Errorf("start %s: %w: %s", filepath.Base(s.command[0]), err, bytes.TrimSpace(said[max(0, len(said)-1000):])), s.Stop())
		}
	}()
	for {
		err := s.ready()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server in order, and within ten seconds in any case. It does
// nothing where the server has ended.
func (s *Server) Stop() error {
	select {
	case <-s.ended:
		return nil
	default:
	}
	late := time.AfterFunc(10*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	if err := s.input.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	<-s.ended
	return nil
}

// Kill ends the server at once, without a word to it. It does nothing where the
// server has ended.
func (s *Server) Kill() error {
	err := s.cmd.Process.Kill()
	<-s.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// find returns a program's path. Debian keeps those of PostgreSQL off the PATH.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		elsewhere, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
		if len(elsewhere) == 0 {
			return "", fmt.Errorf("%s: %w", program, ErrAbsent)
		}
		path = slices.Max(elsewhere)
	}
	return path, nil
}

// notRoot returns how to run a program that must not be root's: as nobody, who
// gets the folder. It is nil for everybody but root.
func notRoot(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, int(uid), int(gid))
}
