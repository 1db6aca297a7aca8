package main

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm/speed"
)

// peersProgram is the module in bench/, built and put where commands are found.
const peersProgram = "farmspec-bench"

type benchFlags struct {
	rounds int
	total  time.Duration
	run    string
	out    string
	peers  bool
	stores []string
}

func newBench() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the reference farm's parts and their ratios",
		Long: `Measures the standard set in this process: the token, a whole rotation, each
store with 1, 32 and 256 callers, and the whole claimed flow without and with
sockets. Cases take turns within each round and ratios are taken within rounds,
so that a machine with other things to do disturbs them little; CPU is user and
system time. Nothing is judged: the exit code is 0 however slow the machine is.

With --out it leaves bench.json and bench.txt, which benchstat reads.
With --peers it hands over to ` + peersProgram + `, if that is installed, which measures
libraries and, where it finds them, servers beside it. To install it:
  (cd bench && go build -o "$(go env GOPATH)/bin/` + peersProgram + `" .)`,
		Example: `  farmspec bench
  farmspec bench --run 'Token|Flow' --time 5s
  farmspec bench --run Store --store postgres://farm@127.0.0.1:5432/farm
  farmspec bench --time 2m --rounds 12 --out today && benchstat before/bench.txt today/bench.txt`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.measure(c) },
	}
	fl := c.Flags()
	fl.DurationVar(&f.total, "time", 30*time.Second, "about how long all of it takes")
	fl.IntVar(&f.rounds, "rounds", 6, "rounds of each case; an interval of 95 % takes six")
	fl.StringVar(&f.run, "run", "", "regular expression: which cases (default all)")
	fl.StringVar(&f.out, "out", "", "folder for bench.json and bench.txt (default none)")
	fl.StringArrayVar(&f.stores, "store", nil, "measure the store in this database server too: postgres://HOST:PORT/DATABASE or redis://HOST:PORT/NUMBER (repeatable)")
	fl.BoolVar(&f.peers, "peers", false, "measure peers too, with "+peersProgram)
	return c
}

func (f *benchFlags) measure(c *cobra.Command) error {
	pattern, err := regexp.Compile(f.run)
	if err != nil {
		return usageError(fmt.Errorf("--run: %w", err))
	}
	if f.rounds < 1 || f.total <= 0 {
		return usageError(fmt.Errorf("--rounds %d, --time %v: want both above zero", f.rounds, f.total))
	}
	if f.out != "" {
		if err := writable(f.out); err != nil {
			return usageError(err)
		}
	}
	if f.peers {
		if len(f.stores) > 0 {
			return usageError(errors.New("--store and --peers exclude each other: peers bring servers of their own"))
		}
		return f.handOver(c)
	}
	cases := speed.Standard()
	for _, address := range f.stores {
		more, err := speed.OnServer(address)
		if err != nil {
			return usageError(fmt.Errorf("--store: %w", err))
		}
		cases = append(cases, more...)
	}
	o := speed.Options{Goals: speed.Goals(), Rounds: f.rounds,
		Cases: slices.DeleteFunc(cases, func(c speed.Case) bool { return !pattern.MatchString(c.Name) })}
	if len(o.Cases) == 0 {
		return usageError(fmt.Errorf("--run %q matches no case; farmspec bench --time 1s lists all", f.run))
	}
	o.Time = f.total / time.Duration(f.rounds*len(o.Cases))
	live := terminal(c.OutOrStdout()).TTY
	if live {
		o.Progress = func(step, of int, name string) {
			fmt.Fprintf(c.OutOrStdout(), "\r\x1b[K%d/%d %s", step+1, of, name)
		}
	}
	result, err := speed.Run(c.Context(), o)
	if live {
		fmt.Fprint(c.OutOrStdout(), "\r\x1b[K")
	}
	switch {
	case err != nil && c.Context().Err() != nil:
		return &exitError{Code: farmspec.ExitInconclusive, Err: errors.New("interrupted"), Hint: "nothing was written"}
	case err != nil:
		return err
	}
	if err := result.WriteTable(c.OutOrStdout()); err != nil {
		return err
	}
	if f.out == "" {
		return nil
	}
	if err := result.WriteFiles(f.out); err != nil {
		return usageError(err)
	}
	return nil
}

// handOver has the peers' program measure instead.
func (f *benchFlags) handOver(c *cobra.Command) error {
	program, err := exec.LookPath(peersProgram)
	if err != nil {
		return usageError(fmt.Errorf("--peers: %s is not installed; see farmspec bench --help", peersProgram))
	}
	cmd := exec.CommandContext(c.Context(), program, "--rounds", fmt.Sprint(f.rounds), "--time", f.total.String(), "--only", f.run, "--out", f.out)
	cmd.Stdout, cmd.Stderr = c.OutOrStdout(), c.ErrOrStderr()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("measure peers: %w", err)
	}
	return nil
}
