package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/targetfile"
)

type initFlags struct {
	targetfile.Sketch
	force, offline bool
}

func newInit() *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init [TARGET.yaml]",
		Short: "Write a commented target file to start from",
		Long: `Writes a target file with every field explained. With the members' addresses and
an account it looks at the farm and proposes log-in form, fields, session cookie,
log-out, a protected page, its marker and what it shows of the user. What it does
not find it asks for on a terminal; the rest is an example's. Then let farmspec
doctor prove it.

Without a name it writes target.yaml. An existing file stays unless --force.`,
		Example: `  farmspec init shop.yaml --url http://127.0.0.1:8081 --url http://127.0.0.1:8082 --user ada --user ben --password env:SHOP_PASSWORD
  farmspec init api.yaml --url http://127.0.0.1:8081 --user 'user{n}' --password file:secret --login-kind json --login /api/login
  farmspec init shop.yaml            # asks`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path := "target.yaml"
			if len(args) == 1 {
				path = args[0]
			}
			return f.run(c, path)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.Product, "product", "", "the product's name")
	fl.StringArrayVar(&f.URLs, "url", nil, "a member's base address (repeatable)")
	fl.StringVar(&f.Cookie, "cookie", "", "name of the session's cookie")
	fl.StringVar(&f.Login, "login", "", "path of the log-in")
	fl.StringVar(&f.LoginKind, "login-kind", "", "form, json or basic")
	fl.StringVar(&f.UserField, "user-field", "", "name of the user's field")
	fl.StringVar(&f.PassField, "password-field", "", "name of the password's field")
	fl.StringVar(&f.Logout, "logout", "", "path of the log-out, or of the page with its form")
	fl.StringVar(&f.LogoutKind, "logout-kind", "", "form, get or post")
	fl.StringVar(&f.Echo, "echo", "", "what pages show of the user, with {user} for the name")
	fl.StringVar(&f.Page, "page", "", "path of a protected page")
	fl.StringVar(&f.Marker, "marker", "", "text that only that page has")
	fl.StringVar(&f.Idle, "idle", "", "idle time-out, for example 30m")
	fl.StringArrayVar(&f.Users, "user", nil, "an account's name (repeatable), or a pattern of names such as 'user{n}'")
	fl.StringVar(&f.Password, "password", "", "where the passwords are: env:NAME or file:PATH")
	fl.BoolVar(&f.offline, "offline", false, "do not look at the farm")
	fl.BoolVar(&f.force, "force", false, "overwrite an existing file")
	return c
}

func (f *initFlags) run(c *cobra.Command, path string) error {
	if _, err := os.Lstat(path); err == nil && !f.force {
		return usageError(fmt.Errorf("%s is there already; choose another name, or --force to overwrite it", path))
	}
	out := c.OutOrStdout()
	in, ok := c.InOrStdin().(*os.File)
	answers := bufio.NewScanner(in)
	asks := ok && term.IsTerminal(int(in.Fd()))
	if asks {
		if err := ask(answers, out, f.Basics()); err != nil {
			return err
		}
	}
	if !f.offline {
		f.Explore(c.Context(), filepath.Dir(path), func(found string) { fmt.Fprintln(out, found) })
	}
	if asks {
		if err := ask(answers, out, f.Questions()); err != nil {
			return err
		}
	}
	content, err := f.Write()
	if err != nil {
		return usageError(err)
	}
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if f.force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(path, mode, 0o644)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%s is there already; choose another name, or --force to overwrite it", path)
	}
	if err != nil {
		return usageError(fmt.Errorf("write target file: %w", err))
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return usageError(fmt.Errorf("write target file: %w", err))
	}
	if unsaid := f.Unsaid(); len(f.URLs) > 0 && len(unsaid) > 0 {
		fmt.Fprintf(out, "Still the example's, and yours to correct: %s.\n", strings.Join(unsaid, ", "))
	}
	_, err = fmt.Fprintf(out, "%s is written. Next:\n  farmspec doctor %s\n  farmspec run %s\n", path, path, path)
	return err
}

// ask asks for what neither a flag gave nor the farm showed. An empty answer
// takes the example's.
func ask(lines *bufio.Scanner, out io.Writer, questions []targetfile.Question) error {
	for _, q := range questions {
		fmt.Fprintf(out, "%s [%s]: ", q.Text, q.Example)
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return fmt.Errorf("read the answers: %w", err)
			}
			return &exitError{Code: farmspec.ExitUsage, Err: errors.New("the answers ended; nothing was written")}
		}
		q.Answer(strings.TrimSpace(lines.Text()))
	}
	return nil
}
