package targetfile

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

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
	files := &Source{d: &decoder{lines: map[string]int{}}}
	password := files.secret(dir, "the password", s.Password)
	if password == "" {
		tell("The password cannot be read yet, so nobody was logged in.")
		return
	}
	e.browse(ctx, page, password)
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
	e.tell("No form with a password was found; say --login, or see login.kind in the file.")
	return nil
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
func (e *explorer) browse(ctx context.Context, page *farmspec.Visit, password string) {
	user := e.s.Users[0]
	in, err := e.browser.Submit(ctx, page, "", map[string]string{e.s.UserField: user, e.s.PassField: password})
	if err != nil || in.Final().Err != nil {
		e.tell("The log-in got no answer.")
		return
	}
	pages := append([]string{in.Final().URL}, e.links(in.Final())...)
	for _, p := range []string{e.s.Page, "/account", "/"} {
		if p != "" {
			pages = append(pages, e.bases[0]+p)
		}
	}
	logout := ""
	for i, address := range pages {
		if speaks(address, logoutWords...) {
			if logout == "" {
				logout = address
			}
			continue
		}
		if i > 15 || e.s.Page != "" && e.path(address) != e.s.Page || slices.Contains(pages[:i], address) {
			continue
		}
		if e.protected(ctx, address, user) {
			break
		}
	}
	if logout == "" && e.s.Logout == "" {
		logout = e.bases[0] + "/logout"
	}
	if visit, err := e.browser.Open(ctx, logout); err == nil && logout != "" {
		switch x := visit.Final(); {
		case len(farmspec.Forms(x)) > 0 && x.URL == logout:
			e.propose(&e.s.Logout, e.path(logout), "Log-out, by the form at %s.", e.path(logout))
		case x.Status/100 == 2:
			e.propose(&e.s.Logout, e.path(logout), "Log-out: %s, without a form; say logout.kind: get in the file.", e.path(logout))
		}
	}
	if e.s.Page == "" {
		e.tell(fmt.Sprintf("No page was found that shows %q to %s and not to strangers; was the log-in right? Say --page, --marker and --echo.", user, user))
	}
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
	seen := textsOf(ours.Final())
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
	as, bs := strings.Fields(a), strings.Fields(b)
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
		if err == nil && bytes.Contains(visit.Final().Body, []byte(html.EscapeString(before))) && visit.Final().URL == address {
			e.propose(&e.s.Cookie, c.Name, "Session cookie: %s.", c.Name)
			return
		}
	}
	e.tell("No cookie opens the page by itself; see companions in the file.")
}

// textsOf are the texts of a page's title, headings and paragraphs, in its
// order, as they stand in its source and at most 80 characters long.
func textsOf(x *farmspec.Exchange) []string {
	var texts []string
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
