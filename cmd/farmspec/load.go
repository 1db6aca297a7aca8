package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
	"github.com/farmspec/farmspec/reports"
	"github.com/farmspec/farmspec/simfarm"
)

type loadFlags struct {
	loadtest.Options
	rate                           float64
	pacer, mix, shard, startAt     string
	connections, out               string
	mode, policy, topology, replay string
	servers                        int
	store, engine, file            string
	tls, owned                     bool
	findMax                        bool
	limitP99                       time.Duration
	limitFailed                    float64
}

func newLoad() *cobra.Command {
	var f loadFlags
	c := &cobra.Command{
		Use:   "load [TARGET.yaml]",
		Short: "Load a farm with browsers whose tokens rotate, and judge it meanwhile",
		Long: `Loads the reference farm, in this process, or the farm of a target file, with
virtual browsers that each have a session and, where the farm rotates tokens, a
rotating token of their own. Arrivals come when they are due, whatever the farm
does, and latency counts from then. Spent tokens are presented all the time, and
the history of every token is checked afterwards.

A target file's load.max_rate is obeyed, its accounts are used one for each
browser, and its metrics are drawn beside the latency. A farm on other machines
is loaded only with --i-own-this-target; the answer is remembered by host.

Engines: vegeta speaks HTTP/1.1, HTTP/2 and TLS; fast, on Linux, HTTP/1.1 without
TLS at a fraction of the CPU time.

Writes load.json, load.hlog (HdrHistogram), load.html and results.bin, which
` + "`vegeta report`" + ` and ` + "`vegeta plot`" + ` read, into the output folder. Ctrl-C writes
what there is.

Pacers: constant, ramp:TO, sine:AMP/PERIOD, steps:ADD/EVERY, burst:N/EVERY.
Actions of a mix: view, hop, state, login, logout, idle, tabs.`,
		Example: `  farmspec load
  farmspec load --rate 500 --browsers 200 --duration 1m --store sqlite:farm.db
  farmspec load --pacer ramp:800 --mix view=50,hop=50 --think 100ms
  farmspec load --find-max --duration 5s
  farmspec load shop.yaml --rate 50
  farmspec load --shard 1/2 --start-at 14:30:00 --out one
  farmspec load shop.yaml --shard env:JOB_COMPLETION_INDEX/8 --start-at 14:30:00`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	fl := c.Flags()
	fl.Float64Var(&f.rate, "rate", 100, "arrivals per second")
	fl.StringVar(&f.pacer, "pacer", "constant", "how the rate goes")
	fl.IntVar(&f.Browsers, "browsers", 50, "virtual browsers, all shards together")
	fl.DurationVar(&f.Duration, "duration", 10*time.Second, "how long it counts; with --find-max, each step")
	fl.DurationVar(&f.WarmUp, "warm-up", time.Second, "how long it runs before")
	fl.StringVar(&f.mix, "mix", loadtest.DefaultMix.String(), "weights of the actions")
	fl.DurationVar(&f.Think, "think", 0, "how long a browser rests between page views, on average")
	fl.Float64Var(&f.Probe, "probe", 0.1, "share of page views followed by presenting a spent token")
	fl.StringVar(&f.connections, "connections", "keep", "keep: reuse connections; new: one for each request")
	fl.DurationVar(&f.Timeout, "timeout", 10*time.Second, "bound of a page view")
	fl.BoolVar(&f.findMax, "find-max", false, "step the rate up from --rate until a limit breaks")
	fl.DurationVar(&f.limitP99, "limit-p99", 500*time.Millisecond, "latency limit of --find-max")
	fl.Float64Var(&f.limitFailed, "limit-failed", 0.001, "limit of --find-max for the share not served")
	fl.StringVar(&f.engine, "engine", "vegeta", "what sends the requests: vegeta or fast")
	fl.BoolVar(&f.owned, "i-own-this-target", false, "load a farm that is not on this machine; I am allowed to")
	fl.StringVar(&f.shard, "shard", "", "make one part of the load, i/n from 1 to n; env:NAME/n takes the part from the environment, where it counts from 0")
	fl.StringVar(&f.startAt, "start-at", "", "when all parts begin: HH:MM:SS today, or RFC 3339")
	fl.Uint64Var(&f.Seed, "seed", 0, "seed of what arrivals do (default: drawn and reported; 1 for shards)")
	fl.StringVar(&f.out, "out", "farmspec-load", "folder for the report")
	fl.StringVar(&f.store, "store", "memory", "session database of the reference: sqlite:FILE, "+manyStores+" (a part of its own there)")
	fl.IntVar(&f.servers, "servers", 3, "number of web servers of the reference")
	fl.StringVar(&f.mode, "mode", "", "hand-off mode: sealed, claimed or direct")
	fl.StringVar(&f.policy, "policy", "", "rotation policy: strict, coalesce or read-verify")
	fl.StringVar(&f.topology, "topology", "", "topology: shared-domain, single-host or split-domain")
	fl.StringVar(&f.replay, "replay", "", "answer to a spent token: reject or revoke-family")
	fl.BoolVar(&f.tls, "tls", false, "the reference over TLS, by HTTP/2; for the engine vegeta")
	c.AddCommand(newLoadMerge())
	return c
}

func (f *loadFlags) run(c *cobra.Command, args []string) error {
	target, err := f.source(c, args)
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return usageError(err)
	}
	if err := writable(f.out); err != nil {
		return usageError(err)
	}
	// A generator that collects garbage all the time measures itself.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(2 << 30)
	ctx := c.Context()
	if f.Target = target; target == nil {
		farm, err := profile(f.mode, f.policy, f.topology, f.replay)
		if err != nil {
			return err
		}
		farm.Apart = true
		farm.Servers, farm.Database, farm.TLS, farm.Unobserved, farm.Version = f.servers, f.store, f.tls, true, version()
		var numbers simfarm.Metrics
		targets, closeAll, err := open(ctx, []simfarm.Options{numbers.Watch(farm)})
		if err != nil {
			return openFailed(err, farm)
		}
		defer closeAll()
		told, stop, err := tell(&numbers, "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer stop()
		f.Target = targets[0]
		f.Target.Metrics = []string{told}
	}
	f.Command = commandLine()
	f.Version, f.Commit = build()
	term := terminal(c.OutOrStdout())
	progress := reports.NewLoadProgress(c.OutOrStdout(), term)
	defer progress.Close()
	f.Progress = progress
	report, files, err := f.load(ctx)
	progress.Close()
	if err != nil {
		return err
	}
	return f.conclude(c, report, term, files)
}

// source reads the target file that the command line names; nil for the
// reference.
func (f *loadFlags) source(c *cobra.Command, args []string) (*farmspec.Target, error) {
	if len(args) == 0 || args[0] == "reference" {
		return nil, nil
	}
	for _, name := range []string{"store", "servers", "mode", "policy", "topology", "replay", "tls"} {
		if c.Flags().Changed(name) {
			return nil, usageError(fmt.Errorf("--%s configures the reference farm; a target file says what its farm is", name))
		}
	}
	source, err := openSource(args[0])
	if err != nil {
		return nil, err
	}
	f.file = args[0]
	f.Owned, err = owned(source.Target, f.owned)
	return source.Target, err
}

// check turns the flags into options.
func (f *loadFlags) check() error {
	if f.Duration < 100*time.Millisecond || f.WarmUp < 0 || f.Think < 0 || f.Timeout < time.Millisecond {
		return fmt.Errorf("--duration %v, --warm-up %v, --think %v, --timeout %v: want a tenth of a second or more, and nothing negative", f.Duration, f.WarmUp, f.Think, f.Timeout)
	}
	if f.Browsers < 1 {
		return fmt.Errorf("--browsers %d: want 1 or more", f.Browsers)
	}
	if !(f.Probe >= 0 && f.Probe <= 1) { // NaN too
		return fmt.Errorf("--probe %v: want a share, 0 to 1", f.Probe)
	}
	if f.Probe == 0 {
		f.Probe = -1 // none, which is not the default
	}
	switch f.connections {
	case "keep":
	case "new":
		f.NewConnections = true
	default:
		return fmt.Errorf("--connections %q: want keep or new", f.connections)
	}
	var err error
	if f.Pace, err = loadtest.ParsePace(f.pacer, f.rate, f.WarmUp+f.Duration); err != nil {
		return fmt.Errorf("--pacer or --rate: %w", err)
	}
	if f.Mix, err = loadtest.ParseMix(f.mix); err != nil {
		return fmt.Errorf("--mix: %w", err)
	}
	switch f.engine {
	case "vegeta":
		f.Engine = loadtest.Vegeta{}
	case "fast":
		f.Engine = loadtest.Fast{}
	default:
		return fmt.Errorf("--engine %q: want vegeta or fast", f.engine)
	}
	if f.Shard, err = shardOf(f.shard); err != nil {
		return fmt.Errorf("--shard: %w", err)
	}
	if f.StartAt, err = instantOf(f.startAt, time.Now()); err != nil {
		return err
	}
	if f.findMax {
		if f.pacer != "constant" || f.limitP99 <= 0 || f.limitFailed < 0 || f.limitFailed >= 1 {
			return errors.New("--find-max steps a constant rate up; it needs a --limit-p99 above zero and a --limit-failed from 0 to below 1")
		}
		if f.startAt != "" || f.shard != "" {
			return errors.New("--find-max cannot be split into shards: what one finds does not tell the next step to another")
		}
		f.Search = &loadtest.Search{From: f.rate, P99: f.limitP99, Failed: f.limitFailed}
	}
	switch {
	case f.Seed != 0:
	case f.shard != "":
		f.Seed = 1 // the same in every shard
	default:
		f.Seed = rand.Uint64()
	}
	return nil
}

// shardOf reads --shard. The index of env:NAME/n counts from 0, as that of a
// Kubernetes indexed Job does.
func shardOf(text string) (loadtest.Shard, error) {
	if rest, ok := strings.CutPrefix(text, "env:"); ok {
		name, n, _ := strings.Cut(rest, "/")
		index, err := strconv.Atoi(os.Getenv(name))
		if err != nil {
			return loadtest.Shard{}, fmt.Errorf("%q: the environment's %s is %q, not a number from 0 on", text, name, os.Getenv(name))
		}
		text = fmt.Sprintf("%d/%s", index+1, n)
	}
	return loadtest.ParseShard(text)
}

// instantOf reads --start-at; the zero time for "".
func instantOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		var clock time.Time
		if clock, err = time.Parse(time.TimeOnly, text); err == nil {
			at = time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, now.Location())
		}
	}
	switch {
	case err != nil:
		return at, fmt.Errorf("--start-at %q: want HH:MM:SS or a time such as %s", text, now.Add(time.Minute).Format(time.RFC3339))
	case at.Before(now):
		return at, fmt.Errorf("--start-at %s has passed; it is %s", text, now.Format(time.RFC3339))
	case at.Sub(now) > 24*time.Hour:
		return at, fmt.Errorf("--start-at %s is more than a day away", text)
	}
	return at, nil
}

