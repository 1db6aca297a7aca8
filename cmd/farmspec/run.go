package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/baseline"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/reports"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/targetfile"
)

// profiles are the configurations of the reference farm that a plain run
// judges: every hand-off mode, rotation policy, topology and answer to a
// spent token at least once. --all-profiles judges every combination.
var profiles = []simfarm.Options{
	hardened,
	{Handoff: farmspec.Claimed, Rotation: farmspec.ReadVerify, Topology: farmspec.SplitDomain},
	{Handoff: farmspec.Direct, Rotation: farmspec.Strict, Topology: farmspec.SharedDomain},
}

// hardened is the profile on which a plain run judges what only standards ask
// for: over TLS, without which much of that means nothing, with the cookies of
// one host and spent tokens that end their family.
var hardened = simfarm.Options{
	Handoff: farmspec.Sealed, Rotation: farmspec.Coalesce, Topology: farmspec.SingleHost, Replay: farmspec.RevokeFamily,
	TLS: true, Participants: participants,
}

// participants is how many other systems take part in single log-out with the
// hardened profile, whichever way it is chosen. The scenarios about that are the
// same on all of them, so the others go without.
const participants = 3

func withParticipants(o simfarm.Options) simfarm.Options {
	if o.ProfileName() == hardened.ProfileName() {
		o.Participants = participants
	}
	return o
}

var (
	handoffs   = []farmspec.Handoff{farmspec.Sealed, farmspec.Claimed, farmspec.Direct}
	rotations  = []farmspec.Rotation{farmspec.Strict, farmspec.Coalesce, farmspec.ReadVerify}
	topologies = []farmspec.Topology{farmspec.SharedDomain, farmspec.SingleHost, farmspec.SplitDomain}
	replays    = []farmspec.Replay{farmspec.Reject, farmspec.RevokeFamily}
)

type runFlags struct {
	features.Options
	out, level, target             string
	mode, policy, topology, replay string
	knownFailures, store           string
	allProfiles, dryRun, verbose   bool
	tls                            bool
	noDoctor, noKnown              bool
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [reference | TARGET.yaml]",
		Short: "Judge a farm: run the scenarios and write the report",
		Long: `Runs the scenarios against the reference farm, in this process, and writes
results.json, results.sarif, junit.xml, summary.md and report.html into the output folder.
With a target file it judges the farm that the file describes, after a doctor
has proved the file; farmspec init writes one to start from.

Of the reference: without --mode, --policy, --topology, --replay or --tls it judges three profiles
that together cover every value, and what only standards ask for on the one over TLS;
with any of these flags, the one profile they name.`,
		Example: `  farmspec run
  farmspec run shop.yaml
  farmspec run --run 'rotate.*' --mode claimed
  farmspec run --tags '@WF-4.3 and not @level:W' --level B`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.Run, "run", nil, "scenario ID or glob (repeatable)")
	fl.StringVar(&f.Tags, "tags", "", "tag expression, for example '@WF-4.3 and not @level:W'")
	fl.StringVar(&f.level, "level", "W", "highest level of observation: B, G or W")
	fl.IntVar(&f.Parallel, "parallel", 0, "scenarios at a time (default twice the processors)")
	fl.DurationVar(&f.Timeout, "timeout", 30*time.Second, "bound of one scenario")
	fl.DurationVar(&f.MaxWait, "max-wait", time.Minute, "longest wait of a scenario where the farm's time cannot be moved")
	fl.Uint64Var(&f.Seed, "seed", 0, "seed of the random choices (default: drawn and reported)")
	fl.BoolVar(&f.FailFast, "fail-fast", false, "begin no further case after a failure")
	fl.BoolVar(&f.dryRun, "dry-run", false, "print the plan and run nothing")
	fl.StringVar(&f.out, "out", "farmspec-report", "folder for the report")
	fl.StringVar(&f.mode, "mode", "", "hand-off mode: sealed, claimed or direct")
	fl.StringVar(&f.policy, "policy", "", "rotation policy: strict, coalesce or read-verify")
	fl.StringVar(&f.topology, "topology", "", "topology: shared-domain, single-host or split-domain")
	fl.StringVar(&f.replay, "replay", "", "answer to a spent token: reject or revoke-family")
	fl.BoolVar(&f.tls, "tls", false, "over TLS; with --all-profiles, all of them")
	fl.StringVar(&f.store, "store", "memory", "session database: "+manyStores+"; each farm has a part of its own there while it lives")
	fl.StringVar(&f.target, "target", "", "judge the one profile of this name, as reports print it")
	fl.StringVar(&f.knownFailures, "known-failures", "", "list of failures that are known; they run, and the exit code tells what is not on the list (default: known-failures.yaml beside the target file, if it is there)")
	fl.BoolVar(&f.noKnown, "no-known-failures", false, "leave out the list beside the target file")
	fl.BoolVar(&f.allProfiles, "all-profiles", false, "judge every combination of mode, policy and topology")
	fl.BoolVar(&f.noDoctor, "no-doctor", false, "judge the farm of a target file without proving the file first")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "a line for every case")
	return c
}

