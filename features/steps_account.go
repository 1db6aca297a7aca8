package features

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
)

// The steps of users who look after their own account: their sessions, their
// password, what needs the password once more; and of accounts that are
// disabled.
//
// An account may have sessions that an earlier scenario left behind, so a list
// is compared with itself, never with a number.

type accountScene struct {
	// listed is how many sessions the list had before, and has now.
	before, listed int
	// next is the new password that somebody asked for last.
	next string
	// answer is that to a transaction.
	answer *farmspec.Exchange
	// pages are those a person visited one after another.
	pages []*attempt
}

func (w *world) registerAccount(s stepper) {
	s.step(`(\w+) (?:opens|has opened) (?:her|his) list of sessions`, w.opensOwnSessions)
	s.step(`it shows one session (more|less)`, w.showsOneSession)
	s.step(`(\w+) ends (?:her|his) other sessions with (?:her|his) password`, w.endsOtherSessions)
	s.step(`(\w+) tries to end (?:her|his) other sessions with (.+)`, w.triesToEndOtherSessions)
	s.step(`(\w+) sends (?:her|his) own form with what (\w+)'s form says of (?:her|his) other sessions`, w.sendsFormOf)

	s.step(`(\w+) changes (?:her|his) password`, w.changesPassword(false))
	s.step(`(\w+) changes (?:her|his) password and ends (?:her|his) other sessions`, w.changesPassword(true))
	s.step(`(\w+) tries to change (?:her|his) password with (.+) in place of it`, w.triesToChangePassword)
	s.step(`(\w+)'s password is (what it was|the new one)`, w.passwordIs)

	s.step(`(\w+) (?:does|tries to do) the transaction with (.+)`, w.doesTransaction)
	s.step(`it was (not )?done`, w.transactionWas)

	s.step(`the administrator disables (\w+)'s account`, w.adminDisables)
	s.step(`(\w+) is not let in again`, w.isNotLetIn)

	s.step(`(\w+) visits every protected page`, w.visitsEveryPage)
	s.step(`each of them has a visible way to log out`, w.eachOffersLogOut)
}

// accountPage opens a page of the person's account where she is.
func (w *world) accountPage(ctx context.Context, p *person, path string) (*farmspec.Visit, error) {
	visit, err := p.browser.Open(ctx, p.at.At(path))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	w.keepToken(p, p.at)
	if x := visit.Final(); x.Status/100 != 2 || w.hasLogIn(x) {
		return nil, &failedControl{fmt.Sprintf("%s does not open for %s: %s", path, p.name, describe(x))}
	}
	return visit, nil
}

// sendAccountForm fills a form of the page and sends it.
func (w *world) sendAccountForm(ctx context.Context, p *person, page *farmspec.Visit, form string, values map[string]string) (*farmspec.Exchange, error) {
	delete(values, "") // of fields that the farm does not have
	visit, err := p.browser.Submit(ctx, page, form, values)
	w.keepToken(p, p.at)
	if err != nil {
		return nil, &failedControl{fmt.Sprintf("the form at %s cannot be sent: %v", page.Final().URL, err)}
	}
	return visit.Final(), nil
}

// password is what a step calls by words: of the person herself, or of another.
func (w *world) password(ctx context.Context, p *person, words string) (string, error) {
	switch words {
	case "her password", "his password":
		return p.user.Password, nil
	case "no password":
		return "", nil
	case "a wrong password":
		return "not " + p.user.Password, nil
	}
	name, ok := strings.CutSuffix(words, "'s password")
	if !ok {
		return "", fmt.Errorf("give %q: no such password", words)
	}
	other, err := w.person(ctx, name)
	if err != nil {
		return "", err
	}
	if other.user.Password == p.user.Password {
		return "", &unseen{"the target's accounts share a password, so another's tells nothing"}
	}
	return other.user.Password, nil
}

func (w *world) ownSessions(ctx context.Context, p *person) (*farmspec.Visit, int, error) {
	list := w.target.Account.Sessions
	page, err := w.accountPage(ctx, p, list.Path)
	if err != nil {
		return nil, 0, err
	}
	n := strings.Count(string(page.Final().Body), list.Item)
	if n == 0 {
		return nil, 0, &failedControl{"the list of sessions shows none, not even the one that asks for it"}
	}
	return page, n, nil
}

func (w *world) opensOwnSessions(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	_, n, err := w.ownSessions(ctx, p)
	w.account.before, w.account.listed = w.account.listed, n
	return err
}

