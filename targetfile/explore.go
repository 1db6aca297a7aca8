package targetfile

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/farmspec/farmspec"
)

// Explore looks at the farm of a sketch as a person would who has its address
// and an account: finds the log-in form, logs in, and proposes what the sketch
// does not say yet. It tells what it found, and what it did not; nothing it
// proposes is more than a proposal, which the doctor proves. Without an
// address it does nothing, and without an account it stops at the log-in.
//
// Passwords are taken relative to dir and told to the farm alone.
func (s *Sketch) Explore(ctx context.Context, dir string, tell func(string)) {
	if len(s.URLs) == 0 {
		return
	}
	e := &explorer{s: s, tell: tell, bases: s.URLs, browser: farmspec.NewBrowser(farmspec.BrowserOptions{Name: "init"})}
	for i := range e.bases {
		e.bases[i] = strings.TrimRight(e.bases[i], "/")
	}
	page := e.logIn(ctx)
	if page == nil || len(s.Users) == 0 || s.Password == "" {
		return
	}
	user := s.Users[0]
	if _, first := s.pattern(); first != "" {
		user = first
	}
	files := &Source{d: &decoder{lines: map[string]int{}}}
	password := files.secret(dir, "the password", s.Password)
	if password == "" {
		tell("The password cannot be read yet, so nobody was logged in.")
		return
	}
	e.browse(ctx, page, user, password)
}

type explorer struct {
	s       *Sketch
	tell    func(string)
	bases   []string
	browser *farmspec.Browser
}

func (e *explorer) propose(field *string, value, format string, args ...any) {
	if *field == "" && value != "" {
		*field = value
		e.tell(fmt.Sprintf(format, args...))
	}
}

// path is an address below the first member's; "" elsewhere.
func (e *explorer) path(address string) string {
	path, ok := strings.CutPrefix(address, e.bases[0])
	path, _, _ = strings.Cut(path, "?")
	if !ok || path == "" {
		return ""
	}
	return path
}

// links are the addresses of a page's links and forms at the first member.
func (e *explorer) links(x *farmspec.Exchange) []string {
	all := farmspec.Links(x)
	for _, f := range farmspec.Forms(x) {
		all = append(all, f.Action)
	}
	return slices.DeleteFunc(all, func(a string) bool { return e.path(a) == "" })
}

// speaks reports whether an address is about one of the words.
func speaks(address string, words ...string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	plain := strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(u.Path))
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(plain, w) })
}

var (
	loginWords  = []string{"login", "signin", "logon", "auth", "session"}
	logoutWords = []string{"logout", "signout", "logoff"}
)

// logIn finds the page with a form that has a password: at the path that is
// known, at the front page or where that leads, behind its links, or at a
// path that many farms have.
func (e *explorer) logIn(ctx context.Context) *farmspec.Visit {
	var todo []string
	if e.s.Login != "" {
		todo = []string{e.bases[0] + e.s.Login}
	} else {
		todo = []string{e.bases[0] + "/"}
	}
	if e.s.LoginKind == "json" && e.s.Login == "" {
		e.tell("Where the log-in's JSON goes is not to be seen on a page; say --login.")
		return nil
	}
	seen := map[string]bool{}
	for i := 0; i < len(todo) && i < 12; i++ {
		if seen[todo[i]] {
			continue
		}
		seen[todo[i]] = true
		visit, err := e.browser.Open(ctx, todo[i])
		if err != nil || visit.Final().Err != nil {
			if i == 0 {
				e.tell(fmt.Sprintf("%s does not answer, so nothing was found there.", todo[i]))
				return nil
			}
			continue
		}
		if e.s.LoginKind == "json" {
			return visit
		}
		if e.asksForBasic(visit.Final()) {
			e.propose(&e.s.LoginKind, "basic", "Log-in: HTTP Basic.")
			e.propose(&e.s.Login, e.path(visit.Final().URL), "It is asked for at %s.", e.path(visit.Final().URL))
			return visit
		}
		for _, f := range farmspec.Forms(visit.Final()) {
			user, password := credentials(f)
			if password == "" {
				continue
			}
			e.propose(&e.s.Login, e.path(visit.Final().URL), "Log-in form: %s.", e.path(visit.Final().URL))
			e.propose(&e.s.UserField, user, "Its field for the user: %s.", user)
			e.propose(&e.s.PassField, password, "Its field for the password: %s.", password)
			return visit
		}
		if i > 0 || e.s.Login != "" {
			continue
		}
		for _, a := range e.links(visit.Final()) {
			if speaks(a, loginWords...) {
				todo = append(todo, a)
			}
		}
		for _, p := range []string{"/login", "/signin", "/accounts/login/", "/account"} {
			todo = append(todo, e.bases[0]+p)
		}
	}
	e.tell("No form with a password was found; say --login, and --login-kind json or basic where it is no form.")
	return nil
}

