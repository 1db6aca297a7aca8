package targetfile

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/farmspec/farmspec"
)

var numbered = regexp.MustCompile(`\{n+\}`)

// accounts makes the pool of what the file lists.
func (s *Source) accounts(dir string) {
	f, d := &s.File, s.d
	a := f.Accounts
	if d.lines["accounts"] == 0 {
		return // told already
	}
	var users []farmspec.User
	switch {
	case a.Pattern != "" && a.List != nil:
		d.at("accounts.pattern", "keep one of the two", "accounts has a list and a pattern")
	case a.Pattern != "":
		place := numbered.FindString(a.Pattern)
		if place == "" {
			d.at("accounts.pattern", "write {n} where the number goes", "accounts.pattern %q makes the same name each time", a.Pattern)
			return
		}
		most, digits := math.MaxInt, len(place)-2
		if digits > 1 && digits < 10 {
			most = int(math.Pow10(digits)) - 1
		}
		count := a.Count
		if count == 0 {
			count = min(100, most)
		}
		if count > most || count > 100_000 {
			d.at("accounts.count", fmt.Sprintf("at most %d", min(most, 100_000)), "accounts.count is %d, more than the pattern makes", count)
			return
		}
		if d.lines["accounts.password"] == 0 {
			d.at("accounts", "add password: env:NAME, file:PATH or text:PASSWORD", "accounts.password is missing for the pattern")
			return
		}
		password := s.secret(dir, "accounts.password", a.Password)
		for n := 1; n <= count; n++ {
			users = append(users, farmspec.User{Name: strings.ReplaceAll(a.Pattern, place, fmt.Sprintf("%0*d", digits, n)), Password: password})
		}
	case len(a.List) == 0:
		d.at("accounts", "add list: with two accounts or more, or pattern:", "accounts has no account")
	default:
		first := map[string]int{}
		passwords := map[string]string{} // each place is read, or told to be unreadable, once
		for i, e := range a.List {
			at := fmt.Sprintf("accounts.list[%d]", i)
			if n, ok := first[e.User]; ok && e.User != "" {
				d.at(at+".user", "delete one of them", "account %q is already on line %d", e.User, d.line(fmt.Sprintf("accounts.list[%d]", n)))
			}
			first[e.User] = i
			if d.lines[at+".password"] > 0 {
				password, read := passwords[e.Password]
				if !read {
					password = s.secret(dir, at+".password", e.Password)
					passwords[e.Password] = password
				}
				users = append(users, farmspec.User{Name: e.User, Password: password})
			}
		}
		if len(a.List) == 1 {
			d.at("accounts.list", "add another: every refusal is shown beside somebody who is still served", "one account is too few")
		}
		for _, name := range []string{"count", "password"} {
			if d.lines["accounts."+name] > 0 {
				d.at("accounts."+name, "delete it", "accounts.%s is of a pattern, and there is a list", name)
			}
		}
	}
	s.Target.Hooks.Accounts = newPool(users)
}

// secret reads a password. What it is never gets into a fault.
func (s *Source) secret(dir, at, value string) string {
	kind, rest, _ := strings.Cut(value, ":")
	switch {
	case value == "":
	case kind == "text" && rest != "":
		return rest
	case kind == "env" && rest != "":
		if secret := os.Getenv(rest); secret != "" {
			return secret
		}
		s.d.at(at, "export "+rest+"=… before you run farmspec", "%s: the environment has no %s", at, rest)
	case kind == "file" && rest != "":
		if !filepath.IsAbs(rest) {
			rest = filepath.Join(dir, rest)
		}
		content, err := os.ReadFile(rest)
		secret, _, _ := strings.Cut(string(content), "\n")
		if secret = strings.TrimRight(secret, "\r"); err == nil && secret != "" {
			return secret
		}
		s.d.at(at, "write the password into its first line", "%s: %s cannot be read or is empty", at, rest)
	default:
		s.d.at(at, "write env:NAME, file:PATH or, for an account that is worth nothing, text:PASSWORD", "%s does not say where the password comes from", at)
	}
	return ""
}

// pool lends accounts. It is safe for concurrent use.
type pool struct {
	size int
	free chan farmspec.User
}

func newPool(users []farmspec.User) *pool {
	p := &pool{size: len(users), free: make(chan farmspec.User, len(users))}
	for _, u := range users {
		p.free <- u
	}
	return p
}

// New lends the account that was free the longest, and waits where none is.
func (p *pool) New(ctx context.Context, _ string) (farmspec.User, error) {
	select {
	case u := <-p.free:
		return u, nil
	case <-ctx.Done():
		return farmspec.User{}, fmt.Errorf("get an account: all %d are in use: %w", p.size, ctx.Err())
	}
}

// Return takes an account back.
func (p *pool) Return(u farmspec.User) { p.free <- u }

// Size is how many there are.
func (p *pool) Size() int { return p.size }