func (w *world) showsOneSession(which string) error {
	want := w.account.before + 1
	if which == "less" {
		want = w.account.before - 1
	}
	return w.expect(w.account.listed == want, nil, fmt.Sprintf("%d sessions in the user's own list", want), fmt.Sprint(w.account.listed))
}

// mostSessions bounds how many sessions a person ends one by one.
const mostSessions = 100

// endsOtherSessions sends the form until the list has this session alone: it
// may end one at a time, and others may be there from before.
func (w *world) endsOtherSessions(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	recipe := w.target.Account.Sessions
	page, n, err := w.ownSessions(ctx, p)
	for range mostSessions {
		if err != nil || n == 1 {
			return err
		}
		before := n
		if _, err = w.sendAccountForm(ctx, p, page, recipe.Form, map[string]string{recipe.Confirm: p.user.Password}); err != nil {
			return err
		}
		if page, n, err = w.ownSessions(ctx, p); err == nil && n >= before {
			return w.expect(false, page.Final(), "fewer sessions in the user's own list after one was ended", fmt.Sprintf("%d, and %d before", n, before))
		}
	}
	return &failedControl{fmt.Sprintf("%s still has other sessions after ending %d", name, mostSessions)}
}

func (w *world) triesToEndOtherSessions(ctx context.Context, name, words string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	recipe := w.target.Account.Sessions
	if recipe.Confirm == "" && words != "no password" {
		return &notOffered{"the list of sessions asks for no password"}
	}
	given, err := w.password(ctx, p, words)
	if err != nil {
		return err
	}
	page, before, err := w.ownSessions(ctx, p)
	if err != nil {
		return err
	}
	if _, err := w.sendAccountForm(ctx, p, page, recipe.Form, map[string]string{recipe.Confirm: given}); err != nil {
		return err
	}
	page, after, err := w.ownSessions(ctx, p)
	if err != nil {
		return err
	}
	return w.expect(after == before, page.Final(), fmt.Sprintf("as many sessions as before in the user's own list, %d", before), fmt.Sprint(after))
}

// formOf finds the form that a recipe means.
func formOf(page *farmspec.Visit, named string) (farmspec.Form, bool) {
	forms := farmspec.Forms(page.Final())
	i := slices.IndexFunc(forms, func(f farmspec.Form) bool { return named == "" || f.ID == named || f.Name == named })
	if i < 0 {
		return farmspec.Form{}, false
	}
	return forms[i], true
}

// sendsFormOf takes from the other's form, one at a time, whatever may name a
// session, and sends it with her own form and her own password.
func (w *world) sendsFormOf(ctx context.Context, name, whose string) error {
	p, owner, err := w.both(ctx, name, whose)
	if err != nil {
		return err
	}
	recipe := w.target.Account.Sessions
	theirPage, _, err := w.ownSessions(ctx, owner)
	if err != nil {
		return err
	}
	theirs, ok := formOf(theirPage, recipe.Form)
	if !ok {
		return &failedControl{"the list of sessions has no form that ends another"}
	}
	sent := 0
	for _, field := range append(theirs.Fields, farmspec.Field{}) { // the last for the address alone
		page, _, err := w.ownSessions(ctx, p)
		if err != nil {
			return err
		}
		own, ok := formOf(page, recipe.Form)
		if !ok {
			return &failedControl{"the list of sessions has no form that ends another"}
		}
		same := func(f farmspec.Field) bool { return f.Name == field.Name && f.Value == field.Value }
		switch {
		case field.Name == "" && own.Action == theirs.Action, field.Name == recipe.Confirm && recipe.Confirm != "", field.Name != "" && slices.ContainsFunc(own.Fields, same):
			continue // it names nothing of the other's
		case field.Name != "" && !own.Has(field.Name):
			continue
		}
		values := url.Values{}
		for _, f := range own.Fields {
			if f.On && f.Name != "" {
				values.Set(f.Name, f.Value)
			}
		}
		if field.Name != "" {
			values.Set(field.Name, field.Value)
		}
		if recipe.Confirm != "" {
			values.Set(recipe.Confirm, p.user.Password)
		}
		if _, err := p.browser.Post(ctx, page, theirs.Action, values); err != nil {
			return fmt.Errorf("send the form: %w", err)
		}
		w.keepToken(p, p.at)
		sent++
	}
	if sent == 0 {
		return &notOffered{"the form that ends sessions names none"}
	}
	return ctx.Err()
}

