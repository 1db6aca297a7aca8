// Command farmspec judges, serves and describes web farms with secure session
// management. This file and its neighbours only wire; a file a subcommand.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // a second Ctrl-C ends at once
		<-ctx.Done()
		stop()
	}()
	os.Exit(execute(ctx, newRoot(), os.Args[1:]))
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "farmspec",
		Short: "Conformance tests and a reference farm for secure session management across web servers",
		Long: `farmspec judges how a web farm manages sessions: whether tokens rotate, time-outs
hold, log-outs reach every server and races have one winner. Without a target it
judges its own reference farm, in this process, over real HTTP on loopback.

Exit codes: 0 conformant, 1 nonconformant, 2 inconclusive or incomplete,
3 target not ready, 64 usage or configuration, 70 internal.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError(fmt.Errorf("%w%s\nsee `%s --help`", err, flagHint(c, err), c.CommandPath()))
	})
	root.AddCommand(newRun(), newDoctor(), newInit(), newList(), newMutants(), newCompare(), newServe(), newLoad(), newBench(), newBaseline(), newBundle(), newVerify())
	return root
}

// execute runs the command line and returns the exit code.
func execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return farmspec.ExitConformant
	}
	var exit *exitError
	var usage *features.UsageError
	code := farmspec.ExitInternal
	switch {
	case errors.As(err, &exit):
		code = exit.Code
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"), strings.Contains(err.Error(), " arg(s), "):
		code = farmspec.ExitUsage
	}
	if text := strings.TrimSpace(err.Error()); text != "" {
		fmt.Fprintln(root.ErrOrStderr(), "farmspec:", text)
	}
	return code
}

// flagHint suggests the flag that was probably meant.
func flagHint(c *cobra.Command, err error) string {
	_, name, ok := strings.Cut(err.Error(), "unknown flag: --")
	if !ok {
		return ""
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := farmspec.Suggest(name, known); near != "" {
		return fmt.Sprintf(" (did you mean --%s?)", near)
	}
	return ""
}

func version() string {
	v, commit := build()
	if commit != "" {
		return v + " (" + commit + ")"
	}
	return v
}

func build() (version, commit string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel", ""
	}
	version = info.Main.Version
	if version == "" || version == "(devel)" {
		version = "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			commit = s.Value[:12]
		}
	}
	return version, commit
}
