package features

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/farmspec/farmspec"
)

// Health is how well a line of a target's description fits the farm.
type Health string

// The kinds of health.
const (
	// Fine: the farm does what the line says.
	Fine Health = "fine"
	// Odd: worth knowing, and for the scenarios to judge.
	Odd Health = "odd"
	// Ill: the line is wrong, or the farm is not ready; scenarios would prove nothing.
	Ill Health = "ill"
)

// Symptom is what an examination found about one line of a description.
type Symptom struct {
	Health Health
	// Field is the line, as a target file has it: members[1].url.
	Field string
	// Text says in one line what was seen; Mend how to mend it.
	Text, Mend string
}

// Examine tries each line of a target's description at the farm, in the order
// in which they build on each other, and tells of each as it goes. What builds
// on a line that is ill is left out. It reports whether none is ill.
//
// It logs in with up to three accounts and moves what hooks move; nobody else
// should use the farm meanwhile. No secret is told.
func Examine(ctx context.Context, t *farmspec.Target, tell func(Symptom)) bool {
	d := &doctor{healthy: true, tell: tell}
	d.world = &world{
		judge: &judge{Options: Options{}.withDefaults()}, of: &planned{scenario: &Scenario{}, target: t}, target: t, hooks: t.Hooks,
		result: &farmspec.Result{}, began: time.Now(), people: map[string]*person{}, witnessed: map[string]int{},
		transport: t.Transport(),
	}
	defer func() {
		for _, f := range slices.Backward(d.onEnd) {
			f()
		}
		d.transport.CloseIdleConnections()
	}()
	d.examine(ctx)
	if err := ctx.Err(); err != nil {
		d.ill("", "run it again", "the examination was interrupted")
	}
	return d.healthy
}

type doctor struct {
	*world
	healthy bool
	tell    func(Symptom)
}

func (d *doctor) say(h Health, field, mend, format string, args ...any) {
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	for _, p := range d.people { // an error may quote what was sent
		text = strings.ReplaceAll(text, p.user.Password, "…")
		for _, t := range p.tokens {
			text = strings.ReplaceAll(text, t.value, farmspec.Digest(t.value))
		}
	}
	d.healthy = d.healthy && h != Ill
	d.tell(Symptom{h, field, text, mend})
}

func (d *doctor) fine(field, format string, args ...any) { d.say(Fine, field, "", format, args...) }
func (d *doctor) odd(field, mend, format string, args ...any) {
	d.say(Odd, field, mend, format, args...)
}
func (d *doctor) ill(field, mend, format string, args ...any) {
	d.say(Ill, field, mend, format, args...)
}

func (d *doctor) examine(ctx context.Context) {
	if !d.reach(ctx) || ctx.Err() != nil || !d.logInPage(ctx) {
		return
	}
	open := d.withoutToken(ctx)
	ada := d.loggedIn(ctx, "ada", d.target.Members[0])
	if ada == nil || !open {
		return
	}
	if !d.pagesOf(ctx, ada) {
		return
	}
	d.tokenAlone(ctx, ada)
	if d.target.Rotation != farmspec.NoRotation { // whoever tried the token alone has spent it
		if ada = d.loggedIn(ctx, "ada", d.target.Members[0]); ada == nil {
			return
		}
	}
	d.otherMembers(ctx, ada)
	d.rotation(ctx, ada)
	d.applications(ctx, ada)
	d.secondUser(ctx)
	d.lastAccount(ctx)
	d.slowAndOpen(ctx, ada)
	d.account(ctx, ada)
	d.logOutEnds(ctx, ada)
	if d.target.Hooks.Fork != nil {
		return // a farm that makes private ones of itself proves its hooks there
	}
	d.keys(ctx)
	d.service(ctx)
	d.database(ctx)
	d.admin(ctx)
	d.logs(ctx)
	d.processes(ctx)
	d.clock(ctx)
}