func (f *runFlags) run(c *cobra.Command, args []string) error {
	source, err := f.source(args)
	if err != nil {
		return err
	}
	if f.Level, err = levelOf(f.level); err != nil {
		return err
	}
	if f.noKnown && f.knownFailures != "" {
		return usageError(errors.New("--known-failures and --no-known-failures exclude each other"))
	}
	if f.Parallel < 0 || f.Timeout <= 0 || f.MaxWait < 0 {
		return usageError(errors.New("--parallel and --max-wait must not be negative, and --timeout must be positive"))
	}
	var options []simfarm.Options
	if source == nil {
		if options, err = f.profiles(); err != nil {
			return err
		}
		if options, err = keptIn(f.store, options); err != nil {
			return err
		}
	}
	all, err := features.Scenarios(nil)
	if err != nil {
		return err
	}
	selected, err := features.Select(all, f.Run, f.Tags)
	if err != nil {
		return err // before anything is made
	}
	found := f.findKnown()
	known, err := knownFailures(f.knownFailures)
	if err != nil {
		return err
	}
	if !f.dryRun {
		if err := writable(f.out); err != nil {
			return usageError(err)
		}
	}
	f.Command = commandLine()
	f.Version, f.Commit = build()
	ctx := c.Context()
	targets, closeAll, err := open(ctx, options)
	if err != nil {
		return &exitError{Code: farmspec.ExitNotReady, Err: err}
	}
	defer func() { closeAll() }()
	if source != nil {
		targets = append(targets, source.Target)
		if source.MaxWait > 0 && !c.Flags().Changed("max-wait") {
			f.MaxWait = source.MaxWait
		}
		if !f.noDoctor && !f.dryRun {
			if err := examine(ctx, c.OutOrStdout(), args[0], source, false); err != nil {
				return err
			}
		}
	}
	boundMemory(len(selected) * len(targets))
	waits, err := features.PlanWaits(f.Options, targets...)
	if err != nil {
		return err
	}
	if err := tellWaits(c.OutOrStdout(), waits, f.MaxWait); err != nil {
		return err
	}
	if found {
		fmt.Fprintf(c.OutOrStdout(), "Known failures: %s, beside the target file; --no-known-failures leaves it out.\n", f.knownFailures)
	}
	if f.dryRun {
		plan, err := features.Plan(f.Options, targets...)
		if err != nil {
			return err
		}
		return reports.WriteScenarios(c.OutOrStdout(), plan, false)
	}
	term := terminal(c.OutOrStdout())
	term.Verbose = f.verbose
	f.Progress = reports.NewProgress(c.OutOrStdout(), term)
	report, err := features.Judge(ctx, f.Options, targets...)
	if err != nil {
		return err
	}
	// The report needs the room that farms and judging took.
	closeAll()
	closeAll = func() {}
	debug.FreeOSMemory()
	return f.conclude(c, report, term, known)
}

