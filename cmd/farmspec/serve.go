package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm"
)

type serveFlags struct {
	simfarm.Options
	mode, policy, topology, replay string
	target                         string
	admin                          bool
	ca, keys, metrics              string
}

func newServe() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the reference farm for a person with a browser",
		Long: `Runs the reference farm on loopback until Ctrl-C and prints its addresses and
who may sign in. Names under localhost need no setting up: browsers and curl
know them.

With --store sqlite:FILE sessions survive a restart, however it came about; the
farm's keys and users are then kept beside them in FILE.keys. In a database
server they survive as well, and with --keys FILE they stay good.

With --participants N an identity provider and N other systems are opened too.
Who signs in at one of them by way of the provider is signed in at all; a
log-out at one, and the administrator's at the farm, reaches all.`,
		Example: `  farmspec serve
  farmspec serve --servers 5 --topology split-domain --mode claimed
  farmspec serve --store sqlite:farm.db --idle 2m --admin
  farmspec serve --participants 3             # and see a log-out reach them all
  farmspec serve --write-target farm.yaml     # then, elsewhere: farmspec run farm.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.serve(c) },
	}
	fl := c.Flags()
	fl.IntVar(&f.Servers, "servers", 3, "number of web servers")
	fl.StringVar(&f.Database, "store", "memory", "session database: memory, sqlite:FILE, postgres://HOST:PORT/DATABASE or redis://HOST:PORT/NUMBER")
	fl.StringVar(&f.keys, "keys", "", "keep the farm's keys and users in this file (default: beside an SQLite file, else nowhere)")
	fl.StringVar(&f.mode, "mode", "", "hand-off mode: sealed, claimed or direct")
	fl.StringVar(&f.policy, "policy", string(farmspec.Coalesce), "rotation policy: strict, coalesce or read-verify")
	fl.DurationVar(&f.Grace, "grace", 5*time.Second, "how long a replaced token stays good under coalesce")
	fl.StringVar(&f.topology, "topology", "", "topology: shared-domain, single-host or split-domain")
	fl.StringVar(&f.replay, "replay", "", "answer to a spent token: reject or revoke-family")
	fl.DurationVar(&f.Limits.Idle, "idle", 30*time.Minute, "idle time-out of a session")
	fl.DurationVar(&f.Limits.Absolute, "absolute", 12*time.Hour, "longest life of a session")
	fl.DurationVar(&f.Limits.HTTPIdle, "http-idle", 20*time.Minute, "idle time-out of an application's HTTP session")
	fl.IntVar(&f.MaxSessions, "max-sessions", 0, "concurrent sessions of one user (0: no limit)")
	fl.IntVar(&f.Participants, "participants", 0, "other systems that take part in single log-out, and an identity provider with them")
	fl.IntVar(&f.Port, "port", 8080, "first port; the other servers and the session service follow (0: free ports)")
	fl.StringVar(&f.Address, "listen", "127.0.0.1", "IPv4 address to listen at")
	fl.BoolVar(&f.TLS, "tls", false, "listen with TLS, by certificates of an authority that lives as long as the farm")
	fl.StringVar(&f.ca, "ca", "", "write the authority's certificate into this file (PEM), for curl --cacert and target files; implies --tls")
	fl.StringVar(&f.target, "write-target", "", "write the farm's target file, hooks included, and let farmspec run FILE judge it from another process")
	fl.StringVar(&f.metrics, "metrics", "", "tell the farm's own numbers in Prometheus's text format at this address, such as 127.0.0.1:9100")
	fl.BoolVar(&f.admin, "admin", false, "offer the administrator's page, /admin")
	return c
}

func (f *serveFlags) serve(c *cobra.Command) error {
	began := time.Now()
	ctx, o := c.Context(), f.Options
	named, err := profile(f.mode, f.policy, f.topology, f.replay)
	if err != nil {
		return err
	}
	o.Handoff, o.Rotation, o.Topology, o.Replay = named.Handoff, named.Rotation, named.Topology, named.Replay
	o.Version, o.Unobserved = version(), true
	o.TLS = o.TLS || f.ca != ""
	if err := f.positive(); err != nil {
		return usageError(err)
	}
	if ip := net.ParseIP(o.Address); ip != nil && !ip.IsLoopback() {
		fmt.Fprintf(c.ErrOrStderr(), "farmspec: warning: %s is not loopback: whoever reaches this machine reaches the farm, and it is made to be examined\n", o.Address)
	}

	state, closeStore, err := openState(ctx, &o, f.keys)
	if err != nil {
		return err
	}
	defer closeStore()
	o.Keys, o.Users = state.keys, state.users
	shown, password := o.Users, rand.Text()
	if f.target != "" {
		o.Users = append(slices.Clone(o.Users), judgeUsers(password)...)
	}
	if f.admin {
		o.AdminPassword = drawPassword()
	}
	told := ""
	if f.metrics != "" {
		var numbers simfarm.Metrics
		var stop func()
		if told, stop, err = tell(&numbers, f.metrics); err != nil {
			return usageError(err)
		}
		defer stop()
		o = numbers.Watch(o)
	}
	farm, err := simfarm.Open(ctx, o)
	if err != nil {
		return openFailed(err, o)
	}
	if f.ca != "" {
		if err := os.WriteFile(f.ca, farm.CA(), 0o644); err != nil {
			return usageError(errors.Join(fmt.Errorf("write the authority's certificate: %w", err), farm.Close()))
		}
	}
	if f.target != "" {
		closeControl, err := writeTarget(f.target, farm, password, told)
		if err != nil {
			_ = farm.Close()
			return err
		}
		defer closeControl()
	}
	o.Users = shown
	f.print(c.OutOrStdout(), farm, o, told, time.Since(began))
	if state.note != "" {
		fmt.Fprintln(c.ErrOrStderr(), "farmspec: note:", state.note)
	}

	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	for {
		select {
		case <-sweep.C:
			if _, err := farm.Sweep(ctx); err != nil && ctx.Err() == nil {
				fmt.Fprintln(c.ErrOrStderr(), "farmspec:", err)
			}
			continue
		case <-ctx.Done():
		}
		fmt.Fprintln(c.OutOrStdout(), "\nStopping.")
		if err := farm.Close(); err != nil {
			return &exitError{Code: farmspec.ExitInternal, Err: err}
		}
		return nil
	}
}

// positive refuses durations that a farm would take for its defaults.
func (f *serveFlags) positive() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"grace", f.Grace}, {"idle", f.Limits.Idle}, {"absolute", f.Limits.Absolute}, {"http-idle", f.Limits.HTTPIdle}} {
		if d.value < time.Millisecond {
			return fmt.Errorf("--%s %v: want a duration of a millisecond or more, such as 30m", d.flag, d.value)
		}
	}
	for _, n := range []struct {
		flag       string
		value, min int
	}{{"servers", f.Servers, 1}, {"max-sessions", f.MaxSessions, 0}, {"participants", f.Participants, 0}, {"port", f.Port, 0}} {
		if n.value < n.min {
			return fmt.Errorf("--%s %d: want %d or more", n.flag, n.value, n.min)
		}
	}
	return nil
}

func (f *serveFlags) print(out io.Writer, farm *simfarm.Farm, o simfarm.Options, told string, took time.Duration) {
	kept := "in memory, until it stops"
	if path, ok := strings.CutPrefix(o.Database, "sqlite:"); ok && path != ":memory:" {
		kept = "in " + path
	} else if simfarm.OnServer(o.Database) {
		kept = fmt.Sprint("in ", o.Store)
	}
	policy := string(o.Rotation)
	if o.Rotation == farmspec.Coalesce {
		policy += fmt.Sprintf(" (%v)", o.Grace)
	}
	fmt.Fprintf(out, "The reference farm is up (%v): %s hand-off, %s rotation, %s; sessions %s.\n\n",
		took.Round(time.Millisecond), o.Handoff, policy, o.Topology, kept)
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, m := range farm.Members() {
		fmt.Fprintf(t, "  %s\t%s/\n", m.Name, m.URL)
	}
	fmt.Fprintf(t, "  session service\t%s\t(for members; described at /v1/openapi.yaml)\n", farm.ServiceURL())
	if told != "" {
		fmt.Fprintf(t, "  its numbers\t%s\n", told)
	}
	if circle, ok := farm.Circle(); ok {
		fmt.Fprintf(t, "  single sign-on\t%s\n", farm.Members()[0].At(circle.SignOn))
		for _, s := range append([]farmspec.Site{circle.Provider}, circle.Participants...) {
			fmt.Fprintf(t, "  %s\t%s/\n", s.Name, s.URL)
		}
	}
	fmt.Fprintln(t)
	fmt.Fprint(t, "  Sign in as")
	for _, u := range o.Users {
		fmt.Fprintf(t, "\t%s\t%s\n", u.Name, u.Password)
	}
	if o.AdminPassword != "" {
		fmt.Fprintf(t, "  Administrator\tadmin\t%s\t%s/admin\n", o.AdminPassword, farm.Members()[0].URL)
	}
	if f.target != "" {
		fmt.Fprintf(t, "  Judge it with\tfarmspec run %s\n", f.target)
	}
	_ = t.Flush() // a terminal that is gone has no reader
	switch {
	case f.ca != "":
		fmt.Fprintf(out, "\n  Its certificates are vouched for by the authority in %s, which is good for names of this machine alone.\n", f.ca)
	case o.TLS:
		fmt.Fprint(out, "\n  No browser knows the authority of its certificates; --ca FILE writes it down.\n")
	}
	fmt.Fprintln(out, "\nStop with Ctrl-C; a second one ends it at once.")
}

// demoUsers may sign in; their passwords are drawn.
var demoUsers = []string{"ada", "grace", "alan"}

// drawPassword returns 12 letters and digits, 60 random bits.
func drawPassword() string { return strings.ToLower(rand.Text()[:12]) }

// openState opens the session database and finds the keys and users that
// belong to it: those in the key file, or new ones. An SQLite file has its key
// file beside it where none is named.
func openState(ctx context.Context, o *simfarm.Options, keys string) (serveState, func(), error) {
	path, isFile := strings.CutPrefix(o.Database, "sqlite:")
	isFile = isFile && path != ":memory:"
	existed := false
	if isFile {
		info, err := os.Stat(path)
		existed = err == nil
		if existed && info.IsDir() {
			return serveState{}, nil, &exitError{farmspec.ExitUsage, fmt.Errorf("open session database: %s is a folder", path), "name a file in it: --store sqlite:" + strings.TrimSuffix(path, "/") + "/farm.db"}
		}
	}
	store, err := simfarm.OpenStore(ctx, o.Database)
	if err != nil {
		return serveState{}, nil, openFailed(err, *o)
	}
	closeStore := func() {
		if c, ok := store.(io.Closer); ok {
			_ = c.Close() // every answer given is on disk already
		}
	}
	o.Store = store
	if keys == "" && isFile {
		keys = path + ".keys"
	}
	if keys == "" {
		s, err := newServeState()
		if simfarm.OnServer(o.Database) {
			s.note = "keys and users are new at each start, and whoever is signed in must sign in again then; --keys FILE keeps them"
		}
		return s, closeStore, err
	}
	s, err := loadServeState(keys)
	if errors.Is(err, fs.ErrNotExist) {
		if s, err = createServeState(keys); err == nil && existed {
			s.note = keys + " was missing and has been made anew: whoever was signed in before must sign in again"
		}
	}
	if err != nil {
		closeStore()
		return serveState{}, nil, err
	}
	return s, closeStore, nil
}

// openFailed explains why a farm did not open.
func openFailed(err error, o simfarm.Options) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = fmt.Sprintf("something else listens there; choose other ports, for example --port %d, or --port 0 for free ones", o.Port+1000)
		if o.Port+1000+o.Servers > 65000 {
			hint = "something else listens there; choose other ports with --port, or --port 0 for free ones"
		}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this machine does not have that address; leave --listen out for 127.0.0.1"
	case errors.Is(err, fs.ErrPermission) && strings.Contains(err.Error(), "listen"):
		hint = "ports below 1024 need privileges; choose another with --port"
	case strings.HasPrefix(o.Database, "sqlite:") && strings.Contains(err.Error(), "session database"):
		hint = "choose a file that farmspec made or may make, in a folder you may write to: --store sqlite:FILE"
	}
	return &exitError{farmspec.ExitUsage, err, hint}
}