// reach asks each member for the log-in page and compares its clock.
func (d *doctor) reach(ctx context.Context) bool {
	all := true
	for i, m := range d.target.Members {
		field := fmt.Sprintf("members[%d].url", i)
		x := d.newBrowser("nobody").Send(ctx, farmspec.Request{URL: m.At(d.target.Login.Path), Dest: "document", NewConn: true})
		if x.Err != nil {
			cause, mend := unreachable(x.Err)
			if strings.HasPrefix(m.URL, "https:") && !strings.Contains(mend, "http://") {
				mend += "; write http://, if it does not speak TLS"
			}
			d.ill(field, mend, "%s cannot be reached: %s", m.Name, cause)
			all = false
			continue
		}
		if x.Status == http.StatusBadRequest && strings.Contains(string(x.Body), "HTTPS") {
			d.ill(field, "write https://", "%s speaks HTTPS, and its url is of HTTP", m.Name)
			all = false
			continue
		}
		date, err := http.ParseTime(x.Header.Get("Date"))
		if err != nil {
			d.fine(field, "%s answers in %v and does not say its time", m.Name, x.Took.Round(time.Millisecond))
			continue
		}
		// A Date has whole seconds: the middle of that second against the middle of the exchange.
		skew := date.Add(500 * time.Millisecond).Sub(x.Start.Add(x.Took / 2))
		if over := skew.Abs() - 500*time.Millisecond - x.Took/2; over > d.target.Limits.Tolerance {
			d.odd("limits.tolerance", "set its clock, or allow for it", "%s's clock is %v off ours, beyond the tolerance of %v", m.Name, skew.Round(time.Second), d.target.Limits.Tolerance)
			continue
		}
		d.fine(field, "%s answers in %v; its clock agrees with ours to a second", m.Name, x.Took.Round(time.Millisecond))
	}
	return all
}

// unreachable says in words why there was no answer, and what to do.
func unreachable(err error) (cause, mend string) {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused", "start the farm, or correct host and port"
	case errors.As(err, &dns):
		return "its host name is not known", "correct it, or add the name and its IP address to resolve"
	case errors.As(err, &authority):
		return "its certificate is from an authority that is not trusted here", "name a PEM file with the authority's certificate under ca"
	case errors.As(err, &name):
		return "its certificate is for another host", "use the name in the certificate, with resolve where it is not known"
	case errors.As(err, &invalid):
		return "its certificate is not valid: " + invalid.Error(), "renew the certificate"
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "it does not speak TLS", "write http://"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time", "start the farm, or look for what swallows the connection"
	}
	return err.Error(), "see that this is a web server's address"
}

func (d *doctor) logInPage(ctx context.Context) bool {
	login := d.target.Login
	for i, m := range d.target.Members {
		visit, err := d.newBrowser("nobody").Open(ctx, m.At(login.Path))
		if err == nil {
			err = visit.Final().Err
		}
		if err != nil {
			d.ill("login.path", "correct it", "%s: %s does not open: %v", m.Name, login.Path, err)
			return false
		}
		x := visit.Final()
		switch {
		case login.Kind == farmspec.BasicLogin:
			if !d.hasLogIn(x) {
				d.ill("login.path", "give the path of a page that asks for Basic credentials", "%s: %s answers with %d and does not ask for Basic credentials", m.Name, login.Path, x.Status)
				return false
			}
		case !byForm(login):
		case x.Status == http.StatusNotFound && i > 0:
			d.ill(fmt.Sprintf("members[%d].url", i), "is it a member of the same farm?", "%s: %s answers with 404, not found, and %s has the log-in there", m.Name, login.Path, d.target.Members[0].Name)
			return false
		case x.Status == http.StatusNotFound:
			d.ill("login.path", "correct it", "%s: %s answers with 404, not found", m.Name, login.Path)
			return false
		default:
			if !d.logInForm(m, x) {
				return false
			}
		}
	}
	d.fine("login", "each member has the log-in at %s", login.Path)
	return true
}