// conclude writes the report and turns it into an exit code.
func (f *runFlags) conclude(c *cobra.Command, report *farmspec.Report, term reports.Terminal, known []baseline.KnownFailure) error {
	files, unwritten := reports.Write(f.out, report)
	if unwritten != nil {
		report.Exit = farmspec.ExitUsage // the tables below are all there is, and say so
	}
	if err := reports.Closing(c.OutOrStdout(), report, term, files...); err != nil {
		return err
	}
	if unwritten != nil {
		return usageError(unwritten)
	}
	if f.knownFailures != "" {
		gate := baseline.NewGate(known, report, f.partial())
		if _, err := fmt.Fprintf(c.OutOrStdout(), "\n%s", gate.Text(f.knownFailures)); err != nil {
			return err
		}
		if gate.Exit != 0 {
			return &exitError{Code: gate.Exit}
		}
		return nil
	}
	if report.Exit != 0 {
		return &exitError{Code: report.Exit}
	}
	return nil
}

// boundMemory lets garbage take the room that a run of so many cases may have, and
// no more: evidence is kept until the report is written. The environment's
// GOGC and GOMEMLIMIT go first.
func boundMemory(cases int) {
	if os.Getenv("GOGC")+os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(90<<20 + int64(cases)*55<<10)
	}
}

// source opens the target file that the command line names; nil for the
// reference.
func (f *runFlags) source(args []string) (*targetfile.Source, error) {
	if len(args) == 0 || args[0] == "reference" {
		return nil, nil
	}
	if f.allProfiles || f.target != "" || f.named() || f.store != "memory" {
		return nil, usageError(errors.New("--target, --mode, --policy, --topology, --replay, --tls, --store and --all-profiles choose profiles of the reference farm; a target file says what its farm is"))
	}
	source, err := openSource(args[0])
	if err != nil {
		return nil, err
	}
	f.File = args[0]
	return source, nil
}

// findKnown takes the list of known failures that lies beside the target
// file, where the command line names none.
func (f *runFlags) findKnown() bool {
	if f.File == "" || f.noKnown || f.knownFailures != "" {
		return false
	}
	beside := filepath.Join(filepath.Dir(f.File), "known-failures.yaml")
	if _, err := os.Stat(beside); err != nil {
		return false
	}
	f.knownFailures = beside
	return true
}

// partial reports whether the flags ask for less than everything.
func (f *runFlags) partial() bool {
	return len(f.Run) > 0 || f.Tags != "" || f.Level != farmspec.White || f.FailFast ||
		f.target != "" || f.named()
}

// named reports whether flags name a profile by its properties.
func (f *runFlags) named() bool { return f.mode+f.policy+f.topology+f.replay != "" || f.tls }

func levelOf(word string) (farmspec.Level, error) {
	level := farmspec.Level(strings.ToUpper(word))
	if !slices.Contains([]farmspec.Level{farmspec.Black, farmspec.Grey, farmspec.White}, level) {
		return "", usageError(fmt.Errorf("--level %q: want B, G or W", word))
	}
	return level, nil
}

// profiles turns the flags into configurations of the reference farm, and
// says which of them the standards are for.
func (f *runFlags) profiles() ([]simfarm.Options, error) {
	one, err := profile(f.mode, f.policy, f.topology, f.replay)
	if err != nil {
		return nil, err
	}
	one.TLS = f.tls
	switch {
	case f.target != "":
		var names []string
		for _, o := range append(everyProfile(false), everyProfile(true)...) {
			if o.ProfileName() == f.target {
				return []simfarm.Options{o}, nil
			}
			names = append(names, o.ProfileName())
		}
		return nil, usageError(fmt.Errorf("--target %q is no profile of the reference farm%s", f.target, meant(f.target, names)))
	case f.allProfiles && f.mode+f.policy+f.topology+f.replay != "":
		return nil, usageError(fmt.Errorf("--all-profiles and --mode, --policy, --topology or --replay exclude each other"))
	case f.allProfiles:
		return everyProfile(f.tls), nil
	case f.named():
		return []simfarm.Options{withParticipants(one)}, nil
	}
	f.Standards = []string{hardened.ProfileName()}
	return profiles, nil
}