// asksForBasic reports whether an answer asks for HTTP Basic credentials.
func (e *explorer) asksForBasic(x *farmspec.Exchange) bool {
	scheme, _, _ := strings.Cut(x.Header.Get("WWW-Authenticate"), " ")
	return x.Status == http.StatusUnauthorized && strings.EqualFold(scheme, "Basic")
}

// enter logs in from the page that logIn found.
func (e *explorer) enter(ctx context.Context, page *farmspec.Visit, user, password string) (*farmspec.Visit, error) {
	if e.s.LoginKind == "json" {
		e.s.UserField, e.s.PassField = or(e.s.UserField, "username"), or(e.s.PassField, "password")
	}
	r := farmspec.LoginRecipe{Kind: farmspec.LoginKind(e.s.LoginKind), UserField: e.s.UserField, PassField: e.s.PassField}
	return e.browser.LogIn(ctx, r, page, e.bases[0]+e.s.Login, user, password)
}

// credentials are the names of a form's fields for user and password: the
// first of type password, and the last text before it.
func credentials(f farmspec.Form) (user, password string) {
	for _, field := range f.Fields {
		switch field.Type {
		case "password":
			return user, field.Name
		case "text", "email", "", "tel", "search":
			user = field.Name
		}
	}
	return user, ""
}

// browse logs in and looks for cookie, log-out, page, marker and echo.
func (e *explorer) browse(ctx context.Context, page *farmspec.Visit, user, password string) {
	in, err := e.enter(ctx, page, user, password)
	if err != nil || in.Final().Err != nil {
		e.tell("The log-in got no answer.")
		return
	}
	if x := in.Final(); x.Status/100 != 2 {
		e.tell(fmt.Sprintf("The log-in of %s was answered with %d; is the account right?", user, x.Status))
	}
	pages := append([]string{in.Final().URL}, e.links(in.Final())...)
	for _, p := range []string{e.s.Page, "/account", "/", e.beside("me"), e.beside("user"), e.beside("profile")} {
		if p != "" {
			pages = append(pages, e.bases[0]+p)
		}
	}
	var logouts []string
	found := ""
	for i, address := range pages {
		if speaks(address, logoutWords...) {
			logouts = append(logouts, address)
			continue
		}
		if found != "" || i > 15 || e.s.Page != "" && e.path(address) != e.s.Page || slices.Contains(pages[:i], address) {
			continue
		}
		if e.protected(ctx, address, user) {
			found = address
		}
	}
	if found == "" {
		e.tell(fmt.Sprintf("No page was found that shows %q to %s and not to strangers; was the log-in right? Say --page, --marker and --echo.", user, user))
		return
	}
	e.logOut(ctx, found, append(logouts, e.bases[0]+"/logout"))
}

// beside is the path of a neighbour of a log-in by JSON, such as /api/me; "" for another log-in.
func (e *explorer) beside(name string) string {
	if e.s.LoginKind != "json" {
		return ""
	}
	return path.Join(path.Dir(e.s.Login), name)
}