// logInForm looks for the form with the two fields.
func (d *doctor) logInForm(m farmspec.Member, x *farmspec.Exchange) bool {
	login := d.target.Login
	if d.hasLogIn(x) {
		return true
	}
	forms := farmspec.Forms(x)
	if len(forms) == 0 {
		d.ill("login.path", "give the path of the page with the log-in form, or another login.kind", "%s: %s answers with %d and has no form", m.Name, login.Path, x.Status)
		return false
	}
	var names []string
	for _, f := range forms {
		for _, field := range f.Fields {
			if field.Name != "" && !slices.Contains(names, field.Name) {
				names = append(names, field.Name)
			}
		}
	}
	for _, field := range []struct{ path, name string }{{"login.user", login.UserField}, {"login.password", login.PassField}} {
		if slices.Contains(names, field.name) {
			continue
		}
		mend := "its fields are " + strings.Join(names, ", ")
		if near := farmspec.Suggest(field.name, names); near != "" {
			mend = "did you mean " + near + "?"
		}
		d.ill(field.path, mend, "%s: the form at %s has no field %q", m.Name, login.Path, field.name)
		return false
	}
	d.ill("login.path", "give the path of the page with one form of both", "%s: no one form at %s has both fields", m.Name, login.Path)
	return false
}

// withoutToken asks for each protected page with nothing.
func (d *doctor) withoutToken(ctx context.Context) bool {
	all := true
	ask := func(field string, page farmspec.Page) {
		holder, _ := d.target.Member(page.Member)
		visit, err := d.newBrowser("nobody").Open(ctx, holder.At(page.Path))
		if err != nil || visit.Final().Err != nil {
			var loop *farmspec.RedirectError
			switch {
			case errors.As(err, &loop):
				d.ill(field+".path", "it should lead to the log-in", "%s at %s, without a token: redirected in a circle: %v", page.Path, page.Member, loop.Loop)
			case err == nil:
				err = visit.Final().Err
				fallthrough
			default:
				d.ill(field+".path", "see what the farm's log says", "%s at %s, without a token: no answer: %v", page.Path, page.Member, err)
			}
			all = false
			return
		}
		page.Echo = false
		if d.target.Judge(visit.Final(), page, "") == farmspec.Accepted {
			if d.hasLogIn(visit.Final()) {
				d.ill(field+".marker", "choose a text that the log-in page does not have", "%s at %s, without a token, leads to the log-in, which shows the marker too", page.Path, page.Member)
				all = false
				return
			}
			d.ill(field+".marker", "choose a text that only a signed-in user is shown, or protect the page", "%s at %s shows its marker without a token", page.Path, page.Member)
			all = false
		}
	}
	for _, p := range d.target.Pages {
		ask(d.fieldOf(p), p)
	}
	for _, a := range d.target.Apps {
		ask(d.fieldOfApp(a), appPage(a))
	}
	if all {
		d.fine("pages", "without a token every protected page is refused")
	}
	return all
}

// fieldOf is the entry of a page: the nth path of the list.
func (d *doctor) fieldOf(page farmspec.Page) string {
	var paths []string
	for _, p := range d.target.Pages {
		if key := p.Path + " " + string(p.Kind); !slices.Contains(paths, key) {
			paths = append(paths, key)
		}
	}
	return fmt.Sprintf("pages[%d]", slices.Index(paths, page.Path+" "+string(page.Kind)))
}

func (d *doctor) fieldOfApp(app farmspec.App) string {
	var paths []string
	for _, a := range d.target.Apps {
		if !slices.Contains(paths, a.Path) {
			paths = append(paths, a.Path)
		}
	}
	return fmt.Sprintf("apps[%d]", slices.Index(paths, app.Path))
}

