package features

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
)

// account proves the pages of the user's own account, and changes nothing by
// them: no password, no session, no transaction.
func (d *doctor) account(ctx context.Context, p *person) {
	a := d.target.Account
	if a.Sessions.Path != "" {
		if x := d.accountForms(ctx, p, "account.sessions", a.Sessions.Path, "", nil); x != nil {
			if n := strings.Count(string(x.Body), a.Sessions.Item); n == 0 {
				d.ill("account.sessions.item", "copy a text that the page's source has once for each session", "%s has no %q, and somebody is signed in", a.Sessions.Path, a.Sessions.Item)
			} else {
				d.fine("account.sessions", "%s lists the user's own sessions", a.Sessions.Path)
			}
		}
	}
	if r := a.Password; r.Path != "" {
		if d.accountForms(ctx, p, "account.password", r.Path, r.Form, []string{r.Current, r.New, r.Again, r.EndOthers}) != nil {
			d.fine("account.password", "%s has the form for a new password", r.Path)
		}
	}
	if r := a.Transaction; r.Path != "" {
		fields := []string{r.Confirm}
		for name := range r.Values {
			fields = append(fields, name)
		}
		slices.Sort(fields)
		switch x := d.accountForms(ctx, p, "account.transaction", r.Path, r.Form, fields); {
		case x == nil:
		case strings.Contains(string(x.Body), r.Done):
			d.ill("account.transaction.done", "copy a text that only the answer to a transaction has", "%s has %q before anything was done", r.Path, r.Done)
		default:
			d.fine("account.transaction", "%s has the form for a transaction", r.Path)
		}
	}
}

// accountForms opens a page and looks for a form with the fields, empty names
// left out. What it does not find it has told.
func (d *doctor) accountForms(ctx context.Context, p *person, at, path, named string, fields []string) *farmspec.Exchange {
	visit, err := p.browser.Open(ctx, p.at.At(path))
	d.keepToken(p, p.at)
	if err != nil {
		d.ill(at+".path", "correct it", "%s does not open: %v", path, err)
		return nil
	}
	x := visit.Final()
	if x.Status != http.StatusOK || d.hasLogIn(x) {
		d.ill(at+".path", "correct it", "%s does not open for who is logged in: %s", path, describe(x))
		return nil
	}
	fields = slices.DeleteFunc(fields, func(name string) bool { return name == "" })
	fits := func(f farmspec.Form) bool {
		return (named == "" || f.ID == named || f.Name == named) && !slices.ContainsFunc(fields, func(name string) bool { return !f.Has(name) })
	}
	if len(fields) > 0 && !slices.ContainsFunc(farmspec.Forms(x), fits) {
		d.ill(at, "name the fields as the page does", "%s has no form with the fields %s", path, strings.Join(fields, ", "))
		return nil
	}
	return x
}