// logOut looks for the log-out: a form on the protected page or on another, a
// link that ends the session, or what is to be posted beside a log-in by JSON.
// Somebody is logged in at the page, and may be out afterwards.
func (e *explorer) logOut(ctx context.Context, page string, candidates []string) {
	if e.s.Logout != "" {
		return
	}
	visit, err := e.browser.Open(ctx, page)
	if err != nil || !e.shown(visit) {
		return
	}
	if e.logOutForm(visit.Final(), func(f farmspec.Form) bool { return speaks(f.Action, logoutWords...) }) {
		return
	}
	for _, address := range candidates {
		out, err := e.browser.Open(ctx, address)
		switch {
		case err != nil || out.Final().Status/100 != 2:
			continue
		case out.Final().URL == address && e.logOutForm(out.Final(), func(f farmspec.Form) bool { return !e.isLogIn(f) }):
			return
		}
		if again, err := e.browser.Open(ctx, page); err == nil && !e.shown(again) {
			e.s.LogoutKind = "get"
			e.propose(&e.s.Logout, e.path(address), "Log-out, by a link to it: %s.", e.path(address))
			return
		}
	}
	for _, name := range []string{"logout", "signout"} {
		p := e.beside(name)
		if p == "" {
			break
		}
		if out, err := e.browser.Post(ctx, visit, e.bases[0]+p, nil); err != nil || out.Final().Status/100 != 2 {
			continue
		}
		if again, err := e.browser.Open(ctx, page); err == nil && !e.shown(again) {
			e.s.LogoutKind = "post"
			e.propose(&e.s.Logout, p, "Log-out, by a post: %s.", p)
			return
		}
	}
	e.tell("No log-out was found; say --logout and --logout-kind.")
}

// shown reports whether a visit brought the protected page.
func (e *explorer) shown(visit *farmspec.Visit) bool {
	before, _, _ := strings.Cut(e.s.Marker, "{member}")
	return visit.Final().Status == http.StatusOK && bytes.Contains(visit.Final().Body, []byte(before))
}

// isLogIn reports whether a form is one that logs in.
func (e *explorer) isLogIn(f farmspec.Form) bool {
	_, password := credentials(f)
	return password != ""
}

// logOutForm proposes the page with the form that logs out, and names the
// form unless it is the first.
func (e *explorer) logOutForm(x *farmspec.Exchange, is func(farmspec.Form) bool) bool {
	forms := farmspec.Forms(x)
	i := slices.IndexFunc(forms, func(f farmspec.Form) bool { return f.Method == http.MethodPost && is(f) })
	if i < 0 {
		return false
	}
	if i > 0 {
		e.s.LogoutForm = or(or(forms[i].ID, forms[i].Name), strconv.Itoa(i))
	}
	e.propose(&e.s.Logout, e.path(x.URL), "Log-out, by the form at %s.", e.path(x.URL))
	return true
}

// protected takes a page for a protected one if it shows the user's name and
// a stranger does not get it.
func (e *explorer) protected(ctx context.Context, address, user string) bool {
	ours, err := e.browser.Open(ctx, address)
	if err != nil || ours.Final().Status != 200 || !bytes.Contains(ours.Final().Body, []byte(user)) {
		return false
	}
	stranger, err := farmspec.NewBrowser(farmspec.BrowserOptions{Name: "stranger"}).Open(ctx, address)
	if err != nil {
		return false
	}
	again, err := e.browser.Open(ctx, address)
	if err != nil {
		return false
	}
	stays := textsOf(again.Final()) // counters and clocks do not
	seen := slices.DeleteFunc(textsOf(ours.Final()), func(t string) bool { return !slices.Contains(stays, t) })
	strange := textsOf(stranger.Final())
	var markers []string
	echo := ""
	for _, t := range seen {
		switch {
		case !strings.Contains(t, user):
			if !slices.Contains(strange, t) && len(markers) < 8 {
				markers = append(markers, t)
			}
		case echo == "":
			echo = strings.Replace(t, user, "{user}", 1)
		}
	}
	if len(markers) == 0 || echo == "" {
		return false
	}
	marker := markers[0]
	for _, m := range markers { // one that tells the members apart, if there is one
		if told := e.told(ctx, address, m); told != m {
			marker = told
			break
		}
	}
	path := e.path(ours.Final().URL)
	e.propose(&e.s.Page, path, "Protected page: %s.", path)
	e.propose(&e.s.Marker, marker, "Its marker: %s", marker)
	e.propose(&e.s.Echo, echo, "What it shows of the user: %s", echo)
	e.cookie(ctx, address, marker)
	return true
}