// loggedIn logs somebody in and sees that she is; nil where she is not.
func (d *doctor) loggedIn(ctx context.Context, name string, m farmspec.Member) *person {
	p, err := d.person(ctx, name)
	if err != nil {
		d.ill("accounts", "add accounts", "%v", err)
		return nil
	}
	visit, err := d.logIn(ctx, p, m, p.user.Password)
	if err != nil {
		d.ill("login", "correct it", "%s cannot log in at %s: %v", p.user.Name, m.Name, err)
		return nil
	}
	p.at = m
	a := d.visit(ctx, p, m, d.home(m))
	x := a.final()
	field := d.fieldOf(d.home(m))
	switch {
	case a.outcome == farmspec.Accepted:
	case a.outcome == farmspec.WrongUser:
		d.ill("echo", "copy what the page shows of the user, with {user} for the name", "%s logged in, and %s does not show %q", p.user.Name, a.page.Path, d.target.Echo(p.user.Name))
		return nil
	case a.outcome == farmspec.NoAnswer:
		d.ill(field+".path", "see what the farm's log says", "%s logged in, and %s gives no answer: %s", p.user.Name, a.page.Path, a.describe())
		return nil
	case visit.Final().Status >= 500:
		d.ill("login", "see what the farm's log says", "the log-in of %s is answered with %d", p.user.Name, visit.Final().Status)
		return nil
	case !byForm(d.target.Login) && (visit.Final().Status == http.StatusNotFound || visit.Final().Status == http.StatusMethodNotAllowed):
		d.ill("login.path", "correct it, or login.kind", "the log-in of %s at %s is answered with %d", p.user.Name, m.At(d.target.Login.Path), visit.Final().Status)
		return nil
	case d.hasLogIn(x) || x.Status == http.StatusUnauthorized || x.Status == http.StatusForbidden:
		mend := "correct the password, or login.user and login.password"
		if !byForm(d.target.Login) {
			mend += ", or login.kind"
		}
		if len(d.people) > 1 { // somebody could log in by this recipe
			mend = "correct the account, or accounts.count, where the pattern makes more names than the farm knows"
		}
		what := "is asked to log in again"
		if len(p.browser.AllCookies()) == 0 {
			what += " and was given no cookie"
		}
		d.ill("accounts."+p.user.Name, mend, "%s logs in at %s and %s (the log-in was answered with %d)", p.user.Name, m.Name, what, visit.Final().Status)
		return nil
	case x.Status == http.StatusNotFound:
		d.ill(field+".path", "correct it", "%s at %s answers with 404, not found", a.page.Path, m.Name)
		return nil
	case strings.Contains(string(x.Body), d.target.Echo(p.user.Name)):
		d.ill(field+".marker", "copy a text from the page", "%s at %s shows the right user and not the marker %q", a.page.Path, m.Name, a.page.Marker)
		return nil
	default:
		d.ill(field+".marker", "copy a text from the page, or correct the path", "%s at %s answers with %d and shows neither the marker %q nor %q", a.page.Path, m.Name, x.Status, a.page.Marker, d.target.Echo(p.user.Name))
		return nil
	}
	d.fine("login", "%s logs in at %s and %s shows whose session it is", p.user.Name, m.Name, a.page.Path)
	if _, ok := d.tokenAt(p.browser, m); !ok {
		var names []string
		for _, c := range p.browser.Cookies(m.URL + "/") {
			names = append(names, c.Name)
		}
		mend := "the farm sets no cookie: see carrier.kind"
		if len(names) > 0 {
			mend = "the farm sets " + strings.Join(names, ", ")
			if near := farmspec.Suggest(d.target.Carrier.Name, names); near != "" {
				mend = "did you mean " + near + "?"
			}
		}
		d.ill("carrier.name", mend, "after the log-in the browser has no %s %q", d.target.Carrier.Kind, d.target.Carrier.Name)
		return nil
	}
	return p
}