// newPassword satisfies the usual rules: long, letters of both cases, digits and a sign.
func (w *world) newPassword() string {
	w.account.next = "Aa1!" + rand.Text()
	return w.account.next
}

func (w *world) changePassword(ctx context.Context, p *person, present, next string, endOthers bool) error {
	recipe := w.target.Account.Password
	page, err := w.accountPage(ctx, p, recipe.Path)
	if err != nil {
		return err
	}
	box := ""
	if endOthers && recipe.EndOthers != "" {
		box = "on"
		for _, f := range farmspec.Forms(page.Final()) {
			for _, field := range f.Fields {
				if field.Name == recipe.EndOthers && field.Value != "" {
					box = field.Value
				}
			}
		}
	}
	_, err = w.sendAccountForm(ctx, p, page, recipe.Form, map[string]string{
		recipe.Current: present, recipe.New: next, recipe.Again: next, recipe.EndOthers: box,
	})
	return err
}

func (w *world) changesPassword(endOthers bool) func(context.Context, string) error {
	return func(ctx context.Context, name string) error {
		p, err := w.person(ctx, name)
		if err != nil {
			return err
		}
		before, next := p.user.Password, w.newPassword()
		w.mindPassword(p, next)
		if err := w.changePassword(ctx, p, before, next, endOthers); err != nil {
			return err
		}
		if in, err := w.letsIn(ctx, p, next); err != nil || !in {
			return errors.Join(err, &failedControl{name + " changed her password and cannot log in with the new one"})
		}
		p.user.Password = next
		w.account.next = before // the one that must not work any more
		return nil
	}
}

// mindPassword is called before a person asks for a new password, whether she
// is to get it or not. An account that others will use has its first one again
// in the end. A farm may refuse that, as those do that remember passwords; then
// the others get the account with the one it has, and the run says so.
func (w *world) mindPassword(p *person, next string) {
	if p.passwords = append(p.passwords, next); len(p.passwords) > 1 {
		return // it is minded
	}
	first := p.user.Password
	p.passwords = []string{first, next}
	if _, shared := w.target.Hooks.Accounts.(farmspec.AccountPool); !shared {
		return
	}
	w.undo("give account "+p.user.Name+" its password back", func(ctx context.Context) error {
		for _, present := range slices.Compact(append([]string{p.user.Password}, p.passwords...)) {
			in, err := w.letsIn(ctx, p, present)
			if err != nil {
				return err
			}
			if !in {
				continue
			}
			p.user.Password = present
			if present == first {
				return nil
			}
			again := &person{name: p.name, user: p.user, browser: w.newBrowser(p.name), at: p.at}
			if _, err := w.logIn(ctx, again, again.at, present); err != nil {
				return err
			}
			err = w.changePassword(ctx, again, present, first, false)
			if in, _ := w.letsIn(ctx, p, first); !in {
				return errors.Join(errors.New("the farm does not take it; the account has a new one until somebody sets it"), err)
			}
			p.user.Password = first
			return nil
		}
		return errors.New("nobody can log in with it, nor with the new one; see to the account")
	})
}

func (w *world) triesToChangePassword(ctx context.Context, name, words string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if w.target.Account.Password.Current == "" && words != "no password" {
		return &notOffered{"the change of password does not ask for the present one"}
	}
	given, err := w.password(ctx, p, words)
	if err != nil {
		return err
	}
	next := w.newPassword()
	w.mindPassword(p, next)
	return w.changePassword(ctx, p, given, next, false)
}

// letsIn reports whether a log-in with that password opens the person's page,
// in a browser of its own.
func (w *world) letsIn(ctx context.Context, p *person, password string) (bool, error) {
	a, err := w.logsInElsewhere(ctx, p, password)
	return a != nil && a.outcome == farmspec.Accepted, err
}

func (w *world) logsInElsewhere(ctx context.Context, p *person, password string) (*attempt, error) {
	again := &person{name: p.name, user: p.user, browser: w.newBrowser(p.name), at: p.at}
	if _, err := w.logIn(ctx, again, p.at, password); err != nil {
		return nil, fmt.Errorf("log in with another browser: %w", err)
	}
	return w.visit(ctx, again, p.at, w.home(p.at)), ctx.Err()
}

