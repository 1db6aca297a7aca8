package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"aead.dev/minisign"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/bundle"
)

type bundleFlags struct {
	key, out, newKey string
	partial          bool
}

func newBundle() *cobra.Command {
	var f bundleFlags
	c := &cobra.Command{
		Use:   "bundle RESULTS",
		Short: "Sign the results of a run as one archive that others can verify",
		Long: `Packs results.json with a manifest (tool, features, targets, seed, full plan,
verdicts, digests) and a minisign signature of the manifest. RESULTS is a
results.json or the folder of a report. minisign verifies the signature too.

Results of an incomplete run are refused, and those of a part of the suite
unless --partial says so; the bundle then says it as well.`,
		Example: `  farmspec bundle --new-key farmspec.key
  farmspec bundle farmspec-report --key farmspec.key --out run.tar.gz
  farmspec verify run.tar.gz --pub farmspec.key.pub`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	fl := c.Flags()
	fl.StringVar(&f.key, "key", "", "file of the minisign secret key")
	fl.StringVar(&f.out, "out", "farmspec-bundle.tar.gz", "file of the bundle")
	fl.StringVar(&f.newKey, "new-key", "", "make a key pair, the secret one in this file and the public one in FILE.pub, and nothing else")
	fl.BoolVar(&f.partial, "partial", false, "bundle a run of a part of the suite")
	return c
}

func (f *bundleFlags) run(c *cobra.Command, args []string) error {
	switch {
	case f.newKey != "" && (len(args) > 0 || f.key != ""):
		return usageError(errors.New("--new-key makes keys and bundles nothing; leave RESULTS and --key out"))
	case f.newKey != "":
		return makeKeys(c.OutOrStdout(), f.newKey)
	case len(args) == 0:
		return usageError(errors.New("bundle what? Name a results.json or the folder of a report"))
	case f.key == "":
		return usageError(errors.New("--key FILE is missing; make a key with `farmspec bundle --new-key FILE`"))
	}
	results, err := os.ReadFile(resultsFile(args[0]))
	if err != nil {
		return usageError(fmt.Errorf("read results: %w", err))
	}
	key, err := secretKey(f.key)
	if err != nil {
		return usageError(fmt.Errorf("read key: %w", err))
	}
	archive, err := bundle.Make(results, key, f.partial)
	if err != nil {
		return usageError(err)
	}
	if err := writeWhole(f.out, archive); err != nil {
		return usageError(fmt.Errorf("write bundle: %w", err))
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s, %d KiB, signed by key %016X\n", f.out, (len(archive)+1023)>>10, key.ID())
	return err
}

// makeKeys writes a new key pair and overwrites nothing.
func makeKeys(w io.Writer, path string) error {
	public, secret, err := minisign.GenerateKey(nil)
	if err != nil {
		return err
	}
	text, err := secret.MarshalText()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path + ".pub"); !errors.Is(err, fs.ErrNotExist) {
		return usageError(fmt.Errorf("make keys: %s.pub is there already; choose another --new-key", path))
	}
	if err := writeOnce(path, append(text, '\n')); err != nil {
		return usageError(fmt.Errorf("make keys: %w; choose another --new-key", err))
	}
	if text, err = public.MarshalText(); err != nil {
		return err
	}
	if err := writeWhole(path+".pub", append(text, '\n')); err != nil {
		return usageError(fmt.Errorf("make keys: %w", err))
	}
	_, err = fmt.Fprintf(w, "secret key %s (keep it to yourself), public key %s.pub: %s\n", path, path, public)
	return err
}

// secretKey reads a minisign secret key, and asks for its password if it has one.
func secretKey(path string) (minisign.PrivateKey, error) {
	var key minisign.PrivateKey
	info, err := os.Stat(path)
	if err != nil {
		return key, err
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return key, fmt.Errorf("%s may be read by others (mode %04o): chmod 600 %[1]s, and think about a new key", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return key, err
	}
	if !minisign.IsEncrypted(text) {
		if key.UnmarshalText(text) != nil {
			return key, fmt.Errorf("%s holds no minisign secret key", path)
		}
		return key, nil
	}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return key, fmt.Errorf("%s has a password, which is asked for at a terminal only; use a key without (minisign -W, or --new-key)", path)
	}
	fmt.Fprintf(os.Stderr, "Password of %s: ", path)
	password, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return key, err
	}
	if key, err = minisign.DecryptKey(string(password), text); err != nil {
		return key, fmt.Errorf("%s does not open with this password", path)
	}
	return key, nil
}

func newVerify() *cobra.Command {
	var pub string
	c := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check a signed bundle of results, offline",
		Long: `Checks the signature, the digests, the schema, that the plan is whole and each
planned case has a result, and that the verdicts follow from the results.

Exit 0 if the bundle is what it says, whatever verdict it holds; 1 if it is not;
64 if the key or the file cannot be read.`,
		Example: "  farmspec verify run.tar.gz --pub farmspec.key.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if pub == "" {
				return usageError(errors.New("--pub FILE is missing: the public key of whoever signed"))
			}
			key, err := minisign.PublicKeyFromFile(pub)
			if err != nil {
				return usageError(fmt.Errorf("read public key %s: %w", pub, err))
			}
			archive, err := os.ReadFile(args[0])
			if err != nil {
				return usageError(fmt.Errorf("read bundle: %w", err))
			}
			m, notes, err := bundle.Verify(archive, key)
			if err != nil {
				return &exitError{Code: farmspec.ExitNonconformant, Err: fmt.Errorf("%s does not verify:\n%w", args[0], err)}
			}
			out := c.OutOrStdout()
			fmt.Fprintf(out, "%s verifies: signed by key %016X\n", args[0], key.ID())
			fmt.Fprintf(out, "%-17s %d of %d scenarios on %s, every one with a result\n", "Plan", len(planned(m)), len(m.Scenarios), counted(len(m.Targets), "target"))
			fmt.Fprintf(out, "%-17s %s by farmspec %s, seed %d, features %.16s…\n", "Run", m.Started.UTC().Format("2006-01-02 15:04:05 UTC"), m.Tool.Version, m.Seed, m.Tool.Features)
			fmt.Fprintf(out, "%-17s %s, exit %d\n", "Verdict", m.Verdict, m.Exit)
			fmt.Fprintf(out, "%-17s %s\n%-17s %s\n", "Claim-conformant", m.ClaimConformant, "Hardened", m.Hardened)
			for _, n := range notes {
				fmt.Fprintf(out, "%-17s %s\n", "Note", n)
			}
			return nil
		},
	}
	c.Flags().StringVar(&pub, "pub", "", "file of the minisign public key")
	return c
}

// planned are the scenarios of a bundle's plan.
func planned(m *bundle.Manifest) map[string]bool {
	scenarios := map[string]bool{}
	for _, c := range m.Plan {
		scenarios[c.Scenario] = true
	}
	return scenarios
}