// pagesOf visits each page, and reports whether the first member's home, on
// which the rest builds, is served again.
func (d *doctor) pagesOf(ctx context.Context, p *person) bool {
	good, home := 0, true
	for _, page := range d.target.Pages {
		a := d.hop(ctx, p, page)
		switch {
		case a.outcome == farmspec.Accepted:
			good++
		case page.Member != d.target.Members[0].Name && len(d.target.Members) > 1 && a.page.Kind == farmspec.HTML:
			// otherMembers says it better
		case a.outcome == farmspec.WrongUser:
			d.ill(d.fieldOf(page)+".echo", "add echo: no, or correct the echo", "%s at %s does not show %q", page.Path, page.Member, d.target.Echo(p.user.Name))
		case page == d.home(d.target.Members[0]):
			d.ill(d.fieldOf(page)+".marker", "choose a text that stays, no counter or time", "%s at %s showed the marker %q once and does not again", page.Path, page.Member, page.Marker)
			home = false
		default:
			d.ill(d.fieldOf(page)+".marker", "correct marker or path", "%s at %s, logged in, is %s and without the marker %q", page.Path, page.Member, a.describe(), page.Marker)
		}
	}
	if home {
		d.fine("pages", "%d of %d protected pages are served with the right user", good, len(d.target.Pages))
	}
	return home
}

// tokenAlone tries whether the carrier is what carries the session.
func (d *doctor) tokenAlone(ctx context.Context, p *person) {
	m := d.target.Members[0]
	if a := d.visit(ctx, p, m, d.home(m)); a.outcome != farmspec.Accepted {
		return
	}
	t, _ := d.tokenAt(p.browser, m)
	alone := d.newBrowser("token alone")
	d.give(alone, t, m)
	if a := d.open(ctx, alone, p, m.At(d.home(m).Path), d.home(m), ""); a.outcome != farmspec.Accepted {
		mend := "name the cookie that carries the session"
		if others := d.otherCookies(p); len(others) > 0 {
			mend += ", or add to companions what is needed beside it: the farm sets " + strings.Join(others, ", ")
		}
		d.ill("carrier.name", mend, "a browser with %s alone is not served: it is not the session, or not all of it", strings.Join(append([]string{d.target.Carrier.Name}, d.target.Companions...), " and "))
		return
	}
	if c, ok := p.browser.Cookie(m.URL+"/", d.target.Carrier.Name); ok {
		d.cookieLife(c)
	}
	d.keepToken(p, m)
	d.fine("carrier", "%s %s carries the session by itself", d.target.Carrier.Kind, d.target.Carrier.Name)
}