func (w *world) passwordIs(ctx context.Context, name, which string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	good, err := w.letsIn(ctx, p, p.user.Password)
	if err != nil {
		return err
	}
	bad, err := w.letsIn(ctx, p, w.account.next)
	if err != nil {
		return err
	}
	if !good && !bad {
		return &failedControl{fmt.Sprintf("%s can log in with neither password", name)}
	}
	return w.expect(good && !bad, nil, fmt.Sprintf("that %s's password is %s", name, which), fmt.Sprintf("that one works: %s, the other one: %s", yesNo(good), yesNo(bad)))
}

func (w *world) doesTransaction(ctx context.Context, name, words string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	recipe := w.target.Account.Transaction
	given, err := w.password(ctx, p, words)
	if err != nil {
		return err
	}
	page, err := w.accountPage(ctx, p, recipe.Path)
	if err != nil {
		return err
	}
	if strings.Contains(string(page.Final().Body), recipe.Done) {
		return &failedControl{recipe.Path + " shows what only a transaction carried out is to show"}
	}
	values := map[string]string{recipe.Confirm: given}
	for field, value := range recipe.Values {
		values[field] = value
	}
	w.account.answer, err = w.sendAccountForm(ctx, p, page, recipe.Form, values)
	return err
}

func (w *world) transactionWas(not string) error {
	done := strings.Contains(string(w.account.answer.Body), w.target.Account.Transaction.Done)
	if not != "" {
		return w.expect(!done, w.account.answer, "that the transaction is not carried out", "it was: "+yesNo(done))
	}
	w.checked(farmspec.Witness, "with the password the transaction is carried out", yesNo(done), done, w.account.answer)
	if !done {
		return &failedControl{"the transaction is not carried out with the password either: " + describe(w.account.answer)}
	}
	return nil
}

func (w *world) adminDisables(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	admin := w.hooks.Admin
	err = admin.DisableUser(ctx, p.user.Name)
	if _, shared := w.target.Hooks.Accounts.(farmspec.AccountPool); shared && !errors.Is(err, farmspec.ErrNoHook) {
		w.undo("enable account "+p.user.Name+" again", func(ctx context.Context) error { return admin.EnableUser(ctx, p.user.Name) })
	}
	return ended(err)
}

func (w *world) isNotLetIn(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	a, err := w.logsInElsewhere(ctx, p, p.user.Password)
	if err != nil {
		return err
	}
	return w.mustRefuse(ctx, a)
}

func (w *world) visitsEveryPage(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	pages := slices.DeleteFunc(slices.Clone(w.target.Pages), func(page farmspec.Page) bool { return page.Kind == farmspec.Applet })
	for _, app := range w.target.Apps {
		pages = append(pages, appPage(app))
	}
	for _, page := range pages {
		a := w.hop(ctx, p, page)
		if err := w.needServed(a); err != nil {
			return err
		}
		if kind, _, _ := strings.Cut(a.final().Header.Get("Content-Type"), ";"); kind == "text/html" || kind == "application/xhtml+xml" {
			w.account.pages = append(w.account.pages, a)
		}
	}
	return ctx.Err()
}

var logOutWords = regexp.MustCompile(`(?i)\b(log|sign)[\s-]*(out|off)\b`)

// eachOffersLogOut looks for a link or a form that leads to the log-out. A
// page that only speaks of it may have a script for it, and is believed.
func (w *world) eachOffersLogOut() error {
	if len(w.account.pages) == 0 {
		return &notOffered{"no protected page is an HTML page"}
	}
	for _, a := range w.account.pages {
		x := a.final()
		offered := logOutWords.Match(x.Body) || strings.Contains(string(x.Body), w.target.Logout.Path) ||
			slices.ContainsFunc(farmspec.Links(x), w.leadsToLogOut) ||
			slices.ContainsFunc(farmspec.Forms(x), func(f farmspec.Form) bool { return w.leadsToLogOut(f.Action) })
		if !offered {
			return w.expect(false, x, "a visible way to log out on "+a.page.Path, "no link, no form and no word of it")
		}
	}
	return w.expect(true, nil, "a visible way to log out on every protected page", fmt.Sprintf("there is one on each of %d", len(w.account.pages)))
}

// leadsToLogOut reports whether an address is a member's log-out.
func (w *world) leadsToLogOut(address string) bool {
	m, ok := w.target.MemberOf(address)
	path, _, _ := strings.Cut(address, "?")
	return ok && path == m.At(w.target.Logout.Path)
}
