package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/targetfile"
)

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor TARGET.yaml",
		Short: "Prove every line of a target file against its farm",
		Long: `Reads a target file and tries what each line says at the farm: reaches every
member, logs in, looks for the markers and the right user, takes a token from one
member to the others, writes and reads what applications remember, logs out, and
does what the hooks do. Each finding is one line: the place in the file, the
cause, and how to mend it.

  ok   the farm does what the line says
  odd  worth knowing; the scenarios judge it
  ill  the line is wrong or the farm is not ready

It ends with 3 where a line is ill, and with 64 where the file itself is.`,
		Example: `  farmspec doctor shop.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			source, err := openSource(args[0])
			if err != nil {
				return err
			}
			return examine(c.Context(), c.OutOrStdout(), args[0], source, true)
		},
	}
}

// openSource reads a target file. What is wrong with it is told a line each.
func openSource(path string) (*targetfile.Source, error) {
	source, err := targetfile.Open(path)
	var faults targetfile.Problems
	switch {
	case errors.Is(err, fs.ErrNotExist) && filepath.Ext(path) == "":
		return nil, usageError(fmt.Errorf("unknown target %q: want reference or a target file%s; `farmspec init` writes one to start from", path, meant(path, []string{"reference"})))
	case errors.As(err, &faults):
		return nil, usageError(fmt.Errorf("%s has %s\n%w", path, counted(len(faults), "fault"), err))
	case err != nil:
		return nil, usageError(err)
	}
	return source, nil
}

// examine lets the doctor look at the farm. Brief leaves out what is fine.
func examine(ctx context.Context, out io.Writer, path string, source *targetfile.Source, all bool) error {
	count := map[features.Health]int{}
	healthy := features.Examine(ctx, source.Target, func(s features.Symptom) {
		count[s.Health]++
		word := map[features.Health]string{features.Fine: "ok ", features.Odd: "odd", features.Ill: "ill"}[s.Health]
		line := fmt.Sprintf("%s  %s: %s", word, placeOf(source, s.Field), s.Text)
		if s.Mend != "" {
			line += "; " + s.Mend
		}
		if all || s.Health != features.Fine {
			fmt.Fprintln(out, line)
		}
	})
	if ctx.Err() != nil {
		return &exitError{Code: farmspec.ExitInconclusive, Err: errors.New("the examination was interrupted")}
	}
	if !healthy {
		return &exitError{Code: farmspec.ExitNotReady, Err: fmt.Errorf("%s and its farm do not agree: %s to mend", path, counted(count[features.Ill], "line"))}
	}
	said := fmt.Sprintf("%s describes its farm: %s proven", path, counted(count[features.Fine], "line"))
	if n := count[features.Odd]; n > 0 {
		said += fmt.Sprintf(", %d odd", n)
	}
	_, err := fmt.Fprintln(out, said)
	return err
}

// placeOf is where a field of the target is written.
func placeOf(source *targetfile.Source, field string) string {
	if user, ok := strings.CutPrefix(field, "accounts."); ok {
		field = "accounts.password"
		for i, a := range source.File.Accounts.List {
			if a.User == user {
				field = fmt.Sprintf("accounts.list[%d].password", i)
			}
		}
	}
	return source.Place(field)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