// otherCookies are the names that the description does not have.
func (d *doctor) otherCookies(p *person) []string {
	var names []string
	for _, c := range p.browser.AllCookies() {
		if c.Name != d.target.Carrier.Name && !slices.Contains(d.target.Companions, c.Name) && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

// cookieLife compares what the browser was told with what is promised.
func (d *doctor) cookieLife(c farmspec.Cookie) {
	idle := d.target.Limits.Idle
	if c.Expires.IsZero() {
		d.fine("limits.idle", "the cookie goes with the browser; that %v is kept is for the scenarios to see", idle)
		return
	}
	left := time.Until(c.Expires).Round(time.Second)
	switch {
	case left < idle-idle/20-time.Second:
		d.odd("limits.idle", "write what the farm promises", "the cookie lives for %v, and limits.idle is %v", left, idle)
	default:
		d.fine("limits.idle", "the cookie lives for %v; that %v is kept is for the scenarios to see", left, idle)
	}
}

// otherMembers takes a token from the first member to each other.
func (d *doctor) otherMembers(ctx context.Context, p *person) {
	if len(d.target.Members) < 2 {
		d.odd("members", "add another", "there is one member, so nothing is seen of a common session")
		return
	}
	first := d.home(d.target.Members[0])
	for i, m := range d.target.Members[1:] {
		page := d.home(m)
		a := d.hop(ctx, p, page)
		switch {
		case a.outcome == farmspec.Accepted:
			d.fine(fmt.Sprintf("members[%d]", i+1), "%s knows a token from %s", m.Name, first.Member)
		case d.hasLogIn(a.final()) || a.final().Status == http.StatusUnauthorized || a.final().Status == http.StatusForbidden:
			d.odd(fmt.Sprintf("members[%d]", i+1), "if they should share sessions, see its session store; the scenarios will say so", "%s does not know a token from %s", m.Name, first.Member)
		default:
			d.ill(d.fieldOf(page)+".marker", "write {member} where the page shows the member's name, or give each member its own entry", "%s at %s is %s, and without the marker %q", page.Path, m.Name, a.describe(), page.Marker)
		}
		if page.Marker == first.Marker {
			d.odd(d.fieldOf(page)+".marker", "write {member} where a page shows which member served it", "%s and %s show the same, so nobody can tell them apart by the page", first.Member, m.Name)
		}
	}
}

// rotation compares the token before and after a page.
func (d *doctor) rotation(ctx context.Context, p *person) {
	m := p.at
	before, _ := d.tokenAt(p.browser, m)
	if a := d.visit(ctx, p, m, d.home(m)); a.outcome != farmspec.Accepted {
		return
	}
	after, _ := d.tokenAt(p.browser, m)
	switch none := d.target.Rotation == farmspec.NoRotation; {
	case none && before.value != after.value:
		d.odd("rotation", "say rotation.policy, if the earlier value is refused then", "the value of %s changes with every page, and there is said to be no rotation", d.target.Carrier.Name)
	case !none && before.value == after.value:
		d.ill("rotation.policy", "none, if the token stays for the life of the session", "a page of %s did not change the value of %s", m.Name, d.target.Carrier.Name)
	default:
		d.fine("rotation", "a page %s the token, as is said", map[bool]string{true: "keeps", false: "replaces"}[none])
	}
}

// applications gives each a value and reads it back.
func (d *doctor) applications(ctx context.Context, p *person) {
	if len(d.target.Apps) == 0 {
		d.odd("apps", "add a page that remembers what its form is given, as a cart does, if there is one", "no application is described, so little is asked about what sessions keep")
	}
	seen := map[string]string{} // value by path
	for _, app := range d.target.Apps {
		field, page := d.fieldOfApp(app), appPage(app)
		a := d.hop(ctx, p, page)
		if a.outcome != farmspec.Accepted {
			switch {
			case app.Member != d.target.Members[0].Name: // told of the first
			case a.outcome == farmspec.WrongUser:
				d.ill("echo", "choose a text that pages and applications show alike", "%s at %s has its marker, and does not show %q", app.Path, app.Member, d.target.Echo(p.user.Name))
			default:
				d.ill(field+".marker", "correct path or marker", "%s at %s, logged in, is %s and without the marker %q", app.Path, app.Member, a.describe(), app.Marker)
			}
			continue
		}
		if value := seen[app.Path]; value != "" && !shows(a, value) {
			d.odd(field, "if members should share sessions, see the session store; the scenarios will say so", "%s shows nothing of what was given to %s at another member", app.Member, app.Path)
			continue
		}
		if !slices.ContainsFunc(farmspec.Forms(a.final()), func(f farmspec.Form) bool { return f.Has(app.Field) }) {
			d.ill(field+".field", "name the form's field for the value", "%s at %s has no form with the field %q", app.Path, app.Member, app.Field)
			continue
		}
		value := d.newValue(p, page)
		given := d.sendValue(ctx, p, page, value)
		again := d.hop(ctx, p, page)
		switch {
		case given.outcome == farmspec.NoAnswer:
			d.ill(field, "see what the farm's log says", "%s at %s gives no answer to its form: %s", app.Path, app.Member, given.describe())
		case !shows(again, value):
			d.ill(field+".field", "the page must show every value it was given", "%s at %s does not show a value that its form gave it", app.Path, app.Member)
		case given.outcome != farmspec.Accepted:
			d.ill(field+".path", "give the path of the page that the form leads to", "the form of %s at %s leads to a page without the marker %q", app.Path, app.Member, app.Marker)
		default:
			seen[app.Path] = value
			d.fine(field, "%s at %s remembers a value and shows it", app.Path, app.Member)
		}
	}
}

// secondUser logs in as somebody else, who must be shown as such.
func (d *doctor) secondUser(ctx context.Context) {
	if d.loggedIn(ctx, "ben", d.target.Members[0]) != nil {
		if pool, ok := d.target.Hooks.Accounts.(farmspec.AccountPool); ok && pool.Size() < cast(d.target) {
			d.odd("accounts", fmt.Sprintf("%d let all scenarios run but one, %d that one too", cast(d.target), cast(d.target)+crowd), "there are %d accounts", pool.Size())
		}
	}
}

// lastAccount logs in with the account that is lent last: a pattern makes a
// hundred names where nothing is said, and a farm may know fewer.
func (d *doctor) lastAccount(ctx context.Context) {
	pool, ok := d.target.Hooks.Accounts.(farmspec.AccountPool)
	if !ok {
		return
	}
	for range pool.Size() - int(d.lent.Load()) - 1 {
		u, err := pool.New(ctx, "nobody")
		if err != nil {
			d.ill("accounts", "add accounts", "get an account: %v", err)
			return
		}
		defer pool.Return(u)
	}
	if int64(pool.Size()) > d.lent.Load() {
		d.loggedIn(ctx, "carol", d.target.Members[0])
	}
}

func (d *doctor) slowAndOpen(ctx context.Context, p *person) {
	if page := d.target.Slow; page != nil {
		m, _ := d.target.Member(page.Member)
		a := d.visit(ctx, p, m, *page)
		took := a.final().Took
		switch {
		case a.outcome != farmspec.Accepted:
			d.ill("slow.marker", "correct path or marker", "%s at %s is %s and without the marker %q", page.Path, page.Member, a.describe(), page.Marker)
		case took < 100*time.Millisecond:
			d.odd("slow", "let it take about a second, or leave it out", "%s took %v only", page.Path, took.Round(time.Millisecond))
		default:
			d.fine("slow", "%s takes %v", page.Path, took.Round(10*time.Millisecond))
		}
	}
	if page := d.target.Open; page != nil {
		m, _ := d.target.Member(page.Member)
		visit, err := d.newBrowser("nobody").Open(ctx, m.At(page.Path))
		switch {
		case err != nil:
			d.ill("open.path", "correct it", "%s does not open: %v", page.Path, err)
		case d.target.Judge(visit.Final(), farmspec.Page{Marker: page.Marker}, "") != farmspec.Accepted:
			d.ill("open.marker", "correct path or marker", "%s answers with %d and without the marker %q", page.Path, visit.Final().Status, page.Marker)
		default:
			d.fine("open", "%s is shown to anybody", page.Path)
		}
	}
}

// logOutEnds logs out; that the browser is out is the recipe's, that a copy
// of the token is refused is for the scenarios to judge.
func (d *doctor) logOutEnds(ctx context.Context, p *person) {
	if d.target.Logout.Path == "" {
		d.odd("logout", "add it if there is one", "no log-out is described, so nothing about it is asked")
		return
	}
	m := p.at
	if a := d.visit(ctx, p, m, d.home(m)); a.outcome != farmspec.Accepted {
		if x := a.final(); d.hasLogIn(x) || x.Status/100 != 2 { // else the page itself is ill, and told
			d.odd("limits.idle", "", "%s's session ended before the log-out", p.user.Name)
		}
		return
	}
	t, _ := d.tokenAt(p.browser, m)
	visit, err := d.askLogOut(ctx, p, m)
	if err == nil {
		err = visit.Final().Err
	}
	if err != nil {
		mend := "correct it, or say logout.kind: get or post"
		d.ill("logout.path", mend, "the log-out at %s cannot be made: %v", m.Name, err)
		return
	}
	if s := visit.Final().Status; s == http.StatusNotFound || s == http.StatusMethodNotAllowed || s >= 500 {
		d.ill("logout.path", "correct path or kind", "the log-out at %s is answered with %d", m.Name, s)
		return
	}
	if a := d.open(ctx, p.browser, p, m.At(d.home(m).Path), d.home(m), ""); a.outcome == farmspec.Accepted {
		d.ill("logout", "correct path, kind or form: is there another form on the page?", "after the log-out at %s, answered with %d, the same browser is still served", m.Name, visit.Final().Status)
		return
	}
	copied := d.newBrowser("copy")
	d.give(copied, t, m)
	if a := d.open(ctx, copied, p, m.At(d.home(m).Path), d.home(m), ""); a.outcome == farmspec.Accepted {
		d.odd("logout", "the scenarios will say so", "after the log-out the browser is out, and a copy of its token is still served")
		return
	}
	d.fine("logout", "log-out ends the session")
}

// processes stops and starts each member that has commands for it.
func (d *doctor) processes(ctx context.Context) {
	if d.hooks.Processes == nil {
		return
	}
	for _, name := range []string{farmspec.ServiceProcess, farmspec.DatabaseProcess} {
		d.partBehind(ctx, name)
	}
	for _, m := range d.target.Members {
		field := "hooks.processes." + m.Name
		err := d.hooks.Processes.Stop(ctx, m.Name)
		switch {
		case errors.Is(err, farmspec.ErrNoHook):
			continue
		case err != nil:
			d.ill(field+".stop", "try it in a shell", "%v", err)
			continue
		}
		ask := func() error {
			return d.newBrowser("nobody").Send(ctx, farmspec.Request{URL: m.At(d.target.Login.Path), NewConn: true}).Err
		}
		stopped := ask()
		if err := d.hooks.Processes.Start(ctx, m.Name); err != nil {
			d.ill(field+".start", "try it in a shell", "%v", err)
			continue
		}
		began := time.Now()
		back := d.until(ctx, ask)
		switch {
		case stopped == nil:
			d.ill(field+".stop", "it must end the process itself", "%s still answers after it was stopped", m.Name)
		case back != nil:
			cause, _ := unreachable(back)
			d.ill(field+".start", "try it in a shell", "%s is not back 20 s after it was started: %s", m.Name, cause)
		default:
			d.fine(field, "%s stops, and is back after %v", m.Name, time.Since(began).Round(10*time.Millisecond))
		}
	}
}

// clock lets the idle time-out pass by the hook.
func (d *doctor) clock(ctx context.Context) {
	if d.hooks.Clock == nil {
		return
	}
	before, err := d.hooks.Clock.Now(ctx)
	if err != nil {
		d.ill("hooks.clock.now", "try it by itself", "%v", err)
		return
	}
	m := d.target.Members[0]
	p := d.loggedIn(ctx, "ada", m)
	if p == nil {
		return
	}
	if err := d.pass(ctx, d.margin()); err != nil {
		d.ill("hooks.clock.advance", "try it in a shell", "%v", err)
		return
	}
	if after, err := d.hooks.Clock.Now(ctx); err != nil || after.Sub(before) < d.margin() {
		d.ill("hooks.clock.now", "it must answer the time that hooks.clock.advance moves", "%v by the hook later the farm's time is %v on (%v)", d.margin(), after.Sub(before).Round(time.Second), err)
		return
	}
	if a := d.visit(ctx, p, m, d.home(m)); a.outcome != farmspec.Accepted {
		d.ill("hooks.clock.advance", "it must move by {seconds}, and limits.idle must be the farm's", "%v after the log-in by the hook the session is %s", d.margin(), a.describe())
		return
	}
	if err := d.pass(ctx, d.target.Limits.Idle+2*d.margin()); err != nil {
		d.ill("hooks.clock.advance", "try it in a shell", "%v", err)
		return
	}
	if a := d.visit(ctx, p, m, d.home(m)); a.outcome == farmspec.Accepted {
		d.odd("hooks.clock.advance", "see that it moves the time of sessions, and that limits.idle is the farm's; the scenarios will say so", "after the idle time-out by the hook the session is still served")
		return
	}
	d.fine("hooks.clock", "the hook moves the time: the idle time-out ends a session")
}