// load runs, with the results on their way to a file.
func (f *loadFlags) load(ctx context.Context) (*farmspec.LoadReport, []string, error) {
	temporary, err := os.CreateTemp(f.out, "."+reports.LoadResultsFile+".*")
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("write results: %w; choose another folder with --out", err))
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	defer temporary.Close()
	w := bufio.NewWriterSize(temporary, 1<<16)
	if f.Search == nil {
		f.Results = w
	}
	report, err := loadtest.Run(ctx, f.Options)
	var not *loadtest.NotReadyError
	switch {
	case errors.As(err, &not):
		hint := "is the farm up? see what one browser gets: farmspec serve, or farmspec run"
		if f.file != "" {
			hint = "is the farm up? see what one browser gets: farmspec doctor " + f.file
		}
		return nil, nil, &exitError{farmspec.ExitNotReady, err, hint}
	case err != nil && ctx.Err() != nil:
		return nil, nil, &exitError{Code: farmspec.ExitInconclusive, Err: err, Hint: "nothing was measured, so nothing was written"}
	case err != nil:
		return nil, nil, usageError(err)
	}
	files, err := reports.WriteLoad(f.out, report)
	if err != nil {
		return nil, nil, usageError(err)
	}
	final := filepath.Join(f.out, reports.LoadResultsFile)
	if f.Search != nil {
		_ = os.Remove(final) // one of an earlier run would belong to another report
		return report, files, nil
	}
	if err := errors.Join(w.Flush(), temporary.Chmod(0o644), temporary.Close(), os.Rename(temporary.Name(), final)); err != nil {
		return nil, nil, usageError(fmt.Errorf("write results: %w", err))
	}
	return report, append(files, final), nil
}