// told compares the marker with the other members' and writes {member} where
// they differ, and then their names after what they show.
func (e *explorer) told(ctx context.Context, address, marker string) string {
	if len(e.bases) < 2 {
		return marker
	}
	path := strings.TrimPrefix(address, e.bases[0])
	names := make([]string, len(e.bases))
	form := ""
	for i, base := range e.bases[1:] {
		visit, err := e.browser.Open(ctx, base+path)
		if err != nil {
			return marker
		}
		for _, t := range textsOf(visit.Final()) {
			before, a, b := difference(marker, t)
			if a == "" || b == "" || before == "" || strings.ContainsAny(a+b, " \t") {
				continue
			}
			names[0], names[i+1] = a, b
			form = strings.Replace(marker, before+a, before+"{member}", 1)
			break
		}
	}
	if form == "" || slices.Contains(names, "") || len(slices.Compact(slices.Sorted(slices.Values(names)))) < len(names) {
		return marker
	}
	e.s.Names = names
	e.tell("Members by what they show: " + strings.Join(names, ", ") + ".")
	return form
}

// difference splits two texts into their common beginning and the one word in
// which they differ; the words are empty where they differ in more.
func difference(a, b string) (before, wordA, wordB string) {
	words := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`"',;:()[]{}`, r) })
	}
	as, bs := words(a), words(b)
	if len(as) != len(bs) || a == b {
		return "", "", ""
	}
	at := -1
	for i := range as {
		if as[i] != bs[i] {
			if at >= 0 {
				return "", "", ""
			}
			at = i
		}
	}
	cut := strings.Index(a, as[at])
	return a[:cut], as[at], bs[at]
}

// cookie looks for the one cookie that opens the page by itself.
func (e *explorer) cookie(ctx context.Context, address, marker string) {
	before, _, _ := strings.Cut(marker, "{member}")
	for _, c := range e.browser.Cookies(address) {
		alone := farmspec.NewBrowser(farmspec.BrowserOptions{Name: "one cookie"})
		alone.PutCookie(c)
		visit, err := alone.Open(ctx, address)
		if err == nil && bytes.Contains(visit.Final().Body, []byte(before)) && visit.Final().URL == address {
			e.propose(&e.s.Cookie, c.Name, "Session cookie: %s.", c.Name)
			return
		}
	}
	e.tell("No cookie opens the page by itself; see companions in the file.")
}

// textsOf are the texts of a page's title, headings and paragraphs, or the
// members of a JSON object, in its order, as they stand in its source and at
// most 80 characters long.
func textsOf(x *farmspec.Exchange) []string {
	var texts []string
	if media, _, _ := mime.ParseMediaType(x.Header.Get("Content-Type")); media == "application/json" {
		for _, t := range strings.FieldsFunc(string(x.Body), func(r rune) bool { return strings.ContainsRune(",{}[]\n", r) }) {
			if t = strings.TrimSpace(t); len(t) >= 3 && len(t) <= 80 && !slices.Contains(texts, t) {
				texts = append(texts, t)
			}
		}
		return texts
	}
	z := html.NewTokenizer(bytes.NewReader(x.Body))
	skip := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return texts
		case html.StartTagToken:
			name, _ := z.TagName()
			switch atom.Lookup(name) {
			case atom.Script, atom.Style, atom.Option, atom.Button, atom.A, atom.Label:
				skip = true
			}
		case html.EndTagToken:
			skip = false
		case html.TextToken:
			text := strings.TrimSpace(string(z.Raw())) // entities stay: markers are looked for in the source
			if !skip && len(text) >= 3 && len(text) <= 80 && !strings.Contains(text, "\n") && !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
}