func everyProfile(tls bool) []simfarm.Options {
	var all []simfarm.Options
	for _, h := range handoffs {
		for _, r := range rotations {
			for _, t := range topologies {
				for _, p := range replays {
					all = append(all, withParticipants(simfarm.Options{Handoff: h, Rotation: r, Topology: t, Replay: p, TLS: tls}))
				}
			}
		}
	}
	return all
}

// profile reads the four words that configure a reference farm; "" is the default.
func profile(mode, policy, topology, replay string) (simfarm.Options, error) {
	var o simfarm.Options
	var err error
	if o.Handoff, err = oneOf("mode", mode, handoffs); err != nil {
		return o, err
	}
	if o.Rotation, err = oneOf("policy", policy, rotations); err != nil {
		return o, err
	}
	if o.Topology, err = oneOf("topology", topology, topologies); err != nil {
		return o, err
	}
	o.Replay, err = oneOf("replay", replay, replays)
	return o, err
}

// oneOf reads a flag's word; the first known one is the default.
func oneOf[T ~string](flag, word string, known []T) (T, error) {
	if word == "" {
		return known[0], nil
	}
	if slices.Contains(known, T(word)) {
		return T(word), nil
	}
	var words []string
	for _, k := range known {
		words = append(words, string(k))
	}
	return "", usageError(fmt.Errorf("--%s %q: want %s%s", flag, word, strings.Join(words, ", "), meant(word, words)))
}

// meant suggests the known word nearest to a wrong one.
func meant(word string, known []string) string {
	if near := farmspec.Suggest(word, known); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// manyStores are the session databases that several farms may name at once.
const manyStores = "memory, sqlite::memory:, postgres://HOST:PORT/DATABASE or redis://HOST:PORT/NUMBER"

// keptIn returns the farms with the session database of that name, each apart.
func keptIn(store string, farms []simfarm.Options) ([]simfarm.Options, error) {
	if strings.HasPrefix(store, "sqlite:") && store != "sqlite::memory:" {
		return nil, usageError(fmt.Errorf("--store %s is one farm's database, and there are several farms; want %s", store, manyStores))
	}
	if err := simfarm.CheckDatabase(store); err != nil {
		return nil, usageError(err)
	}
	farms = slices.Clone(farms)
	for i := range farms {
		farms[i].Database, farms[i].Apart = store, true
	}
	return farms, nil
}

// commandLine is what a report says to repeat it, without passwords.
func commandLine() string {
	return simfarm.Redacted(strings.Join(append([]string{"farmspec"}, os.Args[1:]...), " "))
}

// open starts a farm for each profile.
func open(ctx context.Context, options []simfarm.Options) ([]*farmspec.Target, func(), error) {
	var farms []*simfarm.Farm
	closeAll := func() {
		for _, f := range farms {
			_ = f.Close()
		}
	}
	var targets []*farmspec.Target
	for _, o := range options {
		farm, err := simfarm.Open(ctx, o)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		farms = append(farms, farm)
		targets = append(targets, farm.Target())
	}
	return targets, closeAll, nil
}

// writable makes the folder and tries it, so that a run does not end without
// a place for its report.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the output folder: %w; choose another with --out", err)
	}
	probe, err := os.CreateTemp(dir, ".farmspec-*")
	if err != nil {
		return fmt.Errorf("write into the output folder %s: %w; choose another with --out", filepath.Clean(dir), err)
	}
	_ = probe.Close()
	return os.Remove(probe.Name())
}

// terminal says what the output can show.
func terminal(out io.Writer) reports.Terminal {
	if f, ok := out.(*os.File); ok {
		return reports.TerminalOf(f)
	}
	return reports.Terminal{}
}