func (f *loadFlags) conclude(c *cobra.Command, r *farmspec.LoadReport, t reports.Terminal, files []string) error {
	if err := reports.ClosingLoad(c.OutOrStdout(), r, t, files...); err != nil {
		return err
	}
	if r.Exit != 0 {
		return &exitError{Code: r.Exit}
	}
	return nil
}

func newLoadMerge() *cobra.Command {
	var f loadFlags
	c := &cobra.Command{
		Use:   "merge FOLDER...",
		Short: "Join the reports of a load's shards",
		Long: `Joins load.json of each folder, exactly: counts and histograms add, and what
was broken in one shard is broken. All must be of one plan. The results.bin of
the shards need no joining: ` + "`vegeta report */results.bin`" + ` reads them all.`,
		Example: `  farmspec load merge one two --out both`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var all []*farmspec.LoadReport
			for _, dir := range args {
				path := dir
				if info, err := os.Stat(dir); err == nil && info.IsDir() {
					path = filepath.Join(dir, reports.LoadFile)
				}
				r, err := reports.ReadLoad(path)
				if err != nil {
					return usageError(err)
				}
				all = append(all, r)
			}
			merged, err := loadtest.Merge(all...)
			if err != nil {
				return usageError(err)
			}
			if err := writable(f.out); err != nil {
				return usageError(err)
			}
			files, err := reports.WriteLoad(f.out, merged)
			if err != nil {
				return usageError(err)
			}
			return f.conclude(c, merged, terminal(c.OutOrStdout()), files)
		},
	}
	c.Flags().StringVar(&f.out, "out", "farmspec-load", "folder for the report")
	return c
}
